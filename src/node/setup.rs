//! What a node is opened with.

use std::fmt;
use std::sync::Arc;

use crate::causality::Identity;
use crate::config::{ConfigError, Limits, Mode, Quorum, Timing};
use crate::ids::{KeyspaceId, NodeId, Start, StoreId};
use crate::key::keyspace_id;
use crate::members::{Introduce, MemberRecord, Presence};
use crate::message::PROTOCOLS;
use crate::reconcile::{KeepSiblings, Reconciler};
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
        Self { identity, node, layout, keyspaces, founding: false, elastic: false, membership: None, limits, timing }
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
        // A node that joins is a member by a later layout.
        if !self.is_elastic() && self.layout.index_of(self.node).is_none() {
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
        match MemberRecord::joining(self.node, introduce.zone, introduce.weight, presence) {
            Ok(_) => Ok(()),
            Err(error) => Err(ConfigError::Membership(error.to_string())),
        }
    }
}
