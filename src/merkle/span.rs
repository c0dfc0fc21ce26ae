//! Positions of a partition as equal parts of it.

use std::ops::RangeInclusive;

/// A range of positions, cut into 2^32 slots of equal width.
///
/// The highest bits of a position would not do: a partition is any Q-th of the hash space, and where Q is no power of
/// two, up to half of the buckets would stay empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    first: u64,
    last: u64,
    /// Slots per position, in units of 2^-64.
    scale: u128,
}

impl Span {
    pub(super) fn new(positions: RangeInclusive<u64>) -> Self {
        let (first, last) = positions.into_inner();
        assert!(first <= last, "a tree must cover a position");
        let scale = (1 << 96) / (u128::from(last - first) + 1);
        Self { first, last, scale }
    }

    pub(super) fn positions(&self) -> RangeInclusive<u64> {
        self.first..=self.last
    }

    pub(super) fn slot(&self, position: u64) -> u32 {
        assert!(self.positions().contains(&position), "position {position:#x} is not in {self:x?}");
        // The offset is below 2^96 / scale, so the product is below 2^96.
        ((u128::from(position - self.first) * self.scale) >> 64) as u32
    }

    /// The positions of the parts from `from` to `to`, both included, of 2^depth; nothing if there are none.
    ///
    /// There are none in some parts of a range that has fewer positions than parts.
    pub(super) fn parts(&self, depth: u8, from: u32, to: u32) -> Option<RangeInclusive<u64>> {
        let width = 32 - u32::from(depth);
        let start = self.offset_of(u64::from(from) << width);
        let end = self.offset_of((u64::from(to) + 1) << width);
        (start < end).then(|| self.first + start as u64..=self.first + (end - 1) as u64)
    }

    /// How many positions lie before a slot, of which there are 2^32.
    fn offset_of(&self, slot: u64) -> u128 {
        (u128::from(slot) << 64).div_ceil(self.scale).min(u128::from(self.last - self.first) + 1)
    }
}
