//! What a node is opened with.

use std::fmt;
use std::sync::Arc;

use crate::causality::Identity;
use crate::config::{ConfigError, Limits, Mode, Quorum, Timing};
use crate::ids::{KeyspaceId, NodeId, Start, StoreId};
use crate::key::keyspace_id;
use crate::members::{Introduce, MemberRecord, Presence, RecordError};
use crate::message::PROTOCOLS;
use crate::reconcile::{KeepSiblings, LastWriteWins, Reconciler};
use crate::ring::Layout;

/// Everything that a node must know to be opened, but its storage, its start and the time.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which cluster, and its secret. The same on every node.
    pub identity: Identity,
    /// Which member of the layout this node is.
    pub node: NodeId,
    /// Who owns what. The same on every node. With `membership` a layout of the cluster that is decided: the first is
    /// always right, and a node that joins needn't be in it.
    pub layout: Arc<Layout>,
    /// The keyspaces. The same on every node.
    pub keyspaces: Vec<Keyspace>,
    /// What an empty storage is: a node's first, when its cluster is founded, or one in the place of another that was
    /// lost. It is not told apart otherwise, and a node that takes a loss for a beginning counts in reads without what
    /// it had acknowledged. Default false: where it was the first after all, the node counts in reads once it has
    /// compared itself with the others.
    pub founding: bool,
    /// Whether layouts change while nodes run. The same on every node. Then a store counts for what layouts name: an
    /// empty one in the place of another that was lost takes part in nothing until a layout names it
    /// ([`crate::ring::Change::renew`]). Default false: all nodes have the one layout for ever, and refuse any other; but
    /// with [`Setup::membership`] it is as good as true.
    pub elastic: bool,
    /// Whether this is no member but a client that coordinates for itself (Dynamo §6.4): it holds the layout, owns nothing
    /// and stands in for nobody, asks owners itself for what it reads, and hands writes to an owner, a hop less for each than
    /// through a node that is no owner. Its name must be its own, like a member's, and no layout may name it. Its starts
    /// that write are remembered in the clocks of what they have written to, until a later start of that name is heard
    /// of: a client keeps its name. Its storage holds nothing that may not be lost: memory will do. With `membership` it
    /// takes part in the gossip, by which nodes learn where to answer it; else their transports must know.
    /// Default false.
    pub client: bool,
    /// What it says of itself in the gossip by which members come to know each other. Default `None`: it takes no part
    /// in it, and the layout stays as it is unless the host hands in another ([`Setup::elastic`]).
    pub membership: Option<Introduce>,
    /// Bounds.
    pub limits: Limits,
    /// Durations.
    pub timing: Timing,
}

/// A set of keys that share a reconciler and defaults (a bucket).
#[derive(Clone)]
pub struct Keyspace {
    name: String,
    id: KeyspaceId,
    pub(crate) quorum: Quorum,
    pub(crate) mode: Mode,
    pub(crate) reconciler: Arc<dyn Reconciler>,
    pub(crate) value: Option<usize>,
    pub(crate) siblings: Option<usize>,
}

impl Keyspace {
    /// A keyspace with the quorum (3, 2, 2), sloppy, whose siblings the application reconciles.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            id: keyspace_id(&name),
            name,
            quorum: Quorum::default(),
            mode: Mode::Sloppy,
            reconciler: Arc::new(KeepSiblings),
            value: None,
            siblings: None,
        }
    }

    /// For data whose versions the application merges, as carts: "business logic specific reconciliation" (Dynamo §6).
    ///
    /// (3, 2, 2), sloppy: a write is taken while two nodes can be reached, whichever they are, and versions that were
    /// written without knowledge of one another are all kept: reads show them all, and whoever writes next with the
    /// context of such a read makes one of them. [`Keyspace::reconciler`] has that done before they are shown.
    ///
    /// Two nodes and not one, so that an acknowledged write outlives a disk; with W = 1 ([`Keyspace::quorum`]) a write is
    /// taken as long as one node lives, and is lost with that node's disk if nobody else has it yet. What it costs: where
    /// owners can't be reached a read may miss the last write, and a merge must be able to deal with what comes back (what
    /// one version has removed, another may still have).
    #[must_use]
    pub fn business_logic(name: impl Into<String>) -> Self {
        Self::new(name)
    }

    /// For data of which the latest version is enough, as sessions: "timestamp based reconciliation" (Dynamo §6).
    ///
    /// As [`Keyspace::business_logic`], (3, 2, 2) and sloppy, but of concurrent versions the one with the latest timestamp
    /// is shown ([`LastWriteWins`]). What it costs: of writes that knew nothing of one another all but one are lost,
    /// and which one is kept is for the nodes' clocks to say, within [`Timing::skew`]. A write that had read
    /// another always takes its place, whatever the clocks say.
    #[must_use]
    pub fn timestamps(name: impl Into<String>) -> Self {
        Self::new(name).reconciler(LastWriteWins)
    }

    /// For data that is read all the time and hardly ever written, as a catalog: the "high performance read engine"
    /// (Dynamo §6).
    ///
    /// (n, 1, n), strict: any one owner answers a read, with a copy of its own without a message, and shows the last
    /// acknowledged write; reads go on while one of the n owners lives. What it costs is the writes':
    /// - All n owners must store one: it takes as long as the slowest, and while an owner can't be reached writes to
    ///   its keys are refused (they may be stored where they got to; put them again). A write that must be taken all the
    ///   same asks for it, with [`PutOptions::mode`](crate::PutOptions::mode) sloppy: reads may then miss it until its hint
    ///   is home.
    /// - Where layouts change, a partition's owners must all promise and seal, since any one of them may be the one that a
    ///   read asks: one that can't be reached holds up the change of its partitions. The smallest R and W of all keyspaces
    ///   decide that, so one such keyspace makes it so for all the others at these nodes.
    ///
    /// # Errors
    /// [`ConfigError::Quorum`] unless 1 ≤ n ≤ 16.
    pub fn read_engine(name: impl Into<String>, n: u8) -> Result<Self, ConfigError> {
        Ok(Self::new(name).quorum(Quorum::new(n, 1, n)?).mode(Mode::Strict))
    }

    /// With this quorum by default. Its number of replicas must be the layout's.
    #[must_use]
    pub const fn quorum(mut self, quorum: Quorum) -> Self {
        self.quorum = quorum;
        self
    }

    /// With this mode by default.
    #[must_use]
    pub const fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// With this reconciler.
    #[must_use]
    pub fn reconciler(mut self, reconciler: impl Reconciler + 'static) -> Self {
        self.reconciler = Arc::new(reconciler);
        self
    }

    /// With values of at most so many bytes, if that is less than [`Limits::value`].
    #[must_use]
    pub const fn max_value(mut self, bytes: usize) -> Self {
        self.value = Some(bytes);
        self
    }

    /// With at most so many siblings, at least one, if that is less than [`Limits::siblings`].
    #[must_use]
    pub const fn max_siblings(mut self, count: usize) -> Self {
        self.siblings = Some(count);
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id: the same on every node that knows it by this name.
    #[must_use]
    pub const fn id(&self) -> KeyspaceId {
        self.id
    }
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyspace({:?}, {:?}, {:?})", self.name, self.quorum, self.mode)
    }
}

impl Setup {
    /// With default bounds and durations.
    #[must_use]
    pub fn new(identity: Identity, node: NodeId, layout: Arc<Layout>, keyspaces: Vec<Keyspace>) -> Self {
        let (limits, timing) = (Limits::default(), Timing::default());
        let (founding, elastic, client, membership) = (false, false, false, None);
        Self { identity, node, layout, keyspaces, founding, elastic, client, membership, limits, timing }
    }

    /// Whether layouts may change while the node runs: where members come to know each other they are sure to.
    #[must_use]
    pub const fn is_elastic(&self) -> bool {
        self.elastic || self.membership.is_some()
    }

    /// # Errors
    /// [`ConfigError`] says which settings don't go together. Nothing was opened.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.limits.validate()?;
        self.timing.validate()?;
        if let Some(introduce) = &self.membership {
            self.check_introduction(introduce)?;
        }
        let is_member = self.layout.index_of(self.node).is_some();
        if self.client && is_member {
            return Err(ConfigError::Client(self.node));
        }
        // A node that joins is a member by a later layout.
        if !self.is_elastic() && !self.client && !is_member {
            return Err(ConfigError::NotAMember(self.node));
        }
        if self.keyspaces.is_empty() {
            return Err(ConfigError::Nothing("keyspace"));
        }
        for (at, keyspace) in self.keyspaces.iter().enumerate() {
            if keyspace.quorum.n() != self.layout.n() {
                let (name, layout) = (keyspace.name.clone(), self.layout.n());
                return Err(ConfigError::Replicas { keyspace: name, n: keyspace.quorum.n(), layout });
            }
            // It would refuse every put.
            if keyspace.siblings == Some(0) {
                return Err(ConfigError::Limit { name: "max_siblings", value: 0 });
            }
            if let Some(other) = self.keyspaces[..at].iter().find(|other| other.id == keyspace.id) {
                return Err(ConfigError::Keyspaces(other.name.clone(), keyspace.name.clone()));
            }
        }
        Ok(())
    }

    fn check_introduction(&self, introduce: &Introduce) -> Result<(), ConfigError> {
        let address = introduce.address.clone();
        let presence = Presence { ordinal: 1, start: Start(0), store: StoreId(0), protocols: PROTOCOLS, address };
        if introduce.weight == 0 {
            return Err(ConfigError::Membership(RecordError::ZeroWeight.to_string()));
        }
        match MemberRecord::joining(self.node, introduce.zone, introduce.weight, presence) {
            Ok(_) => Ok(()),
            Err(error) => Err(ConfigError::Membership(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::Reconciled;

    /// What distinguishes the three is who decides among siblings, and how many must answer.
    #[test]
    fn profiles_are_the_uses_that_the_paper_tells_of() {
        let carts = Keyspace::business_logic("carts");
        let sessions = Keyspace::timestamps("sessions");
        let catalog = Keyspace::read_engine("catalog", 5).unwrap();
        assert_eq!([carts.quorum, sessions.quorum], [Quorum::default(); 2]);
        assert_eq!((carts.mode, sessions.mode, catalog.mode), (Mode::Sloppy, Mode::Sloppy, Mode::Strict));
        assert_eq!(catalog.quorum, Quorum::new(5, 1, 5).unwrap());
        assert!(catalog.quorum.overlaps());
        assert!(sessions.reconciler.uses_stamps() && !carts.reconciler.uses_stamps());
        assert!(Keyspace::read_engine("catalog", 17).is_err());
        assert_eq!(carts.reconciler.reconcile(b"k", &[]), Reconciled::Keep);
    }
}
