//! The coordinator of a put.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{Patience, Roster, Wait};
use crate::config::{Mode, Spread};
use crate::error::{Answer, Refusal, Shortfall};
use crate::ids::{NodeId, PartitionId};
use crate::message::WriteRule;
use crate::mutant::{self, Mutant};
use crate::ring::Layout;
use crate::time::{Time, micros};
use crate::trace::{Ask, Notes, Step, Why};
use crate::verdict::{Decision, Verdict};

/// A put in progress: who was asked to store it, for whom, and what they said.
///
/// All N owners are asked at once. For one that is suspected, refuses or is late, the next healthy node of the
/// preference list keeps a hint; where there is none, the coordinator does. A node counts once.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq))]
pub(crate) struct Putting {
    rule: WriteRule,
    partition: PartitionId,
    places: SmallVec<[Place; 3]>,
    /// One for each layout that counts, in order.
    verdicts: SmallVec<[Verdict; 1]>,
    /// The same where so many must be owners: slot for slot those of `verdicts`, in which stand-ins have failed.
    owners: Vec<Verdict>,
    /// Owners for whom this node keeps the hint itself.
    kept: Vec<NodeId>,
    /// Timestamps decide, and no other node has believed this one yet.
    doubted: bool,
    /// Owners for whom this node is to keep a hint when somebody believes the timestamp.
    held_back: Vec<NodeId>,
    answered: bool,
    pub(crate) notes: Notes,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq))]
struct Place {
    node: NodeId,
    owner: NodeId,
    state: State,
    /// Where it counts: its slot in the verdict on each layout whose owner it is, or stands in for.
    slots: SmallVec<[Option<u8>; 1]>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Waiting { since: Time, wait: Wait },
    Stored,
    Failed(Answer),
}

/// What the coordinator is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Send the write, as a hint if it is for another node.
    Write { to: NodeId, hint_for: Option<NodeId> },
    /// Keep it as a hint on this node.
    Keep { owner: NodeId },
}

/// How a put ended for the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Done { owners: u8, fallbacks: u8, only_here: bool },
    Failed(Shortfall),
}

impl Putting {
    /// Starts; an owner that coordinates has applied the write already, and reports it with [`Putting::stored`] when
    /// it is durable. `doubted` if timestamps decide: then this node keeps no hint before another has believed this one.
    pub(crate) fn start(
        rule: WriteRule,
        doubted: bool,
        partition: PartitionId,
        roster: Roster<'_>,
        now: Time,
        notes: Notes,
        orders: &mut Vec<Order>,
    ) -> Self {
        let verdict = |_| match rule.spread {
            _ if mutant::is(Mutant::OneLess) => Verdict::of_nodes(rule.w.max(2) - 1, 0),
            Spread::Nodes => Verdict::of_nodes(rule.w, 0),
            Spread::Zones => Verdict::of_zones(rule.w, 0),
        };
        let (places, kept, held_back) = (SmallVec::new(), Vec::new(), Vec::new());
        let verdicts = roster.layouts.iter().map(verdict).collect();
        let of_owners = |layout: &Arc<Layout>| Verdict::of_nodes(rule.mode.owners().min(layout.n()), 0);
        let owners = if rule.mode.owners() > 0 { roster.layouts.iter().map(of_owners).collect() } else { Vec::new() };
        let mut put =
            Self { rule, partition, places, verdicts, owners, kept, doubted, held_back, answered: false, notes };
        // Suspicion may be wrong: where too few others are left to reach W, suspects are asked all the same.
        let suspected = roster.owners(partition).filter(|&node| roster.is_suspected(node)).count();
        let enough = |stand_ins: usize| {
            roster.layouts.iter().all(|layout| {
                let owners = layout.owners(partition).iter().copied();
                let healthy = owners.filter(|&node| !roster.is_suspected(node));
                let nodes = healthy.chain(roster.fallbacks(partition).take(stand_ins));
                roster.reach(rule.spread, nodes) >= usize::from(rule.w)
            })
        };
        let lacks_owners = roster.layouts.iter().any(|layout| {
            let healthy = layout.owners(partition).iter().filter(|&&node| !roster.is_suspected(node));
            healthy.count() < usize::from(rule.mode.owners())
        });
        let desperate = lacks_owners || !enough(0) && (rule.mode == Mode::Strict || !enough(suspected));
        for owner in roster.owners(partition) {
            if owner == roster.me || !roster.is_suspected(owner) || desperate {
                let why = if roster.is_suspected(owner) { Why::TooFew } else { Why::Owner };
                put.ask(owner, owner, why, roster, now, orders);
            } else {
                put.notes.note(|| roster.skipped(owner, now));
                let (state, slots) = (State::Failed(Answer::Suspected), SmallVec::new());
                put.places.push(Place { node: owner, owner, state, slots });
            }
        }
        for owner in roster.owners(partition) {
            if owner != roster.me && (roster.is_suspected(owner) || roster.is_slow(owner)) {
                put.stand_in(owner, roster, now, orders);
            }
        }
        put
    }

    fn ask(&mut self, node: NodeId, owner: NodeId, why: Why, roster: Roster<'_>, now: Time, orders: &mut Vec<Order>) {
        let ask = if node == owner { Ask::Write } else { Ask::Keep(owner) };
        self.notes.note(|| Step::Asked { node, ask, why, usual_us: micros(roster.typical(node)) });
        // A hint counts toward W where not all must be owners.
        let counts = node == owner || self.rule.mode.takes_fallbacks() || mutant::is(Mutant::CountHintsInStrict);
        let zone = if self.rule.spread == Spread::Zones { roster.zone(node) } else { 0 };
        let layouts = roster.layouts.iter().zip(&mut self.verdicts).enumerate();
        let owners = &mut self.owners;
        let slots = layouts
            .map(|(at, (layout, verdict))| {
                let slot = (counts && layout.owns(owner, self.partition)).then(|| verdict.ask(zone))?;
                if let Some(owners) = owners.get_mut(at) {
                    owners.ask(zone);
                    if node != owner {
                        owners.bad(slot);
                    }
                }
                Some(slot)
            })
            .collect();
        self.places.push(Place { node, owner, state: State::Waiting { since: now, wait: Wait::Fresh }, slots });
        if node != roster.me {
            orders.push(Order::Write { to: node, hint_for: (node != owner).then_some(owner) });
        }
    }

    /// Finds a node to keep the write for `owner`, for whom nobody keeps it: the next healthy one that was not asked
    /// yet, else this one.
    fn stand_in(&mut self, owner: NodeId, roster: Roster<'_>, now: Time, orders: &mut Vec<Order>) {
        // Nobody is asked to take, and nobody keeps, what a replica will not believe.
        if self.is_unbelieved() {
            return;
        }
        let free = roster.fallbacks(self.partition).find(|node| self.places.iter().all(|place| place.node != *node));
        match free {
            Some(node) if self.places.len() < usize::from(Verdict::SLOTS) => {
                self.ask(node, owner, Why::InStead(owner), roster, now, orders);
            }
            _ if self.doubted => {
                self.notes.note(|| Step::HoldsBackHint { owner });
                self.held_back.push(owner);
            }
            _ => {
                self.notes.note(|| Step::KeepsHint { owner });
                self.kept.push(owner);
                orders.push(Order::Keep { owner });
            }
        }
    }

    pub(crate) fn holds_back(&self) -> bool {
        !self.held_back.is_empty()
    }

    /// Whether a replica has refused the timestamp.
    fn is_unbelieved(&self) -> bool {
        let refused = State::Failed(Answer::Refused(Refusal::ClockAhead));
        self.places.iter().any(|place| place.state == refused)
    }

    /// Keeps what was held back, if another node has believed the timestamp, or none is left that could.
    ///
    /// As a hint a timestamp from a clock that is far ahead would come in by the back door: its target takes what is
    /// kept for it whatever it says.
    pub(crate) fn keep_held_back(&mut self, me: NodeId, expired: bool, orders: &mut Vec<Order>) {
        if self.is_unbelieved() {
            return;
        }
        let mut others = self.places.iter().filter(|place| place.node != me);
        let believed = others.clone().any(|place| place.state == State::Stored);
        if believed || expired || !others.any(|place| matches!(place.state, State::Waiting { .. })) {
            self.doubted = false;
            let held_back = self.held_back.iter();
            held_back.for_each(|&owner| self.notes.note(|| Step::KeepsHint { owner }));
            orders.extend(self.held_back.iter().map(|&owner| Order::Keep { owner }));
            self.kept.append(&mut self.held_back);
        }
    }

    /// This node could not keep the hint that it was ordered to keep: the owner is nobody's charge again.
    pub(crate) fn not_kept(&mut self, owner: NodeId) {
        self.kept.retain(|kept| *kept != owner);
        self.notes.note(|| Step::KeepsNoHint { owner });
    }

    /// A node has stored it.
    pub(crate) fn stored(&mut self, node: NodeId) {
        self.stored_in(node, |_| true);
    }

    /// A node has stored it, and counts in these of the layouts: where another store is named for it, it doesn't.
    pub(crate) fn stored_in(&mut self, node: NodeId, counts: impl Fn(usize) -> bool) {
        if mutant::is(Mutant::CountTwice)
            && self.places.iter().any(|place| place.node == node && place.state == State::Stored)
            && let Some(other) = self.places.iter().find(|place| place.state != State::Stored)
        {
            for (slot, verdict) in other.slots.iter().zip(&mut self.verdicts) {
                slot.iter().for_each(|slot| verdict.good(*slot));
            }
        }
        if let Some(place) = self.places.iter_mut().find(|place| place.node == node) {
            place.state = State::Stored;
            for (at, (slot, verdict)) in place.slots.iter().zip(&mut self.verdicts).enumerate() {
                let Some(slot) = *slot else { continue };
                let is_owner = place.node == place.owner;
                if !is_owner || counts(at) {
                    verdict.good(slot)
                } else {
                    verdict.bad(slot)
                }
                if let Some(owners) = self.owners.get_mut(at) {
                    if is_owner && counts(at) { owners.good(slot) } else { owners.bad(slot) }
                }
            }
        }
    }

    /// A node has refused it.
    pub(crate) fn refused(
        &mut self,
        node: NodeId,
        refusal: Refusal,
        roster: Roster<'_>,
        now: Time,
        orders: &mut Vec<Order>,
    ) {
        let Some(at) =
            self.places.iter().position(|place| place.node == node && matches!(place.state, State::Waiting { .. }))
        else {
            return;
        };
        let owner = self.places[at].owner;
        self.places[at].state = State::Failed(Answer::Refused(refusal));
        // Another node is asked before the failure is counted, so that it is not final too early.
        if !self.is_covered(owner) {
            self.stand_in(owner, roster, now, orders);
        }
        for verdicts in [&mut self.verdicts[..], &mut self.owners] {
            for (slot, verdict) in self.places[at].slots.iter().zip(verdicts) {
                slot.iter().for_each(|slot| verdict.bad(*slot));
            }
        }
    }

    /// Asks others in the stead of those that are late. Returns the nodes that may be down.
    pub(crate) fn late(
        &mut self,
        roster: Roster<'_>,
        now: Time,
        patience: Patience,
        orders: &mut Vec<Order>,
    ) -> Vec<NodeId> {
        let mut silent = Vec::new();
        for at in 0..self.places.len() {
            let place = &mut self.places[at];
            let State::Waiting { since, wait } = place.state else { continue };
            let next = wait.at(since, now, patience);
            if place.node == roster.me || next == wait {
                continue;
            }
            place.state = State::Waiting { since, wait: next };
            let (owner, node) = (place.owner, place.node);
            silent.push(node);
            self.notes.note(|| Step::Late { node, waited_us: micros(now.since(since)) });
            if !self.is_covered(owner) {
                self.stand_in(owner, roster, now, orders);
            }
        }
        silent
    }

    /// Whether the owner has it, or a node that keeps it for the owner does, or may yet.
    fn is_covered(&self, owner: NodeId) -> bool {
        self.kept.contains(&owner)
            || self.held_back.contains(&owner)
            || self.places.iter().any(|place| {
                place.owner == owner && matches!(place.state, State::Stored | State::Waiting { wait: Wait::Fresh, .. })
            })
    }

    /// Owners for whom nobody is known to have it: this node keeps it when the request is given up.
    pub(crate) fn uncovered(&self, roster: Roster<'_>) -> Vec<NodeId> {
        if self.is_unbelieved() {
            return Vec::new();
        }
        let covered = |owner: &NodeId| {
            *owner == roster.me
                || self.kept.contains(owner)
                || self.places.iter().any(|place| place.owner == *owner && place.state == State::Stored)
        };
        roster.owners(self.partition).filter(|owner| !covered(owner)).collect()
    }

    /// The answer for the client, once, as soon as it is final; `expired` when the request's time is over.
    pub(crate) fn outcome(&mut self, expired: bool) -> Option<Outcome> {
        if self.answered {
            return None;
        }
        let outcome = match self.decision() {
            Decision::Reached => self.done(false),
            Decision::Open if !expired => return None,
            // The one case in which a hint at the coordinator counts: sloppy, W = 1, and nobody else within reach.
            Decision::Open | Decision::Failed
                if self.rule.mode == Mode::Sloppy && self.rule.w == 1 && !self.kept.is_empty() =>
            {
                self.done(true)
            }
            Decision::Open | Decision::Failed => Outcome::Failed(self.shortfall()),
        };
        self.answered = true;
        if self.notes.is_wanted() {
            let (got, needed) = (self.verdicts.iter().map(Verdict::got).min().unwrap_or(0), self.needed());
            self.notes.note(|| match &outcome {
                Outcome::Done { .. } => Step::Reached { got, needed },
                Outcome::Failed(shortfall) => Step::Failed(shortfall.clone()),
            });
        }
        Some(outcome)
    }

    /// Reached in every layout, or failed in one.
    fn decision(&self) -> Decision {
        let mut all = Decision::Reached;
        for verdict in self.verdicts.iter().chain(&self.owners) {
            match verdict.decision() {
                Decision::Failed => return Decision::Failed,
                Decision::Open => all = Decision::Open,
                Decision::Reached => {}
            }
        }
        all
    }

    /// Whether it is stored often enough in every layout.
    pub(crate) fn is_reached(&self) -> bool {
        self.decision() == Decision::Reached
    }

    fn done(&self, only_here: bool) -> Outcome {
        let stored = |hints: bool| {
            let places = self.places.iter();
            places.filter(|place| place.state == State::Stored && (place.node != place.owner) == hints).count() as u8
        };
        Outcome::Done { owners: stored(false), fallbacks: stored(true), only_here }
    }

    fn needed(&self) -> u8 {
        self.verdicts.iter().map(Verdict::needed).max().unwrap_or(self.rule.w)
    }

    fn shortfall(&self) -> Shortfall {
        let answer = |place: &Place| match place.state {
            State::Waiting { .. } => Answer::Silent,
            State::Stored if place.node != place.owner => Answer::Hinted(place.owner),
            State::Stored => Answer::Done,
            State::Failed(answer) => answer,
        };
        let is_reached = |verdict: &Verdict| verdict.decision() == Decision::Reached;
        let short = if self.verdicts.iter().all(is_reached) { &self.owners[..] } else { &self.verdicts };
        Shortfall {
            needed: short.iter().map(Verdict::needed).max().unwrap_or(self.rule.w),
            got: short.iter().map(Verdict::got).min().unwrap_or(0),
            answers: self.places.iter().map(|place| (place.node, answer(place))).collect(),
        }
    }

    /// When [`Putting::late`] has something to do.
    pub(crate) fn due(&self, patience: Patience) -> Option<Time> {
        let waits = self.places.iter().filter_map(|place| match place.state {
            State::Waiting { since, wait } => wait.due(since, patience),
            State::Stored | State::Failed(_) => None,
        });
        waits.min()
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answered
    }

    /// Whether the client has its answer and every owner has the write, or somebody keeps it for the owner.
    pub(crate) fn is_over(&self) -> bool {
        self.answered
            && self.places.iter().all(|place| {
                place.state == State::Stored
                    || self.kept.contains(&place.owner)
                    || self.places.iter().any(|other| other.owner == place.owner && other.state == State::Stored)
            })
    }

    /// Whether all owners are known to have stored it, and not others for them.
    pub(crate) fn is_at_all_owners(&self) -> bool {
        self.places.iter().all(|place| place.node != place.owner || place.state == State::Stored)
    }

    /// Whether anybody is known to have stored it; this node has, if it is an owner.
    pub(crate) fn is_anywhere(&self, me: NodeId) -> bool {
        self.places.iter().any(|place| place.state == State::Stored || place.node == me)
    }

    /// Who was asked and has not answered.
    pub(crate) fn waits_for(&self) -> impl Iterator<Item = NodeId> {
        let waits = |place: &&Place| matches!(place.state, State::Waiting { .. });
        self.places.iter().filter(waits).map(|place| place.node)
    }

    /// When a node was asked, if its answer is awaited.
    pub(crate) fn asked_at(&self, node: NodeId) -> Option<Time> {
        self.places.iter().find(|place| place.node == node).and_then(|place| match place.state {
            State::Waiting { since, .. } => Some(since),
            State::Stored | State::Failed(_) => None,
        })
    }
}
