//! Tests of what plans say of stores: members that get others, owners that are gone, and the ballots of partitions.

use super::super::{nodes, small};
use super::*;
use crate::ids::{LayoutId, StoreId};

const STORE: StoreId = StoreId(77);

/// Plans, and checks all that plans promise whatever shares and zones a host has chosen.
fn planned(current: &Layout, change: &Change) -> Plan {
    let plan = plan_change(current, change).unwrap();
    check_description(current, change, &plan);
    assert_eq!(plan.check(current, change), Ok(()));
    plan
}

fn uneven() -> Layout {
    let members = [1, 2, 3, 4].map(|node| member(node).zone(ZoneId(node as u32 / 3)));
    Layout::from_owners(2, members.to_vec(), vec![nodes(&[1, 2]), nodes(&[1, 3]), nodes(&[4, 1])]).unwrap()
}

// ---- another store ----

#[test]
fn a_renewed_member_is_filled_again_and_nothing_else_moves() {
    for current in [plan_first(&even(13, 3), 3, 64).unwrap().layout, uneven(), small()] {
        for at in 0..current.members().len() {
            let old = current.members()[at];
            let change = Change::of(&current).renew(old.node, STORE);
            let plan = planned(&current, &change);
            assert_eq!(plan.layout.members()[at], old.store(STORE));
            assert!(all(&current).all(|p| plan.layout.owners(p) == current.owners(p)));
            let moved: Vec<PartitionId> = plan.moves.iter().map(|item| item.partition).collect();
            assert_eq!(moved, all(&current).filter(|&p| current.owns(old.node, p)).collect::<Vec<_>>());
            let is_filled = |item: &Move| (item.instead_of, item.to) == (old.node, old.node);
            assert!(plan.moves.iter().all(|item| is_filled(item) && item.from.is_some_and(|from| from != old.node)));
            assert_eq!((plan.renewed.as_slice(), plan.reordered, plan.overhead), ([old.node].as_slice(), 0, None));
            assert!(!plan.is_empty() && plan.may_supersede());
            for p in all(&current) {
                let ballot = if current.owns(old.node, p) { plan.layout.id() } else { current.id() };
                assert_eq!(plan.layout.ballot(p), ballot);
            }
            let adjusted = Change::of(&current).adjust(old.store(STORE));
            assert_eq!(plan.check(&current, &adjusted), Ok(()), "the same wish");
            let other = Change::of(&current).renew(old.node, StoreId(78));
            assert_eq!(plan.check(&current, &other), Err(Stale::OtherChange));
            assert_ne!(plan_change(&current, &other).unwrap().id(), plan.id());
            // It has that store already.
            let again = plan_change(&plan.layout, &Change::of(&plan.layout).renew(old.node, STORE)).unwrap();
            assert!(again.renewed.is_empty() && again.moves.iter().all(|item| item.to != item.instead_of));
        }
    }
}

#[test]
fn a_renewed_member_reads_from_all_others_alike() {
    let current = plan_first(&even(7, 1), 3, 140).unwrap().layout;
    let plan = planned(&current, &Change::of(&current).renew(NodeId(103), STORE)).sized(&[10; 140]);
    assert_eq!((plan.moves.len(), plan.bytes), (60, Some(600)));
    for node in [100, 101, 102, 104, 105, 106].map(NodeId) {
        let read = plan.moves.iter().filter(|item| item.from == Some(node)).count();
        assert!((9..=11).contains(&read), "{read} from {node}");
    }
}

#[test]
fn a_renewed_member_takes_and_gives_as_any_other() {
    let current = plan_first(&even(9, 3), 3, 96).unwrap().layout;
    let [a, b] = [current.members()[0], current.members()[4]];
    for change in [
        Change::of(&current).renew(a.node, STORE).join(member(1)).join(member(2).zone(ZoneId(1))),
        Change::of(&current).renew(a.node, STORE).leave(b.node),
        Change::of(&current).adjust(a.store(STORE).weight(3)),
        Change::of(&current).adjust(a.store(STORE).zone(ZoneId(1))),
        Change::of(&current).renew(a.node, STORE).replace(b.node, Member { node: NodeId(1), ..b }),
        Change::of(&current).renew(a.node, STORE).renew(b.node, StoreId(78)).join(member(1)),
    ] {
        let plan = planned(&current, &change);
        check(&current, &change, &plan);
        let filled = plan.moves.iter().filter(|item| item.instead_of == item.to).count();
        let kept = |&p: &PartitionId| -> usize {
            plan.renewed.iter().filter(|&&node| current.owns(node, p) && plan.layout.owns(node, p)).count()
        };
        assert_eq!(filled, all(&current).map(|p| kept(&p)).sum::<usize>());
        assert_eq!(plan.moves.len() - filled, least::fewest_moves(&current, &plan));
    }
}

#[test]
fn what_only_renewed_members_held_is_lost() {
    let current = plan_first(&even(5, 1), 3, 40).unwrap().layout;
    let [a, b, c] = [100, 101, 102].map(NodeId);
    let one = planned(&current, &Change::of(&current).renew(a, STORE));
    assert_eq!((one.possible_loss.as_slice(), one.gone.as_slice()), ([].as_slice(), [].as_slice()));
    // With another one gone, whose partitions go to others.
    let plan = planned(&current, &Change::of(&current).renew(a, STORE).gone(b));
    let both = |p| current.owns(a, p) && current.owns(b, p);
    let expected: Vec<Loss> =
        all(&current).filter(|&p| both(p)).map(|partition| Loss { partition, owners_left: 1 }).collect();
    assert!(!expected.is_empty() && plan.possible_loss == expected);
    let all_three = Change::of(&current).renew(a, STORE).renew(b, StoreId(78)).renew(c, StoreId(79));
    let plan = planned(&current, &all_three);
    assert!(plan.moves.iter().any(|item| item.from.is_none()));
    assert!(plan.possible_loss.iter().any(|loss| loss.owners_left == 0));

    let alone = Layout::from_owners(1, vec![member(1)], vec![nodes(&[1]); 2]).unwrap();
    let plan = planned(&alone, &Change::of(&alone).renew(NodeId(1), STORE));
    assert_eq!(plan.moves.iter().map(|item| item.from).collect::<Vec<_>>(), [None, None]);
    assert_eq!(plan.possible_loss.len(), 2);
}

/// An operator's list of members names no stores; it must not turn a node's store into one that was thrown away.
#[test]
fn a_member_given_without_a_store_keeps_the_one_that_it_has() {
    let first = plan_first(&even(6, 2), 3, 32).unwrap().layout;
    let old = first.members()[2];
    let current = plan_change(&first, &Change::of(&first).renew(old.node, STORE)).unwrap().layout;
    let idle = planned(&current, &Change::to(even(6, 2)));
    assert!(idle.is_empty() && idle.layout.members() == current.members());
    let plan = planned(&current, &Change::of(&current).adjust(old.weight(3)));
    assert_eq!(plan.layout.members()[2], old.weight(3).store(STORE));
    assert!(plan.renewed.is_empty() && plan.moves.iter().all(|item| item.to == old.node));
    // A new node has a store of its own, even where nothing else changes.
    let new = Member { node: NodeId(7), ..old };
    let plan = planned(&current, &Change::of(&current).replace(old.node, new));
    assert_eq!((plan.layout.members()[0], plan.reordered), (new, 0));
    assert!(
        plan.moves.iter().all(|item| (item.instead_of, item.from, item.to) == (old.node, Some(old.node), new.node))
    );
}

// ---- gone ----

#[test]
fn who_is_gone_stays_gone() {
    let current = plan_first(&even(6, 2), 3, 32).unwrap().layout;
    let [a, b] = [NodeId(100), NodeId(101)];
    let refused = |layout: &Layout, change: Change| plan_change(layout, &change).unwrap_err();
    let first = planned(&current, &Change::of(&current).gone(a)).layout;
    assert_eq!((current.gone(), first.gone()), ([].as_slice(), [(a, None)].as_slice()));
    let gone = PlanError::Layout(LayoutError::Gone { node: a });
    assert_eq!(refused(&first, Change::of(&first).join(Member::new(a))), gone);
    assert_eq!(refused(&first, Change::of(&first).replace(b, Member::new(a))), gone);
    // It comes back with another store, and may lose that too.
    let back = planned(&first, &Change::of(&first).join(Member::new(a).store(STORE))).layout;
    assert_eq!(back.gone(), first.gone());
    let again = planned(&back, &Change::of(&back).gone(a).renew(b, StoreId(78))).layout;
    assert_eq!(again.gone(), [(a, None), (a, Some(STORE)), (b, None)]);
    assert!(again.is_gone(a, Some(STORE)) && again.is_gone(b, None) && !again.is_gone(b, Some(StoreId(78))));
    assert_eq!(refused(&again, Change::of(&again).join(Member::new(a).store(STORE))), gone);
}

#[test]
fn a_node_may_be_gone_with_one_store_and_stay_with_another() {
    let current = plan_first(&even(6, 2), 3, 32).unwrap().layout;
    let a = current.members()[0];
    let change = Change::of(&current).gone(a.node).join(a.store(STORE));
    let plan = planned(&current, &change);
    assert!(all(&current).all(|p| plan.layout.owners(p) == current.owners(p)));
    assert_eq!((plan.gone.as_slice(), plan.renewed.as_slice()), ([].as_slice(), [a.node].as_slice()));
    assert_eq!(plan.layout.gone(), [(a.node, None)]);
    let renewed = planned(&current, &Change::of(&current).renew(a.node, STORE));
    assert_eq!((&plan.moves, plan.id()), (&renewed.moves, renewed.id()));
    assert_eq!(renewed.check(&current, &change), Ok(()), "both say the same");
    let refused = |change: Change| plan_change(&current, &change).unwrap_err();
    assert_eq!(refused(Change::of(&current).gone(a.node).join(a)), PlanError::StillWanted { node: a.node });
    let elsewhere = Change::of(&current).replace(a.node, member(1)).join(a.store(STORE));
    assert_eq!(refused(elsewhere), PlanError::StillWanted { node: a.node });
}

#[test]
fn who_is_not_there_is_not_renewed() {
    let current = plan_first(&even(5, 2), 3, 32).unwrap().layout;
    let refused = |change: Change| plan_change(&current, &change).unwrap_err();
    let (a, unknown) = (NodeId(100), NodeId(9));
    assert_eq!(refused(Change::of(&current).renew(unknown, STORE)), PlanError::NotAMember { node: unknown });
    let joining = Change::of(&current).join(Member::new(unknown)).renew(unknown, STORE);
    assert_eq!(refused(joining), PlanError::NotAMember { node: unknown });
    assert_eq!(refused(Change::of(&current).leave(a).renew(a, STORE)), PlanError::NotAMember { node: a });
    assert!(plan_change(&current, &Change::of(&current).renew(a, STORE).leave(a)).is_ok());
}

#[test]
fn a_losers_stores_and_gone_owners_are_brought_into_the_next() {
    let parent = plan_first(&even(7, 1), 3, 32).unwrap().layout;
    let [a, b, c, d] = [100, 101, 102, 103].map(NodeId);
    let next = |change: Change| plan_change(&parent, &change).unwrap().layout;
    let of = || Change::of(&parent);
    let winner = next(of().adjust(Member::new(a).weight(2)).leave(b).renew(d, StoreId(78)));
    let loser = next(of().gone(a).gone(b).gone(c).gone(d));
    let plan = planned(&winner, &Change::absorbing(&winner, &parent, &loser));
    // The winner keeps a, and d with another store than the one that is gone.
    assert_eq!(plan.layout.gone(), [(b, None), (c, None), (d, None)]);
    assert!(plan.layout.index_of(a).is_some() && plan.layout.index_of(c).is_none());
    assert_eq!((plan.gone.as_slice(), plan.renewed.as_slice()), ([c].as_slice(), [].as_slice()));
    assert!(plan.moves.iter().all(|item| item.from != Some(c)));

    let loser = next(of().renew(c, STORE).gone(a));
    let winner = next(of().renew(d, StoreId(78)).gone(b));
    let plan = planned(&winner, &Change::absorbing(&winner, &parent, &loser));
    assert_eq!(plan.layout.gone(), [a, b, c, d].map(|node| (node, None)));
    let stores: Vec<_> = plan.layout.members().iter().map(|member| member.store).collect();
    assert_eq!(stores, [Some(STORE), Some(StoreId(78)), None, None, None]);
    assert_eq!(plan.renewed, [c]);
    // If all that is brought in is that somebody is gone who was no member any more, it is still something.
    let (left, lost) = (next(of().leave(a)), next(of().gone(a)));
    let plan = planned(&left, &Change::absorbing(&left, &parent, &lost));
    assert_eq!(plan.layout.gone(), [(a, None)]);
    assert!(!plan.is_empty() && plan.gone.is_empty());
}

/// A change may wait for who was told to leave, and lost its disk on the way: then it is no member any more.
#[test]
fn a_former_member_is_declared_gone_by_its_store() {
    let first = plan_first(&even(6, 2), 3, 32).unwrap().layout;
    let [a, b] = [NodeId(100), NodeId(101)];
    let left = planned(&first, &Change::of(&first).leave(a)).layout;
    assert_eq!(plan_change(&left, &Change::of(&left).gone(a)).unwrap_err(), PlanError::NotAMember { node: a });
    let plan = planned(&left, &Change::of(&left).gone_with(a, None));
    assert_eq!(plan.layout.gone(), [(a, None)]);
    assert!(!plan.is_empty() && plan.may_supersede() && plan.moves.is_empty() && plan.gone.is_empty());
    // Of a member it says that it goes.
    let plan = planned(&left, &Change::of(&left).gone_with(b, None));
    assert_eq!((plan.layout.gone(), plan.gone.as_slice()), ([(b, None)].as_slice(), [b].as_slice()));
    assert!(plan.layout.index_of(b).is_none());
    // With another store than the member has, it says nothing of the member.
    let plan = planned(&left, &Change::of(&left).gone_with(b, Some(STORE)));
    assert!(plan.layout.index_of(b).is_some() && plan.layout.is_gone(b, Some(STORE)));
}

// ---- ballots ----

/// The last of a chain of layouts that changed a partition's owners or their stores.
fn ballot(chain: &[Layout], p: PartitionId) -> LayoutId {
    let owners = |layout: &Layout| -> BTreeSet<(NodeId, Option<StoreId>)> {
        let store = |node| layout.members().iter().find(|member| member.node == node).unwrap().store;
        layout.owners(p).iter().map(|&node| (node, store(node))).collect()
    };
    let changed = chain.windows(2).rposition(|pair| owners(&pair[0]) != owners(&pair[1]));
    chain[changed.map_or(0, |at| at + 1)].id()
}

#[test]
fn ballots_along_chains_of_layouts() {
    let (mut renewed, mut returned, mut by_hand, mut most) = (0, 0, 0, 0);
    for seed in 0..6 {
        let mut drawing = Drawing::new(seed, 3, 3, 16);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1000 + seed);
        let mut chain = vec![plan_first(&even(9, 3), 3, 64).unwrap().layout];
        let mut gone = BTreeSet::new();
        for step in 0..40 {
            let current = chain.last().unwrap();
            let store = StoreId(step);
            let next = if rng.random_range(0..6) == 0 {
                by_hand += 1;
                // Another order of owners, and one that two partitions exchange if they can.
                let mut rows: Vec<Vec<NodeId>> = all(current).map(|p| current.owners(p).to_vec()).collect();
                rows.iter_mut().for_each(|row| row.rotate_left(rng.random_range(0..3)));
                let (a, b) = (rows[step as usize][0], rows[63 - step as usize][0]);
                if !rows[step as usize].contains(&b) && !rows[63 - step as usize].contains(&a) {
                    (rows[step as usize][0], rows[63 - step as usize][0]) = (b, a);
                }
                current.next(current.members().to_vec(), rows).unwrap()
            } else {
                let mut change = drawing.change(current);
                let kept: Vec<NodeId> = change.members().iter().map(|member| member.node).collect();
                let any = kept[rng.random_range(0..kept.len())];
                if rng.random_range(0..2) == 0 && current.index_of(any).is_some() {
                    renewed += 1;
                    change = change.renew(any, store);
                }
                let is_away = |node: &NodeId| !kept.contains(node) && current.index_of(*node).is_none();
                let back = current.gone().iter().map(|owner| owner.0).find(is_away);
                if let Some(node) = back.filter(|_| rng.random_range(0..3) == 0) {
                    returned += 1;
                    change = change.join(Member::new(node).store(store));
                }
                let plan = planned(current, &change);
                let store_of = |node: NodeId| current.members()[current.index_of(node).unwrap()].store;
                gone.extend(plan.gone.iter().chain(&plan.renewed).map(|&node| (node, store_of(node))));
                plan.layout
            };
            assert!(next.gone().iter().eq(&gone), "carried on");
            chain.push(next);
            let last = chain.last().unwrap();
            assert!(all(last).all(|p| last.ballot(p) == ballot(&chain, p)), "seed {seed}, step {step}");
            assert_eq!(Layout::decode(&last.encode()).as_ref(), Ok(last));
            most = most.max(last.earlier().len());
        }
    }
    assert!(renewed > 50 && returned > 10 && by_hand > 20 && most > 8, "{renewed} {returned} {by_hand} {most}");
}
