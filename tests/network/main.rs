//! Peers over real sockets: transports that speak to one another, and to whoever connects with bytes of his own.
//!
//! Conditions are polled for, up to a deadline that nothing that works comes near.

#![allow(clippy::disallowed_methods, reason = "who waits for sockets has a deadline by the clock")]

mod cluster;
mod hostile;
mod peers;
mod raw;
#[cfg(feature = "tls")]
mod tls;

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use quorate::causality::Secret;
use quorate::ids::StoreId;
use quorate::transports::{
    NetworkConfig, NetworkEvent, NetworkLimits, NetworkTiming, PeerRefusal, PeerStatus, TcpTransport,
};
use quorate::{ClusterId, Codec, Identity, Message, NodeId, Start, Transport};

const IDENTITY: Identity = Identity { cluster: ClusterId(0xc1), secret: Secret::new([1; 16]) };
const FRAME: usize = 1 << 20;
/// Nobody waits for so long who is waited for in vain.
const LONG: Duration = Duration::from_secs(60);

/// Looks again and again, until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < end, "never came to be: {what}");
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// A number in a message, of a kind that needs nothing else.
fn probe(number: u8) -> Message {
    let mut frame = b"QRT\x01".to_vec();
    frame.extend(IDENTITY.cluster.0.to_le_bytes());
    frame.extend([9, 0, 0, 0, 0, 0, 0, 0]);
    // One message of three bytes: a probe, start 2, this number below 251.
    frame.extend([1, 3, 11, 2, number]);
    frame.extend(crc32fast::hash(&frame).to_le_bytes());
    Codec::new(IDENTITY, FRAME).decode(&frame).expect("a frame").1.remove(0)
}

/// A transport, and what came to it.
struct End {
    transport: TcpTransport,
    inbox: Receiver<(NodeId, Vec<Message>)>,
    events: Arc<Mutex<Vec<NetworkEvent>>>,
}

/// Durations so short that what takes too long is over soon, and so long that what works on a busy machine is not.
fn timing() -> NetworkTiming {
    NetworkTiming {
        handshake: Duration::from_millis(500),
        pulse: Duration::from_millis(50),
        silence: Duration::from_secs(5),
        backoff: Duration::from_millis(5),
        backoff_max: Duration::from_millis(20),
        ..NetworkTiming::default()
    }
}

fn config() -> NetworkConfig {
    NetworkConfig { timing: timing(), ..NetworkConfig::new("127.0.0.1:0") }
}

impl End {
    fn bind(node: u64, config: NetworkConfig) -> (Self, impl FnOnce(&Self)) {
        let events = Arc::new(Mutex::new(Vec::new()));
        let (seen, (to, inbox)) = (Arc::clone(&events), channel());
        let report = move |event| seen.lock().unwrap().push(event);
        let transport = TcpTransport::bind(IDENTITY, NodeId(node), FRAME, config, report).unwrap();
        let start = move |end: &Self| {
            let deliver = move |from, messages| {
                let _ = to.send((from, messages));
            };
            end.transport.start(Start(node + 100), Some(StoreId(node.into())), deliver).unwrap();
        };
        (Self { transport, inbox, events }, start)
    }

    fn open(node: u64, config: NetworkConfig) -> Self {
        let (end, start) = Self::bind(node, config);
        start(&end);
        end
    }

    fn address(&self) -> String {
        self.transport.local_address().to_string()
    }

    fn knows(&self, node: u64, address: impl Into<String>) {
        self.transport.set_address(NodeId(node), Some(address.into()));
    }

    fn send(&self, to: u64, messages: &[Message]) {
        self.transport.send(NodeId(to), &mut messages.to_vec());
    }

    /// What came from one peer, up to so many.
    fn receive(&self, from: u64, count: usize) -> Vec<Message> {
        let mut received = Vec::new();
        while received.len() < count {
            let (node, messages) = self.inbox.recv_timeout(LONG).expect("messages");
            assert_eq!(node, NodeId(from));
            received.extend(messages);
        }
        received
    }

    /// Sends again and again until something comes at the other end: the first may be lost.
    fn reaches(&self, own: u64, to: &Self, node: u64) {
        until("a message arrives", || {
            self.send(node, &[probe(200)]);
            to.inbox.recv_timeout(Duration::from_millis(20)).is_ok_and(|(from, _)| from == NodeId(own))
        });
    }

    fn peer(&self, node: u64) -> PeerStatus {
        let status = self.transport.status();
        status.peers.into_iter().find(|peer| peer.node == NodeId(node)).expect("a peer that was spoken to")
    }

    fn refused(&self, refusal: PeerRefusal) -> u64 {
        self.transport.status().refused.get(&refusal).copied().unwrap_or(0)
    }

    fn saw(&self, is_it: impl Fn(&NetworkEvent) -> bool) -> bool {
        self.events.lock().unwrap().iter().any(is_it)
    }

    fn has_refused(&self, node: Option<u64>, why: PeerRefusal) -> bool {
        let is_it = |event: &NetworkEvent| matches!(event, NetworkEvent::Refused { node: said, refusal, .. } if *refusal == why && *said == node.map(NodeId));
        self.saw(is_it)
    }
}

fn limits() -> NetworkLimits {
    NetworkLimits::default()
}
