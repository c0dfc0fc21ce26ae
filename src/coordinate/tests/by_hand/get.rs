//! The coordinator of a get.

use std::sync::Arc;

use super::*;
use crate::bytes::Bytes;
use crate::causality::{Entry, Stamp, Update};
use crate::config::{Mode, Spread};
use crate::coordinate::get::{GetRule, Getting, Outcome};
use crate::dots::DotSet;
use crate::error::{Answer, Refusal};
use crate::ids::{Actor, Dot, Start};
use crate::message::Shown;
use crate::trace::Notes;

const fn rule(r: u8, mode: Mode) -> GetRule {
    GetRule { r, mode, spread: Spread::Nodes, all: false }
}

const fn dot(counter: u64) -> Dot {
    Dot { actor: Actor { node: NodeId(9), start: Start(9) }, counter }
}

fn dots(counters: &[u64]) -> DotSet {
    counters.iter().map(|&counter| dot(counter)).collect()
}

fn entry(counter: u64) -> Entry {
    Entry { dot: dot(counter), write_id: None, expires: None, stamp: Stamp(counter), value: Bytes::from("value") }
}

/// What an owner shows: these writes live, these left in the residual, these in the clock.
fn owner(live: &[u64], residual: &[u64], clock: &[u64]) -> Shown {
    let live = live.iter().map(|&counter| entry(counter)).collect();
    Shown::Owner { live, residual: dots(residual), clock: Arc::new(dots(clock)) }
}

fn nothing_there() -> Shown {
    owner(&[], &[], &[])
}

fn hint(counter: u64, context: &[u64]) -> Shown {
    Shown::Hint(Arc::new(Update::put(entry(counter), &dots(context))))
}

/// A get, and whom it has asked since it was last looked at.
struct Get {
    world: World,
    machine: Getting,
    asks: Vec<NodeId>,
}

/// Live writes, number of owners, who was first.
type Seen = (Vec<u64>, u8, Option<NodeId>);

impl Get {
    fn start(world: World, rule: GetRule) -> Self {
        let mut asks = Vec::new();
        let machine = Getting::start(rule, PARTITION, world.roster(), START, Notes::default(), &mut asks);
        Self { world, machine, asks }
    }

    fn asks(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.asks)
    }

    fn answer(&mut self, node: NodeId, shown: Shown) {
        self.machine.answer(node, Ok(shown), self.world.roster(), after(1), &mut self.asks);
    }

    fn refuse(&mut self, node: NodeId) {
        self.machine.answer(node, Err(Refusal::Storage), self.world.roster(), after(1), &mut self.asks);
    }

    fn late(&mut self, millis: u64) -> Vec<NodeId> {
        self.machine.late(self.world.roster(), after(millis), PATIENCE, &mut self.asks)
    }

    fn hedge(&mut self, allowed: bool, millis: u64) -> bool {
        self.machine.hedge(allowed, self.world.roster(), after(millis), &mut self.asks)
    }

    fn due(&self) -> Option<Time> {
        self.machine.due(self.world.roster(), PATIENCE)
    }

    fn open(&mut self) -> bool {
        self.machine.outcome(false).is_none()
    }

    fn done(&mut self) -> Seen {
        self.done_if(false)
    }

    fn done_if(&mut self, expired: bool) -> Seen {
        match self.machine.outcome(expired) {
            Some(Outcome::Done { view, owners, fastest }) => {
                (view.live.iter().map(|entry| entry.dot.counter).collect(), owners, fastest)
            }
            other => panic!("{other:?} is no answer"),
        }
    }

    fn failed(&mut self, expired: bool) -> (u8, u8, Vec<(NodeId, Answer)>) {
        match self.machine.outcome(expired) {
            Some(Outcome::Failed(shortfall)) => (shortfall.needed, shortfall.got, shortfall.answers),
            other => panic!("{other:?} is no failure"),
        }
    }
}

// ---- whom to ask

#[test]
fn the_r_owners_that_are_likely_to_be_fastest_are_asked() {
    let start = |world: World, rule| Get::start(world, rule).asks();
    let world = || World::new(5, 6).takes(1, 9).takes(2, 2).takes(3, 4);
    assert_eq!(start(world(), rule(1, Mode::Sloppy)), [2].map(NodeId));
    assert_eq!(start(world(), rule(2, Mode::Sloppy)), [2, 3].map(NodeId));
    assert_eq!(start(world(), GetRule { all: true, ..rule(1, Mode::Strict) }), [2, 3, 1].map(NodeId));
    assert_eq!(start(world(), GetRule { spread: Spread::Zones, ..rule(1, Mode::Strict) }), [2, 3, 1].map(NodeId));
    assert_eq!(start(World::new(3, 6), rule(2, Mode::Strict)), [3, 1].map(NodeId), "its own copy comes first");
    assert_eq!(start(World::new(1, 6).suspect(&[2]), rule(2, Mode::Strict)), [1, 3].map(NodeId));
}

#[test]
fn fallbacks_are_asked_where_owners_are_out_of_reach_and_suspects_where_there_is_nobody_else() {
    let start = |world: World, mode| Get::start(world, rule(2, mode)).asks();
    let world = || World::new(1, 6).suspect(&[2, 3]);
    assert_eq!(start(world(), Mode::Sloppy), [node(1), world().stand_ins()[0]]);
    assert_eq!(start(world(), Mode::Strict), [1, 2].map(NodeId), "fallbacks do not count");
    assert_eq!(start(World::new(1, 3).suspect(&[2, 3]), Mode::Sloppy), [1, 2].map(NodeId), "there are none");
    let stranger = || World::new(6, 6).suspect(&[1, 2, 3]);
    let next = stranger().stand_ins().into_iter().find(|&other| other != node(6)).unwrap();
    assert_eq!(start(stranger(), Mode::Sloppy), [node(6), next], "this node first: it costs nothing");
}

#[test]
fn who_refuses_is_replaced_while_the_client_waits() {
    let mut get = Get::start(World::new(1, 6), rule(2, Mode::Strict));
    assert_eq!(get.asks(), [1, 2].map(NodeId));
    assert!(!get.machine.is_answered());
    get.answer(node(5), nothing_there());
    assert!(get.open(), "who was not asked does not count");
    get.refuse(node(2));
    assert_eq!(get.asks(), [node(3)]);
    get.refuse(node(2));
    assert_eq!(get.asks(), [], "the same answer, repeated");
    get.answer(node(1), nothing_there());
    get.answer(node(2), nothing_there());
    assert!(get.open(), "it has answered already");
    get.answer(node(3), nothing_there());
    assert_eq!(get.done(), (vec![], 2, Some(node(1))));
    assert!(get.machine.is_answered() && get.open(), "one answer");

    let mut answered = Get::start(World::new(1, 6), GetRule { all: true, ..rule(1, Mode::Sloppy) });
    answered.answer(node(1), nothing_there());
    answered.done();
    answered.asks();
    answered.refuse(node(2));
    assert_eq!(answered.asks(), []);
}

#[test]
fn an_owners_refusal_is_not_the_end_while_another_can_be_asked() {
    let mut get = Get::start(World::new(1, 6), rule(2, Mode::Strict));
    get.refuse(node(1));
    get.refuse(node(2));
    assert_eq!(get.asks(), [1, 2, 3].map(NodeId));
    let (needed, got, answers) = get.failed(false);
    assert_eq!((needed, got), (2, 0));
    assert_eq!(answers[1..], [(node(2), Answer::Refused(Refusal::Storage)), (node(3), Answer::Silent)]);
}

#[test]
fn who_is_late_is_replaced_once_and_its_answer_still_counts() {
    let mut get = Get::start(World::new(1, 6), rule(2, Mode::Strict));
    get.asks();
    get.answer(node(1), nothing_there());
    assert_eq!(get.due(), Some(after(20)));
    assert_eq!((get.late(19), get.asks()), (vec![], vec![]));
    assert_eq!((get.late(20), get.asks()), (vec![node(2)], vec![node(3)]));
    assert_eq!((get.late(39), get.asks()), (vec![], vec![]), "it is known");
    assert_eq!(get.due(), Some(after(40)), "when the other is late");
    get.refuse(node(2));
    assert_eq!(get.asks(), [], "another was asked already");
    assert!(get.open() && !get.machine.is_complete());
    get.answer(node(3), nothing_there());
    assert_eq!(get.done(), (vec![], 2, Some(node(1))));
    assert!(get.machine.is_complete());

    let mut get = Get::start(World::new(1, 6), rule(2, Mode::Strict));
    get.answer(node(1), nothing_there());
    get.late(20);
    assert_eq!(get.late(100), [2, 3].map(NodeId), "silent, and late");
    assert_eq!(get.asks(), [1, 2, 3].map(NodeId), "the silent was replaced when it was late");
    assert_eq!(get.due(), Some(after(120)));
    get.answer(node(2), nothing_there());
    assert_eq!(get.done().1, 2);
    assert_eq!(get.late(120), [node(3)]);
    assert_eq!(get.due(), None);
}

#[test]
fn after_the_answer_nobody_is_asked_any_more() {
    let mut get = Get::start(World::new(1, 6), GetRule { all: true, ..rule(1, Mode::Sloppy) });
    get.answer(node(1), nothing_there());
    get.done();
    get.asks();
    assert_eq!(get.late(20), [2, 3].map(NodeId));
    assert_eq!(get.asks(), []);
}

#[test]
fn a_fallback_without_hints_makes_the_suspects_be_asked() {
    let world = World::new(1, 4).suspect(&[2, 3]);
    let mut get = Get::start(world, rule(2, Mode::Sloppy));
    assert_eq!(get.asks(), [1, 4].map(NodeId));
    get.answer(node(4), Shown::Nothing);
    assert_eq!(get.asks(), [node(2)], "the suspicion may be wrong");
    get.answer(node(1), nothing_there());
    assert!(get.open(), "nothing is known is not: there is nothing");
    get.answer(node(2), owner(&[1], &[], &[1]));
    assert_eq!(get.done(), (vec![1], 2, Some(node(1))));

    // One that refuses is of no use either.
    let mut get = Get::start(World::new(1, 4).suspect(&[2, 3]), rule(2, Mode::Sloppy));
    get.asks();
    get.refuse(node(4));
    assert_eq!(get.asks(), [node(2)]);
    // One that was late, or comes after the answer, was replaced before or need not be.
    let mut get = Get::start(World::new(1, 4).suspect(&[2, 3]), rule(2, Mode::Sloppy));
    get.late(20);
    assert_eq!(get.asks(), [1, 4, 2, 3].map(NodeId));
    get.answer(node(4), Shown::Nothing);
    assert_eq!(get.asks(), []);
    let mut get = Get::start(World::new(1, 4).suspect(&[2, 3]), rule(2, Mode::Sloppy));
    get.answer(node(1), owner(&[1], &[], &[1]));
    assert_eq!(get.done_if(true), (vec![1], 1, Some(node(1))));
    get.asks();
    get.answer(node(4), Shown::Nothing);
    assert_eq!(get.asks(), []);
    // With a hint it was of use.
    let mut get = Get::start(World::new(1, 4).suspect(&[2, 3]), rule(2, Mode::Sloppy));
    get.asks();
    get.answer(node(4), hint(1, &[]));
    assert_eq!(get.asks(), []);
}

#[test]
fn so_many_nodes_are_asked_and_no_more() {
    let mut get = Get::start(World::new(1, 80).suspect(&[2, 3]), rule(2, Mode::Sloppy));
    let mut all = Vec::new();
    while let Some(node) = get.asks().pop() {
        all.push(node);
        get.answer(node, Shown::Nothing);
    }
    // Itself, then fallbacks; when they are too many, the suspects.
    assert_eq!((all.len() + 1, &all[63..]), (66, &[2, 3].map(NodeId)[..]));
}

#[test]
fn an_owner_that_says_nothing_is_no_owner_and_a_fallback_that_shows_a_record_is_none_either() {
    let mut get = Get::start(World::new(1, 6), rule(1, Mode::Strict));
    assert_eq!(get.asks(), [node(1)]);
    get.answer(node(1), Shown::Nothing);
    assert_eq!(get.asks(), [node(2)]);
    assert!(get.open());
    let mut get = Get::start(World::new(1, 4).suspect(&[2, 3]), rule(2, Mode::Sloppy));
    get.answer(node(1), nothing_there());
    get.answer(node(4), owner(&[7], &[], &[7]));
    assert!(get.open());
    assert_eq!(
        get.done_if(true),
        (vec![], 1, Some(node(1))),
        "what it shows of a partition that it doesn't own is not used"
    );
}

// ---- when to answer

#[test]
fn sloppy_answers_from_what_was_reached_when_no_more_can_be() {
    let mut get = Get::start(World::new(1, 3), rule(2, Mode::Sloppy));
    get.answer(node(1), owner(&[1], &[], &[1]));
    get.refuse(node(2));
    assert!(get.open(), "node 3 was asked");
    get.refuse(node(3));
    assert_eq!(get.done(), (vec![1], 1, Some(node(1))));

    let mut get = Get::start(World::new(4, 4).suspect(&[1, 2, 3]), rule(1, Mode::Sloppy));
    assert_eq!(get.asks(), [node(4)]);
    get.answer(node(4), hint(3, &[]));
    assert_eq!(get.done(), (vec![3], 0, None), "a hint is joined, and never counted");

    // None reached at all.
    let mut get = Get::start(World::new(1, 3), rule(2, Mode::Sloppy));
    for name in [1, 2, 3] {
        assert!(get.open());
        get.refuse(node(name));
    }
    assert_eq!(get.failed(false).1, 0);
}

#[test]
fn sloppy_waits_for_those_who_may_still_show_something() {
    // Two of three refuse, so that two can't be had: but the third has not spoken.
    let mut get = Get::start(World::new(1, 3), GetRule { all: true, ..rule(2, Mode::Sloppy) });
    get.refuse(node(1));
    get.refuse(node(2));
    assert!(get.open());
    get.answer(node(3), owner(&[1], &[], &[1]));
    assert_eq!(get.done(), (vec![1], 1, Some(node(3))));

    let mut get = Get::start(World::new(1, 3), GetRule { all: true, ..rule(2, Mode::Sloppy) });
    get.refuse(node(1));
    get.refuse(node(2));
    assert_eq!(get.failed(true).2[2], (node(3), Answer::Silent), "the time is over");
    let mut get = Get::start(World::new(1, 3), GetRule { all: true, ..rule(2, Mode::Strict) });
    get.refuse(node(1));
    get.refuse(node(2));
    get.failed(false);

    // Late ones aren't waited for.
    let mut get = Get::start(World::new(1, 3), GetRule { all: true, ..rule(2, Mode::Sloppy) });
    get.answer(node(2), owner(&[1], &[], &[1]));
    assert!(get.open());
    get.late(20);
    assert_eq!(get.done(), (vec![1], 1, Some(node(2))));
}

#[test]
fn sloppy_waits_for_the_late_where_nobody_has_shown_anything() {
    let mut get = Get::start(World::new(1, 3), GetRule { all: true, ..rule(2, Mode::Sloppy) });
    get.late(20);
    assert!(get.open(), "it could show nothing yet");
    get.answer(node(3), owner(&[1], &[], &[1]));
    assert_eq!(get.done(), (vec![1], 1, Some(node(3))));
}

#[test]
fn strict_takes_r_owners_or_fails_at_the_deadline() {
    let start = || {
        let mut get = Get::start(World::new(1, 3), rule(2, Mode::Strict));
        get.answer(node(1), owner(&[1], &[], &[1]));
        get.late(20);
        get
    };
    let mut get = start();
    assert!(get.open(), "late, and it still may answer");
    let (needed, got, answers) = get.failed(true);
    assert_eq!((needed, got), (2, 1));
    assert_eq!(answers, [(node(1), Answer::Done), (node(2), Answer::Silent), (node(3), Answer::Silent)]);
    let mut get = start();
    get.answer(node(2), owner(&[1], &[], &[1]));
    assert_eq!(get.done(), (vec![1], 2, Some(node(1))));
    let (mut waiting, mut sloppy) = (start(), Get::start(World::new(1, 3), rule(2, Mode::Sloppy)));
    waiting.refuse(node(2));
    assert!(waiting.open());
    assert_eq!(sloppy.failed(true).1, 0, "nobody answered in time");
}

#[test]
fn answers_of_one_zone_count_once_where_zones_must_differ() {
    let zoned = GetRule { spread: Spread::Zones, ..rule(2, Mode::Strict) };
    let mut get = Get::start(World::in_zones(1, &[4, 4, 5, 6, 6, 6]), zoned);
    get.answer(node(1), nothing_there());
    get.answer(node(2), nothing_there());
    assert!(get.open());
    get.answer(node(3), nothing_there());
    assert_eq!(get.done().1, 3);
}

#[test]
fn suspects_of_other_zones_are_asked_where_the_others_stand_in_too_few() {
    let zoned = |r, mode| GetRule { spread: Spread::Zones, ..rule(r, mode) };
    let world = |suspects: &[u64]| World::in_zones(1, &[0, 0, 1, 2, 2, 2]).suspect(suspects);
    assert_eq!(Get::start(world(&[3]), zoned(1, Mode::Strict)).asks(), [1, 2].map(NodeId), "one zone is enough");
    let mut get = Get::start(world(&[2, 3]), zoned(2, Mode::Strict));
    assert_eq!(get.asks(), [1, 2, 3].map(NodeId));
    get.answer(node(1), nothing_there());
    get.answer(node(3), nothing_there());
    assert_eq!(get.done().1, 2);

    let mut get = Get::start(World::in_zones(1, &[0, 1, 2, 3]).suspect(&[3]), zoned(2, Mode::Strict));
    assert_eq!(get.asks(), [1, 2].map(NodeId));
    get.refuse(node(2));
    assert_eq!(get.asks(), [node(3)]);
    assert!(get.open());

    // The first that is asked in the stead of one that refuses is of a zone that is there already.
    let mut world = World::in_zones(1, &[0, 1, 0, 2, 3]);
    let members = world.layout.members().to_vec();
    world.layout = Arc::new(Layout::from_owners(4, members, vec![[1, 2, 3, 4].map(NodeId).to_vec()]).unwrap());
    world.directory = Directory::new(Arc::clone(&world.layout));
    let mut get = Get::start(world.suspect(&[3, 4]), zoned(2, Mode::Strict));
    assert_eq!(get.asks(), [1, 2].map(NodeId));
    get.refuse(node(2));
    assert_eq!(get.asks(), [3, 4].map(NodeId));
    get.answer(node(1), nothing_there());
    get.answer(node(4), nothing_there());
    assert_eq!(get.done().1, 2);
}

// ---- hedging

#[test]
fn another_is_asked_beside_one_that_is_slower_than_usual() {
    let start = || {
        let mut get = Get::start(World::new(5, 6).takes(1, 5).takes(2, 10).takes(3, 30), rule(2, Mode::Strict));
        assert_eq!(get.asks(), [1, 2].map(NodeId));
        get
    };
    let mut get = start();
    let p95 = get.world.roster().hedge_after(node(1)).unwrap();
    assert_eq!(get.due(), Some(START + p95), "before it is late");
    let just_before = START + p95 - Duration::from_micros(1);
    assert!(!get.machine.hedge(true, get.world.roster(), just_before, &mut get.asks));
    assert!(get.machine.hedge(true, get.world.roster(), START + p95, &mut get.asks));
    assert_eq!(get.asks(), [node(3)]);
    assert_eq!(get.due(), Some(START + get.world.roster().hedge_after(node(2)).unwrap()), "hedged once");
    assert!(!get.hedge(true, 19), "there is nobody else");
    assert_eq!((get.due(), get.asks()), (Some(after(20)), vec![]));
    get.answer(node(1), nothing_there());
    get.answer(node(3), nothing_there());
    assert_eq!(get.done().1, 2);

    let mut get = start();
    assert!(!get.hedge(false, 6), "the budget is used up");
    assert_eq!(get.asks(), []);
    assert!(!get.hedge(true, 6), "and it was looked at");
    assert!(get.hedge(true, 19), "node 2 is slow as well");
    assert_eq!(get.asks(), [node(3)]);

    // Two that are slow at once take one.
    let world = World::new(4, 5).takes(1, 5).takes(2, 5);
    let mut get = Get::start(world, rule(1, Mode::Strict));
    get.asks();
    get.late(20);
    get.asks();
    assert!(!get.hedge(false, 60));
    let mut get = Get::start(World::new(5, 6).takes(1, 5).takes(2, 5).takes(3, 9), rule(2, Mode::Sloppy));
    get.asks();
    assert!(get.hedge(true, 19));
    assert_eq!(get.asks(), [node(3)]);
    // Who has answered is not hedged, and after the answer nothing waits for a hedge.
    let mut get = start();
    get.answer(node(1), nothing_there());
    get.answer(node(2), nothing_there());
    assert!(!get.hedge(true, 19));
    let mut get = Get::start(World::new(5, 6).takes(1, 5), GetRule { all: true, ..rule(1, Mode::Strict) });
    get.answer(node(2), nothing_there());
    assert!(get.due() < Some(after(20)));
    get.done();
    assert_eq!(get.due(), Some(after(20)));
}

#[test]
fn one_hedge_at_a_time() {
    let zones = [0; 6];
    let mut world = World::in_zones(5, &zones);
    let members = world.layout.members().to_vec();
    world.layout = Arc::new(Layout::from_owners(4, members, vec![[1, 2, 3, 4].map(NodeId).to_vec()]).unwrap());
    world.directory = Directory::new(Arc::clone(&world.layout));
    let world = world.takes(1, 5).takes(2, 5).takes(3, 9).takes(4, 9);
    let mut get = Get::start(world, rule(2, Mode::Strict));
    get.asks();
    assert!(get.hedge(true, 19));
    assert_eq!(get.asks(), [node(3)], "for two that are slow");
}

// ---- what to show, and who is behind

#[test]
fn the_view_is_the_join_of_all_that_was_shown_and_covers_exactly_that() {
    let mut get = Get::start(World::new(1, 6), GetRule { all: true, ..rule(3, Mode::Strict) });
    get.answer(node(1), owner(&[1, 4], &[], &[1, 4]));
    get.answer(node(2), owner(&[2], &[6], &[1, 2]));
    get.answer(node(3), owner(&[1, 4], &[], &[1, 4]));
    let view = get.machine.view();
    let live: Vec<u64> = view.live.iter().map(|entry| entry.dot.counter).collect();
    assert_eq!(live, [2, 4], "node 2 has superseded the first");
    assert_eq!(view.covered, dots(&[1, 2, 4, 6]), "a residual and what is live too, and no gap is filled");
    assert_eq!(get.machine.behind(), [1, 2, 3].map(NodeId));
    assert_eq!(get.done(), (vec![2, 4], 3, Some(node(1))));
}

#[test]
fn an_entry_speaks_for_itself_whether_its_owners_clock_has_it_or_not() {
    let mut get = Get::start(World::new(1, 6), rule(1, Mode::Strict));
    get.answer(node(1), owner(&[5], &[3], &[1]));
    assert_eq!(get.machine.view().covered, dots(&[1, 3, 5]));
}

#[test]
fn those_that_show_the_same_are_not_behind_whatever_their_clocks() {
    let mut get = Get::start(World::new(1, 6), rule(2, Mode::Strict));
    get.answer(node(1), owner(&[1], &[], &[1]));
    get.answer(node(2), owner(&[1], &[], &[1, 2, 3]));
    assert_eq!(get.machine.behind(), []);
    assert_eq!(Get::start(World::new(1, 6), rule(2, Mode::Strict)).machine.behind(), [], "nobody has answered");

    let mut get = Get::start(World::new(1, 6), rule(2, Mode::Strict));
    get.answer(node(1), owner(&[1], &[], &[1]));
    get.answer(node(2), owner(&[2], &[], &[1, 2]));
    assert_eq!(get.machine.behind(), [node(1)]);
}

#[test]
fn an_owner_may_be_behind_a_hint() {
    let mut get = Get::start(World::new(1, 4).suspect(&[2, 3]), rule(2, Mode::Sloppy));
    get.answer(node(1), owner(&[1], &[], &[1]));
    get.answer(node(4), hint(2, &[1]));
    assert_eq!(get.machine.behind(), [node(1)]);
    let view = get.machine.view();
    assert_eq!((view.live.len(), view.covered), (1, dots(&[1, 2])));
    assert_eq!(get.done(), (vec![2], 1, Some(node(1))));
    assert_eq!(get.machine.asked_at(node(4)), Some(START));
    assert_eq!(get.machine.asked_at(node(3)), None);
}

#[test]
fn a_hint_is_named_in_the_evidence() {
    let mut get = Get::start(World::new(1, 4).suspect(&[2, 3]), GetRule { all: true, ..rule(3, Mode::Sloppy) });
    get.answer(node(4), hint(2, &[1]));
    assert_eq!(get.done_if(true), (vec![2], 0, None));
    let (mut strict, mut sloppy) = (
        Get::start(World::new(1, 4), rule(2, Mode::Strict)),
        Get::start(World::new(1, 4).suspect(&[2, 3]), rule(2, Mode::Sloppy)),
    );
    strict.answer(node(1), hint(2, &[]));
    assert_eq!(strict.failed(true).2[0], (node(1), Answer::Hinted(node(1))));
    sloppy.answer(node(4), Shown::Nothing);
    assert_eq!(sloppy.failed(true).2[1], (node(4), Answer::NoInformation));
}
