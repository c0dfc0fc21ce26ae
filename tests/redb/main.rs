//! Nodes whose storages are files: what is in them survives processes, is found damaged, filled again, copied and put
//! back.

mod backup;
mod cluster;
mod damage;
mod directory;
mod kill;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quorate::causality::{Identity, Secret};
use quorate::config::Timing;
use quorate::durable::{DataDirectory, DirectoryError, Options, RedbStorage};
use quorate::members::Introduce;
use quorate::ring::{Member, plan_first};
use quorate::runtime::{Bucket, LocalNetwork};
use quorate::{ClusterId, GetOptions, Keyspace, Mode, NodeId, PutOptions, Server, Setup};

const LONG: Duration = Duration::from_secs(60);

/// Little of everything: these tests hold hundreds of files.
fn options() -> Options {
    Options { cache: 4 << 20, reserve: 64 << 10, ..Options::default() }
}

/// A directory that is not there yet, and is removed at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("redb-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[allow(clippy::disallowed_methods, reason = "these nodes run on real clocks")]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < until, "not within {LONG:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Three nodes, each with its directory, in this process.
struct Three {
    root: PathBuf,
    network: LocalNetwork,
    nodes: BTreeMap<u64, Up>,
    gossip: bool,
    shards: u32,
}

struct Up {
    server: Server<RedbStorage>,
    directory: DataDirectory,
}

impl Three {
    /// With gossip layouts may change.
    fn start(root: &Path, gossip: bool) -> Self {
        Self::start_with(root, gossip, 1)
    }

    fn start_with(root: &Path, gossip: bool, shards: u32) -> Self {
        let (network, nodes) = (LocalNetwork::new(), BTreeMap::new());
        let mut three = Self { root: root.to_path_buf(), network, nodes, gossip, shards };
        (1..=3).for_each(|node| three.open(node).unwrap());
        three
    }

    fn path(&self, node: u64) -> PathBuf {
        self.root.join(format!("n{node}"))
    }

    fn directory(&self, node: u64) -> Result<DataDirectory, DirectoryError> {
        DataDirectory::open(self.path(node), NodeId(node), self.shards, &options())
    }

    fn open(&mut self, node: u64) -> Result<(), DirectoryError> {
        self.open_after(node, |_| {})
    }

    /// Does something to the storages first.
    fn open_after(&mut self, node: u64, prepare: impl FnOnce(&mut [RedbStorage])) -> Result<(), DirectoryError> {
        let directory = self.directory(node)?;
        let mut storages = directory.storages()?;
        prepare(&mut storages);
        let members: Vec<_> = (1..=3).map(|node| Member::new(NodeId(node))).collect();
        let layout = Arc::new(plan_first(&members, 3, 8).unwrap().layout);
        let identity = Identity { cluster: ClusterId(9), secret: Secret::new([9; 16]) };
        let keyspace = Keyspace::new("default").mode(Mode::Strict);
        let setup = Setup {
            founding: directory.is_new(),
            membership: self.gossip.then(|| Introduce::new("", vec![NodeId(1), NodeId(2)])),
            timing: Timing {
                exchange: Duration::from_millis(200),
                gossip: Duration::from_millis(20),
                deadline: Duration::from_millis(600),
                ..Timing::default()
            },
            ..Setup::new(identity, NodeId(node), layout, vec![keyspace])
        };
        let server = Server::open_local(setup, storages, &self.network, |_| {}).unwrap();
        self.nodes.insert(node, Up { server, directory });
        Ok(())
    }

    /// As a process ends that is killed: what was not synced is gone.
    fn kill(&mut self, node: u64) {
        let up = self.nodes.remove(&node).unwrap();
        drop(up.server.kill());
    }

    fn bucket(&self, node: u64) -> Bucket {
        self.nodes[&node].server.client().bucket("default").unwrap()
    }

    /// Puts, superseding what is there; through the node, until it is acknowledged.
    fn put(&self, node: u64, key: &str, value: &str) {
        let bucket = self.bucket(node);
        eventually(&format!("put of {key}"), || {
            let Ok(seen) = bucket.get(key).wait() else { return false };
            bucket.put_with(key, value, &seen.context, PutOptions::default()).wait().is_ok()
        });
    }

    /// What a strict read says; nothing if it is refused.
    fn get(&self, node: u64, key: &str) -> Option<Vec<String>> {
        let found = self.bucket(node).get_with(key, GetOptions::default()).wait().ok()?;
        Some(found.values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect())
    }

    /// All reads of all keys through the node say this, as soon as they are not refused.
    fn shows(&self, node: u64, expected: &BTreeMap<String, String>) {
        for (key, value) in expected {
            eventually(&format!("a read of {key} through {node}"), || match self.get(node, key) {
                Some(found) => {
                    assert_eq!(found, [value.as_str()], "{key} through {node}");
                    true
                }
                None => false,
            });
        }
    }

    /// Whichever of the three is away, the other two show all of it.
    fn every_two_show(&self, expected: &BTreeMap<String, String>) {
        for away in 1..=3 {
            self.network.isolate(NodeId(away), true);
            self.shows(away % 3 + 1, expected);
            self.network.isolate(NodeId(away), false);
        }
    }

    fn is_healed(&self) -> bool {
        self.nodes.values().all(|up| up.server.with_node(|node| node.debt().is_empty()).unwrap_or(false))
    }

    fn is_refilling(&self, node: u64) -> bool {
        let is = |debt: &quorate::status::Debt| matches!(debt, quorate::status::Debt::Refilling(_));
        self.nodes[&node].server.with_node(|node| node.debt().iter().any(is)).unwrap()
    }

    /// Where layouts change, an operator commits what the nodes ask for when a store has come in the place of another.
    fn renew(&self, through: u64) {
        self.renew_so_many(through, 1);
    }

    fn renew_all(&self, through: u64) {
        self.renew_so_many(through, 3);
    }

    fn renew_so_many(&self, through: u64, nodes: usize) {
        let server = &self.nodes[&through].server;
        let mut plan = None;
        eventually("nodes ask for their new stores", || {
            plan = server.staged().and_then(|change| server.preview(&change).ok());
            plan.as_ref().is_some_and(|plan| plan.renewed.len() == nodes)
        });
        let plan = plan.unwrap();
        server.commit_plan(&plan).unwrap();
        let is_decided = |up: &Up| up.server.with_node(|node| node.has_changed_to(&plan.layout)) == Some(true);
        eventually("the layout is decided", || self.nodes.values().all(is_decided));
    }
}

/// Puts so many keys through each of these nodes in turn.
fn fill(
    three: &Three,
    through: &[u64],
    keys: std::ops::Range<u32>,
    word: &str,
    expected: &mut BTreeMap<String, String>,
) {
    for (number, node) in keys.zip(through.iter().cycle()) {
        let (key, value) = (format!("key {number}"), format!("{word} {number}"));
        three.put(*node, &key, &value);
        expected.insert(key, value);
    }
}
