//! How many partitions each member owns.
//!
//! In proportion to weights, but a member owns no partition twice, and a zone holds no more copies of a partition, and
//! no fewer, than the zone rule says. Real-valued quotas are found first, as exact fractions, then rounded so that
//! each member and each zone gets its quota rounded down or up, and the sum is right. Floating point would do this
//! nearly always, and differently on some machine.

use std::cmp::Ordering;

/// How many copies of one partition a zone holds: at least, and at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bounds {
    pub(super) least: u32,
    pub(super) most: u32,
}

/// A fraction that is never negative. Numerators stay below 2⁴⁰ and denominators below 2⁵⁰, so that products fit.
#[derive(Clone, Copy)]
struct Fraction {
    top: u128,
    bottom: u128,
}

impl Fraction {
    fn compare(&self, other: &Self) -> Ordering {
        (self.top * other.bottom).cmp(&(other.top * self.bottom))
    }

    fn at_most(self, other: Self) -> Self {
        if self.compare(&other).is_gt() { other } else { self }
    }

    fn at_least(self, other: Self) -> Self {
        if self.compare(&other).is_lt() { other } else { self }
    }
}

/// The zone rule for zones of so many members: as even as their sizes allow.
pub(super) fn bounds(sizes: &[u32], n: u32) -> Vec<Bounds> {
    let room = |level: u32| sizes.iter().map(|&size| u64::from(size.min(level))).sum::<u64>();
    let level = (1..=n).find(|&level| room(level) >= u64::from(n)).unwrap_or(n);
    sizes.iter().map(|&size| Bounds { least: size.min(level - 1), most: size.min(level) }).collect()
}

/// How many of `q` partitions, each owned `n` times, each member of each zone owns. `weights[zone]` are the weights of
/// the zone's members, `bounds[zone]` what [`bounds`] gave; there are at least `n` members.
///
/// `now` is what each owns already. Of the members whose quota is no whole number, those are rounded up first that
/// need not get anything for it; then those that rounding down takes most from.
pub(super) fn shares(weights: &[Vec<u32>], bounds: &[Bounds], n: u32, q: u32, now: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let total = u128::from(n) * u128::from(q);
    let rates = rates(weights, bounds, total, q);
    let quotas: Vec<Vec<Fraction>> = weights
        .iter()
        .zip(&rates)
        .map(|(weights, rate)| weights.iter().map(|&weight| member_at(weight, *rate, q)).collect())
        .collect();
    let mut shares: Vec<Vec<u32>> =
        quotas.iter().map(|quotas| quotas.iter().map(|quota| (quota.top / quota.bottom) as u32).collect()).collect();
    let given = |shares: &[u32]| shares.iter().map(|&share| u128::from(share)).sum::<u128>();
    // What each zone gets: its quota rounded down, and one more for some.
    let of_zones: Vec<_> = weights.iter().zip(&rates).map(|(weights, rate)| zone_at(weights, *rate, q)).collect();
    let mut zones: Vec<u128> = of_zones.iter().map(|quota| quota.top / quota.bottom).collect();
    let missing = total - zones.iter().sum::<u128>();
    let has_more = |zone: usize, member: usize| now[zone][member] > shares[zone][member];
    let free = |zone: usize| {
        let fractional = |member: &usize| !quotas[zone][*member].top.is_multiple_of(quotas[zone][*member].bottom);
        let all = (0..quotas[zone].len()).filter(fractional).filter(|&member| has_more(zone, member)).count();
        zones[zone] - given(&shares[zone]) < all as u128
    };
    for zone in rounded_up(&of_zones, missing, free) {
        zones[zone] += 1;
    }
    // The same within each zone.
    for (zone, quotas) in quotas.iter().enumerate() {
        let missing = zones[zone] - given(&shares[zone]);
        for member in rounded_up(quotas, missing, |member| now[zone][member] > shares[zone][member]) {
            shares[zone][member] += 1;
        }
    }
    shares
}

/// For each zone, how many partitions a member gets for each unit of weight.
fn rates(weights: &[Vec<u32>], bounds: &[Bounds], total: u128, q: u32) -> Vec<Fraction> {
    let q = u128::from(q);
    let ends: Vec<_> = weights
        .iter()
        .zip(bounds)
        .map(|(weights, bounds)| (rate_for(weights, bounds.least, q), rate_for(weights, bounds.most, q)))
        .collect();
    // As the common rate rises, what is given out rises along straight lines that bend only here.
    let mut bends: Vec<_> = ends.iter().flat_map(|&(low, high)| [low, high]).collect();
    bends.extend(weights.iter().flatten().map(|&weight| Fraction { top: q, bottom: u128::from(weight) }));
    bends.sort_by(Fraction::compare);
    let enough = |rate: &Fraction| {
        let given = |weights: &Vec<u32>, bounds: &Bounds| {
            zone_at(weights, *rate, q as u32)
                .top
                .clamp(u128::from(bounds.least) * q * rate.bottom, u128::from(bounds.most) * q * rate.bottom)
        };
        let sum: u128 = weights.iter().zip(bounds).map(|(weights, bounds)| given(weights, bounds)).sum();
        sum >= total * rate.bottom
    };
    let after = bends.partition_point(|rate| !enough(rate));
    let before = after.checked_sub(1).map_or(Fraction { top: 0, bottom: 1 }, |at| bends[at]);
    // On the line behind `before`, what is fixed is fixed, and the rest goes by weight.
    let (mut fixed, mut free) = (0, 0);
    for ((weights, bounds), (low, high)) in weights.iter().zip(bounds).zip(&ends) {
        if low.compare(&before).is_gt() {
            fixed += u128::from(bounds.least) * q;
        } else if high.compare(&before).is_le() {
            fixed += u128::from(bounds.most) * q;
        } else {
            for &weight in weights {
                if (Fraction { top: q, bottom: u128::from(weight) }).compare(&before).is_le() {
                    fixed += q;
                } else {
                    free += u128::from(weight);
                }
            }
        }
    }
    let common = if free == 0 { bends[after] } else { Fraction { top: total - fixed, bottom: free } };
    ends.into_iter().map(|(low, high)| common.at_most(high).at_least(low)).collect()
}

/// The least rate at which a zone gets `copies` whole copies of the data, no member more than one.
fn rate_for(weights: &[u32], copies: u32, q: u128) -> Fraction {
    let mut sorted = weights.to_vec();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    let mut left: u128 = sorted.iter().map(|&weight| u128::from(weight)).sum();
    for (full, &weight) in sorted.iter().enumerate().take(copies as usize) {
        let rate = Fraction { top: (u128::from(copies) - full as u128) * q, bottom: left };
        if u128::from(weight) * rate.top <= q * rate.bottom {
            return rate;
        }
        left -= u128::from(weight);
    }
    Fraction { top: 0, bottom: 1 }
}

fn member_at(weight: u32, rate: Fraction, q: u32) -> Fraction {
    Fraction { top: (u128::from(weight) * rate.top).min(u128::from(q) * rate.bottom), bottom: rate.bottom }
}

fn zone_at(weights: &[u32], rate: Fraction, q: u32) -> Fraction {
    Fraction { top: weights.iter().map(|&weight| member_at(weight, rate, q).top).sum(), bottom: rate.bottom }
}

/// The indices of the `count` quotas to round up: of those that are no whole numbers the free ones first, then those
/// that rounding down takes most from; of equal ones the first.
fn rounded_up(quotas: &[Fraction], count: u128, free: impl Fn(usize) -> bool) -> Vec<usize> {
    let remainder = |at: usize| Fraction { top: quotas[at].top % quotas[at].bottom, bottom: quotas[at].bottom };
    let mut order: Vec<(bool, usize)> =
        (0..quotas.len()).filter(|&at| remainder(at).top != 0).map(|at| (!free(at), at)).collect();
    order.sort_by(|&(a_costs, a), &(b_costs, b)| {
        a_costs.cmp(&b_costs).then_with(|| remainder(b).compare(&remainder(a))).then(a.cmp(&b))
    });
    order.truncate(count as usize);
    order.into_iter().map(|(_, at)| at).collect()
}
