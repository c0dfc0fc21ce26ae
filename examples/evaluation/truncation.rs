//! §4.4: vector clocks that are cut to ten entries, and what that does to versions that follow one another.

use quorate::config::Mode;
use quorate::sim::Sim;
use quorate::{Context, GetOptions, NodeId, PutOptions};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::plot::{Axis, COLOURS, Chart, Series, Style};
use crate::report::{Part, Scale, Section, percent};

pub(crate) const PART: Part = Part { name: "truncation", title: "§4.4: vector clocks that are truncated", run };

/// "Say 10", as the paper has it.
const THRESHOLD: usize = 10;
/// Writes of one object, each of which has read the one before.
const WRITES: usize = 200;
const MOST: usize = 30;
/// So many writes in a row one owner misses, where the history allows it.
const BLOCK: usize = 5;

/// A clock: the counter of each coordinator, zero where it has none.
type Clock = [u32; MOST];

/// How the model reads what the paper leaves open.
#[derive(Clone, Copy)]
struct Reading {
    /// So many entries remain.
    keep: usize,
    /// A coordinator whose entry was removed begins anew, instead of going on from a counter of its own.
    restarts: bool,
}

const BEYOND: Reading = Reading { keep: THRESHOLD, restarts: true };
const REACHED: Reading = Reading { keep: THRESHOLD - 1, restarts: true };
const REMEMBERING: Reading = Reading { keep: THRESHOLD, restarts: false };
/// Of these coordinators' histories more are looked at, for what is rare.
const RARE: std::ops::RangeInclusive<usize> = 11..=13;

/// Shares of pairs of an older and a newer version.
#[derive(Clone, Copy, Default)]
struct Judged {
    /// Taken for concurrent.
    apart: f64,
    /// The same of pairs that follow one another directly.
    apart_next: f64,
    /// Histories in which a newer version is taken for the older one, or for the same.
    reversed: u64,
}

/// How often an update is lost.
#[derive(Clone, Copy)]
struct Lost {
    of: u64,
    anew: u64,
    kept: u64,
}

/// What the library does with the same history.
struct Ours {
    misjudged: usize,
    /// Reads at a moment when an owner was behind, and how many of them met several versions.
    behind: u64,
    divergent: u64,
    /// Bytes of the last context.
    bytes: usize,
}

fn run(scale: &Scale) -> Section {
    let seeds = scale.pick(4, 60);
    let model = |reading: Reading| -> Vec<(usize, Judged)> {
        (2..=MOST).map(|coordinators| (coordinators, judge(coordinators, reading, seeds))).collect()
    };
    let (beyond, reached, remembering) = (model(BEYOND), model(REACHED), model(REMEMBERING));
    let rare = scale.pick(4, 1_000);
    let reversed = |reading| RARE.map(move |count| judge(count, reading, rare).reversed).sum::<u64>();
    let lost = Lost { of: rare * RARE.count() as u64, anew: reversed(BEYOND), kept: reversed(REMEMBERING) };
    let counts: &[usize] = scale.pick(&[11], &[5, 10, 11, 12, 15, 20, 30]);
    let ours: Vec<(usize, Ours)> = counts.iter().map(|&count| (count, ours(count))).collect();

    let mut section = Section::default();
    section.say(&format!(
        "The paper cuts a vector clock when it reaches a threshold, \"say 10\", by removing the entry that was updated \
         longest ago. It says that this \"can lead to inefficiencies in reconciliation\", that the problem \"has not surfaced \
         in production\", and that it \"has not been thoroughly investigated\". Here it is. The workload: one object, \
         {WRITES} writes in a row, each by a client that has read the one before, each coordinated by one of so many nodes, \
         drawn evenly; {seeds} histories. Nothing is concurrent, so of each two versions the older is an ancestor of the \
         newer. The model counts the pairs that truncated clocks judge otherwise. Two things are open in the paper, and both \
         are shown: whether the entry goes when the clock would exceed ten (ten remain) or when it reaches ten (nine \
         remain), and whether a coordinator whose entry has been removed begins at 1 again or keeps a counter elsewhere."
    ));
    let mut rows = vec![
        [
            "coordinators",
            "any two versions taken for concurrent: ten remain",
            "nine remain",
            "ten remain, counters kept",
            "one write apart, ten remain",
            "quorate: misjudged",
        ]
        .map(String::from)
        .to_vec(),
    ];
    for count in [5, 9, 10, 11, 12, 15, 20, 30] {
        let of = |all: &[(usize, Judged)]| all[count - 2].1;
        let mine = ours.iter().find(|(its, _)| *its == count);
        rows.push(vec![
            count.to_string(),
            percent(of(&beyond).apart, 1),
            percent(of(&reached).apart, 1),
            percent(of(&remembering).apart, 1),
            percent(of(&beyond).apart_next, 1),
            mine.map_or_else(String::new, |(_, ours)| format!("{} of {}", ours.misjudged, WRITES * (WRITES - 1) / 2)),
        ]);
    }
    section.table(&rows);
    section.picture(
        "truncation",
        "Share of ancestors that truncated clocks take for conflicts",
        chart(&beyond, &reached, &ours).svg(),
    );
    conclude(&mut section, &beyond, &reached, lost, &ours);
    section
}

fn conclude(
    section: &mut Section,
    beyond: &[(usize, Judged)],
    reached: &[(usize, Judged)],
    lost: Lost,
    ours: &[(usize, Ours)],
) {
    let apart = |all: &[(usize, Judged)], count: usize| all[count - 2].1.apart;
    let (behind, divergent) = ours.iter().fold((0, 0), |sum, (_, ours)| (sum.0 + ours.behind, sum.1 + ours.divergent));
    let bytes = |of: Option<&(usize, Ours)>| of.map_or(0, |(_, ours)| ours.bytes);
    let coordinators = |of: Option<&(usize, Ours)>| of.map_or(0, |(count, _)| *count);
    section.say(&format!(
        "It is a cliff, not an inefficiency. Up to ten coordinators nothing is misjudged; with eleven {} of the pairs are \
         (cut on reaching ten, the cliff is at ten: {}), with twenty {}. Even a replica that is only one write behind shows \
         a false conflict in {} of the cases with eleven coordinators, {} with twenty. Rarer and worse: in {} of {} histories \
         with {} to {} coordinators a newer version was judged an ancestor of an older one, because counters that begin anew \
         are small again; a replica would drop it, a lost update that nobody sees. With counters that are kept elsewhere it \
         was {}. That the paper saw no trouble agrees with its own design: with N = 3 an object has more than ten \
         coordinators only after its owners have changed or failed over many times.",
        percent(apart(beyond, 11), 0),
        percent(apart(reached, 10), 0),
        percent(apart(beyond, 20), 0),
        percent(beyond[11 - 2].1.apart_next, 0),
        percent(beyond[20 - 2].1.apart_next, 0),
        lost.anew,
        lost.of,
        RARE.start(),
        RARE.end(),
        if lost.kept > 0 { format!("in {}", lost.kept) } else { "in none".to_owned() },
    ));
    section.say(&format!(
        "This library doesn't truncate. The same histories on the simulator, with an owner cut off during every few writes \
         where the history allows it: by the contexts of all writes no pair is misjudged, and of {behind} reads that met an \
         owner with an older version {divergent} showed more than one. What it costs: a sealed context of {} bytes with {} \
         coordinators, {} with {}. It grows with nodes, not with writes; and rows of nodes' earlier starts go by a name of \
         fixed size.",
        bytes(ours.first()),
        coordinators(ours.first()),
        bytes(ours.last()),
        coordinators(ours.last()),
    ));
    section.must(
        beyond[..=8].iter().all(|(_, judged)| judged.apart < 1e-12),
        "nothing is misjudged up to ten coordinators",
    );
    section.must(apart(beyond, 11) > 0.5, "with eleven most pairs are misjudged");
    section.must(apart(reached, 10) > 0.5, "cut on reaching ten, with ten most pairs are misjudged");
    section.must(lost.anew > 0 && lost.kept == 0, "updates are lost where counters begin anew, and only there");
    section.always(ours.iter().all(|(_, ours)| ours.misjudged == 0), "the library misjudges no pair");
    section.always(behind > 0 && divergent == 0, "reads meet older versions, and show none of them beside the newer");
}

fn chart(beyond: &[(usize, Judged)], reached: &[(usize, Judged)], ours: &[(usize, Ours)]) -> Chart {
    let points = |all: &[(usize, Judged)], of: fn(&Judged) -> f64| {
        all.iter().map(|(count, judged)| (*count as f64, of(judged) * 100.0)).collect()
    };
    let pairs = (WRITES * (WRITES - 1) / 2) as f64;
    let mine = ours.iter().map(|(count, ours)| (*count as f64, ours.misjudged as f64 / pairs * 100.0)).collect();
    Chart {
        title: "Ancestors taken for conflicts by vector clocks cut to ten entries",
        x: Axis::even("nodes that coordinate writes of the object", 2.0, MOST as f64, 2.0),
        y: Axis::even("pairs of versions, %", 0.0, 100.0, 20.0),
        series: vec![
            Series::new("any two, ten remain", COLOURS[1], Style::Line, points(beyond, |judged| judged.apart)),
            Series::new("any two, nine remain", COLOURS[4], Style::Dashes, points(reached, |judged| judged.apart)),
            Series::new("one write apart", COLOURS[3], Style::Line, points(beyond, |judged| judged.apart_next)),
            Series::new("quorate, any two", COLOURS[0], Style::Marks, mine),
        ],
        limits: Vec::new(),
    }
}

/// The mean of many histories.
fn judge(coordinators: usize, reading: Reading, seeds: u64) -> Judged {
    let mut sum = Judged::default();
    for seed in 0..seeds {
        let history = clocks(&history(coordinators, seed), reading);
        let (mut apart, mut apart_next, mut reversed) = (0_u32, 0_u32, false);
        for (at, older) in history.iter().enumerate() {
            for (distance, newer) in history[at + 1..].iter().enumerate() {
                let is_concurrent = !is_within(older, newer) && !is_within(newer, older);
                apart += u32::from(is_concurrent);
                apart_next += u32::from(is_concurrent && distance == 0);
                reversed |= is_within(newer, older);
            }
        }
        let pairs = (WRITES * (WRITES - 1) / 2) as f64;
        sum.apart += f64::from(apart) / pairs;
        sum.apart_next += f64::from(apart_next) / (WRITES - 1) as f64;
        sum.reversed += u64::from(reversed);
    }
    let mean = |sum: f64| sum / seeds as f64;
    Judged { apart: mean(sum.apart), apart_next: mean(sum.apart_next), reversed: sum.reversed }
}

/// Who coordinates which write.
fn history(coordinators: usize, seed: u64) -> Vec<usize> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..WRITES).map(|_| rng.random_range(0..coordinators)).collect()
}

/// The clock of each write.
fn clocks(history: &[usize], reading: Reading) -> Vec<Clock> {
    let (mut clock, mut written, mut updated) = ([0; MOST], [0; MOST], [0; MOST]);
    let mut all = Vec::with_capacity(history.len());
    for (at, &node) in history.iter().enumerate() {
        written[node] += 1;
        clock[node] = if reading.restarts { clock[node] + 1 } else { written[node] };
        updated[node] = at;
        let entries = clock.iter().filter(|counter| **counter > 0).count();
        if entries > reading.keep {
            let oldest = (0..MOST).filter(|&node| clock[node] > 0).min_by_key(|&node| updated[node]);
            clock[oldest.expect("it has entries")] = 0;
        }
        all.push(clock);
    }
    all
}

/// Whether one is an ancestor of the other, or the same: all its counters are less or equal.
fn is_within(one: &Clock, other: &Clock) -> bool {
    one.iter().zip(other).all(|(one, other)| one <= other)
}

/// The library, with the first of the model's histories.
fn ours(coordinators: usize) -> Ours {
    let history = history(coordinators, 0);
    let node = |at: usize| NodeId(at as u64 + 1);
    let mut sim = Sim::builder(coordinators.max(4) as u64, 1).encode(false).build();
    let (key, mut contexts, mut behind) = ("cart", vec![Context::empty()], 0);
    for (number, block) in history.chunks(BLOCK).enumerate() {
        // An owner that coordinates none of these writes, if there is one; another one each time.
        let mut owners = sim.owners(key);
        owners.rotate_left(number % 3);
        let away = owners.into_iter().find(|owner| block.iter().all(|&at| node(at) != *owner));
        away.iter().for_each(|&away| sim.isolate(away));
        for &at in block {
            let context = contexts.last().expect("the first is empty").clone();
            let value = format!("{}", contexts.len());
            let put = sim.put_with(node(at), key, Some(&value), &context, PutOptions::default());
            contexts.push(put.expect("it is always writeable").context);
        }
        sim.heal();
        if let Some(away) = away {
            // All owners must answer, this one too, before it is told what it has missed.
            let latest = (contexts.len() - 1).to_string();
            behind += u64::from(sim.stored(away, key) != [latest.as_str()]);
            let options = GetOptions { r: Some(3), mode: Some(Mode::Strict), all: true, ..GetOptions::default() };
            let read = sim.get_with(node(block[0]), key, options).expect("all are there");
            assert!(read.value().is_some_and(|value| *value == latest.as_str()), "{:?}", read.values);
        }
        sim.settle();
    }
    let seen: Vec<_> = contexts[1..].iter().map(|context| context.covered().expect("it has been read")).collect();
    let mut misjudged = 0;
    for (at, older) in seen.iter().enumerate() {
        misjudged += seen[at + 1..].iter().filter(|newer| !older.is_subset(newer) || newer.is_subset(older)).count();
    }
    let bytes = contexts.last().map_or(0, |context| context.to_bytes().len());
    Ours { misjudged, behind, divergent: sim.counters().divergent, bytes }
}
