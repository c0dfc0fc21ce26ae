//! A cluster on files, whose nodes crash and come back at random.

use quorate::error::StorageError;
use quorate::storage::{Batch, Space, Storage, Visit};
use quorate::{Bytes, Cluster};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::*;

/// A storage that can be opened again in its place.
struct Reopened {
    path: PathBuf,
    node: NodeId,
    storage: Option<RedbStorage>,
}

impl Reopened {
    fn open(path: PathBuf, node: NodeId) -> Self {
        let storage = DataDirectory::open(&path, node, 1, &options()).unwrap().storages().unwrap().pop();
        Self { path, node, storage }
    }

    /// What is in the file, and nothing else.
    fn crash(&mut self) {
        self.storage = None;
        *self = Self::open(self.path.clone(), self.node);
    }

    fn inner(&self) -> &RedbStorage {
        self.storage.as_ref().unwrap()
    }
}

impl Storage for Reopened {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.inner().get(space, key)
    }
    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.storage.as_mut().unwrap().write(batch)
    }
    fn scan(&self, space: Space, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        self.inner().scan(space, from, visit)
    }
    fn sync(&mut self) -> Result<(), StorageError> {
        self.storage.as_mut().unwrap().sync()
    }
}

#[test]
fn what_was_acknowledged_is_there_whichever_nodes_crash_and_come_back() {
    let root = Temporary::new();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
    let timing = Timing { exchange: Duration::from_millis(300), ..Timing::default() };
    let cluster = Cluster::builder(4)
        .partitions(8)
        .shards(2)
        .timing(timing)
        .keyspace(Keyspace::new("default").mode(Mode::Strict))
        .start_with(|node, shard| Reopened::open(root.join(format!("{node} {shard}")), node))
        .unwrap();
    let mut down: Option<NodeId> = None;
    let mut keys: BTreeMap<u32, Known> = BTreeMap::new();
    for number in 0..300_u32 {
        if rng.random_ratio(1, 12) {
            match down.take() {
                Some(node) => cluster.restart(node).unwrap(),
                None => {
                    let node = NodeId(rng.random_range(1..=4));
                    cluster.crash(node, Reopened::crash);
                    down = Some(node);
                }
            }
        }
        let Some(client) = cluster.client(NodeId(rng.random_range(1..=4))) else { continue };
        let (bucket, key) = (client.bucket("default").unwrap(), rng.random_range(0..40));
        let name = format!("key {key}");
        let Ok(seen) = bucket.get(name.as_str()).wait() else { continue };
        let known = keys.entry(key).or_default();
        known.check(key, &seen.values);
        match bucket.put(name.as_str(), number.to_string(), &seen.context).wait() {
            Ok(_) => known.acknowledged = Some(number),
            Err(_) => known.possible.push(number),
        }
    }
    if let Some(node) = down {
        cluster.restart(node).unwrap();
    }
    let is_healed = |node| cluster.with_server(NodeId(node), |server| server.with_node(|node| node.debt().is_empty()));
    eventually("nothing is owed", || (1..=4).all(|node| is_healed(node) == Some(Some(true))));
    for node in 1..=4 {
        cluster.crash(NodeId(node), Reopened::crash);
        cluster.restart(NodeId(node)).unwrap();
    }
    assert!(keys.values().filter(|known| known.acknowledged.is_some()).count() > 20);
    for (key, known) in &keys {
        let bucket = cluster.client(NodeId(1 + u64::from(key % 4))).unwrap().bucket("default").unwrap();
        known.check(*key, &bucket.get(format!("key {key}")).wait().unwrap().values);
    }
}

/// What one client knows of a key that nobody else writes.
#[derive(Default, Debug)]
struct Known {
    /// The latest that was acknowledged.
    acknowledged: Option<u32>,
    /// Those that failed: each may have been written, and may appear later.
    possible: Vec<u32>,
}

impl Known {
    fn check(&self, key: u32, found: &[Bytes]) {
        let found: Vec<u32> = found.iter().map(|value| String::from_utf8_lossy(value).parse().unwrap()).collect();
        let is_possible = |number: &u32| self.acknowledged == Some(*number) || self.possible.contains(number);
        assert!(found.iter().all(is_possible), "{key}: {found:?}, {self:?}");
        // A later one that failed may have superseded it.
        if let Some(last) = self.acknowledged.filter(|last| self.possible.iter().all(|number| number < last)) {
            assert!(found.contains(&last), "{key}: {found:?}, {self:?}");
        }
    }
}
