//! §4.6 and §6.6: how often requests find enough nodes, strict and sloppy, and what being sloppy costs.

mod failover;
mod snapshots;
mod world;

use std::time::Duration;

use quorate::ids::ZoneId;
use quorate::sla::Availability;
use quorate::{Member, Mode, NodeId, Quorum};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::plot::{Axis, COLOURS, Chart, Series, Style};
use crate::report::{Part, Scale, Section, percent, time};
use snapshots::{Failed, Snapshots, observe};
use world::{AFTERMATH, Outcome, Phase, Plan, READS_AFTER, RESTS, Run, Sample, Turn, play};

pub(crate) const PART: Part =
    Part { name: "availability", title: "§4.6, §6.6: availability, strict and sloppy, and its price", run };

/// "99.9995 % of its requests", over two years.
const PUBLISHED: f64 = 1.0 - 0.999_995;
/// How likely each node is down.
const DOWN: [f64; 5] = [0.02, 0.05, 0.1, 0.2, 0.3];
/// The nodes of the cluster that runs on, and how long one stays down in the mean.
const NODES: u64 = failover::NODES;
const AWAY: Duration = Duration::from_secs(5);
/// How long after the worst of failovers a key is read, in milliseconds.
const AFTER: [u64; 7] = [0, 100, 200, 400, 600, 1_000, 2_000];

fn run(scale: &Scale) -> Section {
    let mut section = Section::default();
    section.say(&format!(
        "The paper: applications got successful responses for 99.9995 % of their requests over two years, and a write fails only if \
         all nodes are down (with W = 1). It gives no failure rate. Strictly by majority, with (3, 2, 2) and nodes that are down \
         independently with probability p, a request fails with 3p² - 2p³; that is the published {} at p = 0.129 %, eleven \
         hours a year for each node. Sloppy requests \
         go on to the next nodes of the preference list. Beside the closed forms of `quorate::sla` stand the simulator's nodes: \
         {} of them, each down at random; in each of many such states {} keys are written and others read in either mode, each \
         through a node that is up. In brackets is the standard error over states.",
        rare(PUBLISHED),
        snapshots::NODES,
        snapshots::KEYS
    ));
    let seen: Vec<(f64, Snapshots)> = DOWN.iter().map(|&down| (down, observe(down, scale.pick(3, 60)))).collect();
    closed_forms(&mut section, &seen);
    price(&mut section, scale);
    worst(&mut section, scale);
    zones(&mut section, scale);
    section
}

fn quorum() -> Quorum {
    Quorum::default()
}

fn closed(down: f64) -> [Availability; 2] {
    [Availability::strict(quorum(), 1.0 - down), Availability::sloppy(quorum(), 1.0 - down, snapshots::NODES)]
}

fn closed_forms(section: &mut Section, seen: &[(f64, Snapshots)]) {
    let head = [
        "p",
        "strict: closed form",
        "reads seen",
        "writes seen",
        "sloppy reads: closed form",
        "seen",
        "sloppy writes: closed form",
        "seen",
    ];
    let mut rows = vec![head.map(String::from).to_vec()];
    for down in [0.001, 0.001_29, 0.005, 0.01] {
        let [strict, sloppy] = closed(down);
        let mut row = vec![percent(down, 2)];
        row.extend([rare(1.0 - strict.reads), String::new(), String::new(), rare(down.powi(3)), String::new()]);
        row.extend([rare(1.0 - sloppy.writes), String::new()]);
        rows.push(row);
    }
    for (down, found) in seen {
        let [strict, sloppy] = closed(*down);
        rows.push(vec![
            percent(*down, 0),
            rare(1.0 - strict.reads),
            failed(&found.strict[0]),
            failed(&found.strict[1]),
            rare(1.0 - sloppy.reads),
            failed(&found.sloppy[0]),
            rare(1.0 - sloppy.writes),
            failed(&found.sloppy[1]),
        ]);
        for its in &found.strict {
            // What is expected by chance beside the error that was seen, which is none where nothing failed.
            let expected = 1.0 - strict.reads;
            let error = its.error + (expected / its.requests as f64).sqrt();
            section.must((its.share - expected).abs() < 4.0 * error, "strict requests fail as the closed form has it");
        }
        let reads = &found.sloppy[0];
        let error = reads.error + ((1.0 - sloppy.reads) / reads.requests as f64).sqrt();
        section.must(
            reads.share < 1.0 - sloppy.reads + 4.0 * error,
            "sloppy reads fail no more often than without any owner",
        );
        section.always(found.sloppy[1].share <= 1.0 - sloppy.writes + 1e-3, "sloppy writes hardly fail at all");
    }
    section.table(&rows);
    let points = |of: fn(f64) -> f64| -> Vec<(f64, f64)> {
        (0..=40).map(|step| 0.1 * 300.0_f64.powf(f64::from(step) / 40.0)).map(|at| (at, of(at / 100.0))).collect()
    };
    let marks = |of: fn(&Snapshots) -> f64| -> Vec<(f64, f64)> {
        seen.iter().map(|(down, found)| (down * 100.0, of(found))).filter(|point| point.1 > 0.0).collect()
    };
    let chart = Chart {
        title: "Requests that fail while nodes are down, (N, R, W) = (3, 2, 2)",
        x: Axis::powers("each node is down so much of the time, %, by powers", 0.1, 30.0),
        y: Axis::powers("share of requests that fail, by powers", 1e-12, 1.0),
        series: vec![
            Series::new("strict, closed form", COLOURS[1], Style::Line, points(|down| 1.0 - closed(down)[0].reads)),
            Series::new("sloppy reads, closed form", COLOURS[0], Style::Dashes, points(|down| down.powi(3))),
            Series::new(
                "sloppy writes, closed form",
                COLOURS[2],
                Style::Line,
                points(sloppy_writes_fail).into_iter().filter(|point| point.1 >= 1e-12).collect(),
            ),
            Series::new("strict reads, simulated", COLOURS[1], Style::Marks, marks(|found| found.strict[0].share)),
            Series::new("sloppy reads, simulated", COLOURS[0], Style::Marks, marks(|found| found.sloppy[0].share)),
        ],
        limits: vec![(PUBLISHED, "published: 99.9995 % succeed")],
    };
    section.picture("availability", "Requests that fail over the time that nodes are down", chart.svg());
}

/// Two of all nodes are not to be found: summed as it is, since 1 less what is almost 1 has no digits left.
fn sloppy_writes_fail(down: f64) -> f64 {
    let (nodes, up) = (i32::from(snapshots::NODES), 1.0 - down);
    let fewer = down.powi(nodes) + f64::from(nodes) * up * down.powi(nodes - 1);
    // Where all owners are down, the node that is asked doesn't count, so three must be up.
    let others = nodes - i32::from(quorum().n());
    fewer + f64::from(others * (others - 1) / 2) * up.powi(2) * down.powi(nodes - 2)
}

fn failed(its: &Failed) -> String {
    if its.share == 0.0 {
        format!("0 of {}", its.requests)
    } else {
        format!("{} [{}]", rare(its.share), rare(its.error))
    }
}

fn rare(share: f64) -> String {
    if share < 1e-14 { "<1e-14".to_owned() } else { format!("{share:.1e}") }
}

/// What being sloppy costs: stale reads, and hints that have to go home.
fn price(section: &mut Section, scale: &Scale) {
    section.say(&format!(
        "The price. R + W > N promises fresh reads only among owners. {NODES} nodes crash and come back, each on its own, down for \
         {} in the mean. {} clients, each with a key of its own, write through any node that is up, read it through another \
         {} after the acknowledgement (in the mean, between zero and twice that), rest {}, and write again. \
         A read is stale if it shows nothing as new as the last acknowledged write. It counts as during a failure while an owner \
         of its key is down, and as after it for {} from an owner's return. Requests whose node went down are left out.",
        time(AWAY),
        keys(scale),
        time(READS_AFTER),
        time(RESTS),
        time(AFTERMATH)
    ));
    let head = [
        "p",
        "strict: refused reads",
        "refused writes",
        "stale",
        "sloppy: refused reads",
        "refused writes",
        "stale, no failure",
        "stale during",
        "stale after",
        "hints home in, mean",
        "longest",
        "hints, mean",
    ];
    let mut rows = vec![head.map(String::from).to_vec()];
    let (mut worst, mut unnamed, mut unowned, mut all_stale) = (0.0_f64, 0, 0, 0);
    for &down in &DOWN[..scale.pick(2, 4)] {
        let strict = play(plan(scale, down, Mode::Strict));
        let sloppy = play(plan(scale, down, Mode::Sloppy));
        let mut row = vec![percent(down, 0)];
        row.extend([refused(&strict, true), refused(&strict, false), stale(&strict, None)]);
        row.extend([refused(&sloppy, true), refused(&sloppy, false)]);
        row.extend([Phase::Calm, Phase::During, Phase::After].map(|phase| stale(&sloppy, Some(phase))));
        row.extend(drains(&sloppy));
        rows.push(row);
        let count = |run: &Run| {
            share(run, |it| it.is_read && it.outcome != Outcome::Refused, |it| it.outcome == Outcome::Stale)
        };
        section.always(count(&strict).0 == 0, "no strict read is stale");
        section.always(strict.lost + sloppy.lost == 0, "no acknowledged write is lost");
        let calm = share(&sloppy, |it| it.is_read && it.phase == Phase::Calm, |it| it.outcome == Outcome::Stale);
        section.must(calm.0 * 100 <= calm.1, "without failures sloppy reads are hardly ever stale");
        unnamed += sloppy.unnamed;
        unowned += sloppy.unowned;
        all_stale += count(&sloppy).0;
        worst = worst.max(count(&sloppy).0 as f64 / count(&sloppy).1.max(1) as f64);
        section.always(sloppy.drains.iter().all(|drain| drain.took < Duration::from_secs(60)), "hints go home");
    }
    section.table(&rows);
    section.say(&format!(
        "Strict requests were never stale and were refused instead; sloppy ones are hardly ever refused, and at most {} of their \
         reads were stale. Of the stale reads {unowned} of {all_stale} were answered by hints alone, all three owners being down. They are rare \
         because two things must meet: the write finds owners down, and the read finds others. Of the sloppy writes {unnamed} were \
         refused, because their contexts said dots of earlier starts by a name that nobody who answered in time knew \
         (`PutError::UnknownName`): that takes nodes that start again and again, and owners that are away. In no run was an acknowledged write lost: in the end all \
         three owners of every key held it.",
        percent(worst, 2)
    ));
    section.must(worst > 0.0, "sloppy reads are stale now and then");
}

fn worst(section: &mut Section, scale: &Scale) {
    let times = scale.pick(6, 200);
    section.say(&format!(
        "The worst case, made on purpose: two of a key's owners are down while it is written, so that the third and a fallback have \
         it; then those two come back at the moment when the third goes, and the key is read through any node ({times} times each):"
    ));
    let seen = AFTER.map(|after| failover::stale(Duration::from_millis(after), times));
    let mut rows = vec![vec!["read after".to_owned()], vec!["stale".to_owned()]];
    for (after, stale) in AFTER.into_iter().zip(seen) {
        rows[0].push(format!("{after} ms"));
        rows[1].push(percent(stale as f64 / times as f64, 1));
    }
    section.table(&rows);
    section.say(
        "So long it takes until the hints are home, which are tried every half second (`Timing::handoff`). Then reads are fresh although \
         the one owner that took the write is still away. That is the whole window; strict requests would have refused the write.",
    );
    section.must(seen[0] * 4 > times, "right after such a failover many reads are stale");
    section.must(seen[AFTER.len() - 1] == 0, "two seconds after it none is");
}

fn keys(scale: &Scale) -> usize {
    scale.pick(20, 60)
}

fn plan(scale: &Scale, down: f64, mode: Mode) -> Plan {
    let ends = Duration::from_secs(if mode == Mode::Strict { scale.pick(5, 60) } else { scale.pick(10, 240) });
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut turns = Vec::new();
    let up = AWAY.mul_f64((1.0 - down) / down);
    for node in 1..=NODES {
        let (mut at, mut is_up) = (Duration::ZERO, true);
        loop {
            at += Duration::from_micros(rng.random_range(0..=2 * if is_up { up } else { AWAY }.as_micros() as u64));
            if at >= ends {
                break;
            }
            turns.push((at, vec![NodeId(node)], if is_up { Turn::Goes } else { Turn::Returns }));
            is_up = !is_up;
        }
    }
    turns.sort_by_key(|turn| turn.0);
    let members = (1..=NODES).map(|node| Member::new(NodeId(node))).collect();
    Plan { members, mode, keys: keys(scale), turns, ends }
}

/// How many of those of the first kind are of the second.
fn share(run: &Run, of: impl Fn(&Sample) -> bool, are: impl Fn(&Sample) -> bool) -> (usize, usize) {
    let all = run.samples.iter().filter(|sample| of(sample));
    (all.clone().filter(|sample| are(sample)).count(), all.count())
}

fn written((part, all): (usize, usize)) -> String {
    if all == 0 { "none".to_owned() } else { format!("{} of {all}", percent(part as f64 / all as f64, 2)) }
}

fn refused(run: &Run, reads: bool) -> String {
    written(share(run, |it| it.is_read == reads, |it| it.outcome == Outcome::Refused))
}

fn stale(run: &Run, phase: Option<Phase>) -> String {
    let of = |it: &Sample| it.is_read && it.outcome != Outcome::Refused && phase.is_none_or(|phase| it.phase == phase);
    written(share(run, of, |it| it.outcome == Outcome::Stale))
}

fn drains(run: &Run) -> [String; 3] {
    let count = run.drains.len().max(1) as f64;
    let mean = run.drains.iter().map(|drain| drain.took.as_secs_f64()).sum::<f64>() / count;
    let longest = run.drains.iter().map(|drain| drain.took).max().unwrap_or_default();
    let hints = run.drains.iter().map(|drain| drain.hints).sum::<u64>() as f64 / count;
    [format!("{mean:.2} s"), format!("{:.2} s", longest.as_secs_f64()), format!("{hints:.0}")]
}

/// A data centre is lost, and then two.
fn zones(section: &mut Section, scale: &Scale) {
    let zone = |zone: u64| (1..=3).map(|node| NodeId(3 * (zone - 1) + node)).collect::<Vec<_>>();
    let second = |at: u64| Duration::from_secs(at) / scale.pick(5, 1);
    let turns = vec![
        (second(10), zone(3), Turn::Goes),
        (second(30), zone(3), Turn::Returns),
        (second(45), [zone(2), zone(3)].concat(), Turn::Goes),
        (second(65), [zone(2), zone(3)].concat(), Turn::Returns),
    ];
    let plan = |mode| Plan {
        members: (1..=3)
            .flat_map(|at| zone(at).into_iter().map(move |node| (node, at)))
            .map(|(node, at)| Member::new(node).zone(ZoneId(at as u32)))
            .collect(),
        mode,
        keys: keys(scale),
        turns: turns.clone(),
        ends: second(80),
    };
    let (strict, sloppy) = (play(plan(Mode::Strict)), play(plan(Mode::Sloppy)));
    section.say(
        "A data centre is lost. Nine nodes in three zones, an owner of every key in each; the same clients. One zone goes for 20 s, \
         and later two at once:",
    );
    let mut rows = vec![
        [
            "",
            "strict: refused reads",
            "refused writes",
            "sloppy: refused reads",
            "refused writes",
            "stale reads",
            "hints in the end",
        ]
        .map(String::from)
        .to_vec(),
    ];
    let phases = [
        ("all up", 0, 10),
        ("one zone lost", 10, 30),
        ("all back", 30, 45),
        ("two zones lost", 45, 65),
        ("all back", 65, 80),
    ];
    for (name, from, to) in phases {
        let within = |run: &Run| Run {
            samples: run.samples.iter().filter(|it| (second(from)..second(to)).contains(&it.at)).copied().collect(),
            ..Run::default()
        };
        let (strict, part) = (within(&strict), within(&sloppy));
        let hints = sloppy.hints.iter().rev().find(|(at, _)| *at < second(to)).map_or(0, |(_, hints)| *hints);
        rows.push(vec![
            name.to_owned(),
            refused(&strict, true),
            refused(&strict, false),
            refused(&part, true),
            refused(&part, false),
            stale(&part, None),
            hints.to_string(),
        ]);
        let none = |run: &Run| share(run, |_| true, |it| it.outcome == Outcome::Refused).0 == 0;
        section.must(name == "two zones lost" || none(&strict), "with two zones of three strict requests go on");
        section.must(none(&part), "sloppy requests go on with one zone of three");
    }
    section.table(&rows);
    let [mean, longest, hints] = drains(&sloppy);
    section.say(&format!(
        "With one zone lost a majority of owners is left, and nothing is refused in either mode. With two lost strict requests are \
         refused, and sloppy ones go on: writes are kept as hints by other nodes of the zone that is left. When the zones are back \
         the hints are home after {mean} in the mean of nodes ({longest} the longest, {hints} hints each). Lost: {}.",
        strict.lost + sloppy.lost
    ));
    section.always(strict.lost + sloppy.lost == 0, "no acknowledged write is lost with a data centre");
    section.picture(
        "availability_zones",
        "Requests refused while zones are lost",
        over_time(&strict, &sloppy, second(80)).svg(),
    );
}

fn over_time(strict: &Run, sloppy: &Run, ends: Duration) -> Chart {
    let steps = 80;
    let curve = |run: &Run, of: fn(&Sample) -> bool, are: fn(&Sample) -> bool| -> Vec<(f64, f64)> {
        let bucket = |step: u32| {
            let (from, to) = (ends * step / steps, ends * (step + 1) / steps);
            let within = |it: &Sample| of(it) && (from..to).contains(&it.at);
            let (part, all) = share(run, within, are);
            (all > 0).then(|| (f64::midpoint(from.as_secs_f64(), to.as_secs_f64()), part as f64 / all as f64 * 100.0))
        };
        (0..steps).filter_map(bucket).collect()
    };
    let most = sloppy.hints.iter().map(|(_, hints)| *hints).max().unwrap_or(1).max(1) as f64;
    let hints = sloppy.hints.iter().map(|(at, hints)| (at.as_secs_f64(), *hints as f64 / most * 100.0)).collect();
    Chart {
        title: "One zone of three lost, then two",
        x: Axis::even("seconds", 0.0, ends.as_secs_f64(), ends.as_secs_f64() / 8.0),
        y: Axis::even("% of requests; of the most hints", 0.0, 100.0, 20.0),
        series: vec![
            Series::new(
                "strict: refused",
                COLOURS[1],
                Style::Line,
                curve(strict, |_| true, |it| it.outcome == Outcome::Refused),
            ),
            Series::new(
                "sloppy: refused, or stale",
                COLOURS[0],
                Style::Line,
                curve(sloppy, |_| true, |it| it.outcome != Outcome::Done),
            ),
            Series::new(format!("hints kept, of {most}"), COLOURS[5], Style::Dashes, hints),
        ],
        limits: Vec::new(),
    }
}
