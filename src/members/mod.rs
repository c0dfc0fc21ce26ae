//! Who belongs to a cluster and which layouts it has: facts that only grow, so that every order of hearing them ends in
//! the same membership.
//!
//! A [`Membership`] holds a [`MemberRecord`] for each node that ever belonged to the cluster, and [`Layouts`]. Two of
//! them join like two of anything here: record by record, layout by layout. Joining and leaving are explicit acts
//! (Dynamo §4.8.1); that a node doesn't answer is nobody's news, and never written down here (§4.8.3).
//!
//! # What a member's word counts for
//!
//! Records are hearsay: they come by way of others and carry no signatures. The transport vouches that a message comes
//! from a member of this cluster, and a member is believed. One that lies, or is broken, can invent members, change
//! what is said of others and call them removed. What it can't do:
//!
//! - move data or take a node's copies away: only decided layouts do, and those take a quorum of the owners themselves;
//! - tell a node who it is: of its own presence a node takes nobody's word, it says it again with a higher ordinal;
//! - bring back what was removed, but by an incarnation that the removed node sees;
//! - take back what is decided, or offer a layout whose content nobody can show;
//! - keep members from agreeing: whatever was said, they end at the same join of it;
//! - make a node use memory or time out of proportion to what it sent, or pass the bounds: [`Membership::NODES_MAX`]
//!   nodes, [`Layouts::PROPOSED_MAX`] layouts, [`MemberRecord::ADDRESS_MAX`] bytes of address.
//!
//! Numbers end at [`MemberRecord::NUMBER_MAX`]. There is no limit on how far a number may jump: whether an account is
//! taken would then depend on what was heard before it, and members would no longer end alike. A record whose numbers
//! were driven to the end serves until the node is removed and joins again.

mod act;
mod digest;
mod format;
mod gossip;
mod introduce;
mod layouts;
mod record;

pub use act::ActError;
pub(crate) use digest::Difference;
pub(crate) use gossip::Said;
pub use gossip::{Gossip, Known};
pub use introduce::Introduce;
pub use layouts::{Layouts, NotYounger};
pub use record::{Joined, MemberRecord, Phase, Presence, Protocols, RecordError, Seat};

use crate::ids::{ClusterId, NodeId};

/// Who belongs to a cluster, and which layouts it has.
#[derive(Clone, Debug)]
pub struct Membership {
    cluster: ClusterId,
    /// Sorted by node.
    records: Vec<Held>,
    layouts: Layouts,
    /// Of all records.
    digest: u64,
}

/// What came of taking in several records.
#[derive(Default)]
pub(crate) struct Taken {
    /// The nodes of which more is known now.
    pub(crate) grown: Vec<NodeId>,
    /// The nodes of which the sender didn't say all that is known.
    pub(crate) sender_behind: Vec<NodeId>,
    /// A node that there was no room for.
    pub(crate) no_room_for: Option<NodeId>,
}

/// A record, and the hash of its bytes.
#[derive(Clone, Debug)]
struct Held {
    record: MemberRecord,
    hash: u64,
}

/// Why something was not taken into a membership. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// It is another cluster's.
    #[error("{theirs} is not {own}")]
    ForeignCluster {
        /// The cluster that the membership is of.
        own: ClusterId,
        /// The one that came.
        theirs: ClusterId,
    },
    /// It is no record of a member.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It is about a node that isn't known, and [`Membership::NODES_MAX`] others are.
    #[error("there is no room for {node}: {max} nodes are known", max = Membership::NODES_MAX)]
    Full {
        /// Which.
        node: NodeId,
    },
}

// The rest follows from these.
impl PartialEq for Membership {
    fn eq(&self, other: &Self) -> bool {
        self.cluster == other.cluster && self.layouts == other.layouts && self.records().eq(other.records())
    }
}
impl Eq for Membership {}

impl Membership {
    /// The most nodes that are known, those included that were removed: as many as a layout can have.
    pub const NODES_MAX: usize = crate::ring::Layout::MAX_MEMBERS;

    /// Of a node that joins a cluster: it knows the cluster's name and nothing else.
    #[must_use]
    pub fn joining(cluster: ClusterId) -> Self {
        Self::with(cluster, Layouts::none())
    }

    /// Of the nodes that found a cluster, by an explicit act of the operator: `layouts` has the first layout, decided.
    ///
    /// A node that found itself alone and founded a cluster by itself would make a second one of the same data.
    #[must_use]
    pub fn founding(cluster: ClusterId, layouts: Layouts) -> Self {
        Self::with(cluster, layouts)
    }

    fn with(cluster: ClusterId, layouts: Layouts) -> Self {
        let mut own = Self { cluster, records: Vec::new(), layouts, digest: 0 };
        own.seal();
        own
    }

    /// Whose membership it is.
    #[must_use]
    pub const fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// How many nodes are known, those included that were removed.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no node is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What is known of each node, ascending by node, removed ones included.
    #[must_use]
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &MemberRecord> + Clone {
        self.records.iter().map(|held| &held.record)
    }

    /// What is known of a node.
    #[must_use]
    pub fn record(&self, node: NodeId) -> Option<&MemberRecord> {
        self.position(node).ok().map(|at| &self.records[at].record)
    }

    /// The layouts.
    #[must_use]
    pub const fn layouts(&self) -> &Layouts {
        &self.layouts
    }

    /// The layouts, to take in what was proposed or decided here.
    pub const fn layouts_mut(&mut self) -> &mut Layouts {
        &mut self.layouts
    }

    /// The highest version of the protocol that every member speaks that isn't removed; `None` if there is none.
    ///
    /// It may fall, when a member joins that speaks less: what was begun at one version goes on at that version.
    #[must_use]
    pub fn spoken_by_all(&self) -> Option<u16> {
        let all = || self.records().filter_map(MemberRecord::presence).map(|presence| presence.protocols);
        let highest = all().map(|protocols| protocols.highest).min()?;
        all().all(|protocols| protocols.lowest <= highest).then_some(highest)
    }

    /// Takes in an account of a node: one that was heard, or one that was made here.
    ///
    /// # Errors
    /// [`MembershipError::Full`] if the node isn't known and there is no room; nothing was changed.
    pub fn take(&mut self, record: &MemberRecord) -> Result<Joined, MembershipError> {
        let joined = self.put(record)?;
        if joined.grew {
            self.seal();
        }
        Ok(joined)
    }

    /// Takes in all that another membership holds. True if it was news.
    ///
    /// # Errors
    /// [`MembershipError::ForeignCluster`]: nothing was changed. [`MembershipError::Full`]: what was known and what
    /// there was room for was taken in.
    pub fn join(&mut self, other: &Self) -> Result<bool, MembershipError> {
        if self.cluster != other.cluster {
            return Err(MembershipError::ForeignCluster { own: self.cluster, theirs: other.cluster });
        }
        let (mut news, mut full) = (self.layouts.join(&other.layouts), None);
        for record in other.records() {
            match self.put(record) {
                Ok(joined) => news |= joined.grew,
                Err(error) => full = Some(error),
            }
        }
        self.seal();
        full.map_or(Ok(news), Err)
    }

    /// Takes in what another member says of several nodes.
    pub(crate) fn take_all(&mut self, records: &[MemberRecord]) -> Taken {
        let mut taken = Taken::default();
        for record in records {
            match self.put(record) {
                Ok(joined) => {
                    if joined.grew {
                        taken.grown.push(record.node());
                    }
                    if joined.sender_behind {
                        taken.sender_behind.push(record.node());
                    }
                }
                Err(_) => taken.no_room_for = Some(record.node()),
            }
        }
        for nodes in [&mut taken.grown, &mut taken.sender_behind] {
            nodes.sort_unstable();
            nodes.dedup();
        }
        if !taken.grown.is_empty() {
            self.seal();
        }
        taken
    }

    fn put(&mut self, record: &MemberRecord) -> Result<Joined, MembershipError> {
        match self.position(record.node()) {
            Ok(at) => {
                let held = &mut self.records[at];
                let joined = held.record.join(record);
                if joined.grew {
                    held.hash = digest::of_record(&held.record);
                }
                Ok(joined)
            }
            Err(_) if self.records.len() >= Self::NODES_MAX => Err(MembershipError::Full { node: record.node() }),
            Err(at) => {
                self.records.insert(at, Held { record: record.clone(), hash: digest::of_record(record) });
                Ok(Joined { grew: true, sender_behind: false })
            }
        }
    }

    fn seal(&mut self) {
        self.digest = digest::of_range(&self.records);
    }

    fn position(&self, node: NodeId) -> Result<usize, usize> {
        self.records.binary_search_by_key(&node, |held| held.record.node())
    }
}

#[cfg(test)]
mod tests;
