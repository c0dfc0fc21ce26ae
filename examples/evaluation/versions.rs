//! §6.3: how many versions reads meet, by what makes versions diverge.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::ids::KeyspaceId;
use quorate::sim::Sim;
use quorate::{Bytes, Context, GetOptions, Keyspace, NodeId, PutOptions, Reply, Request, Ticket, Time};
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::plot::{Axis, COLOURS, Chart, Series, Style};
use crate::report::{Part, Scale, Section, percent, time};

pub(crate) const PART: Part = Part { name: "versions", title: "§6.3: divergent versions", run };

const NODES: u64 = 9;
/// Reads that met one, two, three and four versions, in percent, as printed.
const PUBLISHED: [f64; 4] = [99.94, 0.000_57, 0.000_47, 0.000_09];
const WRITERS: [usize; 8] = [1, 2, 3, 4, 5, 6, 8, 10];
/// The share of the time that a node is down, or that the cluster is split.
const FAILURES: [f64; 4] = [0.02, 0.05, 0.1, 0.2];

/// Who writes carts, and how.
#[derive(Clone, Copy)]
struct Workload {
    keys: usize,
    /// So many write each of the keys at the same time, knowing nothing of one another.
    writers: usize,
    /// From the answer to a read until the write that it leads to, and from the answer to a write until the next read; in
    /// the mean.
    thinks: Duration,
    rests: Duration,
    lasts: Duration,
}

#[derive(Clone, Copy, PartialEq)]
enum Failures {
    None,
    /// Each node is down for this share of the time.
    Down(f64),
    /// The cluster is in two parts for this share of the time, and clients reach both.
    Split(f64),
}

/// How long a node stays down, or the cluster split; in the mean.
const HARM: Duration = Duration::from_secs(2);
/// How exactly clients notice that they have been answered.
const GLANCE: Duration = Duration::from_micros(500);

/// What reads met.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// By the number of versions, from one on; the last: so many and more.
    reads: [u64; 6],
    most: usize,
    failed: u64,
}

impl Seen {
    fn all(&self) -> u64 {
        self.reads.iter().sum()
    }

    /// The share of reads that met so many versions or more.
    fn from(&self, versions: usize) -> f64 {
        self.reads[versions - 1..].iter().sum::<u64>() as f64 / self.all().max(1) as f64
    }

    fn share(&self, versions: usize) -> f64 {
        self.reads[versions - 1] as f64 / self.all().max(1) as f64
    }
}

fn run(scale: &Scale) -> Section {
    let robots = |writers| Workload {
        keys: 4,
        writers,
        thinks: Duration::from_millis(5),
        rests: Duration::from_millis(20),
        lasts: Duration::from_millis(scale.pick(500, 15_000)),
    };
    let people = Workload {
        keys: 10,
        writers: 1,
        thinks: Duration::from_millis(100),
        rests: Duration::from_millis(300),
        lasts: Duration::from_secs(scale.pick(15, 450)),
    };
    let by_writers: Vec<(usize, Seen)> =
        WRITERS.iter().map(|&writers| (writers, play(robots(writers), Failures::None))).collect();
    let by_failures: Vec<(f64, Seen, Seen)> = FAILURES
        .iter()
        .map(|&share| (share, play(people, Failures::Down(share)), play(people, Failures::Split(share))))
        .collect();
    let calm = play(people, Failures::None);

    let mut section = Section::default();
    section.say(&format!(
        "The paper reports, for the shopping cart over 24 hours, that {} % of requests saw one version, {} % two, {} % three and \
         {} % four, and that divergence comes not from failures but from concurrent writers, \"usually triggered by busy robots\". \
         Where it contradicts itself: the four don't sum to 100 % but to {:.4} %; were the last three meant as fractions, the \
         sum would be 100.053 %. It says nothing of how many write, how fast, or how many of them are robots. So no rate can be \
         compared, and what can is what divergence depends on.",
        PUBLISHED[0],
        PUBLISHED[1],
        PUBLISHED[2],
        PUBLISHED[3],
        PUBLISHED.iter().sum::<f64>()
    ));
    section.say(&format!(
        "The workload, on the simulator with {NODES} nodes and (N, R, W) = (3, 2, 2), sloppy: each writer reads a cart through \
         any node, thinks, writes it with the context that it has read through any node, rests, and begins anew. A message takes \
         0.2 to 1 ms. Robots think {} and rest {} (between zero and twice that, evenly), several on each of {} carts. People \
         think {} and rest {}, one on each of {} carts: faster than people, so that failures meet many writes. Counted \
         is what the writers' reads meet, before anything is merged.",
        time(robots(1).thinks),
        time(robots(1).rests),
        robots(1).keys,
        time(people.thinks),
        time(people.rests),
        people.keys
    ));
    writers(&mut section, &by_writers);
    failures(&mut section, &calm, &by_failures);
    conclude(&mut section, &by_writers, &calm, &by_failures);
    section
}

fn writers(section: &mut Section, all: &[(usize, Seen)]) {
    section.say("Without any failure, by how many write the same cart at the same time:");
    let head = [
        "writers",
        "reads",
        "one version",
        "two",
        "three",
        "four",
        "five and more",
        "most versions",
        "two : three : four",
    ];
    let mut rows = vec![head.map(String::from).to_vec()];
    for (writers, seen) in all {
        let mut row = vec![writers.to_string(), seen.all().to_string()];
        row.extend((1..=4).map(|versions| percent(seen.share(versions), 2)));
        row.extend([percent(seen.from(5), 2), seen.most.to_string(), proportions(&[2, 3, 4].map(|it| seen.share(it)))]);
        rows.push(row);
    }
    let mut row = vec!["published".to_owned(), String::new()];
    row.extend(PUBLISHED.map(|share| format!("{share} %")));
    row.extend([String::new(), "4".to_owned(), proportions(&PUBLISHED[1..])]);
    rows.push(row);
    section.table(&rows);
    let curve = |versions: usize| {
        all.iter().map(|(writers, seen)| (*writers as f64, seen.from(versions) * 100.0)).collect::<Vec<_>>()
    };
    let name = |versions: usize| format!("{versions} or more");
    let chart = Chart {
        title: "Reads that meet several versions, by writers of the same cart; no failures",
        x: Axis::even("concurrent writers of a cart", 1.0, 10.0, 1.0),
        y: Axis::even("reads, %", 0.0, 100.0, 20.0),
        series: (2..=5)
            .map(|versions| Series::new(name(versions), COLOURS[versions - 2], Style::Line, curve(versions)))
            .collect(),
        limits: Vec::new(),
    };
    section.picture("versions_writers", "Reads that meet several versions over the number of writers", chart.svg());
}

/// As parts of a hundred.
fn proportions(shares: &[f64]) -> String {
    let sum: f64 = shares.iter().sum();
    if sum == 0.0 {
        return String::new();
    }
    let parts: Vec<String> = shares.iter().map(|share| format!("{:.0}", share / sum * 100.0)).collect();
    parts.join(" : ")
}

fn failures(section: &mut Section, calm: &Seen, all: &[(f64, Seen, Seen)]) {
    section.say(&format!(
        "With one writer for each cart, and failures that last {} in the mean: nodes that crash and come back, and a network \
         that falls into two parts of five and four nodes while clients reach both. Each request goes through any \
         node that runs, in either part. One that fails is not repeated: the writer reads again.",
        time(HARM)
    ));
    let head = [
        "share of the time",
        "nodes down: several versions",
        "most",
        "requests failed",
        "network split: several versions",
        "most",
        "requests failed",
    ];
    let mut rows = vec![head.map(String::from).to_vec()];
    let of = |seen: &Seen| {
        let failed = seen.failed as f64 / (seen.failed + 2 * seen.all()) as f64;
        [format!("{} of {}", percent(seen.from(2), 3), seen.all()), seen.most.to_string(), percent(failed, 3)]
    };
    let mut row = vec!["0 %".to_owned()];
    row.extend(of(calm).into_iter().chain(of(calm)));
    rows.push(row);
    for (share, down, split) in all {
        let mut row = vec![percent(*share, 0)];
        row.extend(of(down).into_iter().chain(of(split)));
        rows.push(row);
    }
    section.table(&rows);
    let start = (0.0, calm.from(2) * 100.0);
    let curve = |of: fn(&(f64, Seen, Seen)) -> f64| {
        std::iter::once(start).chain(all.iter().map(|it| (it.0 * 100.0, of(it) * 100.0))).collect::<Vec<_>>()
    };
    let chart = Chart {
        title: "Reads that meet several versions, by failures; one writer for each cart",
        x: Axis::even("share of the time that a node is down, or the network split, %", 0.0, 20.0, 5.0),
        y: Axis::powers("reads, %, by powers; at the bottom: 0.01 or less", 0.01, 10.0),
        series: vec![
            Series::new("network split", COLOURS[1], Style::Line, curve(|it| it.2.from(2))),
            Series::new("nodes down", COLOURS[0], Style::Line, curve(|it| it.1.from(2))),
        ],
        limits: vec![(0.06, "published: 0.06 % did not see one version")],
    };
    section.picture("versions_failures", "Reads that meet several versions over failures", chart.svg());
}

fn conclude(section: &mut Section, robots: &[(usize, Seen)], calm: &Seen, by_failures: &[(f64, Seen, Seen)]) {
    let of =
        |writers: usize| robots.iter().find(|(its, _)| *its == writers).map_or_else(Seen::default, |(_, seen)| *seen);
    let worst_down = by_failures.iter().map(|it| it.1.from(2)).fold(0.0, f64::max);
    let worst_split = by_failures.iter().map(|it| it.2.from(2)).fold(0.0, f64::max);
    let published = 1.0 - PUBLISHED[0] / 100.0;
    let nearest =
        robots.iter().min_by(|a, b| distance(&a.1).total_cmp(&distance(&b.1))).map_or(0, |(writers, _)| *writers);
    section.say(&format!(
        "What agrees: one writer without failures never meets two versions ({} reads); concurrent writers make them diverge, {} of \
         the reads with two writers and {} with four; and nodes that fail hardly do ({} at most, with nodes down a fifth of the \
         time). Failures do it only where both parts of a split cluster take writes of the same cart, from a writer that reads in \
         one part and writes in the other: {} with a split a fifth of the time. The published proportions of two, three and four \
         versions, {}, can't come from pairs of writers alone; nearest are those of {nearest} writers here. With {nearest} such \
         writers, the published {:.2} % would be met if one read in {:.0} were a robot's.",
        calm.all(),
        percent(of(2).from(2), 1),
        percent(of(4).from(2), 1),
        percent(worst_down, 3),
        percent(worst_split, 1),
        proportions(&PUBLISHED[1..]),
        published * 100.0,
        of(nearest).from(2) / published
    ));
    section.say(
        "What doesn't: rates, which nobody can compare. And the number of versions has a bound here that the paper doesn't promise: \
         without failures no read met more versions than there were writers, however long they went on, because a version is \
         superseded, exactly, by the next write of whoever has seen it.",
    );
    section.always(calm.most == 1 && of(1).most == 1, "one writer without failures meets one version");
    section.must(
        robots.windows(2).all(|pair| pair[1].1.from(2) > pair[0].1.from(2)),
        "the more write at once, the more reads meet several versions",
    );
    section.must(worst_down < of(2).from(2) / 10.0, "failing nodes do much less than a second writer");
    section.must(worst_split > 5.0 * worst_down, "a split does more than failing nodes");
    let realistic = by_failures.iter().filter(|it| it.0 <= 0.02).all(|it| it.1.from(2) < published);
    section.must(realistic, "with nodes down up to 2 % of the time fewer reads diverge than were published");
}

/// How far the proportions of two, three and four versions are from those published.
fn distance(seen: &Seen) -> f64 {
    let parts = |shares: [f64; 3]| shares.map(|share| share / shares.iter().sum::<f64>().max(f64::MIN_POSITIVE));
    let ours = parts([2, 3, 4].map(|versions| seen.share(versions)));
    let published = parts([PUBLISHED[1], PUBLISHED[2], PUBLISHED[3]]);
    ours.iter().zip(published).map(|(ours, published)| (ours - published).abs()).sum()
}

struct Client {
    key: usize,
    step: Step,
}

enum Step {
    Rests(Time),
    Reads,
    Thinks(Time, Context),
    Writes,
}

struct World {
    sim: Sim,
    rng: Xoshiro256PlusPlus,
    keyspace: KeyspaceId,
    workload: Workload,
    clients: Vec<Client>,
    waiting: BTreeMap<Ticket, (usize, NodeId)>,
    written: u64,
    seen: Seen,
}

fn play(workload: Workload, failures: Failures) -> Seen {
    let sim = Sim::builder(NODES, 1).encode(false).build();
    let now = sim.now();
    let client = |number: usize| Client { key: number % workload.keys, step: Step::Rests(now) };
    let mut world = World {
        sim,
        rng: Xoshiro256PlusPlus::seed_from_u64(1),
        keyspace: Keyspace::new("default").id(),
        workload,
        clients: (0..workload.keys * workload.writers).map(client).collect(),
        waiting: BTreeMap::new(),
        written: 0,
        seen: Seen::default(),
    };
    world.go_on(failures);
    world.seen
}

impl World {
    fn go_on(&mut self, failures: Failures) {
        let ends = self.sim.now() + self.workload.lasts;
        let (Failures::Down(share) | Failures::Split(share)) = failures else {
            return self.go_until(ends);
        };
        // When each of what fails changes, and whether it is well until then.
        let well = HARM.mul_f64((1.0 - share) / share);
        let count = if matches!(failures, Failures::Down(_)) { NODES as usize } else { 1 };
        let mut turns: Vec<(Time, bool)> = (0..count).map(|_| (self.after(well), true)).collect();
        while let Some((which, &(at, is_well))) = turns.iter().enumerate().min_by_key(|(_, turn)| turn.0)
            && at < ends
        {
            self.go_until(at);
            match (failures, is_well) {
                (Failures::Down(_), true) => self.crash(NodeId(which as u64 + 1)),
                (Failures::Down(_), false) => self.sim.restart(NodeId(which as u64 + 1)),
                (_, true) => {
                    let mut nodes = self.sim.members();
                    nodes.shuffle(&mut self.rng);
                    let (left, right) = nodes.split_at(5);
                    self.sim.split(left, right);
                }
                (_, false) => self.sim.heal(),
            }
            turns[which] = (self.after(if is_well { HARM } else { well }), !is_well);
        }
        self.go_until(ends);
    }

    fn go_until(&mut self, until: Time) {
        while self.sim.now() < until {
            let now = self.sim.now();
            for number in 0..self.clients.len() {
                self.act(number, now);
            }
            self.sim.run_until(until.min(now + GLANCE));
            for (ticket, _, reply) in self.sim.replies() {
                if let Some((number, _)) = self.waiting.remove(&ticket) {
                    self.take(number, reply);
                }
            }
        }
    }

    fn act(&mut self, number: usize, now: Time) {
        let client = &mut self.clients[number];
        match &client.step {
            Step::Rests(until) if *until <= now => {
                client.step = Step::Reads;
                let (keyspace, key, options) = (self.keyspace, name(client.key), GetOptions::default());
                self.ask(number, Request::Get { keyspace, key, options });
            }
            Step::Thinks(until, context) if *until <= now => {
                let context = context.clone();
                client.step = Step::Writes;
                self.written += 1;
                let (keyspace, key, value) = (self.keyspace, name(client.key), Some(text(self.written)));
                let options = PutOptions::default();
                self.ask(number, Request::Put { keyspace, key, value, context, options });
            }
            _ => {}
        }
    }

    fn ask(&mut self, number: usize, request: Request) {
        let up: Vec<NodeId> = self.sim.members().into_iter().filter(|&node| self.sim.is_up(node)).collect();
        if up.is_empty() {
            return self.fail(number);
        }
        let node = up[self.rng.random_range(0..up.len())];
        let ticket = self.sim.start(node, request);
        self.waiting.insert(ticket, (number, node));
    }

    fn take(&mut self, number: usize, reply: Reply) {
        match reply {
            Reply::Get(Ok(found)) => {
                let versions = found.siblings.max(1);
                self.seen.reads[versions.min(self.seen.reads.len()) - 1] += 1;
                self.seen.most = self.seen.most.max(versions);
                self.clients[number].step = Step::Thinks(self.after(self.workload.thinks), found.context);
            }
            Reply::Put(Ok(_)) => self.clients[number].step = Step::Rests(self.after(self.workload.rests)),
            _ => self.fail(number),
        }
    }

    fn fail(&mut self, number: usize) {
        self.seen.failed += 1;
        self.clients[number].step = Step::Rests(self.after(self.workload.rests));
    }

    /// Whoever waits for the node is told that it is gone.
    fn crash(&mut self, node: NodeId) {
        self.sim.crash(node);
        let gone: Vec<Ticket> =
            self.waiting.iter().filter(|(_, its)| its.1 == node).map(|(ticket, _)| *ticket).collect();
        for ticket in gone {
            let (number, _) = self.waiting.remove(&ticket).expect("it waits");
            self.fail(number);
        }
    }

    /// In so long, in the mean: between zero and twice that, evenly.
    fn after(&mut self, mean: Duration) -> Time {
        let most = 2 * mean.as_micros() as u64;
        self.sim.now() + Duration::from_micros(self.rng.random_range(0..=most))
    }
}

fn name(key: usize) -> Bytes {
    Bytes::from(format!("cart {key}").as_str())
}

fn text(number: u64) -> Bytes {
    Bytes::from(number.to_string().as_str())
}
