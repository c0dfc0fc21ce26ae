//! Figure 6: how many nodes are out of balance, by load.

use std::ops::Range;

use quorate::sim::Sim;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::plot::{Axis, COLOURS, Chart, Series, Style};
use crate::report::{Part, Scale, Section, percent};

pub(crate) const PART: Part = Part { name: "figure_6", title: "Figure 6: nodes out of balance, by load", run };

/// The figure's values are 0, 0.11 and 0.22 alone: ninths.
const NODES: usize = 9;
const COPIES: usize = 3;
/// Strategy 1's tokens for each node, and the library's partitions: about as much to remember.
const TOKENS: usize = 64;
const PARTITIONS: u32 = 512;
/// A node is out of balance that is so far from the mean.
const THRESHOLD: f64 = 0.15;
/// Of the peak.
const LOADS: [f64; 4] = [0.125, 0.25, 0.5, 1.0];
/// What the text says of the first and of the last.
const PUBLISHED: [(f64, f64); 2] = [(0.125, 0.20), (1.0, 0.10)];
/// Keys that are asked for in half an hour at the peak; with less load, fewer of them.
const KEYS: usize = 20_000;
/// How popular they are: the k-th as k to the power of minus this.
const SKEW: f64 = 0.7;
/// Beside it, for where the claim ends.
const SKEWS: [f64; 12] = [0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3];

/// Nodes out of balance, in the mean of many windows.
#[derive(Clone, Copy, Default)]
struct Ratio {
    /// With strategy 1.
    drawn: f64,
    /// With this library's placement.
    ours: f64,
}

fn run(scale: &Scale) -> Section {
    let windows = scale.pick(2, 120);
    // By load, and then by skew.
    let all: Vec<Vec<Ratio>> = LOADS.iter().map(|load| ratios(KEYS, *load, &SKEWS, windows)).collect();
    let usual = SKEWS.iter().position(|skew| (skew - SKEW).abs() < 1e-9).expect("it is among them");

    let mut section = Section::default();
    section.say(&format!(
        "The paper counts, for each half hour of a day, the nodes whose requests deviate from the mean by {:.0} % or more, and \
         finds about 20 % of them at the lowest load, an eighth of the peak, and about 10 % at the highest. It explains that \
         at high load many popular keys are accessed, so that the load is even. The text speaks of a couple hundred nodes; the \
         figure's values are 0, 1/9 and 2/9 alone, as {NODES} nodes would give them, so there are {NODES} here.",
        THRESHOLD * 100.0
    ));
    section.say(&format!(
        "The workload: in each window {KEYS} keys at the peak are asked for, and with less load as many fewer of them; the k-th \
         is asked for in proportion to k^-{SKEW} (Zipf); each request counts at all {COPIES} owners. The number of keys and \
         the skew are free: the paper gives neither. They are assumed and not fitted to the two published values; what others \
         do stands below. Strategy 1 draws {TOKENS} tokens for each node anew in each of \
         {windows} windows; this library's keys are hashed and placed by the simulator's nodes in {PARTITIONS} partitions."
    ));
    let mut rows =
        vec![["load, of the peak", "strategy 1", "published", "ratio", "quorate"].map(String::from).to_vec()];
    for (load, ratios) in LOADS.iter().zip(&all) {
        let published = PUBLISHED.iter().find(|(at, _)| (at - load).abs() < 1e-9).map(|(_, ratio)| *ratio);
        rows.push(vec![
            format!("{load}"),
            percent(ratios[usual].drawn, 1),
            published.map_or_else(String::new, |ratio| percent(ratio, 0)),
            published.map_or_else(String::new, |ratio| format!("{:.2}", ratios[usual].drawn / ratio)),
            percent(ratios[usual].ours, 1),
        ]);
    }
    section.table(&rows);
    section.picture("figure_6", "Nodes out of balance over load", over_load(&all, usual).svg());
    section.picture("figure_6_skew", "Nodes out of balance over skew", over_skew(&all).svg());
    others(&mut section, windows);
    conclude(&mut section, &all, usual);
    section
}

fn over_load(all: &[Vec<Ratio>], usual: usize) -> Chart {
    let curve =
        |of: fn(&Ratio) -> f64| LOADS.iter().zip(all).map(move |(load, ratios)| (*load, of(&ratios[usual]) * 100.0));
    let published = PUBLISHED.iter().map(|(load, ratio)| (*load, ratio * 100.0)).collect();
    Chart {
        title: "Figure 6: nodes that deviate from the mean load by 15 % or more",
        x: Axis {
            ticks: LOADS.iter().map(|load| (*load, format!("{load}"))).collect(),
            ..Axis::powers("load, of the peak, by powers", 0.125, 1.0)
        },
        y: Axis::even("nodes out of balance, %", 0.0, 30.0, 5.0),
        series: vec![
            Series::new("strategy 1", COLOURS[1], Style::Line, curve(|ratio| ratio.drawn).collect()),
            Series::new("quorate", COLOURS[2], Style::Line, curve(|ratio| ratio.ours).collect()),
            Series::new("published (in the text)", COLOURS[1], Style::Published, published),
        ],
        limits: Vec::new(),
    }
}

fn over_skew(all: &[Vec<Ratio>]) -> Chart {
    let curve = |ratios: &[Ratio], of: fn(&Ratio) -> f64| {
        SKEWS.iter().zip(ratios).map(|(skew, ratio)| (*skew, of(ratio) * 100.0)).collect()
    };
    let (low, high) = (&all[0], &all[LOADS.len() - 1]);
    Chart {
        title: "How far the claim reaches: the same over how unevenly popular keys are",
        x: Axis::even("skew: the k-th key is asked for in proportion to k to the power of minus this", 0.0, 1.3, 0.1),
        y: Axis::even("nodes out of balance, %", 0.0, 100.0, 20.0),
        series: vec![
            Series::new("strategy 1, an eighth", COLOURS[1], Style::Dashes, curve(low, |ratio| ratio.drawn)),
            Series::new("strategy 1, peak", COLOURS[1], Style::Line, curve(high, |ratio| ratio.drawn)),
            Series::new("quorate, an eighth", COLOURS[2], Style::Dashes, curve(low, |ratio| ratio.ours)),
            Series::new("quorate, peak", COLOURS[2], Style::Line, curve(high, |ratio| ratio.ours)),
        ],
        limits: Vec::new(),
    }
}

/// What the free numbers do.
fn others(section: &mut Section, windows: u64) {
    let mut rows = vec![
        ["keys at the peak", "skew", "strategy 1, an eighth", "at the peak", "quorate, an eighth", "at the peak"]
            .map(String::from)
            .to_vec(),
    ];
    let skews = [0.5, SKEW, 0.9];
    for keys in [KEYS / 4, KEYS * 2] {
        let [low, high] = [LOADS[0], 1.0].map(|load| ratios(keys, load, &skews, windows / 2 + 1));
        for (at, skew) in skews.iter().enumerate() {
            let mut row = vec![keys.to_string(), format!("{skew}")];
            row.extend([low[at].drawn, high[at].drawn, low[at].ours, high[at].ours].map(|ratio| percent(ratio, 1)));
            rows.push(row);
        }
    }
    section.say("With other numbers of keys and other skews:");
    section.table(&rows);
}

fn conclude(section: &mut Section, all: &[Vec<Ratio>], usual: usize) {
    let (low, high) = (&all[0], &all[LOADS.len() - 1]);
    let at = |skew: f64| SKEWS.iter().position(|its| (its - skew).abs() < 1e-9).expect("it is among them");
    section.say(&format!(
        "What agrees: the direction, and the order of size: {:.2} and {:.2} of what was published. Fewer keys at low load leave more nodes out of balance: {} of them at \
         an eighth of the peak against {} at the peak with strategy 1. What the paper's explanation leaves out: a part of it is \
         the placement itself. Shares of the ring that are drawn differ even if all keys are asked for alike ({} out of balance \
         at the peak without any skew). With shares that are equal, as this library's are, {} and {} are left at the same skew, \
         from popular keys alone.",
        low[usual].drawn / PUBLISHED[0].1,
        high[usual].drawn / PUBLISHED[1].1,
        percent(low[usual].drawn, 1),
        percent(high[usual].drawn, 1),
        percent(high[at(0.0)].drawn, 1),
        percent(low[usual].ours, 1),
        percent(high[usual].ours, 1),
    ));
    // Of all requests, the most popular key's; each counts at its owners, and a node's mean is COPIES of NODES.
    let first = 1.0 / (1..=KEYS).map(|rank| (rank as f64).powf(-0.9)).sum::<f64>();
    section.say(&format!(
        "Where the claim ends: it assumes that \"there are enough keys in the popular end of the distribution\". From a skew of \
         about 0.9 on there aren't: at the peak the most popular key alone is then {} of a node's mean load, more than a node may \
         deviate, and more load hardly helps. At 1.1 {} (strategy 1) and {} (this library) of the nodes are out of balance at the peak, {} and {} at an eighth \
         of it. No placement helps there, since a key has {COPIES} owners and no more; it takes more copies of that key, or a \
         cache before it.",
        percent(first * NODES as f64 / COPIES as f64, 0),
        percent(high[at(1.1)].drawn, 0),
        percent(high[at(1.1)].ours, 0),
        percent(low[at(1.1)].drawn, 0),
        percent(low[at(1.1)].ours, 0),
    ));
    section.must(low[usual].drawn > 1.3 * high[usual].drawn, "with strategy 1 low load is less even");
    section.must(low[usual].ours >= high[usual].ours, "with the library's placement too");
    section.must(
        LOADS.iter().zip(all).all(|(_, ratios)| ratios[usual].ours < ratios[usual].drawn),
        "equal shares leave fewer nodes out of balance at any load",
    );
    section.always(high[0].ours < 1e-9, "without skew no node of the library's is out of balance at the peak");
    section.must(high[at(1.1)].drawn > 0.4 && high[at(1.1)].ours > 0.4, "with much skew no load is even");
}

/// The mean of many windows, for each skew.
fn ratios(keys: usize, load: f64, skews: &[f64], windows: u64) -> Vec<Ratio> {
    let active = (keys as f64 * load) as usize;
    let weights: Vec<Vec<f64>> =
        skews.iter().map(|skew| (1..=active).map(|rank| (rank as f64).powf(-skew)).collect()).collect();
    let sim = Sim::builder(NODES as u64, 1).partitions(PARTITIONS).encode(false).build();
    let mut sums = vec![Ratio::default(); skews.len()];
    for window in 0..windows {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(window);
        let ring = Ring::draw(&mut rng);
        let drawn = loads(&weights, 0..active, |_| ring.owners(rng.random()));
        // Other keys in each window.
        let ours = loads(&weights, 0..active, |key| {
            let owners = sim.owners(&format!("cart {window} {key}"));
            [0, 1, 2].map(|at| owners[at].0 as usize - 1)
        });
        for ((sum, drawn), ours) in sums.iter_mut().zip(drawn).zip(ours) {
            sum.drawn += out_of_balance(&drawn);
            sum.ours += out_of_balance(&ours);
        }
    }
    let mean = |sum: f64| sum / windows as f64;
    sums.into_iter().map(|sum| Ratio { drawn: mean(sum.drawn), ours: mean(sum.ours) }).collect()
}

/// What each node gets, for each list of weights.
fn loads(
    weights: &[Vec<f64>],
    keys: Range<usize>,
    mut owners: impl FnMut(usize) -> [usize; COPIES],
) -> Vec<[f64; NODES]> {
    let mut loads = vec![[0.0; NODES]; weights.len()];
    for key in keys {
        let owners = owners(key);
        for (loads, weights) in loads.iter_mut().zip(weights) {
            owners.iter().for_each(|&owner| loads[owner] += weights[key]);
        }
    }
    loads
}

fn out_of_balance(loads: &[f64; NODES]) -> f64 {
    let mean = loads.iter().sum::<f64>() / NODES as f64;
    loads.iter().filter(|load| (**load / mean - 1.0).abs() >= THRESHOLD).count() as f64 / NODES as f64
}

/// Strategy 1: tokens at random, by position.
struct Ring {
    tokens: Vec<(f64, usize)>,
}

impl Ring {
    fn draw(rng: &mut Xoshiro256PlusPlus) -> Self {
        let mut tokens: Vec<_> = (0..NODES * TOKENS).map(|at| (rng.random(), at % NODES)).collect();
        tokens.sort_by(|a: &(f64, usize), b| a.0.total_cmp(&b.0));
        Self { tokens }
    }

    /// The first different nodes that follow a key.
    fn owners(&self, position: f64) -> [usize; COPIES] {
        let (mut owners, mut count) = ([usize::MAX; COPIES], 0);
        let mut at = self.tokens.partition_point(|token| token.0 < position);
        while count < COPIES {
            let (_, node) = self.tokens[at % self.tokens.len()];
            if !owners.contains(&node) {
                owners[count] = node;
                count += 1;
            }
            at += 1;
        }
        owners
    }
}
