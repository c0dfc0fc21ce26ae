//! What every transport must do, over whatever carries it.

#![allow(clippy::disallowed_methods, reason = "a transport that blocks can only be found from another thread")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::messages::{Messages, bytes};
use super::{Broken, message_of};
use crate::ids::NodeId;
use crate::message::Message;
use crate::transport::Transport;

const ARRIVES: &str = "a message that is sent again and again arrives";
const EVERY_ONE: &str = "all messages of one call are sent";
const UNCHANGED: &str = "a message arrives as it was sent";
const ADDRESSED: &str = "a message arrives at the node that it was sent to, and nowhere else";
const SENDER: &str = "the receiver learns from whom a message comes";
const CALMLY: &str = "sending doesn't panic";
const PROMPTLY: &str = "sending doesn't block";

/// One node's end of a network.
pub struct Endpoint {
    transport: Arc<dyn Transport>,
    receive: Box<Receive>,
}

type Receive = dyn FnMut(Duration) -> Option<(NodeId, Vec<Message>)> + Send;

impl Endpoint {
    /// An end that sends by `transport`, and at which `receive` waits, no longer than it is told, for the next
    /// messages and the node from which they come.
    ///
    /// Whoever is called when messages arrive puts them into a channel, and waits at that. Dropping both ends the node.
    pub fn new(
        transport: impl Transport + 'static,
        receive: impl FnMut(Duration) -> Option<(NodeId, Vec<Message>)> + Send + 'static,
    ) -> Self {
        Self { transport: Arc::new(transport), receive: Box::new(receive) }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Endpoint")
    }
}

/// Checks what every [`Transport`] promises.
///
/// `connect` makes a network of its own at every call, and gives an end for each of the nodes that it is told, in
/// their order; nodes that it isn't told don't exist. `patience` is how long the suite waits for a message, or for a
/// call to return, before it gives the message up, or the transport: a second or two, which nobody waits who has a
/// transport that works. `largest` is the largest value, in bytes, that a message shall carry.
///
/// A transport may lose, repeat, reorder and delay. What doesn't arrive is therefore sent again, a few times.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::mpsc::{Receiver, Sender, channel};
/// use std::time::Duration;
///
/// use quorate::testing::{Endpoint, transport_suite};
/// use quorate::{Message, NodeId, Transport};
///
/// /// Channels of one process.
/// struct Channels {
///     node: NodeId,
///     peers: BTreeMap<NodeId, Sender<(NodeId, Vec<Message>)>>,
/// }
///
/// impl Transport for Channels {
///     fn send(&self, to: NodeId, messages: &mut Vec<Message>) {
///         if let Some(peer) = self.peers.get(&to) {
///             let _ = peer.send((self.node, std::mem::take(messages))); // who is gone gets nothing
///         }
///     }
/// }
///
/// transport_suite(Duration::from_secs(2), 1 << 20, |nodes| {
///     let (mut peers, mut inboxes) = (BTreeMap::new(), Vec::new());
///     for node in nodes {
///         let (to, inbox) = channel();
///         peers.insert(*node, to);
///         inboxes.push(inbox);
///     }
///     let end = |(node, inbox): (&NodeId, Receiver<_>)| {
///         let transport = Channels { node: *node, peers: peers.clone() };
///         Endpoint::new(transport, move |within| inbox.recv_timeout(within).ok())
///     };
///     nodes.iter().zip(inboxes).map(end).collect()
/// });
/// ```
///
/// # Panics
/// If a rule is broken: with the rule, and the message or the call that shows it. A call that doesn't return keeps its
/// thread.
pub fn transport_suite(patience: Duration, largest: usize, mut connect: impl FnMut(&[NodeId]) -> Vec<Endpoint>) {
    let rules: [fn(&mut Network); 6] = [each_to_each, every_kind, many_in_one_call, strangers, the_slow, the_gone];
    let mut messages = Messages::new(largest);
    for rule in rules {
        rule(&mut Network::new(patience, &mut messages, &mut connect, 3));
    }
    many_senders(&mut Network::new(patience, &mut messages, &mut connect, 5));
}

/// How often a message is sent before it counts as lost for ever.
const TRIES: usize = 5;

struct Network<'a> {
    patience: Duration,
    messages: &'a mut Messages,
    nodes: Vec<NodeId>,
    ends: Vec<Option<Endpoint>>,
    /// All that was sent: by its bytes, from whom and to whom.
    sent: BTreeMap<Vec<u8>, Sent>,
}

#[derive(Clone)]
struct Sent {
    from: usize,
    to: NodeId,
    message: Message,
    arrived: bool,
}

impl<'a> Network<'a> {
    fn new(
        patience: Duration,
        messages: &'a mut Messages,
        connect: &mut dyn FnMut(&[NodeId]) -> Vec<Endpoint>,
        count: u64,
    ) -> Self {
        // Names that neither begin at zero nor follow on one another.
        let nodes: Vec<_> = (1..=count).map(|node| NodeId(node * 300 - 299)).collect();
        let ends: Vec<_> = connect(&nodes).into_iter().map(Some).collect();
        assert_eq!(ends.len(), nodes.len(), "`connect` must give an end for each node");
        Self { patience, messages, nodes, ends, sent: BTreeMap::new() }
    }

    /// Notes that a message is on its way.
    fn note(&mut self, from: usize, to: NodeId, message: &Message) {
        self.sent.insert(bytes(message), Sent { from, to, message: message.clone(), arrived: false });
    }

    /// Sends in one call, in a thread of its own, so that a call that doesn't return is found.
    fn send(&mut self, from: usize, to: NodeId, messages: Vec<Message>) {
        messages.iter().for_each(|message| self.note(from, to, message));
        self.call(from, to, vec![messages]);
    }

    fn call(&self, from: usize, to: NodeId, calls: Vec<Vec<Message>>) {
        self.start(from, to, calls).wait(self.patience);
    }

    fn start(&self, from: usize, to: NodeId, calls: Vec<Vec<Message>>) -> Calls {
        let end = self.ends[from].as_ref().expect("only nodes that are there send");
        let transport = Arc::clone(&end.transport);
        let (count, from) = (calls.len(), self.nodes[from]);
        let (done, returned) = channel();
        let thread = thread::spawn(move || {
            // One list for all calls, as a node has it: what a call leaves in it is dropped.
            let mut list = Vec::new();
            for messages in calls {
                list.extend(messages);
                transport.send(to, &mut list);
                list.clear();
                let _ = done.send(());
            }
        });
        Calls { from, to, count, returned, thread }
    }

    /// Receives until all is there that was sent to this node, and sends again what doesn't come.
    fn deliver(&mut self, rule: &'static str, to: usize) {
        for _ in 0..TRIES {
            self.receive(to);
            let missing = self.missing(to);
            if missing.is_empty() {
                return;
            }
            // Again in one call: a transport that sends the first of each call alone must not get through one by one.
            let mut again = BTreeMap::<_, Vec<_>>::new();
            for Sent { from, message, .. } in missing {
                again.entry(from).or_default().push(message);
            }
            for (from, messages) in again {
                self.call(from, self.nodes[to], vec![messages]);
            }
        }
        self.receive(to);
        let missing = self.missing(to);
        let Some(lost) = missing.first() else { return };
        // Perhaps it is at another node: that says more.
        for at in (0..self.ends.len()).filter(|at| *at != to) {
            while self.next(at) {}
        }
        let (count, from, to) = (missing.len(), self.nodes[lost.from], self.nodes[to]);
        let text = shortened(&lost.message);
        broken(rule, format!("{count} from {from} to {to} did not arrive in {} tries; the first: {text}", TRIES + 1))
    }

    fn missing(&self, to: usize) -> Vec<Sent> {
        self.sent.values().filter(|sent| sent.to == self.nodes[to] && !sent.arrived).cloned().collect()
    }

    /// Receives at a node while something is missing there, and comes.
    fn receive(&mut self, at: usize) {
        while !self.missing(at).is_empty() && self.next(at) {}
    }

    /// Receives once, and checks what came. False if nothing did, or nobody is there.
    fn next(&mut self, at: usize) -> bool {
        let node = self.nodes[at];
        let Some(end) = &mut self.ends[at] else { return false };
        let Some((from, messages)) = (end.receive)(self.patience) else { return false };
        for message in messages {
            let Some(sent) = self.sent.get_mut(&bytes(&message)) else {
                broken(UNCHANGED, format!("{node} received what nobody sent: {}", shortened(&message)))
            };
            let text = || shortened(&message);
            let sender = self.nodes[sent.from];
            if sent.to != node {
                broken(ADDRESSED, format!("{node} received what {sender} had sent to {}: {}", sent.to, text()));
            }
            if sender != from {
                broken(SENDER, format!("{node} received from {from} what {sender} had sent: {}", text()));
            }
            sent.arrived = true;
        }
        true
    }
}

/// Calls that a thread makes one after the other.
struct Calls {
    from: NodeId,
    to: NodeId,
    count: usize,
    returned: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Calls {
    fn wait(self, patience: Duration) {
        let Self { from, to, count, returned, thread } = self;
        for call in 1..=count {
            match returned.recv_timeout(patience) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => {
                    broken(PROMPTLY, format!("call {call} of {from} to {to} has not returned after {patience:?}"))
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let panic = thread.join().expect_err("a thread that is not through has panicked");
                    let message = message_of(&*panic);
                    broken(CALMLY, format!("call {call} of {from} to {to} panics: {message}"))
                }
            }
        }
        // It has let go of the transport then: a node that is dropped next is gone.
        let _ = thread.join();
    }
}

fn broken(rule: &'static str, evidence: String) -> ! {
    Broken { contract: "Transport", rule, evidence: format!("  {evidence}") }.report()
}

/// A message as a report shows it.
fn shortened(message: &Message) -> String {
    let text = format!("{message:?}");
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn each_to_each(network: &mut Network<'_>) {
    for from in 0..3 {
        for to in (0..3).filter(|to| *to != from) {
            let message = network.messages.small();
            network.send(from, network.nodes[to], vec![message]);
        }
    }
    (0..3).for_each(|to| network.deliver(ARRIVES, to));
}

fn every_kind(network: &mut Network<'_>) {
    for message in network.messages.of_every_kind() {
        network.send(0, network.nodes[1], vec![message]);
        network.deliver(ARRIVES, 1);
    }
}

/// Nothing, then much, then both again: a call without messages must not spoil those that follow.
fn many_in_one_call(network: &mut Network<'_>) {
    for count in [0, 2, 200, 0, 1] {
        let messages = (0..count).map(|_| network.messages.small()).collect();
        network.send(0, network.nodes[1], messages);
        network.deliver(EVERY_ONE, 1);
    }
    let all = network.messages.of_every_kind();
    network.send(1, network.nodes[0], all);
    network.deliver(EVERY_ONE, 0);
}

/// What goes to nodes that there aren't is dropped, and troubles nobody else.
fn strangers(network: &mut Network<'_>) {
    for stranger in [NodeId(0), NodeId(2), NodeId(u64::MAX)] {
        let (lost, kept) = (network.messages.small(), network.messages.small());
        network.send(0, stranger, vec![lost]);
        network.send(0, network.nodes[1], vec![kept]);
        network.deliver(ARRIVES, 1);
    }
    let message = network.messages.small();
    network.send(1, network.nodes[2], vec![message]);
    network.deliver(ARRIVES, 2);
}

/// More than the buffers of a connection hold goes to a node that takes nothing; the others get theirs.
fn the_slow(network: &mut Network<'_>) {
    let count = (FLOOD / network.messages.bulk()).min(CALLS);
    let calls: Vec<_> = (0..count).map(|_| vec![network.messages.large()]).collect();
    calls.iter().flatten().for_each(|message| network.note(0, network.nodes[2], message));
    network.call(0, network.nodes[2], calls);
    let message = network.messages.small();
    network.send(0, network.nodes[1], vec![message]);
    network.deliver(ARRIVES, 1);
}

/// Loopback connections have been seen to take 10 MB on their own.
const FLOOD: usize = 32 << 20;
/// So that a transport for small messages alone is not asked for millions of them.
const CALLS: usize = 100_000;

fn the_gone(network: &mut Network<'_>) {
    let first = network.messages.small();
    network.send(0, network.nodes[2], vec![first]);
    network.deliver(ARRIVES, 2);
    network.ends[2] = None;
    for _ in 0..20 {
        let (lost, kept) = (network.messages.small(), network.messages.small());
        network.send(0, network.nodes[2], vec![lost]);
        network.send(0, network.nodes[1], vec![kept]);
        network.deliver(ARRIVES, 1);
    }
}

/// All at once, to one node: several threads of each of the others.
fn many_senders(network: &mut Network<'_>) {
    let to = network.nodes[0];
    let mut calls = Vec::new();
    for from in (1..network.nodes.len()).flat_map(|from| [from; 3]) {
        let mut batch = |count| (0..count).map(|_| network.messages.small()).collect();
        let batches: Vec<Vec<_>> = (0..20).map(|call| batch(call % 4)).collect();
        batches.iter().flatten().for_each(|message| network.note(from, to, message));
        calls.push((from, batches));
    }
    let calls: Vec<_> = calls.into_iter().map(|(from, batches)| network.start(from, to, batches)).collect();
    calls.into_iter().for_each(|calls| calls.wait(network.patience));
    network.deliver(EVERY_ONE, 0);
}
