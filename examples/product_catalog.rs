//! A product catalog: the "high performance read engine" (Dynamo §6) with R = 1 and W = N.
//!
//! Any one owner answers a read: the fastest path there is, and any two of a key's three owners may be dead. The price
//! is the writes'. Here they are strict: all three owners must store an update, so that every later read sees it, and
//! while one of them is out of reach the update is refused (it may be stored where it got to, and is put again). Where
//! an update must always be taken it is put in sloppy mode: a hint at a fallback counts then, and an owner that was
//! away may show the old price until the hint is home.
//!
//! `cargo run --release --example product_catalog` (`-- --quick` for a short run)

#![allow(clippy::disallowed_methods, reason = "an example may start threads and measure time")]

use std::error::Error;
use std::time::{Duration, Instant};

use quorate::error::{GetError, PutError};
use quorate::ids::WriteId;
use quorate::runtime::Bucket;
use quorate::{Cluster, Context, GetOptions, Keyspace, Mode, NodeId, PutOptions};
use rand::rngs::{SysRng, Xoshiro256PlusPlus};
use rand::{RngExt, SeedableRng, TryRng};

const NODES: u64 = 5;
const BOOK: &str = "0545010225";

fn bucket(cluster: &Cluster, node: NodeId) -> Option<Bucket> {
    cluster.client(node)?.bucket("catalog")
}

/// Through every node that is up.
fn buckets(cluster: &Cluster) -> Vec<Bucket> {
    cluster.members().into_iter().filter_map(|node| bucket(cluster, node)).collect()
}

/// Who owns the book? A strict read of all owners that reaches none of them names them in its evidence.
fn owners(cluster: &Cluster) -> Result<Vec<NodeId>, Box<dyn Error>> {
    cluster.members().iter().for_each(|&node| cluster.isolate(node, true));
    let options = GetOptions { r: Some(3), deadline: Some(Duration::from_millis(5)), ..GetOptions::default() };
    let read = buckets(cluster)[0].get_with(BOOK, options).wait();
    cluster.members().iter().for_each(|&node| cluster.isolate(node, false));
    match read {
        Err(GetError::Unavailable(evidence)) => Ok(evidence.answers.into_iter().map(|(node, _)| node).collect()),
        other => Err(format!("nobody can have answered: {other:?}").into()),
    }
}

/// Reads through the nodes in turn: one in four is of the book, the others are of any product. Reads a second.
fn browse(through: &[Bucket], products: u64, reads: usize, r: u8, seed: u64) -> Result<f64, GetError> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let (options, started) = (GetOptions { r: Some(r), ..GetOptions::default() }, Instant::now());
    for at in 0..reads {
        let key = if at % 4 == 0 { BOOK.into() } else { key(rng.random_range(0..products)) };
        let read = through[at % through.len()].get_with(key, options.clone()).wait()?;
        assert!(read.value().is_some(), "every product is in the catalog");
    }
    Ok(reads as f64 / started.elapsed().as_secs_f64())
}

fn key(product: u64) -> String {
    format!("{product:010}")
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn check(holds: bool, what: &str) -> Result<(), Box<dyn Error>> {
    if holds { Ok(()) } else { Err(what.into()) }
}

fn main() -> Result<(), Box<dyn Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (products, reads, rounds) = if quick { (2_000, 5_000, 5) } else { (20_000, 40_000, 11) };
    let cluster = Cluster::builder(NODES).keyspace(Keyspace::read_engine("catalog", 3)?).start()?;
    let all = buckets(&cluster);

    let page = |product| format!("{{\"title\": \"Product {product}\", \"text\": \"{}\"}}", "x".repeat(200));
    for first in (0..products).step_by(500) {
        let puts = (first..first + 500).map(|product| (key(product), page(product), Context::empty()));
        all[0].put_many(puts).wait().into_iter().collect::<Result<Vec<_>, _>>()?;
    }
    let mut price = all[1].put(BOOK, "price 19.99", &Context::empty()).wait()?.context;
    println!("{products} products and {BOOK}, on three of {NODES} nodes each");

    // R = 1 beside R = 2, round about, for the machine may be busy with other things at any time.
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        one.push(browse(&all, products, reads, 1, round)?);
        two.push(browse(&all, products, reads, 2, round)?);
    }
    let (one, two) = (median(one), median(two));
    println!("R=1 {:.0} reads/s, R=2 {:.0} reads/s, in one thread: {:.2} to 1", one, two, one / two);

    // Two of the three owners of the book die: every node that is left still reads it.
    let owners = owners(&cluster)?;
    owners[..2].iter().for_each(|&node| cluster.crash(node, |_| {}));
    let left = buckets(&cluster);
    let (started, mut slowest) = (Instant::now(), Duration::ZERO);
    for at in 0..reads {
        let asked = Instant::now();
        let read = left[at % left.len()].get(BOOK).wait()?;
        slowest = slowest.max(asked.elapsed());
        check(read.value().is_some_and(|value| *value == "price 19.99"), "a read with two owners dead")?;
    }
    let rate = reads as f64 / started.elapsed().as_secs_f64();
    println!("{} and {} of owners {owners:?} are dead: {rate:.0} reads/s, slowest {slowest:.0?}", owners[0], owners[1]);

    // What that costs: an update needs all three. It is refused, with evidence; it may be stored at the one that lives.
    let (deadline, name) = (Some(Duration::from_millis(500)), WriteId(u128::from(SysRng.try_next_u64()?)));
    let strict = PutOptions { deadline, write_id: Some(name), ..PutOptions::default() };
    match left[0].put_with(BOOK, "price 9.99", &price, strict.clone()).wait() {
        Err(PutError::Unavailable(evidence)) => println!("a strict update: {evidence}"),
        other => return Err(format!("two owners are dead, and all must store it: {other:?}").into()),
    }
    // Put again under its name, sloppy: fallbacks keep it for those that are away, and a read shows it once.
    let sloppy = PutOptions { mode: Some(Mode::Sloppy), ..strict };
    let taken = left[0].put_with(BOOK, "price 9.99", &price, sloppy).wait()?;
    println!("put again, sloppy: {} owner and {} fallbacks have it", taken.owners, taken.fallbacks);
    let read = left[0].get(BOOK).wait()?;
    check(read.value().is_some_and(|value| *value == "price 9.99"), "one value of a write that was put twice")?;
    price = read.context;

    // All are back. The next strict update is seen by the very next read through any node.
    for &node in &owners[..2] {
        cluster.restart(node)?;
    }
    let mut seen = 0;
    for cents in 0..20 {
        let value = format!("price 8.{cents:02}");
        price = buckets(&cluster)[cents % 5].put(BOOK, value.as_str(), &price).wait()?.context;
        for bucket in buckets(&cluster) {
            let read = bucket.get(BOOK).wait()?;
            seen += usize::from(read.value().is_some_and(|found| *found == value.as_str()));
        }
    }
    check(seen == 100, "a read at R=1 after an acknowledged strict update")?;
    println!("checked: {reads} reads with two of three owners dead, {seen} reads after an acknowledged update each");
    Ok(())
}
