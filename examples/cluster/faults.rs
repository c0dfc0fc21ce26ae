//! Clients add to sets while nodes are killed, stopped and cut off; then everything must be there, at every node.
//!
//! Each set is a key whose siblings clients read, join, and write back with one element more. Nothing is ever taken out,
//! so what a read must show is easy to say: with R + W > N every element whose addition was acknowledged before the read
//! began. In the end every acknowledged element, nothing that nobody has added, and the same at all nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::client::{Answer, Client};
use crate::demo::wait_until;
use crate::process::{Cluster, Shape};

/// What is run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) duration: Duration,
    pub(crate) clients: u32,
    pub(crate) seed: u64,
    /// Each client rests so long between two additions.
    pub(crate) pause: Duration,
    /// Whether reads are regular: strict quorums that overlap.
    pub(crate) regular: bool,
}

/// So many sets are added to at a time.
const SETS: u64 = 8;
/// So many elements go into a set before the next takes its place.
const ELEMENTS: u64 = 150;
const HEALED: Duration = Duration::from_secs(180);

#[derive(Default)]
struct History {
    attempted: BTreeMap<String, BTreeSet<u64>>,
    acknowledged: BTreeMap<String, BTreeSet<u64>>,
    refused: u64,
    unknown: u64,
    reads: u64,
    failed_reads: u64,
    /// Reads that did not show what was acknowledged before they began.
    missed: Vec<String>,
    phantoms: Vec<String>,
}

struct Shared {
    history: Mutex<History>,
    next: AtomicU64,
    over: AtomicBool,
}

impl Shared {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often each kind of fault was done.
#[derive(Debug, Default)]
struct Done {
    kills: u64,
    pauses: u64,
    cuts: u64,
    spoilt: u64,
}

pub(crate) fn run(shape: &Shape, plan: &Plan, directory: &Path, keep: bool) -> io::Result<bool> {
    let mut cluster = Cluster::start(shape, directory, keep)?;
    println!("{} nodes, {}, {} clients, seed {}", shape.nodes, shape.mode, plan.clients, plan.seed);
    let shared = Arc::new(Shared { history: Mutex::default(), next: AtomicU64::new(0), over: AtomicBool::new(false) });
    let addresses: Vec<_> = cluster.nodes.iter().map(|node| node.clients).collect();
    let clients: Vec<_> = (0..plan.clients)
        .map(|number| {
            let (shared, addresses, plan) = (Arc::clone(&shared), addresses.clone(), plan.clone());
            thread::spawn(move || Adder::new(shared, addresses, &plan, number).run())
        })
        .collect();
    let done = befall(&mut cluster, plan, &shared)?;
    shared.over.store(true, Ordering::SeqCst);
    clients.into_iter().for_each(|client| client.join().expect("a client doesn't panic"));

    let begun = Instant::now();
    let healed = wait_until(HEALED, || cluster.debt() == Some(0)).is_ok();
    let healing = begun.elapsed();
    let history = shared.history();
    let mut lost = Vec::new();
    let (mut phantoms, mut unlike) = (history.phantoms.clone(), Vec::new());
    for (key, acknowledged) in &history.acknowledged {
        let mut found: Vec<BTreeSet<u64>> = Vec::new();
        for node in &cluster.nodes {
            found.push(read(&mut Client::connect(node.clients)?, key, Some(3))?.1);
        }
        lost.extend(acknowledged.difference(&found[0]).map(|element| format!("{key}: {element}")));
        phantoms.extend(found[0].difference(&history.attempted[key]).map(|element| format!("{key}: {element}")));
        if found.iter().any(|other| *other != found[0]) {
            unlike.push(key.clone());
        }
    }
    let attempted: usize = history.attempted.values().map(BTreeSet::len).sum();
    let acknowledged: usize = history.acknowledged.values().map(BTreeSet::len).sum();
    println!(
        "additions {attempted}, acknowledged {acknowledged}, refused {}, of unknown outcome {}; reads {}, failed {}",
        history.refused, history.unknown, history.reads, history.failed_reads
    );
    println!("kills {}, stops {}, cuts {}, bad ways {}", done.kills, done.pauses, done.cuts, done.spoilt);
    println!(
        "lost {}, phantoms {}, reads that missed {}, sets that differ {}, {} after {healing:.1?}",
        lost.len(),
        phantoms.len(),
        history.missed.len(),
        unlike.len(),
        if healed { "nothing owed" } else { "NOT HEALED" }
    );
    for line in lost.iter().chain(&phantoms).chain(&history.missed).chain(&unlike).take(20) {
        println!("    {line}");
    }
    let is_good = healed
        && acknowledged > 0
        && lost.is_empty()
        && phantoms.is_empty()
        && history.missed.is_empty()
        && unlike.is_empty();
    Ok(is_good)
}

/// Kills, stops and cuts off, one thing after the other and several at a time, until the time is over; then all is well.
fn befall(cluster: &mut Cluster, plan: &Plan, shared: &Shared) -> io::Result<Done> {
    let (begun, mut done) = (Instant::now(), Done::default());
    let mut random = Xoshiro256PlusPlus::seed_from_u64(plan.seed);
    let mut shown = Instant::now();
    while begun.elapsed() < plan.duration {
        thread::sleep(Duration::from_millis(random.random_range(100..1_200)));
        if shown.elapsed() > Duration::from_secs(20) {
            shown = Instant::now();
            let acknowledged: usize = shared.history().acknowledged.values().map(BTreeSet::len).sum();
            println!("    {:.0?} of {:?}: {acknowledged} acknowledged, {done:?}", begun.elapsed(), plan.duration);
        }
        let at = random.random_range(0..cluster.nodes.len());
        let (is_up, is_paused) = (cluster.nodes[at].is_up(), cluster.nodes[at].is_paused());
        match random.random_range(0..6) {
            _ if !is_up => cluster.nodes[at].start()?,
            _ if is_paused => cluster.nodes[at].go_on()?,
            0 | 1 => {
                cluster.nodes[at].kill();
                done.kills += 1;
            }
            2 => {
                cluster.nodes[at].pause()?;
                done.pauses += 1;
            }
            3 => {
                cluster.ground.cut(at)?;
                done.cuts += 1;
            }
            4 => {
                cluster.ground.spoil(at, random.random_range(0..cluster.nodes.len()))?;
                done.spoilt += 1;
            }
            _ => cluster.ground.mend()?,
        }
    }
    cluster.ground.mend()?;
    for node in &mut cluster.nodes {
        if !node.is_up() {
            node.start()?;
        } else if node.is_paused() {
            node.go_on()?;
        }
        node.wait_until_there()?;
    }
    Ok(done)
}

/// A client that adds.
struct Adder {
    shared: Arc<Shared>,
    addresses: Vec<std::net::SocketAddr>,
    random: Xoshiro256PlusPlus,
    pause: Duration,
    regular: bool,
    client: Option<Client>,
}

impl Adder {
    fn new(shared: Arc<Shared>, addresses: Vec<std::net::SocketAddr>, plan: &Plan, number: u32) -> Self {
        let random = Xoshiro256PlusPlus::seed_from_u64(plan.seed ^ u64::from(number) << 32);
        Self { shared, addresses, random, pause: plan.pause, regular: plan.regular, client: None }
    }

    fn run(mut self) {
        while !self.shared.over.load(Ordering::SeqCst) {
            if self.client.is_none() {
                let at = self.random.random_range(0..self.addresses.len());
                self.client = Client::connect(self.addresses[at]).ok();
            }
            match self.client.take() {
                Some(mut client) => {
                    // A connection on which something failed says nothing that can be believed any more.
                    if self.add(&mut client).is_ok() && !self.random.random_bool(0.05) {
                        self.client = Some(client);
                    }
                }
                None => thread::sleep(Duration::from_millis(20)),
            }
            thread::sleep(self.pause);
        }
    }

    fn add(&mut self, client: &mut Client) -> io::Result<()> {
        let element = self.shared.next.fetch_add(1, Ordering::SeqCst);
        let set = element / (SETS * ELEMENTS) * SETS + self.random.random_range(0..SETS);
        let key = format!("set-{set}");
        let before = self.shared.history().acknowledged.get(&key).cloned().unwrap_or_default();
        let result = read(client, &key, None);
        let (context, mut elements) = {
            let mut history = self.shared.history();
            history.reads += 1;
            match result {
                Ok((context, elements)) => {
                    if self.regular {
                        let missed = before.difference(&elements);
                        history.missed.extend(missed.map(|element| format!("{key}: {element} not shown")));
                    }
                    let attempted = history.attempted.entry(key.clone()).or_default();
                    let phantoms: Vec<_> = elements.difference(attempted).map(|it| format!("{key}: {it}")).collect();
                    attempted.insert(element);
                    history.phantoms.extend(phantoms);
                    (context, elements)
                }
                Err(error) => {
                    history.failed_reads += 1;
                    return Err(error);
                }
            }
        };
        elements.insert(element);
        let value: Vec<String> = elements.iter().map(u64::to_string).collect();
        let answer = client.ask(&[b"VPUT", key.as_bytes(), &context, value.join(",").as_bytes()]);
        let mut history = self.shared.history();
        match answer {
            Ok(Answer::Bytes(_)) => {
                history.acknowledged.entry(key).or_default().insert(element);
                Ok(())
            }
            Ok(_) => {
                history.refused += 1;
                Ok(())
            }
            Err(error) => {
                history.unknown += 1;
                Err(error)
            }
        }
    }
}

/// The context, and all elements of all versions.
fn read(client: &mut Client, key: &str, r: Option<u8>) -> io::Result<(Vec<u8>, BTreeSet<u64>)> {
    let r = r.map(|r| r.to_string());
    let mut words: Vec<&[u8]> = vec![b"VGET", key.as_bytes()];
    words.extend(r.as_ref().map(String::as_bytes));
    let failed = |answer: Answer| io::Error::other(format!("VGET {key}: {answer:?}"));
    let mut parts = match client.ask(&words)? {
        Answer::List(parts) => parts.into_iter(),
        answer => return Err(failed(answer)),
    };
    let Some(Answer::Bytes(context)) = parts.next() else { return Err(failed(Answer::Nothing)) };
    let mut elements = BTreeSet::new();
    for part in parts {
        let Answer::Bytes(value) = part else { return Err(failed(part)) };
        let text = std::str::from_utf8(&value).map_err(io::Error::other)?;
        for element in text.split(',') {
            elements.insert(element.parse().map_err(io::Error::other)?);
        }
    }
    Ok((context, elements))
}
