//! Who owns which partition, and how that may be changed: a table of places in which owners can be put and taken.

use std::cmp::Ordering;

use super::shares::Bounds;
use super::tally::{Tally, mix};

/// No member: a place that has no owner yet, or an owner of the past that is a member no more.
pub(super) const NOBODY: u32 = u32::MAX;

/// What is to be assigned, and from what.
pub(super) struct Task<'a> {
    /// The zone of each member: numbers from 0 without gaps.
    pub(super) zone_of: &'a [usize],
    /// The zone rule.
    pub(super) bounds: &'a [Bounds],
    /// How many partitions each member is to own; the sum is `n` times `q`.
    pub(super) shares: &'a [u32],
    pub(super) n: usize,
    /// The owners so far, `n` for each partition; [`NOBODY`] for those that are members no more.
    pub(super) before: &'a [u32],
}

/// Pairs of members that are counted one by one however few partitions there are.
const PAIRS: usize = 1 << 21;

/// The owners of all partitions, some places perhaps empty. A *place* is a partition times `n` plus which of its
/// owners.
pub(super) struct Placing<'a> {
    pub(super) task: &'a Task<'a>,
    /// The owner in each place.
    pub(super) owners: Vec<u32>,
    /// The places of each member, in no order that means anything.
    pub(super) held: Vec<Vec<u32>>,
    /// Where in its owner's list each place stands.
    at: Vec<u32>,
    /// How often two members own a partition together.
    tally: Tally,
    /// What each member weighs in the costs of others: the less, the more partitions it owns.
    rarity: Vec<u64>,
    /// How many partitions have the same owners, by a hash of these, whatever their order. A few sets share a counter:
    /// only ties turn on it.
    sets: Vec<u32>,
    /// How many copies beyond the least of its zone a partition has.
    extras: u32,
}

impl<'a> Placing<'a> {
    /// Nobody owns anything.
    pub(super) fn new(task: &'a Task<'a>) -> Self {
        let least: u32 = task.bounds.iter().map(|bounds| bounds.least).sum();
        Self {
            task,
            owners: vec![NOBODY; task.before.len()],
            held: task.shares.iter().map(|&share| Vec::with_capacity(share as usize)).collect(),
            at: vec![0; task.before.len()],
            tally: Tally::new(task.shares.len(), task.before.len().saturating_mul(task.n).max(PAIRS)),
            rarity: task.shares.iter().map(|&share| (1 << 32) / u64::from(share.max(1))).collect(),
            sets: vec![0; (task.before.len() * 4).next_power_of_two()],
            extras: task.n as u32 - least,
        }
    }

    /// The places of the partition that `place` is of.
    pub(super) fn places(&self, place: usize) -> std::ops::Range<usize> {
        let first = place - place % self.task.n;
        first..first + self.task.n
    }

    /// Its owners, empty places among them.
    pub(super) fn row(&self, place: usize) -> &[u32] {
        &self.owners[self.places(place)]
    }

    /// Whether a member owned the partition of `place` before.
    pub(super) fn was_owner(&self, place: usize, member: u32) -> bool {
        self.task.before[self.places(place)].contains(&member)
    }

    /// Whether the owner in `place` is a new one.
    pub(super) fn is_moved(&self, place: usize) -> bool {
        !self.was_owner(place, self.owners[place])
    }

    /// Members who owned the partition of `place` and don't now.
    pub(super) fn missing(&self, place: usize) -> impl Iterator<Item = u32> + '_ {
        let row = self.row(place);
        self.task.before[self.places(place)].iter().copied().filter(move |&m| m != NOBODY && !row.contains(&m))
    }

    /// How many partitions a member has still to get; below zero, to give.
    pub(super) fn need(&self, member: u32) -> i64 {
        i64::from(self.task.shares[member as usize]) - i64::from(self.held[member as usize].len() as u32)
    }

    pub(super) fn zone(&self, member: u32) -> usize {
        self.task.zone_of[member as usize]
    }

    /// How many copies in `zone` the partition of `place` has, without the one in `place`.
    fn beside(&self, place: usize, zone: usize) -> u32 {
        let others = self.places(place).filter(|&other| other != place && self.owners[other] != NOBODY);
        others.filter(|&other| self.zone(self.owners[other]) == zone).count() as u32
    }

    /// How many zones hold more than they must of the partition of `place`, without the copy in `place`.
    fn extras_beside(&self, place: usize) -> u32 {
        let counted = |other: usize| {
            let zone = self.zone(self.owners[other]);
            // Each zone once: at its first owner.
            let first = self
                .places(place)
                .find(|&at| at != place && self.owners[at] != NOBODY && self.zone(self.owners[at]) == zone);
            let bounds = self.task.bounds[zone];
            (first == Some(other)).then(|| self.beside(place, zone).min(bounds.most).saturating_sub(bounds.least))
        };
        self.places(place).filter(|&other| other != place && self.owners[other] != NOBODY).filter_map(counted).sum()
    }

    /// Whether a member may stand in `place`, in the place of whoever stands there: it doesn't own the partition yet,
    /// and the partition can still be filled by the zone rule.
    pub(super) fn fits(&self, place: usize, member: u32) -> bool {
        !self.row(place).contains(&member) && self.zone_fits(place, self.zone(member))
    }

    /// Whether a member of `zone` may.
    pub(super) fn zone_fits(&self, place: usize, zone: usize) -> bool {
        let there = self.owners[place];
        if there != NOBODY && self.zone(there) == zone {
            return true;
        }
        let (beside, bounds) = (self.beside(place, zone), self.task.bounds[zone]);
        beside < bounds.least || (beside < bounds.most && self.extras_beside(place) < self.extras)
    }

    /// Whether the partition of `place` has more in the zone of its owner there than the zone rule leaves room for.
    pub(super) fn is_surplus(&self, place: usize) -> bool {
        let zone = self.zone(self.owners[place]);
        let (beside, bounds) = (self.beside(place, zone), self.task.bounds[zone]);
        beside >= bounds.most || (beside >= bounds.least && self.extras_beside(place) >= self.extras)
    }

    pub(super) fn put(&mut self, place: usize, member: u32) {
        debug_assert_eq!(self.owners[place], NOBODY);
        self.count(place, member, true);
        self.owners[place] = member;
        if let Some(set) = self.set(place, member) {
            self.sets[set] += 1;
        }
        let held = &mut self.held[member as usize];
        self.at[place] = held.len() as u32;
        held.push(place as u32);
    }

    pub(super) fn take(&mut self, place: usize) -> u32 {
        if let Some(set) = self.set(place, self.owners[place]) {
            self.sets[set] -= 1;
        }
        let member = std::mem::replace(&mut self.owners[place], NOBODY);
        debug_assert_ne!(member, NOBODY);
        self.count(place, member, false);
        let held = &mut self.held[member as usize];
        let at = self.at[place];
        held.swap_remove(at as usize);
        if let Some(&other) = held.get(at as usize) {
            self.at[other as usize] = at;
        }
        member
    }

    /// Lets each owner of before stand where it stood then.
    pub(super) fn put_back(&mut self) {
        for place in 0..self.owners.len() {
            let before = self.task.before[place];
            if before == NOBODY || self.owners[place] == before {
                continue;
            }
            let Some(now) = self.places(place).find(|&other| self.owners[other] == before) else { continue };
            let (a, b) = (self.take(place), self.take(now));
            self.put(place, b);
            self.put(now, a);
        }
    }

    /// Counts a member together with the other owners of the partition of `place`.
    fn count(&mut self, place: usize, member: u32, add: bool) {
        for other in self.places(place).filter(|&other| other != place) {
            let other = self.owners[other];
            if other == NOBODY {
                continue;
            }
            for (a, b) in [(other as usize, member as usize), (member as usize, other as usize)] {
                if add {
                    self.tally.add(a, b);
                } else {
                    self.tally.remove(a, b);
                }
            }
        }
    }

    /// What it costs the spread to put a member in `place`: how often it is already together with the others there.
    pub(super) fn cost(&self, place: usize, member: u32) -> u128 {
        self.cost_beyond(place, member, 0)
    }

    /// The same for the one who stands there.
    pub(super) fn cost_there(&self, place: usize) -> u128 {
        self.cost_beyond(place, self.owners[place], 1)
    }

    /// With `own` of the times that the member is together with each of the others not counted.
    fn cost_beyond(&self, place: usize, member: u32, own: u32) -> u128 {
        let mut sum = 0_u128;
        for other in self.places(place).filter(|&other| other != place) {
            let other = self.owners[other];
            if other != NOBODY {
                // Squares: a pair that meets twice more is worse than two that meet once more each.
                let count = 2 * u64::from(self.tally.get(other as usize, member as usize) - own) + 1;
                sum += u128::from(count) * u128::from(self.rarity[other as usize]);
            }
        }
        sum * u128::from(self.rarity[member as usize])
    }

    /// Which of two members in their places is better, the costs being the same: the one with whom the partition has
    /// the same owners as another. The fewer different sets of owners there are, the less likely it is that nodes
    /// that fail together are one of them.
    pub(super) fn break_tie(&self, a: (usize, u32), b: (usize, u32)) -> Ordering {
        let rank = |(place, member): (usize, u32)| {
            let known = self.set(place, member).is_some_and(|set| self.sets[set] > 0);
            (!known, Self::scatter(place, member))
        };
        rank(a).cmp(&rank(b))
    }

    /// Where the owners of a partition are counted, with `member` in `place`; `None` if places are empty.
    fn set(&self, place: usize, member: u32) -> Option<usize> {
        let owner = |other: usize| if other == place { member } else { self.owners[other] };
        let sum = self.places(place).map(owner).try_fold(0_u64, |sum, owner| {
            (owner != NOBODY).then(|| sum.wrapping_add(mix(u64::from(owner), u64::from(NOBODY))))
        });
        sum.map(|sum| sum as usize & (self.sets.len() - 1))
    }

    /// An order of members of its own for each place.
    pub(super) fn scatter(place: usize, member: u32) -> u64 {
        mix(place as u64, u64::from(member))
    }

    /// How many owners are new.
    pub(super) fn moved(&self) -> u64 {
        (0..self.owners.len()).filter(|&place| self.is_moved(place)).count() as u64
    }
}
