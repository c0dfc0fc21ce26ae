//! Puts.

use super::{BEGIN, Met, PARTITION, PATIENCE, World, bits, modes};
use crate::config::{Durability, Mode, Spread};
use crate::coordinate::{Order, PutOutcome, Putting};
use crate::error::Refusal;
use crate::ids::NodeId;
use crate::message::WriteRule;
use crate::time::Time;
use crate::trace::Notes;
use std::collections::BTreeSet;
use std::time::Duration;

/// A put on its way, and all that the definition knows of it.
#[derive(Clone, Debug)]
struct State {
    machine: Putting,
    now: Time,
    /// Who was asked and has not answered; this node too, while its own copy is not durable.
    flying: BTreeSet<NodeId>,
    stored: BTreeSet<NodeId>,
    kept: BTreeSet<NodeId>,
    end: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Done,
    Failed,
}

struct Walk<'a> {
    world: &'a World,
    rule: WriteRule,
    doubted: bool,
    /// Whether this node has room for the hints that it is ordered to keep.
    room: bool,
    met: Met,
    /// The owners that had it when it succeeded.
    successes: BTreeSet<u64>,
}

impl<'a> Walk<'a> {
    fn all(world: &'a World, rule: WriteRule, doubted: bool, room: bool) -> Self {
        let mut walk = Self { world, rule, doubted, room, met: Met::default(), successes: BTreeSet::new() };
        let mut orders = Vec::new();
        let machine = Putting::start(rule, doubted, PARTITION, world.roster(), BEGIN, Notes::default(), &mut orders);
        let own = world.is_owner(world.me).then_some(world.me);
        let (stored, kept, flying) = (BTreeSet::new(), BTreeSet::new(), own.into_iter().collect());
        let state = State { machine, now: BEGIN, flying, stored, kept, end: None };
        walk.settled(state, orders);
        walk
    }

    /// Carries the orders out, judges, and goes on.
    fn settled(&mut self, mut state: State, mut orders: Vec<Order>) {
        if state.machine.holds_back() {
            state.machine.keep_held_back(self.world.me, false, &mut orders);
        }
        for order in orders {
            match order {
                Order::Write { to, hint_for } => {
                    assert_ne!(to, self.world.me);
                    assert_eq!(hint_for.is_none(), self.world.is_owner(to), "an owner keeps no hints of its own key");
                    assert!(state.flying.insert(to) && !state.stored.contains(&to), "{to} is asked twice");
                }
                Order::Keep { owner } if self.room => assert!(state.kept.insert(owner)),
                Order::Keep { owner } => state.machine.not_kept(owner),
            }
        }
        if !self.met.add(&state) {
            return;
        }
        self.judge(&mut state);
        self.expire(&state);
        self.again(&state);
        self.go_on(&state);
    }

    fn counts(&self, node: NodeId) -> bool {
        self.world.is_owner(node) || self.rule.mode.takes_fallbacks()
    }

    /// How many of these are owners.
    fn owners<'n>(&self, nodes: impl IntoIterator<Item = &'n NodeId>) -> usize {
        nodes.into_iter().filter(|&&node| self.world.is_owner(node)).count()
    }

    fn got(&self, state: &State) -> usize {
        self.world.count(self.rule.spread, state.stored.iter().copied().filter(|&node| self.counts(node)))
    }

    /// What can still be reached, if everybody who is asked stores it.
    fn reach(&self, state: &State) -> usize {
        let nodes = state.stored.union(&state.flying).copied();
        self.world.count(self.rule.spread, nodes.filter(|&node| self.counts(node)))
    }

    /// The decision is the definition's: at once, once, and for good.
    fn judge(&mut self, state: &mut State) {
        let (got, reach, needed) = (self.got(state), self.reach(state), usize::from(self.rule.w));
        let kept_alone = self.rule.mode == Mode::Sloppy && needed == 1 && !state.kept.is_empty();
        let of_owners = usize::from(self.rule.mode.owners());
        let decided = if got >= needed && self.owners(&state.stored) >= of_owners {
            Some(End::Done)
        } else if reach < needed || self.owners(state.stored.union(&state.flying)) < of_owners {
            Some(if kept_alone { End::Done } else { End::Failed })
        } else {
            None
        };
        let outcome = state.machine.outcome(false);
        match state.end {
            Some(_) => {
                assert_eq!(outcome, None, "answered twice: {state:?}");
                // Where zones must differ, a put fails when those who were asked don't make up enough of them, though one
                // that stands in for another later might.
                let is_final = state.end == Some(End::Done) || self.rule.spread == Spread::Zones;
                let is_reached = got >= needed && self.owners(&state.stored) >= of_owners;
                assert!(is_final || !is_reached, "it succeeded after it had failed: {state:?}");
            }
            None => {
                assert_eq!(outcome.as_ref().map(end), decided, "{outcome:?} of {state:?}");
                if let Some(outcome) = outcome {
                    self.check(state, outcome);
                }
                state.end = decided;
            }
        }
    }

    /// What the client is told is what there is.
    fn check(&mut self, state: &State, outcome: PutOutcome) {
        let (owners, fallbacks): (Vec<NodeId>, Vec<_>) =
            state.stored.iter().partition(|&&node| self.world.is_owner(node));
        match outcome {
            PutOutcome::Done { owners: told, fallbacks: stand_ins, only_here } => {
                assert_eq!((usize::from(told), usize::from(stand_ins)), (owners.len(), fallbacks.len()), "{state:?}");
                assert_eq!(only_here, self.got(state) < usize::from(self.rule.w), "{state:?}");
                if !only_here {
                    self.successes.insert(bits(owners.into_iter()));
                }
            }
            PutOutcome::Failed(shortfall) => {
                let by_owners = self.got(state) >= usize::from(self.rule.w);
                let expected =
                    if by_owners { (owners.len(), self.rule.mode.owners()) } else { (self.got(state), self.rule.w) };
                assert_eq!((usize::from(shortfall.got), shortfall.needed), expected);
            }
        }
    }

    /// When the time is over there is an answer, and it is no better than what there is.
    fn expire(&self, state: &State) {
        let mut late = state.clone();
        let mut orders = Vec::new();
        if late.machine.holds_back() {
            late.machine.keep_held_back(self.world.me, true, &mut orders);
        }
        for order in orders {
            match order {
                Order::Keep { owner } if self.room => _ = late.kept.insert(owner),
                Order::Keep { owner } => late.machine.not_kept(owner),
                Order::Write { .. } => {}
            }
        }
        let outcome = late.machine.outcome(true);
        assert_eq!(outcome.is_some(), state.end.is_none());
        let only_here = self.rule.mode == Mode::Sloppy && self.rule.w == 1 && !late.kept.is_empty();
        if let Some(outcome) = outcome {
            let expected = if only_here { End::Done } else { End::Failed };
            assert_eq!(end(&outcome), expected, "it was open, so W is not reached: {late:?}");
        }
    }

    /// An answer that comes twice, or contradicts an earlier one, changes nothing.
    fn again(&self, state: &State) {
        for &node in &state.stored {
            let mut again = state.machine.clone();
            again.stored(node);
            let mut orders = Vec::new();
            again.refused(node, Refusal::Storage, self.world.roster(), state.now, &mut orders);
            assert!(again == state.machine, "{node} is heard twice: {state:?}");
            assert!(orders.is_empty());
        }
    }

    fn go_on(&mut self, state: &State) {
        for &node in &state.flying {
            let mut next = state.clone();
            next.flying.remove(&node);
            next.stored.insert(node);
            next.machine.stored(node);
            self.settled(next, Vec::new());
            // Its own copy is durable in the end, or the node is no more.
            if node == self.world.me {
                continue;
            }
            for refusal in [Refusal::Storage, Refusal::ClockAhead] {
                if refusal == Refusal::Storage || self.doubted {
                    let (mut next, mut orders) = (state.clone(), Vec::new());
                    next.flying.remove(&node);
                    next.machine.refused(node, refusal, self.world.roster(), state.now, &mut orders);
                    self.settled(next, orders);
                }
            }
        }
        if let Some(due) = state.machine.due(PATIENCE) {
            let (mut next, mut orders) = (state.clone(), Vec::new());
            next.now = due.max(state.now);
            next.machine.late(self.world.roster(), next.now, PATIENCE, &mut orders);
            // This node waits for its own disk, and nobody else for it.
            if next.machine.due(PATIENCE) != Some(due) {
                self.settled(next, orders);
            }
        }
    }
}

const fn end(outcome: &PutOutcome) -> End {
    match outcome {
        PutOutcome::Done { .. } => End::Done,
        PutOutcome::Failed(_) => End::Failed,
    }
}

const fn rule(w: u8, mode: Mode, spread: Spread) -> WriteRule {
    WriteRule { w, mode, spread, durability: Durability::Quorum }
}

/// The sets of owners that can have a write when it succeeds strictly.
pub(super) fn strict_successes(n: u8, w: u8) -> BTreeSet<u64> {
    let world = World::new(n, 0, 1, &[]);
    Walk::all(&world, rule(w, Mode::Strict, Spread::Nodes), false, true).successes
}

/// Calls `visit` with every cluster of up to `most` owners that has its own way of going on.
fn worlds(most: u8, visit: &mut impl FnMut(&World, u8)) {
    for n in 1..=most {
        for others in 0..=2 {
            // Through the first owner, or through the first that is none.
            for me in if others > 0 { vec![1, n + 1] } else { vec![1] } {
                for suspects in 0..=usize::from(n) {
                    visit(&World::new(n, others, me, &[]).suspect(suspects), n);
                }
                let slow =
                    World::new(n, others, me, &[]).answers_after(NodeId(u64::from(n)), Duration::from_millis(150));
                visit(&slow, n);
            }
        }
    }
}

#[test]
fn a_put_is_decided_as_the_definition_says_in_every_order() {
    let mut states = 0;
    worlds(3, &mut |world, n| {
        for w in 1..=n {
            for mode in modes(w) {
                for (doubted, room) in [(false, true), (false, false), (true, true)] {
                    states += Walk::all(world, rule(w, mode, Spread::Nodes), doubted, room).met.0.len();
                }
            }
        }
    });
    assert!(states >= 357_912, "{states} states");
}

#[test]
fn a_put_that_wants_zones_is_decided_as_the_definition_says() {
    let mut states = 0;
    for zones in [[0, 0, 0, 0, 1], [0, 0, 1, 0, 1], [0, 1, 2, 0, 1]] {
        for w in 1..=3 {
            for mode in modes(w) {
                let world = World::new(3, 2, 1, &zones);
                states += Walk::all(&world, rule(w, mode, Spread::Zones), false, true).met.0.len();
            }
        }
    }
    assert!(states >= 34_723, "{states} states");
}

/// The definition would see a machine that counts wrongly.
#[cfg(feature = "mutants")]
#[test]
fn machines_that_count_wrongly_are_found() {
    use crate::mutant::{Mutant, switch};
    for mutant in [Mutant::OneLess, Mutant::CountTwice, Mutant::CountHintsInStrict] {
        switch(Some(mutant));
        let found = std::panic::catch_unwind(|| {
            let world = World::new(3, 2, 1, &[]);
            Walk::all(&world, rule(3, Mode::Strict, Spread::Nodes), false, true);
        });
        switch(None);
        assert!(found.is_err(), "{mutant:?}");
    }
}
