//! Tests of changes: what a plan promises, over long sequences of plans.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::{all, check_preference_list, even, spread, zone_of};
use crate::ids::{NodeId, PartitionId, ZoneId};
use crate::ring::*;

mod cases;
mod least;
mod stores;

/// A member under test.
fn member(node: u64) -> Member {
    Member::new(NodeId(node))
}

/// All that a plan promises whatever was asked for, but for how few copies it moves.
fn check(current: &Layout, change: &Change, plan: &Plan) {
    let layout = &plan.layout;
    assert_eq!((layout.n(), layout.partitions()), (current.n(), current.partitions()));
    assert_eq!((layout.parent(), layout.id().version), (current.id(), current.id().version + 1));
    let copies = u32::from(layout.n());
    // Zones.
    let mut sizes: BTreeMap<ZoneId, usize> = BTreeMap::new();
    layout.members().iter().for_each(|member| *sizes.entry(member.zone).or_default() += 1);
    for p in all(layout) {
        let owners = layout.owners(p);
        assert_eq!(owners.iter().collect::<BTreeSet<_>>().len(), owners.len(), "{p}: {owners:?}");
        let held = |zone| owners.iter().filter(|&&owner| zone_of(layout, owner) == zone).count();
        let most = sizes.keys().map(|&zone| held(zone)).max().unwrap();
        for (&zone, &size) in &sizes {
            assert!(held(zone) + 1 >= most || held(zone) == size, "{p}: zones hold {} and {most}", held(zone));
        }
        check_preference_list(layout, p, &sizes.keys().copied().collect::<Vec<_>>());
    }
    // Shares: within one of those that a first plan, which knows no history, gives the same members.
    let first = plan_first(layout.members(), layout.n(), layout.partitions()).unwrap();
    for (node, afresh) in first.shares {
        let share = plan.shares.iter().find(|share| share.node == node).unwrap();
        assert!(share.after.abs_diff(afresh) <= 1, "{node} gets {} and not {afresh}", share.after);
        assert!(share.first == share.after / copies || share.first == share.after.div_ceil(copies), "{share:?}");
        let owned = all(layout).filter(|&p| layout.owns(node, p)).count();
        assert_eq!(owned, share.after as usize);
    }
    // Whether anything is left for a member may turn on how shares are rounded.
    let (without, others): (Vec<PlanWarning>, Vec<PlanWarning>) =
        plan.warnings.iter().partition(|warning| matches!(warning, PlanWarning::MemberWithoutShare { .. }));
    let expected = first.warnings.iter().filter(|warning| !matches!(warning, PlanWarning::MemberWithoutShare { .. }));
    assert_eq!(others, expected.map(|&warning| rounded(warning, plan)).collect::<Vec<_>>());
    let is_said = |node| others.contains(&PlanWarning::MemberBeyondShare { node, share: 0 });
    let empty = plan.shares.iter().filter(|share| share.after == 0 && layout.index_of(share.node).is_some());
    let empty = empty.filter(|share| !is_said(share.node));
    assert_eq!(without, empty.map(|share| PlanWarning::MemberWithoutShare { node: share.node }).collect::<Vec<_>>());
    check_description(current, change, plan);
    check_balance(layout, &plan.after);
    check_balance(current, &plan.before);
    assert_eq!(plan_change(current, change).as_ref(), Ok(plan), "the same again");
}

/// The mean load, by weight, over that of the busiest member.
fn check_balance(layout: &Layout, balance: &Balance) {
    let per_weight = |member: &Member| {
        let owned = all(layout).filter(|&p| layout.owns(member.node, p)).count();
        owned as f64 / f64::from(member.weight)
    };
    let copies = f64::from(layout.n()) * f64::from(layout.partitions());
    let weights: f64 = layout.members().iter().map(|member| f64::from(member.weight)).sum();
    let busiest = layout.members().iter().map(per_weight).fold(0.0, f64::max);
    let efficiency = copies / weights / busiest;
    assert!((balance.efficiency() / efficiency - 1.0).abs() < 1e-9, "{balance:?} is not {efficiency}");
}

/// What a warning says of shares may be another by one.
fn rounded(warning: PlanWarning, plan: &Plan) -> PlanWarning {
    let of_zone = |zone: ZoneId| -> u64 {
        let members = plan.layout.members().iter().filter(|member| member.zone == zone);
        members.map(|member| u64::from(plan.shares.iter().find(|share| share.node == member.node).unwrap().after)).sum()
    };
    let of_member = |node| plan.shares.iter().find(|share| share.node == node).unwrap().after;
    match warning {
        PlanWarning::MemberBeyondShare { node, .. } => PlanWarning::MemberBeyondShare { node, share: of_member(node) },
        PlanWarning::ZoneBeyondShare { zone, .. } => PlanWarning::ZoneBeyondShare { zone, share: of_zone(zone) },
        PlanWarning::ZoneBelowShare { zone, .. } => PlanWarning::ZoneBelowShare { zone, share: of_zone(zone) },
        other => other,
    }
}

/// Whether the layouts name different stores for a member of both.
fn is_renewed(current: &Layout, next: &Layout, node: NodeId) -> bool {
    let store = |layout: &Layout| layout.index_of(node).map(|at| layout.members()[at].store);
    store(current).zip(store(next)).is_some_and(|(old, new)| old != new)
}

/// That moves and shares say what became of the layout.
fn check_description(current: &Layout, change: &Change, plan: &Plan) {
    let mut moves = plan.moves.iter().copied().peekable();
    let mut reordered = 0;
    for p in all(current) {
        let mut owners: BTreeSet<NodeId> = current.owners(p).iter().copied().collect();
        let old = owners.clone();
        let is_lost = |node: &NodeId| plan.gone.contains(node) || is_renewed(current, &plan.layout, *node);
        let mut renewed: BTreeSet<NodeId> =
            old.iter().copied().filter(|&node| plan.layout.owns(node, p) && is_lost(&node)).collect();
        while let Some(item) = moves.next_if(|item| item.partition == p) {
            assert!(owners.remove(&item.instead_of) && owners.insert(item.to), "{item:?}");
            assert!(!old.contains(&item.to) || item.to == item.instead_of && renewed.remove(&item.to), "{item:?}");
            let sources: Vec<_> = old.iter().filter(|node| !is_lost(node)).collect();
            match item.from {
                Some(from) => assert!(sources.contains(&&from), "{item:?}"),
                None => assert!(sources.is_empty(), "{item:?}"),
            }
            assert!(is_lost(&item.instead_of) || item.from == Some(item.instead_of), "{item:?}");
        }
        assert!(renewed.is_empty(), "{p}: {renewed:?} hold nothing");
        let left = old.iter().filter(|node| !is_lost(node)).count();
        let loss = plan.possible_loss.iter().find(|loss| loss.partition == p).map(|loss| usize::from(loss.owners_left));
        assert_eq!(loss, (left < old.len() / 2 + 1).then_some(left), "{p}");
        assert!(owners.iter().eq(plan.layout.owners(p).iter().collect::<BTreeSet<_>>()), "{p}");
        reordered += u32::from(owners == old && current.owners(p) != plan.layout.owners(p));
    }
    assert_eq!((moves.next(), plan.reordered), (None, reordered));
    for share in &plan.shares {
        let gained = plan.moves.iter().filter(|item| item.to == share.node).count() as u32;
        let lost = plan.moves.iter().filter(|item| item.instead_of == share.node).count() as u32;
        assert_eq!(share.before + gained, share.after + lost, "{share:?}");
        let held = plan.moves.iter().filter(|item| item.instead_of == share.node && item.from == Some(share.node));
        let held = held.count() as u32;
        assert!(gained.min(held) <= plan.overhead.map_or(0, |overhead| overhead.copies));
    }
    let renewed = current.members().iter().map(|member| member.node);
    assert!(renewed.filter(|&node| is_renewed(current, &plan.layout, node)).eq(plan.renewed.iter().copied()));
    for &(old, new) in change.replaced() {
        // As far as zones and weights allow, which other tests say.
        let taken = plan.moves.iter().filter(|item| (item.instead_of, item.to) == (old, new)).count();
        assert!(taken > 0 || current.partitions() < 16);
    }
}

/// The copies that cannot but move: those that members lack, or those that the zone rule drives out of partitions.
fn least_moves(current: &Layout, plan: &Plan) -> usize {
    let lacking: u32 = plan.shares.iter().map(|share| share.after.saturating_sub(share.before)).sum();
    let next = &plan.layout;
    let names: Vec<ZoneId> =
        next.members().iter().map(|member| member.zone).collect::<BTreeSet<_>>().into_iter().collect();
    let size = |zone: ZoneId| next.members().iter().filter(|member| member.zone == zone).count();
    let sizes: Vec<usize> = names.iter().map(|&zone| size(zone)).collect();
    let n = usize::from(next.n());
    let level = (1..=n).find(|&level| sizes.iter().map(|&size| size.min(level)).sum::<usize>() >= n).unwrap();
    let driven_out = |p: PartitionId| {
        let mut held = vec![0; names.len()];
        for at in current.owners(p).iter().filter_map(|&owner| next.index_of(owner)) {
            held[names.binary_search(&next.members()[at].zone).unwrap()] += 1;
        }
        let least: Vec<usize> = sizes.iter().map(|&size| size.min(level - 1)).collect();
        let base: usize = held.iter().zip(&least).map(|(&held, &least)| held.min(least)).sum();
        let above = held.iter().zip(&least).zip(&sizes).filter(|&((&held, &least), &size)| held.min(size) > least);
        n - base - above.count().min(n - least.iter().sum::<usize>())
    };
    (lacking as usize).max(all(current).map(driven_out).sum())
}

// ---- sequences ----

/// What a sequence of plans came to.
#[derive(Default, Debug)]
struct Tale {
    plans: u32,
    moves: usize,
    least: usize,
    /// How evenly a lost node's load is spread, over how evenly it is by a first plan for the same members: the worst
    /// of all plans.
    spread: f64,
    /// The same, where the first living node of a list serves alone.
    spread_of_first: f64,
    /// The same for the partners of a node.
    partners: f64,
}

/// Draws changes one after the other.
struct Drawing {
    rng: Xoshiro256PlusPlus,
    next_node: u64,
    zones: u32,
    weights: u32,
    most: usize,
}

impl Drawing {
    fn new(seed: u64, zones: u32, weights: u32, most: usize) -> Self {
        Self { rng: Xoshiro256PlusPlus::seed_from_u64(seed), next_node: 1000, zones, weights, most }
    }

    fn fresh(&mut self) -> Member {
        self.next_node += 1;
        let (zone, weight) = (self.rng.random_range(0..self.zones), self.rng.random_range(1..=self.weights));
        // Names in no order.
        let node = (self.next_node * 7919) % 100_003;
        member(node).zone(ZoneId(zone)).weight(weight)
    }

    fn any(&mut self, layout: &Layout) -> Member {
        layout.members()[self.rng.random_range(0..layout.members().len())]
    }

    fn change(&mut self, layout: &Layout) -> Change {
        let mut change = Change::of(layout);
        let mut members = layout.members().len();
        let mut touched = BTreeSet::new();
        for _ in 0..self.rng.random_range(1..=3) {
            let target = self.any(layout);
            let fresh = self.fresh();
            let untouched = touched.insert(target.node);
            match self.rng.random_range(0..10) {
                0..=1 if members < self.most => {
                    members += 1;
                    change = change.join(fresh);
                }
                2..=3 if members + 1 < self.most => {
                    members += 2;
                    let second = self.fresh();
                    change = change.join(fresh).join(second);
                }
                4..=5 if members > usize::from(layout.n()) + 1 && untouched => {
                    members -= 1;
                    change = change.leave(target.node);
                }
                6 if members > usize::from(layout.n()) + 1 && untouched => {
                    members -= 1;
                    change = change.gone(target.node);
                }
                7 if untouched => change = change.adjust(Member { weight: fresh.weight, ..target }),
                8 if untouched && self.zones > 1 => change = change.adjust(Member { zone: fresh.zone, ..target }),
                9 if untouched => change = change.replace(target.node, Member { node: fresh.node, ..target }),
                _ => {}
            }
        }
        change
    }
}

/// How evenly the partners of a member are spread, of whom it is rebuilt: the mean of how often it owns a partition with
/// another, by weight, over the most often. Of the worst member.
fn partners(layout: &Layout) -> f64 {
    let members = layout.members();
    let mut together = vec![vec![0_u32; members.len()]; members.len()];
    for p in all(layout) {
        let owners: Vec<usize> = layout.owners(p).iter().map(|&node| layout.index_of(node).unwrap()).collect();
        for &a in &owners {
            owners.iter().filter(|&&b| a != b).for_each(|&b| together[a][b] += 1);
        }
    }
    let evenness = |(at, row): (usize, &Vec<u32>)| {
        let others = || members.iter().zip(row).enumerate().filter(|&(other, _)| other != at).map(|(_, pair)| pair);
        let weights: f64 = others().map(|(member, _)| f64::from(member.weight)).sum();
        let most = others().map(|(member, &count)| f64::from(count) / f64::from(member.weight)).fold(0.0, f64::max);
        if most == 0.0 { 1.0 } else { f64::from(row.iter().sum::<u32>()) / weights / most }
    };
    together.iter().enumerate().map(evenness).fold(1.0, f64::min)
}

/// Plans and commits `steps` changes in a row and checks each of them.
fn tell(mut drawing: Drawing, mut layout: Layout, steps: u32, exact: bool) -> Tale {
    let mut tale = Tale { spread: 1.0, spread_of_first: 1.0, partners: 1.0, ..Tale::default() };
    for _ in 0..steps {
        let change = drawing.change(&layout);
        let plan = plan_change(&layout, &change).unwrap();
        check(&layout, &change, &plan);
        let least = if exact { least::fewest_moves(&layout, &plan) } else { least_moves(&layout, &plan) };
        assert!(plan.moves.len() >= least, "a bound from below");
        let beyond = plan.moves.len() - least;
        assert!(beyond <= 2, "{} moves, {least} would do", plan.moves.len());
        assert!(least > 0 || plan.moves.is_empty());
        let balanced = drawing.zones == 1 && drawing.weights == 1;
        assert!(!balanced || beyond == 0, "{} moves, {least} would do", plan.moves.len());
        tale.plans += 1;
        tale.moves += plan.moves.len();
        tale.least += least;
        layout = plan.layout;
        let afresh = plan_first(layout.members(), layout.n(), layout.partitions()).unwrap().layout;
        let worse = |worst: f64, of: &dyn Fn(&Layout) -> f64| worst.min(of(&layout) / of(&afresh));
        tale.spread = worse(tale.spread, &|layout| spread(layout, usize::from(layout.n())));
        tale.spread_of_first = worse(tale.spread_of_first, &|layout| spread(layout, 1));
        tale.partners = worse(tale.partners, &partners);
    }
    tale
}

/// Of clusters that are small enough the fewest moves there can be are known.
#[test]
fn sequences_of_plans_in_small_clusters() {
    for (n, zones, weights, count, q) in [
        (3, 1, 1, 5, 16),
        (3, 1, 3, 7, 40),
        (3, 2, 3, 8, 64),
        (3, 3, 1, 9, 64),
        (3, 3, 4, 12, 64),
        (3, 4, 2, 6, 32),
        (3, 5, 4, 20, 60),
        // Four copies in three zones: not each may hold two.
        (4, 3, 2, 12, 64),
    ] {
        for seed in 0..2 {
            let layout = plan_first(&even(count, u64::from(zones)), n, q).unwrap().layout;
            let tale = tell(Drawing::new(seed, zones, weights, 2 * count as usize), layout, 40, true);
            assert!(tale.moves as f64 <= tale.least as f64 * 1.005, "{tale:?}");
            assert!(tale.spread > 0.8, "{tale:?}");
        }
    }
}

#[test]
fn sequences_of_plans() {
    for (zones, weights, count, q) in
        [(1, 1, 12, 256), (1, 4, 12, 256), (3, 1, 12, 256), (3, 4, 12, 256), (1, 1, 20, 640)]
    {
        for seed in 0..2 {
            let layout = plan_first(&even(count, u64::from(zones)), 3, q).unwrap().layout;
            let tale = tell(Drawing::new(seed, zones, weights, 2 * count as usize), layout, 40, false);
            assert!(tale.moves as f64 <= tale.least as f64 * 1.005, "{tale:?}");
            assert!(tale.spread > 0.93 && tale.spread_of_first > 0.75, "{tale:?}");
            assert!(zones > 1 || tale.partners > 0.75, "{tale:?}");
        }
    }
}
