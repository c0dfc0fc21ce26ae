//! Predictions beside what clients of a simulated cluster see, whose network is known.
#![cfg(feature = "sim")]

use std::time::Duration;

use quorate::config::{Durability, Timing};
use quorate::latencies::Latencies;
use quorate::sim::Sim;
use quorate::sla::{
    Coordinator, Estimate, Freshness, Latency, Model, Prediction, Replica, Share, Sla, Trials, Trip, predict_copies,
};
use quorate::{Context, GetOptions, Keyspace, Mode, NodeId, PutOptions, Quorum};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

const NODES: u64 = 5;
const DELAY: Duration = Duration::from_micros(500);
const JITTER: Duration = Duration::from_millis(10);
/// As long as a simulated sync takes.
const SYNC: Duration = Duration::from_micros(300);
const AFTER: Duration = Duration::from_millis(2);
/// Writes, and as many reads, of each setting.
const COUNT: u32 = 1_500;
const PERCENTILE: f64 = 0.9;

/// What was seen of one setting.
struct Seen {
    read: Vec<Duration>,
    write: Vec<Duration>,
    fresh: u32,
}

fn cluster() -> Sim {
    let keyspace = Keyspace::new("default").quorum(Quorum::new(3, 1, 1).unwrap()).mode(Mode::Strict);
    // Hedged reads are left out of the model, and what goes on in the background of this cluster is none of its matter.
    let timing = Timing { hedge_percent: 0, exchange: Duration::MAX, ..Timing::default() };
    let mut sim = Sim::builder(NODES, 1).keyspaces(vec![keyspace]).timing(timing).encode(false).build();
    (sim.network.delay, sim.network.jitter) = (DELAY, JITTER);
    sim
}

/// Any node is asked to write, and when it has, any other to read so long after.
fn observe(sim: &mut Sim, r: u8, put: &PutOptions, after: Duration, rng: &mut Xoshiro256PlusPlus) -> Seen {
    let mut seen = Seen { read: Vec::new(), write: Vec::new(), fresh: 0 };
    for number in 0..COUNT {
        let (key, any) =
            (format!("{r} {put:?} {number}"), |rng: &mut Xoshiro256PlusPlus| NodeId(rng.random_range(1..=NODES)));
        let began = sim.now();
        sim.put_with(any(rng), &key, Some("v"), &Context::empty(), put.clone()).unwrap();
        seen.write.push(sim.now().since(began));
        sim.run_for(after);
        let began = sim.now();
        let read = sim.get_with(any(rng), &key, GetOptions { r: Some(r), ..GetOptions::default() }).unwrap();
        seen.read.push(sim.now().since(began));
        seen.fresh += u32::from(read.value().is_some());
        // What is still on its way must not meet the next one's.
        sim.run_for(Duration::from_millis(50));
    }
    seen
}

fn w(w: u8) -> PutOptions {
    PutOptions { w: Some(w), ..PutOptions::default() }
}

fn known(delay: Duration, jitter: Duration) -> Model {
    let way = || Latency::Uniform { from: delay, to: delay + jitter };
    let write = Trip::Ways { there: way(), back: Latency::Sum(vec![Latency::Fixed(SYNC), way()]) };
    let mut model = Model::alike(Replica { write, read: Trip::Ways { there: way(), back: way() } });
    (model.nodes, model.coordinator) = (NODES as u16, Coordinator::AnyNode { stores: Latency::Fixed(SYNC) });
    model
}

/// The nodes of the simulator aren't told how long their syncs take.
fn measured(sim: &Sim) -> Model {
    let mut latencies = Latencies::default();
    for node in sim.members() {
        latencies.merge(&sim.node(node).unwrap().latencies());
    }
    let mut model = Model::measured(&latencies, NODES as u16).unwrap();
    model.coordinator = Coordinator::AnyNode { stores: Latency::Fixed(SYNC) };
    model
}

fn predictions(model: &Model, after: Duration) -> Vec<Prediction> {
    let fresh = Some(Freshness { share: 0.99, after });
    let sla = Sla { percentile: PERCENTILE, fresh, ..Sla::default() };
    predict_copies(3, &sla, model, Trials { count: 50_000, seed: 1 }).unwrap()
}

fn quantile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    values[(values.len() as f64 * share).ceil() as usize - 1]
}

/// Whether the quantile that was predicted is one of those between which the true one lies, at five standard deviations.
fn agree(what: &str, predicted: Estimate, seen: &mut [Duration], slack: Duration) {
    let deviation = (PERCENTILE * (1.0 - PERCENTILE) / seen.len() as f64).sqrt();
    let [lower, upper] = [-5.0, 5.0].map(|times| quantile(seen, PERCENTILE + times * deviation));
    let within = predicted.value + slack >= lower && predicted.value <= upper + slack;
    assert!(within, "{what}: {predicted:?}, seen {lower:?} to {upper:?}");
}

/// And so with shares, give or take so much.
fn agree_share(what: &str, predicted: Share, seen: f64, slack: f64) {
    let deviation = (predicted.value * (1.0 - predicted.value) / f64::from(COUNT)).sqrt();
    assert!((seen - predicted.value).abs() <= 5.0 * deviation + slack, "{what}: {predicted:?}, seen {seen}");
}

#[test]
fn what_is_predicted_is_what_clients_see() {
    let (mut sim, mut rng) = (cluster(), Xoshiro256PlusPlus::seed_from_u64(1));
    let settings = [(1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1)];
    let mut seen: Vec<_> = settings.iter().map(|&(r, of)| observe(&mut sim, r, &w(of), AFTER, &mut rng)).collect();
    // By halves a whole is not what its parts were: that costs freshness a few points, and latency nothing.
    for (model, points) in [(known(DELAY, JITTER), 0.0), (measured(&sim), 0.05)] {
        let predictions = predictions(&model, AFTER);
        for (seen, &(r, w)) in seen.iter_mut().zip(&settings) {
            let found = predictions.iter().find(|it| it.quorum == Quorum::new(3, r, w).unwrap()).unwrap();
            let slack = Duration::from_micros(400);
            agree(&format!("R {r}, W {w}, read"), found.read, &mut seen.read, slack);
            agree(&format!("R {r}, W {w}, write"), found.write, &mut seen.write, slack);
            agree_share(&format!("R {r}, W {w}"), found.fresh, f64::from(seen.fresh) / f64::from(COUNT), points);
        }
    }
}

/// Syncs that take as long as several messages, and puts that wait for all of them, one or none.
#[test]
fn what_is_predicted_of_puts_that_waive_syncs_is_what_clients_see() {
    let (delay, jitter, at_once) = (Duration::from_micros(20), Duration::from_micros(100), Duration::ZERO);
    let (mut sim, mut rng) = (cluster(), Xoshiro256PlusPlus::seed_from_u64(1));
    (sim.network.delay, sim.network.jitter) = (delay, jitter);
    for durability in [Durability::Quorum, Durability::Coordinator, Durability::One, Durability::Memory] {
        let mut model = known(delay, jitter);
        model.durability = durability;
        let predictions = predictions(&model, at_once);
        for of in 1..=3 {
            let found = predictions.iter().find(|it| it.quorum == Quorum::new(3, 1, of).unwrap()).unwrap();
            let mut seen = observe(&mut sim, 1, &PutOptions { durability, ..w(of) }, at_once, &mut rng);
            let (what, slack) = (format!("{durability:?}, W {of}"), Duration::from_micros(2));
            agree(&what, found.write, &mut seen.write, slack);
            // A replica that syncs shows nothing meanwhile, which the model leaves out.
            if durability == Durability::Memory {
                agree(&what, found.read, &mut seen.read, slack);
                agree_share(&what, found.fresh, f64::from(seen.fresh) / f64::from(COUNT), 0.0);
            }
        }
    }
}

#[test]
fn what_other_settings_would_have_done_is_counted() {
    let mut sim = cluster();
    let [a, b, c] = sim.owners("key")[..] else { panic!("three owners") };
    let one = PutOptions { w: Some(1), ..PutOptions::default() };
    let two = GetOptions { r: Some(2), ..GetOptions::default() };
    let counted = |sim: &Sim| {
        let all = sim.counters();
        [all.gets_compared, all.gets_first_behind, all.puts_led, all.puts_at_all]
    };
    // Acknowledged by its coordinator alone, and on its way to another: that one's own copy is behind.
    sim.network.slow(c, Duration::from_millis(35));
    sim.put_with(a, "key", Some("v"), &Context::empty(), one.clone()).unwrap();
    sim.run_for(Duration::from_millis(30));
    assert_eq!(counted(&sim), [0, 0, 0, 0]);
    assert!(sim.get_with(c, "key", two.clone()).unwrap().value().is_some_and(|value| *value == "v"));
    sim.network.heal();
    sim.run_for(Duration::from_millis(200));
    assert_eq!(counted(&sim), [1, 1, 1, 1]);
    // What one owner alone has answered compares nothing, and who isn't there has stored nothing.
    sim.get_with(b, "key", GetOptions { r: Some(1), ..two.clone() }).unwrap();
    sim.get_with(b, "key", two).unwrap();
    sim.run_for(Duration::from_millis(200));
    assert_eq!(counted(&sim), [2, 1, 1, 1]);
    sim.crash(c);
    sim.put_with(a, "key", Some("w"), &Context::empty(), one).unwrap();
    sim.run_for(Duration::from_secs(5));
    assert_eq!(counted(&sim)[2..], [2, 1]);
}
