//! Tests of placement as a whole.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::content::Content;
use super::*;
use crate::hash::{Purpose, keyless};
use crate::ids::{LayoutId, NodeId, PartitionId, ZoneId};
use crate::wire::FormatError;

mod children;
mod plans;

fn nodes(names: &[u64]) -> Vec<NodeId> {
    names.iter().copied().map(NodeId).collect()
}

fn even(count: u64, zones: u64) -> Vec<Member> {
    (0..count).map(|i| Member::new(NodeId(100 + i)).zone(ZoneId((i % zones) as u32))).collect()
}

fn all(layout: &Layout) -> impl Iterator<Item = PartitionId> + use<> {
    (0..layout.partitions()).map(PartitionId)
}

// ---- Figure 2 ----

/// The ring of Dynamo, Figure 2: the partition that ends at a node is kept by this node and the next two.
fn figure_2() -> Layout {
    let owners = (0..7).map(|p| nodes(&[p, (p + 1) % 7, (p + 2) % 7])).collect();
    Layout::from_owners(3, (0..7).map(|node| Member::new(NodeId(node))).collect(), owners).unwrap()
}

#[test]
fn figure_2_key_in_ab_is_stored_at_b_c_and_d() {
    let ring = figure_2();
    let [a, b, c, d] = [0, 1, 2, 3].map(NodeId);
    // Partition 1 is the range from A to B.
    let key = (1_u128 << 127) / 7 * 2 + (1 << 120);
    assert_eq!(ring.partition_of(key), PartitionId(1));
    assert_eq!(ring.owners(ring.partition_of(key)), [b, c, d]);
    let stored_at_d: Vec<_> = all(&ring).filter(|&p| ring.owns(d, p)).collect();
    assert_eq!(stored_at_d, [1, 2, 3].map(PartitionId), "the ranges A to B, B to C, C to D");
    assert!(!ring.owns(a, PartitionId(1)));
    let list: Vec<_> = ring.preference_list(PartitionId(1)).collect();
    assert_eq!(list.len(), 7, "more than N nodes (§4.3)");
    assert_eq!(list[..3], [b, c, d]);
    assert_eq!(list.iter().collect::<BTreeSet<_>>().len(), 7, "each node once");
}

#[test]
fn a_range_holds_its_start_and_not_its_end() {
    for q in [1_u32, 2, 3, 7, 10, 64, 100, 1000, 65_536, 65_537] {
        let ring =
            Layout::from_owners(1, vec![Member::new(NodeId(1))], vec![nodes(&[1]); q as usize]).expect("one owner");
        assert_eq!(ring.partition_of(0), PartitionId(0));
        assert_eq!(ring.partition_of(u128::MAX), PartitionId(q - 1), "the last range ends where the ring closes");
        assert_eq!(*ring.positions_of(PartitionId(0)).start(), 0);
        assert_eq!(*ring.positions_of(PartitionId(q - 1)).end(), u64::MAX);
        for p in 1..q {
            let start = (u128::from(p) << 64).div_ceil(u128::from(q)) << 64;
            assert_eq!(ring.partition_of(start), PartitionId(p));
            assert_eq!(ring.partition_of(start - 1), PartitionId(p - 1));
            assert_eq!(*ring.positions_of(PartitionId(p)).start(), (start >> 64) as u64);
            assert_eq!(*ring.positions_of(PartitionId(p - 1)).end(), ((start >> 64) - 1) as u64);
        }
    }
}

// ---- what is refused ----

#[test]
fn from_owners_checks_everything() {
    let two = || vec![Member::new(NodeId(1)), Member::new(NodeId(2))];
    let p = PartitionId(0);
    let make = |n, members, owners| Layout::from_owners(n, members, owners).unwrap_err();
    assert_eq!(make(0, two(), vec![vec![]]), LayoutError::NoCopies);
    assert_eq!(make(1, two(), vec![]), LayoutError::NoPartitions);
    assert_eq!(make(2, two(), vec![nodes(&[1])]), LayoutError::OwnerCount { partition: p, owners: 1, n: 2 });
    assert_eq!(make(2, two(), vec![nodes(&[1, 1])]), LayoutError::RepeatedOwner { partition: p, node: NodeId(1) });
    assert_eq!(make(1, two(), vec![nodes(&[3])]), LayoutError::UnknownOwner { partition: p, node: NodeId(3) });
    let mut members = two();
    members.push(Member::new(NodeId(1)).zone(ZoneId(9)));
    assert_eq!(make(1, members, vec![nodes(&[1])]), LayoutError::DuplicateMember { node: NodeId(1) });
    let members = vec![Member::new(NodeId(1)).weight(0)];
    assert_eq!(make(1, members, vec![nodes(&[1])]), LayoutError::ZeroWeight { node: NodeId(1) });
    let members = |count: usize| (0..count as u64).map(|node| Member::new(NodeId(node))).collect();
    let most = Layout::from_owners(1, members(Layout::MAX_MEMBERS), vec![nodes(&[1])]).unwrap();
    assert_eq!(most.members().len(), Layout::MAX_MEMBERS);
    let members = members(Layout::MAX_MEMBERS + 1);
    assert_eq!(make(1, members, vec![nodes(&[1])]), LayoutError::TooManyMembers { members: 65_537 });
    let mut owners = vec![nodes(&[1]); Layout::MAX_PARTITIONS as usize];
    let most = Layout::from_owners(1, two(), owners.clone()).unwrap();
    assert_eq!(most.partitions(), Layout::MAX_PARTITIONS);
    owners.push(nodes(&[1]));
    assert_eq!(make(1, two(), owners), LayoutError::TooManyPartitions { partitions: 1_048_577 });
}

#[test]
fn plan_first_refuses_what_cannot_be() {
    assert_eq!(plan_first(&even(2, 2), 3, 8), Err(PlanError::TooFewMembers { members: 2, n: 3 }));
    assert_eq!(plan_first(&[], 1, 8), Err(PlanError::TooFewMembers { members: 0, n: 1 }));
    assert_eq!(plan_first(&even(2, 2), 0, 8), Err(LayoutError::NoCopies.into()));
    assert_eq!(plan_first(&even(2, 2), 1, 0), Err(LayoutError::NoPartitions.into()));
    let most = Layout::MAX_PARTITIONS;
    assert_eq!(plan_first(&even(1, 1), 1, most).unwrap().layout.partitions(), most);
    let too_many = LayoutError::TooManyPartitions { partitions: most as usize + 1 };
    assert_eq!(plan_first(&even(1, 1), 1, most + 1), Err(too_many.into()));
    let members = [Member::new(NodeId(1)), Member::new(NodeId(1))];
    assert_eq!(plan_first(&members, 1, 1), Err(LayoutError::DuplicateMember { node: NodeId(1) }.into()));
}

#[test]
#[should_panic(expected = "p7 of 7 partitions")]
fn a_partition_that_is_not_there_panics() {
    let _ = figure_2().owners(PartitionId(7));
}

// ---- what the planner promises ----

/// All promises but the spread of a lost node's load.
fn check(members: &[Member], n: u8, q: u32) {
    let plan = plan_first(members, n, q).expect("enough members");
    let layout = &plan.layout;
    let copies = u64::from(n);
    assert_eq!((layout.n(), layout.partitions(), layout.members().len()), (n, q, members.len()));
    let size = |zone| layout.members().iter().filter(|member| member.zone == zone).count();
    let zones: Vec<ZoneId> =
        layout.members().iter().map(|member| member.zone).collect::<BTreeSet<_>>().into_iter().collect();
    let mut places = vec![vec![0_u32; usize::from(n)]; members.len()];
    for p in all(layout) {
        for (place, &owner) in layout.owners(p).iter().enumerate() {
            places[layout.index_of(owner).expect("a member")][place] += 1;
        }
        check_preference_list(layout, p, &zones);
        let held: Vec<(usize, usize)> = zones
            .iter()
            .map(|&zone| {
                let owners = layout.owners(p).iter();
                (owners.filter(|&&owner| zone_of(layout, owner) == zone).count(), size(zone))
            })
            .collect();
        let most = held.iter().map(|held| held.0).max().unwrap();
        for &(held, size) in &held {
            assert!(held + 1 >= most || held == size, "{p}: zones hold {held} and {most} copies");
        }
    }
    let shares: Vec<u32> = places.iter().map(|places| places.iter().sum()).collect();
    let named: Vec<_> = layout.members().iter().map(|member| member.node).zip(shares.iter().copied()).collect();
    assert_eq!(plan.shares, named);
    for (share, places) in shares.iter().zip(&places) {
        let first = places[0];
        assert!(first == share / u32::from(n) || first == share.div_ceil(u32::from(n)), "{share}: {places:?}");
    }
    // Nobody has more than its share while another, who could have more, has less: to one partition.
    let level =
        (1..=n).find(|&level| zones.iter().map(|&zone| size(zone).min(level.into())).sum::<usize>() >= n.into());
    let level = usize::from(level.unwrap());
    let total = |zone| -> u64 {
        let of = layout.members().iter().zip(&shares).filter(|(member, _)| member.zone == zone);
        of.map(|(_, &share)| u64::from(share)).sum()
    };
    let full = |zone| total(zone) == size(zone).min(level) as u64 * u64::from(q);
    let empty = |zone| total(zone) == size(zone).min(level - 1) as u64 * u64::from(q);
    let zone_state: Vec<_> = zones.iter().map(|&zone| (zone, full(zone), empty(zone))).collect();
    let state = |zone| zone_state[zone_state.binary_search_by_key(&zone, |state| state.0).unwrap()];
    for (a, &share) in layout.members().iter().zip(&shares) {
        assert!(share <= q);
        for (b, &other) in layout.members().iter().zip(&shares) {
            let held_back = other == q || (a.zone != b.zone && (state(b.zone).1 || state(a.zone).2));
            let (share, other) = (i128::from(share), i128::from(other));
            let fair = (share - 1) * i128::from(b.weight) < (other + 1) * i128::from(a.weight);
            assert!(held_back || fair, "n={n} q={q}: {a:?} has {share}, {b:?} has {other}");
        }
    }
    assert_eq!(shares.iter().map(|&share| u64::from(share)).sum::<u64>(), copies * u64::from(q));
    let few = plan.warnings.contains(&PlanWarning::TooFewZones { zones: zones.len(), n });
    assert_eq!(few, zones.len() < usize::from(n));
}

fn zone_of(layout: &Layout, node: NodeId) -> ZoneId {
    layout.members()[layout.index_of(node).expect("a member")].zone
}

/// A permutation of the members, the owners first, then a new zone with each step while there is one, then the other
/// members of zones without owners.
fn check_preference_list(layout: &Layout, p: PartitionId, zones: &[ZoneId]) {
    let mut iterator = layout.preference_list(p);
    assert_eq!(iterator.len(), layout.members().len());
    let list: Vec<NodeId> = iterator.by_ref().collect();
    assert_eq!((iterator.len(), iterator.next()), (0, None));
    let mut sorted = list.clone();
    sorted.sort_unstable();
    assert!(sorted.iter().eq(layout.members().iter().map(|member| &member.node)), "each member once");
    let (owners, fallbacks) = list.split_at(usize::from(layout.n()));
    assert_eq!(owners, layout.owners(p));
    let with_owner: BTreeSet<ZoneId> = owners.iter().map(|&node| zone_of(layout, node)).collect();
    let mut seen = with_owner.clone();
    let mut old = false;
    for &node in fallbacks {
        let zone = zone_of(layout, node);
        assert!(seen.insert(zone) || seen.len() == zones.len(), "{p}: {zone} again before all zones were seen");
        assert!(!old || with_owner.contains(&zone), "{p}: a zone without owner after one with");
        old |= with_owner.contains(&zone);
    }
}

fn zone_patterns(count: u64) -> Vec<Vec<u32>> {
    let of = |zone: fn(u64) -> u64| (0..count).map(|i| zone(i) as u32).collect();
    vec![
        of(|_| 0),
        of(|i| i % 2),
        of(|i| i % 3),
        of(|i| (i * i) % 5),
        of(|i| u64::from(i.is_power_of_two())),
        of(|i| i),
    ]
}

#[test]
fn small_clusters_of_all_kinds() {
    let weights: [fn(u64) -> u32; 3] = [|_| 1, |i| 1 + (i % 4) as u32, |i| if i == 2 { 1000 } else { 3 }];
    for count in 1..=24 {
        for n in 1..=count.min(5) as u8 {
            for q in [8, 9, 30, 64, 256] {
                if q == 256 && count % 4 != 0 {
                    continue;
                }
                for zones in zone_patterns(count) {
                    for weight in weights {
                        let member = |i: u64| Member::new(NodeId(i)).zone(ZoneId(zones[i as usize])).weight(weight(i));
                        check(&(0..count).map(member).collect::<Vec<_>>(), n, q);
                    }
                }
            }
        }
    }
}

#[test]
fn equal_members_own_equal_parts() {
    for (count, n, q) in [(5, 3, 16), (12, 3, 256), (30, 3, 960), (30, 3, 1000), (7, 5, 100)] {
        let plan = plan_first(&even(count, 1), n, q).unwrap();
        let copies = u32::from(n) * q;
        let count = count as u32;
        assert!(plan.shares.iter().all(|&(_, share)| share == copies / count || share == copies.div_ceil(count)));
        for member in plan.layout.members() {
            let first = all(&plan.layout).filter(|&p| plan.layout.owners(p)[0] == member.node).count() as u32;
            assert!(first == q / count || first == q.div_ceil(count), "{first} first places of {q} for {count}");
        }
    }
}

#[test]
fn weights_beyond_a_whole_copy_are_cut_and_said() {
    let members = [Member::new(NodeId(1)).weight(10), Member::new(NodeId(2)), Member::new(NodeId(3)).weight(2)];
    let plan = plan_first(&members, 2, 90).unwrap();
    assert_eq!(plan.shares, [(NodeId(1), 90), (NodeId(2), 30), (NodeId(3), 60)]);
    let few = PlanWarning::TooFewZones { zones: 1, n: 2 };
    assert_eq!(plan.warnings, [few, PlanWarning::MemberBeyondShare { node: NodeId(1), share: 90 }]);

    // Two of three zones: the heavy one holds one copy of each partition, and no more.
    let members: Vec<_> = even(12, 3).into_iter().map(|m| m.weight(if m.zone == ZoneId(1) { 9 } else { 1 })).collect();
    let plan = plan_first(&members, 2, 64).unwrap();
    assert_eq!(plan.warnings, [PlanWarning::ZoneBeyondShare { zone: ZoneId(1), share: 64 }]);
    assert!(plan.shares.iter().enumerate().all(|(i, &(_, share))| share == if i % 3 == 1 { 16 } else { 8 }));

    // Five copies in two zones: at least two in each, however light.
    let members: Vec<_> = even(12, 2).into_iter().map(|m| m.weight(if m.zone == ZoneId(1) { 9 } else { 1 })).collect();
    let plan = plan_first(&members, 5, 60).unwrap();
    let (less, more) = (ZoneId(0), ZoneId(1));
    let expected = [
        PlanWarning::TooFewZones { zones: 2, n: 5 },
        PlanWarning::ZoneBelowShare { zone: less, share: 120 },
        PlanWarning::ZoneBeyondShare { zone: more, share: 180 },
    ];
    assert_eq!(plan.warnings, expected);

    let plan = plan_first(&even(5, 1), 1, 4).unwrap();
    assert_eq!(plan.warnings, [PlanWarning::MemberWithoutShare { node: NodeId(104) }]);
}

#[test]
fn nothing_is_said_of_what_is_to_the_point_as_asked() {
    let of = |given: &[(u32, u32)]| -> Vec<Member> {
        let member = |(node, &(zone, weight))| Member::new(NodeId(node)).zone(ZoneId(zone)).weight(weight);
        (1..).zip(given).map(member).collect()
    };
    // One copy of everything, exactly.
    let plan = plan_first(&of(&[(0, 2), (1, 1), (2, 1)]), 2, 90).unwrap();
    assert_eq!((plan.warnings, plan.shares[0].1), (vec![], 90));
    // A zone of one: it is the member that can't take more.
    let plan = plan_first(&of(&[(0, 9), (1, 1), (2, 2)]), 2, 90).unwrap();
    assert_eq!(plan.warnings, [PlanWarning::MemberBeyondShare { node: NodeId(1), share: 90 }]);
    // One of three copies in one zone and two in the other, as their weights ask for.
    let plan = plan_first(&of(&[(0, 2), (0, 2), (0, 2), (1, 4), (1, 4), (1, 4)]), 3, 90).unwrap();
    assert_eq!(plan.warnings, [PlanWarning::TooFewZones { zones: 2, n: 3 }]);
    assert_eq!(plan.shares.iter().map(|&(_, share)| share).collect::<Vec<_>>(), [30, 30, 30, 60, 60, 60]);
}

/// A plan is the same on every machine. These may change with the planner, and only with it.
#[test]
fn golden_plans() {
    let weighted = |count, zones, weight: fn(u64) -> u32| -> Vec<Member> {
        (0..).zip(even(count, zones)).map(|(i, member)| member.weight(weight(i))).collect()
    };
    let plans: [(Vec<Member>, u8, u32); 6] = [
        (even(12, 1), 3, 64),
        (even(12, 3), 3, 100),
        (weighted(9, 2, |i| 1 + (i % 4) as u32), 3, 64),
        (weighted(20, 5, |i| if i == 2 { 1000 } else { 3 }), 4, 77),
        (weighted(7, 7, |i| 1 << i), 2, 50),
        // More pairs than are counted one by one.
        (even(4200, 4), 3, 2900),
    ];
    let hash = |(members, n, q): (Vec<Member>, u8, u32)| plan_first(&members, n, q).unwrap().layout.id().hash;
    assert_eq!(plans.map(hash), GOLDEN_PLANS);
}
const GOLDEN_PLANS: [u64; 6] = [
    0x66b6_8c74_f11b_f956,
    0xcbda_9359_f7e7_a45f,
    0x1bab_be0b_cd00_ea1a,
    0x1ff2_0ed6_38d3_b834,
    0xadb0_f9fc_4fa2_2a53,
    0x3c33_039e_0e0a_a9d1,
];

#[test]
fn the_largest_numbers_do_not_overflow() {
    let members: Vec<_> = (0..40)
        .map(|i| Member::new(NodeId(u64::MAX - i)).zone(ZoneId(u32::MAX - i as u32 % 7)).weight(u32::MAX - i as u32))
        .chain((0..5).map(|i| Member::new(NodeId(i)).zone(ZoneId(i as u32))))
        .collect();
    let plan = plan_first(&members, 31, Layout::MAX_PARTITIONS / 64).unwrap();
    let shares: u64 = plan.shares.iter().map(|&(_, share)| u64::from(share)).sum();
    assert_eq!(shares, 31 * u64::from(Layout::MAX_PARTITIONS / 64));
}

#[test]
fn the_order_of_members_does_not_matter() {
    let mut members: Vec<_> = even(13, 4).into_iter().enumerate().map(|(i, m)| m.weight(1 + i as u32 % 3)).collect();
    let plan = plan_first(&members, 3, 100).unwrap();
    for _ in 0..members.len() {
        members.rotate_left(1);
        members.swap(2, 9);
        assert_eq!(plan_first(&members, 3, 100).unwrap(), plan);
    }
}

proptest! {
    #[test]
    fn any_weights_and_zones(
        given in prop::collection::btree_map(any::<u64>(), (0_u32..6, prop_oneof![1_u32..6, 1_u32..=u32::MAX]), 1..20),
        n in 1_u8..6,
        q in 1_u32..120,
    ) {
        let member = |(&node, &(zone, weight)): (&u64, &(u32, u32))| Member::new(NodeId(node)).zone(ZoneId(zone)).weight(weight);
        let members: Vec<_> = given.iter().map(member).collect();
        if members.len() >= usize::from(n) {
            check(&members, n, q);
            let layout = plan_first(&members, n, q).unwrap().layout;
            prop_assert_eq!(Layout::decode(&layout.encode()), Ok(layout));
        }
    }

    #[test]
    fn any_owners_that_a_host_hands_in(
        zones in prop::collection::vec(0_u32..5, 5..12),
        seeds in prop::collection::vec(any::<prop::sample::Index>(), 1..40),
    ) {
        let members: Vec<_> = (0..).zip(&zones).map(|(node, &zone)| Member::new(NodeId(node)).zone(ZoneId(zone))).collect();
        let owners = seeds.iter().map(|seed| (0..3).map(|i| NodeId((seed.index(zones.len()) + i * 2) as u64 % zones.len() as u64)).collect());
        let layout = Layout::from_owners(3, members, owners.collect()).unwrap();
        let names: Vec<_> = zones.iter().copied().map(ZoneId).collect::<BTreeSet<_>>().into_iter().collect();
        all(&layout).for_each(|p| check_preference_list(&layout, p, &names));
        prop_assert_eq!(Layout::decode(&layout.encode()), Ok(layout));
    }
}

// ---- a lost node ----

/// How evenly the living serve, by weight, with the worst of all members down: the mean over the busiest. What the dead
/// node did for a partition goes to the next in the preference list: the first `serving` living nodes of it are loaded.
fn spread(layout: &Layout, serving: usize) -> f64 {
    let members = layout.members();
    let lists: Vec<Vec<usize>> = all(layout)
        .map(|p| layout.preference_list(p).take(serving + 1).map(|node| layout.index_of(node).unwrap()).collect())
        .collect();
    let efficiency = |dead: usize| {
        let mut load = vec![0_u32; members.len()];
        for list in &lists {
            list.iter().filter(|&&at| at != dead).take(serving).for_each(|&at| load[at] += 1);
        }
        let living = || members.iter().zip(&load).enumerate().filter(|&(at, _)| at != dead).map(|(_, pair)| pair);
        let weights: f64 = living().map(|(member, _)| f64::from(member.weight)).sum();
        let busiest = living().map(|(member, &load)| f64::from(load) / f64::from(member.weight)).fold(0.0, f64::max);
        f64::from(load.iter().sum::<u32>()) / weights / busiest
    };
    (0..members.len()).map(efficiency).fold(1.0, f64::min)
}

/// Dynamo's experiment (§6.2, Figure 8: 0.94 at this size with all nodes up), with a node down. Round-robin: 0.776.
#[test]
fn the_load_of_a_lost_node_is_spread_evenly() {
    for (zones, at_least, first_at_least) in [(1, 0.99, 0.97), (3, 0.99, 0.94), (5, 0.98, 0.97)] {
        let layout = plan_first(&even(30, zones), 3, 960).unwrap().layout;
        let (all, first) = (spread(&layout, 3), spread(&layout, 1));
        assert!(all >= at_least && first >= first_at_least, "{zones} zones: {all:.3}, first places {first:.3}");
    }
    for zones in [1, 3, 4] {
        let layout = plan_first(&even(12, zones), 3, 256).unwrap().layout;
        let all = spread(&layout, 3);
        assert!(all >= 0.96, "{zones} zones: {all:.3}");
    }
}

/// Those who own partitions together with a node are those that it is rebuilt from.
#[test]
fn partners_are_spread_evenly() {
    let layout = plan_first(&even(30, 1), 3, 960).unwrap().layout;
    let mut together = vec![0_u32; 900];
    for p in all(&layout) {
        for a in layout.owners(p) {
            for b in layout.owners(p) {
                together[layout.index_of(*a).unwrap() * 30 + layout.index_of(*b).unwrap()] += 1;
            }
        }
    }
    let pairs = || (0..900).filter(|at| at / 30 != at % 30).map(|at| together[at]);
    // 6.62 on the mean.
    assert!(pairs().min() >= Some(5) && pairs().max() <= Some(8), "{:?} to {:?}", pairs().min(), pairs().max());
}

#[test]
fn many_members_share_counters_and_still_come_out_even() {
    // More pairs than are counted one by one.
    let plan = plan_first(&even(500, 4), 3, 1000).unwrap();
    assert!(plan.shares.iter().all(|&(_, share)| share == 6));
    let worst = spread(&plan.layout, 3);
    assert!(worst > 0.85, "{worst}: 6 each, and nobody should get two more");
}

// ---- bytes ----

fn small() -> Layout {
    let members = vec![
        Member::new(NodeId(300)).zone(ZoneId(2)).weight(5),
        Member::new(NodeId(1)),
        Member::new(NodeId(2)).zone(ZoneId(1)),
    ];
    Layout::from_owners(2, members, vec![nodes(&[1, 300]), nodes(&[2, 1]), nodes(&[300, 2])]).unwrap()
}

#[test]
fn golden_bytes() {
    let layout = small();
    let mut expected = vec![2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    expected.extend([3, 1, 0, 1, 0, 2, 1, 1, 0, 0xac, 2, 2, 5, 0]);
    // Nobody is gone, and nothing was before.
    expected.extend([0, 0]);
    expected.extend([3, 0, 0, 2, 0, 1, 0, 0, 2, 1]);
    expected.extend(GOLDEN_HASH.to_le_bytes());
    assert_eq!(layout.encode(), expected, "hash {:#x}", layout.id().hash);
    assert_eq!(layout.id(), LayoutId { version: 1, hash: GOLDEN_HASH });
    assert_eq!(layout.parent(), LayoutId { version: 0, hash: 0 });
    assert_eq!(Layout::decode(&expected), Ok(layout));
}
const GOLDEN_HASH: u64 = 0x3600_ae2d_5e11_019c;

/// Nodes with different versions of this crate must agree on who stands in for whom.
#[test]
fn golden_fallbacks() {
    let members: Vec<_> = even(9, 4).into_iter().map(|m| m.weight(if m.node.0 == 104 { 3 } else { 1 })).collect();
    let owners = (0..8).map(|p| nodes(&[100 + p, 101 + p, 100 + (p + 5) % 9])).collect();
    let layout = Layout::from_owners(3, members, owners).unwrap();
    let names = |p| layout.preference_list(p).map(|node| node.0 - 100).collect();
    let lists: Vec<Vec<u64>> = all(&layout).map(names).collect();
    assert_eq!(lists, GOLDEN_LISTS);
}
const GOLDEN_LISTS: [[u64; 9]; 8] = [
    [0, 1, 5, 2, 3, 6, 7, 4, 8],
    [1, 2, 6, 0, 3, 4, 7, 8, 5],
    [2, 3, 7, 4, 5, 8, 1, 0, 6],
    [3, 4, 8, 5, 2, 1, 6, 7, 0],
    [4, 5, 0, 3, 6, 2, 7, 1, 8],
    [5, 6, 1, 4, 7, 0, 3, 8, 2],
    [6, 7, 2, 8, 1, 4, 5, 0, 3],
    [7, 8, 3, 1, 6, 2, 5, 4, 0],
];

/// More candidates than are looked at: then their order counts, of zones and of members.
#[test]
fn golden_fallbacks_of_a_crowd() {
    let of_zones = |zones: u64| {
        let owners = (0..8).map(|p| nodes(&[100 + p, 150 + p])).collect();
        let layout = Layout::from_owners(2, even(200, zones), owners).unwrap();
        let first = |p| layout.preference_list(p).skip(2).take(4).map(|node| node.0 - 100).collect();
        all(&layout).map(first).collect::<Vec<Vec<u64>>>()
    };
    assert_eq!([1, 7, 100].map(of_zones), GOLDEN_CROWDS);
}
const GOLDEN_CROWDS: [[[u64; 4]; 8]; 3] = [
    [
        [195, 96, 86, 20],
        [141, 134, 85, 185],
        [117, 199, 162, 180],
        [103, 60, 114, 181],
        [8, 192, 108, 83],
        [136, 76, 186, 170],
        [152, 62, 162, 166],
        [152, 160, 40, 78],
    ],
    [
        [86, 96, 195, 73],
        [185, 0, 194, 172],
        [180, 162, 32, 69],
        [181, 114, 187, 126],
        [108, 8, 83, 112],
        [170, 186, 136, 0],
        [162, 93, 152, 129],
        [150, 40, 69, 102],
    ],
    [
        [163, 96, 195, 86],
        [0, 141, 85, 194],
        [180, 199, 162, 5],
        [173, 145, 114, 181],
        [52, 83, 108, 192],
        [0, 170, 186, 37],
        [39, 152, 162, 166],
        [40, 152, 78, 98],
    ],
];

#[test]
fn damage_is_noticed() {
    for bytes in [small().encode(), children::grown().encode()] {
        for cut in 0..bytes.len() {
            assert!(Layout::decode(&bytes[..cut]).is_err());
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let error = Layout::decode(&damaged).unwrap_err();
                let expected = if at == 0 { FormatError::Version(damaged[0]) } else { FormatError::Checksum };
                assert_eq!(error, expected);
            }
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(Layout::decode(&longer), Err(FormatError::Checksum));
    }
}

/// Bytes with a hash that matches: anybody can compute it.
fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    let hash = keyless(Purpose::Layout, &[&body]) as u64;
    body.extend(hash.to_le_bytes());
    body
}

#[test]
fn a_forged_layout_does_no_harm() {
    for whole in [small().encode(), children::grown().encode()] {
        let body = &whole[..whole.len() - 8];
        for cut in 1..body.len() {
            assert!(Layout::decode(&sealed(body[..cut].to_vec())).is_err(), "cut at {cut}");
        }
        let mut taken = 0;
        for at in 0..body.len() {
            for value in 0..=255 {
                let mut forged = body.to_vec();
                forged[at] = value;
                let forged = sealed(forged);
                if let Ok(layout) = Layout::decode(&forged) {
                    assert_eq!(layout.encode(), forged, "one spelling");
                    all(&layout).for_each(|p| assert_eq!(layout.preference_list(p).count(), 3));
                    all(&layout).for_each(|p| assert!(layout.ballot(p) <= layout.id()));
                    taken += 1;
                }
            }
        }
        assert!(taken > 256, "another zone or weight, for instance, is another layout: {taken}");
        let longer = sealed([body, &[0]].concat());
        assert_eq!(Layout::decode(&longer), Err(FormatError::Trailing));
    }
    // Counts that can't be true: of members, gone owners, earlier layouts, partitions.
    let body = small().encode();
    for at in [12, 26, 27, 28] {
        let forged = [&body[..at], &[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]].concat();
        assert_eq!(Layout::decode(&sealed(forged)), Err(FormatError::Truncated));
    }
}

#[test]
fn what_a_forged_layout_breaks_is_named() {
    let members = small().members().to_vec();
    let owners = [0, 2, 1, 0, 2, 1];
    let content = |version, parent, n: u8, members: &[Member], owners: &[u32]| {
        let first = Content::first(n, members.to_vec(), owners.len() / usize::from(n), owners.to_vec());
        codec::content(&Content { version, parent, ..first })
    };
    let decode = |body: Vec<u8>| Layout::decode(&sealed(body)).map(|layout| layout.id().version);
    let parent = |version, hash| LayoutId { version, hash };
    let make = |version, parent, members: &[Member]| decode(content(version, parent, 2, members, &owners));
    assert_eq!(make(1, parent(0, 0), &members), Ok(1));
    assert_eq!(make(5, parent(4, 9), &members), Ok(5));
    let younger = Err(FormatError::Content("a layout is younger than its parent"));
    for (version, parent) in [(0, parent(0, 0)), (1, parent(1, 0)), (5, parent(6, 9)), (1, parent(0, 9))] {
        assert_eq!(make(version, parent, &members), younger, "{version} after {parent:?}");
    }
    let with = |change: &dyn Fn(&mut [Member])| {
        let mut members = members.clone();
        change(&mut members);
        make(1, parent(0, 0), &members)
    };
    assert_eq!(with(&|members| members.swap(0, 1)), Err(FormatError::Content("members ascend")));
    assert_eq!(with(&|members| members[1].node = members[0].node), Err(FormatError::Content("members ascend")));
    assert_eq!(with(&|members| members[2].weight = 0), Err(FormatError::Content("a member has a weight")));

    let numbers = Err(FormatError::Content("number of copies or partitions"));
    let of = |n, owners: &[u32]| decode(content(1, parent(0, 0), n, &members, owners));
    assert_eq!(of(2, &[]), numbers);
    let mut without_copies = content(1, parent(0, 0), 1, &members, &[0, 1]);
    without_copies[11] = 0;
    assert_eq!(decode(without_copies), numbers);
    let most = Layout::MAX_PARTITIONS as usize;
    assert_eq!((of(1, &vec![0; most]), of(1, &vec![0; most + 1])), (Ok(1), numbers));
    assert_eq!(of(2, &[0, 2, 1, 3]), Err(FormatError::Content("an owner is a member")));
    assert_eq!(of(2, &[0, 2, 1, 1]), Err(FormatError::Content("the owners of a partition differ")));
    let crowd = |count| {
        let members: Vec<_> = (0..count).map(|node| Member::new(NodeId(node))).collect();
        decode(content(1, parent(0, 0), 1, &members, &[0]))
    };
    let most = Layout::MAX_MEMBERS as u64;
    assert_eq!((crowd(most), crowd(most + 1)), (Ok(1), Err(FormatError::Content("too many members"))));
}

/// Hundreds of thousands of pairs of members for each partition: memory must follow the bytes, not the pairs.
#[test]
fn a_layout_of_many_members_and_one_partition_is_read() {
    let members: Vec<_> = (0..60_000).map(|node| Member::new(NodeId(node)).zone(ZoneId(node as u32 / 2))).collect();
    let layout = Layout::from_owners(1, members, vec![nodes(&[7])]).unwrap();
    assert_eq!(Layout::decode(&layout.encode()).unwrap(), layout);
    assert_eq!(layout.preference_list(PartitionId(0)).count(), 60_000);
}

#[test]
fn content_and_parent_are_in_the_name() {
    let layout = small();
    let other = Layout::from_owners(2, layout.members().to_vec(), vec![nodes(&[1, 300]); 3]).unwrap();
    assert_ne!(layout.id(), other.id());
    let mut body = layout.encode();
    body.truncate(body.len() - 8);
    (body[1], body[2]) = (6, 5);
    let child = Layout::decode(&sealed(body.clone())).unwrap();
    assert_eq!((child.id().version, child.parent()), (6, LayoutId { version: 5, hash: 0 }));
    body[3] = 1;
    let sibling = Layout::decode(&sealed(body)).unwrap();
    assert_ne!(sibling.id().hash, child.id().hash);
    assert!(layout.id() < child.id().max(sibling.id()));
}
