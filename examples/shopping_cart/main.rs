//! The shopping cart: 69,659 real purchases, five nodes, from the 200th purchase on two of them failing at any time, and
//! not one purchase lost.
//!
//! Every purchase is a read-modify-write of its customer's cart through a node chosen at random; purchases of one
//! customer run side by side through different nodes, so carts diverge, and a reconciler of the application's own
//! merges them. A put of unknown outcome is repeated under its write id. In the end all carts are read back.
//!
//! `cargo run --release --example shopping_cart` (`-- --quick` takes the first 5,000 purchases)

#![allow(clippy::disallowed_methods, reason = "an example may look at the clock and start threads")]

mod cart;
mod chaos;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use cart::{Cart, Item, MergeCarts};
use chaos::Chaos;
use quorate::config::Timing;
use quorate::ids::WriteId;
use quorate::runtime::Bucket;
use quorate::sim::SimDisk;
use quorate::{Cluster, GetOptions, Keyspace, PutOptions};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

const PURCHASES: &str = include_str!("../data/cdnow_purchases.txt");
const WORKERS: u64 = 16;
/// After so many purchases the first two nodes fail; from then on two always do.
const CALM: usize = 200;
/// Every so many purchases they recover, and the next two fail: in the whole run, and in the quick one.
const CHAOS: [usize; 2] = [2_000, 500];
/// Every so many purchases the customer also puts something into the cart and thinks better of it.
const REGRET: usize = 10;
const REGRETTED: u32 = 1 << 30;

struct Purchase {
    customer: &'static str,
    item: Item,
}

struct Shop {
    cluster: Cluster<SimDisk>,
    purchases: Vec<Purchase>,
    next: AtomicUsize,
    done: AtomicUsize,
    requests: AtomicU64,
    repeated: AtomicU64,
    chaos: Mutex<(Chaos, Xoshiro256PlusPlus)>,
    chaos_every: usize,
    /// As a load balancer does: until how many purchases are done each node is left alone, for it failed a request.
    shunned: Vec<AtomicUsize>,
    started: Instant,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let purchases: Vec<Purchase> = PURCHASES.lines().take(if quick { 5_000 } else { usize::MAX }).map(parse).collect();
    // N = 3, R = W = 2 are the defaults. In one process a replica that takes 20 ms is late.
    let timing = Timing {
        deadline: Duration::from_millis(300),
        fallback: Duration::from_millis(20),
        suspect: Duration::from_millis(60),
        repair: Duration::from_millis(20),
        probe: Duration::from_millis(20),
        handoff: Duration::from_millis(50),
        ..Timing::default()
    };
    let cluster = Cluster::builder(5)
        .timing(timing)
        .keyspace(Keyspace::business_logic("carts").reconciler(MergeCarts))
        .start_with(|_, _| SimDisk::new())
        .expect("the settings go together");
    let shop = Shop {
        cluster,
        purchases,
        next: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        requests: AtomicU64::new(0),
        repeated: AtomicU64::new(0),
        chaos: Mutex::new((Chaos::default(), Xoshiro256PlusPlus::seed_from_u64(7))),
        chaos_every: CHAOS[usize::from(quick)],
        shunned: (0..5).map(|_| AtomicUsize::new(0)).collect(),
        started: Instant::now(),
    };
    let mut latencies: Vec<Duration> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|seed| {
                let shop = &shop;
                scope.spawn(move || shop.work(seed))
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker ends well")).collect()
    });
    shop.report(&mut latencies);
    let lost = shop.check();
    std::process::exit(i32::from(lost > 0));
}

fn parse(line: &'static str) -> Purchase {
    let mut words = line.split(' ');
    let mut word = || words.next().expect("four words a line");
    let (customer, _day, discs, dollars) = (word(), word(), word(), word());
    let (whole, cents) = dollars.split_once('.').expect("dollars and cents");
    let number = |text: &str| text.parse::<u64>().expect("a number");
    Purchase { customer, item: Item { discs: number(discs) as u32, cents: number(whole) * 100 + number(cents) } }
}

impl Shop {
    /// Takes purchases until there are none left; returns how long each took.
    fn work(&self, seed: u64) -> Vec<Duration> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut latencies = Vec::new();
        loop {
            let index = self.next.fetch_add(1, Relaxed);
            let Some(purchase) = self.purchases.get(index) else { return latencies };
            let id = index as u32;
            let begin = Instant::now();
            self.change(&mut rng, purchase.customer, u128::from(id), |cart| cart.add(id, purchase.item));
            latencies.push(begin.elapsed());
            if index.is_multiple_of(REGRET) {
                let (id, item) = (id | REGRETTED, Item { discs: 1, cents: 1 });
                self.change(&mut rng, purchase.customer, 1 << 64 | u128::from(id), |cart| cart.add(id, item));
                self.change(&mut rng, purchase.customer, 2 << 64 | u128::from(id), |cart| cart.remove(id));
            }
            self.progress();
        }
    }

    /// Changes a customer's cart, through one node after another until the change is acknowledged.
    fn change(&self, rng: &mut Xoshiro256PlusPlus, customer: &str, write_id: u128, change: impl Fn(&mut Cart)) {
        let mut attempts = 0;
        while !self.try_to_change(rng, customer, write_id, &change) {
            attempts += 1;
            self.repeated.fetch_add(1, Relaxed);
            assert!(attempts < 1_000, "no node of five takes a write");
        }
    }

    fn try_to_change(
        &self,
        rng: &mut Xoshiro256PlusPlus,
        customer: &str,
        write_id: u128,
        change: &impl Fn(&mut Cart),
    ) -> bool {
        let (reading, writing) = (self.any_node(rng), self.any_node(rng));
        let Some(reader) = self.bucket(reading) else { return self.shun(reading) };
        self.requests.fetch_add(2, Relaxed);
        let Ok(found) = reader.get(customer).wait() else { return self.shun(reading) };
        let mut cart = found.value().map(|value| Cart::from_bytes(value).expect("a cart")).unwrap_or_default();
        change(&mut cart);
        let options = PutOptions { write_id: Some(WriteId(write_id)), ..PutOptions::default() };
        let Some(writer) = self.bucket(writing) else { return self.shun(writing) };
        let written = writer.put_with(customer, cart.to_bytes(), &found.context, options).wait();
        written.is_ok() || self.shun(writing)
    }

    /// A node at random, of those that have not just failed a request.
    fn any_node(&self, rng: &mut Xoshiro256PlusPlus) -> usize {
        let done = self.done.load(Relaxed);
        let mut draw = || rng.random_range(0..self.shunned.len());
        (0..16).map(|_| draw()).find(|&node| self.shunned[node].load(Relaxed) <= done).unwrap_or_else(draw)
    }

    fn shun(&self, node: usize) -> bool {
        self.shunned[node].store(self.done.load(Relaxed) + self.chaos_every / 8, Relaxed);
        false
    }

    /// Requests through a node; none if it is down.
    fn bucket(&self, node: usize) -> Option<Bucket> {
        self.cluster.client(self.cluster.members()[node])?.bucket("carts")
    }

    fn progress(&self) {
        let done = self.done.fetch_add(1, Relaxed) + 1;
        if done % self.chaos_every == CALM {
            let (chaos, rng) = &mut *self.chaos.lock().expect("nobody panics with it");
            chaos.turn(&self.cluster, rng);
            let percent = done * 100 / self.purchases.len();
            let rate = done as f64 / self.started.elapsed().as_secs_f64();
            eprint!("\r{percent:3} % · {done} purchases · {rate:.0} a second · {} crashes ", chaos.crashes);
        }
    }

    fn report(&self, latencies: &mut [Duration]) {
        let elapsed = self.started.elapsed();
        let (chaos, _) = &mut *self.chaos.lock().expect("nobody panics with it");
        chaos.heal(&self.cluster);
        eprintln!();
        let settled = self.cluster.settle(Duration::from_secs(60));
        latencies.sort_unstable();
        let at = |per_mille: usize| latencies[(latencies.len() - 1) * per_mille / 1_000];
        let counters = self.cluster.counters();
        let (crashes, cuts, slowdowns) = (chaos.crashes, chaos.cuts, chaos.slowdowns);
        println!("failures    {crashes} crashes with loss of unsynced data, {cuts} nodes cut off, {slowdowns} slowed");
        println!("siblings    {} reads met {} versions and merged them", counters.divergent, counters.siblings);
        println!("hints       {} writes kept, {} hints delivered", counters.hints_kept, counters.hints_delivered);
        println!("            all home: {settled}, pending {}", counters.hints_pending);
        println!("repeated    {} attempts of unknown outcome or at nodes that were down", self.repeated.load(Relaxed));
        println!("a purchase  p50 {:?} · p99 {:?} · p99.9 {:?} (one read and one write)", at(500), at(990), at(999));
        let requests = self.requests.load(Relaxed) as f64 / elapsed.as_secs_f64();
        println!("requests    {requests:.0} a second, in {:.1} s", elapsed.as_secs_f64());
    }

    /// Reads every cart back through nodes at random, and compares it with the file, item by item.
    fn check(&self) -> usize {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(8);
        let mut expected: BTreeMap<&str, BTreeMap<u32, Item>> = BTreeMap::new();
        for (index, purchase) in self.purchases.iter().enumerate() {
            expected.entry(purchase.customer).or_default().insert(index as u32, purchase.item);
        }
        let (mut found, mut lost, mut came_back) = (Total::default(), 0, 0);
        for (customer, items) in &expected {
            let bucket = self.bucket(rng.random_range(0..5)).expect("all nodes are up");
            let options = GetOptions { all: true, ..GetOptions::default() };
            let versions = bucket.get_with(*customer, options).wait().expect("all nodes are well");
            let cart = versions.value().and_then(|value| Cart::from_bytes(value)).unwrap_or_default();
            let cart: BTreeMap<u32, Item> = cart.items().collect();
            came_back += cart.keys().filter(|id| **id & REGRETTED != 0).count();
            for (id, item) in items {
                match cart.get(id) {
                    Some(bought) if bought == item => found.add(item),
                    _ => lost += 1,
                }
            }
        }
        let mut all = Total::default();
        self.purchases.iter().for_each(|purchase| all.add(&purchase.item));
        println!("removed items that came back {came_back} of {}", self.purchases.len().div_ceil(REGRET));
        println!(
            "purchases {} of {} · CDs {} of {} · dollars {} of {} · lost {lost}",
            found.purchases,
            all.purchases,
            found.discs,
            all.discs,
            found.dollars(),
            all.dollars()
        );
        lost + came_back
    }
}

#[derive(Default)]
struct Total {
    purchases: u32,
    discs: u32,
    cents: u64,
}

impl Total {
    fn add(&mut self, item: &Item) {
        self.purchases += 1;
        self.discs += item.discs;
        self.cents += item.cents;
    }

    fn dollars(&self) -> String {
        format!("{}.{:02}", self.cents / 100, self.cents % 100)
    }
}
