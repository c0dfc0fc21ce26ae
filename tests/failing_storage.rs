//! A storage that fails on its k-th call, for every k: typed errors, no panic, nothing acknowledged that is not there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use quorate::causality::{Identity, Secret};
use quorate::error::{GetError, OpenError, StorageError};
use quorate::request::Cursor;
use quorate::ring::{Member, plan_first};
use quorate::storage::{Batch, MemoryStorage, Space, Storage, Visit, mark_set_back};
use quorate::{
    Bytes, Cluster, ClusterId, Context, GetOptions, Input, Keyspace, Message, Mode, Node, NodeId, Now, Output,
    PutOptions, Reply, Request, Setup, Start, Ticket, Time, WallTime,
};

/// Fails one call: the one at which the countdown reaches zero.
#[derive(Clone, Default)]
struct Flaky {
    inner: MemoryStorage,
    countdown: Arc<AtomicI64>,
}

impl Flaky {
    fn fails(&self) -> bool {
        self.countdown.fetch_sub(1, Ordering::Relaxed) == 0
    }
}

impl Storage for Flaky {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        if self.fails() { Err(StorageError::Read("k-th call".into())) } else { self.inner.get(space, key) }
    }
    fn write(&mut self, batch: &Batch) -> Result<(), StorageError> {
        if self.fails() { Err(StorageError::Full) } else { self.inner.write(batch) }
    }
    fn scan(&self, space: Space, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        if self.fails() { Err(StorageError::Read("k-th call".into())) } else { self.inner.scan(space, from, visit) }
    }
    fn sync(&mut self) -> Result<(), StorageError> {
        if self.fails() { Err(StorageError::Sync("k-th call".into())) } else { self.inner.sync() }
    }
}

/// Three nodes, driven by hand; one of them has the storage that fails.
struct Three {
    nodes: Vec<Option<Node<Flaky>>>,
    queue: VecDeque<(NodeId, NodeId, Message)>,
    replies: Vec<Reply>,
    time: u64,
    countdown: Arc<AtomicI64>,
}

const NEVER: i64 = i64::MAX / 2;

impl Three {
    /// The failing node is the one at `at`. It may not even open: then it stays down.
    fn open(at: usize, k: i64) -> Self {
        let members: Vec<_> = (1..=3).map(|node| Member::new(NodeId(node))).collect();
        let layout = Arc::new(plan_first(&members, 3, 4).unwrap().layout);
        let identity = Identity { cluster: ClusterId(1), secret: Secret::new([1; 16]) };
        let countdown = Arc::new(AtomicI64::new(k));
        let nodes = (0..3).map(|index| {
            let setup = Setup::new(identity, NodeId(index + 1), Arc::clone(&layout), vec![Keyspace::new("default")]);
            let own = if index as usize == at { Arc::clone(&countdown) } else { Arc::new(AtomicI64::new(NEVER)) };
            let storage = Flaky { countdown: own, ..Flaky::default() };
            match Node::open(setup, vec![storage], Start(100 + index), 1, now(1)) {
                Ok(node) => Some(node),
                Err(OpenError::Storage(_)) => None,
                Err(other) => panic!("{other}"),
            }
        });
        Self { nodes: nodes.collect(), queue: VecDeque::new(), replies: Vec::new(), time: 1, countdown }
    }

    fn ask(&mut self, at: usize, request: Request) -> Option<Reply> {
        self.nodes[at].as_mut()?.step(now(self.time), Input::Request(Ticket(0), request));
        self.settle(at);
        for _ in 0..100 {
            if let Some(reply) = self.replies.pop() {
                return Some(reply);
            }
            // Nobody has anything to say: time passes until somebody has.
            let due = self.nodes.iter().flatten().filter_map(Node::deadline).min()?;
            self.time = self.time.max(due.0);
            for index in 0..3 {
                if let Some(node) = &mut self.nodes[index] {
                    node.step(now(self.time), Input::Wake);
                }
                self.settle(index);
            }
        }
        panic!("no answer");
    }

    fn settle(&mut self, first: usize) {
        self.drain(first);
        while let Some((from, to, message)) = self.queue.pop_front() {
            let index = to.0 as usize - 1;
            if let Some(node) = &mut self.nodes[index] {
                node.step(now(self.time), Input::Message(from, message));
                self.drain(index);
            }
        }
    }

    fn drain(&mut self, index: usize) {
        let Some(node) = &mut self.nodes[index] else { return };
        for durable in [false, true] {
            if durable {
                let _ = node.commit();
            }
            while let Some(output) = node.poll() {
                match output {
                    Output::Send(to, message) => self.queue.push_back((NodeId(index as u64 + 1), to, message)),
                    Output::Done(_, reply) => self.replies.push(reply),
                    _ => {}
                }
            }
        }
    }

    /// How many nodes hold exactly these values.
    fn holding(&self, values: &[&str]) -> usize {
        let left = self.countdown.swap(NEVER, Ordering::Relaxed);
        let holds = |node: &&Node<Flaky>| {
            let held = node.inspect(Keyspace::new("default").id(), b"k").unwrap().unwrap();
            held.iter().map(|version| std::str::from_utf8(&version.value).unwrap()).eq(values.iter().copied())
        };
        let count = self.nodes.iter().flatten().filter(holds).count();
        self.countdown.store(left, Ordering::Relaxed);
        count
    }
}

fn now(time: u64) -> Now {
    Now { time: Time(time), wall: WallTime(1_000_000 + time) }
}

fn put(value: Option<&str>, context: Context) -> Request {
    let (keyspace, key) = (Keyspace::new("default").id(), Bytes::from("k"));
    Request::Put { keyspace, key, value: value.map(Bytes::from), context, options: PutOptions::default() }
}

/// Put, get, put again, delete, list, through every node in turn. Tells whether the fault was met.
fn script(failing: usize, k: i64) -> bool {
    let keyspace = Keyspace::new("default").id();
    let mut three = Three::open(failing, k);
    let mut context = Context::empty();
    let mut known = true;
    for (at, value) in [(0, Some("1")), (1, Some("2")), (2, Some("3")), (0, Some("4")), (1, None)] {
        match three.ask(at, put(value, context.clone())) {
            Some(Reply::Put(Ok(written))) => {
                context = written.context;
                let held = three.holding(&value.into_iter().collect::<Vec<_>>());
                assert!(!known || held >= 2, "node {failing}, call {k}: {value:?} was acknowledged, {held} hold it");
            }
            // Down, or refused: what is there now is not known for sure any more.
            Some(Reply::Put(Err(_))) | None => known = false,
            other => panic!("{other:?}"),
        }
        let get = Request::Get { keyspace, key: "k".into(), options: GetOptions::default() };
        assert!(matches!(three.ask((at + 1) % 3, get), Some(Reply::Get(_)) | None));
    }
    let list = Request::List { keyspace, cursor: Cursor::default(), limit: 10 };
    assert!(matches!(three.ask(2, list), Some(Reply::List(_)) | None));
    // Whoever is healthy must go on as if nothing had happened.
    let healthy = (failing + 1) % 3;
    let last = three.ask(healthy, put(Some("last"), Context::empty()));
    assert!(matches!(last, Some(Reply::Put(Ok(_)))), "node {failing}, call {k}: {last:?}");
    three.countdown.load(Ordering::Relaxed) < 0
}

#[test]
fn every_call_of_every_node_may_fail_once() {
    for failing in 0..3 {
        let calls = (0..1_000).take_while(|&k| script(failing, k)).count();
        assert!((21..1_000).contains(&calls), "node {failing}: the script makes {calls} calls");
    }
}

/// The second and the third acknowledge; the third is set back; the first and the third together know nothing of it.
fn read_without_the_second(set_back: fn(&mut MemoryStorage)) -> Result<Vec<Bytes>, GetError> {
    let keyspace = Keyspace::new("default").mode(Mode::Strict);
    let cluster = Cluster::builder(3).partitions(4).keyspace(keyspace).start().unwrap();
    let bucket = |node| cluster.client(NodeId(node)).unwrap().bucket("default").unwrap();
    let _ = bucket(1).put("k", "old", &Context::empty()).wait().unwrap();
    assert!(cluster.settle(Duration::from_secs(60)));
    let older = cluster.with_server(NodeId(3), |server| server.with_node(|node| node.storages().next().cloned()));
    cluster.isolate(NodeId(1), true);
    let seen = bucket(2).get("k").wait().unwrap();
    let _ = bucket(2).put("k", "new", &seen.context).wait().unwrap();
    cluster.crash(NodeId(2), |_| {});
    cluster.crash(NodeId(3), |storage| {
        *storage = older.clone().flatten().flatten().unwrap();
        set_back(storage);
    });
    cluster.restart(NodeId(3)).unwrap();
    cluster.isolate(NodeId(1), false);
    let found = bucket(1).get("k").wait().map(|found| found.values);
    cluster.restart(NodeId(2)).unwrap();
    if found.is_err() {
        // Beside the second it is filled again, and shows all that it had acknowledged.
        let shown = (0..30).find_map(|_| bucket(3).get("k").wait().ok()).unwrap();
        assert_eq!(shown.values, ["new"]);
    }
    found
}

#[test]
fn a_storage_that_says_that_it_was_set_back_helps_no_read_to_miss_a_write() {
    let said = read_without_the_second(|storage| mark_set_back(storage).unwrap());
    assert!(matches!(said, Err(GetError::Unavailable(_))), "{said:?}");
    let unsaid = read_without_the_second(|_| {});
    assert_eq!(unsaid.unwrap(), ["old"], "nobody could have known");
}
