//! Transports that speak to one another, and to peers that do it badly.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::time::Duration;

use quorate::testing::{Endpoint, transport_suite};
use quorate::transports::{
    NetworkConfig, NetworkError, NetworkEvent, NetworkLimits, NetworkStatus, NetworkTiming, PeerRefusal, TcpTransport,
};
use quorate::{Message, NodeId, Start};

use super::raw::{Dialled, HELLO, Hello, Stranger, answer, code, frames};
use super::{End, FRAME, IDENTITY, LONG, config, limits, probe, timing, until};

/// Transports that know one another.
pub(super) fn connected(nodes: &[NodeId], config: impl Fn(NodeId) -> NetworkConfig, frame: usize) -> Vec<Endpoint> {
    let transports: Vec<_> =
        nodes.iter().map(|node| TcpTransport::bind(IDENTITY, *node, frame, config(*node), |_| {}).unwrap()).collect();
    for transport in &transports {
        for (node, peer) in nodes.iter().zip(&transports) {
            transport.set_address(*node, Some(peer.local_address().to_string()));
        }
    }
    let end = |transport: TcpTransport| {
        let (to, inbox) = channel();
        let deliver = move |from, messages| {
            let _ = to.send((from, messages));
        };
        transport.start(Start(1), None, deliver).unwrap();
        Endpoint::new(transport, move |within| inbox.recv_timeout(within).ok())
    };
    transports.into_iter().map(end).collect()
}

#[test]
fn it_is_a_transport() {
    let frame = (1 << 20) + (1 << 16);
    transport_suite(Duration::from_secs(5), 1 << 20, |nodes| connected(nodes, |_| config(), frame));
}

fn pair() -> (End, End) {
    let (one, two) = (End::open(1, config()), End::open(2, config()));
    one.knows(2, two.address());
    two.knows(1, one.address());
    (one, two)
}

fn numbers(range: std::ops::Range<u8>) -> Vec<Message> {
    range.map(probe).collect()
}

#[test]
fn messages_arrive_in_order_and_are_counted_at_both_ends() {
    let (one, two) = pair();
    for number in 0..100 {
        one.send(2, &[probe(number), probe(number + 100)]);
    }
    let expected: Vec<_> = (0..100).flat_map(|number| [probe(number), probe(number + 100)]).collect();
    assert_eq!(two.receive(1, 200), expected);
    until("all is counted", || one.peer(2).messages_out == 200 && two.peer(1).messages_in == 200);
    let (out, heard) = (one.peer(2), two.peer(1));
    assert_eq!((out.dropped, out.connects, out.failed_dials, out.queued_messages), (0, 1, 0, 0));
    assert_eq!((out.start, out.version), (Some(Start(102)), Some(1)));
    assert_eq!(out.address, Some(two.address()));
    assert!(out.connected_since.is_some() && heard.accepted_since.is_some());
    assert_eq!(heard.connected_since, None, "it had nothing to say");
    let is_connected =
        |event: &NetworkEvent| matches!(event, NetworkEvent::Connected { node: NodeId(2), version: 1, .. });
    assert!(one.saw(is_connected));
    assert!(two.saw(|event| matches!(event, NetworkEvent::Accepted { node: NodeId(1), .. })));
}

#[test]
fn all_messages_of_one_call_go_in_one_write_of_the_sender() {
    // No pulse, which would be a write of its own.
    let timing = NetworkTiming { pulse: LONG, ..timing() };
    let (one, two) = (End::open(1, NetworkConfig { timing, ..config() }), End::open(2, config()));
    one.knows(2, two.address());
    one.send(2, &[probe(0)]);
    assert_eq!(two.receive(1, 1), [probe(0)]);
    until("the thread has let go of it", || {
        let before = one.peer(2);
        one.send(2, &numbers(0..64));
        assert_eq!(two.receive(1, 64), numbers(0..64));
        until("it is counted", || one.peer(2).messages_out == before.messages_out + 64);
        let after = one.peer(2);
        (after.writes_direct, after.writes_handed) == (before.writes_direct + 1, before.writes_handed)
    });
}

#[test]
fn figures_are_plain_data() {
    let (one, two) = pair();
    one.reaches(1, &two, 2);
    Stranger::connect(&one).says(b"GET / HTTP/1.1\r\n\r\n");
    until("he is turned away", || one.refused(PeerRefusal::Malformed) == 1);
    let (status, config) = (one.transport.status(), bincode::config::standard());
    let bytes = bincode::serde::encode_to_vec(&status, config).unwrap();
    let (back, _): (NetworkStatus, _) = bincode::serde::decode_from_slice(&bytes, config).unwrap();
    assert_eq!(back, status);
}

#[test]
fn what_is_sent_before_the_start_waits_and_beyond_the_bound_the_newest_is_dropped() {
    let two = End::open(2, config());
    let config = NetworkConfig { limits: NetworkLimits { queue_messages: 5, ..limits() }, ..config() };
    let (one, start) = End::bind(1, config);
    one.knows(2, two.address());
    one.send(2, &numbers(0..3));
    one.send(2, &numbers(3..9));
    assert_eq!((one.peer(2).queued_messages, one.peer(2).dropped), (5, 4));
    start(&one);
    assert_eq!(two.receive(1, 5), numbers(0..5));
    one.send(2, &[probe(9)]);
    assert_eq!(two.receive(1, 1), [probe(9)]);
    let again = one.transport.start(Start(1), None, |_, _| {});
    assert!(matches!(again, Err(NetworkError::Started)), "{again:?}");
}

#[test]
fn bytes_that_wait_are_bounded() {
    let (one, _) = End::bind(1, NetworkConfig { limits: NetworkLimits { queue_bytes: 200, ..limits() }, ..config() });
    for number in 0..100 {
        one.send(2, &[probe(number)]);
    }
    let peer = one.peer(2);
    assert!(peer.queued_bytes <= 200, "{peer:?}");
    assert_eq!(peer.queued_messages as u64 + peer.dropped, 100);
    assert!(peer.queued_messages > 1 && peer.dropped > 50, "{peer:?}");
}

#[test]
fn more_peers_than_may_be_are_not_spoken_to() {
    let (one, _) = End::bind(1, NetworkConfig { limits: NetworkLimits { peers: 2, ..limits() }, ..config() });
    for node in 2..6 {
        one.send(node, &numbers(0..3));
    }
    let status = one.transport.status();
    assert_eq!((status.peers.len(), status.dropped), (2, 6));
}

#[test]
fn while_a_peer_is_away_nothing_is_kept_for_it_and_it_is_dialled_again() {
    let one = End::open(1, config());
    one.send(2, &[probe(1)]);
    until("nobody knows where it is", || one.peer(2).failed_dials > 0);
    assert_eq!(one.peer(2).last_error.as_deref(), Some("its address is not known"));
    // An address where nobody listens.
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    one.knows(2, nowhere);
    until("it was dialled several times", || {
        one.send(2, &[probe(2)]);
        one.peer(2).failed_dials > 3
    });
    let peer = one.peer(2);
    assert!(peer.dropped > 3 && peer.last_error.is_some_and(|error| error.starts_with("no connection: ")));
    assert_eq!(peer.queued_messages, 0);
    let two = End::open(2, config());
    one.knows(2, two.address());
    one.reaches(1, &two, 2);
    let failures = |event: &&NetworkEvent| matches!(event, NetworkEvent::Disconnected { .. });
    assert!(one.events.lock().unwrap().iter().filter(failures).count() < 3, "once in a row of failures");
}

#[test]
fn a_peer_that_starts_again_is_spoken_to_at_once_though_the_old_connection_seems_to_stand() {
    let slow = NetworkTiming { pulse: LONG, silence: LONG, idle: LONG, ..timing() };
    let one = End::open(1, NetworkConfig { timing: slow, ..config() });
    let first = Dialled::listen();
    one.knows(2, first.address());
    one.send(2, &[probe(1)]);
    let mut old = first.welcome(2);
    let mut frame = vec![0; frames(1, &[probe(1)]).len()];
    old.read_exact(&mut frame).unwrap();
    until("it lasts", || one.peer(2).connected_since.is_some());
    // Nothing on the old connection tells that its other end is gone. The new start dials in.
    let _new = Stranger::welcome(&one, Hello { incarnation: 8, ..HELLO });
    until("the old connection is given up", || one.peer(2).connected_since.is_none());
    assert_eq!(old.read(&mut frame).unwrap(), 0);
    // The address is the same; whoever listens there now is dialled.
    first.0.set_nonblocking(true).unwrap();
    until("it is dialled again", || {
        one.send(2, &[probe(2)]);
        first.0.accept().is_ok()
    });
}

#[test]
fn a_peer_that_comes_back_elsewhere_is_found_there() {
    let (one, two) = pair();
    one.reaches(1, &two, 2);
    two.reaches(2, &one, 1);
    assert!(two.transport.stop(LONG));
    drop(two);
    let two = End::open(2, config());
    two.knows(1, one.address());
    one.knows(2, two.address());
    one.reaches(1, &two, 2);
    two.reaches(2, &one, 1);
    assert_eq!(one.peer(2).connects, 2);
}

#[test]
fn a_peer_that_never_reads_costs_its_own_queue_and_ends() {
    let limits = NetworkLimits { queue_bytes: 100_000, ..limits() };
    let timing = NetworkTiming { write: Duration::from_millis(500), silence: LONG, ..timing() };
    let one = End::open(1, NetworkConfig { limits, timing, ..config() });
    let two = End::open(2, config());
    one.knows(2, two.address());
    let deaf = Dialled::listen();
    one.knows(3, deaf.address());
    one.send(3, &[probe(0)]);
    let stream = deaf.welcome(3);
    let many: Vec<_> = (0..10_000).map(|number| probe((number % 200) as u8)).collect();
    until("its buffers are full", || {
        one.send(3, &many);
        let peer = one.peer(3);
        assert!(peer.queued_bytes <= 2 * 100_000 + FRAME, "{peer:?}");
        peer.dropped > 0
    });
    one.send(2, &[probe(7)]);
    assert_eq!(two.receive(1, 1), [probe(7)]);
    until("it is given up", || one.peer(3).last_error.is_some());
    assert_eq!(one.peer(3).last_error.as_deref(), Some("it does not read"));
    assert!(one.peer(3).writes_handed > 0, "its own thread waited, no sender");
    drop(stream);
}

#[test]
fn who_does_not_answer_pulses_is_dead() {
    let timing = NetworkTiming { silence: Duration::from_millis(200), ..timing() };
    let one = End::open(1, NetworkConfig { timing, ..config() });
    let mute = Dialled::listen();
    one.knows(2, mute.address());
    one.send(2, &[probe(0)]);
    let mut stream = mute.welcome(2);
    // It reads, and says nothing.
    let mut read = Vec::new();
    stream.read_to_end(&mut read).unwrap();
    let first = frames(1, &[probe(0)]);
    assert_eq!(read[..first.len()], first);
    assert!(read[first.len()..].len() >= 4 && read[first.len()..].iter().all(|byte| *byte == 0), "{read:?}");
    let given_up = || one.peer(2).last_error.as_deref() == Some("it no longer answers pulses");
    until("that is why", given_up);
    // It is dialled again when there is something to say.
    until("it is dialled again", || {
        one.send(2, &[probe(1)]);
        mute.0.set_nonblocking(true).unwrap();
        mute.0.accept().is_ok()
    });
}

#[test]
fn what_a_peer_says_at_its_end_is_heard() {
    let one = End::open(1, config());
    let peer = Dialled::listen();
    one.knows(2, peer.address());
    one.send(2, &[probe(0)]);
    let mut stream = peer.welcome(2);
    stream.write_all(&[0, code(PeerRefusal::Malformed)]).unwrap();
    let refused = |event: &NetworkEvent| {
        matches!(event, NetworkEvent::RefusedBy { node: NodeId(2), refusal: PeerRefusal::Malformed, .. })
    };
    until("it is reported", || one.saw(refused));
    assert_eq!(one.peer(2).connected_since, None);
}

/// Dials somebody who answers so, and looks at what comes of it.
fn dialled(reply: &[u8], refusal: PeerRefusal, by_peer: bool, error: &str) {
    let one = End::open(1, config());
    let peer = Dialled::listen();
    one.knows(2, peer.address());
    one.send(2, &[probe(0)]);
    let (mut stream, hello) = peer.hello();
    let mut expected = Hello { to: 2, from: 1, ..HELLO }.bytes();
    // Who it is, but for the numbers of its start.
    expected[42..74].copy_from_slice(&hello[42..74]);
    assert_eq!(hello[..74], expected[..74]);
    stream.write_all(reply).unwrap();
    until("the dial has failed", || one.peer(2).failed_dials == 1);
    assert_eq!(one.peer(2).last_error.as_deref(), Some(error));
    assert_eq!(one.peer(2).dropped, 1);
    let is_it = |event: &NetworkEvent| match event {
        NetworkEvent::RefusedBy { node, refusal: said, .. } => by_peer && node.0 == 2 && *said == refusal,
        NetworkEvent::Refused { refusal: said, .. } => !by_peer && *said == refusal,
        _ => false,
    };
    until("it is reported", || one.saw(is_it));
    assert_eq!(one.refused(refusal), u64::from(!by_peer));
}

#[test]
fn whoever_answers_a_dial_must_be_the_node_that_was_dialled() {
    dialled(&answer(0, 5), PeerRefusal::WrongNode, false, "n5 answered instead");
    let refused = "refused: another node is reached at this address";
    dialled(&answer(code(PeerRefusal::WrongNode), 0), PeerRefusal::WrongNode, true, refused);
    let malformed = "refused here: it sent what is not of this protocol";
    dialled(b"HTTP/1.1 400 Bad Request\r\n", PeerRefusal::Malformed, false, malformed);
    let mut damaged = answer(0, 2);
    damaged[10] ^= 1;
    dialled(&damaged, PeerRefusal::Malformed, false, malformed);
    dialled(&[], PeerRefusal::Slow, false, "refused here: it took too long");
    dialled(&answer(0, 2)[..20], PeerRefusal::Slow, false, "refused here: it took too long");
}

#[test]
fn a_node_at_the_address_of_another_is_found_out_by_both() {
    let (one, five) = (End::open(1, config()), End::open(5, config()));
    one.knows(3, five.address());
    one.send(3, &[probe(0)]);
    until("it says so", || {
        one.saw(|event| {
            matches!(event, NetworkEvent::RefusedBy { node: NodeId(3), refusal: PeerRefusal::WrongNode, .. })
        })
    });
    until("it is counted there", || five.refused(PeerRefusal::WrongNode) == 1);
    assert!(five.has_refused(Some(1), PeerRefusal::WrongNode));
    assert!(five.inbox.try_recv().is_err());
}

#[test]
fn while_what_was_read_is_not_taken_nothing_more_is_read() {
    let limits = NetworkLimits { queue_bytes: 1 << 16, ..limits() };
    let one = End::open(1, NetworkConfig { limits, ..config() });
    let (take, may_take) = channel::<()>();
    let (to, inbox) = channel();
    let may_take = std::sync::Mutex::new(may_take);
    let two = TcpTransport::bind(IDENTITY, NodeId(2), FRAME, config(), |_| {}).unwrap();
    two.start(Start(1), None, move |_, messages: Vec<Message>| {
        let _ = may_take.lock().unwrap().recv();
        let _ = to.send(messages.len() as u64);
    })
    .unwrap();
    one.knows(2, two.local_address().to_string());
    let many: Vec<_> = (0..5_000).map(|number| probe((number % 200) as u8)).collect();
    let mut sent = 0;
    until("the sender is held up", || {
        one.send(2, &many);
        sent += many.len() as u64;
        one.peer(2).dropped > 0
    });
    // All but what was dropped at the sender comes when it is taken: between the two nothing is lost.
    drop(take);
    let mut received = 0;
    until("the rest has come", || {
        received += inbox.recv_timeout(Duration::from_millis(10)).unwrap_or(0);
        received + one.peer(2).dropped == sent
    });
}

#[test]
fn a_stop_ends_all_threads_and_frees_the_address() {
    let (one, two) = pair();
    one.reaches(1, &two, 2);
    two.reaches(2, &one, 1);
    let _half_open = Stranger::connect(&one);
    // One that is being dialled, and doesn't answer.
    let mute = Dialled::listen();
    one.knows(3, mute.address());
    one.send(3, &[probe(1)]);
    let _dialled = mute.hello();
    assert!(one.transport.stop(LONG));
    let address = one.address();
    one.send(2, &[probe(1)]);
    assert!(one.transport.stop(LONG), "once more does no harm");
    let again = one.transport.start(Start(1), None, |_, _| {});
    assert!(matches!(again, Err(NetworkError::Started)), "{again:?}");
    drop(TcpListener::bind(address).unwrap());
    until("the peer notices", || two.peer(1).accepted_since.is_none());
    // One that was never started has nothing to end.
    let (three, _) = End::bind(3, config());
    assert!(three.transport.stop(LONG));
    TcpListener::bind(three.address()).unwrap();
}

#[test]
fn an_address_that_is_taken_is_refused() {
    let one = End::open(1, config());
    let taken = TcpTransport::bind(IDENTITY, NodeId(2), FRAME, NetworkConfig::new(one.address()), |_| {});
    assert!(matches!(taken, Err(NetworkError::Listen { .. })), "{taken:?}");
}
