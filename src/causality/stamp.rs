//! Hybrid logical timestamps: for last-write-wins, among concurrent siblings, and for nothing else.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{WallTime, micros};

/// A hybrid logical timestamp: milliseconds since 1970 in the upper 48 bits, a counter in the lower 16.
///
/// (Kulkarni et al., OPODIS 2014.) It decides between siblings that nothing else can order. A write that has read
/// another one beats it whatever the stamps say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The wall-clock part, in microseconds since 1970.
    #[must_use]
    pub const fn wall(self) -> WallTime {
        WallTime((self.0 >> 16).saturating_mul(1000))
    }

    const fn of(wall: WallTime) -> Self {
        let millis = wall.0 / 1000;
        // A clock beyond the year 10,889 stays at the last stamp that can still be counted up from.
        Self(if millis >= 1 << 48 { (u64::MAX >> 16) << 16 } else { millis << 16 })
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms+{}", self.0 >> 16, self.0 & 0xffff)
    }
}

/// Makes stamps that only grow, and that stand above those of peers that were heard, within a bound.
#[derive(Clone, Debug)]
pub struct HybridClock {
    last: Stamp,
    skew: Duration,
}

impl HybridClock {
    /// A clock that believes peers up to `skew` ahead of its own wall clock.
    #[must_use]
    pub const fn new(skew: Duration) -> Self {
        Self { last: Stamp(0), skew }
    }

    /// A stamp above all that were made or believed before.
    pub fn tick(&mut self, wall: WallTime) -> Stamp {
        self.last = Stamp::of(wall).max(Stamp(self.last.0.saturating_add(1)));
        self.last
    }

    /// Takes note of a peer's stamp. One that is further ahead than the bound is not followed: a single broken clock
    /// would drag every node's stamps along.
    pub fn observe(&mut self, stamp: Stamp, wall: WallTime) {
        if !self.is_ahead(stamp, wall) {
            self.last = self.last.max(stamp);
        }
    }

    /// Whether a stamp is further ahead of `wall` than the bound allows.
    #[must_use]
    pub fn is_ahead(&self, stamp: Stamp, wall: WallTime) -> bool {
        stamp.wall().0 > wall.0.saturating_add(micros(self.skew))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn stamps_grow_while_the_clock_stands_or_falls() {
        let mut clock = HybridClock::new(MINUTE);
        let first = clock.tick(WallTime(5_000_000));
        assert_eq!(first.wall(), WallTime(5_000_000));
        let second = clock.tick(WallTime(5_000_000));
        let third = clock.tick(WallTime(1));
        assert!(first < second && second < third);
        assert_eq!(third.0, first.0 + 2);
    }

    #[test]
    fn milliseconds_stand_above_a_counter_and_the_largest_clock_leaves_room_for_it() {
        let of = |wall| Stamp::of(WallTime(wall));
        assert_eq!([of(1_999), of(2_000)], [Stamp(1 << 16), Stamp(2 << 16)]);
        assert_eq!([of(u64::MAX), of(1_000 << 48)], [Stamp(0xffff_ffff_ffff_0000); 2]);
        assert_eq!(format!("{:?}", Stamp((5 << 16) + 3)), "5ms+3");
    }

    #[test]
    fn a_peer_is_followed_within_the_bound_alone() {
        let mut clock = HybridClock::new(MINUTE);
        let near = Stamp::of(WallTime(59_000_000));
        clock.observe(near, WallTime(0));
        assert!(clock.tick(WallTime(0)) > near);
        let far = Stamp::of(WallTime(61_000_000));
        clock.observe(far, WallTime(0));
        assert!(clock.tick(WallTime(0)) < far);
        assert!(clock.is_ahead(far, WallTime(0)) && !clock.is_ahead(far, WallTime(1_000_000)));
    }

    #[test]
    fn the_largest_number_neither_overflows_nor_stops_the_clock() {
        let mut clock = HybridClock::new(MINUTE);
        let last = clock.tick(WallTime(u64::MAX));
        assert!(clock.tick(WallTime(u64::MAX)) > last);
    }
}
