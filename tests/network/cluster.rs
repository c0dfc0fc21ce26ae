//! Whole nodes over loopback: requests, a node that goes and comes back, a node that is cut off, gossip.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate::config::{Mode, Timing};
use quorate::error::{GetError, PutError};
use quorate::members::Introduce;
use quorate::ring::plan_first;
use quorate::runtime::Bucket;
use quorate::storage::MemoryStorage;
use quorate::transports::{NetworkConfig, NetworkServer};
use quorate::{Context, GetOptions, Keyspace, Layout, Member, NodeId, PutOptions, Setup};

use super::{IDENTITY, LONG, until};

type Server = NetworkServer<MemoryStorage>;

fn layout() -> Arc<Layout> {
    let members = [1, 2, 3].map(|node| Member::new(NodeId(node)));
    Arc::new(plan_first(&members, 3, 16).unwrap().layout)
}

fn setup(node: u64) -> Setup {
    let setup = Setup::new(IDENTITY, NodeId(node), layout(), vec![Keyspace::new("default")]);
    let timing = Timing { handoff: Duration::from_millis(50), gossip: Duration::from_millis(20), ..Timing::default() };
    Setup { founding: true, timing, ..setup }
}

fn open(setup: Setup, storages: Vec<MemoryStorage>, config: NetworkConfig) -> Server {
    Server::open(setup, storages, config, |_| {}, |_| {}).unwrap()
}

/// Three nodes that know where each is.
struct Three {
    nodes: BTreeMap<u64, Server>,
    config: fn(u64) -> NetworkConfig,
}

impl Three {
    fn open(config: fn(u64) -> NetworkConfig) -> Self {
        let open = |node| (node, open(setup(node), vec![MemoryStorage::new()], config(node)));
        let three = Self { nodes: (1..=3).map(open).collect(), config };
        (1..=3).for_each(|node| three.tell(node));
        three
    }

    /// Tells all where this one is, and it where all are.
    fn tell(&self, node: u64) {
        let address = |node| Some(self.nodes[&node].transport().local_address().to_string());
        for (other, server) in &self.nodes {
            server.transport().set_address(NodeId(node), address(node));
            self.nodes[&node].transport().set_address(NodeId(*other), address(*other));
        }
    }

    fn bucket(&self, node: u64) -> Bucket {
        self.nodes[&node].client().bucket("default").unwrap()
    }
}

/// Puts and gets through each node, one that goes and misses something, and gets it when it is back.
fn serves_and_heals(config: fn(u64) -> NetworkConfig) {
    let mut three = Three::open(config);
    for node in 1..=3 {
        for key in 0..20 {
            let _ = three.bucket(node).put(format!("{node}-{key}"), "value", &Context::empty()).wait().unwrap();
        }
    }
    for node in 1..=3 {
        for other in 1..=3 {
            for key in 0..20 {
                let options = GetOptions { mode: Some(Mode::Strict), ..GetOptions::default() };
                let read = three.bucket(node).get_with(format!("{other}-{key}"), options).wait().unwrap();
                assert_eq!(read.values, ["value"]);
            }
        }
    }
    let peer = |three: &Three, node: u64, of: u64| {
        let status = three.nodes[&of].transport().status();
        status.peers.into_iter().find(|peer| peer.node == NodeId(node)).unwrap()
    };
    let talk = peer(&three, 2, 1);
    assert!(talk.messages_out > 20 && talk.messages_in > 20 && talk.bytes_out > 1_000, "{talk:?}");
    assert!(talk.connected_since.is_some() && talk.accepted_since.is_some());

    let stopped = three.nodes.remove(&3).unwrap().stop();
    assert!(stopped.error.is_none());
    for key in 0..50 {
        let _ = three.bucket(1).put(format!("missed-{key}"), "value", &Context::empty()).wait().unwrap();
    }
    // All three own each key.
    let pending = || -> u64 { [1, 2].iter().map(|node| three.nodes[node].server().counters().hints_pending).sum() };
    until("the others keep a hint for each", || pending() == 50);
    // It comes back with its storage, at another port.
    let server = open(Setup { founding: false, ..setup(3) }, stopped.storages, (three.config)(3));
    three.nodes.insert(3, server);
    three.tell(3);
    for node in [1, 2] {
        assert!(three.nodes[&node].server().hints_settled(LONG), "hints of node {node} go home");
    }
    assert!(peer(&three, 3, 1).connects >= 2 && peer(&three, 1, 3).accepted_since.is_some());
    // By itself alone it has all: the others are gone.
    drop(three.nodes.remove(&1).unwrap().stop());
    drop(three.nodes.remove(&2).unwrap().stop());
    for key in 0..50 {
        let one = GetOptions { r: Some(1), ..GetOptions::default() };
        let read = three.bucket(3).get_with(format!("missed-{key}"), one).wait().unwrap();
        assert_eq!(read.values, ["value"], "missed-{key}");
    }
}

#[test]
fn three_nodes_serve_and_one_that_was_away_is_given_what_it_missed() {
    serves_and_heals(|_| NetworkConfig::new("127.0.0.1:0"));
}

#[cfg(feature = "tls")]
#[test]
fn under_tls_three_nodes_serve_and_one_that_was_away_is_given_what_it_missed() {
    serves_and_heals(|node| NetworkConfig { tls: Some(super::tls::tls(node)), ..NetworkConfig::new("127.0.0.1:0") });
}

#[test]
fn a_node_that_is_cut_off_serves_what_it_can_and_the_others_go_on() {
    let three = Three::open(|_| NetworkConfig::new("127.0.0.1:0"));
    let strict = PutOptions { mode: Some(Mode::Strict), ..PutOptions::default() };
    let _ = three.bucket(3).put_with("key", "before", &Context::empty(), strict.clone()).wait().unwrap();
    // It runs, and has no network any more.
    assert!(three.nodes[&3].transport().stop(LONG));
    let _ = three.bucket(1).put_with("other", "value", &Context::empty(), strict.clone()).wait().unwrap();
    let refused = three.bucket(3).put_with("key", "alone", &Context::empty(), strict).wait();
    assert!(matches!(refused, Err(PutError::Unavailable(_))), "{refused:?}");
    let read = GetOptions { mode: Some(Mode::Strict), ..GetOptions::default() };
    let refused = three.bucket(3).get_with("key", read).wait();
    assert!(matches!(refused, Err(GetError::Unavailable(_))), "{refused:?}");
    let sloppy = three.bucket(3).get("key").wait().unwrap();
    assert!(sloppy.values.iter().any(|value| *value == "before"), "sloppy, it answers from what it has: {sloppy:?}");
}

/// Two of three know where the first is, and nothing else. Where the others are their records say.
#[test]
fn where_peers_are_is_told_by_gossip() {
    let introduced = |node| {
        let seeds = if node == 1 { vec![] } else { vec![NodeId(1)] };
        Setup { membership: Some(Introduce::new("", seeds)), ..setup(node) }
    };
    let listen = || NetworkConfig::new("127.0.0.1:0");
    let first = open(introduced(1), vec![MemoryStorage::new()], listen());
    let address = first.transport().local_address().to_string();
    let others = [2, 3].map(|node| {
        let config = NetworkConfig { addresses: BTreeMap::from([(NodeId(1), address.clone())]), ..listen() };
        open(introduced(node), vec![MemoryStorage::new()], config)
    });
    let all = [&first, &others[0], &others[1]];
    until("all know all", || all.iter().all(|node| node.server().membership().unwrap().len() == 3));
    for (server, peer) in [(&others[0], 3), (&others[1], 2), (&first, 3)] {
        until("it is spoken to", || {
            let _ = server.client().bucket("default").unwrap().put("key", "value", &Context::empty()).wait();
            let status = server.transport().status();
            status.peers.iter().any(|status| status.node == NodeId(peer) && status.connected_since.is_some())
        });
    }
}

/// A client coordinates for itself: it knows where one node is, and nodes learn by gossip where to answer it.
#[test]
fn a_client_of_its_own_is_answered_where_gossip_says_it_is() {
    let introduced = |node| Setup { membership: Some(Introduce::new("", vec![NodeId(1)])), ..setup(node) };
    let first = open(introduced(1), vec![MemoryStorage::new()], NetworkConfig::new("127.0.0.1:0"));
    let address = first.transport().local_address().to_string();
    let config = || NetworkConfig {
        addresses: BTreeMap::from([(NodeId(1), address.clone())]),
        ..NetworkConfig::new("127.0.0.1:0")
    };
    let others = [2, 3].map(|node| open(introduced(node), vec![MemoryStorage::new()], config()));
    let client = Setup { client: true, founding: false, ..introduced(99) };
    let client = open(client, vec![MemoryStorage::new()], config());
    let all = [&first, &others[0], &others[1], &client];
    until("all know all", || all.iter().all(|node| node.server().membership().unwrap().len() == 4));
    let bucket = |server: &Server| server.client().bucket("default").unwrap();
    let strict = || GetOptions { mode: Some(Mode::Strict), ..GetOptions::default() };
    let strictly = PutOptions { mode: Some(Mode::Strict), ..PutOptions::default() };
    until("it is answered", || bucket(&client).get_with("key", strict()).wait().is_ok());
    for key in 0..20 {
        let key = format!("key-{key}");
        let _ = bucket(&client).put_with(&*key, "value", &Context::empty(), strictly.clone()).wait().unwrap();
        assert_eq!(bucket(&first).get_with(&*key, strict()).wait().unwrap().values, ["value"]);
        assert_eq!(bucket(&client).get_with(&*key, strict()).wait().unwrap().values, ["value"]);
    }
    assert!(all.iter().all(|node| node.server().with_node(|node| node.staged().is_none()).unwrap()));
}

#[test]
fn what_cannot_be_opened_leaves_nobody_listening() {
    let server = open(setup(1), vec![MemoryStorage::new()], NetworkConfig::new("127.0.0.1:0"));
    let address = server.transport().local_address().to_string();
    drop(server.kill());
    let nobody = Setup { node: NodeId(9), ..setup(1) };
    let refused = Server::open(nobody, vec![MemoryStorage::new()], NetworkConfig::new(&address), |_| {}, |_| {});
    assert!(refused.is_err());
    drop(open(setup(1), vec![MemoryStorage::new()], NetworkConfig::new(address)).stop());
}
