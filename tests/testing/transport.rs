//! Transports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::causality::Secret;
use quorate::testing::{Endpoint, transport_suite};
use quorate::{ClusterId, Codec, Identity, Message, NodeId, Transport};

use super::assert_rejected;

/// Longer than anything that works takes: the channels below are never waited at.
const PATIENCE: Duration = Duration::from_secs(30);
const LARGEST: usize = 1 << 17;

/// What is wrong with a transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    Nothing,
    LosesAll,
    LeavesTheFirst,
    FirstOfEachCall,
    ToTheNextNode,
    ToEveryNode,
    NamesTheReceiver,
    NamesTheFirst,
    GarblesBeyond64KiB,
    NoMoreThanTwoPeers,
    ClosedByAnEmptyCall,
    PanicsOnStrangers,
    PanicsOnTheGone,
    Blocks,
    StuckForAll,
    // What a network may do.
    LosesEverySecond,
    RepeatsAndReorders,
}

type Parcel = (NodeId, Vec<Message>);

/// Channels between nodes of one process.
struct Flawed {
    wrong: Wrong,
    node: NodeId,
    peers: BTreeMap<NodeId, SyncSender<Parcel>>,
    /// Who has sent to whom, in the whole network.
    seen: Arc<Mutex<BTreeMap<NodeId, Vec<NodeId>>>>,
    closed: Mutex<BTreeSet<NodeId>>,
    flag: AtomicBool,
}

impl Flawed {
    fn sender(&self, to: NodeId) -> Option<NodeId> {
        let mut seen = self.seen.lock().unwrap();
        let senders = seen.entry(to).or_default();
        if !senders.contains(&self.node) {
            senders.push(self.node);
        }
        match self.wrong {
            Wrong::NamesTheReceiver => Some(to),
            Wrong::NamesTheFirst => senders.first().copied(),
            Wrong::NoMoreThanTwoPeers => senders[..senders.len().min(2)].contains(&self.node).then_some(self.node),
            _ => Some(self.node),
        }
    }

    fn hand_over(&self, to: NodeId, messages: Vec<Message>) {
        let (Some(peer), Some(from)) = (self.peers.get(&to), self.sender(to)) else {
            assert!(self.wrong != Wrong::PanicsOnStrangers, "no entry for {to}");
            return;
        };
        if self.wrong == Wrong::Blocks {
            let _ = peer.send((from, messages));
            return;
        }
        match peer.try_send((from, messages)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.flag.store(self.wrong == Wrong::StuckForAll, Ordering::Relaxed),
            Err(TrySendError::Disconnected(_)) => assert!(self.wrong != Wrong::PanicsOnTheGone, "connection reset"),
        }
    }
}

impl Transport for Flawed {
    fn send(&self, to: NodeId, messages: &mut Vec<Message>) {
        let mut messages =
            messages.split_off(if self.wrong == Wrong::LeavesTheFirst { messages.len().min(1) } else { 0 });
        match self.wrong {
            Wrong::LosesAll => return,
            Wrong::FirstOfEachCall => messages.truncate(1),
            Wrong::ToTheNextNode => {
                let next = self.peers.keys().find(|node| **node > to).unwrap_or(&to);
                return self.hand_over(*next, messages);
            }
            Wrong::ToEveryNode => return self.peers.keys().for_each(|node| self.hand_over(*node, messages.clone())),
            Wrong::GarblesBeyond64KiB => messages.iter_mut().for_each(garble),
            Wrong::ClosedByAnEmptyCall => {
                let mut closed = self.closed.lock().unwrap();
                if messages.is_empty() {
                    closed.insert(to);
                }
                if closed.contains(&to) {
                    return;
                }
            }
            Wrong::StuckForAll if self.flag.load(Ordering::Relaxed) => return,
            Wrong::LosesEverySecond if self.flag.fetch_not(Ordering::Relaxed) => return,
            Wrong::RepeatsAndReorders => {
                messages.reverse();
                self.hand_over(to, messages.clone());
            }
            _ => {}
        }
        self.hand_over(to, messages);
    }
}

/// A length of 16 bits, and what lies beyond is overwritten.
fn garble(message: &mut Message) {
    let config = bincode::config::standard();
    let mut bytes = bincode::serde::encode_to_vec(&*message, config).unwrap();
    if let Some(byte) = bytes.get_mut(usize::from(u16::MAX)) {
        *byte ^= 1;
        (*message, _) = bincode::serde::decode_from_slice(&bytes, config).unwrap();
    }
}

fn connect(wrong: Wrong) -> impl FnMut(&[NodeId]) -> Vec<Endpoint> {
    // What a node takes in before it is slow.
    let capacity = 256;
    move |nodes| {
        let mut peers = BTreeMap::new();
        let mut inboxes: Vec<(NodeId, Receiver<Parcel>)> = Vec::new();
        for node in nodes {
            let (to, inbox) = sync_channel(capacity);
            peers.insert(*node, to);
            inboxes.push((*node, inbox));
        }
        let seen = Arc::default();
        let end = |(node, inbox): (NodeId, Receiver<Parcel>)| {
            let (peers, seen) = (peers.clone(), Arc::clone(&seen));
            let (closed, flag) = (Mutex::default(), AtomicBool::new(false));
            let transport = Flawed { wrong, node, peers, seen, closed, flag };
            // What was sent is there already.
            Endpoint::new(transport, move |_| inbox.try_recv().ok())
        };
        inboxes.into_iter().map(end).collect()
    }
}

fn assert_suite_rejects(wrong: Wrong, patience: Duration, lines: &[&str]) {
    assert_rejected("Transport", lines, || transport_suite(patience, LARGEST, connect(wrong)));
}

#[test]
fn channels_pass_and_so_does_what_a_network_may_do_to_messages() {
    for wrong in [Wrong::Nothing, Wrong::LosesEverySecond, Wrong::RepeatsAndReorders] {
        transport_suite(PATIENCE, LARGEST, connect(wrong));
    }
}

#[test]
fn what_never_arrives_is_missed() {
    assert_suite_rejects(
        Wrong::LosesAll,
        PATIENCE,
        &["a message that is sent again and again arrives", "2 from n301 to n1 did not arrive in 6 tries; the first: "],
    );
    let lost = ["a message that is sent again and again arrives", "2 from n301 to n1 did not arrive"];
    assert_suite_rejects(Wrong::LeavesTheFirst, PATIENCE, &lost);
    let every_one = "all messages of one call are sent";
    assert_suite_rejects(Wrong::FirstOfEachCall, PATIENCE, &[every_one, "194 from n1 to n301 did not arrive"]);
    assert_suite_rejects(Wrong::ClosedByAnEmptyCall, PATIENCE, &[every_one, "2 from n1 to n301 did not arrive"]);
    assert_suite_rejects(Wrong::NoMoreThanTwoPeers, PATIENCE, &[every_one]);
}

#[test]
fn what_arrives_as_something_else_is_rejected() {
    let addressed = "a message arrives at the node that it was sent to, and nowhere else";
    for wrong in [Wrong::ToTheNextNode, Wrong::ToEveryNode] {
        assert_suite_rejects(wrong, PATIENCE, &[addressed, "n"]);
    }
    let sender = "the receiver learns from whom a message comes";
    assert_suite_rejects(Wrong::NamesTheReceiver, PATIENCE, &[sender, "n1 received from n1 what n301 had sent: Probe"]);
    assert_suite_rejects(Wrong::NamesTheFirst, PATIENCE, &[sender, "n1 received from n301 what n601 had sent: Probe"]);
    assert_suite_rejects(
        Wrong::GarblesBeyond64KiB,
        PATIENCE,
        &["a message arrives as it was sent", "n301 received what nobody sent: Write"],
    );
}

#[test]
fn what_holds_up_the_sender_is_rejected() {
    assert_suite_rejects(
        Wrong::PanicsOnStrangers,
        PATIENCE,
        &["sending doesn't panic", "call 1 of n1 to n0 panics: no entry for n0"],
    );
    assert_suite_rejects(
        Wrong::PanicsOnTheGone,
        PATIENCE,
        &["sending doesn't panic", "call 1 of n1 to n601 panics: connection reset"],
    );
    // Here alone somebody waits: for a call that doesn't return.
    assert_suite_rejects(Wrong::Blocks, Duration::from_millis(500), &["sending doesn't block", "call "]);
    assert_suite_rejects(
        Wrong::StuckForAll,
        PATIENCE,
        &["a message that is sent again and again arrives", "1 from n1 to n301 did not arrive"],
    );
}

/// Frames in datagrams, as a host without the runtime sends them.
struct Datagrams {
    node: NodeId,
    socket: Arc<UdpSocket>,
    addresses: BTreeMap<NodeId, SocketAddr>,
    codec: Codec,
}

const DATAGRAM: usize = 65_507;

impl Transport for Datagrams {
    fn send(&self, to: NodeId, messages: &mut Vec<Message>) {
        let Some(address) = self.addresses.get(&to) else { return };
        for frame in self.codec.encode(self.node, messages) {
            // A datagram may be lost.
            let _ = self.socket.send_to(&frame, address);
        }
    }
}

#[test]
fn frames_in_datagrams_pass() {
    let codec = Codec::new(Identity { cluster: ClusterId(3), secret: Secret::new([3; 16]) }, DATAGRAM);
    transport_suite(Duration::from_secs(2), 1 << 15, |nodes| {
        let socket = |node: &NodeId| (*node, Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()));
        let sockets: Vec<_> = nodes.iter().map(socket).collect();
        let addresses: BTreeMap<_, _> =
            sockets.iter().map(|(node, socket)| (*node, socket.local_addr().unwrap())).collect();
        let end = |(node, socket): (NodeId, Arc<UdpSocket>)| {
            let (addresses, codec) = (addresses.clone(), codec.clone());
            let (known, frames) = (addresses.clone(), codec.clone());
            let transport = Datagrams { node, socket: Arc::clone(&socket), addresses, codec };
            Endpoint::new(transport, move |within| {
                socket.set_read_timeout(Some(within)).unwrap();
                let mut datagram = vec![0; DATAGRAM];
                let (length, address) = socket.recv_from(&mut datagram).ok()?;
                let (from, messages) = frames.decode(&datagram[..length]).ok()?;
                (known.get(&from) == Some(&address)).then_some((from, messages))
            })
        };
        sockets.into_iter().map(end).collect()
    });
}
