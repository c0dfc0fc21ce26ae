//! A simulated cluster whose network is known: what was predicted beside what its clients saw.

use std::time::Duration;

use quorate::config::Timing;
use quorate::latencies::Latencies;
use quorate::sim::Sim;
use quorate::sla::{
    Coordinator, Estimate, Freshness, Latency, Model, Prediction, Replica, Sla, SlaError, Trials, Trip, predict_copies,
};
use quorate::{Context, GetOptions, Keyspace, Mode, NodeId, PutOptions, Quorum};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::table::ms;

const NODES: u64 = 5;
const DELAY: Duration = Duration::from_micros(500);
const JITTER: Duration = Duration::from_millis(10);
/// As long as a simulated sync takes.
const SYNC: Duration = Duration::from_micros(300);
const AFTER: Duration = Duration::from_millis(2);
const PERCENTILE: f64 = 0.99;

struct Seen {
    quorum: Quorum,
    reads: Vec<Duration>,
    writes: Vec<Duration>,
    fresh: usize,
}

/// Whether both agree, within five standard deviations.
pub(crate) fn compare(quick: bool, seed: u64) -> Result<bool, SlaError> {
    let count = if quick { 300 } else { 4_000 };
    println!(
        "\n{NODES} simulated nodes, N = 3; a message takes {DELAY:?} to {:?}, a sync {SYNC:?}; any node is asked;\n\
         {count} writes of each setting, each read {AFTER:?} after its acknowledgement; latencies at the 99th percentile\n",
        DELAY + JITTER
    );
    let (mut sim, mut rng) = (cluster(seed), Xoshiro256PlusPlus::seed_from_u64(seed));
    let mut all = Vec::new();
    for r in 1..=3 {
        for w in 1..=3 {
            let quorum = Quorum::new(3, r, w).expect("it exists");
            all.push(observe(&mut sim, quorum, count, &mut rng));
        }
    }
    let (known, measured) = (predictions(&known(), seed)?, predictions(&measured(&sim)?, seed)?);
    println!(
        "{:5} {:^32}  {:^32}  {:^26}",
        "", "reads: seen, predicted, by nodes", "writes: seen, predicted, by nodes", "fresh: seen, predicted"
    );
    let mut agree = true;
    // The largest of all settings: of latencies as shares of what was predicted, of freshness as what is between the shares.
    let [mut reads_off, mut writes_off, mut fresh_off] = [0.0_f64; 3];
    for ((seen, known), measured) in all.iter_mut().zip(known).zip(measured) {
        let share = seen.fresh as f64 / count as f64;
        let deviation = (known.fresh.value * (1.0 - known.fresh.value) / count as f64).sqrt();
        let alike = (share - known.fresh.value).abs() <= 5.0 * deviation
            && within(&mut seen.reads, known.read)
            && within(&mut seen.writes, known.write);
        agree &= alike;
        let (read, write) = (quantile(&mut seen.reads, PERCENTILE), quantile(&mut seen.writes, PERCENTILE));
        reads_off = reads_off.max(off(read, known.read));
        writes_off = writes_off.max(off(write, known.write));
        fresh_off = fresh_off.max((share - known.fresh.value).abs());
        println!(
            "  {} {} {:>10} {:>10} {:>10}  {:>10} {:>10} {:>10}  {:>9.1} % {:>9.1} %  {}",
            seen.quorum.r(),
            seen.quorum.w(),
            ms(read),
            ms(known.read.value),
            ms(measured.read.value),
            ms(write),
            ms(known.write.value),
            ms(measured.write.value),
            share * 100.0,
            known.fresh.value * 100.0,
            if alike { "" } else { "they differ" }
        );
    }
    println!("  R W; predicted from what is known of the network, and by nodes: from what they have measured");
    println!(
        "The largest differences from what the known network predicts: reads {:.1} %, writes {:.1} %, fresh {:.1} points",
        reads_off * 100.0,
        writes_off * 100.0,
        fresh_off * 100.0
    );
    Ok(agree)
}

/// How far what was seen is from what was predicted, as a share of it.
fn off(seen: Duration, predicted: Estimate) -> f64 {
    (seen.as_secs_f64() / predicted.value.as_secs_f64() - 1.0).abs()
}

fn cluster(seed: u64) -> Sim {
    let keyspace = Keyspace::new("default").quorum(Quorum::new(3, 1, 1).expect("it exists")).mode(Mode::Strict);
    // What the model leaves out.
    let timing = Timing { hedge_percent: 0, exchange: Duration::MAX, ..Timing::default() };
    let mut sim = Sim::builder(NODES, seed).keyspaces(vec![keyspace]).timing(timing).encode(false).build();
    (sim.network.delay, sim.network.jitter) = (DELAY, JITTER);
    sim
}

fn observe(sim: &mut Sim, quorum: Quorum, count: usize, rng: &mut Xoshiro256PlusPlus) -> Seen {
    let mut seen = Seen { quorum, reads: Vec::new(), writes: Vec::new(), fresh: 0 };
    for number in 0..count {
        let key = format!("{} {} {number}", quorum.r(), quorum.w());
        let (writer, reader) = (NodeId(rng.random_range(1..=NODES)), NodeId(rng.random_range(1..=NODES)));
        let (began, options) = (sim.now(), PutOptions { w: Some(quorum.w()), ..PutOptions::default() });
        sim.put_with(writer, &key, Some("v"), &Context::empty(), options).expect("nothing fails");
        seen.writes.push(sim.now().since(began));
        sim.run_for(AFTER);
        let (began, options) = (sim.now(), GetOptions { r: Some(quorum.r()), ..GetOptions::default() });
        let read = sim.get_with(reader, &key, options).expect("nothing fails");
        seen.reads.push(sim.now().since(began));
        seen.fresh += usize::from(read.value().is_some());
        // What is still on its way must not meet the next one's.
        sim.run_for(Duration::from_millis(50));
    }
    seen
}

fn known() -> Model {
    let way = || Latency::Uniform { from: DELAY, to: DELAY + JITTER };
    let write = Trip::Ways { there: way(), back: Latency::Sum(vec![Latency::Fixed(SYNC), way()]) };
    of_cluster(Model::alike(Replica { write, read: Trip::Ways { there: way(), back: way() } }))
}

fn measured(sim: &Sim) -> Result<Model, SlaError> {
    let mut latencies = Latencies::default();
    for node in sim.members() {
        latencies.merge(&sim.node(node).expect("nothing fails").latencies());
    }
    Model::measured(&latencies, NODES as u16).map(of_cluster)
}

/// Nodes of the simulator aren't told how long their syncs take.
fn of_cluster(mut model: Model) -> Model {
    (model.nodes, model.coordinator) = (NODES as u16, Coordinator::AnyNode { stores: Latency::Fixed(SYNC) });
    model
}

fn predictions(model: &Model, seed: u64) -> Result<Vec<Prediction>, SlaError> {
    let fresh = Some(Freshness { share: PERCENTILE, after: AFTER });
    let sla = Sla { percentile: PERCENTILE, fresh, ..Sla::default() };
    predict_copies(3, &sla, model, Trials { count: 50_000, seed })
}

/// Whether the quantile is one that was seen, give or take five standard deviations of its rank and a sync.
fn within(seen: &mut [Duration], predicted: Estimate) -> bool {
    let deviation = (PERCENTILE * (1.0 - PERCENTILE) / seen.len() as f64).sqrt();
    let lower = quantile(seen, PERCENTILE - 5.0 * deviation);
    let upper = quantile(seen, (PERCENTILE + 5.0 * deviation).min(1.0));
    lower <= predicted.upper + SYNC && predicted.lower <= upper + SYNC
}

fn quantile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    values[((values.len() as f64 * share).ceil() as usize).clamp(1, values.len()) - 1]
}
