//! Single plans, checked by hand, and the cases in which others' planners went wrong.

use std::cmp::Ordering;

use proptest::prelude::*;

use super::super::{nodes, small};
use super::*;
use crate::ids::LayoutId;
use crate::ring::placing::{NOBODY, Placing, Task};
use crate::ring::shares::bounds;

/// A layout as a host wants it, all members in zone 0.
fn made_by_hand(n: u8, members: &[u64], owners: &[&[u64]]) -> Layout {
    let members = members.iter().copied().map(member).collect();
    Layout::from_owners(n, members, owners.iter().map(|owners| nodes(owners)).collect()).unwrap()
}

/// Plans, and checks all that plans promise.
fn planned(current: &Layout, change: &Change) -> Plan {
    let plan = plan_change(current, change).unwrap();
    check(current, change, &plan);
    assert_eq!(plan.moves.len(), least::fewest_moves(current, &plan));
    assert_eq!(plan.check(current, change), Ok(()));
    plan
}

fn sets(layout: &Layout) -> Vec<Vec<u64>> {
    let set = |p| {
        let mut set: Vec<u64> = layout.owners(p).iter().map(|node| node.0).collect();
        set.sort_unstable();
        set
    };
    all(layout).map(set).collect()
}

/// Partition, instead of whom, from whom, to whom.
fn moves(plan: &Plan) -> Vec<(u32, u64, Option<u64>, u64)> {
    let of = |item: &Move| (item.partition.0, item.instead_of.0, item.from.map(|node| node.0), item.to.0);
    plan.moves.iter().map(of).collect()
}

fn shares(plan: &Plan) -> Vec<(u64, u32, u32)> {
    plan.shares.iter().map(|share| (share.node.0, share.before, share.after)).collect()
}

// ---- by hand ----

#[test]
fn what_a_leaver_had_goes_where_it_can() {
    let current = made_by_hand(2, &[1, 2, 3, 4], &[&[1, 2], &[2, 3], &[3, 4], &[4, 1]]);
    let plan = planned(&current, &Change::of(&current).leave(NodeId(4)));
    // Eight copies on three members: 3, 3 and 2. p3 has 1 already, so that 2 takes it, and 1 takes p2.
    assert_eq!(sets(&plan.layout), [[1, 2], [2, 3], [1, 3], [1, 2]]);
    assert_eq!(moves(&plan), [(2, 4, Some(4), 1), (3, 4, Some(4), 2)]);
    assert_eq!(shares(&plan), [(1, 2, 3), (2, 2, 3), (3, 2, 2), (4, 2, 0)]);
    assert_eq!(plan.overhead, None, "nobody gains and loses");
    assert_eq!((plan.before.efficiency(), plan.after.efficiency()), (1.0, 8.0 / 3.0 / 3.0));
    assert_eq!((plan.after.share, plan.after.busiest), (3, NodeId(1)));
}

#[test]
fn a_joiner_gets_a_share_that_is_rounded_to_move_less() {
    let current = made_by_hand(1, &[1, 2, 3, 4], &[&[1], &[2], &[3], &[4], &[1], &[2], &[3], &[4]]);
    let plan = planned(&current, &Change::of(&current).join(member(5)));
    // 1.6 each: three of five get 2, and those are three of the four who have 2.
    assert_eq!(plan.moves.len(), 1);
    assert_eq!(plan.shares.iter().map(|share| share.after).sum::<u32>(), 8);
    assert_eq!(plan.shares.last().map(|share| (share.before, share.after)), Some((0, 1)));
}

#[test]
fn a_new_zone_takes_a_copy_of_everything() {
    let current = made_by_hand(2, &[1, 2], &[&[1, 2], &[2, 1], &[1, 2], &[2, 1]]);
    let change = Change::of(&current).join(member(3).zone(ZoneId(1))).join(member(4).zone(ZoneId(1)));
    let plan = planned(&current, &change);
    assert_eq!(plan.warnings, []);
    assert_eq!(shares(&plan), [(1, 4, 2), (2, 4, 2), (3, 0, 2), (4, 0, 2)]);
    assert_eq!(plan.moves.len(), 4);
    assert!(plan.moves.iter().all(|item| item.to >= NodeId(3) && item.from == Some(item.instead_of)));
}

#[test]
fn zones_that_change_drive_copies_out() {
    // 1 and 2 together own p0 and p1; now they stand in one zone.
    let owners: &[&[u64]] = &[&[1, 2], &[2, 1], &[3, 4], &[4, 3]];
    let members = [1, 2, 3, 4].map(|node| member(node).zone(ZoneId(node as u32)));
    let current =
        Layout::from_owners(2, members.to_vec(), owners.iter().map(|owners| nodes(owners)).collect()).unwrap();
    let change = Change::of(&current).adjust(member(2).zone(ZoneId(1)));
    let plan = planned(&current, &change);
    // p0 and p1 give up a copy each, and so do p2 and p3, whose owners take those.
    assert_eq!(plan.moves.len(), 4);
    assert!(sets(&plan.layout).iter().all(|set| set[0] <= 2 && set[1] >= 3));
}

#[test]
fn a_weight_that_grows_takes_and_one_that_shrinks_gives() {
    let current = plan_first(&even(6, 1), 3, 120).unwrap().layout;
    let [a, b] = [NodeId(100), NodeId(103)];
    let change = Change::of(&current).adjust(Member::new(a).weight(2));
    let plan = planned(&current, &change);
    // 360 copies, 7 units of weight: 102.86 of two, 51.43 of one.
    assert!(plan.moves.iter().all(|item| item.to == a) && (42..=43).contains(&plan.moves.len()));
    let change = Change::of(&plan.layout).adjust(Member::new(a)).adjust(Member::new(b).weight(2));
    let plan = planned(&plan.layout, &change);
    assert!(plan.moves.iter().all(|item| (item.instead_of, item.to) == (a, b) || item.to == b || item.instead_of == a));
}

/// Whoever makes the partition's owners a set that another partition has, is preferred where the spread is the same.
#[test]
fn ties_make_no_new_set_of_owners() {
    let (zone_of, shares, before) = ([0; 6], [2; 6], [NOBODY; 12]);
    let bounds = bounds(&[6], 3);
    let task = Task { zone_of: &zone_of, bounds: &bounds, shares: &shares, n: 3, before: &before };
    // Both ways, as one of them would be right by chance.
    for (a, b) in [(2, 3), (3, 2)] {
        let mut placing = Placing::new(&task);
        // The first partition has room for a, who is with 0 and 1 in the second, or b, who is with each of them in one.
        let others = [(0, 0), (1, 1), (3, 0), (4, 1), (5, a), (6, 0), (7, b), (8, 4), (9, 1), (10, b), (11, 5)];
        others.into_iter().for_each(|(place, owner)| placing.put(place, owner));
        assert_eq!(placing.cost(2, a), placing.cost(2, b));
        assert_eq!(placing.break_tie((2, a), (2, b)), Ordering::Less);
        assert_eq!(placing.break_tie((2, b), (2, a)), Ordering::Greater);
    }
}

#[test]
fn what_leaves_little_choice_is_placed() {
    for (owners, wanted) in [
        ([2, 4, 1], [(1, 0, 1), (5, 2, 2), (6, 0, 2), (7, 0, 2)]),
        ([1, 3, 0], [(0, 1, 1), (2, 2, 1), (4, 1, 550_385_534), (7, 0, 1)]),
    ] {
        let current = made_by_hand(3, &[0, 1, 2, 3, 4], &[&owners]);
        let wanted = wanted.map(|(node, zone, weight)| member(node).zone(ZoneId(zone)).weight(weight));
        planned(&current, &Change::to(wanted.to_vec()));
    }
}

// ---- replacement ----

#[test]
fn a_replacement_stands_where_the_old_one_stood() {
    for zones in [1, 3, 4] {
        let current = plan_first(&even(13, zones), 3, 64).unwrap().layout;
        let old = current.members()[5];
        let new = Member { node: NodeId(7), ..old };
        let change = Change::of(&current).replace(old.node, new);
        let plan = planned(&current, &change);
        for p in all(&current) {
            let renamed = current.owners(p).iter().map(|&node| if node == old.node { new.node } else { node });
            assert!(plan.layout.owners(p).iter().copied().eq(renamed), "{p}");
        }
        assert!(plan.moves.iter().all(|item| (item.from, item.to) == (Some(old.node), new.node)));
        assert_eq!((plan.reordered, plan.may_supersede()), (0, true));
        assert_eq!(plan.left_alone, []);
    }
}

#[test]
fn a_replacement_leaves_alone_what_a_host_made_uneven() {
    let members = [1, 2, 3, 4].map(|node| member(node).zone(ZoneId(node as u32 / 3)));
    let owners = vec![nodes(&[1, 2]), nodes(&[1, 3]), nodes(&[1, 4])];
    let current = Layout::from_owners(2, members.to_vec(), owners).unwrap();
    let change = Change::of(&current).replace(NodeId(2), member(5));
    let plan = plan_change(&current, &change).unwrap();
    assert_eq!(moves(&plan), [(0, 2, Some(2), 5)]);
    assert_eq!(
        plan.left_alone,
        [
            LeftAlone::UnevenShare { node: NodeId(1), share: 3, fair: 2 },
            LeftAlone::UnevenShare { node: NodeId(3), share: 1, fair: 2 },
            LeftAlone::ZoneRule { partition: PartitionId(0), zone: ZoneId(0), copies: 2 },
        ]
    );
    // As soon as anything else is asked for, all is put right.
    planned(&current, &change.join(member(6)));
    let plan = planned(&current, &Change::of(&current));
    assert!(!plan.moves.is_empty() && !plan.is_empty() && !plan.may_supersede());
}

#[test]
fn a_larger_replacement_keeps_what_the_old_one_had_and_gets_more() {
    let current = plan_first(&even(9, 3), 3, 96).unwrap().layout;
    let (old, new) = (current.members()[4], NodeId(500));
    let change = Change::of(&current).replace(old.node, Member { node: new, weight: 2, ..old });
    let plan = planned(&current, &change);
    let inherited = plan.moves.iter().filter(|item| item.instead_of == old.node).count();
    assert_eq!(inherited, 32);
    assert!(plan.moves.iter().all(|item| item.to == new));
}

#[test]
fn replaced_and_joined_and_left_in_one_plan() {
    let current = plan_first(&even(12, 3), 3, 256).unwrap().layout;
    let of = |at: usize| current.members()[at];
    let change = Change::of(&current)
        .replace(of(0).node, Member { node: NodeId(1), ..of(0) })
        .replace(of(4).node, Member { node: NodeId(2), ..of(4) })
        .join(member(3).zone(ZoneId(2)))
        .join(member(4).zone(ZoneId(2)))
        .leave(of(7).node);
    let plan = planned(&current, &change);
    for (old, new) in [(of(0).node, NodeId(1)), (of(4).node, NodeId(2))] {
        let inherited = all(&current).filter(|&p| current.owns(old, p) && plan.layout.owns(new, p)).count();
        let share = plan.shares.iter().find(|share| share.node == new).unwrap().after;
        assert_eq!(inherited as u32, share.min(64));
    }
}

// ---- gone ----

#[test]
fn what_gone_members_held_is_read_from_others() {
    let current = plan_first(&even(5, 1), 3, 40).unwrap().layout;
    let [a, b, c] = [100, 101, 102].map(NodeId);
    let plan = planned(&current, &Change::of(&current).gone(a));
    assert_eq!((plan.gone.as_slice(), plan.possible_loss.as_slice()), ([a].as_slice(), [].as_slice()));
    assert_eq!(plan.moves.len(), 24);
    let read = |node: u64| plan.moves.iter().filter(|item| item.from == Some(NodeId(node))).count();
    assert!((101..=104).all(|node| (5..=7).contains(&read(node))), "those who are read from share that");

    let change = Change::of(&current).gone(a).gone(b).join(member(1)).join(member(2));
    let plan = planned(&current, &change);
    let left = |p| current.owners(p).iter().filter(|&&node| node != a && node != b).count();
    let expected: Vec<Loss> = all(&current)
        .filter(|&p| left(p) < 2)
        .map(|partition| Loss { partition, owners_left: left(partition) as u8 })
        .collect();
    assert!(!expected.is_empty() && plan.possible_loss == expected);

    let change = Change::of(&current).gone(a).gone(b).gone(c).join(member(1)).join(member(2));
    let plan = planned(&current, &change);
    let none_left: Vec<PartitionId> = plan.moves.iter().filter(|i| i.from.is_none()).map(|i| i.partition).collect();
    let lost = plan.possible_loss.iter().filter(|loss| loss.owners_left == 0).map(|loss| loss.partition);
    assert!(!none_left.is_empty());
    assert_eq!(none_left.into_iter().collect::<BTreeSet<_>>(), lost.collect());
    assert!(plan.may_supersede());
}

#[test]
fn a_gone_member_that_is_replaced_is_not_read_from() {
    let current = plan_first(&even(6, 3), 3, 60).unwrap().layout;
    let old = current.members()[2];
    let new = Member { node: NodeId(9), ..old };
    let plan = planned(&current, &Change::of(&current).replace(old.node, new).gone(old.node));
    assert_eq!(plan.moves.len(), 30);
    assert!(plan.moves.iter().all(|item| item.to == new.node && item.from.is_some_and(|from| from != old.node)));
}

// ---- sizes ----

#[test]
fn sizes_are_shown_and_change_nothing() {
    let current = made_by_hand(2, &[1, 2, 3, 4], &[&[1, 2], &[2, 3], &[3, 4], &[4, 1]]);
    let change = Change::of(&current).leave(NodeId(4));
    let plan = planned(&current, &change);
    assert_eq!((plan.bytes, plan.moves[0].bytes), (None, None));
    let sized = plan.clone().sized(&[1, 10, 100, 1000]);
    assert_eq!((sized.bytes, sized.moves[0].bytes, sized.moves[1].bytes), (Some(1100), Some(100), Some(1000)));
    assert_eq!((sized.id(), sized.check(&current, &change)), (plan.id(), Ok(())));
    assert_eq!(plan.sized(&[u64::MAX; 4]).bytes, Some(u64::MAX));

    let members = [1, 2, 3, 4].map(|node| member(node).zone(ZoneId(node as u32)));
    let owners = vec![nodes(&[1, 2]), nodes(&[2, 1]), nodes(&[3, 4]), nodes(&[4, 3])];
    let current = Layout::from_owners(2, members.to_vec(), owners).unwrap();
    let change = Change::of(&current).adjust(member(2).zone(ZoneId(1)));
    let plan = planned(&current, &change).sized(&[5, 7, 11, 13]);
    let side = |node: NodeId, gains: bool| -> (u64, u32) {
        let of = plan.moves.iter().filter(|item| if gains { item.to == node } else { item.instead_of == node });
        of.fold((0, 0), |(bytes, copies), item| (bytes + item.bytes.unwrap(), copies + 1))
    };
    // While a member holds both what it gives and what it takes, it holds the smaller of the two more than it must.
    let both = plan.shares.iter().map(|share| (side(share.node, true), side(share.node, false)));
    let worst = both.map(|(gains, loses)| (gains.0.min(loses.0), gains.1.min(loses.1))).max().unwrap();
    assert!(worst.0 > 0);
    assert_eq!(plan.overhead.map(|overhead| (overhead.bytes, overhead.copies)), Some((Some(worst.0), worst.1)));
}

// ---- what is refused, and what is stale ----

#[test]
fn plan_change_refuses_what_cannot_be() {
    let current = plan_first(&even(4, 1), 3, 8).unwrap().layout;
    let refused = |change: Change| plan_change(&current, &change).unwrap_err();
    let of = || Change::of(&current);
    let [a, b] = [NodeId(100), NodeId(101)];
    assert_eq!(refused(of().leave(a).leave(b)), PlanError::TooFewMembers { members: 2, n: 3 });
    assert_eq!(refused(of().copies(2)), PlanError::CopiesAreFixed { n: 3, asked: 2 });
    assert_eq!(refused(of().partitions(16)), PlanError::PartitionsAreFixed { partitions: 8, asked: 16 });
    assert!(plan_change(&current, &of().copies(3).partitions(8)).is_ok());
    let unknown = PlanError::NotAMember { node: NodeId(9) };
    for change in
        [of().leave(NodeId(9)), of().adjust(member(9)), of().gone(NodeId(9)), of().replace(NodeId(9), member(8))]
    {
        assert_eq!(refused(change), unknown);
    }
    assert_eq!(refused(of().join(Member::new(a))), LayoutError::DuplicateMember { node: a }.into());
    assert_eq!(refused(of().adjust(Member::new(a).weight(0))), LayoutError::ZeroWeight { node: a }.into());
    assert_eq!(refused(of().gone(a).join(Member::new(a))), PlanError::StillWanted { node: a });
    let replace = |old, new| of().replace(old, member(new));
    assert_eq!(refused(replace(a, 9).join(Member::new(a))), PlanError::StillWanted { node: a });
    assert_eq!(refused(of().leave(b).replace(a, Member::new(b))), PlanError::ReplacementIsMember { node: b });
    assert_eq!(refused(replace(a, 9).replace(b, member(9))), LayoutError::DuplicateMember { node: NodeId(9) }.into());
    assert_eq!(refused(replace(a, 9).replace(a, member(8))), PlanError::RepeatedReplacement { node: a });
    assert_eq!(refused(replace(a, 9).leave(NodeId(9))), unknown, "whoever replaces a member stays");
}

#[test]
fn a_plan_is_committed_as_it_was_shown_or_not_at_all() {
    let current = plan_first(&even(6, 2), 3, 32).unwrap().layout;
    let change = Change::of(&current).join(member(1)).leave(NodeId(100));
    let plan = planned(&current, &change);
    assert_eq!(plan.check(&current, &Change::of(&current).leave(NodeId(100)).join(member(1))), Ok(()), "the same wish");
    assert_eq!(plan.check(&current, &Change::to(plan.layout.members().to_vec())), Ok(()), "and again");
    assert_eq!(plan.check(&current, &Change::of(&current).join(member(1))), Err(Stale::OtherChange));
    let next = plan_change(&current, &Change::of(&current).join(member(2))).unwrap().layout;
    let stale = Stale::OtherLayout { planned: current.id(), current: next.id() };
    assert_eq!(plan.check(&next, &change), Err(stale));
    let mut altered = plan.clone();
    altered.layout = next.clone();
    assert_eq!(altered.check(&current, &change), Err(Stale::OtherPlan { planned: next.id(), now: plan.id() }));

    let idle = plan_change(&plan.layout, &Change::of(&plan.layout)).unwrap();
    assert!(idle.is_empty() && !plan.is_empty());
    assert_eq!(idle.layout.id().version, 3);
}

#[test]
fn the_last_version_has_no_successor() {
    let mut body = small().encode();
    body.truncate(body.len() - 8);
    let rest = body.split_off(2);
    body.truncate(1);
    body.extend([0xff; 9]);
    body.push(1);
    body.extend(rest);
    let last = Layout::decode(&super::super::sealed(body)).unwrap();
    assert_eq!(last.id().version, u64::MAX);
    assert_eq!(plan_change(&last, &Change::of(&last)), Err(PlanError::LastVersion));
}

#[test]
fn a_losers_changes_are_brought_into_the_next() {
    let parent = plan_first(&even(5, 1), 3, 32).unwrap().layout;
    let [a, b, c] = [100, 101, 102].map(NodeId);
    let next = |change: Change| plan_change(&parent, &change).unwrap().layout;
    let of = || Change::of(&parent);
    let winner = next(of().join(member(1)).leave(a).adjust(Member::new(b).weight(2)));
    let loser = next(of().join(member(2)).leave(b).adjust(Member::new(c).weight(3)));
    let plan = planned(&winner, &Change::absorbing(&winner, &parent, &loser));
    let members: Vec<(u64, u32)> = plan.layout.members().iter().map(|member| (member.node.0, member.weight)).collect();
    assert_eq!(members, [(1, 1), (2, 1), (101, 2), (102, 3), (103, 1), (104, 1)]);
}

// ---- Riak ----

/// Of how many partitions each member is the first owner: what Riak's ring counts.
fn first_places(plan: &Plan) -> Vec<u32> {
    plan.shares.iter().filter(|share| share.after > 0).map(|share| share.first).collect()
}

/// riak #348: of 64 partitions on four nodes a fifth left one node a quarter.
#[test]
fn riak_348_a_fifth_node_takes_from_all_four() {
    let current = plan_first(&even(4, 1), 3, 64).unwrap().layout;
    let plan = planned(&current, &Change::of(&current).join(member(1)));
    assert_eq!(plan.moves.len(), 38, "192 copies on five: 38.4");
    assert!(plan.moves.iter().all(|item| item.to == NodeId(1)));
    assert!(plan.shares.iter().all(|share| (38..=39).contains(&share.after)), "{:?}", plan.shares);
    assert!(first_places(&plan).iter().all(|first| (12..=13).contains(first)), "{:?}", first_places(&plan));
}

/// `riak_core` #913: [8, 8, 8, 8] became [6, 6, 6, 8, 6]; and 16 partitions on five nodes had lists such as [5, 1, 1],
/// where the ring closes.
#[test]
fn riak_core_913_neither_uneven_nor_a_node_twice() {
    let current = plan_first(&even(4, 1), 3, 32).unwrap().layout;
    let plan = planned(&current, &Change::of(&current).join(member(1)));
    assert!(first_places(&plan).iter().all(|first| (6..=7).contains(first)), "{:?}", first_places(&plan));
    assert!(plan.shares.iter().all(|share| (19..=20).contains(&share.after)));
    for from in 1..5 {
        let mut current = plan_first(&even(from, 1), from.min(3) as u8, 16).unwrap().layout;
        for node in from..8 {
            current = planned(&current, &Change::of(&current).join(member(node))).layout;
        }
    }
}

/// `riak_core` #908: tests joined nodes one by one and were green for years, while those who ran it joined several.
#[test]
fn riak_core_908_several_join_and_leave_at_a_time() {
    for q in [16, 64, 128] {
        for count in 3..8 {
            let current = plan_first(&even(count, 1), 3, q).unwrap().layout;
            for joining in 1..=9 {
                let join = (0..joining).fold(Change::of(&current), |change, node| change.join(member(node)));
                let plan = planned(&current, &join);
                assert!(plan.moves.iter().all(|item| item.to.0 < joining), "only the new ones get anything");
                let back = (0..joining).fold(Change::of(&plan.layout), |change, node| change.leave(NodeId(node)));
                let plan = planned(&plan.layout, &back);
                assert!(plan.moves.iter().all(|item| item.instead_of.0 < joining), "only what they had moves");
                // Some leave as others join.
                let leaving = count.min(joining);
                let turn = (0..leaving).fold(join, |change, node| change.leave(NodeId(100 + node)));
                if count + joining - leaving >= 3 {
                    planned(&current, &turn);
                }
            }
        }
    }
}

// ---- the same everywhere ----

/// A plan is the same on every machine. These may change with the planner, and only with it.
#[test]
fn golden_changes() {
    let even_first = plan_first(&even(12, 3), 3, 100).unwrap().layout;
    let weighted: Vec<_> = (0..).zip(even(20, 5)).map(|(i, member)| member.weight(1 + i % 4)).collect();
    let weighted_first = plan_first(&weighted, 3, 77).unwrap().layout;
    let wide = plan_first(&even(1500, 4), 3, 2000).unwrap().layout;
    let plans: [(&Layout, Change); 5] = [
        (&even_first, Change::of(&even_first).join(member(7)).join(member(8).zone(ZoneId(1)))),
        (&even_first, Change::of(&even_first).leave(NodeId(103)).adjust(member(104).weight(3))),
        (&weighted_first, Change::of(&weighted_first).gone(NodeId(105)).adjust(member(111).zone(ZoneId(9)))),
        (&weighted_first, Change::to(even(15, 2))),
        // More pairs than are counted one by one.
        (&wide, Change::of(&wide).leave(NodeId(100)).join(member(1)).join(member(2))),
    ];
    let hash = |(layout, change): (&Layout, Change)| plan_change(layout, &change).unwrap().id();
    let version = |hash| LayoutId { version: 2, hash };
    assert_eq!(plans.map(hash), GOLDEN_CHANGES.map(version));
}
const GOLDEN_CHANGES: [u64; 5] =
    [0xee8b_a449_f72b_c464, 0xf22e_90a1_9d3a_8ecc, 0xec7a_9c2d_f14d_4a80, 0xf4e5_e221_a76a_298b, 0x7dfe_fdfc_03b8_0214];

proptest! {
    #[test]
    fn from_anything_to_anything(
        zones in prop::collection::vec(0_u32..4, 5..12),
        seeds in prop::collection::vec(any::<prop::sample::Index>(), 1..30),
        wanted in prop::collection::btree_map(0_u64..16, (0_u32..5, prop_oneof![1_u32..5, 1_u32..=u32::MAX]), 3..12),
    ) {
        let members: Vec<_> = (0..).zip(&zones).map(|(node, &zone)| member(node).zone(ZoneId(zone))).collect();
        let owners = seeds.iter().map(|seed| (0..3).map(|i| NodeId((seed.index(zones.len()) + i * 2) as u64 % zones.len() as u64)).collect());
        let current = Layout::from_owners(3, members, owners.collect()).unwrap();
        let wanted = wanted.iter().map(|(&node, &(zone, weight))| member(node).zone(ZoneId(zone)).weight(weight));
        let change = Change::to(wanted.collect());
        let plan = plan_change(&current, &change).unwrap();
        check(&current, &change, &plan);
        let fewest = least::fewest_moves(&current, &plan);
        prop_assert!(plan.moves.len() <= fewest + 1 + fewest / 20, "{} moves, {fewest} would do", plan.moves.len());
    }
}
