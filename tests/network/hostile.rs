//! Whoever connects without being a peer, or is one and does wrong: he is turned away, told why, and costs little.

use std::io::Write;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use quorate::transports::{NetworkConfig, NetworkEvent, NetworkLimits, NetworkTiming, PeerRefusal};

use super::raw::{HELLO, Hello, Stranger, code, frames};
use super::{End, FRAME, config, limits, probe, timing, until};

/// The others are served all the same.
fn assert_serves(end: &End, from: u64) {
    let mut peer = Stranger::welcome(end, Hello { from, incarnation: u64::MAX, ..HELLO });
    peer.says(&frames(from, &[probe(1)]));
    assert_eq!(end.receive(from, 1), [probe(1)]);
}

#[test]
fn a_hello_that_is_not_for_this_node_is_answered_with_the_reason() {
    let end = End::open(1, config());
    let cases = [
        (Hello { cluster: 1, ..HELLO }, PeerRefusal::ForeignCluster),
        (Hello { to: 3, ..HELLO }, PeerRefusal::WrongNode),
        (Hello { from: 1, ..HELLO }, PeerRefusal::SameName),
        (Hello { lowest: 2, highest: 9, ..HELLO }, PeerRefusal::NoCommonVersion),
        (Hello { lowest: 0, highest: 0, ..HELLO }, PeerRefusal::NoCommonVersion),
    ];
    for (hello, refusal) in cases {
        let mut stranger = Stranger::connect(&end);
        let before = end.refused(refusal);
        // A message follows at once: it is not looked at.
        stranger.says(&[hello.bytes(), frames(2, &[probe(9)])].concat());
        assert_eq!(stranger.answer(), Some(code(refusal)), "{refusal:?}");
        assert!(stranger.is_over());
        assert_eq!(end.refused(refusal), before + 1);
        assert!(end.has_refused(Some(hello.from), refusal));
    }
    assert_serves(&end, 2);
    assert!(end.inbox.try_recv().is_err(), "nothing of theirs was delivered");
}

#[test]
fn a_later_program_that_speaks_an_older_version_too_is_welcome() {
    let end = End::open(1, config());
    Stranger::welcome(&end, Hello { highest: 9, ..HELLO });
}

#[test]
fn garbage_is_turned_away_without_a_decoder() {
    let end = End::open(1, config());
    let mut damaged = HELLO.bytes();
    damaged[20] ^= 1;
    let mut turned = Hello { lowest: 1, highest: 0, ..HELLO }.bytes();
    turned.truncate(78);
    let mut long = HELLO.bytes();
    long[4..6].copy_from_slice(&u16::MAX.to_le_bytes());
    let cases = [b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0; 100], vec![0xff; 5_000], damaged, turned, long];
    for (bytes, count) in cases.into_iter().zip(1..) {
        let mut stranger = Stranger::connect(&end);
        stranger.says(&bytes);
        assert_eq!(stranger.answer(), Some(code(PeerRefusal::Malformed)), "case {count}");
        assert!(stranger.is_over());
        assert_eq!(end.refused(PeerRefusal::Malformed), count);
    }
    // Who leaves in the middle is nobody's business.
    let mut stranger = Stranger::connect(&end);
    stranger.says(b"QRTH");
    stranger.0.shutdown(Shutdown::Write).unwrap();
    assert!(stranger.is_over());
    assert_serves(&end, 2);
}

#[test]
fn who_says_nothing_or_says_it_byte_by_byte_is_turned_away_in_time() {
    let end = End::open(1, config());
    let mut silent = Stranger::connect(&end);
    let mut slow = Stranger::connect(&end);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut stream = slow.0.try_clone().unwrap();
        let over = &over;
        scope.spawn(move || {
            // Each byte comes long before a read would time out; all of them would take ten times what a handshake may.
            for byte in HELLO.bytes() {
                if over.load(Ordering::Relaxed) || stream.write_all(&[byte]).is_err() {
                    return;
                }
                thread::park_timeout(timing().handshake / 8);
            }
        });
        assert_eq!(silent.answer(), Some(code(PeerRefusal::Slow)));
        assert_eq!(slow.answer(), Some(code(PeerRefusal::Slow)));
        over.store(true, Ordering::Relaxed);
    });
    assert!(silent.is_over());
    until("their places are free", || end.transport.status().inbound == 0);
    assert_eq!(end.refused(PeerRefusal::Slow), 2);
    assert_serves(&end, 2);
}

#[test]
fn those_who_have_not_shaken_hands_are_few_and_their_places_come_free() {
    let config = NetworkConfig { limits: NetworkLimits { shaking: 2, ..limits() }, ..config() };
    let end = End::open(1, config);
    // Two that shook hands take none of these places.
    let peers = [2, 3].map(|from| Stranger::welcome(&end, Hello { from, ..HELLO }));
    let mut waiting = [Stranger::connect(&end), Stranger::connect(&end)];
    until("both have a place", || end.transport.status().shaking == 2);
    let mut third = Stranger::connect(&end);
    assert_eq!(third.answer(), Some(code(PeerRefusal::Busy)));
    assert!(third.is_over());
    assert_eq!(end.refused(PeerRefusal::Busy), 1);
    for stranger in &mut waiting {
        assert_eq!(stranger.answer(), Some(code(PeerRefusal::Slow)));
    }
    until("their places are free", || end.transport.status().shaking == 0);
    assert_serves(&end, 4);
    drop(peers);
}

#[test]
fn connections_are_bounded_in_all() {
    let config = NetworkConfig { limits: NetworkLimits { inbound: 2, ..limits() }, ..config() };
    let end = End::open(1, config);
    let mut peers = [2, 3].map(|from| Stranger::welcome(&end, Hello { from, ..HELLO }));
    let mut third = Stranger::connect(&end);
    assert_eq!(third.answer(), Some(code(PeerRefusal::Busy)));
    peers[0].says(&frames(2, &[probe(5)]));
    assert_eq!(end.receive(2, 1), [probe(5)]);
    drop(peers);
    until("the places are free", || end.transport.status().inbound == 0);
    assert_serves(&end, 4);
}

#[test]
fn who_claims_more_peers_than_may_be_gets_no_further() {
    let config = NetworkConfig { limits: NetworkLimits { peers: 3, ..limits() }, ..config() };
    let end = End::open(1, config);
    let _three = [2, 3, 4].map(|from| Stranger::welcome(&end, Hello { from, ..HELLO }));
    let mut fourth = Stranger::connect(&end);
    fourth.says(&Hello { from: 5, ..HELLO }.bytes());
    assert_eq!(fourth.answer(), Some(code(PeerRefusal::Busy)));
    assert_eq!(end.transport.status().peers.len(), 3);
}

#[test]
fn a_peer_that_sends_what_is_no_frame_is_told_and_dropped_with_it() {
    let end = End::open(1, config());
    let good = frames(2, &[probe(1)]);
    let mut damaged = good.clone();
    damaged[40] ^= 1;
    let cases = [
        // Longer than any frame may be: nothing is waited for.
        (u32::MAX.to_le_bytes().to_vec(), "4 GiB"),
        ((FRAME as u32 + 1).to_le_bytes().to_vec(), "one byte too many"),
        (damaged, "a checksum that is wrong"),
        (frames(3, &[probe(1)]), "another sender than the one that shook hands"),
        ([&9_u32.to_le_bytes()[..], b"not a fra"].concat(), "no magic"),
    ];
    for ((bytes, what), count) in cases.into_iter().zip(1..) {
        let mut peer = Stranger::welcome(&end, Hello { incarnation: count, ..HELLO });
        peer.says(&bytes);
        assert_eq!(peer.byte(), Some(code(PeerRefusal::Malformed)), "{what}");
        assert!(peer.is_over());
        assert_eq!(end.refused(PeerRefusal::Malformed), count);
    }
    assert!(end.has_refused(Some(2), PeerRefusal::Malformed));
    assert!(end.inbox.try_recv().is_err(), "nothing of it was delivered");
    assert_serves(&end, 2);
}

#[test]
fn a_frame_that_never_ends_is_not_waited_for() {
    let timing = NetworkTiming { frame: Duration::from_millis(200), ..timing() };
    let end = End::open(1, NetworkConfig { timing, ..config() });
    let mut peer = Stranger::welcome(&end, HELLO);
    // What comes before it arrives.
    let mut bytes = frames(2, &[probe(1)]);
    bytes.extend((FRAME as u32).to_le_bytes());
    peer.says(&bytes);
    assert_eq!(end.receive(2, 1), [probe(1)]);
    let mut stream = peer.0.try_clone().unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) && stream.write_all(b"x").is_ok() {
                thread::park_timeout(Duration::from_millis(10));
            }
        });
        assert_eq!(peer.byte(), Some(code(PeerRefusal::Slow)));
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(end.refused(PeerRefusal::Slow), 1);
}

#[test]
fn a_peer_that_falls_silent_is_let_go_and_one_that_pulses_is_not() {
    let timing = NetworkTiming { idle: Duration::from_millis(400), ..timing() };
    let end = End::open(1, NetworkConfig { timing: timing.clone(), ..config() });
    let mut silent = Stranger::welcome(&end, HELLO);
    let mut alive = Stranger::welcome(&end, Hello { from: 3, ..HELLO });
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                alive.says(&[0; 4]);
                assert_eq!(alive.byte(), Some(0), "a pulse is answered");
                thread::park_timeout(timing.idle / 20);
            }
        });
        let is_over = silent.is_over();
        let left = end.peer(3).accepted_since.is_some();
        over.store(true, Ordering::Relaxed);
        assert!(is_over && left);
    });
    let ended = |event: &NetworkEvent| matches!(event, NetworkEvent::Ended { node, .. } if node.0 == 2);
    until("its end is reported", || end.saw(ended));
    until("its place is free", || end.peer(2).accepted_since.is_none());
    assert!(!end.saw(|event| matches!(event, NetworkEvent::Refused { .. })), "silence is no offence");
}

#[test]
fn the_newest_connection_of_a_node_replaces_the_one_before() {
    let end = End::open(1, config());
    let mut first = Stranger::welcome(&end, HELLO);
    let mut second = Stranger::welcome(&end, HELLO);
    assert!(first.is_over());
    second.says(&frames(2, &[probe(2)]));
    assert_eq!(end.receive(2, 1), [probe(2)]);
    until("the first has left", || end.transport.status().inbound == 1);
    assert!(end.peer(2).accepted_since.is_some(), "it is not the last that has left");
}

#[test]
fn an_older_start_is_turned_away_while_a_later_one_lives_and_no_longer() {
    let end = End::open(1, config());
    let later = Stranger::welcome(&end, Hello { incarnation: 8, ..HELLO });
    let mut older = Stranger::connect(&end);
    older.says(&HELLO.bytes());
    assert_eq!(older.answer(), Some(code(PeerRefusal::OlderStart)));
    assert!(end.has_refused(Some(2), PeerRefusal::OlderStart));
    // A clock that was set back must not keep a node out.
    drop(later);
    until("its connection is known to be dead", || end.transport.status().inbound == 0);
    Stranger::welcome(&end, HELLO);
}

#[test]
fn many_pulses_that_nobody_hears_the_answers_to_hold_up_nobody_else() {
    let timing = NetworkTiming { write: Duration::from_millis(200), ..timing() };
    let end = End::open(1, NetworkConfig { timing, ..config() });
    let mut deaf = Stranger::welcome(&end, HELLO);
    // One answer a read, however many pulses it brings: a flood of them is answered by few bytes.
    deaf.says(&vec![0; 1 << 20]);
    assert_serves(&end, 3);
    deaf.says(&frames(2, &[probe(4)]));
    assert_eq!(end.receive(2, 1), [probe(4)]);
}
