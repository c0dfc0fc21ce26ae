//! §6.5: background work that gives way to the foreground, beside work that doesn't.

use std::time::Duration;

use quorate::config::Timing;
use quorate::ids::PartitionId;
use quorate::sim::{DiskTime, ServiceTime, Sim};
use quorate::{Node, NodeId};

use crate::load::{Load, Sample, VALUE, quantile, took};
use crate::plot::{Axis, COLOURS, Chart, Series, Style};
use crate::report::{Part, Scale, Section};

pub(crate) const PART: Part = Part { name: "admission", title: "§6.5: background work that gives way", run };

const NODES: u64 = 5;
/// The node whose disk is replaced.
const AWAY: NodeId = NodeId(NODES);
/// What the paper allows the 99th percentile before background work gives way.
const THRESHOLD: f64 = 50.0;
const SERVICE: ServiceTime =
    ServiceTime { each: Duration::from_micros(150), tail: Duration::from_micros(150), kib: Duration::from_micros(30) };
const DISK: DiskTime = DiskTime {
    sync: Duration::from_millis(4),
    sync_tail: Duration::from_millis(2),
    stalls: 0,
    stall: Duration::ZERO,
    read: Duration::from_millis(4),
    read_tail: Duration::from_millis(4),
    cached: 90,
};
/// When the node goes, and comes back with an empty disk.
const GOES: Duration = Duration::from_secs(4);
const RETURNS: Duration = Duration::from_secs(12);
/// How often what is left is looked at, and what a point of the picture covers.
const GLANCE: Duration = Duration::from_millis(500);
const WINDOW: Duration = Duration::from_secs(2);

struct Plan {
    keys: u64,
    rate: u64,
    ends: Duration,
}

struct Arm {
    name: &'static str,
    colour: &'static str,
    timing: Timing,
}

struct Outcome {
    samples: Vec<Sample>,
    failed: u64,
    /// Hints for the node, and how much of what it owns it has not been found to have, in percent; over time.
    left: Vec<(f64, f64)>,
    hints_home: Option<Duration>,
    done: Option<Duration>,
}

fn arms() -> [Arm; 4] {
    let plain = Timing::default();
    let never = Duration::from_secs(24 * 3_600);
    [
        Arm {
            name: "no exchanges",
            colour: COLOURS[5],
            timing: Timing { exchange: Duration::MAX, handoff: never, ..plain.clone() },
        },
        Arm {
            name: "at full speed",
            colour: COLOURS[1],
            timing: Timing { foreground: Duration::MAX, ..plain.clone() },
        },
        // No request is as fast as this: the pause is always the longest.
        Arm {
            name: "one slice a second",
            colour: COLOURS[0],
            timing: Timing { foreground: Duration::from_micros(1), ..plain.clone() },
        },
        Arm { name: "feedback, as shipped", colour: COLOURS[2], timing: plain },
    ]
}

fn run(scale: &Scale) -> Section {
    let plan = scale.pick(
        Plan { keys: 600, rate: 40, ends: Duration::from_secs(22) },
        Plan { keys: 8_000, rate: 60, ends: Duration::from_secs(150) },
    );
    let arms = arms();
    let outcomes: Vec<Outcome> = arms.iter().map(|arm| play(&plan, arm)).collect();
    report(&plan, &arms, &outcomes)
}

fn play(plan: &Plan, arm: &Arm) -> Outcome {
    let sim = Sim::builder(NODES, 65).service_time(SERVICE).disk_time(DISK).encode(false).build();
    let mut load = Load::new(sim, plan.keys, 65);
    load.start_anew_with(&arm.timing);
    let mut outcome = Outcome { samples: Vec::new(), failed: 0, left: Vec::new(), hints_home: None, done: None };
    while load.time() < plan.ends {
        load.run(GLANCE, plan.rate);
        if load.time() == GOES {
            load.sim.crash(AWAY);
            load.sim.lose_data(AWAY);
        }
        if load.time() == RETURNS {
            load.sim.restart(AWAY);
        }
        let (hints, share) = left(&load.sim);
        if load.time() >= RETURNS {
            outcome.left.push((load.time().as_secs_f64(), share * 100.0));
        }
        if load.time() > RETURNS && hints == 0 {
            outcome.hints_home.get_or_insert(load.time().saturating_sub(RETURNS));
            if share == 0.0 {
                outcome.done.get_or_insert(load.time().saturating_sub(RETURNS));
            }
        }
    }
    load.finish();
    (outcome.samples, outcome.failed) = (load.samples, load.failed);
    outcome
}

/// Hints for the node; and of the pairs of one of its partitions and another owner, the share not found equal since it
/// started.
fn left(sim: &Sim) -> (u64, f64) {
    let hints = sim.debt().iter().filter(|(_, target, _)| *target == AWAY).map(|(.., count)| count).sum();
    let layout = sim.layout();
    let owned = (0..layout.partitions()).filter(|at| layout.owners(PartitionId(*at)).contains(&AWAY)).count();
    let pairs = owned * usize::from(layout.n() - 1);
    let agreements = sim.node(AWAY).map(Node::agreements).unwrap_or_default();
    let equal = agreements.iter().filter(|(.., agreement)| agreement.agreed.is_some()).count();
    (hints, (pairs - equal) as f64 / pairs as f64)
}

fn report(plan: &Plan, arms: &[Arm], outcomes: &[Outcome]) -> Section {
    let mut section = Section::default();
    section.say(&format!(
        "Background tasks of the paper's nodes ask an admission controller for slices of the disk. It watches the \
         time that the foreground takes, and gives fewer while the 99th percentile is near a threshold, 50 ms in \
         the paper's example. The paper gives no figures of what this brings. Here they are.\n\n{NODES} nodes, N = \
         3, R = W = 2; {} keys of {VALUE} bytes; each second {} clients read a key, any, through any node, and \
         write it anew. n5 goes after {} s and comes back at {} s with an empty disk: what was kept for it has to \
         go home, and what it has lost must be read at the other owners and sent. A message takes a node 0.15 ms \
         and as much more on average; a sync takes 4 ms and 2 ms more on average; one of ten records must be read \
         from the disk, at 4 ms and 4 ms more on average. A node does nothing else meanwhile. These times are chosen: a disk that seeks.",
        plan.keys,
        plan.rate,
        GOES.as_secs(),
        RETURNS.as_secs(),
    ));
    section.say(
        "Four policies, otherwise alike: no exchanges between owners at all, so that the node \
         stays as it is (hints go home all the same when it is heard again); as much as there is, at once \
         (`Timing::foreground` without end); always the longest pause, one slice of each kind a second (a \
         foreground of 1 µs, which no request meets); and what ships, the feedback with 50 ms.",
    );
    let mut rows = vec![
        ["", "p50", "p99", "p99.9", "seconds above 50 ms", "hints home", "all found equal"].map(str::to_owned).to_vec(),
    ];
    let mut felt = Vec::new();
    for (arm, outcome) in arms.iter().zip(outcomes) {
        let until = outcome.done.map_or(plan.ends, |done| (RETURNS + done).max(RETURNS + Duration::from_secs(2)));
        let all = took(&outcome.samples, None, RETURNS, until);
        let above = windows(plan, outcome, Duration::from_secs(1));
        let above = above.iter().filter(|(at, p99)| *at > RETURNS.as_secs_f64() && *p99 > THRESHOLD).count();
        let after = |at: Option<Duration>| at.map(|at| format!("{:.1} s", at.as_secs_f64()));
        let lacks = outcome.left.last().map_or(0.0, |(_, share)| *share);
        let (p50, p99) = (quantile(&all, 500), quantile(&all, 990));
        felt.push(p99);
        rows.push(vec![
            arm.name.to_owned(),
            format!("{p50:.1} ms"),
            format!("{p99:.0} ms"),
            format!("{:.0} ms", quantile(&all, 999)),
            above.to_string(),
            after(outcome.hints_home).unwrap_or_else(|| "not yet".to_owned()),
            after(outcome.done).unwrap_or_else(|| format!("not yet: {lacks:.0} % are left")),
        ]);
    }
    section.table(&rows);
    section.say(
        "Latencies are of reads and writes together, from the node's return until its partitions were found equal \
         at all other owners, or to the end of the run; the times of the last two columns count from the return. In \
         the first second every policy is at full speed: nothing has been judged yet. With feedback the 99th percentile does not stay below the \
         threshold but swings about it: a slice that has gone can't be taken \
         back, and is judged afterwards. The paper's nodes look at reads of the database over the last minute; here \
         it is at whole requests, over the time since the last judgement, a quarter of a second to a second, since \
         a percentile over a minute would go on slowing down for a minute after it had helped.\n\nThe size of a \
         slice matters as much as the pace. It is at most 64 hints, 256 records of an exchange, or 64 records that \
         are looked at to be settled; a request that comes behind it waits for all of it.",
    );
    section.picture(
        "admission",
        "99th percentile over time for four policies of background work",
        latencies(plan, arms, outcomes),
    );
    section.picture("admission-left", "What the node still lacks over time", remaining(plan, arms, outcomes));
    judge(&mut section, outcomes, &felt);
    section
}

fn judge(section: &mut Section, outcomes: &[Outcome], felt: &[f64]) {
    let [none, full, _, feedback] = felt else { return };
    let seconds = |outcome: &Outcome| outcome.done.map(|done| done.as_secs_f64());
    let (slow, quick) = (seconds(&outcomes[2]), seconds(&outcomes[3]));
    section.must(outcomes.iter().all(|outcome| outcome.failed == 0), "no request fails under any policy");
    section.must(
        *full > 3.0 * feedback,
        "at full speed the 99th percentile is more than three times what it is with feedback",
    );
    section.must(*none < THRESHOLD, "the clients alone leave room below the threshold");
    section.must(quick.is_some(), "with feedback the work ends within the run");
    section.must(
        quick.is_some_and(|quick| slow.is_none_or(|slow| quick <= slow)),
        "feedback is done no later than the fixed rate that is always safe",
    );
}

/// The 99th percentile of each window, in milliseconds, at its middle.
fn windows(plan: &Plan, outcome: &Outcome, window: Duration) -> Vec<(f64, f64)> {
    let count = (plan.ends.as_millis() / window.as_millis()) as u32;
    let point = |number: u32| {
        let from = window * number;
        let all = took(&outcome.samples, None, from, from + window);
        ((from + window / 2).as_secs_f64(), quantile(&all, 990))
    };
    (0..count).map(point).filter(|(_, p99)| *p99 > 0.0).collect()
}

fn latencies(plan: &Plan, arms: &[Arm], outcomes: &[Outcome]) -> String {
    let series = arms.iter().zip(outcomes);
    let series =
        series.map(|(arm, outcome)| Series::new(arm.name, arm.colour, Style::Line, windows(plan, outcome, WINDOW)));
    let ends = plan.ends.as_secs_f64();
    Chart {
        title: "What clients feel while a node is filled again (it goes after 4 s, and is back at 12 s)",
        x: Axis::even("seconds", 0.0, ends, if ends > 40.0 { 20.0 } else { 2.0 }),
        y: Axis::powers("99th percentile of 2 s, ms", 5.0, 5_000.0),
        series: series.collect(),
        limits: vec![(THRESHOLD, "50 ms")],
    }
    .svg()
}

fn remaining(plan: &Plan, arms: &[Arm], outcomes: &[Outcome]) -> String {
    let series = arms.iter().zip(outcomes);
    let series = series.map(|(arm, outcome)| Series::new(arm.name, arm.colour, Style::Line, outcome.left.clone()));
    let ends = plan.ends.as_secs_f64();
    Chart {
        title: "What is left to do",
        x: Axis::even("seconds", 0.0, ends, if ends > 40.0 { 20.0 } else { 2.0 }),
        y: Axis::even("the node's partitions not found equal, %", 0.0, 100.0, 20.0),
        series: series.collect(),
        limits: Vec::new(),
    }
    .svg()
}
