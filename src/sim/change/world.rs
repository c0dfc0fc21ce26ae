//! The words of the small world: what a scenario is, a replica and what it has ever told, and what may happen.

use std::hash::{Hash, Hasher};

use crate::ballot::{Ids, Owner, Sets};
use crate::change::{self, Ballots, Drive, Fenced, Held};
use crate::ids::{LayoutId, NodeId, StoreId};

/// The most nodes and layouts of a scenario.
pub(super) const NODES: usize = 5;
pub(super) const LAYOUTS: usize = 4;

/// A small world.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Who owns the partition in each layout, by bits; the first is decided, and later ones have higher names.
    pub owners: Vec<u8>,
    /// Strict reads and writes take so many.
    pub r: u8,
    /// Strict reads and writes take so many.
    pub w: u8,
    /// The write is sloppy: one copy in each set is enough, and all that is owed is that it isn't lost everywhere.
    pub sloppy: bool,
    /// Where replicas have clocks: a new owner asks several at once, and looks again at keys into which one has brought
    /// something. Else one after the other.
    pub at_once: bool,
    /// Whether former owners drop their copies.
    pub deletes: bool,
    /// Whether owners confirm one by one, at different times, that they have what a former owner has.
    pub confirms: bool,
    /// With each of these sets of nodes silent for ever the last layout must be able to become decided.
    pub silent: Vec<u8>,
    /// These were declared gone in every layout but the first.
    pub gone: u8,
    /// A rule that the world around the machines breaks.
    pub fault: Option<Fault>,
}

/// What the machines can't see to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A node that has lost its disk goes on as the owner that it was.
    WipedGoesOn,
    /// A promise is told before it is durable.
    PromiseNotDurable,
    /// The state of a fenced replica was taken before it was fenced.
    StateBeforeFence,
    /// A coordinator takes a layout for decided that enough owners hold.
    WriterTrustsHolders,
    /// A reader does.
    ReaderTrustsHolders,
    /// A former owner does.
    DeleterTrustsHolders,
    /// What was acknowledged counts on when a write begins anew and names less.
    KeepAcksAnew,
    /// An owner that has lost what it had is filled by the others, and counts again as the owner that it was.
    RefilledInPlace,
    /// A layout that leaves the owners as they were is decided as soon as it is there.
    UnchangedIsDecided,
    /// A layout that leaves the owners as they were asks nobody to promise it, whatever else was promised.
    UnchangedIsNoBallot,
}

impl Scenario {
    /// Owners by layout, in a cluster with these strict quorums; with deletes, and nobody silent.
    #[must_use]
    pub fn new(owners: &[u8], r: u8, w: u8) -> Self {
        assert!(owners.len() <= LAYOUTS && owners.iter().all(|owners| *owners < 1 << NODES), "a small world");
        let owners = owners.to_vec();
        Self {
            owners,
            r,
            w,
            sloppy: false,
            at_once: false,
            deletes: true,
            confirms: false,
            silent: Vec::new(),
            gone: 0,
            fault: None,
        }
    }

    /// The change must be possible with each of these sets of nodes silent.
    #[must_use]
    pub fn silent(self, silent: &[u8]) -> Self {
        Self { silent: silent.to_vec(), ..self }
    }

    /// A rule is broken.
    #[must_use]
    pub fn fault(self, fault: Fault) -> Self {
        Self { fault: Some(fault), ..self }
    }
}

/// A replica, and what it has ever told.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Node {
    pub(super) votes: Votes,
    /// Whether it has the write.
    pub(super) has: bool,
    /// Who has confirmed to have what it has.
    pub(super) confirmed: u8,
    /// Told for ever: its first answer to each fence.
    pub(super) answers: [Answer; LAYOUTS],
}

/// A replica's ballots, and what it has ever told of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Votes {
    pub(super) floor: u8,
    pub(super) promise: u8,
    pub(super) seals: u8,
    /// Told for ever: what it sealed for and what it holds, with the closures.
    pub(super) sealed: u8,
    pub(super) held: u8,
    pub(super) closures: [u8; LAYOUTS],
}

/// The first answer to a fence: later ones know more and have more.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Hash)]
pub(super) struct Answer {
    pub(super) given: bool,
    pub(super) has: bool,
    pub(super) floor: u8,
    pub(super) seals: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct State {
    pub(super) nodes: [Node; NODES],
    /// Which layouts are decided, whoever knows it.
    pub(super) decided: u8,
    /// What the write names now, who has stored it under that, and whether it is acknowledged.
    pub(super) named: u8,
    pub(super) acks: u8,
    pub(super) done: bool,
    /// Whether an owner has lost what it had, and which, as long as it is being filled.
    pub(super) lost: Lost,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Lost {
    #[default]
    Nobody,
    Refilling(u8),
    Over,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for node in &self.nodes {
            let votes = &node.votes;
            let mut word = u64::from(votes.floor) | u64::from(votes.promise) << 2 | u64::from(node.has) << 4;
            word |= u64::from(votes.seals) << 5 | u64::from(votes.sealed) << 9 | u64::from(votes.held) << 13;
            word |= u64::from(node.confirmed) << 17;
            for layout in 1..LAYOUTS {
                let Answer { given, has, floor, seals } = node.answers[layout];
                let answer = u64::from(given) | u64::from(has) << 1 | u64::from(floor) << 2 | u64::from(seals) << 4;
                word ^= (answer | u64::from(votes.closures[layout]) << 8).rotate_left(22 + 14 * layout as u32 - 14);
            }
            hasher.write_u64(word);
        }
        let lost = match self.lost {
            Lost::Nobody => 0,
            Lost::Refilling(node) => node + 1,
            Lost::Over => u8::MAX,
        };
        let rest = [self.decided, self.named, self.acks, u8::from(self.done), lost, 0, 0, 0];
        hasher.write_u64(u64::from_le_bytes(rest));
    }
}

/// What happens. Nodes and layouts are numbers, sets of them are bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Fenced { node: usize, layout: usize },
    Holds { node: usize, layout: usize, closure: u8, from: usize },
    Seals { node: usize, layout: usize },
    Decided { layout: usize },
    Learns { node: usize, layout: usize },
    Stores { node: usize, named: u8, anew: bool, acknowledged: bool },
    Confirms { node: usize, of: usize },
    Deletes { node: usize },
    ForgetsPromise { node: usize },
    Lost { node: usize },
    Refilled { node: usize },
}

pub(super) fn id(layout: usize) -> LayoutId {
    LayoutId { version: if layout == 0 { 1 } else { 2 }, hash: layout as u64 }
}

pub(super) fn index(id: LayoutId) -> u8 {
    id.hash as u8
}

pub(super) fn owner(node: usize) -> Owner {
    Owner { node: NodeId(node as u64), store: StoreId(1), life: 1 }
}

pub(super) fn bits(set: u8) -> impl Iterator<Item = usize> {
    (0..8).filter(move |bit| set & 1 << bit != 0)
}

pub(super) fn ids(set: u8) -> Ids {
    bits(set).map(id).collect()
}

pub(super) fn set_of(ids: &[LayoutId]) -> u8 {
    ids.iter().fold(0, |set, id| set | 1 << index(*id))
}

pub(super) fn lowest(set: u8) -> usize {
    set.trailing_zeros() as usize
}

pub(super) fn highest(set: u8) -> usize {
    7 - set.leading_zeros() as usize
}

/// A request that names these layouts.
pub(super) fn sets(named: u8) -> Sets {
    let mut sets = Sets::of(id(lowest(named)));
    for layout in bits(named) {
        sets.add(id(layout));
    }
    sets
}

/// What a replica answers to a fence.
pub(super) fn fenced(layout: usize, floor: u8, seals: u8) -> Fenced {
    Fenced { layout: id(layout), floor: id(floor.into()), seals: ids(seals).into_vec() }
}

/// A drive that has heard all that was ever told, by nodes in their order.
pub(super) fn drive<'a>(told: impl Iterator<Item = &'a Votes>, layout: usize) -> Drive {
    let mut drive = Drive::new(id(layout));
    for (node, told) in told.enumerate() {
        if told.held & 1 << layout != 0 {
            drive.held(owner(node), &Held { layout: id(layout), closure: ids(told.closures[layout]).into_vec() });
        }
        if told.sealed & 1 << layout != 0 {
            drive.sealed(owner(node));
        }
    }
    drive
}

impl Votes {
    pub(super) fn ballots(&self) -> Ballots {
        Ballots::of(id(self.floor.into()), id(self.promise.into()), ids(self.seals))
    }

    /// Those after a step of the machine, and what may be told of it.
    pub(super) fn after<T>(self, step: change::Step<T>) -> (Self, T) {
        let mut ballots = self.ballots();
        let told = step.at_once(&mut ballots);
        let (floor, promise) = (index(ballots.floor()), index(ballots.promise()));
        (Self { floor, promise, seals: set_of(ballots.seals()), ..self }, told)
    }

    /// Those of an owner that holds a layout with this closure.
    pub(super) fn holding(self, layout: usize, closure: u8) -> Option<Self> {
        let (mut next, held) = self.after(self.ballots().hold(id(layout), &ids(closure)).ok()?);
        next.held |= 1 << layout;
        next.closures[layout] = set_of(&held.closure);
        Some(next)
    }

    pub(super) fn sealing(self, layout: usize) -> Option<Self> {
        let (next, ()) = self.after(self.ballots().seal(id(layout)).ok()?);
        Some(Self { sealed: next.sealed | 1 << layout, ..next })
    }

    pub(super) fn learning(self, layout: usize) -> Self {
        self.after(self.ballots().decided(id(layout))).0
    }

    /// What led to a decision is of no use any more, but for those who have not heard of it: and they are told.
    pub(super) fn forget(&mut self, decided: u8) {
        self.held &= !decided;
        bits(decided).for_each(|layout| self.closures[layout] = 0);
    }
}

impl Node {
    pub(super) fn vote(&mut self, votes: Votes) {
        if votes.floor != self.votes.floor {
            self.confirmed = 0;
        }
        self.votes = votes;
    }
}
