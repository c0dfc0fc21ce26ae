//! From what a service needs to the setting that gives it: N, R and W, chosen by prediction.
//!
//! An [`Sla`] says what is needed: latency at a percentile, how fresh reads are, how often requests succeed, how safe
//! writes are. A [`Model`] says what is known of the cluster: how long messages take, as measured by a node
//! ([`Model::measured`]) or assumed, and how often nodes and disks fail. [`advise`] predicts what each setting does and
//! names the cheapest that meets the need, or what is in the way. What it names is met by its own prediction, at the worse
//! end of the 99 % interval.
//!
//! ```
//! use std::time::Duration;
//! use quorate::sla::{Freshness, Model, Sla, Trials, advise};
//!
//! let sla = Sla {
//!     percentile: 0.999,
//!     read: Some(Duration::from_millis(3)),
//!     fresh: Some(Freshness { share: 0.99, after: Duration::from_millis(60) }),
//!     ..Sla::default()
//! };
//! let advice = advise(&sla, &Model::linkedin_disk(), 1..=3, Trials { count: 20_000, seed: 1 })?;
//! let offer = advice.best().expect("some setting meets it");
//! assert!(offer.setting.prediction.read.upper <= Duration::from_millis(3));
//! # Ok::<(), quorate::sla::SlaError>(())
//! ```
//!
//! # The model
//!
//! WARS, of Bailis and others, *Probabilistically Bounded Staleness for Practical Partial Quorums* (VLDB 2012). A write
//! reaches replica i after Wᵢ, whose acknowledgement has come after another Aᵢ; it is acknowledged to the client when W of
//! them have. A read that begins t later reaches replica i after Rᵢ, whose answer comes after another Sᵢ. It misses the
//! write if all of the R replicas that it counts on looked before the write had reached them. Trials draw all of
//! these anew; what is reported are quantiles and shares of the trials themselves, with exact intervals: order statistics
//! for quantiles, Clopper and Pearson's for shares. These say how far off the trials may be, not how far off the model is.
//!
//! Beyond WARS a coordinator may own a copy ([`Coordinator`]), before whose sync it acknowledges nothing; replicas may differ,
//! a node that owns no copy hands writes on, a read may ask R replicas and not all ([`Asks`]), and a put may waive syncs
//! ([`Model::durability`]).
//!
//! # Its limits
//!
//! - Nothing fails, gets lost, is late enough for a fallback, or changes owners: with failures, sloppy requests are
//!   staler and slower than predicted. Availability is predicted by itself, with failures that are independent, which those
//!   of a rack are not.
//! - Read repair, exchanges, hedged reads and hints are left out: without failures reads are fresher, and their tail
//!   shorter, than predicted.
//! - All ways are independent of each other and of the load. Where queues form at a busy node, its answers are late together,
//!   and tails are longer than predicted; what is measured under one setting says little of one that sends many more messages.
//! - A replica that syncs shows nothing until it has: reads that meet a sync take longer than predicted by what is left of
//!   it. A delete is synced by its coordinator whatever [`Model::durability`] says.
//! - What a node measures are there-and-back times. How much of them was the way there is assumed ([`Trip::Whole`]), and
//!   freshness depends on it: the longer the way of writes there, the staler the reads.
//! - A write is taken to be the only one on its way. Freshness is of the value, by whichever client reads it.
//!
//! Published predictions (PBS, Table 4) of the time until 99.9 % of reads are fresh lie up to some 14 % below those
//! here, which agree with another simulation of the same model; latencies agree within 5 %.

mod advise;
mod formulas;
mod interval;
mod latency;
mod model;
mod predict;

pub use advise::{Advice, InTheWay, Need, Obstacle, Offer, Setting, advise};
pub use formulas::{Availability, misses, monotonic, within_versions};
pub use interval::{CONFIDENCE, Estimate, Share};
pub use latency::{Latency, Trip};
pub use model::{Asks, Coordinator, Model, Replica};
pub use predict::{Cost, Prediction, Trials, predict, predict_copies};

use std::time::Duration;

use crate::config::Durability;

/// What a service needs. What is `None` doesn't matter to it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sla {
    /// The share of requests that latencies speak of, above 0 and below 1. Default 0.999, as all of Dynamo's (§2.2).
    pub percentile: f64,
    /// So long reads may take at the percentile.
    pub read: Option<Duration>,
    /// So long writes may take at the percentile.
    pub write: Option<Duration>,
    /// How fresh reads are.
    pub fresh: Option<Freshness>,
    /// The share of reads that must find enough nodes. With 1 none may ever fail, which takes nodes that never do.
    pub readable: Option<f64>,
    /// The share of writes that must find enough nodes; likewise.
    pub writeable: Option<f64>,
    /// The share of acknowledged writes that must outlive the loss of disks, and of memories where not all W sync; likewise.
    pub durable: Option<f64>,
}

/// How many reads see the last write.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Freshness {
    /// The share of reads, above 0. With 1 it is a promise, which takes R + W > N, strict requests, and puts of
    /// [`Durability::Quorum`].
    pub share: f64,
    /// So long after the write was acknowledged.
    pub after: Duration,
}

/// Nothing, at the 99.9th percentile.
impl Default for Sla {
    fn default() -> Self {
        Self { percentile: 0.999, read: None, write: None, fresh: None, readable: None, writeable: None, durable: None }
    }
}

impl Sla {
    fn validate(&self) -> Result<(), SlaError> {
        if !(self.percentile > 0.0 && self.percentile < 1.0) {
            return Err(SlaError::Percentile(self.percentile));
        }
        let shares = [
            ("fresh", self.fresh.map(|fresh| fresh.share)),
            ("readable", self.readable),
            ("writeable", self.writeable),
            ("durable", self.durable),
        ];
        for (name, share) in shares {
            if let Some(share) = share
                && !(0.0..=1.0).contains(&share)
            {
                return Err(SlaError::Share { name, share });
            }
        }
        if self.fresh.is_some_and(|fresh| fresh.share <= 0.0) {
            return Err(SlaError::Share { name: "fresh", share: 0.0 });
        }
        Ok(())
    }
}

/// Why nothing was predicted.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlaError {
    /// A percentile that is no share of requests, or all of them.
    #[error("a percentile is a share above 0 and below 1, not {0}")]
    Percentile(f64),
    /// Not a share.
    #[error("{name} is a share from 0 to 1, not {share}")]
    Share {
        /// Its name in [`Sla`] or [`Model`].
        name: &'static str,
        /// What it is.
        share: f64,
    },
    /// A distribution that is none.
    #[error("no such distribution: {0}")]
    Latency(&'static str),
    /// No peer has answered often enough to be called measured.
    #[error("no peer has answered {least} writes yet")]
    Unmeasured {
        /// So many answers it takes.
        least: u64,
    },
    /// So many copies can't be predicted: there are fewer nodes, or fewer are known, or it is none, or more than 16.
    #[error("{copies} copies can't be predicted: {nodes} nodes, and the ways to {ways} replicas are known")]
    Copies {
        /// The copies.
        copies: u8,
        /// The nodes of the model.
        nodes: u16,
        /// The ways to replicas that it knows.
        ways: usize,
    },
    /// Without trials nothing is known, and with too many there is no room for what they give.
    #[error("a prediction takes 1 to {} trials, not {count}", Trials::MOST)]
    Trials {
        /// So many were asked for.
        count: u32,
    },
    /// Only a coordinator that owns a copy can waive a sync ([`Model::durability`]).
    #[error("puts whose coordinator owns no copy are synced by all W: {0:?} is not for them")]
    Durability(Durability),
}

#[cfg(test)]
mod tests;
