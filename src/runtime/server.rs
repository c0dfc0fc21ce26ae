//! A node with an inbox, a clock and a thread for timers.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rand::TryRng;
use rand::rngs::SysRng;

use super::client::Client;
use super::door::{Call, Door};
use super::local::{LocalNetwork, reuse, run};
use super::pending::{overloaded, stopped};
use super::sync::{AtomicBool, AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, SegQueue, fence, thread};
use super::{clock, pending};
use crate::causality::Context;
use crate::config::Limits;
use crate::error::{ContextError, OpenError, PutError, StorageError};
use crate::ids::{KeyspaceId, NodeId, Start, Ticket};
use crate::message::Message;
use crate::node::{Counters, Event, Input, Keyspace, Node, Output, Setup};
use crate::request::{Reply, Request};
use crate::storage::Storage;
use crate::time::{Now, Time};
use crate::transport::Transport;

/// A node that runs: a client's call and a peer's message step it in the thread that brings them.
///
/// Dropping it stops it without waiting; [`Server::stop`] lets what is in progress come to its end.
pub struct Server<S: Storage + 'static> {
    pub(super) cell: Arc<NodeCell<S>>,
    thread: Option<thread::JoinHandle<()>>,
    network: Option<LocalNetwork>,
    #[cfg(feature = "metrics")]
    pub(super) published: super::publish::Published,
}

/// What is left of a server.
#[derive(Debug)]
pub struct Stopped<S> {
    /// Its storages, shard by shard.
    pub storages: Vec<S>,
    /// What went wrong when they were synced for the last time, if anything did.
    pub error: Option<StorageError>,
}

pub(super) struct NodeCell<S: Storage> {
    state: Mutex<State<S>>,
    inbox: SegQueue<Incoming>,
    pub(super) waiting: AtomicUsize,
    transport: Arc<dyn Transport>,
    on_event: Box<dyn Fn(Event) + Send + Sync>,
    id: NodeId,
    keyspaces: Vec<Keyspace>,
    limits: Limits,
    /// No further requests are taken.
    closing: AtomicBool,
    timer: Timer,
}

struct State<S> {
    node: Option<Node<S>>,
    pending: Slots,
    /// One drain's messages by peer, and lists for the next, kept for their memory.
    outgoing: Vec<(NodeId, Vec<Message>)>,
    spare: Vec<Vec<Message>>,
}

enum Incoming {
    /// And since when it waits.
    Call(Call, Time),
    Message(NodeId, Message),
    Wake,
}

/// When the timer thread looks in next, and what wakes it earlier.
struct Timer {
    /// The node's next deadline, as of its last drain.
    due: AtomicU64,
    /// What the thread sleeps until.
    armed: AtomicU64,
    /// The node is gone. It is told under the lock that the thread falls asleep with, lest the thread miss it.
    ended: Mutex<bool>,
    wake: Condvar,
}

/// The timer thread sleeps no longer than this, so that a request whose first deadline is later wakes nobody.
const TICK: Duration = Duration::from_millis(50);
/// The most inputs between two syncs.
const DRAIN: usize = 256;

impl<S: Storage + 'static> Server<S> {
    /// Opens a node over `storages`, one per shard, that sends through `transport` and reports to `on_event`.
    ///
    /// Whoever receives for it calls [`Server::deliver`].
    ///
    /// # Errors
    /// Those of [`Node::open`]. Nothing was started.
    ///
    /// # Panics
    /// If the system has no randomness: without it two starts could name two writes alike.
    pub fn open(
        setup: Setup,
        storages: Vec<S>,
        transport: Arc<dyn Transport>,
        on_event: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        clock::look_at_wall();
        let (id, keyspaces, limits) = (setup.node, setup.keyspaces.clone(), setup.limits.clone());
        let random = || SysRng.try_next_u64().expect("the system has randomness");
        let node = Node::open(setup, storages, Start(random()), random(), clock::now())?;
        // A node may have something to do though nobody asks it anything.
        let due = node.deadline();
        let cell = Arc::new(NodeCell {
            state: Mutex::new(State {
                node: Some(node),
                pending: Slots::default(),
                outgoing: Vec::new(),
                spare: Vec::new(),
            }),
            inbox: SegQueue::new(),
            waiting: AtomicUsize::new(0),
            transport,
            on_event: Box::new(on_event),
            id,
            keyspaces,
            limits,
            closing: AtomicBool::new(false),
            timer: Timer {
                due: AtomicU64::new(due.map_or(u64::MAX, |due| due.0)),
                armed: AtomicU64::new(0),
                ended: Mutex::new(false),
                wake: Condvar::new(),
            },
        });
        let ticking = Arc::clone(&cell);
        let thread = thread::spawn(move || ticking.tick());
        Ok(Self {
            cell,
            thread: Some(thread),
            network: None,
            #[cfg(feature = "metrics")]
            published: super::publish::Published::default(),
        })
    }

    /// Opens a node that talks to the others of this process through `network`.
    ///
    /// # Errors
    /// As [`Server::open`].
    pub fn open_local(
        setup: Setup,
        storages: Vec<S>,
        network: &LocalNetwork,
        on_event: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        let node = setup.node;
        let mut server = Self::open(setup, storages, network.transport(node), on_event)?;
        let door: Arc<dyn Door> = server.cell.clone();
        network.connect(node, Arc::downgrade(&door));
        server.network = Some(network.clone());
        Ok(server)
    }

    /// A handle for requests through this node.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.cell.clone())
    }

    /// Takes messages that arrived from the peer `from`, whom the transport has authenticated.
    ///
    /// Beyond [`Limits::inbox`] they are dropped, as a network may.
    pub fn deliver(&self, from: NodeId, messages: Vec<Message>) {
        let mut arrived = Some((from, messages));
        run(|| self.cell.deliver(&mut || arrived.take()));
        self.cell.arm();
    }

    /// What the node has done.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.cell.counters()
    }

    /// How many inputs wait for the node.
    pub(super) fn inbox_length(&self) -> usize {
        self.cell.waiting.load(Ordering::Relaxed)
    }

    /// Looks at the node, between two steps.
    pub fn with_node<T>(&self, look: impl FnOnce(&Node<S>) -> T) -> Option<T> {
        self.cell.with_node(look)
    }

    /// Does something to the node between two steps, and lets out what comes of it.
    pub(super) fn act<T>(&self, act: impl FnOnce(&mut Node<S>) -> T) -> Option<T> {
        let done = run(|| {
            let now = clock::now();
            let mut state = self.cell.state.lock();
            state.step(now, Input::Wake);
            let done = state.node.as_mut().map(act);
            self.cell.drain(state, now);
            fence(Ordering::SeqCst);
            if !self.cell.inbox.is_empty() {
                self.cell.drive(now);
            }
            done
        });
        self.cell.arm();
        done
    }

    /// Waits until all hints that the node holds now are home. False if that takes longer than `timeout`: a target may
    /// be down. What is kept meanwhile isn't waited for.
    #[must_use]
    pub fn hints_settled(&self, timeout: Duration) -> bool {
        let Some(mark) = self.with_node(Node::hint_mark) else { return false };
        clock::wait_until(timeout, || self.with_node(|node| node.hints_settled(&mark)) == Some(true))
    }

    /// Stops in good order: takes no further requests, waits for those in progress (each has a deadline), syncs. Hints
    /// on their way home are not waited for: they stay until their targets have acknowledged them.
    #[must_use]
    pub fn stop(mut self) -> Stopped<S> {
        self.cell.closing.store(true, Ordering::SeqCst);
        while self.with_node(Node::in_flight).is_some_and(|count| count > 0) {
            thread::park_timeout(Duration::from_millis(1));
        }
        self.end(true)
    }

    /// Stops at once, as a crash would: nothing more is synced, requests in progress are told that the node stopped.
    #[must_use]
    pub fn kill(mut self) -> Stopped<S> {
        self.end(false)
    }

    fn end(&mut self, sync: bool) -> Stopped<S> {
        self.cell.closing.store(true, Ordering::SeqCst);
        if let Some(network) = self.network.take() {
            let door: Arc<dyn Door> = self.cell.clone();
            network.disconnect(self.cell.id, &Arc::downgrade(&door));
        }
        let mut state = self.cell.state.lock();
        let node = state.node.take();
        let pending = std::mem::take(&mut state.pending);
        drop(state);
        self.cell.timer.end();
        if let Some(thread) = self.thread.take() {
            // The timer thread itself may be the one that drops the last handle.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
        pending.stop();
        // Who found the state locked by this thread has left something here.
        fence(Ordering::SeqCst);
        self.cell.refuse_inbox();
        let Some(mut node) = node else { return Stopped { storages: Vec::new(), error: None } };
        let error = if sync { node.commit().err() } else { None };
        Stopped { storages: node.into_storages(), error }
    }
}

impl<S: Storage + 'static> Drop for Server<S> {
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.end(false);
        }
    }
}

impl<S: Storage> NodeCell<S> {
    /// Queues an input; false if the inbox is full.
    fn enqueue(&self, incoming: Incoming) -> bool {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.limits.inbox {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.inbox.push(incoming);
        true
    }

    /// Drives the node if nobody else does; who does takes along what is queued.
    fn drive(&self, now: Now) {
        loop {
            // The queue must be seen by the holder if the lock is seen taken here, and the other way round.
            fence(Ordering::SeqCst);
            let Some(state) = self.state.try_lock() else { return };
            self.drain(state, now);
            fence(Ordering::SeqCst);
            if self.inbox.is_empty() {
                return;
            }
        }
    }

    /// Steps the node with what is queued, syncs once, and sends what it says. Then the same again while there is
    /// more.
    fn drain(&self, mut state: MutexGuard<'_, State<S>>, now: Now) {
        loop {
            let mut count = 0;
            while count < DRAIN
                && let Some(incoming) = self.inbox.pop()
            {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                match incoming {
                    Incoming::Call((request, slot), since) => {
                        // The time of the drain may be from before it came.
                        let waited = clock::now().time.since(since);
                        state.call(now, waited, request, slot);
                    }
                    Incoming::Message(from, message) => state.step(now, Input::Message(from, message)),
                    Incoming::Wake => state.step(now, Input::Wake),
                }
                count += 1;
            }
            self.flush(&mut state);
            if count < DRAIN {
                return;
            }
        }
    }

    /// What may leave at once leaves; one sync; then what waited for it leaves.
    fn flush(&self, state: &mut State<S>) {
        self.empty(state);
        let Some(node) = &mut state.node else { return };
        if node.wants_commit() {
            let began = clock::now().time;
            // A failure is reported by an event of the node, which is fenced by it.
            let _ = node.commit();
            node.synced(clock::now().time.since(began));
            self.empty(state);
        }
        let deadline = state.node.as_ref().and_then(Node::deadline);
        self.timer.due.store(deadline.map_or(u64::MAX, |due| due.0), Ordering::Relaxed);
    }

    fn empty(&self, state: &mut State<S>) {
        let State { node: Some(node), pending, outgoing, spare } = state else { return };
        while let Some(output) = node.poll() {
            match output {
                Output::Send(to, message) => match outgoing.iter_mut().find(|(node, _)| *node == to) {
                    Some((_, messages)) => messages.push(message),
                    None => {
                        let mut messages = spare.pop().unwrap_or_default();
                        messages.push(message);
                        outgoing.push((to, messages));
                    }
                },
                Output::Done(ticket, reply) => {
                    #[cfg(feature = "tracing")]
                    super::emit::answered(self.id, &reply);
                    if let Some(slot) = pending.take(ticket) {
                        slot.fill(reply);
                    }
                }
                Output::Event(event) => {
                    #[cfg(feature = "tracing")]
                    super::emit::event(self.id, &event);
                    (self.on_event)(event);
                }
            }
        }
        for (to, mut messages) in outgoing.drain(..) {
            self.transport.send(to, &mut messages);
            messages.clear();
            messages.shrink_to(DRAIN);
            spare.push(messages);
        }
    }

    fn refuse_inbox(&self) {
        while let Some(incoming) = self.inbox.pop() {
            if let Incoming::Call((request, slot), _) = incoming {
                slot.fill(stopped(&request));
            }
        }
    }

    /// Looks at the state. Who was turned away meanwhile has left something in the inbox.
    fn look<T>(&self, look: impl FnOnce(&State<S>) -> T) -> T {
        let result = look(&self.state.lock());
        fence(Ordering::SeqCst);
        if !self.inbox.is_empty() {
            run(|| self.drive(clock::now()));
            self.timer.arm();
        }
        result
    }

    /// Looks at the node, between two steps.
    pub(super) fn with_node<T>(&self, look: impl FnOnce(&Node<S>) -> T) -> Option<T> {
        self.look(|state| state.node.as_ref().map(look))
    }

    /// The timer thread: looks in when something is due, and at least once a tick.
    fn tick(&self) {
        while !*self.timer.ended.lock() {
            let now = clock::now();
            let due = Time(self.timer.due.load(Ordering::Relaxed));
            if due > now.time {
                self.timer.sleep(due, due.min(now.time + TICK), now.time);
                clock::look_at_wall();
                continue;
            }
            self.waiting.fetch_add(1, Ordering::Relaxed);
            self.inbox.push(Incoming::Wake);
            run(|| self.drive(now));
            let due = Time(self.timer.due.load(Ordering::Relaxed));
            if due <= now.time {
                // Somebody else holds the node, and takes the wake-up along.
                self.timer.sleep(due, now.time + Duration::from_millis(1), now.time);
            }
        }
    }
}

impl<S: Storage> State<S> {
    fn call(&mut self, now: Now, waited: Duration, request: Request, slot: Arc<pending::Slot>) {
        match &mut self.node {
            Some(node) => {
                node.queued(waited);
                node.step(now, Input::Request(self.pending.add(slot), request));
            }
            None => slot.fill(stopped(&request)),
        }
    }

    fn step(&mut self, now: Now, input: Input) {
        if let Some(node) = &mut self.node {
            node.step(now, input);
        }
    }
}

impl<S: Storage> Door for NodeCell<S> {
    fn call(&self, (request, slot): Call) {
        if self.closing.load(Ordering::Relaxed) {
            return slot.fill(stopped(&request));
        }
        run(|| {
            let now = clock::now();
            // The common case, without the queue: the node is free and nothing waits.
            if self.inbox.is_empty()
                && let Some(mut state) = self.state.try_lock()
            {
                state.call(now, Duration::ZERO, request, slot);
                self.drain(state, now);
                fence(Ordering::SeqCst);
                if !self.inbox.is_empty() {
                    self.drive(now);
                }
                return;
            }
            let refusal = overloaded(&request);
            if self.enqueue(Incoming::Call((request, Arc::clone(&slot)), now.time)) {
                self.drive(now);
            } else {
                slot.fill(refusal);
            }
        });
        self.arm();
    }

    fn call_all(&self, calls: Vec<Call>) {
        let mut calls = calls.into_iter().peekable();
        let most = (self.limits.in_flight.min(self.limits.inbox) / 2).max(DRAIN);
        let mut taken = VecDeque::<Arc<pending::Slot>>::new();
        // Within one `run` nothing is delivered before the node has taken all in: a large batch would be in progress
        // at once, and most of it refused for that. So would it where another thread has a node, and stands still.
        while calls.peek().is_some() {
            while taken.len() + DRAIN > most
                && let Some(oldest) = taken.pop_front()
            {
                oldest.arrives(None);
            }
            run(|| {
                let now = clock::now();
                for (request, slot) in calls.by_ref().take(DRAIN) {
                    taken.push_back(Arc::clone(&slot));
                    if self.closing.load(Ordering::Relaxed) {
                        slot.fill(stopped(&request));
                        continue;
                    }
                    let refusal = overloaded(&request);
                    if !self.enqueue(Incoming::Call((request, Arc::clone(&slot)), now.time)) {
                        slot.fill(refusal);
                    }
                }
                self.drive(now);
            });
        }
        self.arm();
    }

    fn deliver(&self, next: &mut dyn FnMut() -> Option<(NodeId, Vec<Message>)>) {
        let now = clock::now();
        if self.inbox.is_empty()
            && let Some(mut state) = self.state.try_lock()
        {
            while let Some((from, mut messages)) = next() {
                for message in messages.drain(..) {
                    state.step(now, Input::Message(from, message));
                }
                reuse(messages);
            }
            self.drain(state, now);
            fence(Ordering::SeqCst);
            if !self.inbox.is_empty() {
                self.drive(now);
            }
            return;
        }
        while let Some((from, messages)) = next() {
            for message in messages {
                // A full inbox loses messages, as a network may: their senders have timeouts.
                self.enqueue(Incoming::Message(from, message));
            }
        }
        self.drive(now);
    }

    fn arm(&self) {
        self.timer.arm();
    }

    fn keyspaces(&self) -> &[Keyspace] {
        &self.keyspaces
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn context(&self, keyspace: KeyspaceId, key: &[u8], bytes: &[u8]) -> Result<Context, ContextError> {
        self.look(|state| match &state.node {
            Some(node) => node.context(keyspace, key, bytes),
            None => Err(ContextError::Foreign),
        })
    }

    fn counters(&self) -> Counters {
        self.look(|state| state.node.as_ref().map(Node::counters).unwrap_or_default())
    }
}

impl Timer {
    /// Wakes the thread only if it would sleep beyond the deadline. Between a new deadline and this there is a fence:
    /// each drain is followed by one.
    fn arm(&self) {
        let due = self.due.load(Ordering::Relaxed);
        if due < self.armed.load(Ordering::Relaxed) {
            self.armed.store(due, Ordering::Relaxed);
            let _ended = self.ended.lock();
            self.wake.notify_one();
        }
    }

    fn end(&self) {
        *self.ended.lock() = true;
        self.wake.notify_one();
    }

    /// Sleeps, unless all has ended, or the deadline is no longer the one that was seen.
    fn sleep(&self, seen: Time, until: Time, now: Time) {
        let mut ended = self.ended.lock();
        self.armed.store(until.0, Ordering::Relaxed);
        // Who sets a deadline sees until when the thread sleeps, or the deadline is seen here.
        fence(Ordering::SeqCst);
        if !*ended && self.due.load(Ordering::Relaxed) == seen.0 {
            self.wake.wait_for(&mut ended, until.since(now));
        }
    }
}

/// Where the answers to requests in progress go, by their tickets.
#[derive(Default)]
struct Slots {
    list: Vec<Option<Arc<pending::Slot>>>,
    free: Vec<u32>,
}

impl Slots {
    fn add(&mut self, slot: Arc<pending::Slot>) -> Ticket {
        let index = self.free.pop().unwrap_or_else(|| {
            self.list.push(None);
            self.list.len() as u32 - 1
        });
        self.list[index as usize] = Some(slot);
        Ticket(u64::from(index))
    }

    /// A node answers each ticket once, so an index is free when it is answered.
    fn take(&mut self, ticket: Ticket) -> Option<Arc<pending::Slot>> {
        let slot = self.list.get_mut(ticket.0 as usize)?.take()?;
        self.free.push(ticket.0 as u32);
        Some(slot)
    }

    /// Tells all that wait that the node has stopped. Each handle reads the reply of its own kind.
    fn stop(self) {
        for slot in self.list.into_iter().flatten() {
            slot.fill(Reply::Put(Err(PutError::Stopped)));
        }
    }
}

impl<S: Storage + 'static> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.cell.id)
    }
}
