//! How members come to know the same: each now and then tells another, drawn at random, what it knows (Dynamo §4.8.1).
//!
//! What is told first is one digest of all records, and the few records that are news. Where the digests are equal
//! nothing more is said, so that a cluster at rest costs each node one small message a round, however many there are.
//! Where they differ, the receiver answers with its own news, and if that doesn't make them equal the two find what
//! differs range by range.

use std::collections::{BTreeSet, VecDeque};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::ids::{LayoutId, NodeId, Start, ZoneId};
use crate::members::{
    Gossip, Joined, Known, MemberRecord, Membership, MembershipError, NotYounger, Phase, Presence, RecordError,
};

mod compose;
mod hear;

pub use hear::{Heard, OwnNews};

/// A node's part in the gossip: its membership, and what of it is still news. Told when a round begins, owns no timer.
#[derive(Clone, Debug)]
pub struct Gossiper {
    node: NodeId,
    presence: Presence,
    membership: Membership,
    /// Nodes whose records were learned lately, each with how often that was told. The newest at the end.
    news: VecDeque<(NodeId, u8)>,
    seeds: Vec<NodeId>,
    /// A layout that another says is decided, and whose content is not at hand.
    awaited: Option<LayoutId>,
    /// Other starts of this node whose accounts were answered, each with how often.
    refuted: VecDeque<(Start, u8)>,
    rng: Xoshiro256PlusPlus,
}

/// What a node brings to the membership.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// Its name.
    pub node: NodeId,
    /// Its failure domain, if the membership has no record of it yet. Later the operator's word counts.
    pub zone: ZoneId,
    /// How much it takes, if the membership has no record of it yet. Later the operator's word counts. Zero: it is a
    /// client.
    pub weight: u32,
    /// What it says of itself. The ordinal is not looked at: it is the one after the last.
    pub presence: Presence,
    /// Nodes that are asked now and then though nothing may be known of them: islands that don't know each other become
    /// one by them (Dynamo §4.8.2). The transport must know where they are.
    pub seeds: Vec<NodeId>,
}

impl Gossiper {
    /// News is told so often to others who may not know it. The digests find whom it didn't reach.
    const TELLINGS: u8 = 3;
    /// The most news in one message, and the most that one message makes: whoever is told more is catching up.
    const NEWS: usize = 16;
    /// The most news that is remembered.
    const NEWS_MAX: usize = 256;
    /// The most starts that are remembered to have been answered.
    const REFUTED_MAX: usize = 8;
    /// So often an account of another start is answered. One that is no more left a few accounts at most, one that goes
    /// on comes back with a higher ordinal each time.
    const REFUTATIONS: u8 = 4;

    /// Enters the node into a membership: one that it kept, that it founds, or that knows nothing yet. The seed is for
    /// drawing partners.
    ///
    /// # Errors
    /// [`MembershipError`] if what it says of itself can't be, if it was a client and is none now or the other way, or there
    /// is no room for it. Nothing was opened. That it was removed is no error here: see [`Gossiper::is_removed`].
    pub fn open(membership: Membership, introduction: Introduction, seed: u64) -> Result<Self, MembershipError> {
        let Introduction { node, zone, weight, presence, mut seeds } = introduction;
        let record = match membership.record(node) {
            None if weight == 0 => MemberRecord::client(node, presence.clone())?,
            None => MemberRecord::joining(node, zone, weight, presence.clone())?,
            Some(known) if known.phase() == Phase::Removed => known.clone(),
            // A member's seat would stay its own, and a client would be planned with.
            Some(known) if known.is_client() != (weight == 0) => return Err(RecordError::ZeroWeight.into()),
            Some(known) => known.started(presence.clone())?,
        };
        seeds.retain(|&seed| seed != node);
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (news, refuted) = (VecDeque::new(), VecDeque::new());
        let mut own = Self { node, presence, membership, news, seeds, awaited: None, refuted, rng };
        own.take(&record)?;
        Ok(own)
    }

    /// What is known.
    #[must_use]
    pub const fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Whether the cluster counts this node as gone. It goes on telling what it knows; it comes back by
    /// [`rejoin`](Self::rejoin).
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.membership.record(self.node).is_some_and(|own| own.phase() == Phase::Removed)
    }

    /// Joins again after a removal, by an explicit act.
    ///
    /// # Errors
    /// [`RecordError`] if the node isn't removed, or can't be what it is to be. Nothing was changed.
    pub fn rejoin(&mut self, zone: ZoneId, weight: u32) -> Result<(), RecordError> {
        let own = self.membership.record(self.node);
        let own = own.ok_or(RecordError::Phase { from: Phase::Joining, to: Phase::Joining })?;
        let record = own.rejoining(zone, weight, self.presence.clone())?;
        self.take(&record).expect("a node that is known needs no room");
        Ok(())
    }

    /// Takes in an act that was made here: a member that goes on in its life, or stands elsewhere. Others will hear it.
    ///
    /// # Errors
    /// [`MembershipError::Full`] if the node isn't known and there is no room; nothing was changed.
    pub fn take(&mut self, record: &MemberRecord) -> Result<Joined, MembershipError> {
        let joined = self.membership.take(record)?;
        if joined.grew {
            self.is_news(record.node());
        }
        Ok(joined)
    }

    /// Takes in a layout whose content is at hand and was checked: one that was made here, or one of
    /// [`Heard::wanted`]. True if it was news.
    ///
    /// # Errors
    /// [`NotYounger`] if it can't be its parent's child. Nothing was changed.
    pub fn propose(&mut self, id: LayoutId, parent: LayoutId) -> Result<bool, NotYounger> {
        let news = self.membership.layouts_mut().propose(id, parent)?;
        if self.awaited == Some(id) {
            self.decide(id);
        }
        Ok(news)
    }

    /// Takes in that a layout is decided whose content is at hand. True if it was news.
    pub fn decide(&mut self, id: LayoutId) -> bool {
        self.awaited = self.awaited.filter(|&awaited| awaited > id);
        self.membership.layouts_mut().decide(id)
    }

    /// Whether there is something that others may not have heard: rounds may then follow each other faster.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Begins a round: whom to tell, and what. Due about once a second (Dynamo §4.8.1), and a few times while there
    /// [is news](Self::has_news). `avoid` is what the node
    /// suspects; it is passed over as long as the draw gives others.
    ///
    /// `None` if nobody else is known and there are no seeds.
    pub fn round(&mut self, avoid: impl Fn(NodeId) -> bool) -> Option<(NodeId, Gossip)> {
        // A cluster that is cut in two suspects many: some draws must fall on them, or it stays two.
        let drawn = (0..3).find_map(|_| self.draw().filter(|&node| !avoid(node)));
        let partner = drawn.or_else(|| self.draw())?;
        Some((partner, self.open_round()))
    }

    /// Any other member, or one of the seeds, which together are drawn as often as one member: an island of any size
    /// then asks a seed about once a round, and the seeds' load doesn't grow with the cluster.
    fn draw(&mut self) -> Option<NodeId> {
        // Clients ask for themselves. Nobody looks for one that has ended, so that it would be told for ever.
        let is_told = |record: &&MemberRecord| {
            record.node() != self.node && record.phase() != Phase::Removed && !record.is_client()
        };
        let others = self.membership.records().filter(is_told);
        let count = others.clone().count() as u64;
        let places = count + u64::from(!self.seeds.is_empty());
        if places == 0 {
            return None;
        }
        let place = self.rng.random_range(0..places);
        if place < count {
            return others.map(MemberRecord::node).nth(place as usize);
        }
        let seed = self.rng.random_range(0..self.seeds.len());
        Some(self.seeds[seed])
    }

    fn is_news(&mut self, node: NodeId) {
        self.news.retain(|&(other, _)| other != node);
        self.news.push_back((node, 0));
        if self.news.len() > Self::NEWS_MAX {
            self.news.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
