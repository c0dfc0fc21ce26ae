//! Which setting meets a need, and what is in the way.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::interval::{Estimate, Share};
use super::model::Model;
use super::predict::{Prediction, Trials, predict_copies};
use super::{Sla, SlaError};
use crate::config::{Durability, Mode, Quorum};

/// Every setting that was looked at, and the cheapest that meets the need.
#[derive(Clone, PartialEq, Debug)]
pub struct Advice {
    settings: Vec<Setting>,
    /// The cheapest of those with the fewest obstacles.
    nearest: usize,
}

/// A setting, what it is predicted to do, and what of the need it doesn't meet.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Setting {
    /// What it is predicted to do.
    pub prediction: Prediction,
    /// What is against it in strict mode; nothing if it meets the need.
    pub strict: Vec<Obstacle>,
    /// What is against it in sloppy mode; nothing if it meets the need.
    pub sloppy: Vec<Obstacle>,
}

/// The cheapest setting that meets the need.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Offer<'a> {
    /// The setting.
    pub setting: &'a Setting,
    /// In which mode: strict if it meets the need that way, for it promises more.
    pub mode: Mode,
}

/// Why no setting meets the need.
#[derive(Clone, PartialEq, Debug)]
pub struct InTheWay<'a> {
    /// What no setting gives, whatever else is let go. If there is none, it is that they are wanted together.
    pub alone: Vec<Need>,
    /// The setting with the fewest obstacles, the cheapest of those.
    pub nearest: Offer<'a>,
}

/// A part of what is needed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Need {
    /// [`Sla::read`].
    ReadLatency,
    /// [`Sla::write`].
    WriteLatency,
    /// [`Sla::fresh`].
    Freshness,
    /// [`Sla::readable`].
    Readable,
    /// [`Sla::writeable`].
    Writeable,
    /// [`Sla::durable`].
    Durability,
}

/// Why a setting doesn't meet a need.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Obstacle {
    /// Reads take longer, or may, as far as the trials say.
    #[error("reads take {} and may take {limit:?}", shown(.predicted))]
    ReadsSlow {
        /// At the percentile.
        predicted: Estimate,
        /// At most.
        limit: Duration,
    },
    /// Writes take longer, or may.
    #[error("writes take {} and may take {limit:?}", shown(.predicted))]
    WritesSlow {
        /// At the percentile.
        predicted: Estimate,
        /// At most.
        limit: Duration,
    },
    /// Too few reads see the last write, or may.
    #[error("{:.5} of reads are fresh (at least {:.5}), {needed} is needed", .predicted.value, .predicted.lower)]
    Stale {
        /// So many do.
        predicted: Share,
        /// So many must.
        needed: f64,
    },
    /// That each read is fresh is promised by quorums that meet alone.
    #[error("R + W is not above N, so that a read may miss the last write")]
    NoOverlap,
    /// That each read is fresh is promised by strict requests alone: where nodes fail, sloppy ones may miss a write.
    #[error("a sloppy read may miss the last write where nodes fail")]
    MayMiss,
    /// That each read is fresh is promised of puts that all W have synced: a crash may take back the others.
    #[error("a crash may take back what was acknowledged with {0:?}")]
    MayForget(Durability),
    /// Too few reads find enough nodes.
    #[error("{predicted:.7} of reads find enough nodes, {needed} must")]
    Unreadable {
        /// So many do.
        predicted: f64,
        /// So many must.
        needed: f64,
    },
    /// Too few writes find enough nodes.
    #[error("{predicted:.7} of writes find enough nodes, {needed} must")]
    Unwriteable {
        /// So many do.
        predicted: f64,
        /// So many must.
        needed: f64,
    },
    /// Too many acknowledged writes are lost, with disks or memories.
    #[error("{predicted:.9} of acknowledged writes are kept, {needed} must be")]
    Lost {
        /// So many do.
        predicted: f64,
        /// So many must.
        needed: f64,
    },
}

fn shown(estimate: &Estimate) -> String {
    if estimate.upper == Duration::MAX {
        return format!("{:.3?} (too few trials to say at most how long)", estimate.value);
    }
    format!("{:.3?} (at most {:.3?})", estimate.value, estimate.upper)
}

/// Looks at each setting with these numbers of copies.
///
/// The cheapest is the one with the fewest copies; of those the one with the fewest messages a request; of those the
/// one with the least latency, reads and writes by their share.
///
/// # Errors
/// [`SlaError`] says what is wrong with the need or the model; [`SlaError::Copies`] if none of these numbers of copies can
/// be predicted. Those that can't are passed over where others can.
pub fn advise(sla: &Sla, model: &Model, copies: RangeInclusive<u8>, trials: Trials) -> Result<Advice, SlaError> {
    let (mut settings, mut refused) = (Vec::new(), None);
    for n in copies.clone() {
        match predict_copies(n, sla, model, trials) {
            Ok(predictions) => settings
                .extend(predictions.into_iter().map(|prediction| Setting::of(prediction, sla, model.durability))),
            Err(error @ SlaError::Copies { .. }) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    if settings.is_empty() {
        let none = SlaError::Copies { copies: *copies.start(), nodes: model.nodes, ways: model.replicas.len() };
        return Err(refused.unwrap_or(none));
    }
    let nearer = |one: &Setting, other: &Setting| {
        let (fewest, others) = (one.nearest().obstacles().len(), other.nearest().obstacles().len());
        fewest.cmp(&others).then_with(|| cheaper(one, other, model))
    };
    let nearest = (1..settings.len())
        .fold(0, |nearest, at| if nearer(&settings[at], &settings[nearest]).is_lt() { at } else { nearest });
    Ok(Advice { settings, nearest })
}

fn cheaper(one: &Setting, other: &Setting, model: &Model) -> std::cmp::Ordering {
    let (one, other) = (&one.prediction, &other.prediction);
    let latency = |prediction: &Prediction| {
        let (read, write) = (prediction.read.value.as_secs_f64(), prediction.write.value.as_secs_f64());
        model.reads * read + (1.0 - model.reads) * write
    };
    (one.cost.copies.cmp(&other.cost.copies))
        .then_with(|| one.cost.messages.total_cmp(&other.cost.messages))
        .then_with(|| latency(one).total_cmp(&latency(other)))
}

impl Advice {
    /// By N, R and W.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The cheapest setting that meets the need, if one does.
    #[must_use]
    pub fn best(&self) -> Option<Offer<'_>> {
        Some(self.settings[self.nearest].nearest()).filter(|nearest| nearest.obstacles().is_empty())
    }

    /// The setting with this quorum, if it was looked at.
    #[must_use]
    pub fn setting(&self, quorum: Quorum) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.prediction.quorum == quorum)
    }

    /// What is in the way, if no setting meets the need.
    #[must_use]
    pub fn in_the_way(&self) -> Option<InTheWay<'_>> {
        let nearest = self.settings[self.nearest].nearest();
        if nearest.obstacles().is_empty() {
            return None;
        }
        let missed = |need: Need| {
            let lacks = |obstacles: &[Obstacle]| obstacles.iter().any(|obstacle| obstacle.need() == need);
            self.settings.iter().all(|setting| lacks(&setting.strict) && lacks(&setting.sloppy))
        };
        let alone = Need::ALL.into_iter().filter(|need| missed(*need)).collect();
        Some(InTheWay { alone, nearest })
    }
}

impl Offer<'_> {
    /// What is against it in its mode; nothing where it meets the need.
    #[must_use]
    pub fn obstacles(&self) -> &[Obstacle] {
        if self.mode == Mode::Strict { &self.setting.strict } else { &self.setting.sloppy }
    }
}

impl Setting {
    fn of(prediction: Prediction, sla: &Sla, durability: Durability) -> Self {
        let mut common = Vec::new();
        if let Some(limit) = sla.read.filter(|limit| prediction.read.upper > *limit) {
            common.push(Obstacle::ReadsSlow { predicted: prediction.read, limit });
        }
        if let Some(limit) = sla.write.filter(|limit| prediction.write.upper > *limit) {
            common.push(Obstacle::WritesSlow { predicted: prediction.write, limit });
        }
        let is_promise = sla.fresh.is_some_and(|fresh| fresh.share >= 1.0);
        if is_promise && durability != Durability::Quorum {
            common.push(Obstacle::MayForget(durability));
        }
        if is_promise && !prediction.quorum.overlaps() {
            common.push(Obstacle::NoOverlap);
        } else if let Some(fresh) = sla.fresh.filter(|fresh| prediction.fresh.lower < fresh.share) {
            common.push(Obstacle::Stale { predicted: prediction.fresh, needed: fresh.share });
        }
        if let Some(needed) = sla.durable.filter(|needed| prediction.durable < *needed) {
            common.push(Obstacle::Lost { predicted: prediction.durable, needed });
        }
        let found = |availability: super::Availability| {
            let reads = sla.readable.filter(|needed| availability.reads < *needed);
            let writes = sla.writeable.filter(|needed| availability.writes < *needed);
            let reads = reads.map(|needed| Obstacle::Unreadable { predicted: availability.reads, needed });
            let writes = writes.map(|needed| Obstacle::Unwriteable { predicted: availability.writes, needed });
            reads.into_iter().chain(writes)
        };
        let (mut strict, mut sloppy) = (common.clone(), common);
        strict.extend(found(prediction.strict));
        sloppy.extend(found(prediction.sloppy));
        if is_promise && prediction.quorum.overlaps() {
            sloppy.push(Obstacle::MayMiss);
        }
        Self { prediction, strict, sloppy }
    }

    /// In which mode it meets the need, if it does: strict if it does that way.
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        let nearest = self.nearest();
        nearest.obstacles().is_empty().then_some(nearest.mode)
    }

    /// In the mode that has less against it.
    fn nearest(&self) -> Offer<'_> {
        let mode = if self.strict.len() <= self.sloppy.len() { Mode::Strict } else { Mode::Sloppy };
        Offer { setting: self, mode }
    }
}

impl Need {
    const ALL: [Self; 6] =
        [Self::ReadLatency, Self::WriteLatency, Self::Freshness, Self::Readable, Self::Writeable, Self::Durability];
}

impl Obstacle {
    /// What it stands against.
    #[must_use]
    pub const fn need(&self) -> Need {
        match self {
            Self::ReadsSlow { .. } => Need::ReadLatency,
            Self::WritesSlow { .. } => Need::WriteLatency,
            Self::Stale { .. } | Self::NoOverlap | Self::MayMiss | Self::MayForget(_) => Need::Freshness,
            Self::Unreadable { .. } => Need::Readable,
            Self::Unwriteable { .. } => Need::Writeable,
            Self::Lost { .. } => Need::Durability,
        }
    }
}
