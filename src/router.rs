//! A client that knows who owns what (Dynamo §6.4).

use std::sync::Arc;

use crate::causality::Identity;
use crate::ids::{KeyspaceId, LayoutId};
use crate::key::Key;
use crate::ring::{Layout, PreferenceList};

/// What a client must know to send a request straight to a node that owns the key: a hop less for each.
///
/// It may be out of date: whoever is asked serves the request all the same, or hands it on. Each answer says which layout
/// its node knows to be decided ([`crate::request::Versions::layout`], [`crate::request::Written::layout`]); one that is
/// later than the router's is to be fetched from that node ([`crate::Node::layout`]) and given to [`Router::learn`].
///
/// ```
/// use std::sync::Arc;
/// use quorate::ring::{Member, plan_first};
/// use quorate::router::Router;
/// use quorate::causality::Secret;
/// use quorate::{ClusterId, Identity, Keyspace, NodeId};
///
/// let members: Vec<_> = (1..=5).map(|node| Member::new(NodeId(node))).collect();
/// let layout = Arc::new(plan_first(&members, 3, 64)?.layout);
/// let identity = Identity { cluster: ClusterId(1), secret: Secret::new([7; 16]) };
/// let router = Router::new(identity, layout);
/// let carts = Keyspace::new("carts").id();
/// // The three owners first, in order; then those who stand in for them.
/// assert_eq!(router.nodes(carts, b"alice").len(), 5);
/// # Ok::<(), quorate::ring::PlanError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Router {
    identity: Identity,
    layout: Arc<Layout>,
}

impl Router {
    /// By a layout of the cluster, and the cluster's secret: without it nobody can tell where a key lives.
    #[must_use]
    pub const fn new(identity: Identity, layout: Arc<Layout>) -> Self {
        Self { identity, layout }
    }

    /// The layout that it goes by.
    #[must_use]
    pub const fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Whom to send a request for a key to: its owners in order, then those who stand in for them, each node once.
    #[must_use]
    pub fn nodes(&self, keyspace: KeyspaceId, key: &[u8]) -> PreferenceList<'_> {
        let key = Key::new(&self.identity.secret, keyspace, key);
        self.layout.preference_list(self.layout.partition_of(key.position()))
    }

    /// Whether an answer tells of a later layout than the one that it goes by.
    #[must_use]
    pub fn is_behind(&self, answered: LayoutId) -> bool {
        answered > self.layout.id()
    }

    /// Goes by this layout from now on, if it is a later one. True if it is.
    pub fn learn(&mut self, layout: &Arc<Layout>) -> bool {
        let is_later = self.is_behind(layout.id());
        if is_later {
            self.layout = Arc::clone(layout);
        }
        is_later
    }
}
