//! The transport within one process: it steps the peer in the sender's own thread.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::clock::Instant;
use super::door::Door;
use super::sync::{Condvar, Mutex, RwLock, thread, thread_local};
use crate::ids::NodeId;
use crate::message::Message;
use crate::transport::Transport;

/// Connects the nodes of one process, and can cut or slow each.
#[derive(Clone, Default)]
pub struct LocalNetwork {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    routes: RwLock<Routes>,
    delayed: Delayed,
}

#[derive(Default)]
struct Routes {
    doors: BTreeMap<NodeId, Weak<dyn Door>>,
    isolated: BTreeSet<NodeId>,
    slow: BTreeMap<NodeId, Duration>,
}

/// One node's way out.
pub(super) struct LocalTransport {
    node: NodeId,
    network: LocalNetwork,
}

impl LocalNetwork {
    /// A network without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing gets to or from the node, or everything does again.
    pub fn isolate(&self, node: NodeId, on: bool) {
        let mut routes = self.inner.routes.write();
        if on {
            routes.isolated.insert(node)
        } else {
            routes.isolated.remove(&node)
        };
    }

    /// All that goes to or from the node takes so much longer; zero ends it.
    pub fn slow(&self, node: NodeId, by: Duration) {
        let mut routes = self.inner.routes.write();
        if by.is_zero() {
            routes.slow.remove(&node)
        } else {
            routes.slow.insert(node, by)
        };
    }

    /// The way out for `node`.
    #[must_use]
    pub fn transport(&self, node: NodeId) -> Arc<dyn Transport> {
        Arc::new(LocalTransport { node, network: self.clone() })
    }

    pub(super) fn connect(&self, node: NodeId, door: Weak<dyn Door>) {
        self.inner.routes.write().doors.insert(node, door);
    }

    /// Nothing gets to the node through this door any more. One that has taken its place meanwhile stays.
    pub(super) fn disconnect(&self, node: NodeId, door: &Weak<dyn Door>) {
        let mut routes = self.inner.routes.write();
        if routes.doors.get(&node).is_some_and(|present| present.ptr_eq(door)) {
            routes.doors.remove(&node);
        }
    }
}

impl Transport for LocalTransport {
    fn send(&self, to: NodeId, messages: &mut Vec<Message>) {
        let inner = &self.network.inner;
        let routes = inner.routes.read();
        if !routes.isolated.is_empty() && (routes.isolated.contains(&self.node) || routes.isolated.contains(&to)) {
            return;
        }
        let Some(door) = routes.doors.get(&to).and_then(Weak::upgrade) else { return };
        let slow = |node| routes.slow.get(node).copied().unwrap_or_default();
        let delay = if routes.slow.is_empty() { Duration::ZERO } else { slow(&self.node) + slow(&to) };
        drop(routes);
        let spare = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        let delivery = Delivery { door, from: self.node, messages: std::mem::replace(messages, spare) };
        if delay.is_zero() {
            // A host with a loop of its own sends outside of any step: then this is the thread that delivers.
            run(|| hand_over(delivery));
        } else {
            inner.delayed.add(Instant::now() + delay, delivery);
        }
    }
}

struct Delivery {
    door: Arc<dyn Door>,
    from: NodeId,
    messages: Vec<Message>,
}

thread_local! {
    static QUEUE: RefCell<VecDeque<Delivery>> = const { RefCell::new(VecDeque::new()) };
    static SPARE: RefCell<Vec<Vec<Message>>> = const { RefCell::new(Vec::new()) };
    static RUNNING: Cell<bool> = const { Cell::new(false) };
    static TOUCHED: RefCell<Vec<Arc<dyn Door>>> = const { RefCell::new(Vec::new()) };
}

/// Hands messages to the peer in this thread, when the node that sent them has let go of itself.
///
/// A peer that answers at once would otherwise step the sender inside the sender's own step, and a long exchange
/// would nest until the stack is gone.
fn hand_over(delivery: Delivery) {
    QUEUE.with_borrow_mut(|queue| queue.push_back(delivery));
}

/// What is next on its way, if it goes to this node.
fn next_to(door: &Arc<dyn Door>) -> Option<(NodeId, Vec<Message>)> {
    QUEUE.with_borrow_mut(|queue| {
        if !Arc::ptr_eq(&queue.front()?.door, door) {
            return None;
        }
        queue.pop_front().map(|next| (next.from, next.messages))
    })
}

/// How many lists a thread keeps, and how long they may be.
const LISTS: usize = 16;
const MESSAGES: usize = 256;

/// Keeps the memory of a list that is empty by now.
pub(super) fn reuse(messages: Vec<Message>) {
    debug_assert!(messages.is_empty());
    if messages.capacity() <= MESSAGES {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < LISTS {
                spare.push(messages);
            }
        });
    }
}

/// Lets the thread send again, also when a host's code panics on the way.
struct Reset;

impl Drop for Reset {
    fn drop(&mut self) {
        RUNNING.set(false);
    }
}

/// Runs `work`, then delivers what it sent, what that sent, and so on.
pub(super) fn run<T>(work: impl FnOnce() -> T) -> T {
    if RUNNING.replace(true) {
        return work();
    }
    let reset = Reset;
    let result = work();
    while let Some(door) = QUEUE.with_borrow(|queue| queue.front().map(|next| Arc::clone(&next.door))) {
        // All that follows to the same node goes in together: it is locked once, and syncs once.
        door.deliver(&mut || next_to(&door));
        TOUCHED.with_borrow_mut(|touched| touched.push(door));
    }
    drop(reset);
    // Only now: most of what a node waited for has come meanwhile, and an idle timer thread stays asleep.
    while let Some(door) = TOUCHED.with_borrow_mut(Vec::pop) {
        door.arm();
    }
    result
}

/// Messages that a slowed node's network holds back, and the thread that lets them go.
#[derive(Default)]
struct Delayed {
    state: Arc<(Mutex<Held>, Condvar)>,
}

#[derive(Default)]
struct Held {
    heap: BinaryHeap<Reverse<(Instant, u64)>>,
    deliveries: BTreeMap<u64, Delivery>,
    sequence: u64,
    thread: bool,
    closed: bool,
}

impl Delayed {
    fn add(&self, at: Instant, delivery: Delivery) {
        let mut held = self.state.0.lock();
        let sequence = held.sequence;
        held.sequence += 1;
        held.heap.push(Reverse((at, sequence)));
        held.deliveries.insert(sequence, delivery);
        if !std::mem::replace(&mut held.thread, true) {
            let state = Arc::clone(&self.state);
            thread::spawn(move || release(&state));
        }
        self.state.1.notify_one();
    }
}

impl Drop for Delayed {
    fn drop(&mut self) {
        self.state.0.lock().closed = true;
        self.state.1.notify_one();
    }
}

fn release(state: &(Mutex<Held>, Condvar)) {
    let mut held = state.0.lock();
    while !held.closed {
        let Some(&Reverse((at, sequence))) = held.heap.peek() else {
            state.1.wait(&mut held);
            continue;
        };
        if at > Instant::now() {
            state.1.wait_until(&mut held, at);
            continue;
        }
        held.heap.pop();
        if let Some(delivery) = held.deliveries.remove(&sequence) {
            drop(held);
            run(|| hand_over(delivery));
            held = state.0.lock();
        }
    }
}

impl fmt::Debug for LocalNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<_> = self.inner.routes.read().doors.keys().copied().collect();
        write!(f, "LocalNetwork({nodes:?})")
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    use crate::causality::Context;
    use crate::config::Limits;
    use crate::error::ContextError;
    use crate::ids::KeyspaceId;
    use crate::node::{Counters, Keyspace};
    use crate::runtime::door::Call;
    use crate::testing::{Endpoint, transport_suite};

    /// A node that keeps what it is brought.
    struct Inbox(Sender<(NodeId, Vec<Message>)>);

    impl Door for Inbox {
        fn deliver(&self, next: &mut dyn FnMut() -> Option<(NodeId, Vec<Message>)>) {
            while let Some(parcel) = next() {
                // What was held back may come when the node is gone.
                let _ = self.0.send(parcel);
            }
        }

        fn arm(&self) {}

        fn call(&self, _: Call) {
            unreachable!("it has no clients");
        }

        fn call_all(&self, _: Vec<Call>) {
            unreachable!("it has no clients");
        }

        fn keyspaces(&self) -> &[Keyspace] {
            unreachable!("it has no clients");
        }

        fn limits(&self) -> &Limits {
            unreachable!("it has no clients");
        }

        fn context(&self, _: KeyspaceId, _: &[u8], _: &[u8]) -> Result<Context, ContextError> {
            unreachable!("it has no clients");
        }

        fn counters(&self) -> Counters {
            unreachable!("it has no clients");
        }
    }

    #[test]
    fn who_leaves_late_does_not_take_a_successor_off_the_network() {
        let (network, node) = (LocalNetwork::new(), NodeId(1));
        let open = || {
            let (to, inbox) = channel();
            let door: Arc<dyn Door> = Arc::new(Inbox(to));
            network.connect(node, Arc::downgrade(&door));
            (door, inbox)
        };
        let (before, after) = (open(), open());
        let arrives = || {
            network.transport(NodeId(2)).send(node, &mut Vec::new());
            after.1.try_recv().is_ok()
        };
        network.disconnect(node, &Arc::downgrade(&before.0));
        assert!(arrives());
        network.disconnect(node, &Arc::downgrade(&after.0));
        assert!(!arrives());
    }

    fn ends(network: &LocalNetwork, nodes: &[NodeId]) -> Vec<Endpoint> {
        let end = |node: &NodeId| {
            let (to, inbox) = channel();
            let door: Arc<dyn Door> = Arc::new(Inbox(to));
            network.connect(*node, Arc::downgrade(&door));
            let transport = LocalTransport { node: *node, network: network.clone() };
            Endpoint::new(transport, move |within| {
                // The node is there as long as its end is.
                let _ = &door;
                inbox.recv_timeout(within).ok()
            })
        };
        nodes.iter().map(end).collect()
    }

    #[test]
    fn it_is_a_transport() {
        transport_suite(Duration::from_secs(10), 1 << 20, |nodes| ends(&LocalNetwork::new(), nodes));
    }

    #[test]
    fn slowed_it_is_a_transport() {
        transport_suite(Duration::from_secs(10), 1 << 16, |nodes| {
            let network = LocalNetwork::new();
            nodes.iter().for_each(|node| network.slow(*node, Duration::from_micros(50)));
            ends(&network, nodes)
        });
    }
}
