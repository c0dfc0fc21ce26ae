//! How long a message takes: distributions, and how they are drawn from.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use super::SlaError;
use crate::histogram::Histogram;

/// How long something takes: a distribution of durations.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Latency {
    /// Always as long.
    Fixed(Duration),
    /// Anything between two durations, evenly.
    Uniform {
        /// The shortest.
        from: Duration,
        /// The longest.
        to: Duration,
    },
    /// Exponential: most are short, and what is left to wait never depends on what was waited.
    Exponential {
        /// Its mean.
        mean: Duration,
    },
    /// Pareto: with a heavy tail. A share of (least / t)^shape takes longer than t.
    Pareto {
        /// The shortest.
        least: Duration,
        /// Its shape; the smaller, the heavier the tail. With 1 or less it has no mean.
        shape: f64,
    },
    /// One of these, each as often as its weight says in proportion to the others'.
    Mixture(Vec<(f64, Latency)>),
    /// One after the other, independently.
    Sum(Vec<Latency>),
    /// As was measured: each class of the histogram as often as it was counted, evenly between its bounds.
    Measured(Box<Histogram>),
}

/// There and back: a request until it has its effect, and the answer until it has come.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Trip {
    /// The two ways were looked at one by one, and are independent of each other.
    Ways {
        /// Until the request has its effect.
        there: Latency,
        /// From then until the answer has come, a sync included.
        back: Latency,
    },
    /// Only the whole is known, as by a node that measures its peers.
    Whole {
        /// From the request to the answer.
        took: Latency,
        /// The share of it that is taken to be the way there. Nothing measured says it; ½ where nothing is known.
        there: f64,
    },
}

impl Latency {
    /// Exponential with so many events a millisecond, as fits in the literature are given.
    ///
    /// # Errors
    /// [`SlaError::Latency`] for a rate that is not above zero, or whose mean no [`Duration`] can hold.
    pub fn exponential_per_ms(rate: f64) -> Result<Self, SlaError> {
        let mean = Duration::try_from_secs_f64(1e-3 / rate);
        let mean = mean.map_err(|_| SlaError::Latency("an exponential distribution's rate is above zero"))?;
        Ok(Self::Exponential { mean })
    }

    /// Pareto, with the shortest in milliseconds.
    ///
    /// # Errors
    /// [`SlaError::Latency`] for a shortest that is below zero, or that no [`Duration`] can hold. The shape is looked at
    /// when something is predicted.
    pub fn pareto_ms(least: f64, shape: f64) -> Result<Self, SlaError> {
        let least = Duration::try_from_secs_f64(least * 1e-3);
        let least = least.map_err(|_| SlaError::Latency("nothing is shorter than no time"))?;
        Ok(Self::Pareto { least, shape })
    }

    pub(super) fn sampler(&self) -> Result<Sampler, SlaError> {
        Ok(match self {
            Self::Fixed(took) => Sampler::Fixed(micros(*took)),
            Self::Uniform { from, to } if from <= to => Sampler::Uniform(micros(*from), micros(*to) - micros(*from)),
            Self::Exponential { mean } => Sampler::Exponential(micros(*mean)),
            Self::Pareto { least, shape } if *shape > 0.0 => Sampler::Pareto(micros(*least), -1.0 / shape),
            Self::Mixture(parts) => mixture(parts)?,
            Self::Sum(parts) => Sampler::Sum(parts.iter().map(Self::sampler).collect::<Result<_, _>>()?),
            Self::Measured(histogram) => measured(histogram)?,
            Self::Uniform { .. } => return Err(SlaError::Latency("an interval must not end before it begins")),
            Self::Pareto { .. } => return Err(SlaError::Latency("a Pareto distribution's shape is above zero")),
        })
    }
}

impl Trip {
    pub(super) fn sampler(&self) -> Result<TripSampler, SlaError> {
        Ok(match self {
            Self::Ways { there, back } => TripSampler::Ways(there.sampler()?, back.sampler()?),
            Self::Whole { took, there } if (0.0..=1.0).contains(there) => TripSampler::Whole(took.sampler()?, *there),
            Self::Whole { .. } => return Err(SlaError::Latency("the way there is a share of the whole")),
        })
    }
}

fn mixture(parts: &[(f64, Latency)]) -> Result<Sampler, SlaError> {
    let sum: f64 = parts.iter().map(|(weight, _)| weight).sum();
    if !(parts.iter().all(|(weight, _)| *weight >= 0.0) && sum > 0.0 && sum.is_finite()) {
        return Err(SlaError::Latency("weights are zero or more, and not all are zero"));
    }
    let mut upto = 0.0;
    let part = |(weight, latency): &(f64, Latency)| -> Result<(f64, Sampler), SlaError> {
        upto += weight / sum;
        Ok((upto, latency.sampler()?))
    };
    Ok(Sampler::Mixture(parts.iter().map(part).collect::<Result<_, _>>()?))
}

fn measured(histogram: &Histogram) -> Result<Sampler, SlaError> {
    let all = histogram.count() as f64;
    let mut seen = 0;
    let class = |(lower, upper, count): (u64, u64, u64)| {
        seen += count;
        // Whole microseconds were counted: the class ends where the next one begins.
        Class { upto: seen as f64 / all, lower: lower as f64, width: (upper - lower) as f64 + 1.0 }
    };
    let classes: Vec<_> = histogram.classes().map(class).collect();
    if classes.is_empty() { Err(SlaError::Latency("nothing was measured")) } else { Ok(Sampler::Measured(classes)) }
}

/// So many times the shortest is longer than any [`Duration`].
const BEYOND: f64 = 1e100;

/// In microseconds.
fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// A distribution made ready to be drawn from, in microseconds.
#[derive(Debug)]
pub(super) enum Sampler {
    Fixed(f64),
    /// The shortest, and how much is added at most.
    Uniform(f64, f64),
    Exponential(f64),
    /// The shortest, and the exponent.
    Pareto(f64, f64),
    /// Each with the share of all that are not above it.
    Mixture(Vec<(f64, Sampler)>),
    Sum(Vec<Sampler>),
    Measured(Vec<Class>),
}

#[derive(Debug)]
pub(super) struct Class {
    /// The share of all that are not above it.
    upto: f64,
    lower: f64,
    width: f64,
}

#[derive(Debug)]
pub(super) enum TripSampler {
    Ways(Sampler, Sampler),
    Whole(Sampler, f64),
}

impl Sampler {
    pub(super) fn draw(&self, rng: &mut Xoshiro256PlusPlus) -> f64 {
        match self {
            Self::Fixed(took) => *took,
            Self::Uniform(from, width) => from + width * rng.random::<f64>(),
            // A random number is never 1, so neither the logarithm nor the power is of zero.
            Self::Exponential(mean) => -mean * (1.0 - rng.random::<f64>()).ln(),
            // With a shape near zero some are longer than numbers reach, of which no differences can be taken.
            Self::Pareto(least, exponent) => least * (1.0 - rng.random::<f64>()).powf(*exponent).min(BEYOND),
            Self::Mixture(parts) => {
                let at = rng.random::<f64>();
                // Rounding may leave the last sum a little below 1.
                let part = parts.partition_point(|(upto, _)| *upto <= at).min(parts.len() - 1);
                parts[part].1.draw(rng)
            }
            Self::Sum(parts) => parts.iter().map(|part| part.draw(rng)).sum(),
            Self::Measured(classes) => {
                let at = rng.random::<f64>();
                let class = &classes[classes.partition_point(|class| class.upto <= at).min(classes.len() - 1)];
                class.lower + class.width * rng.random::<f64>()
            }
        }
    }
}

impl TripSampler {
    /// The way there, and the way back.
    pub(super) fn draw(&self, rng: &mut Xoshiro256PlusPlus) -> (f64, f64) {
        match self {
            Self::Ways(there, back) => (there.draw(rng), back.draw(rng)),
            Self::Whole(took, there) => {
                let took = took.draw(rng);
                (took * there, took * (1.0 - there))
            }
        }
    }
}
