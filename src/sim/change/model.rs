//! One partition under change, with one write that either is there or is not.

use std::collections::HashMap;
use std::rc::Rc;

use foldhash::fast::FixedState;

use super::search::World;
use super::world::{
    Answer, Fault, Lost, NODES, Node, Scenario, State, Step, Votes, bits, drive, fenced, highest, id, index, lowest,
    owner, set_of, sets,
};
use crate::ballot::{Group, Groups, Owner, Reason, Refused};
use crate::change::{Attempt, Collected, Drive, Fenced, Move};

/// A closure and whether the write was among what was collected.
type Collection = (u8, bool);
/// What a write names next, and who has stored it under that.
type Attempts = Rc<Vec<(u8, u8)>>;
type Fast<K, V> = HashMap<K, V, FixedState>;

pub(super) struct Model<'a> {
    pub(super) scenario: &'a Scenario,
    /// As a writer that names the first layout alone sees them, and as all others do.
    pub(super) before: Groups,
    pub(super) groups: Groups,
    collections: Fast<(usize, usize, [Answer; NODES]), Rc<Vec<Collection>>>,
    attempts: Fast<(u8, u8, u8), Attempts>,
}

impl<'a> Model<'a> {
    pub(super) fn new(scenario: &'a Scenario) -> Self {
        let group = |(layout, &owners): (usize, &u8)| {
            let owners: Vec<_> = bits(owners).map(owner).collect();
            Group::new(id(layout), &owners, scenario.r, scenario.w, scenario.w)
        };
        let before = Groups::new(scenario.owners.iter().enumerate().map(group).collect());
        let groups = before.clone().with_gone(bits(scenario.gone).map(owner).collect());
        Self { scenario, before, groups, collections: Fast::default(), attempts: Fast::default() }
    }

    pub(super) fn groups(&self) -> &Groups {
        &self.groups
    }

    pub(super) fn is(&self, fault: Fault) -> bool {
        self.scenario.fault == Some(fault)
    }

    pub(super) fn layouts(&self) -> usize {
        self.scenario.owners.len()
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = usize> + use<> {
        bits(self.scenario.owners.iter().fold(0, |all, owners| all | owners))
    }

    /// Whether a layout leaves the owners as the first had them.
    pub(super) fn is_unchanged(&self, layout: usize) -> bool {
        layout > 0 && self.scenario.owners[layout] == self.scenario.owners[0]
    }

    fn drive(state: &State, layout: usize) -> Drive {
        drive(state.nodes.iter().map(|node| &node.votes), layout)
    }

    /// Layouts that somebody takes for decided.
    pub(super) fn believed(&self, state: &State, fault: Fault) -> u8 {
        let mut believed = state.decided;
        if self.is(fault) {
            let held = |layout: &usize| Self::drive(state, *layout).is_held(&self.groups);
            believed |= (1..self.layouts()).filter(held).fold(0, |set, layout| set | 1 << layout);
        }
        believed
    }

    /// All that a move to `layout` from `floor` may end with. An answer more only adds to the closure and to the data, so
    /// those are looked at that are complete with every answer they have, and not without one of them.
    fn collections(&mut self, state: &State, layout: usize, floor: usize) -> Rc<Vec<Collection>> {
        let answers = std::array::from_fn(|node| state.nodes[node].answers[layout]);
        if let Some(known) = self.collections.get(&(layout, floor, answers)) {
            return Rc::clone(known);
        }
        let given = (0..NODES).filter(|node| answers[*node].given).fold(0, |set, node| set | 1 << node);
        let collected = |some: u8| {
            let mut collecting = Move::new(id(layout), id(floor));
            for node in bits(some) {
                let Answer { floor, seals, .. } = answers[node];
                collecting.joined(owner(node), fenced(layout, floor, seals));
            }
            match collecting.collected(&self.groups) {
                Collected::All { closure, .. } => Some(set_of(&closure)),
                Collected::Wanting(_) | Collected::Unknown(_) => None,
            }
        };
        let complete: Vec<Option<u8>> =
            (0..1 << NODES).map(|some: u8| if some & !given == 0 { collected(some) } else { None }).collect();
        let mut all = Vec::new();
        for (some, closure) in (0_u8..).zip(&complete) {
            let Some(closure) = *closure else { continue };
            if bits(some).all(|node| complete[usize::from(some & !(1 << node))].is_none()) {
                let found = (closure, bits(some).any(|node| answers[node].has));
                if !all.contains(&found) {
                    all.push(found);
                }
            }
        }
        let all = Rc::new(all);
        self.collections.insert((layout, floor, answers), Rc::clone(&all));
        all
    }

    /// What the coordinator may name next, whatever it hears, and who has stored it under that.
    pub(super) fn attempts(&mut self, named: u8, acks: u8, decided: u8) -> Attempts {
        if let Some(known) = self.attempts.get(&(named, acks, decided)) {
            return Rc::clone(known);
        }
        let mut all = Vec::new();
        for floor in bits(decided) {
            let above = ((1_u8 << self.layouts()) - 1) & !((2_u8 << floor) - 1);
            let mut some = above;
            loop {
                let next = some | 1 << floor;
                let attempt = self.attempt(named, acks, next);
                all.push((next, self.acks(&attempt)));
                if some == 0 {
                    break;
                }
                some = (some - 1) & above;
            }
        }
        let all = Rc::new(all);
        self.attempts.insert((named, acks, decided), Rc::clone(&all));
        all
    }

    /// Goes from what was named to what is named next, as the machine does when it hears of it.
    fn attempt(&self, named: u8, acks: u8, next: u8) -> Attempt {
        let floor = lowest(next);
        let goes_on = named != 0 && lowest(named) <= floor && named & !((1 << floor) - 1) & !next == 0;
        let mut attempt = Attempt::new(id(if goes_on { lowest(named) } else { floor }));
        let hear = |attempt: &mut Attempt, set: u8| {
            for layout in bits(set) {
                let (floor, promise) = (attempt.sets().floor(), id(layout));
                let refused = Refused { reason: Reason::Promise, floor, promise, seals: Vec::new() };
                attempt.refused(&refused);
            }
        };
        if goes_on {
            hear(&mut attempt, named);
        }
        if goes_on || (self.is(Fault::KeepAcksAnew) && named != 0) {
            let round = attempt.round();
            bits(acks).for_each(|node| attempt.stored(owner(node), round));
        }
        attempt.decided(id(floor));
        hear(&mut attempt, next);
        attempt
    }

    fn acks(&self, attempt: &Attempt) -> u8 {
        let missing = attempt.missing(&self.before);
        let asked = attempt.sets().iter().fold(0, |set, layout| set | self.scenario.owners[usize::from(index(layout))]);
        bits(asked).filter(|node| !missing.contains(&owner(*node))).fold(0, |set, node| set | 1 << node)
    }

    pub(super) fn is_reached(&self, named: u8, acks: u8) -> bool {
        let mut attempt = self.attempt(0, 0, named);
        let round = attempt.round();
        bits(acks).for_each(|node| attempt.stored(owner(node), round));
        let groups = if named == 1 { &self.before } else { &self.groups };
        attempt.is_reached(if self.scenario.sloppy { 1 } else { self.scenario.w }, groups)
    }

    fn replica_steps(&mut self, state: &State, node: usize, out: &mut Vec<(State, Step)>) {
        let (now, votes) = (state.nodes[node], state.nodes[node].votes);
        let is_gone = self.scenario.gone & 1 << node != 0;
        let open = (1..self.layouts()).filter(|layout| state.decided & 1 << layout == 0);
        let mut push = |next: Node, step: Step| {
            let mut after = *state;
            after.nodes[node] = next;
            out.push((after, step));
        };
        let voted = |votes: Votes| {
            let mut next = now;
            next.vote(votes);
            next
        };
        let is_ballot = |layout: &usize| !(self.is(Fault::UnchangedIsNoBallot) && self.is_unchanged(*layout));
        let open: Vec<_> = open.filter(|layout| !is_gone && is_ballot(layout)).collect();
        for layout in open {
            let earlier = self.scenario.owners[..layout].iter().any(|owners| owners & 1 << node != 0);
            if earlier
                && !now.answers[layout].given
                && let Ok(step) = votes.ballots().fence(id(layout))
            {
                let (votes, Fenced { floor, seals, .. }) = votes.after(step);
                let mut next = voted(votes);
                let has = now.has && !self.is(Fault::StateBeforeFence);
                next.answers[layout] = Answer { given: true, has, floor: index(floor), seals: set_of(&seals) };
                push(next, Step::Fenced { node, layout });
            }
            if self.scenario.owners[layout] & 1 << node != 0 && votes.held & 1 << layout == 0 {
                for from in bits(state.decided).filter(|from| *from < layout) {
                    for &(closure, has) in &*self.collections(state, layout, from) {
                        let Some(votes) = votes.holding(layout, closure) else { continue };
                        push(Node { has: now.has || has, ..voted(votes) }, Step::Holds { node, layout, closure, from });
                    }
                }
            }
            if votes.sealed & 1 << layout == 0
                && Self::drive(state, layout).missing(&self.groups).contains(&owner(node))
                && let Some(votes) = votes.sealing(layout)
            {
                push(voted(votes), Step::Seals { node, layout });
            }
        }
        for layout in bits(state.decided).filter(|layout| *layout > usize::from(votes.floor)) {
            push(voted(votes.learning(layout)), Step::Learns { node, layout });
        }
        if self.scenario.deletes && now.has {
            self.delete_steps(state, node, &mut push);
        }
        if self.is(Fault::PromiseNotDurable) && votes.promise > votes.floor {
            let promise = if votes.seals == 0 { votes.floor } else { votes.floor.max(highest(votes.seals) as u8) };
            push(Node { votes: Votes { promise, ..votes }, ..now }, Step::ForgetsPromise { node });
        }
        if self.is(Fault::WipedGoesOn) && state.lost == Lost::Nobody {
            let mut after = *state;
            (after.nodes[node], after.lost) = (Node::default(), Lost::Over);
            out.push((after, Step::Lost { node }));
        }
        if self.is(Fault::RefilledInPlace) && state.lost == Lost::Nobody && now.has {
            let mut after = *state;
            (after.nodes[node].has, after.lost) = (false, Lost::Refilling(node as u8));
            out.push((after, Step::Lost { node }));
        }
        if state.lost == Lost::Refilling(node as u8) {
            // By all others, which is the most that can be asked for.
            let mut after = *state;
            after.nodes[node].has = state.nodes.iter().any(|other| other.has);
            after.lost = Lost::Over;
            out.push((after, Step::Refilled { node }));
        }
    }

    fn delete_steps(&self, state: &State, node: usize, push: &mut impl FnMut(Node, Step)) {
        let now = state.nodes[node];
        let (me, mut ballots) = (owner(node), now.votes.ballots());
        if self.is(Fault::DeleterTrustsHolders) {
            let believed = highest(self.believed(state, Fault::DeleterTrustsHolders));
            let knows = usize::from(now.votes.promise) >= believed;
            if knows {
                ballots.decided(id(believed)).at_once(&mut ballots);
            }
        }
        let floor = self.groups.get(ballots.floor());
        let has = |other: Owner| state.nodes[other.node.0 as usize].has;
        let confirmed = |other: Owner| now.confirmed & 1 << other.node.0 != 0;
        let confirms = self.scenario.confirms;
        let may = ballots.may_delete(me, floor, |other| if confirms { confirmed(other) } else { has(other) });
        if may.is_ok() {
            push(Node { has: false, confirmed: 0, ..now }, Step::Deletes { node });
        }
        if confirms && ballots.may_delete(me, floor, |_| true).is_ok() {
            for of in bits(self.scenario.owners[usize::from(now.votes.floor)]) {
                if has(owner(of)) && !confirmed(owner(of)) {
                    let next = Node { confirmed: now.confirmed | 1 << of, ..now };
                    push(next, Step::Confirms { node, of });
                }
            }
        }
    }

    fn write_steps(&mut self, state: &State, out: &mut Vec<(State, Step)>) {
        let believed = self.believed(state, Fault::WriterTrustsHolders);
        for &(named, acks) in &*self.attempts(state.named, state.acks, believed) {
            let sets = sets(named);
            let asked = bits(named).fold(0, |set, layout| set | self.scenario.owners[layout]);
            for node in bits(asked & !acks) {
                let votes = state.nodes[node].votes;
                let Ok(step) = votes.ballots().admit_write(&sets) else { continue };
                let mut next = *state;
                next.nodes[node].vote(votes.after(step).0);
                next.nodes[node].has = true;
                (next.named, next.acks) = (named, acks | 1 << node);
                let acknowledged = self.is_reached(next.named, next.acks);
                if acknowledged {
                    (next.done, next.named) = (true, 0);
                    // Where owners are gone, what is owed depends on who had it.
                    next.acks = if self.scenario.gone == 0 { 0 } else { next.acks };
                }
                out.push((next, Step::Stores { node, named, anew: named != state.named, acknowledged }));
            }
        }
    }
}

impl World for Model<'_> {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State { decided: 1, ..State::default() }
    }

    fn steps(&mut self, state: &State, out: &mut Vec<(State, Step)>) {
        for node in self.nodes() {
            self.replica_steps(state, node, out);
        }
        for layout in (1..self.layouts()).filter(|layout| state.decided & 1 << layout == 0) {
            let at_once = self.is(Fault::UnchangedIsDecided) && self.is_unchanged(layout);
            if at_once || Self::drive(state, layout).is_decided(&self.groups) {
                let decided = state.decided | 1 << layout;
                out.push((State { decided, ..*state }, Step::Decided { layout }));
            }
        }
        if !state.done {
            self.write_steps(state, out);
        }
        let keeps = self.scenario.fault.is_some();
        for (after, _) in out.iter_mut().filter(|_| !keeps) {
            for node in &mut after.nodes {
                node.votes.forget(after.decided);
                bits(after.decided).for_each(|layout| node.answers[layout] = Answer::default());
            }
        }
    }

    fn wrong(&mut self, state: &State) -> Option<String> {
        if state.done
            && let Some(owed) = self.owed(state)
        {
            return Some(owed);
        }
        self.scenario.silent.iter().find_map(|&silent| {
            let stuck = self.completes(state, silent).err()?;
            Some(format!("{stuck} while {silent:05b} are silent"))
        })
    }
}
