//! The coordinator of a get.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{Patience, Roster, Wait};
use crate::causality::{Cover, Entry, Update, View};
use crate::config::{Mode, Spread};
use crate::dots::DotSet;
use crate::error::{Answer, Refusal, Shortfall};
use crate::ids::{Dot, NodeId, PartitionId};
use crate::message::Shown;
use crate::mutant::{self, Mutant};
use crate::time::{Time, micros};
use crate::trace::{Answered, Ask, Notes, Step, Why};
use crate::verdict::{Decision, Verdict};

/// A get in progress.
///
/// The R owners that are likely to be fastest are asked at once, another when one refuses or is late, or when it is
/// slower than its own 95th percentile and the budget allows. A fallback is asked only where owners are out of reach,
/// and what it holds is joined but never counted: a fallback without hints has no information, which is not "nothing".
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq))]
pub(crate) struct Getting {
    rule: GetRule,
    partition: PartitionId,
    asked: SmallVec<[Asked; 3]>,
    verdict: Verdict,
    replies: SmallVec<[OwnerReply; 2]>,
    hints: Vec<Arc<Update>>,
    /// Who answered first: the best coordinator for the write that follows.
    fastest: Option<NodeId>,
    answered: bool,
    pub(crate) notes: Notes,
}

/// What it takes for a read to succeed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GetRule {
    pub(crate) r: u8,
    pub(crate) mode: Mode,
    pub(crate) spread: Spread,
    pub(crate) all: bool,
}

impl GetRule {
    /// R is no less than the owners that must be among those who answer.
    pub(crate) fn new(r: u8, mode: Mode, spread: Spread, all: bool) -> Self {
        Self { r: r.max(mode.owners()), mode: mode.plain(), spread, all }
    }
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq))]
struct Asked {
    node: NodeId,
    since: Time,
    state: State,
    slot: Option<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Waiting { wait: Wait, hedged: bool },
    Answered(Answer),
}

/// What an owner showed: kept until the answer is out, to know who is behind.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq))]
pub(crate) struct OwnerReply {
    pub(crate) node: NodeId,
    pub(crate) live: Vec<Entry>,
    pub(crate) residual: DotSet,
    pub(crate) clock: Arc<DotSet>,
}

impl OwnerReply {
    /// What it says alone.
    fn view(&self) -> View {
        let mut view = View { live: self.live.clone(), covered: DotSet::clone(&self.clock) };
        if !self.residual.is_empty() {
            view.covered.union_with(&self.residual);
        }
        for entry in &self.live {
            view.covered.insert(entry.dot);
        }
        view
    }

    fn cover(&self) -> Cover<'_> {
        Cover { own: &self.residual, shared: &self.clock }
    }
}

/// What a node has shown, for people; whether it counts.
fn seen(result: &Result<Shown, Refusal>, counts: bool) -> Answered {
    match result {
        Ok(Shown::Owner { live, .. }) if counts => Answered::Versions(live.len() as u64),
        Ok(Shown::Hint(update)) => Answered::Hint(update.live.len() as u64),
        Ok(Shown::Nothing | Shown::Owner { .. }) => Answered::NoInformation,
        Err(refusal) => Answered::Refused(*refusal),
    }
}

/// How a get ended for the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Done { view: View, owners: u8, fastest: Option<NodeId> },
    Failed(Shortfall),
}

impl Getting {
    pub(crate) fn start(
        rule: GetRule,
        partition: PartitionId,
        roster: Roster<'_>,
        now: Time,
        notes: Notes,
        ask: &mut Vec<NodeId>,
    ) -> Self {
        let verdict = match rule.spread {
            Spread::Nodes => Verdict::of_nodes(rule.r, 0),
            Spread::Zones => Verdict::of_zones(rule.r, 0),
        };
        let mut get = Self {
            rule,
            partition,
            asked: SmallVec::new(),
            verdict,
            replies: SmallVec::new(),
            hints: Vec::new(),
            fastest: None,
            answered: false,
            notes,
        };
        if get.notes.is_wanted() {
            get.note_suspects(roster, now);
        }
        let wanted = if rule.all || rule.spread == Spread::Zones { u8::MAX } else { rule.r };
        for _ in 0..wanted {
            if !get.ask_owner(Why::Fastest, roster, now, ask) {
                break;
            }
        }
        if rule.mode.takes_fallbacks() {
            let missing = usize::from(rule.r).saturating_sub(get.asked.len());
            for _ in 0..missing {
                let owners = roster.layout().owners(partition);
                let skipped = owners.iter().copied().find(|node| roster.is_suspected(*node)).unwrap_or(roster.me);
                get.ask_another(Why::InStead(skipped), roster, now, ask);
            }
        }
        get.ask_suspects(roster, now, ask);
        get
    }

    #[cold]
    #[inline(never)]
    fn note_suspects(&mut self, roster: Roster<'_>, now: Time) {
        let owners = roster.layout().owners(self.partition).iter();
        for &node in owners.filter(|node| roster.is_suspected(**node)) {
            self.notes.note(|| roster.skipped(node, now));
        }
    }

    /// Asks the fastest owner that was not asked yet; suspected ones only where the others are too few.
    fn ask_owner(&mut self, why: Why, roster: Roster<'_>, now: Time, ask: &mut Vec<NodeId>) -> bool {
        let desperate = why == Why::TooFew;
        let free = |node: &NodeId| {
            self.asked.iter().all(|asked| asked.node != *node) && (desperate || !roster.is_suspected(*node))
        };
        let owners = roster.layout().owners(self.partition).iter().copied();
        // Of a peer that was never asked nothing is known: this node's own copy comes before it.
        let rank = |&node: &NodeId| (roster.typical(node), node != roster.me);
        let Some(node) = owners.filter(free).min_by_key(rank) else { return false };
        let zone = if self.rule.spread == Spread::Zones { roster.zone(node) } else { 0 };
        let slot = Some(self.verdict.ask(zone));
        self.push(node, slot, why, roster, now, ask);
        true
    }

    /// Asks the next node in the stead of one that doesn't answer: an owner, else (sloppy) a fallback, else a suspect.
    fn ask_another(&mut self, why: Why, roster: Roster<'_>, now: Time, ask: &mut Vec<NodeId>) {
        if self.ask_owner(why, roster, now, ask) {
            return;
        }
        // This node is a fallback too where it is not an owner, and asking itself costs nothing.
        let owners = roster.layout().owners(self.partition);
        let me = Some(roster.me).filter(|me| !owners.contains(me));
        let free = |node: &NodeId| self.asked.iter().all(|asked| asked.node != *node);
        let mut fallbacks = me.into_iter().chain(roster.fallbacks(self.partition));
        let fallback = if self.rule.mode.takes_fallbacks() { fallbacks.find(free) } else { None };
        match fallback {
            Some(node) if self.asked.len() < usize::from(Verdict::SLOTS) => {
                self.push(node, None, why, roster, now, ask);
            }
            _ => {
                self.ask_owner(Why::TooFew, roster, now, ask);
            }
        }
    }

    fn push(&mut self, node: NodeId, slot: Option<u8>, why: Why, roster: Roster<'_>, now: Time, ask: &mut Vec<NodeId>) {
        self.notes.note(|| Step::Asked { node, ask: Ask::Read, why, usual_us: micros(roster.typical(node)) });
        let state = State::Waiting { wait: Wait::Fresh, hedged: false };
        self.asked.push(Asked { node, since: now, state, slot });
        ask.push(node);
    }

    /// Suspicion may be wrong: where the owners who may still answer are too few, suspects are asked all the same.
    /// A sloppy read asks fallbacks first.
    fn ask_suspects(&mut self, roster: Roster<'_>, now: Time, ask: &mut Vec<NodeId>) {
        while self.lacks_owners() && self.ask_owner(Why::TooFew, roster, now, ask) {}
    }

    /// Whether those who were asked can't be the owners that it takes, whatever they answer.
    fn lacks_owners(&self) -> bool {
        let may = |asked: &&Asked| {
            asked.slot.is_some() && matches!(asked.state, State::Waiting { .. } | State::Answered(Answer::Done))
        };
        match self.rule.mode {
            Mode::Sloppy => false,
            Mode::Strict => self.verdict.decision() == Decision::Failed,
            Mode::Owners(count) => self.asked.iter().filter(may).count() < usize::from(count),
        }
    }

    /// Whether what was shown is an answer, though too few have shown something.
    fn may_be_shown(&self) -> bool {
        match self.rule.mode {
            Mode::Sloppy => !self.replies.is_empty() || !self.hints.is_empty(),
            Mode::Strict => false,
            Mode::Owners(count) => self.replies.len() >= usize::from(count),
        }
    }

    /// Takes a node's answer in, and asks another if it was of no use.
    pub(crate) fn answer(
        &mut self,
        node: NodeId,
        result: Result<Shown, Refusal>,
        roster: Roster<'_>,
        now: Time,
        ask: &mut Vec<NodeId>,
    ) {
        let Some(asked) = self.asked.iter_mut().find(|asked| asked.node == node) else { return };
        let State::Waiting { wait, .. } = asked.state else { return };
        let slot = asked.slot;
        let (answer, counts) = match (&result, slot) {
            (Ok(Shown::Owner { .. }), Some(_)) => (Answer::Done, true),
            (Ok(Shown::Hint(_)), _) => (Answer::Hinted(node), false),
            (Ok(Shown::Nothing | Shown::Owner { .. }), _) => (Answer::NoInformation, false),
            (Err(Refusal::Storage), Some(_)) if mutant::is(Mutant::CountReadErrors) => (Answer::Done, true),
            (Err(refusal), _) => (Answer::Refused(*refusal), false),
        };
        asked.state = State::Answered(answer);
        let took = now.since(asked.since);
        self.notes.note(|| Step::Answered { node, answer: seen(&result, counts), took_us: micros(took) });
        match result {
            Ok(Shown::Owner { live, residual, clock }) if counts => {
                self.fastest.get_or_insert(node);
                self.replies.push(OwnerReply { node, live, residual, clock });
            }
            Ok(Shown::Hint(update)) => self.hints.push(update),
            Ok(Shown::Owner { .. } | Shown::Nothing) | Err(_) => {}
        }
        match slot {
            Some(slot) if counts => self.verdict.good(slot),
            // It was late, so another was asked already.
            Some(slot) => {
                if wait == Wait::Fresh && !self.answered {
                    self.ask_another(Why::InStead(node), roster, now, ask);
                }
                self.verdict.bad(slot);
                if !self.answered {
                    self.ask_suspects(roster, now, ask);
                }
            }
            // A fallback was asked because owners are suspected; if it is of no use, the suspicion may be wrong.
            None if answer != Answer::Hinted(node) && wait == Wait::Fresh && !self.answered => {
                self.ask_another(Why::InStead(node), roster, now, ask);
            }
            None => {}
        }
    }

    /// Asks others in the stead of those that are late. Returns the nodes that may be down.
    pub(crate) fn late(
        &mut self,
        roster: Roster<'_>,
        now: Time,
        patience: Patience,
        ask: &mut Vec<NodeId>,
    ) -> Vec<NodeId> {
        let mut silent = Vec::new();
        for at in 0..self.asked.len() {
            let asked = &mut self.asked[at];
            let State::Waiting { wait, hedged } = asked.state else { continue };
            let next = wait.at(asked.since, now, patience);
            if next == wait {
                continue;
            }
            asked.state = State::Waiting { wait: next, hedged };
            let (node, waited) = (asked.node, now.since(asked.since));
            silent.push(node);
            self.notes.note(|| Step::Late { node, waited_us: micros(waited) });
            if wait == Wait::Fresh && !self.answered {
                self.ask_another(Why::InStead(node), roster, now, ask);
            }
        }
        silent
    }

    /// Asks one more owner if one is slower than its own 95th percentile and the budget `allows`. True if it asked.
    pub(crate) fn hedge(&mut self, allowed: bool, roster: Roster<'_>, now: Time, ask: &mut Vec<NodeId>) -> bool {
        let mut hedged = false;
        for at in 0..self.asked.len() {
            let asked = &mut self.asked[at];
            if let State::Waiting { wait, hedged: false } = asked.state
                && roster.hedge_after(asked.node).is_some_and(|after| now.since(asked.since) >= after)
            {
                asked.state = State::Waiting { wait, hedged: true };
                let (node, waited) = (asked.node, now.since(asked.since));
                let may_hedge = allowed && !hedged;
                self.notes.note(|| Step::Slow { node, waited_us: micros(waited), may_hedge });
                hedged |= may_hedge && self.ask_owner(Why::Hedge(node), roster, now, ask);
            }
        }
        hedged
    }

    /// The answer for the client, once, as soon as it is final; `expired` when the request's time is over.
    pub(crate) fn outcome(&mut self, expired: bool) -> Option<Outcome> {
        if self.answered {
            return None;
        }
        let outcome = match self.verdict.decision() {
            Decision::Reached => self.done(),
            // Every owner was asked by then.
            Decision::Open | Decision::Failed if self.rule.mode != Mode::Strict && self.lacks_owners() => {
                Outcome::Failed(self.shortfall())
            }
            Decision::Open if !expired && !self.is_exhausted() => return None,
            Decision::Failed if self.is_waiting() && !expired && self.rule.mode.takes_fallbacks() => return None,
            // Sloppy: what was reached is the answer, and says how many owners that was.
            Decision::Open | Decision::Failed if self.may_be_shown() => self.done(),
            Decision::Open if !expired => return None,
            // Owners that are late may yet be as many as it takes.
            Decision::Failed if !expired && self.rule.mode.owners() > 0 => return None,
            Decision::Open | Decision::Failed => Outcome::Failed(self.shortfall()),
        };
        self.answered = true;
        let needed = self.verdict.needed();
        self.notes.note(|| match &outcome {
            Outcome::Done { owners, .. } => Step::Reached { got: *owners, needed },
            Outcome::Failed(shortfall) => Step::Failed(shortfall.clone()),
        });
        Some(outcome)
    }

    /// As [`Getting::outcome`], but a failure is not final unless it `may_fail`.
    pub(crate) fn outcome_if(&mut self, may_fail: bool, expired: bool) -> Option<Outcome> {
        if !may_fail && self.verdict.decision() != Decision::Reached {
            return None;
        }
        self.outcome(expired)
    }

    /// Whether any node that was asked may still answer in time.
    fn is_waiting(&self) -> bool {
        self.asked.iter().any(|asked| matches!(asked.state, State::Waiting { wait: Wait::Fresh, .. }))
    }

    fn is_exhausted(&self) -> bool {
        self.rule.mode.takes_fallbacks() && !self.is_waiting()
    }

    fn done(&self) -> Outcome {
        let owners = self.replies.len() as u8;
        Outcome::Done { view: self.view(), owners, fastest: self.fastest }
    }

    /// The join of all that was shown.
    pub(crate) fn view(&self) -> View {
        let mut replies = self.replies.iter();
        let mut view = replies.next().map_or_else(View::default, OwnerReply::view);
        for reply in replies {
            view.join(&reply.live, reply.cover());
        }
        let nothing = DotSet::new();
        for hint in &self.hints {
            view.join(&hint.live, Cover { own: &hint.covered, shared: &nothing });
        }
        view
    }

    /// The owners that would change if they joined all that was shown.
    pub(crate) fn behind(&self) -> Vec<NodeId> {
        // Replicas that show the same dots agree, whatever their clocks: the common case needs no join.
        fn dots(reply: &OwnerReply) -> impl Iterator<Item = Dot> {
            reply.live.iter().map(|entry| entry.dot)
        }
        let alike = |reply: &OwnerReply| dots(reply).eq(dots(&self.replies[0]));
        if mutant::is(Mutant::RepairAlways) {
            return self.replies.iter().map(|reply| reply.node).collect();
        }
        if self.hints.is_empty() && self.replies.iter().skip(1).all(alike) {
            return Vec::new();
        }
        let view = self.view();
        let behind = self.replies.iter().filter(|reply| view.is_ahead_of(&reply.live, reply.cover()));
        behind.map(|reply| reply.node).collect()
    }

    /// The owner that answered first, where more than one did.
    pub(crate) fn first_of_several(&self) -> Option<NodeId> {
        (self.replies.len() > 1).then(|| self.replies[0].node)
    }

    /// Who was asked and has not answered.
    pub(crate) fn waits_for(&self) -> impl Iterator<Item = NodeId> {
        let waits = |asked: &&Asked| matches!(asked.state, State::Waiting { .. });
        self.asked.iter().filter(waits).map(|asked| asked.node)
    }

    /// When a node was asked.
    pub(crate) fn asked_at(&self, node: NodeId) -> Option<Time> {
        self.asked.iter().find(|asked| asked.node == node).map(|asked| asked.since)
    }

    fn shortfall(&self) -> Shortfall {
        let answer = |asked: &Asked| match asked.state {
            State::Waiting { .. } => Answer::Silent,
            State::Answered(answer) => answer,
        };
        let (needed, got) = match self.rule.mode {
            Mode::Sloppy | Mode::Strict => (self.verdict.needed(), self.verdict.got()),
            Mode::Owners(count) => (count, self.replies.len() as u8),
        };
        Shortfall { needed, got, answers: self.asked.iter().map(|asked| (asked.node, answer(asked))).collect() }
    }

    /// When [`Getting::late`] or [`Getting::hedge`] has something to do.
    pub(crate) fn due(&self, roster: Roster<'_>, patience: Patience) -> Option<Time> {
        let waits = self.asked.iter().filter_map(|asked| {
            let State::Waiting { wait, hedged } = asked.state else { return None };
            let hedge =
                roster.hedge_after(asked.node).filter(|_| !hedged && !self.answered).map(|after| asked.since + after);
            [wait.due(asked.since, patience), hedge].into_iter().flatten().min()
        });
        waits.min()
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answered
    }

    /// Whether everybody who was asked has answered.
    pub(crate) fn is_complete(&self) -> bool {
        self.asked.iter().all(|asked| matches!(asked.state, State::Answered(_)))
    }
}
