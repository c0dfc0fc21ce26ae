//! What is run in every order. A scenario fails by a panic; a thread that waits for ever is one, by the checker.
//!
//! Each runs with the shipped sources and, in other modules, with sources that a fault was put into.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use loom::thread;

use super::client::Bucket;
use super::local::LocalNetwork;
use super::pending::{Pending, PendingAll, Slot};
use super::server::Server;
use super::sync::AtomicUsize;
use super::sync::Ordering;
use crate::error::GetError;
use crate::ids::{NodeId, Ticket};
use crate::message::Message;
use crate::node::{Keyspace, Plan, Setup, Steps};
use crate::request::{Reply, Versions};
use crate::transport::Transport;
use crate::{Scenario, clock};

type Answer = Result<Versions, GetError>;

pub const ALL: &[Scenario] = &[
    Scenario { name: "two-calls", run: two_calls, preemptions: None },
    Scenario { name: "three-calls", run: three_calls, preemptions: Some(2) },
    Scenario { name: "batch-and-call", run: batch_and_call, preemptions: Some(3) },
    Scenario { name: "full-inbox", run: full_inbox, preemptions: Some(2) },
    Scenario { name: "look-and-call", run: look_and_call, preemptions: None },
    Scenario { name: "delivery-and-call", run: delivery_and_call, preemptions: None },
    Scenario { name: "two-servers", run: two_servers, preemptions: Some(3) },
    Scenario { name: "slow-network", run: slow_network, preemptions: Some(3) },
    Scenario { name: "kill-and-call", run: kill_and_call, preemptions: None },
    Scenario { name: "kill-and-two-calls", run: kill_and_two_calls, preemptions: Some(2) },
    Scenario { name: "kill-in-progress", run: kill_in_progress, preemptions: None },
    Scenario { name: "stop-and-call", run: stop_and_call, preemptions: Some(3) },
    Scenario { name: "stop-and-peer", run: stop_and_peer, preemptions: Some(2) },
    Scenario { name: "deadline", run: deadline, preemptions: Some(3) },
    Scenario { name: "two-deadlines", run: two_deadlines, preemptions: Some(2) },
    Scenario { name: "stop-at-deadline", run: stop_at_deadline, preemptions: Some(3) },
    Scenario { name: "kill-and-timer", run: kill_and_timer, preemptions: None },
    Scenario { name: "wait", run: wait, preemptions: None },
    Scenario { name: "wait-for", run: wait_for, preemptions: None },
    Scenario { name: "awaited", run: awaited, preemptions: None },
    Scenario { name: "await-then-wait", run: await_then_wait, preemptions: None },
    Scenario { name: "drop", run: dropped, preemptions: None },
    Scenario { name: "await-all", run: await_all, preemptions: None },
    Scenario { name: "wait-for-all", run: wait_for_all, preemptions: None },
];

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

fn setup(node: NodeId, plan: Plan) -> Setup {
    Setup { node, keyspaces: vec![Keyspace::new("k")], limits: crate::config::Limits::default(), plan }
}

/// A transport that leads nowhere.
struct Nowhere;

impl Transport for Nowhere {
    fn send(&self, _: NodeId, _: &mut Vec<Message>) {}
}

fn open(plan: Plan) -> (Server<Steps>, Steps) {
    clock::reset();
    let steps = Steps::default();
    (Server::open(setup(A, plan), vec![steps.clone()], Arc::new(Nowhere), |_| {}).unwrap(), steps)
}

fn open_without_timer(plan: Plan) -> (Server<Steps>, Steps) {
    super::sync::thread::without(|| open(plan))
}

/// Two calls at once are one too many for its inbox.
fn open_small() -> (Server<Steps>, Steps) {
    clock::reset();
    let steps = Steps::default();
    let mut setup = setup(A, Plan::AtOnce);
    setup.limits.inbox = 1;
    let server = super::sync::thread::without(|| Server::open(setup, vec![steps.clone()], Arc::new(Nowhere), |_| {}));
    (server.unwrap(), steps)
}

fn local(network: &LocalNetwork, node: NodeId, plan: Plan) -> Server<Steps> {
    clock::reset();
    super::sync::thread::without(|| {
        Server::open_local(setup(node, plan), vec![Steps::default()], network, |_| {}).unwrap()
    })
}

fn bucket(server: &Server<Steps>) -> Bucket {
    server.client().bucket("k").unwrap()
}

fn calls(server: &Server<Steps>) -> thread::JoinHandle<Answer> {
    let bucket = bucket(server);
    thread::spawn(move || bucket.get("key").wait())
}

/// An answer, or word that the server has stopped.
fn is_told(answer: &Answer) {
    assert!(matches!(answer, Ok(_) | Err(GetError::Stopped)), "{answer:?}");
}

// ---- who finds the node held leaves the request to the holder

pub fn two_calls() {
    let (server, steps) = open_without_timer(Plan::AtOnce);
    let other = calls(&server);
    bucket(&server).get("key").wait().unwrap();
    other.join().unwrap().unwrap();
    assert_eq!(steps.count(), 2);
}

pub fn three_calls() {
    let (server, steps) = open_without_timer(Plan::AtOnce);
    let others = [calls(&server), calls(&server)];
    bucket(&server).get("key").wait().unwrap();
    others.into_iter().for_each(|other| assert!(other.join().unwrap().is_ok()));
    assert_eq!(steps.count(), 3);
}

pub fn batch_and_call() {
    let (server, steps) = open_without_timer(Plan::AtOnce);
    let other = calls(&server);
    let answers = bucket(&server).get_many(["a", "b"]).wait();
    assert!(answers.iter().all(Result::is_ok));
    other.join().unwrap().unwrap();
    assert_eq!(steps.count(), 3);
}

pub fn look_and_call() {
    let (server, steps) = open_without_timer(Plan::AtOnce);
    let other = calls(&server);
    let _ = server.counters();
    other.join().unwrap().unwrap();
    assert_eq!(steps.count(), 1);
}

pub fn delivery_and_call() {
    let (server, steps) = open_without_timer(Plan::AtOnce);
    let other = calls(&server);
    server.deliver(B, vec![Message::Ask(Ticket(0))]);
    other.join().unwrap().unwrap();
    assert_eq!(steps.count(), 2, "nobody is left to take along what is queued");
}

pub fn full_inbox() {
    let (server, steps) = open_small();
    let others = [calls(&server), calls(&server)];
    let mut answers = vec![bucket(&server).get("key").wait()];
    answers.extend(others.map(|other| other.join().unwrap()));
    assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(GetError::Overloaded))), "{answers:?}");
    assert_eq!(steps.count(), answers.iter().filter(|answer| answer.is_ok()).count());
    // There is room again.
    assert!(bucket(&server).get_many(["key"]).wait()[0].is_ok());
}

// ---- nodes that step one another

pub fn two_servers() {
    let network = LocalNetwork::new();
    let (a, b) = (local(&network, A, Plan::Ask(B)), local(&network, B, Plan::Ask(A)));
    let other = calls(&b);
    bucket(&a).get("key").wait().unwrap();
    other.join().unwrap().unwrap();
}

pub fn slow_network() {
    let network = LocalNetwork::new();
    let (a, _b) = (local(&network, A, Plan::Ask(B)), local(&network, B, Plan::AtOnce));
    network.slow(B, Duration::from_millis(1));
    bucket(&a).get("key").wait().unwrap();
    // By now the thread that lets messages go has nothing to do.
    bucket(&a).get("key").wait().unwrap();
}

// ---- servers that end while they are called

pub fn kill_and_call() {
    let (server, _) = open_without_timer(Plan::AtOnce);
    let other = calls(&server);
    let _ = server.kill();
    is_told(&other.join().unwrap());
}

pub fn kill_and_two_calls() {
    let (server, _) = open_without_timer(Plan::AtOnce);
    let others = [calls(&server), calls(&server)];
    let _ = server.kill();
    others.into_iter().for_each(|other| is_told(&other.join().unwrap()));
}

/// What is in progress is told as well, and so is who comes too late.
pub fn kill_in_progress() {
    let (server, _) = open_without_timer(Plan::Ask(B));
    let bucket = bucket(&server);
    let other = calls(&server);
    let _ = server.kill();
    assert!(matches!(other.join().unwrap(), Err(GetError::Stopped)));
    assert!(matches!(bucket.get("key").wait(), Err(GetError::Stopped)));
}

pub fn stop_and_call() {
    let (server, steps) = open_without_timer(Plan::AtOnce);
    let other = calls(&server);
    let _ = server.stop();
    let answer = other.join().unwrap();
    is_told(&answer);
    assert!(steps.count() == 1 || answer.is_err(), "answered without a step");
}

/// What is in progress comes to its end, also when another thread brings the answer.
pub fn stop_and_peer() {
    let network = LocalNetwork::new();
    let (a, b) = (local(&network, A, Plan::Ask(B)), local(&network, B, Plan::AtOnce));
    let other = calls(&b);
    let pending = bucket(&a).get("key");
    let _ = a.stop();
    pending.wait().unwrap();
    other.join().unwrap().unwrap();
}

// ---- the timer thread, which no tick helps

pub fn deadline() {
    let (server, _) = open(Plan::At(10_000));
    bucket(&server).get("key").wait().unwrap();
    let _ = server.kill();
}

pub fn two_deadlines() {
    let (server, _) = open(Plan::At(10_000));
    let other = calls(&server);
    bucket(&server).get("key").wait().unwrap();
    other.join().unwrap().unwrap();
    let _ = server.kill();
}

pub fn stop_at_deadline() {
    let (server, _) = open(Plan::At(10_000));
    let pending = bucket(&server).get("key");
    let _ = server.stop();
    pending.wait().unwrap();
}

pub fn kill_and_timer() {
    let (server, _) = open(Plan::AtOnce);
    let _ = server.kill();
}

// ---- one answer, however it is waited for

fn pending() -> (Arc<Slot>, Pending<bool>) {
    clock::reset();
    let slot = Arc::new(Slot::default());
    (Arc::clone(&slot), Pending::new(slot, |reply| matches!(reply, Reply::Get(Ok(_)))))
}

fn fill(slot: Arc<Slot>) -> thread::JoinHandle<()> {
    thread::spawn(move || slot.fill(Reply::Get(Ok(Versions::default()))))
}

/// An executor for one future: it polls only when it is woken, and once for each waking.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Woken(AtomicUsize, thread::Thread);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::AcqRel);
            self.1.unpark();
        }
    }
    let woken = Arc::new(Woken(AtomicUsize::new(0), thread::current()));
    let waker = Waker::from(Arc::clone(&woken));
    let mut future = pin!(future);
    for polls in 1.. {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while woken.0.load(Ordering::Acquire) < polls {
            thread::park();
        }
    }
    unreachable!()
}

pub fn wait() {
    let (slot, pending) = pending();
    let filler = fill(slot);
    assert!(pending.wait());
    filler.join().unwrap();
}

pub fn wait_for() {
    let (slot, pending) = pending();
    let filler = fill(slot);
    assert!(pending.wait_for(Duration::from_millis(1)).unwrap_or_else(Pending::wait));
    filler.join().unwrap();
}

pub fn awaited() {
    let (slot, pending) = pending();
    let filler = fill(slot);
    assert!(block_on(pending));
    filler.join().unwrap();
}

/// A handle that was polled, then waited for with a timeout, then awaited again.
pub fn await_then_wait() {
    let (slot, mut pending) = pending();
    let filler = fill(slot);
    let first = Pin::new(&mut pending).poll(&mut Context::from_waker(Waker::noop()));
    let answer = match first {
        Poll::Ready(answer) => answer,
        Poll::Pending => pending.wait_for(Duration::from_millis(1)).unwrap_or_else(block_on),
    };
    assert!(answer);
    filler.join().unwrap();
}

pub fn dropped() {
    let (slot, pending) = pending();
    let filler = fill(Arc::clone(&slot));
    let done = pending.is_done();
    drop(pending);
    filler.join().unwrap();
    let again = Pending::new(slot, |_| ());
    assert!(again.is_done(), "it was done before: {done}");
}

pub fn await_all() {
    let (slots, list): (Vec<_>, Vec<_>) = (0..2).map(|_| pending()).unzip();
    let fillers: Vec<_> = slots.into_iter().map(fill).collect();
    assert_eq!(block_on(PendingAll::new(list)), [true, true]);
    fillers.into_iter().for_each(|filler| filler.join().unwrap());
}

pub fn wait_for_all() {
    let (slots, list): (Vec<_>, Vec<_>) = (0..2).map(|_| pending()).unzip();
    let fillers: Vec<_> = slots.into_iter().map(fill).collect();
    let answers = PendingAll::new(list).wait_for(Duration::from_millis(1)).unwrap_or_else(PendingAll::wait);
    assert_eq!(answers, [true, true]);
    fillers.into_iter().for_each(|filler| filler.join().unwrap());
}
