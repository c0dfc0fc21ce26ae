//! What needs no simulation: closed forms.

use crate::config::Quorum;

/// How likely R replicas drawn at random hold no copy of a write that W of N have: C(N − W, R) / C(N, R). It is the share of
/// reads that miss the last write when it got to W replicas and no further, and zero where R + W > N (PBS, §3.1).
#[must_use]
pub fn misses(quorum: Quorum) -> f64 {
    let (n, r, w) = (u32::from(quorum.n()), u32::from(quorum.r()), u32::from(quorum.w()));
    // Drawn one after the other: each is one of those without the write.
    (0..r).map(|drawn| f64::from((n - w).saturating_sub(drawn)) / f64::from(n - drawn)).product()
}

/// How likely a read shows one of the last `k` versions, each written to a quorum of its own: 1 − p^k, where p is
/// [`misses`] (PBS, §3.1: k-staleness). With `k` zero none does.
#[must_use]
pub fn within_versions(quorum: Quorum, k: u32) -> f64 {
    1.0 - misses(quorum).powf(f64::from(k))
}

/// How likely a client that reads again is shown nothing older than before, where the object is written `written` times
/// between two of its reads in the mean: 1 − p^(1 + written) (PBS, §3.2: monotonic reads).
#[must_use]
pub fn monotonic(quorum: Quorum, written: f64) -> f64 {
    1.0 - misses(quorum).powf(1.0 + written)
}

/// How likely requests find enough nodes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Availability {
    /// Reads.
    pub reads: f64,
    /// Writes.
    pub writes: f64,
}

impl Availability {
    /// In strict mode: R or W of the N owners can be reached, each with probability `up`, independently.
    #[must_use]
    pub fn strict(quorum: Quorum, up: f64) -> Self {
        let found = |least| all_but(fewer(quorum.n().into(), up, u32::from(least)));
        Self { reads: found(quorum.r()), writes: found(quorum.w()) }
    }

    /// In sloppy mode, in a cluster of so many nodes, as long as one can be asked at all.
    ///
    /// A write finds W nodes that are not merely its coordinator: owners, or others that keep it for them; with W = 1 the
    /// coordinator itself will do. A read finds one owner; what others keep for owners is left out, and fewer than R
    /// owners are an answer, which may be stale.
    #[must_use]
    pub fn sloppy(quorum: Quorum, up: f64, nodes: u16) -> Self {
        let (n, w, down) = (u32::from(quorum.n()), u32::from(quorum.w()), 1.0 - up);
        let others = u32::from(nodes).saturating_sub(n);
        let without_owner = down.powf(f64::from(n));
        let mut too_few = fewer(n + others, up, w);
        if w > 1 {
            // Where no owner is left the node that was asked is one of the others, and doesn't count.
            too_few += without_owner * exactly(others, up, w);
        }
        Self { reads: all_but(without_owner), writes: all_but(too_few) }
    }
}

/// What is left of all. It is never rounded up to all: what may fail is not sure, however seldom it does.
pub(super) fn all_but(failing: f64) -> f64 {
    let most = if failing > 0.0 { 1.0_f64.next_down() } else { 1.0 };
    (1.0 - failing).clamp(0.0, most)
}

/// How likely fewer than so many of n events happen.
fn fewer(n: u32, each: f64, than: u32) -> f64 {
    (0..than).map(|k| exactly(n, each, k)).sum()
}

/// How likely exactly k of n events happen.
fn exactly(n: u32, each: f64, k: u32) -> f64 {
    if k > n {
        return 0.0;
    }
    // The factors in turn, so that neither grows out of range.
    let none = 1.0 - each;
    let chosen = (1..=k).map(|i| f64::from(n - k + i) / f64::from(i) * each).product::<f64>();
    chosen * none.powf(f64::from(n - k))
}
