//! Counts of ordered pairs of members.

/// How often each ordered pair of members was counted, in memory that is bounded by the number of things counted.
///
/// A square of all pairs would let a few megabytes of a layout with many members ask for terabytes. Beyond the bound
/// pairs share counters: placement gets a little less even, never wrong.
pub(super) struct Tally {
    counts: Vec<u32>,
    side: usize,
    /// The counters are a hash table of this mask plus one, without collision handling.
    hashed: Option<u64>,
}

impl Tally {
    /// Room for about `entries` counted pairs of `side` members.
    pub(super) fn new(side: usize, entries: usize) -> Self {
        let bound = entries.saturating_mul(8).max(1 << 12);
        if let Some(square) = side.checked_mul(side).filter(|square| *square <= bound) {
            return Self { counts: vec![0; square], side, hashed: None };
        }
        let size = bound.next_power_of_two();
        Self { counts: vec![0; size], side, hashed: Some(size as u64 - 1) }
    }

    fn slot(&self, a: usize, b: usize) -> usize {
        match self.hashed {
            None => a * self.side + b,
            Some(mask) => (mix(a as u64, b as u64) & mask) as usize,
        }
    }

    pub(super) fn get(&self, a: usize, b: usize) -> u32 {
        self.counts[self.slot(a, b)]
    }

    /// The counts of the pairs that start with `a`, where they lie side by side.
    pub(super) fn row(&self, a: usize) -> Option<&[u32]> {
        self.hashed.is_none().then(|| &self.counts[a * self.side..(a + 1) * self.side])
    }

    pub(super) fn add(&mut self, a: usize, b: usize) {
        let slot = self.slot(a, b);
        self.counts[slot] += 1;
    }

    pub(super) fn remove(&mut self, a: usize, b: usize) {
        let slot = self.slot(a, b);
        self.counts[slot] -= 1;
    }
}

/// Scatters a pair of numbers over 64 bits: the finalizer of `SplitMix64`. Breaks ties without favouring low names.
///
/// Fallbacks depend on it, so that it may never change.
pub(super) const fn mix(a: u64, b: u64) -> u64 {
    let mut x = a.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(b).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
