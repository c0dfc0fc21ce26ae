//! Bad input: a typed error that says what happened, no panic, nothing acknowledged that is not there.

use quorate::causality::{Identity, Secret};
use quorate::config::{ConfigError, Limits, Timing};
use quorate::error::{ContextError, DecodeError, GetError, ListError, OpenError, PutError};
use quorate::reconcile::{Reconciled, Reconciler, Sibling};
use quorate::request::Cursor;
use quorate::ring::{Member, plan_first};
use quorate::sim::{DiskFault, Sim};
use quorate::storage::MemoryStorage;
use quorate::{
    Bytes, Cluster, ClusterId, Codec, Context, GetOptions, Input, Keyspace, Mode, Node, NodeId, Now, Output,
    PutOptions, Quorum, Request, Setup, Start, Ticket,
};
use std::sync::Arc;
use std::time::Duration;

const IDENTITY: Identity = Identity { cluster: ClusterId(1), secret: Secret::new([1; 16]) };
const NOW: Now = Now { time: quorate::Time(1), wall: quorate::WallTime(1) };

fn members(count: u64) -> Vec<Member> {
    (1..=count).map(|node| Member::new(NodeId(node))).collect()
}

fn setup(node: u64, count: u64) -> Setup {
    let layout = Arc::new(plan_first(&members(count), 3, 16).unwrap().layout);
    Setup::new(IDENTITY, NodeId(node), layout, vec![Keyspace::new("default")])
}

fn open(setup: Setup) -> Result<Node<MemoryStorage>, OpenError> {
    Node::open(setup, vec![MemoryStorage::new()], Start(7), 1, NOW)
}

/// Frames of a put that a node sends to its peers.
fn frames(codec: &Codec) -> Vec<Vec<u8>> {
    let mut node = open(setup(1, 3)).unwrap();
    let keyspace = Keyspace::new("default").id();
    let (key, value, context) = (Bytes::from("k"), Some(Bytes::from("value")), Context::empty());
    node.step(
        NOW,
        Input::Request(Ticket(1), Request::Put { keyspace, key, value, context, options: PutOptions::default() }),
    );
    let mut messages = Vec::new();
    while let Some(output) = node.poll() {
        if let Output::Send(_, message) = output {
            messages.push(message);
        }
    }
    assert_eq!(messages.len(), 2);
    codec.encode(NodeId(1), &messages)
}

#[test]
fn impossible_quorums_are_refused_when_they_are_made_and_when_they_are_asked_for() {
    assert_eq!(Quorum::new(3, 0, 2), Err(ConfigError::Quorum { n: 3, r: 0, w: 2 }));
    assert_eq!(Quorum::new(3, 2, 4), Err(ConfigError::Quorum { n: 3, r: 2, w: 4 }));
    let mut sim = Sim::new(3, 1);
    let node = sim.members()[0];
    for r in [0, 4, u8::MAX] {
        let options = GetOptions { r: Some(r), ..GetOptions::default() };
        assert_eq!(sim.get_with(node, "k", options), Err(GetError::Quorum { asked: r, n: 3 }));
        let options = PutOptions { w: Some(r), ..PutOptions::default() };
        let put = sim.put_with(node, "k", Some("v"), &Context::empty(), options);
        assert_eq!(put, Err(PutError::Quorum { asked: r, n: 3 }));
    }
    sim.settle();
    assert!(sim.values(node, "k").is_empty());
}

#[test]
fn settings_that_do_not_go_together_open_nothing() {
    assert!(plan_first(&members(2), 3, 16).is_err(), "two members can't hold three copies");
    let stranger = Setup { node: NodeId(9), ..setup(1, 3) };
    assert_eq!(open(stranger).unwrap_err(), ConfigError::NotAMember(NodeId(9)).into());
    assert!(matches!(
        open(Setup { keyspaces: vec![], ..setup(1, 3) }),
        Err(OpenError::Config(ConfigError::Nothing(_)))
    ));
    let twice = vec![Keyspace::new("a"), Keyspace::new("a")];
    let twice = Setup { keyspaces: twice, ..setup(1, 3) };
    assert!(matches!(open(twice), Err(OpenError::Config(ConfigError::Keyspaces(..)))));
    let five = vec![Keyspace::new("a").quorum(Quorum::new(5, 3, 3).unwrap())];
    let five = Setup { keyspaces: five, ..setup(1, 3) };
    assert!(matches!(open(five), Err(OpenError::Config(ConfigError::Replicas { .. }))));
    let none = vec![Keyspace::new("a").max_siblings(0)];
    let none = open(Setup { keyspaces: none, ..setup(1, 3) });
    assert!(matches!(none, Err(OpenError::Config(ConfigError::Limit { name: "max_siblings", value: 0 }))), "{none:?}");
    let limits = Limits { hint_bytes: 0, ..Limits::default() };
    assert!(matches!(open(Setup { limits, ..setup(1, 3) }), Err(OpenError::Config(ConfigError::Limit { .. }))));
    let timing = Timing { suspect: Duration::from_secs(3), ..Timing::default() };
    assert!(matches!(open(Setup { timing, ..setup(1, 3) }), Err(OpenError::Config(ConfigError::Timing { .. }))));
    let limits = Limits { value: 0, ..Limits::default() };
    assert!(matches!(open(Setup { limits, ..setup(1, 3) }), Err(OpenError::Config(ConfigError::Limit { .. }))));
    let timing = Timing { suspect: Duration::ZERO, ..Timing::default() };
    assert!(matches!(open(Setup { timing, ..setup(1, 3) }), Err(OpenError::Config(ConfigError::Timing { .. }))));
    assert!(matches!(Cluster::builder(0).start(), Err(OpenError::Config(_))));
}

#[test]
fn a_storage_of_another_node_is_refused_and_left_as_it_is() {
    let storage = open(setup(1, 3)).unwrap().into_storages();
    let other = Node::open(setup(2, 3), storage.clone(), Start(8), 1, NOW);
    assert!(matches!(other, Err(OpenError::Foreign { what: "node", .. })));
    assert!(Node::open(setup(1, 3), storage, Start(9), 1, NOW).is_ok());
}

#[test]
fn keys_and_values_that_are_too_long_are_refused_with_both_numbers() {
    let mut sim = Sim::new(3, 1);
    let node = sim.members()[0];
    let limits = Limits::default();
    let long = "k".repeat(limits.key + 1);
    assert_eq!(sim.put(node, &long, "v"), Err(PutError::KeyTooLong { got: limits.key + 1, limit: limits.key }));
    assert_eq!(sim.get(node, &long), Err(GetError::KeyTooLong { got: limits.key + 1, limit: limits.key }));
    let large = "v".repeat(limits.value + 1);
    assert_eq!(sim.put(node, "k", &large), Err(PutError::ValueTooLong { got: limits.value + 1, limit: limits.value }));
    sim.put(node, &long[1..], &large[1..]).unwrap();
}

#[test]
fn contexts_of_another_key_and_garbled_ones_are_refused_and_harm_nothing() {
    let mut sim = Sim::new(3, 1);
    let node = sim.members()[0];
    let context = sim.put(node, "a", "1").unwrap().context;
    let foreign = sim.put_with(node, "b", Some("2"), &context, PutOptions::default());
    assert_eq!(foreign, Err(PutError::Context(ContextError::Foreign)));
    let keyspace = Keyspace::new("default").id();
    let bytes = context.to_bytes();
    let opened = |key: &[u8], bytes: &[u8]| sim.node(node).unwrap().context(keyspace, key, bytes);
    assert_eq!(opened(b"a", &bytes), Ok(context.clone()));
    assert_eq!(opened(b"b", &bytes), Err(ContextError::Foreign));
    assert!(matches!(opened(b"a", &vec![1; 1 << 20]), Err(ContextError::TooLong { .. })));
    for cut in 1..bytes.len() {
        assert!(opened(b"a", &bytes[..cut]).is_err());
    }
}

/// version 1 · no route · a seal · nothing shown · one dot each of 10,000 starts.
#[test]
fn a_forged_context_of_ten_thousand_actors_is_refused_by_its_length_or_by_its_seal() {
    let mut forged = vec![1, 0];
    forged.extend_from_slice(&[0x5e; 16]);
    forged.extend_from_slice(&[0, 0, 0, 0x90, 0x4e]);
    for start in 1..=10_000_u64 {
        forged.push(2);
        forged.extend_from_slice(&start.to_le_bytes());
        forged.extend_from_slice(&[1, 0]);
    }
    let keyspace = Keyspace::new("default").id();
    let opened = |limits: Limits| {
        let node = open(Setup { limits, ..setup(1, 3) }).unwrap();
        let opened = node.context(keyspace, b"k", &forged);
        assert!(!node.wants_commit());
        opened
    };
    let limit = Limits::default().context;
    assert_eq!(opened(Limits::default()), Err(ContextError::TooLong { got: forged.len(), limit }));
    assert_eq!(opened(Limits { context: 1 << 20, ..Limits::default() }), Err(ContextError::Foreign));
}

#[test]
fn every_cut_and_every_flipped_byte_of_a_frame_is_refused() {
    let codec = Codec::new(IDENTITY, 1 << 20);
    for frame in frames(&codec) {
        assert_eq!(codec.decode(&frame).unwrap().1.len(), 2);
        for at in 0..frame.len() {
            assert!(codec.decode(&frame[..at]).is_err());
            let mut garbled = frame.clone();
            garbled[at] ^= 0x41;
            assert!(codec.decode(&garbled).is_err(), "byte {at}");
        }
        assert!(codec.decode(&[&frame[..], &[0]].concat()).is_err(), "a byte too many");
        let other = Codec::new(Identity { cluster: ClusterId(2), ..IDENTITY }, 1 << 20);
        assert_eq!(other.decode(&frame), Err(DecodeError::Cluster(ClusterId(1))));
        let short = Codec::new(IDENTITY, frame.len() - 1);
        assert!(matches!(short.decode(&frame), Err(DecodeError::TooLong { .. })));
    }
}

/// The checksum is no protection against who can compute it: what decodes all the same must not break a node.
#[test]
fn a_garbled_message_with_a_good_checksum_breaks_nothing() {
    let codec = Codec::new(IDENTITY, 1 << 20);
    let mut node = open(setup(2, 3)).unwrap();
    let mut taken = 0;
    for frame in frames(&codec) {
        for at in 0..frame.len() - 4 {
            for bit in 0..8 {
                let mut garbled = frame[..frame.len() - 4].to_vec();
                garbled[at] ^= 1 << bit;
                garbled.extend_from_slice(&crc32(&garbled).to_le_bytes());
                let Ok((from, messages)) = codec.decode(&garbled) else { continue };
                taken += 1;
                for message in messages {
                    node.step(NOW, Input::Message(from, message));
                }
                node.commit().unwrap();
                while node.poll().is_some() {}
            }
        }
    }
    assert!(taken > 0);
    assert!(node.inspect(Keyspace::new("default").id(), b"k").is_ok());
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

#[test]
fn strangers_of_another_layout_are_refused() {
    let codec = Codec::new(IDENTITY, 1 << 20);
    let mut node = open(setup(2, 4)).unwrap();
    for frame in frames(&codec) {
        for message in codec.decode(&frame).unwrap().1 {
            node.step(NOW, Input::Message(NodeId(77), message));
        }
    }
    assert_eq!((node.counters().refused, node.wants_commit()), (2, false));
    assert!(node.inspect(Keyspace::new("default").id(), b"k").unwrap().is_none_or(|versions| versions.is_empty()));
}

#[test]
fn a_batch_of_more_requests_than_a_node_takes_at_once_is_taken_bit_by_bit() {
    let cluster = Cluster::builder(3).start().unwrap();
    let bucket = cluster.client(NodeId(1)).unwrap().bucket("default").unwrap();
    let puts = || (0..20_000).map(|index| (format!("k{index}"), "v", Context::empty()));
    // However busy the machine is.
    let patient = PutOptions { deadline: Some(Duration::from_secs(60)), ..PutOptions::default() };
    let all_owners = PutOptions { w: Some(3), ..patient.clone() };
    for results in [bucket.put_many_with(puts(), &patient).wait(), bucket.put_many_with(puts(), &all_owners).wait()] {
        let refused = results.iter().filter(|result| result.is_err()).count();
        assert_eq!(refused, 0, "of {}: {:?}", results.len(), results.iter().find(|result| result.is_err()));
    }
    let read = bucket.get_many_with(["k1", "k19999"], &GetOptions { r: Some(4), ..GetOptions::default() });
    assert_eq!(read.wait(), vec![Err(GetError::Quorum { asked: 4, n: 3 }); 2]);
}

#[test]
fn a_batch_that_waits_for_a_replica_that_is_gone_is_not_refused_for_its_length() {
    let limits = Limits { in_flight: 1_024, ..Limits::default() };
    let cluster = Cluster::builder(3).limits(limits).start().unwrap();
    cluster.stop(NodeId(3));
    let bucket = cluster.client(NodeId(1)).unwrap().bucket("default").unwrap();
    let all_owners = PutOptions {
        w: Some(3),
        mode: Some(Mode::Strict),
        deadline: Some(Duration::from_millis(20)),
        ..PutOptions::default()
    };
    let puts = (0..4_000).map(|index| (format!("k{index}"), "v", Context::empty()));
    let results = bucket.put_many_with(puts, &all_owners).wait();
    let short = results.iter().filter(|result| matches!(result, Err(PutError::Unavailable(_))));
    assert_eq!((short.count(), results.len()), (4_000, 4_000), "{:?}", results[0]);
}

#[test]
fn unknown_keyspaces_and_garbled_cursors_are_refused() {
    let cluster = Cluster::builder(3).start().unwrap();
    let client = cluster.client(NodeId(1)).unwrap();
    assert!(client.bucket("nobody's").is_none());
    assert!(cluster.client(NodeId(9)).is_none());
    assert_eq!(Cursor::from_bytes(&[1, 2]), Err(ListError::Cursor));
    let beyond = Cursor::from_bytes(&u32::MAX.to_be_bytes()).unwrap();
    assert_eq!(client.bucket("default").unwrap().list(beyond, 10).wait(), Err(ListError::Cursor));
}

struct Panics;
impl Reconciler for Panics {
    fn reconcile(&self, _key: &[u8], _siblings: &[Sibling<'_>]) -> Reconciled {
        panic!("a reconciler with a bug")
    }
}
struct Lies;
impl Reconciler for Lies {
    fn reconcile(&self, _key: &[u8], siblings: &[Sibling<'_>]) -> Reconciled {
        Reconciled::Pick(siblings.len())
    }
}

#[test]
fn a_reconciler_that_panics_or_lies_costs_its_own_request_alone() {
    for keyspace in [Keyspace::new("default").reconciler(Panics), Keyspace::new("default").reconciler(Lies)] {
        let mut sim = Sim::builder(3, 1).keyspaces(vec![keyspace]).build();
        let node = sim.members()[0];
        sim.put(node, "k", "1").unwrap();
        assert_eq!(sim.values(node, "k"), ["1"], "one version needs no reconciler");
        sim.put(node, "k", "2").unwrap();
        assert_eq!(sim.get(node, "k"), Err(GetError::Reconciler));
        assert_eq!(sim.values(node, "other"), [""; 0]);
        assert_eq!(sim.stored(sim.owners("k")[0], "k"), ["1", "2"], "the data is untouched");
    }
}

#[test]
fn a_storage_that_fails_acknowledges_nothing_that_is_not_there() {
    for fault in [DiskFault::Reads, DiskFault::Writes, DiskFault::Sync] {
        let mut sim = Sim::builder(3, 1).quorum(3, 2, 2, Mode::Strict).build();
        let [first, second, third] = sim.owners("k")[..] else { unreachable!() };
        for node in [second, third] {
            sim.disk(node)[0].set(fault, true);
        }
        let put = sim.put(first, "k", "v");
        assert!(matches!(put, Err(PutError::Unavailable(_))), "{fault:?}: {put:?}");
        let through_failing = sim.put(second, "k", "w");
        assert!(through_failing.is_err(), "{fault:?}: {through_failing:?}");
    }
}

#[test]
fn durations_beyond_all_measure_neither_panic_nor_hang() {
    let timing = Timing { deadline: Duration::MAX, handoff: Duration::MAX / 64, ..Timing::default() };
    let mut sim = Sim::builder(5, 1).timing(timing).build();
    let bystander = sim.bystanders("k")[0];
    let options = PutOptions { deadline: Some(Duration::MAX), ..PutOptions::default() };
    sim.put_with(bystander, "k", Some("v"), &Context::empty(), options).unwrap();
    assert_eq!(sim.values(bystander, "k"), ["v"]);
    assert!(Cluster::builder(3).start().unwrap().settle(Duration::MAX));
}
