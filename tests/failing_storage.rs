//! A storage that fails on its k-th call, for every k: typed errors, no panic, nothing acknowledged that is not there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use quorate::causality::{Identity, Secret};
use quorate::error::{OpenError, StorageError};
use quorate::request::Cursor;
use quorate::ring::{Member, plan_first};
use quorate::storage::{Batch, MemoryStorage, Space, Storage, Visit};
use quorate::{
    Bytes, ClusterId, Context, GetOptions, Input, Keyspace, Message, Node, NodeId, Now, Output, PutOptions, Reply,
    Request, Setup, Start, Ticket, Time, WallTime,
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
