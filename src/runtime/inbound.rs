//! The way in to a node, for whoever receives for it.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::clock::wait_until;
use super::door::Door;
use super::local::run;
use super::server::{NodeCell, Server};
use super::sync::Ordering;
use crate::ids::NodeId;
use crate::message::Message;
use crate::node::Node;
use crate::storage::Storage;

/// The way in to a [`Server`], to be kept by whoever receives for it. It does not keep the server.
pub struct Inbound<S: Storage> {
    cell: Weak<NodeCell<S>>,
}

/// How long a delivery waits for room. A node that stands still for longer loses what comes, as it would by
/// [`Server::deliver`].
const PATIENCE: Duration = Duration::from_secs(1);

impl<S: Storage + 'static> Server<S> {
    /// The way in to this node, which does not keep it.
    #[must_use]
    pub fn inbound(&self) -> Inbound<S> {
        Inbound { cell: Arc::downgrade(&self.cell) }
    }
}

impl<S: Storage> Inbound<S> {
    /// Takes messages that arrived from the peer `from`, whom the transport has authenticated, as [`Server::deliver`]
    /// does. While half of [`Limits::inbox`](crate::config::Limits::inbox) waits it does not return, for a second at
    /// most: whoever reads from a peer in this thread reads no more meanwhile, and the peer is held up instead of
    /// talking to nobody.
    ///
    /// Once the node has ended they are dropped.
    pub fn deliver(&self, from: NodeId, messages: Vec<Message>) {
        let Some(cell) = self.cell.upgrade() else { return };
        let mut arrived = Some((from, messages));
        run(|| cell.deliver(&mut || arrived.take()));
        cell.arm();
        let half = cell.limits().inbox / 2;
        let has_room = || cell.waiting.load(Ordering::Relaxed) <= half;
        if !has_room() {
            wait_until(PATIENCE, has_room);
        }
    }

    /// Looks at the node, between two steps. `None` if there is none any more.
    pub fn with_node<T>(&self, look: impl FnOnce(&Node<S>) -> T) -> Option<T> {
        self.cell.upgrade()?.with_node(look)
    }
}

impl<S: Storage> Clone for Inbound<S> {
    fn clone(&self) -> Self {
        Self { cell: Weak::clone(&self.cell) }
    }
}

impl<S: Storage> fmt::Debug for Inbound<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inbound")
    }
}
