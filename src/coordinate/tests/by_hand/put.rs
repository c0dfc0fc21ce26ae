//! The coordinator of a put.

use super::*;
use crate::config::{Durability, Mode, Spread};
use crate::coordinate::put::{Order, Outcome, Putting};
use crate::error::{Answer, Refusal};
use crate::message::WriteRule;
use crate::trace::Notes;

const fn rule(w: u8, mode: Mode) -> WriteRule {
    WriteRule { w, mode, spread: Spread::Nodes, durability: Durability::Quorum }
}

const fn write(to: u64) -> Order {
    Order::Write { to: NodeId(to), hint_for: None }
}

const fn hint(to: NodeId, owner: u64) -> Order {
    Order::Write { to, hint_for: Some(NodeId(owner)) }
}

const fn keep(owner: u64) -> Order {
    Order::Keep { owner: NodeId(owner) }
}

const fn done(owners: u8, fallbacks: u8) -> Outcome {
    Outcome::Done { owners, fallbacks, only_here: false }
}

fn evidence(outcome: Option<Outcome>) -> (u8, u8, Vec<(NodeId, Answer)>) {
    let Some(Outcome::Failed(shortfall)) = outcome else { panic!("{outcome:?} is no failure") };
    (shortfall.needed, shortfall.got, shortfall.answers)
}

/// A put, and what it has ordered since it was last looked at.
struct Put {
    world: World,
    machine: Putting,
    orders: Vec<Order>,
}

impl Put {
    fn start(world: World, rule: WriteRule) -> Self {
        Self::start_doubted(world, rule, false)
    }

    fn start_doubted(world: World, rule: WriteRule, doubted: bool) -> Self {
        let mut orders = Vec::new();
        let machine = Putting::start(rule, doubted, PARTITION, world.roster(), START, Notes::default(), &mut orders);
        Self { world, machine, orders }
    }

    fn orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    fn stored(&mut self, name: u64) {
        self.machine.stored(NodeId(name));
    }

    fn refused(&mut self, name: u64) {
        self.refused_with(name, Refusal::Storage);
    }

    fn refused_with(&mut self, name: u64, refusal: Refusal) {
        self.machine.refused(NodeId(name), refusal, self.world.roster(), after(1), &mut self.orders);
    }

    fn late(&mut self, millis: u64) -> Vec<NodeId> {
        self.machine.late(self.world.roster(), after(millis), PATIENCE, &mut self.orders)
    }

    fn outcome(&mut self) -> Option<Outcome> {
        self.machine.outcome(false)
    }

    fn uncovered(&self) -> Vec<NodeId> {
        self.machine.uncovered(self.world.roster())
    }
}

#[test]
fn all_owners_are_asked_at_once_and_w_of_them_are_enough() {
    for mode in [Mode::Sloppy, Mode::Strict] {
        let mut put = Put::start(World::new(1, 6), rule(2, mode));
        assert_eq!(put.orders(), [write(2), write(3)], "this node has it already");
        assert_eq!((put.outcome(), put.machine.is_answered()), (None, false));
        put.stored(1);
        put.stored(1);
        assert_eq!(put.outcome(), None, "one node counts once");
        put.stored(6);
        assert_eq!(put.outcome(), None, "who was not asked does not count");
        put.stored(3);
        assert!(!put.machine.is_answered() && !put.machine.is_over());
        assert_eq!(put.outcome(), Some(done(2, 0)));
        assert!(put.machine.is_answered());
        assert_eq!(put.outcome(), None, "one answer");
        assert!(!put.machine.is_over(), "an owner is still to get it");
        put.stored(2);
        assert!(put.machine.is_over());
        assert_eq!(put.orders(), []);
    }
}

#[test]
fn another_node_keeps_it_for_an_owner_that_is_suspected() {
    let world = World::new(1, 6).suspect(&[3]);
    let stand_in = world.stand_ins()[0];
    let mut put = Put::start(world, rule(2, Mode::Sloppy));
    assert_eq!(put.orders(), [write(2), hint(stand_in, 3)]);
    put.machine.stored(stand_in);
    put.stored(1);
    assert_eq!(put.outcome(), Some(done(1, 1)));
    assert!(!put.machine.is_over());
    put.stored(2);
    assert!(put.machine.is_over(), "a hint is as good as the owner once the client has its answer");
}

#[test]
fn a_hint_does_not_count_where_the_quorum_is_strict() {
    let world = World::new(1, 6).suspect(&[3]);
    let stand_in = world.stand_ins()[0];
    let mut put = Put::start(world, rule(2, Mode::Strict));
    assert_eq!(put.orders(), [write(2), hint(stand_in, 3)], "it is kept all the same");
    put.stored(1);
    put.machine.stored(stand_in);
    assert_eq!(put.outcome(), None);
    put.refused(2);
    let (needed, got, answers) = evidence(put.outcome());
    assert_eq!((needed, got), (2, 1));
    let expected = [
        (node(1), Answer::Done),
        (node(2), Answer::Refused(Refusal::Storage)),
        (node(3), Answer::Suspected),
        (stand_in, Answer::Hinted(node(3))),
    ];
    assert_eq!(answers[..4], expected);
    assert!(put.machine.is_answered());
}

#[test]
fn a_slow_owner_is_asked_and_another_beside_it() {
    let world = World::new(1, 6).takes(2, 60).takes(1, 60);
    let stand_in = world.stand_ins()[0];
    let mut put = Put::start(world, rule(2, Mode::Sloppy));
    assert_eq!(put.orders(), [write(2), write(3), hint(stand_in, 2)]);
}

#[test]
fn suspects_are_asked_where_too_few_others_are_left() {
    let start = |world: World, w, mode| Put::start(world, rule(w, mode)).orders();
    let direct = |orders: Vec<Order>| -> Vec<Order> {
        orders.into_iter().filter(|order| matches!(order, Order::Write { hint_for: None, .. })).collect()
    };
    // Strict: nobody else counts.
    assert_eq!(direct(start(World::new(1, 6).suspect(&[2, 3]), 2, Mode::Strict)), [write(2), write(3)]);
    assert_eq!(direct(start(World::new(1, 6).suspect(&[3]), 2, Mode::Strict)), [write(2)]);
    // Sloppy: only where fallbacks don't make up for them, of which at most one is asked for each owner.
    assert_eq!(direct(start(World::new(1, 6).suspect(&[2, 3]), 3, Mode::Sloppy)), []);
    assert_eq!(direct(start(World::new(1, 4).suspect(&[2, 3]), 2, Mode::Sloppy)), []);
    assert_eq!(direct(start(World::new(1, 4).suspect(&[2, 3]), 3, Mode::Sloppy)), [write(2), write(3)]);
    assert_eq!(direct(start(World::new(1, 3).suspect(&[3]), 2, Mode::Sloppy)), [write(2)]);
    assert_eq!(direct(start(World::new(5, 6).suspect(&[1, 2, 3]), 2, Mode::Sloppy)), []);
    assert_eq!(
        direct(start(World::new(5, 6).suspect(&[1, 2, 3]), 3, Mode::Sloppy)),
        [write(1), write(2), write(3)],
        "two fallbacks"
    );
}

#[test]
fn suspects_of_other_zones_are_asked_where_the_others_stand_in_too_few() {
    let start = |zones: &[u8], suspects: &[u64], w, mode| {
        let zoned = WriteRule { spread: Spread::Zones, ..rule(w, mode) };
        let mut put = Put::start(World::in_zones(1, zones).suspect(suspects), zoned);
        let direct = |order: &Order| matches!(order, Order::Write { hint_for: None, .. });
        put.orders().into_iter().filter(direct).collect::<Vec<_>>()
    };
    // Node 3 alone is in another zone: two healthy owners are one answer.
    assert_eq!(start(&[0, 0, 1, 2], &[3], 2, Mode::Strict), [write(2), write(3)]);
    assert_eq!(start(&[0, 0, 1, 2], &[3], 1, Mode::Strict), [write(2)]);
    assert_eq!(start(&[0, 0, 1, 2], &[3], 2, Mode::Sloppy), [write(2)], "node 4 stands in");
    assert_eq!(start(&[0, 0, 1, 0], &[3], 2, Mode::Sloppy), [write(2), write(3)], "from no new zone");
    assert_eq!(start(&[0, 0, 1, 2, 3], &[3], 3, Mode::Sloppy), [write(2), write(3)], "one stands in, not two");
}

#[test]
fn each_owner_gets_a_stand_in_of_its_own_until_there_are_no_more() {
    let world = World::new(1, 5).suspect(&[2, 3]);
    let stand_ins = world.stand_ins();
    let mut put = Put::start(world, rule(2, Mode::Sloppy));
    assert_eq!(put.orders(), [hint(stand_ins[0], 2), hint(stand_ins[1], 3)]);
    put.refused(stand_ins[0].0);
    assert_eq!(put.orders(), [keep(2)], "nobody else is left");
    put.refused(stand_ins[1].0);
    assert_eq!(put.orders(), [keep(3)]);
    assert_eq!(put.uncovered(), []);
    put.machine.not_kept(node(3));
    assert_eq!(put.uncovered(), [node(3)], "there was no room here");
}

#[test]
fn so_many_nodes_are_asked_and_no_more() {
    let mut put = Put::start(World::new(1, 80).suspect(&[3]), rule(2, Mode::Sloppy));
    let mut asked = 0;
    while let Some(Order::Write { to, .. }) = put.orders().pop() {
        asked += 1;
        put.refused(to.0);
    }
    // The owners have a place each, even who is suspected and not asked.
    assert_eq!((asked + 3, put.uncovered()), (64, vec![node(2)]));
}

#[test]
fn who_refuses_is_replaced_once_and_may_not_change_its_mind() {
    let world = World::new(1, 6);
    let stand_ins = world.stand_ins();
    let mut put = Put::start(world, rule(3, Mode::Sloppy));
    put.orders();
    put.refused(2);
    assert_eq!(put.orders(), [hint(stand_ins[0], 2)]);
    put.refused(2);
    assert_eq!(put.orders(), [], "the same refusal, repeated");
    put.stored(1);
    put.stored(3);
    put.refused(3);
    assert_eq!((put.orders(), put.outcome()), (vec![], None), "what is stored stays stored");
    put.machine.stored(stand_ins[0]);
    assert_eq!(put.outcome(), Some(done(2, 1)));
}

#[test]
fn a_refusal_is_final_when_nobody_else_can_be_asked() {
    let mut put = Put::start(World::new(1, 3), rule(3, Mode::Strict));
    put.stored(1);
    put.refused(3);
    assert_eq!(put.orders(), [write(2), write(3), keep(3)]);
    let (needed, got, answers) = evidence(put.outcome());
    assert_eq!((needed, got, answers[1]), (3, 1, (node(2), Answer::Silent)));
}

#[test]
fn who_is_late_is_replaced_and_its_answer_still_counts() {
    let world = World::new(1, 6);
    let stand_in = world.stand_ins()[0];
    let mut put = Put::start(world, rule(3, Mode::Sloppy));
    put.orders();
    put.stored(3);
    assert_eq!(put.machine.due(PATIENCE), Some(after(20)));
    assert_eq!((put.late(19), put.orders()), (vec![], vec![]));
    assert_eq!(put.late(20), [node(2)], "this node is its own master, and node 3 has it");
    assert_eq!(put.orders(), [hint(stand_in, 2)]);
    assert_eq!((put.late(20), put.orders()), (vec![], vec![]), "it is known");
    put.stored(1);
    put.stored(2);
    assert_eq!(put.outcome(), Some(done(3, 0)));
}

#[test]
fn a_late_stand_in_is_replaced_and_the_silent_are_named_again() {
    let world = World::new(1, 6);
    let stand_ins = world.stand_ins();
    let mut put = Put::start(world, rule(3, Mode::Sloppy));
    put.orders();
    put.stored(3);
    put.stored(1);
    put.late(20);
    put.orders();
    // The stand-in was asked at 20: at 40 it is late, and at 100 the owner is silent.
    assert_eq!(put.machine.due(PATIENCE), Some(after(40)));
    assert_eq!(put.late(40), [stand_ins[0]]);
    assert_eq!(put.orders(), [hint(stand_ins[1], 2)]);
    put.machine.stored(stand_ins[1]);
    assert_eq!(put.machine.due(PATIENCE), Some(after(100)));
    assert_eq!((put.late(100), put.orders()), (vec![node(2)], vec![]), "somebody keeps it already");
    assert_eq!(put.late(120), [stand_ins[0]]);
    assert_eq!(put.machine.due(PATIENCE), None, "there is nothing more to look at");
}

#[test]
fn times_are_known_while_an_answer_is_awaited() {
    let world = World::new(1, 6);
    let stand_in = world.stand_ins()[0];
    let mut put = Put::start(world, rule(2, Mode::Sloppy));
    put.late(30);
    let asked_at = |put: &Put, node| put.machine.asked_at(node);
    assert_eq!((asked_at(&put, node(2)), asked_at(&put, stand_in)), (Some(START), Some(after(30))));
    put.stored(2);
    put.refused(3);
    assert_eq!((asked_at(&put, node(2)), asked_at(&put, node(3))), (None, None));
}

#[test]
fn the_coordinators_own_hint_counts_where_one_copy_is_enough_and_nobody_else_is_left() {
    let only_here = Some(Outcome::Done { owners: 0, fallbacks: 0, only_here: true });
    let alone = |w, mode| {
        let mut put = Put::start(World::new(4, 4), rule(w, mode));
        assert_eq!(put.orders(), [write(1), write(2), write(3)]);
        [1, 2, 3].into_iter().for_each(|name| put.refused(name));
        assert_eq!(put.orders(), [keep(1), keep(2), keep(3)]);
        put
    };
    assert_eq!(alone(1, Mode::Sloppy).outcome(), only_here);
    assert_eq!(evidence(alone(1, Mode::Strict).outcome()).1, 0);
    assert_eq!(evidence(alone(2, Mode::Sloppy).outcome()).1, 0);
    let mut unkept = alone(1, Mode::Sloppy);
    [1, 2, 3].into_iter().for_each(|name| unkept.machine.not_kept(node(name)));
    assert_eq!(evidence(unkept.outcome()).1, 0, "it was not kept after all");

    let mut waiting = Put::start(World::new(4, 4), rule(1, Mode::Sloppy));
    waiting.refused(1);
    assert_eq!(waiting.outcome(), None, "two may still answer");
    assert_eq!(waiting.machine.outcome(true), only_here, "but not in time");
}

#[test]
fn a_request_is_over_when_every_owner_has_it_or_somebody_keeps_it() {
    let mut put = Put::start(World::new(1, 3), rule(2, Mode::Sloppy));
    put.stored(1);
    put.stored(2);
    assert_eq!(put.uncovered(), [node(3)]);
    assert!(!put.machine.is_over(), "not answered");
    assert_eq!(put.outcome(), Some(done(2, 0)));
    assert!(!put.machine.is_over());
    put.refused(3);
    assert_eq!(put.orders(), [write(2), write(3), keep(3)]);
    assert!(put.machine.is_over() && put.uncovered().is_empty());
    put.machine.not_kept(node(3));
    assert!(!put.machine.is_over());
}

#[test]
fn a_write_is_anywhere_if_this_node_owns_it_or_another_has_it() {
    let mut put = Put::start(World::new(5, 6), rule(2, Mode::Sloppy));
    assert!(
        !put.machine.is_anywhere(node(5)) && put.machine.is_anywhere(node(2)),
        "an owner has it before it asks others"
    );
    put.stored(3);
    assert!(put.machine.is_anywhere(node(5)));
}

#[test]
fn answers_of_one_zone_count_once_where_zones_must_differ() {
    let zoned = WriteRule { spread: Spread::Zones, ..rule(2, Mode::Sloppy) };
    let zones = [0, 0, 1, 2, 2, 2];
    let mut put = Put::start(World::in_zones(1, &zones), zoned);
    put.stored(1);
    put.stored(2);
    assert_eq!(put.outcome(), None, "both in one zone");
    put.refused(3);
    let Order::Write { to, hint_for } = put.orders()[2] else { panic!("nobody stands in") };
    assert_eq!(hint_for, Some(node(3)));
    put.machine.stored(to);
    assert_eq!(put.outcome(), Some(done(2, 1)));
}

// ---- timestamps

#[test]
fn a_timestamp_is_kept_here_only_when_another_node_has_believed_it() {
    let mut put = Put::start_doubted(World::new(1, 4).suspect(&[3]), rule(1, Mode::Sloppy), true);
    let stand_in = put.world.stand_ins()[0];
    assert_eq!(put.orders(), [write(2), hint(stand_in, 3)]);
    assert!(!put.machine.holds_back());
    put.refused(stand_in.0);
    assert_eq!((put.orders(), put.machine.holds_back()), (vec![], true), "node 2 has not spoken");
    put.late(20);
    put.late(100);
    put.stored(1);
    let mut orders = Vec::new();
    put.machine.keep_held_back(node(1), false, &mut orders);
    assert_eq!((orders.len(), put.machine.holds_back()), (0, true), "what this node stored proves nothing");
    assert_eq!(put.uncovered(), [node(2), node(3)]);
    put.stored(2);
    put.machine.keep_held_back(node(1), false, &mut orders);
    assert_eq!((orders, put.machine.holds_back()), (vec![keep(3), keep(2)], false));
    assert_eq!(put.uncovered(), []);
    // Believed once, it is kept at once.
    put.machine.not_kept(node(3));
    assert_eq!(put.uncovered(), [node(3)]);
}

#[test]
fn what_was_held_back_is_kept_at_the_deadline_or_when_nobody_is_left_who_could_refuse() {
    let held_back = || {
        let mut put = Put::start_doubted(World::new(1, 3), rule(1, Mode::Sloppy), true);
        put.refused(3);
        assert_eq!((put.orders(), put.machine.holds_back()), (vec![write(2), write(3)], true));
        put
    };
    let mut orders = Vec::new();
    held_back().machine.keep_held_back(node(1), false, &mut orders);
    assert_eq!(orders, []);
    held_back().machine.keep_held_back(node(1), true, &mut orders);
    assert_eq!(orders, [keep(3)], "the time is over");

    let mut put = held_back();
    put.refused(2);
    orders.clear();
    put.machine.keep_held_back(node(1), false, &mut orders);
    assert_eq!(orders, [keep(3), keep(2)], "nobody is left");

    // Once for each owner, however often it was looked at.
    let mut put = held_back();
    put.late(20);
    put.late(100);
    orders.clear();
    put.machine.keep_held_back(node(1), true, &mut orders);
    assert_eq!(orders, [keep(3), keep(2)]);
    let mut late = Put::start_doubted(World::new(1, 3), rule(1, Mode::Sloppy), true);
    late.late(20);
    late.late(100);
    orders.clear();
    late.machine.keep_held_back(node(1), true, &mut orders);
    assert_eq!(orders, [keep(2), keep(3)]);
}

#[test]
fn a_timestamp_that_a_replica_refuses_is_kept_nowhere() {
    let mut put = Put::start_doubted(World::new(1, 6), rule(3, Mode::Sloppy), true);
    put.orders();
    put.refused_with(2, Refusal::ClockAhead);
    put.refused(3);
    put.late(20);
    assert_eq!((put.orders(), put.machine.holds_back()), (vec![], false));
    put.machine.keep_held_back(node(1), true, &mut put.orders);
    assert_eq!((put.orders(), put.uncovered()), (vec![], vec![]));
    let (_, got, answers) = evidence(put.outcome());
    assert_eq!((got, answers[1].1), (0, Answer::Refused(Refusal::ClockAhead)));
}

#[test]
fn what_was_held_back_is_dropped_when_a_replica_refuses_the_timestamp() {
    let mut put = Put::start_doubted(World::new(1, 3), rule(1, Mode::Sloppy), true);
    put.refused(3);
    put.refused_with(2, Refusal::ClockAhead);
    put.orders();
    put.machine.keep_held_back(node(1), true, &mut put.orders);
    assert_eq!(put.orders(), []);
}
