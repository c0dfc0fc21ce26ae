//! The way to one peer: what waits for it, the connection, and the thread that dials it.
//!
//! A sender writes by itself while the system takes what it writes at once: handing it to a thread would cost a
//! wake-up, which is more than all the rest. The socket does not block then. What it does not take at once is left to
//! the peer's thread, with the socket; that waits until all is gone, and gives the socket back.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::dial::{Dialled, dial};
use super::handshake::{Introduction, PeerRefusal};
use super::status::{NetworkEvent, PeerStatus};
use super::tcp::{Inner, jitter, wall};
use super::wire::{Wire, end};
use crate::ids::NodeId;
use crate::message::Message;

/// The way to one peer.
pub(super) struct Peer {
    node: NodeId,
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    phase: Phase,
    /// Frames, each after its length, that nobody has begun to write.
    queue: Queue,
    /// What was begun, and how much of it is gone.
    rest: Option<(Queue, usize)>,
    /// Kept for its memory.
    spare: Vec<u8>,
    /// There while the connection stands and nobody writes.
    wire: Option<Wire>,
    /// The socket of the connection that stands or is made, to end it whoever uses it.
    stream: Option<Arc<TcpStream>>,
    /// The thread is to write, no sender.
    handed: bool,
    thread: bool,
    /// Counts connections: who comes back with the wire of a former one finds another number.
    epoch: u64,
    /// Dials that failed since one succeeded, or connections that ended at once.
    failures: u32,
    since: Option<Instant>,
    peer: Option<Introduction>,
    last_write: Instant,
    /// When the first pulse left that was not answered.
    asked: Option<Instant>,
    figures: PeerStatus,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    messages: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No connection, and nothing to say.
    Idle,
    /// There is something to say.
    Wanted,
    Dialling,
    Up,
    /// The last dial failed; until then nobody dials.
    Waiting(Instant),
}

/// What a pulse is: a frame of no length.
const PULSE: [u8; 4] = [0; 4];
/// So many writes in a row a sender makes for others that came meanwhile, then the thread goes on.
const ROUNDS: usize = 4;
/// After such a pause a sender looks whether the other end has ended, before it writes: the first write after that
/// would seem to succeed.
const LOOK: Duration = Duration::from_millis(20);
/// A thread without connection and without anything to say ends after this.
const LINGER: Duration = Duration::from_secs(30);
/// A connection that has lasted less is as good as a dial that failed.
const LASTING: Duration = Duration::from_secs(1);
/// No more of a buffer's memory is kept.
const SPARE: usize = 1 << 20;

impl Peer {
    pub(super) fn new(node: NodeId) -> Self {
        let figures = PeerStatus {
            node,
            address: None,
            connected_since: None,
            version: None,
            start: None,
            store: None,
            accepted_since: None,
            queued_bytes: 0,
            queued_messages: 0,
            messages_out: 0,
            bytes_out: 0,
            writes_direct: 0,
            writes_handed: 0,
            messages_in: 0,
            bytes_in: 0,
            dropped: 0,
            connects: 0,
            failed_dials: 0,
            last_error: None,
        };
        let state = State {
            phase: Phase::Idle,
            queue: Queue::default(),
            rest: None,
            spare: Vec::new(),
            wire: None,
            stream: None,
            handed: false,
            thread: false,
            epoch: 0,
            failures: 0,
            since: None,
            peer: None,
            last_write: Instant::now(),
            asked: None,
            figures,
        };
        Self { node, state: Mutex::new(state), wake: Condvar::new() }
    }

    /// Queues messages, and writes them if the peer can be written to at once.
    pub(super) fn send(self: &Arc<Self>, inner: &Arc<Inner>, messages: &[Message]) {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Waiting(until) if Instant::now() < until => {
                state.figures.dropped += messages.len() as u64;
                return;
            }
            Phase::Waiting(_) | Phase::Idle => state.phase = Phase::Wanted,
            Phase::Wanted | Phase::Dialling | Phase::Up => {}
        }
        state.take(inner, messages);
        if state.phase == Phase::Wanted {
            self.summon(inner, &mut state);
        } else if state.phase == Phase::Up && !state.handed {
            self.write(inner, state);
        }
    }

    /// Sees to it that somebody dials, if anybody may by now.
    pub(super) fn begin(self: &Arc<Self>, inner: &Arc<Inner>) {
        let mut state = self.state.lock();
        if state.phase == Phase::Wanted {
            self.summon(inner, &mut state);
        }
    }

    fn summon(self: &Arc<Self>, inner: &Arc<Inner>, state: &mut State) {
        if state.thread || !inner.is_running() {
            self.wake.notify_one();
            return;
        }
        let (peer, owner) = (Arc::clone(self), Arc::clone(inner));
        state.thread = inner.spawn(move || peer.run(&owner));
        if !state.thread {
            // The system has no thread left: as if the dial had failed.
            let error = io::Error::from(ErrorKind::OutOfMemory);
            state.wait(inner, &error);
        }
    }

    /// Writes what waits, in the sender's thread, as long as the system takes it at once.
    fn write<'a>(&'a self, inner: &Inner, mut state: MutexGuard<'a, State>) {
        let Some(mut wire) = state.wire.take() else { return };
        let epoch = state.epoch;
        for _ in 0..ROUNDS {
            let look = state.last_write.elapsed() > LOOK;
            let queue = state.next();
            drop(state);
            let heard = if look { hear(&mut wire) } else { Ok(false) };
            let (at, outcome) = match heard {
                Ok(_) => write_some(&mut wire, &queue.bytes),
                Err(_) => (0, Ok(())),
            };
            state = self.state.lock();
            if state.epoch != epoch {
                return state.figures.dropped += queue.messages as u64;
            }
            match heard {
                Ok(true) => state.asked = None,
                Ok(false) => {}
                Err(error) => {
                    // Nothing of it was said: it goes by the next connection.
                    state.put_back(queue);
                    return self.lost(inner, state, &error);
                }
            }
            match outcome {
                Ok(()) => state.wrote(queue, true),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    state.rest = Some((queue, at));
                    break;
                }
                Err(error) => {
                    state.figures.dropped += queue.messages as u64;
                    return self.lost(inner, state, &error);
                }
            }
            if state.queue.bytes.is_empty() {
                state.wire = Some(wire);
                return;
            }
        }
        state.wire = Some(wire);
        state.handed = true;
        self.wake.notify_one();
    }

    /// The peer's thread.
    fn run(&self, inner: &Arc<Inner>) {
        let mut state = self.state.lock();
        while inner.is_running() {
            match state.phase {
                Phase::Wanted => state = self.connect(inner, state),
                Phase::Up if state.handed => state = self.write_patiently(inner, state),
                Phase::Up => {
                    let waited = self.wake.wait_for(&mut state, inner.timing.pulse);
                    if waited.timed_out() && state.phase == Phase::Up && !state.handed {
                        state = self.pulse(inner, state);
                    }
                }
                Phase::Idle | Phase::Dialling | Phase::Waiting(_) => {
                    let waited = self.wake.wait_for(&mut state, LINGER);
                    if waited.timed_out() && !matches!(state.phase, Phase::Wanted | Phase::Up) {
                        break;
                    }
                }
            }
        }
        state.thread = false;
        if !inner.is_running() {
            state.end();
        }
    }

    fn connect<'a>(&'a self, inner: &Arc<Inner>, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.phase = Phase::Dialling;
        drop(state);
        let keep = |stream: &Arc<TcpStream>| {
            let mut state = self.state.lock();
            state.stream = Some(Arc::clone(stream));
            inner.is_running()
        };
        let (address, dialled) = dial(inner, self.node, keep);
        let (mut event, mut refused) = (None, None);
        let mut state = self.state.lock();
        state.figures.address.clone_from(&address);
        let address = address.unwrap_or_default();
        match dialled {
            Ok(Dialled { wire, version, from }) => {
                state.is_up(wire, version, from);
                event = Some(NetworkEvent::Connected { node: self.node, address, version });
            }
            Err(error) => {
                state.figures.failed_dials += 1;
                // Once in a row of failures.
                if state.failures == 0 {
                    event = Some(NetworkEvent::Disconnected { node: self.node, error: error.to_string() });
                }
                refused = error.event(self.node, address);
                state.wait(inner, &error);
            }
        }
        let report = event.is_some() || refused.is_some();
        if report {
            drop(state);
            if let Some(NetworkEvent::Refused { refusal, .. }) = &refused {
                inner.count(*refusal);
            }
            event.into_iter().for_each(|event| inner.report(event));
            refused.into_iter().for_each(|event| inner.report(event));
            state = self.state.lock();
        }
        state
    }

    /// Writes all that waits, however long the system takes, up to a bound.
    fn write_patiently<'a>(&'a self, inner: &Inner, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let Some(mut wire) = state.wire.take() else {
            state.handed = false;
            return state;
        };
        let epoch = state.epoch;
        let mut outcome = Ok(());
        while state.epoch == epoch {
            let (queue, at) = match state.rest.take() {
                Some(rest) => rest,
                None if state.queue.bytes.is_empty() => {
                    state.handed = false;
                    state.wire = Some(wire);
                    return state;
                }
                None => (state.next(), 0),
            };
            drop(state);
            outcome = write_all(&mut wire, &queue.bytes[at..], inner.timing.write);
            state = self.state.lock();
            if state.epoch != epoch || outcome.is_err() {
                state.figures.dropped += queue.messages as u64;
                break;
            }
            state.wrote(queue, false);
        }
        if let (Err(error), true) = (outcome, state.epoch == epoch) {
            self.lost(inner, state, &error);
            state = self.state.lock();
        }
        state
    }

    /// Looks whether the connection lives, and asks again.
    fn pulse<'a>(&'a self, inner: &Inner, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        // A sender that is just writing has the wire: it is looked at next time.
        let Some(mut wire) = state.wire.take() else { return state };
        // Nobody else writes meanwhile, and what is sent waits: nothing here blocks.
        let heard = hear(&mut wire);
        state.wire = Some(wire);
        let error = match heard {
            Err(error) => Some(error),
            Ok(true) => {
                state.asked = None;
                None
            }
            Ok(false) if state.asked.is_some_and(|asked| asked.elapsed() >= inner.timing.silence) => {
                Some(io::Error::new(ErrorKind::TimedOut, "it no longer answers pulses"))
            }
            Ok(false) => None,
        };
        if let Some(error) = error {
            self.lost(inner, state, &error);
        } else {
            state.asked.get_or_insert_with(Instant::now);
            state.queue.bytes.extend_from_slice(&PULSE);
            self.write(inner, state);
        }
        self.state.lock()
    }

    /// The connection has ended.
    fn lost(&self, inner: &Inner, mut state: MutexGuard<'_, State>, error: &io::Error) {
        state.down(inner, error);
        if state.phase == Phase::Wanted {
            self.wake.notify_one();
        }
        let address = state.figures.address.clone().unwrap_or_default();
        drop(state);
        if let Some(refusal) = refusal_in(error) {
            inner.report(NetworkEvent::RefusedBy { node: self.node, address, refusal });
        }
        inner.report(NetworkEvent::Disconnected { node: self.node, error: error.to_string() });
    }

    /// The peer has just dialled in, in this incarnation: it is there, and what stands to a former one is dead.
    pub(super) fn is_there(&self, inner: &Inner, incarnation: u64) {
        let mut state = self.state.lock();
        state.figures.accepted_since = Some(wall());
        match state.phase {
            Phase::Waiting(_) => {
                (state.phase, state.failures) = (Phase::Idle, 0);
            }
            Phase::Up if state.peer.is_some_and(|peer| peer.incarnation < incarnation) => {
                let error = io::Error::new(ErrorKind::ConnectionReset, "the peer has started again");
                self.lost(inner, state, &error);
            }
            _ => {}
        }
    }

    /// The connection from the peer that was accepted last has ended.
    pub(super) fn is_silent(&self) {
        self.state.lock().figures.accepted_since = None;
    }

    pub(super) fn received(&self, messages: usize, bytes: usize) {
        let figures = &mut self.state.lock().figures;
        figures.messages_in += messages as u64;
        figures.bytes_in += bytes as u64;
    }

    /// What has another address now is dialled anew.
    pub(super) fn moved(&self, inner: &Inner, address: &str) {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Up if state.figures.address.as_deref() != Some(address) => {
                let error = io::Error::new(ErrorKind::ConnectionAborted, "it has another address now");
                self.lost(inner, state, &error);
            }
            Phase::Waiting(_) => (state.phase, state.failures) = (Phase::Idle, 0),
            _ => {}
        }
    }

    /// Ends everything.
    pub(super) fn stop(&self) {
        self.state.lock().end();
        self.wake.notify_all();
    }

    pub(super) fn status(&self) -> PeerStatus {
        let state = self.state.lock();
        let rest = state.rest.as_ref().map_or((0, 0), |(queue, at)| (queue.bytes.len() - at, queue.messages));
        PeerStatus {
            queued_bytes: state.queue.bytes.len() + rest.0,
            queued_messages: state.queue.messages + rest.1,
            ..state.figures.clone()
        }
    }
}

impl State {
    /// Queues what there is room for; the rest, the newest, is dropped.
    fn take(&mut self, inner: &Inner, messages: &[Message]) {
        let limits = &inner.limits;
        let begun = self.rest.as_ref().map_or((0, 0), |(queue, at)| (queue.bytes.len() - at, queue.messages));
        let room = limits.queue_messages.saturating_sub(self.queue.messages + begun.1).min(messages.len());
        let mut most = limits.queue_bytes.saturating_sub(begun.0);
        if self.queue.bytes.is_empty() && begun.0 == 0 {
            most = most.max(inner.codec.limit());
        }
        let taken = inner.codec.append(inner.node, &messages[..room], &mut self.queue.bytes, most);
        self.queue.messages += taken;
        self.figures.dropped += (messages.len() - taken) as u64;
    }

    /// What is to be written next.
    fn next(&mut self) -> Queue {
        let bytes = std::mem::replace(&mut self.queue.bytes, std::mem::take(&mut self.spare));
        Queue { bytes, messages: std::mem::take(&mut self.queue.messages) }
    }

    fn put_back(&mut self, mut queue: Queue) {
        queue.bytes.append(&mut self.queue.bytes);
        queue.messages += self.queue.messages;
        self.queue = queue;
    }

    fn wrote(&mut self, mut queue: Queue, direct: bool) {
        self.last_write = Instant::now();
        self.figures.messages_out += queue.messages as u64;
        self.figures.bytes_out += queue.bytes.len() as u64;
        if direct {
            self.figures.writes_direct += 1;
        } else {
            self.figures.writes_handed += 1;
        }
        queue.bytes.clear();
        queue.bytes.shrink_to(SPARE);
        self.spare = queue.bytes;
    }

    fn is_up(&mut self, wire: Wire, version: u16, from: Introduction) {
        self.phase = Phase::Up;
        self.wire = Some(wire);
        // What was said meanwhile is written by the thread, which comes along here.
        self.handed = true;
        self.epoch += 1;
        self.asked = None;
        self.since = Some(Instant::now());
        self.last_write = Instant::now();
        self.peer = Some(from);
        let figures = &mut self.figures;
        figures.connects += 1;
        figures.connected_since = Some(wall());
        figures.version = Some(version);
        figures.start = Some(from.start);
        figures.store = Some(from.store).filter(|store| store.0 != 0);
    }

    /// The connection is over. What was not begun goes by the next one, unless this one has not lasted.
    fn down(&mut self, inner: &Inner, error: &io::Error) {
        let lasted = self.since.is_some_and(|since| since.elapsed() >= LASTING);
        let rest = self.rest.take().map_or(0, |(queue, _)| queue.messages);
        self.figures.dropped += rest as u64;
        self.close();
        if !lasted {
            return self.wait(inner, error);
        }
        self.failures = 0;
        self.figures.last_error = Some(error.to_string());
        // A pulse alone is nothing to dial for.
        if self.queue.messages == 0 {
            self.queue.bytes.clear();
        }
        self.phase = if self.queue.messages > 0 { Phase::Wanted } else { Phase::Idle };
    }

    /// Nobody dials for a while, and what waits is lost.
    fn wait(&mut self, inner: &Inner, error: &dyn std::error::Error) {
        let pause = inner.timing.backoff.saturating_mul(1 << self.failures.min(16)).min(inner.timing.backoff_max);
        self.failures += 1;
        self.phase = Phase::Waiting(Instant::now() + jitter(pause));
        self.figures.last_error = Some(error.to_string());
        self.figures.dropped += self.queue.messages as u64;
        self.queue = Queue::default();
        self.stream = None;
    }

    fn close(&mut self) {
        if let Some(stream) = self.stream.take() {
            end(&stream);
        }
        self.epoch += 1;
        self.wire = None;
        self.handed = false;
        self.since = None;
        self.figures.connected_since = None;
        self.figures.version = None;
    }

    /// For good.
    fn end(&mut self) {
        self.figures.dropped += self.queue.messages as u64;
        self.figures.dropped += self.rest.take().map_or(0, |(queue, _)| queue.messages) as u64;
        self.queue = Queue::default();
        self.close();
        self.phase = Phase::Idle;
    }
}

/// Writes to a socket that doesn't block. How much is gone, and why no more.
fn write_some(wire: &mut Wire, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut at = 0;
    while at < bytes.len() {
        match wire.write_some(&bytes[at..]) {
            Ok(0) => return (at, Err(ErrorKind::WriteZero.into())),
            Ok(written) => at += written,
            Err(error) => return (at, Err(error)),
        }
    }
    (at, wire.flush())
}

/// Writes to the socket until all is gone, or the time for that is over.
fn write_all(wire: &mut Wire, bytes: &[u8], within: Duration) -> io::Result<()> {
    wire.stream().set_nonblocking(false)?;
    wire.write_all_by(bytes, Instant::now() + within).map_err(|error| {
        if super::wire::is_timeout(&error) {
            return io::Error::new(ErrorKind::TimedOut, "it does not read");
        }
        error
    })?;
    wire.stream().set_nonblocking(true)
}

/// Takes what the other end has said, from a socket that doesn't block: whether it answered a pulse. An error if it has
/// ended, or says why it will.
fn hear(wire: &mut Wire) -> io::Result<bool> {
    let (mut answered, mut words) = (false, [0; 64]);
    loop {
        match wire.read_some(&mut words) {
            Ok(Some(0)) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the peer has ended it")),
            Ok(Some(count)) => match words[..count].iter().find(|word| **word != 0) {
                Some(code) => return Err(io::Error::other(PeerRefusal::of(*code))),
                None => answered = true,
            },
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(answered),
            Err(error) => return Err(error),
        }
    }
}

fn refusal_in(error: &io::Error) -> Option<PeerRefusal> {
    error.get_ref()?.downcast_ref().copied()
}
