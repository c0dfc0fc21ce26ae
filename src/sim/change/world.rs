//! The words of the small world: what a scenario is, a replica and what it has ever told, and what may happen.

use std::hash::{Hash, Hasher};

use crate::ballot::{Ids, Owner};
use crate::change::{Ballots, Fenced};
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
    pub(super) floor: u8,
    pub(super) promise: u8,
    pub(super) seals: u8,
    /// Whether it has the write.
    pub(super) has: bool,
    /// Who has confirmed to have what it has.
    pub(super) confirmed: u8,
    /// Told for ever: what it sealed for and what it holds, with the closures, and its first answer to each fence.
    pub(super) sealed: u8,
    pub(super) held: u8,
    pub(super) closures: [u8; LAYOUTS],
    pub(super) answers: [Answer; LAYOUTS],
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
            let mut word = u64::from(node.floor) | u64::from(node.promise) << 2 | u64::from(node.has) << 4;
            word |= u64::from(node.seals) << 5 | u64::from(node.sealed) << 9 | u64::from(node.held) << 13;
            word |= u64::from(node.confirmed) << 17;
            for layout in 1..LAYOUTS {
                let Answer { given, has, floor, seals } = node.answers[layout];
                let answer = u64::from(given) | u64::from(has) << 1 | u64::from(floor) << 2 | u64::from(seals) << 4;
                word ^= (answer | u64::from(node.closures[layout]) << 8).rotate_left(22 + 14 * layout as u32 - 14);
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

impl Node {
    pub(super) fn ballots(&self) -> Ballots {
        Ballots::of(id(self.floor.into()), id(self.promise.into()), ids(self.seals))
    }

    pub(super) fn set(&mut self, ballots: &Ballots) {
        if index(ballots.floor()) != self.floor {
            self.confirmed = 0;
        }
        self.floor = index(ballots.floor());
        self.promise = index(ballots.promise());
        self.seals = set_of(ballots.seals());
    }

    pub(super) fn fenced(&self, layout: usize) -> Fenced {
        let Answer { floor, seals, .. } = self.answers[layout];
        Fenced { layout: id(layout), floor: id(floor.into()), seals: ids(seals).into_vec() }
    }
}
