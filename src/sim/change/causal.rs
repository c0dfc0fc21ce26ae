//! A layout change where a replica's state is a record and a clock, and both come over in steps.
//!
//! One key and two events: somebody's put, which may come late, as a hint does; and a delete of it. A new owner fills
//! itself by full exchanges, whose records come first and whose clock comes last; a delete leaves nothing but a residual,
//! or a clock. Once the delete is acknowledged no strict read may show what it deleted.
//!
//! The ballots are each owner's machines, the records and clocks the shipped arithmetic on them; the steps of an exchange
//! are told again here. An owner that has lost its store comes back as another node, whose former self is silent. Left
//! out are exchanges by clock difference, read repair, and a second key.

use std::hash::{Hash, Hasher};

use super::model::Model;
use super::search::World;
use super::world::{Scenario, Votes, bits, drive, fenced, highest, id, index, owner, set_of, sets};
use crate::ballot::Owner;
use crate::bytes::Bytes;
use crate::causality::{Cover, DotSet, Entry, Record, Stamp, Update};
use crate::change::{Collected, Drive, Fenced, Move};
use crate::ids::{Actor, Dot, NodeId, Start};

/// The most nodes and layouts.
const NODES: usize = 3;
const LAYOUTS: usize = 3;

/// What the one request is that is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    /// A put: it must be seen.
    Put,
    /// A delete of a put that may come late: that must not be seen.
    Delete,
}

/// A rule about records and clocks that is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Muddle {
    /// An exchange that began before the fence counts.
    OpenedBeforeFence,
    /// A new owner holds the layout when the records have come, and not only when the clock has.
    HeldBeforeClock,
    /// A key into which something came during the exchange is not fetched again.
    FetchedOnce,
    /// A former owner drops its copy when others have the same records, whatever their clocks say.
    CoveredByRecords,
    /// A former owner drops its records and keeps its clock.
    ClockKept,
    /// Several exchanges at once, each of which looks again at keys into which something came with a write, but not at
    /// those into which another exchange has brought something.
    SeveralAtOnce,
    /// An exchange goes on when the other has dropped its copy.
    OutlivesDrop,
    /// What was collected for one layout counts for a later one.
    CollectedForEarlier,
    /// What was collected still counts when the copy was dropped since.
    CollectedAndDropped,
}

/// An owner's full exchange with another, for one layout.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
enum Exchange {
    #[default]
    None,
    Open {
        layout: u8,
        /// The other's clock at the opening.
        opening: u8,
        /// The other had a residual then.
        unsettled: bool,
        /// The key was compared, and fetched if it differed.
        fetched: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
struct Answer {
    given: bool,
    floor: u8,
    seals: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
struct Node {
    votes: Votes,
    answers: [Answer; LAYOUTS],
    /// Bits of the put and the delete.
    live: u8,
    residual: u8,
    clock: u8,
    exchanges: [Exchange; NODES],
    /// Whose states were joined, by layout.
    joined: [u8; LAYOUTS],
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct State {
    nodes: [Node; NODES],
    decided: u8,
    named: u8,
    acks: u8,
    done: bool,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.nodes.hash(hasher);
        let rest = [self.decided, self.named, self.acks, u8::from(self.done), 0, 0, 0, 0];
        hasher.write_u64(u64::from_le_bytes(rest));
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Fenced { node: usize, layout: usize },
    Opens { node: usize, with: usize, layout: usize },
    Fetches { node: usize, from: usize },
    Closes { node: usize, with: usize },
    Holds { node: usize, layout: usize, closure: u8 },
    Seals { node: usize, layout: usize },
    Decided { layout: usize },
    Learns { node: usize, layout: usize },
    TakesLatePut { node: usize, named: u8 },
    Stores { node: usize, named: u8, acknowledged: bool },
    Drops { node: usize },
}

const PUT: u8 = 1;
const DELETE: u8 = 2;

fn dot(bit: usize) -> Dot {
    Dot { actor: Actor { node: NodeId(100 + bit as u64), start: Start(1) }, counter: 1 }
}

fn dots(set: u8) -> DotSet {
    bits(set).map(dot).collect()
}

fn set_of_dots(dots: &DotSet) -> u8 {
    (0..2).filter(|bit| dots.contains(dot(*bit))).fold(0, |set, bit| set | 1 << bit)
}

fn entries(set: u8) -> Vec<Entry> {
    bits(set)
        .map(|bit| Entry { dot: dot(bit), write_id: None, expires: None, stamp: Stamp(1), value: Bytes::default() })
        .collect()
}

impl Node {
    fn record(&self) -> (Record, DotSet) {
        (Record { live: entries(self.live), residual: dots(self.residual) }, dots(self.clock))
    }

    fn keep(&mut self, record: &Record, clock: &DotSet) {
        self.live = record.live.iter().fold(0, |set, entry| set | set_of_dots(&DotSet::of(entry.dot)));
        self.clock = set_of_dots(clock);
        self.residual = set_of_dots(&record.residual) & !self.clock;
    }

    /// Takes in the put, or the delete of it, as an owner does. Exchanges in progress look at the key again.
    fn take(&mut self, event: u8, muddle: Option<Muddle>) {
        let update = match entries(PUT).pop() {
            Some(put) if event == PUT => Update::put(put, &DotSet::new()),
            _ => Update::delete(dot(1), &dots(PUT)),
        };
        let (mut record, mut clock) = self.record();
        let (before, nothing) = (record.live.len(), DotSet::new());
        let cover = update.cover(&nothing);
        record.live.retain(|entry| update.live.iter().any(|new| new.dot == entry.dot) || !cover.contains(entry.dot));
        let dropped = record.live.len() < before;
        let change = record.take_in(&mut clock, &update.live, cover, &update.events, dropped);
        self.keep(&record, &clock);
        if muddle != Some(Muddle::FetchedOnce) {
            self.touch(set_of_dots(&change.added));
        }
    }

    /// These dots have come into the key: exchanges whose opening has them look at it again before they end.
    fn touch(&mut self, came: u8) {
        for exchange in &mut self.exchanges {
            if let Exchange::Open { opening, fetched, .. } = exchange
                && *opening & came != 0
            {
                *fetched = false;
            }
        }
    }
}

pub(super) struct Causal<'a> {
    scenario: &'a Scenario,
    deed: Deed,
    muddle: Option<Muddle>,
    plain: Model<'a>,
}

impl<'a> Causal<'a> {
    pub(super) fn new(scenario: &'a Scenario, deed: Deed, muddle: Option<Muddle>) -> Self {
        assert!(scenario.owners.len() <= LAYOUTS && scenario.owners.iter().all(|owners| *owners < 1 << NODES));
        Self { scenario, deed, muddle, plain: Model::new(scenario) }
    }

    fn is(&self, muddle: Muddle) -> bool {
        self.muddle == Some(muddle)
    }

    fn drive(state: &State, layout: usize) -> Drive {
        drive(state.nodes.iter().map(|node| &node.votes), layout)
    }

    fn ballot_steps(&self, state: &State, node: usize, out: &mut Vec<(State, Step)>) {
        let (now, votes) = (state.nodes[node], state.nodes[node].votes);
        let mut push = |next: Node, step: Step| {
            let mut after = *state;
            after.nodes[node] = next;
            out.push((after, step));
        };
        for layout in (1..self.scenario.owners.len()).filter(|layout| state.decided & 1 << layout == 0) {
            let is_source = self.scenario.owners[..layout].iter().any(|owners| owners & 1 << node != 0);
            if is_source
                && !now.answers[layout].given
                && let Ok(step) = votes.ballots().fence(id(layout))
            {
                let (votes, Fenced { floor, seals, .. }) = votes.after(step);
                let mut next = Node { votes, ..now };
                next.answers[layout] = Answer { given: true, floor: index(floor), seals: set_of(&seals) };
                // What it has itself it has joined.
                next.joined[layout] |= 1 << node;
                push(next, Step::Fenced { node, layout });
            }
            if self.scenario.owners[layout] & 1 << node != 0 && votes.held & 1 << layout == 0 {
                for from in bits(state.decided).filter(|from| *from < layout) {
                    let Some(closure) = self.collected(state, node, layout, from) else { continue };
                    let Some(votes) = votes.holding(layout, closure) else { continue };
                    push(Node { votes, ..now }, Step::Holds { node, layout, closure });
                }
            }
            if votes.sealed & 1 << layout == 0
                && Self::drive(state, layout).missing(self.plain.groups()).contains(&owner(node))
                && let Some(votes) = votes.sealing(layout)
            {
                push(Node { votes, ..now }, Step::Seals { node, layout });
            }
        }
        for layout in bits(state.decided).filter(|layout| *layout > usize::from(votes.floor)) {
            push(Node { votes: votes.learning(layout), ..now }, Step::Learns { node, layout });
        }
        if self.scenario.deletes && now.live | now.residual | now.clock != 0 {
            let covers = |other: Owner| {
                let other = &state.nodes[other.node.0 as usize];
                if self.is(Muddle::CoveredByRecords) { other.live == now.live } else { now.clock & !other.clock == 0 }
            };
            let ballots = votes.ballots();
            if ballots.may_delete(owner(node), self.plain.groups().get(ballots.floor()), covers).is_ok() {
                let mut next = Node { live: 0, residual: 0, exchanges: Default::default(), ..now };
                if !self.is(Muddle::ClockKept) {
                    next.clock = 0;
                }
                if !self.is(Muddle::CollectedAndDropped) {
                    next.joined = [0; LAYOUTS];
                }
                let mut after = *state;
                after.nodes[node] = next;
                if !self.is(Muddle::OutlivesDrop) {
                    // Its next life has begun: who had opened an exchange with it begins anew.
                    after.nodes.iter_mut().for_each(|other| other.exchanges[node] = Exchange::None);
                }
                out.push((after, Step::Drops { node }));
            }
        }
    }

    /// The closure of a move of `node`, if it has joined all that it takes.
    fn collected(&self, state: &State, node: usize, layout: usize, from: usize) -> Option<u8> {
        let mut joined = state.nodes[node].joined[layout];
        if self.is(Muddle::CollectedForEarlier) {
            joined |= state.nodes[node].joined.iter().fold(0, |all, joined| all | joined);
        }
        let mut collecting = Move::new(id(layout), id(from));
        for source in bits(joined) {
            let Answer { given, floor, seals } = state.nodes[source].answers[layout];
            if given {
                collecting.joined(owner(source), fenced(layout, floor, seals));
            }
        }
        match collecting.collected(self.plain.groups()) {
            Collected::All { closure, .. } => Some(set_of(&closure)),
            Collected::Wanting(_) | Collected::Unknown(_) => None,
        }
    }

    fn exchange_steps(&self, state: &State, node: usize, out: &mut Vec<(State, Step)>) {
        let now = state.nodes[node];
        for with in (0..NODES).filter(|with| *with != node) {
            let other = state.nodes[with];
            for layout in (1..self.scenario.owners.len()).filter(|layout| state.decided & 1 << layout == 0) {
                let is_owner = self.scenario.owners[layout] & 1 << node != 0;
                let is_source = self.scenario.owners[..layout].iter().any(|owners| owners & 1 << with != 0);
                let fenced = other.answers[layout].given || self.is(Muddle::OpenedBeforeFence);
                let wanted = now.joined[layout] & 1 << with == 0 && now.votes.held & 1 << layout == 0;
                if is_owner && is_source && fenced && wanted && now.exchanges[with] == Exchange::None {
                    let (opening, unsettled) = (other.clock, other.residual != 0);
                    let exchange = Exchange::Open { layout: layout as u8, opening, unsettled, fetched: false };
                    let mut after = *state;
                    if !self.scenario.at_once && !self.is(Muddle::SeveralAtOnce) {
                        // One at a time: another that was open is given up.
                        after.nodes[node].exchanges = Default::default();
                    }
                    after.nodes[node].exchanges[with] = exchange;
                    out.push((after, Step::Opens { node, with, layout }));
                }
            }
            let Exchange::Open { layout, opening, unsettled, fetched } = now.exchanges[with] else { continue };
            let mut after = *state;
            let next = &mut after.nodes[node];
            if fetched {
                next.clock |= opening;
                next.residual &= !next.clock;
                next.exchanges[with] = Exchange::None;
                next.joined[usize::from(layout)] |= 1 << with;
                out.push((after, Step::Closes { node, with }));
                continue;
            }
            // A key is equal if its live dots are, and nothing of it is unsettled there, now and at the opening.
            if other.live != now.live || other.residual != 0 || unsettled {
                let (mut record, clock) = next.record();
                let (shown, shared) = other.record();
                record.join_whole(&clock, &shown.live, Cover { own: &shown.residual, shared: &shared });
                let before = next.live;
                next.keep(&record, &clock);
                if self.scenario.at_once {
                    next.touch(next.live & !before);
                }
            }
            next.exchanges[with] = Exchange::Open { layout, opening, unsettled, fetched: true };
            if self.is(Muddle::HeldBeforeClock) {
                next.joined[usize::from(layout)] |= 1 << with;
            }
            out.push((after, Step::Fetches { node, from: with }));
        }
    }

    fn write_steps(&mut self, state: &State, out: &mut Vec<(State, Step)>) {
        for late in [true, false] {
            let over = if late { self.deed == Deed::Put } else { state.done };
            if over {
                continue;
            }
            let (named, acks) = if late { (0, 0) } else { (state.named, state.acks) };
            for &(named, acks) in &*self.plain.attempts(named, acks, state.decided) {
                let sets = sets(named);
                let asked = bits(named).fold(0, |set, layout| set | self.scenario.owners[layout]);
                for node in bits(asked & !acks) {
                    let votes = state.nodes[node].votes;
                    let Ok(step) = votes.ballots().admit_write(&sets) else { continue };
                    let mut after = *state;
                    after.nodes[node].votes = votes.after(step).0;
                    let event = if late || self.deed == Deed::Put { PUT } else { DELETE };
                    after.nodes[node].take(event, self.muddle);
                    if late {
                        if after != *state {
                            out.push((after, Step::TakesLatePut { node, named }));
                        }
                        continue;
                    }
                    (after.named, after.acks) = (named, acks | 1 << node);
                    let acknowledged = self.plain.is_reached(after.named, after.acks);
                    if acknowledged {
                        (after.done, after.named, after.acks) = (true, 0, 0);
                    }
                    out.push((after, Step::Stores { node, named, acknowledged }));
                }
            }
        }
    }
}

impl World for Causal<'_> {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State { decided: 1, ..State::default() }
    }

    fn steps(&mut self, state: &State, out: &mut Vec<(State, Step)>) {
        for node in 0..NODES {
            self.ballot_steps(state, node, out);
            self.exchange_steps(state, node, out);
        }
        for layout in (1..self.scenario.owners.len()).filter(|layout| state.decided & 1 << layout == 0) {
            if Self::drive(state, layout).is_decided(self.plain.groups()) {
                out.push((State { decided: state.decided | 1 << layout, ..*state }, Step::Decided { layout }));
            }
        }
        self.write_steps(state, out);
        for (after, _) in out.iter_mut() {
            for node in &mut after.nodes {
                node.votes.forget(after.decided);
                for layout in bits(after.decided) {
                    (node.answers[layout], node.joined[layout]) = (Answer::default(), 0);
                }
            }
        }
    }

    fn wrong(&mut self, state: &State) -> Option<String> {
        if !state.done {
            return None;
        }
        if self.scenario.sloppy {
            let knows = |node: &Node| if self.deed == Deed::Put { node.live & PUT } else { node.clock & DELETE } != 0;
            return (!state.nodes.iter().any(knows)).then(|| "nobody knows of it".into());
        }
        for floor in bits(state.decided) {
            let group = self.plain.groups().get(id(floor))?;
            let admits = |node: &usize| state.nodes[*node].votes.ballots().admit_read(id(floor)).is_ok();
            let able: u8 = bits(self.scenario.owners[floor]).filter(admits).fold(0, |set, node| set | 1 << node);
            for some in (1..=able).filter(|some| some & !able == 0) {
                if some.count_ones() as usize != group.reads(self.scenario.r) {
                    continue;
                }
                let mut view = crate::causality::View::default();
                for node in bits(some) {
                    let (record, clock) = state.nodes[node].record();
                    view.join(&record.live, Cover { own: &record.residual, shared: &clock });
                }
                if (self.deed == Deed::Put) == view.live.is_empty() {
                    return Some(format!("a strict read of {some:03b} under layout {floor} shows {:?}", view.live));
                }
            }
        }
        let last = highest(state.decided);
        let knows = |who: Owner| {
            let node = &state.nodes[who.node.0 as usize];
            if self.deed == Deed::Put { node.live & PUT != 0 } else { node.clock & DELETE != 0 }
        };
        let group = self.plain.groups().get(id(last))?;
        let copies = self.plain.groups().count(group, knows);
        (copies < group.writes(self.scenario.w)).then(|| format!("{copies} owners of layout {last} know of it"))
    }
}
