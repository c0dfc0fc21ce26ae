//! Gets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{BEGIN, Met, PARTITION, PATIENCE, World, bits, modes};
use crate::causality::{Entry, Stamp, Update};
use crate::config::{Mode, Spread};
use crate::coordinate::{GetOutcome, GetRule, Getting};
use crate::dots::DotSet;
use crate::error::Refusal;
use crate::ids::{Actor, Dot, NodeId, Start};
use crate::message::Shown;
use crate::time::Time;
use crate::trace::Notes;

/// A get on its way, and all that the definition knows of it.
#[derive(Clone, Debug)]
struct State {
    machine: Getting,
    now: Time,
    /// Who was asked and has not answered, and when.
    flying: BTreeMap<NodeId, Time>,
    asked: BTreeSet<NodeId>,
    /// The owners that have shown what they have.
    shown: BTreeSet<NodeId>,
    /// The fallbacks that have shown hints.
    hinted: BTreeSet<NodeId>,
    ended: bool,
}

struct Walk<'a> {
    world: &'a World,
    rule: GetRule,
    met: Met,
    hedges: usize,
    /// The owners that had answered when it succeeded.
    successes: BTreeSet<u64>,
}

impl<'a> Walk<'a> {
    fn all(world: &'a World, rule: GetRule) -> Self {
        let mut walk = Self { world, rule, met: Met::default(), hedges: 0, successes: BTreeSet::new() };
        let mut asks = Vec::new();
        let machine = Getting::start(rule, PARTITION, world.roster(), BEGIN, Notes::default(), &mut asks);
        let (flying, asked) = (BTreeMap::new(), BTreeSet::new());
        let (shown, hinted) = (BTreeSet::new(), BTreeSet::new());
        walk.settled(State { machine, now: BEGIN, flying, asked, shown, hinted, ended: false }, asks);
        walk
    }

    fn settled(&mut self, mut state: State, asks: Vec<NodeId>) {
        for node in asks {
            assert!(state.asked.insert(node), "{node} is asked twice");
            assert!(self.world.is_owner(node) || self.rule.mode.takes_fallbacks(), "a fallback is asked strictly");
            state.flying.insert(node, state.now);
        }
        if !self.met.add(&state) {
            return;
        }
        self.judge(&mut state);
        self.expire(&state);
        self.again(&state);
        self.go_on(&state);
    }

    fn count(&self, nodes: impl Iterator<Item = NodeId>) -> usize {
        self.world.count(self.rule.spread, nodes)
    }

    /// What can still be reached, if everybody answers who is asked or could be.
    fn reach(&self, state: &State) -> usize {
        self.count(self.may_show(state))
    }

    /// The owners who have shown what they have, or who still may.
    fn may_show(&self, state: &State) -> impl Iterator<Item = NodeId> {
        let may = |node: &&NodeId| {
            state.shown.contains(node) || state.flying.contains_key(node) || !state.asked.contains(node)
        };
        self.world.owners().iter().filter(may).copied()
    }

    fn is_waiting(state: &State) -> bool {
        state.flying.values().any(|&since| state.now < since + PATIENCE.fallback)
    }

    fn judge(&mut self, state: &mut State) {
        let (got, needed) = (self.count(state.shown.iter().copied()), usize::from(self.rule.r));
        let outcome = state.machine.outcome(false);
        if state.ended {
            return assert_eq!(outcome, None, "answered twice: {state:?}");
        }
        let is_all = got >= needed;
        let has_some = self.has_some(state);
        let settles = self.rule.mode.takes_fallbacks() && !Self::is_waiting(state);
        let lost = self.reach(state) < needed;
        // Where so many must be owners, fewer than R are an answer, and fewer than that are a failure.
        let owners = usize::from(self.rule.mode.owners());
        let lacks_owners = self.may_show(state).count() < owners;
        match &outcome {
            Some(GetOutcome::Done { view, owners, .. }) => {
                assert!(is_all || (settles && has_some), "too early: {state:?}");
                assert_eq!(usize::from(*owners), state.shown.len());
                let live: Vec<Dot> = view.live.iter().map(|entry| entry.dot).collect();
                let expected: Vec<Dot> = state.shown.union(&state.hinted).map(|&node| dot(node)).collect();
                assert_eq!(live, expected, "all that was shown, and nothing else: {state:?}");
                self.successes.insert(bits(state.shown.iter().copied()));
            }
            Some(GetOutcome::Failed(shortfall)) => {
                assert!(!is_all && (lost || lacks_owners), "it could still succeed: {state:?}");
                assert!(owners == 0 || lacks_owners, "there could still be enough owners: {state:?}");
                assert!(self.rule.mode == Mode::Strict || !has_some, "sloppy reads show what they have: {state:?}");
                let expected =
                    if owners > 0 { (state.shown.len(), self.rule.mode.owners()) } else { (got, self.rule.r) };
                assert_eq!((usize::from(shortfall.got), shortfall.needed), expected);
            }
            None => {
                assert!(!is_all, "late: {state:?}");
                assert!(self.rule.mode.takes_fallbacks() || !lost, "it can't succeed any more: {state:?}");
                assert!(!lacks_owners, "there can't be enough owners any more: {state:?}");
                assert!(!settles || !has_some, "nobody more is waited for: {state:?}");
                assert!(!state.flying.is_empty(), "nothing will ever happen: {state:?}");
            }
        }
        state.ended = outcome.is_some();
    }

    /// Whether what was shown is an answer, if a sloppy read can't have more.
    fn has_some(&self, state: &State) -> bool {
        match usize::from(self.rule.mode.owners()) {
            0 => !state.shown.is_empty() || !state.hinted.is_empty(),
            owners => state.shown.len() >= owners,
        }
    }

    fn expire(&self, state: &State) {
        let mut late = state.machine.clone();
        let outcome = late.outcome(true);
        assert_eq!(outcome.is_some(), !state.ended);
        let shows = self.rule.mode.takes_fallbacks() && self.has_some(state);
        assert!(outcome.is_none_or(|outcome| matches!(outcome, GetOutcome::Done { .. }) == shows), "{state:?}");
    }

    /// An answer that comes twice changes nothing.
    fn again(&self, state: &State) {
        for &node in state.asked.iter().filter(|node| !state.flying.contains_key(node)) {
            let (mut again, mut asks) = (state.machine.clone(), Vec::new());
            again.answer(node, Err(Refusal::Storage), self.world.roster(), state.now, &mut asks);
            again.answer(node, Ok(self.show(node)), self.world.roster(), state.now, &mut asks);
            assert!(again == state.machine, "{node} is heard twice: {state:?}");
            assert!(asks.is_empty());
        }
    }

    /// What a node has: a version of its own, so that one can tell what has gone into an answer.
    fn show(&self, node: NodeId) -> Shown {
        let entry = Entry { dot: dot(node), write_id: None, expires: None, stamp: Stamp(1), value: "v".into() };
        if self.world.is_owner(node) {
            return Shown::Owner { live: vec![entry], residual: DotSet::new(), clock: Arc::default() };
        }
        Shown::Hint(Arc::new(Update::put(entry, &DotSet::new())))
    }

    fn go_on(&mut self, state: &State) {
        for &node in state.flying.keys() {
            let answers = [Some(Ok(self.show(node))), Some(Err(Refusal::Storage)), Some(Ok(Shown::Nothing))];
            let last = if self.world.is_owner(node) { 2 } else { 3 };
            for answer in answers.into_iter().take(last).flatten() {
                let (mut next, mut asks) = (state.clone(), Vec::new());
                next.flying.remove(&node);
                match &answer {
                    Ok(Shown::Owner { .. }) => _ = next.shown.insert(node),
                    Ok(Shown::Hint(_)) => _ = next.hinted.insert(node),
                    Ok(Shown::Nothing) | Err(_) => {}
                }
                next.machine.answer(node, answer, self.world.roster(), state.now, &mut asks);
                self.settled(next, asks);
            }
        }
        let Some(due) = state.machine.due(self.world.roster(), PATIENCE) else { return };
        for allowed in [true, false] {
            let (mut next, mut asks) = (state.clone(), Vec::new());
            next.now = due.max(state.now);
            next.machine.late(self.world.roster(), next.now, PATIENCE, &mut asks);
            if !next.machine.is_answered() {
                let hedged = next.machine.hedge(allowed, self.world.roster(), next.now, &mut asks);
                assert!(allowed || !hedged);
                self.hedges += usize::from(hedged);
            }
            self.settled(next, asks);
        }
    }
}

fn dot(node: NodeId) -> Dot {
    Dot { actor: Actor { node, start: Start(1) }, counter: 1 }
}

fn rule(r: u8, mode: Mode, spread: Spread, all: bool) -> GetRule {
    GetRule::new(r, mode, spread, all)
}

/// The sets of owners that can have answered when a read succeeds strictly.
pub(super) fn strict_successes(n: u8, r: u8) -> BTreeSet<u64> {
    let world = World::new(n, 0, 1, &[]);
    Walk::all(&world, rule(r, Mode::Strict, Spread::Nodes, true)).successes
}

#[test]
fn a_get_is_decided_as_the_definition_says_in_every_order() {
    let (mut states, mut hedges) = (0, 0);
    for n in 1..=3_u8 {
        // With three owners one more is enough to be asked in the stead of any.
        for others in 0..=if n < 3 { 2 } else { 1 } {
            for me in if others > 0 { vec![1, n + 1] } else { vec![1] } {
                let mut worlds: Vec<World> =
                    (0..=usize::from(n)).map(|count| World::new(n, others, me, &[]).suspect(count)).collect();
                let fast = |world: World, node| world.answers_after(NodeId(node), Duration::from_millis(10));
                worlds.push((1..=u64::from(n)).fold(World::new(n, others, me, &[]), fast));
                for world in &worlds {
                    for (r, mode) in (1..=n).flat_map(|r| modes(r).map(move |mode| (r, mode))) {
                        for all in [false, true] {
                            let walk = Walk::all(world, rule(r, mode, Spread::Nodes, all));
                            (states, hedges) = (states + walk.met.0.len(), hedges + walk.hedges);
                        }
                    }
                }
            }
        }
    }
    assert!(states >= 309_577 && hedges >= 64, "{states} states, {hedges} hedges");
}

#[test]
fn a_get_that_wants_zones_is_decided_as_the_definition_says() {
    let mut states = 0;
    for zones in [[0, 0, 0, 0, 1], [0, 0, 1, 0, 1], [0, 1, 2, 0, 1]] {
        for (r, mode) in (1..=3).flat_map(|r| modes(r).map(move |mode| (r, mode))) {
            let world = World::new(3, 2, 1, &zones);
            states += Walk::all(&world, rule(r, mode, Spread::Zones, false)).met.0.len();
        }
    }
    assert!(states >= 66_063, "{states} states");
}

/// The definition would see a machine that counts wrongly.
#[cfg(feature = "mutants")]
#[test]
fn a_machine_that_counts_errors_is_found() {
    use crate::mutant::{Mutant, switch};
    switch(Some(Mutant::CountReadErrors));
    let found = std::panic::catch_unwind(|| {
        Walk::all(&World::new(3, 0, 1, &[]), rule(2, Mode::Strict, Spread::Nodes, false));
    });
    switch(None);
    assert!(found.is_err());
}
