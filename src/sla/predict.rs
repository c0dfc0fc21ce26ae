//! Trials of the WARS model, and what they come to.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::formulas::Availability;
use super::interval::{Estimate, Share};
use super::latency::{Sampler, TripSampler};
use super::model::{Asks, Coordinator, Model, Replica};
use super::{Sla, SlaError};
use crate::config::{Durability, Quorum};

/// How many trials, and their seed. On one machine the same seed gives the same prediction to the last bit; on others the
/// last bits of logarithms may differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trials {
    /// How many, for each number of copies, at most [`Trials::MOST`]. With c of them a quantile q has an interval if
    /// c · (1 − q) is above 5 or so.
    pub count: u32,
    /// Their seed.
    pub seed: u64,
}

impl Trials {
    /// More would take memory by the gigabyte, and say nothing that the model can bear.
    pub const MOST: u32 = 10_000_000;
}

/// 100,000: the 99.9th percentile then lies between what the trials have for the 99.87th and the 99.93rd.
impl Default for Trials {
    fn default() -> Self {
        Self { count: 100_000, seed: 1 }
    }
}

/// What one setting is predicted to do, while no node fails unless it says otherwise.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Prediction {
    /// The setting.
    pub quorum: Quorum,
    /// How long reads take at the percentile asked for.
    pub read: Estimate,
    /// How long writes take at the percentile asked for.
    pub write: Estimate,
    /// The share of reads that see the last write, when they begin so long after its acknowledgement as was asked for; at
    /// once if nothing was. Exactly 1 where R + W > N.
    pub fresh: Share,
    /// How long after an acknowledgement so many reads see the write as were asked for; as many as the percentile says if
    /// nothing was. Exactly zero where R + W > N.
    pub fresh_after: Estimate,
    /// How likely requests find enough nodes in strict mode.
    pub strict: Availability,
    /// How likely they do in sloppy mode.
    pub sloppy: Availability,
    /// How likely an acknowledged write outlives what is lost before others than the W have it: disks, and where
    /// [`Model::durability`] waives syncs, memories.
    pub durable: f64,
    /// What it takes.
    pub cost: Cost,
}

/// What a setting takes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cost {
    /// Copies of each object.
    pub copies: u8,
    /// Messages of a read between nodes, in the mean; hedges and repairs not counted.
    pub read_messages: f64,
    /// Messages of a write between nodes, in the mean.
    pub write_messages: f64,
    /// Messages of a request, by the model's share of reads.
    pub messages: f64,
}

/// The prediction for one setting.
///
/// # Errors
/// [`SlaError`] says what is wrong with the need or the model.
pub fn predict(quorum: Quorum, sla: &Sla, model: &Model, trials: Trials) -> Result<Prediction, SlaError> {
    let all = predict_copies(quorum.n(), sla, model, trials)?;
    Ok(all.into_iter().find(|prediction| prediction.quorum == quorum).expect("all settings with so many copies"))
}

/// The predictions for all settings with so many copies, from the same trials, by R and then W. Meanwhile it takes 8 bytes
/// for each trial and each pair of R and W that doesn't overlap, and for each R and each W: 7 MB with the default
/// trials and N = 3, 120 MB with N = 16.
///
/// # Errors
/// [`SlaError`] says what is wrong with the need or the model.
pub fn predict_copies(copies: u8, sla: &Sla, model: &Model, trials: Trials) -> Result<Vec<Prediction>, SlaError> {
    sla.validate()?;
    model.validate()?;
    if trials.count == 0 || trials.count > Trials::MOST {
        return Err(SlaError::Trials { count: trials.count });
    }
    if copies == 0 || copies > Quorum::N_MAX || !model.knows(copies) {
        return Err(SlaError::Copies { copies, nodes: model.nodes, ways: model.replicas.len() });
    }
    let drawn = Drawn::new(usize::from(copies), model, trials)?;
    Ok(drawn.predictions(sla, model))
}

/// What trials gave, in microseconds.
struct Drawn {
    copies: usize,
    /// By R - 1.
    reads: Vec<Vec<f64>>,
    /// By W - 1.
    writes: Vec<Vec<f64>>,
    /// By R - 1 and W - 1: how long after the acknowledgement a read must begin to see the write. Where R + W > N it is
    /// nothing, and not kept.
    waits: Vec<Vec<Vec<f64>>>,
}

impl Drawn {
    fn new(copies: usize, model: &Model, trials: Trials) -> Result<Self, SlaError> {
        let mut trial = Trial::new(copies, model)?;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(trials.seed);
        let count = trials.count as usize;
        let list = || Vec::with_capacity(count);
        let mut drawn = Self {
            copies,
            reads: (0..copies).map(|_| list()).collect(),
            writes: (0..copies).map(|_| list()).collect(),
            waits: (1..=copies).map(|r| (1..=copies - r).map(|_| list()).collect()).collect(),
        };
        for _ in 0..count {
            trial.draw(&mut rng);
            drawn.take(&trial);
        }
        Ok(drawn)
    }

    fn take(&mut self, trial: &Trial<'_>) {
        let mut acknowledged = [0.0; MOST];
        let acknowledged = &mut acknowledged[..self.copies];
        for (acknowledged, way) in acknowledged.iter_mut().zip(&trial.ways) {
            *acknowledged = way.stored + way.acknowledged;
        }
        acknowledged.sort_unstable_by(f64::total_cmp);
        for (list, acknowledged) in self.writes.iter_mut().zip(&mut *acknowledged) {
            *acknowledged = acknowledged.max(trial.held_back);
            list.push(trial.handed_on + *acknowledged + trial.handed_back);
        }
        // Of those that answer first, or are asked, which shows the write to the earliest read?
        let (mut earliest, mut longest) = (f64::INFINITY, 0.0_f64);
        for (r, &replica) in trial.order[..self.copies].iter().enumerate() {
            let way = &trial.ways[replica];
            earliest = earliest.min(way.stored - way.asked);
            longest = longest.max(way.asked + way.answered);
            self.reads[r].push(longest);
            for (list, acknowledged) in self.waits[r].iter_mut().zip(&*acknowledged) {
                list.push((earliest - acknowledged - trial.handed_back).max(0.0));
            }
        }
    }

    fn predictions(mut self, sla: &Sla, model: &Model) -> Vec<Prediction> {
        let percentile = sla.percentile;
        let reads: Vec<_> = self.reads.iter_mut().map(|list| Estimate::quantile(list, percentile)).collect();
        let writes: Vec<_> = self.writes.iter_mut().map(|list| Estimate::quantile(list, percentile)).collect();
        let mut predictions = Vec::new();
        for r in 1..=self.copies {
            for w in 1..=self.copies {
                let quorum = Quorum::new(self.copies as u8, r as u8, w as u8).expect("within the bounds");
                let (fresh, fresh_after) = match self.waits[r - 1].get_mut(w - 1) {
                    None => (Share::ALL, Estimate::ZERO),
                    Some(waits) => freshness(waits, sla),
                };
                predictions.push(Prediction {
                    quorum,
                    read: reads[r - 1],
                    write: writes[w - 1],
                    fresh,
                    fresh_after,
                    strict: Availability::strict(quorum, model.up),
                    sloppy: Availability::sloppy(quorum, model.up, model.nodes),
                    durable: model.durable(quorum),
                    cost: Cost::of(quorum, model),
                });
            }
        }
        predictions
    }
}

fn freshness(waits: &mut [f64], sla: &Sla) -> (Share, Estimate) {
    let (after, share) = sla.fresh.map_or((Duration::ZERO, sla.percentile), |fresh| (fresh.after, fresh.share));
    let after = after.as_secs_f64() * 1e6;
    let fresh = Share::of(waits.iter().filter(|wait| **wait <= after).count(), waits.len());
    (fresh, Estimate::quantile(waits, share))
}

impl Cost {
    fn of(quorum: Quorum, model: &Model) -> Self {
        let (n, owned) = (f64::from(quorum.n()), model.owned(quorum.n()));
        let asked = match model.asks {
            Asks::All => n,
            Asks::Fastest => f64::from(quorum.r()),
        };
        // A coordinator that owns a copy asks itself without a message.
        let read_messages = 2.0 * (asked - owned);
        // One that doesn't hands a write to an owner, which takes as many as it saves.
        let write_messages = 2.0 * (n - if model.is_owner() { 1.0 } else { 0.0 } + model.handed_on(quorum.n()));
        let messages = model.reads * read_messages + (1.0 - model.reads) * write_messages;
        Self { copies: quorum.n(), read_messages, write_messages, messages }
    }
}

/// The most replicas.
const MOST: usize = Quorum::N_MAX as usize;

/// One write, and one read of it, and how long each way took, in microseconds.
struct Trial<'a> {
    coordinator: &'a Coordinator,
    durability: Durability,
    asks: Asks,
    owned: f64,
    paths: Vec<Path>,
    stores: Option<Sampler>,
    copies: usize,
    /// Which of the paths, one for each copy but a coordinator's own; a part of it is put in another order each time.
    deck: Vec<usize>,
    /// Of each copy.
    ways: Vec<Ways>,
    /// The copies that a read counts on, those first that it counts on first.
    order: Vec<usize>,
    /// Until the coordinator of the write has it from the node that was asked, and until that one has the answer.
    handed_on: f64,
    handed_back: f64,
    /// Until the coordinator of the write says anything: what it has not synced and must is not shown.
    held_back: f64,
}

/// To one replica.
struct Path {
    write: TripSampler,
    read: TripSampler,
    /// How it stands among the others, by how soon it usually answers reads.
    rank: usize,
}

/// Of one replica.
#[derive(Clone, Copy, Default)]
struct Ways {
    /// W: from the coordinator's start until the replica shows the write.
    stored: f64,
    /// A: from then until its acknowledgement has come.
    acknowledged: f64,
    /// R: from the read's start until the replica looks.
    asked: f64,
    /// S: from then until its answer has come.
    answered: f64,
}

impl<'a> Trial<'a> {
    fn new(copies: usize, model: &'a Model) -> Result<Self, SlaError> {
        let path = |replica: &Replica| -> Result<Path, SlaError> {
            Ok(Path { write: replica.write.sampler()?, read: replica.read.sampler()?, rank: 0 })
        };
        let mut paths = model.replicas.iter().map(path).collect::<Result<Vec<_>, _>>()?;
        rank(&mut paths);
        let stores = match &model.coordinator {
            Coordinator::Owner { stores } | Coordinator::AnyNode { stores } => Some(stores.sampler()?),
            Coordinator::Apart | Coordinator::Near(_) => None,
        };
        // One path stands for any number of replicas.
        let deck = if paths.len() == 1 { vec![0; copies] } else { (0..paths.len()).collect() };
        Ok(Self {
            coordinator: &model.coordinator,
            durability: model.durability,
            asks: model.asks,
            owned: model.owned(copies as u8),
            paths,
            stores,
            copies,
            deck,
            ways: vec![Ways::default(); copies],
            order: (0..copies).collect(),
            handed_on: 0.0,
            handed_back: 0.0,
            held_back: 0.0,
        })
    }

    fn draw(&mut self, rng: &mut Xoshiro256PlusPlus) {
        self.shuffle(rng);
        (self.handed_on, self.handed_back, self.held_back) = (0.0, 0.0, 0.0);
        let (mut home, mut further) = (None, 0.0);
        match self.coordinator {
            Coordinator::Apart => {}
            Coordinator::Near(by) => {
                home = Some(rng.random_range(0..self.copies));
                further = by.as_secs_f64() * 1e6;
            }
            Coordinator::Owner { .. } => home = Some(0),
            Coordinator::AnyNode { .. } => {
                home = Some(0);
                if rng.random::<f64>() >= self.owned {
                    let path = self.path(0, 0);
                    (self.handed_on, self.handed_back) = path.read.draw(rng);
                }
            }
        }
        for at in 0..self.copies {
            let is_home = home == Some(at);
            let is_synced = self.is_synced(at, is_home);
            let (stored, acknowledged) = match &self.stores {
                Some(stores) if is_home => {
                    self.held_back = if is_synced { stores.draw(rng) } else { 0.0 };
                    (self.held_back, 0.0)
                }
                _ if is_synced => self.path(at, 0).write.draw(rng),
                // There and back without a sync, as a read is.
                _ => self.path(at, 0).read.draw(rng),
            };
            let further = if is_home { 0.0 } else { further };
            (self.ways[at].stored, self.ways[at].acknowledged) = (stored + further, acknowledged + further);
        }
        self.draw_read(further, rng);
    }

    /// Whether a copy of the write counts when it is synced, and no sooner.
    fn is_synced(&self, copy: usize, is_home: bool) -> bool {
        match self.durability {
            Durability::Quorum => true,
            Durability::Coordinator => is_home,
            // One of the others, and the coordinator if there are none.
            Durability::One => copy + 1 == self.copies,
            Durability::Memory => false,
        }
    }

    /// Its coordinator is another one, independently.
    fn draw_read(&mut self, further: f64, rng: &mut Xoshiro256PlusPlus) {
        let home = match self.coordinator {
            Coordinator::Apart => None,
            Coordinator::Near(_) | Coordinator::Owner { .. } => Some(rng.random_range(0..self.copies)),
            Coordinator::AnyNode { .. } => (rng.random::<f64>() < self.owned).then(|| rng.random_range(0..self.copies)),
        };
        for at in 0..self.copies {
            let is_home = home == Some(at);
            let (asked, answered) = if is_home && self.stores.is_some() {
                (0.0, 0.0)
            } else {
                self.path(at, home.unwrap_or(0)).read.draw(rng)
            };
            let further = if is_home { 0.0 } else { further };
            (self.ways[at].asked, self.ways[at].answered) = (asked + further, answered + further);
        }
        // Whoever is asked: those that answer first, or those that usually do, among equals any.
        let mut keys = [0.0; MOST];
        for (at, key) in keys.iter_mut().enumerate().take(self.copies) {
            *key = match self.asks {
                Asks::All => self.ways[at].asked + self.ways[at].answered,
                Asks::Fastest if home == Some(at) => -1.0,
                Asks::Fastest => self.path(at, home.unwrap_or(0)).rank as f64 + rng.random::<f64>(),
            };
        }
        self.order.sort_unstable_by(|a, b| keys[*a].total_cmp(&keys[*b]));
    }

    /// The way to a copy from another. Where coordinators own copies the first is the write's coordinator, and ways are
    /// those from there: from another owner to the first it is the one to that owner, from elsewhere one more.
    fn path(&self, copy: usize, from: usize) -> &Path {
        let dealt = match (copy, from) {
            _ if self.stores.is_none() => copy,
            (0, 0) => (self.copies - 1).min(self.deck.len() - 1),
            (0, from) => from - 1,
            (copy, _) => copy - 1,
        };
        &self.paths[self.deck[dealt]]
    }

    /// Deals as many paths as are needed.
    fn shuffle(&mut self, rng: &mut Xoshiro256PlusPlus) {
        if self.paths.len() > 1 {
            for at in 0..self.copies.min(self.deck.len() - 1) {
                let other = rng.random_range(at..self.deck.len());
                self.deck.swap(at, other);
            }
        }
    }
}

/// By the medians of what reads took: those that are equal have the same rank.
fn rank(paths: &mut [Path]) {
    const SAMPLES: usize = 1_001;
    let median = |path: &Path| {
        // The same draws for each, so that equal ones come out equal.
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
        let mut took: Vec<f64> = (0..SAMPLES)
            .map(|_| {
                let (there, back) = path.read.draw(&mut rng);
                there + back
            })
            .collect();
        *took.select_nth_unstable_by(SAMPLES / 2, f64::total_cmp).1
    };
    let medians: Vec<f64> = paths.iter().map(median).collect();
    for (at, path) in paths.iter_mut().enumerate() {
        path.rank = medians.iter().filter(|other| **other < medians[at]).count();
    }
}
