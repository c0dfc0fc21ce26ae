//! Table 2: coordination by nodes behind a load balancer, and by clients.

use std::time::Duration;

use quorate::config::Durability;
use quorate::sim::{DiskTime, ServiceTime, Sim};
use quorate::{Context, NodeId, PutOptions};
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use crate::load::{Kind, Load, VALUE, mean, quantile, took};
use crate::plot::{Axis, COLOURS, Chart, Series, Style};
use crate::report::{Part, Scale, Section};

pub(crate) const PART: Part = Part { name: "table_2", title: "Table 2: who coordinates", run };

const NODES: u64 = 30;
/// Machines of clients. The first has this name.
const CLIENTS: u64 = 20;
const FIRST_CLIENT: u64 = 1_000;
const SERVICE: ServiceTime =
    ServiceTime { each: Duration::from_micros(100), tail: Duration::from_micros(100), kib: Duration::from_micros(20) };
/// Behind a controller with a cache of its own that takes writes: the means of the table are a sixth of figure 4's.
const DISK: DiskTime = DiskTime {
    sync: Duration::from_millis(1),
    sync_tail: Duration::from_millis(1),
    stalls: 400,
    stall: Duration::from_millis(40),
    cached: 99,
    ..crate::figure_4::DISK
};

/// Published: 99.9th percentiles of reads and writes, and their means, in milliseconds.
const SERVER: [f64; 4] = [68.9, 68.5, 3.9, 4.02];
const CLIENT: [f64; 4] = [30.4, 30.4, 1.55, 1.9];

struct Plan {
    keys: u64,
    rate: u64,
    lasts: Duration,
}

struct Arm {
    name: &'static str,
    colour: &'static str,
    is_client: bool,
    way: fn(&mut Xoshiro256PlusPlus) -> Duration,
}

const ARMS: [Arm; 3] = [
    Arm { name: "by nodes", colour: COLOURS[1], is_client: false, way: balancer },
    Arm { name: "by nodes, balancer without a tail", colour: COLOURS[4], is_client: false, way: hop },
    Arm { name: "by clients", colour: COLOURS[0], is_client: true, way: nothing },
];

/// A way through a balancer that now and then holds something up.
fn balancer(rng: &mut Xoshiro256PlusPlus) -> Duration {
    let late = if rng.random_range(0..400) == 0 {
        Duration::from_micros(rng.random_range(10_000..50_000))
    } else {
        Duration::ZERO
    };
    hop(rng) * 2 + late
}

/// As long as a way between nodes.
fn hop(rng: &mut Xoshiro256PlusPlus) -> Duration {
    Duration::from_micros(rng.random_range(150..450))
}

fn nothing(_: &mut Xoshiro256PlusPlus) -> Duration {
    Duration::ZERO
}

fn run(scale: &Scale) -> Section {
    let plan = scale.pick(
        Plan { keys: 300, rate: 60, lasts: Duration::from_secs(4) },
        Plan { keys: 6_000, rate: 250, lasts: Duration::from_secs(80) },
    );
    let loads: Vec<Load> = ARMS.iter().map(|arm| play(&plan, arm)).collect();
    let hops = [false, true].map(hops);
    report(&plan, &loads, hops)
}

fn play(plan: &Plan, arm: &Arm) -> Load {
    let sim = Sim::builder(NODES, 2).partitions(128).service_time(SERVICE).disk_time(DISK).encode(false).build();
    let mut load = Load::new(sim, plan.keys, 2);
    (load.sim.network.delay, load.sim.network.jitter) = (Duration::from_micros(150), Duration::from_micros(300));
    load.put = PutOptions { durability: Durability::One, ..PutOptions::default() };
    load.way = arm.way;
    if arm.is_client {
        load.through = (0..CLIENTS).map(|client| NodeId(FIRST_CLIENT + client)).collect();
        load.through.iter().for_each(|client| load.sim.start_client(*client));
    }
    // Who has just started knows nothing yet of how fast others are.
    load.run(Duration::from_secs(2), plan.rate);
    load.finish();
    load.samples.clear();
    load.run(plan.lasts, plan.rate);
    load.finish();
    load
}

/// How often something is handed on until a read, and a write, is at the last node that is asked: counted by the time that
/// it takes where every way takes as long and nothing else takes any.
fn hops(is_client: bool) -> [u128; 2] {
    const WAY: Duration = Duration::from_millis(10);
    let mut sim = Sim::new(NODES, 3);
    (sim.network.delay, sim.network.jitter) = (WAY, Duration::ZERO);
    let through = if is_client {
        sim.start_client(NodeId(FIRST_CLIENT));
        NodeId(FIRST_CLIENT)
    } else {
        sim.bystanders("cart")[0]
    };
    let mut of = |ask: fn(&mut Sim, NodeId)| {
        sim.run_for(Duration::from_secs(1));
        let began = sim.now();
        ask(&mut sim, through);
        // The way from the client to the node comes before it.
        sim.now().since(began).as_millis() / (2 * WAY.as_millis()) + u128::from(!is_client)
    };
    let write =
        of(|sim, through| _ = sim.put_with(through, "cart", Some("book"), &Context::empty(), PutOptions::default()));
    let read = of(|sim, through| _ = sim.get(through, "cart"));
    [read, write]
}

/// As in the paper's table.
fn columns(load: &Load) -> [f64; 4] {
    let [reads, writes] =
        [Kind::Read, Kind::Write].map(|kind| took(&load.samples, Some(kind), Duration::ZERO, Duration::MAX));
    [quantile(&reads, 999), quantile(&writes, 999), mean(&reads), mean(&writes)]
}

fn report(plan: &Plan, loads: &[Load], hops: [[u128; 2]; 2]) -> Section {
    let mut section = Section::default();
    section.say(&format!(
        "Requests come to the paper's nodes in two ways. Behind a load balancer any node gets them: it coordinates \
         a read itself, and hands a write to an owner, if it is none. Or the client does what that node would do: \
         it has the membership, asks owners for what it reads, and hands writes to one of them. The paper's table 2 \
         compares both over 24 hours, on a couple hundred nodes; how busy they were, and what the balancer was, it \
         doesn't say.\n\nHere: {NODES} nodes, so that nine of ten requests reach a node that is no owner; (3, 2, \
         2); {} keys of {VALUE} bytes; {} clients a second read a key and write it anew, for {} s. Clients \
         coordinate on {CLIENTS} machines (`Setup::client`). A way between nodes takes 0.15 to 0.45 ms; a message \
         takes a node, or a client that coordinates, 0.1 ms and 0.1 ms more on average; the means of the table are \
         a sixth of figure 4's, so here a sync takes 1 ms and 1 ms more on average, as with a controller that takes \
         writes into a cache, one of 400 stalls for 40 ms; one of a hundred records is read from the disk, at 5 ms \
         and 8 ms more; writes are acknowledged from memory while one replica syncs (the paper's durable write, \
         `Durability::One`). The balancer is free to choose, so there are two: one that takes twice as long as a \
         way between nodes and holds up one of 400 passages for 10 to 50 ms; and one that is as good as any way \
         between nodes, so that nothing but the further hop is left.",
        plan.keys,
        plan.rate,
        plan.lasts.as_secs(),
    ));
    let all: Vec<[f64; 4]> = loads.iter().map(columns).collect();
    let shown = |name: &str, row: [f64; 4], digits: usize| {
        [vec![name.to_owned()], row.map(|value| format!("{value:.digits$}")).to_vec()].concat()
    };
    let over = |a: [f64; 4], b: [f64; 4]| std::array::from_fn::<f64, 4, _>(|at| a[at] / b[at]);
    let rows = vec![
        ["ms", "p99.9 reads", "p99.9 writes", "mean reads", "mean writes"].map(str::to_owned).to_vec(),
        shown("published: by nodes", SERVER, 2),
        shown("published: by clients", CLIENT, 2),
        shown("**published ratio**", over(SERVER, CLIENT), 2),
        shown(ARMS[0].name, all[0], 2),
        shown(ARMS[1].name, all[1], 2),
        shown(ARMS[2].name, all[2], 2),
        shown("**ratio here**", over(all[0], all[2]), 2),
        shown("**ratio, balancer without a tail**", over(all[1], all[2]), 2),
    ];
    section.table(&rows);
    section.say(&format!(
        "How often a request is handed on until the last node has it: reads {} by nodes and {} by clients, writes \
         {} and {}. (The paper's mechanism gives 2 and 1, and up to 3 and 2.)",
        hops[0][0], hops[1][0], hops[0][1], hops[1][1],
    ));
    section.say(
        "The direction is the paper's, and so is this: in milliseconds the gain is far larger at the 99.9th \
         percentile than on average. How large it is there is up to the balancer's tail, as the second balancer \
         shows; the milliseconds are not to be compared. Writes gain less here than in the paper: a client hands \
         them to an owner, which names them and asks the others, so that two ways and three nodes' work are left, \
         and they are most of what a write takes. The paper's table has writes by clients hardly slower than reads. \
         The paper contradicts itself here: its text has the average go down by 3 to 4 ms, its table by 2.35 and \
         2.12 ms.",
    );
    section.picture("table_2", "Share of requests that take longer than a time, by who coordinates", chart(loads));
    let (nodes, plain, clients) = (all[0], all[1], all[2]);
    section.must(loads.iter().all(|load| load.failed == 0), "no request fails");
    section
        .must((0..4).all(|at| nodes[at] > clients[at]), "clients that coordinate are served faster, by each measure");
    section.must((2..4).all(|at| plain[at] > clients[at]), "that is so on average for the hop alone, too");
    section.must(
        nodes[0] - clients[0] > nodes[2] - clients[2] && nodes[1] - clients[1] > nodes[3] - clients[3],
        "the gain is larger at the 99.9th percentile than on average",
    );
    section.must(hops == [[2, 3], [1, 2]], "requests are handed on as often as the paper says");
    section
}

fn chart(loads: &[Load]) -> String {
    const SHARES: [f64; 12] = [0.9, 0.75, 0.5, 0.25, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005];
    let mut series = Vec::new();
    for (arm, load) in ARMS.iter().zip(loads) {
        for (kind, style, what) in [(Kind::Read, Style::Line, "reads"), (Kind::Write, Style::Dashes, "writes")] {
            if arm.name == ARMS[1].name && kind == Kind::Write {
                continue;
            }
            let all = took(&load.samples, Some(kind), Duration::ZERO, Duration::MAX);
            let at = |share: f64| all.get((all.len() as f64 * (1.0 - share)) as usize).copied().unwrap_or(0.0);
            let name = if arm.name == ARMS[1].name {
                "reads, no balancer tail".to_owned()
            } else {
                format!("{what}, {}", arm.name)
            };
            series.push(Series::new(
                name,
                arm.colour,
                style,
                SHARES.iter().map(|share| (at(*share), *share)).collect(),
            ));
        }
    }
    for (name, row, colour) in [("by nodes", SERVER, COLOURS[1]), ("by clients", CLIENT, COLOURS[0])] {
        series.push(Series::new(
            format!("published: {name}"),
            colour,
            Style::Published,
            vec![(row[0], 0.001), (row[1], 0.001)],
        ));
    }
    Chart {
        title: "How many requests take longer than a time",
        x: Axis::powers("milliseconds", 0.5, 200.0),
        y: Axis::powers("share of requests that take longer", 0.0005, 1.0),
        series,
        limits: vec![(0.001, "99.9th percentile")],
    }
    .svg()
}
