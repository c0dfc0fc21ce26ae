//! Who stands in first for an owner that can't be reached.
//!
//! The next node on a ring is the obvious choice, and a bad one: a dead node's whole load falls on the few that
//! follow it (an efficiency of 0.776 with one of 30 nodes down, however many partitions there are). So the first
//! fallbacks of all partitions are chosen together, so that those of any one node's partitions are spread evenly.

use super::layout::Member;
use super::tally::{Tally, mix};

/// How many fallbacks of each partition a layout keeps in its table.
pub(super) const FALLBACKS: usize = 2;

/// At most so many candidates are looked at for a place: enough to find one that isn't used yet, and a bound on the
/// time that a layout of a stranger takes to read.
const WINDOW: usize = 64;

/// The first fallbacks (at most [`FALLBACKS`]) of each partition, as indices of members. `owners` are `n` indices for
/// each partition.
///
/// All nodes must compute the same ones: this function's results may never change.
pub(super) fn choose(members: &[Member], n: usize, owners: &[u32]) -> Vec<u32> {
    let extra = FALLBACKS.min(members.len() - n);
    let partitions = owners.len() / n;
    let zones = Zones::new(members);
    let heaviest = u64::from(members.iter().map(|member| member.weight).max().unwrap_or(1));
    let rarity: Vec<u64> = members.iter().map(|member| (heaviest << 20) / u64::from(member.weight)).collect();
    let mut chosen = vec![0; partitions * extra];
    let mut candidates = Vec::with_capacity(WINDOW);
    for rank in 0..extra {
        let mut tally = Tally::new(members.len(), owners.len());
        // The second round mends what the first, which knew only the partitions before, could not see.
        for round in 0..2 {
            for partition in 0..partitions {
                let own = &owners[partition * n..][..n];
                let taken = &chosen[partition * extra..][..rank];
                if round > 0 {
                    let old = chosen[partition * extra + rank] as usize;
                    own.iter().for_each(|&owner| tally.remove(owner as usize, old));
                }
                zones.candidates(partition, own, taken, &mut candidates);
                let cost = |candidate: usize| {
                    // Squares: one node that gets two more is worse than two that get one more each.
                    let sum: u64 = own.iter().map(|&own| 2 * u64::from(tally.get(own as usize, candidate)) + 1).sum();
                    u128::from(sum) * u128::from(rarity[candidate])
                };
                let scattered = |candidate: usize| mix(partition as u64, members[candidate].node.0);
                let best = *candidates
                    .iter()
                    .min_by_key(|&&candidate| (cost(candidate as usize), scattered(candidate as usize)))
                    .expect("there are more members than places before this one");
                own.iter().for_each(|&owner| tally.add(owner as usize, best as usize));
                chosen[partition * extra + rank] = best;
            }
        }
    }
    chosen
}

/// The members by zone.
struct Zones {
    /// Indices of members, those of one zone side by side.
    sorted: Vec<u32>,
    /// Where in `sorted` each zone starts, and the end.
    starts: Vec<usize>,
    /// The zone of each member, as an index into `starts`.
    zone_of: Vec<usize>,
}

impl Zones {
    fn new(members: &[Member]) -> Self {
        let mut sorted: Vec<u32> = (0..members.len() as u32).collect();
        sorted.sort_by_key(|&index| (members[index as usize].zone, index));
        let mut zone_of = vec![0; members.len()];
        let mut starts = Vec::new();
        for (at, &index) in sorted.iter().enumerate() {
            if at == 0 || members[sorted[at - 1] as usize].zone != members[index as usize].zone {
                starts.push(at);
            }
            zone_of[index as usize] = starts.len() - 1;
        }
        starts.push(sorted.len());
        Self { sorted, starts, zone_of }
    }

    const fn count(&self) -> usize {
        self.starts.len() - 1
    }

    fn of(&self, zone: usize) -> &[u32] {
        &self.sorted[self.starts[zone]..self.starts[zone + 1]]
    }

    /// The members that may come next after the owners and the fallbacks `taken` so far: from the zones with fewest
    /// owners, and of those from the zones with fewest fallbacks.
    fn candidates(&self, partition: usize, owners: &[u32], taken: &[u32], out: &mut Vec<u32>) {
        // Zone, owners in it, fallbacks in it: only of zones that have any.
        let mut used: Vec<(usize, (usize, usize))> = Vec::with_capacity(owners.len() + taken.len());
        for (at, &member) in owners.iter().chain(taken).enumerate() {
            let zone = self.zone_of[member as usize];
            let slot = used.iter().position(|&(used, _)| used == zone).unwrap_or_else(|| {
                used.push((zone, (0, 0)));
                used.len() - 1
            });
            let counts = &mut used[slot].1;
            if at < owners.len() {
                counts.0 += 1;
            } else {
                counts.1 += 1;
            }
        }
        let counts = |zone: usize| used.iter().find(|&&(used, _)| used == zone).map_or((0, 0), |&(_, counts)| counts);
        let free = |zone: usize| self.of(zone).len() > counts(zone).0 + counts(zone).1;
        let best = if used.len() < self.count() {
            (0, 0)
        } else {
            used.iter().filter(|&&(zone, _)| free(zone)).map(|&(_, counts)| counts).min().unwrap_or((0, 0))
        };
        out.clear();
        let start = mix(partition as u64, taken.len() as u64) as usize;
        // No zone but the used ones is passed over, so that this ends soon however many zones there are.
        for step in 0..self.count() {
            let zone = (start % self.count() + step) % self.count();
            if counts(zone) != best {
                continue;
            }
            let of = self.of(zone);
            for step in 0..of.len() {
                let member = of[(start % of.len() + step) % of.len()];
                if owners.contains(&member) || taken.contains(&member) {
                    continue;
                }
                out.push(member);
                if out.len() == WINDOW {
                    return;
                }
            }
        }
    }
}
