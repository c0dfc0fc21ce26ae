//! How clients and peers get at a node, whatever its storage is.

use std::sync::Arc;

use super::pending::Slot;
use crate::causality::Context;
use crate::config::Limits;
use crate::error::ContextError;
use crate::ids::{KeyspaceId, NodeId};
use crate::message::Message;
use crate::node::{Counters, Keyspace};
use crate::request::Request;

/// A request and where its answer goes.
pub(super) type Call = (Request, Arc<Slot>);

/// A running node, seen from outside.
pub(super) trait Door: Send + Sync {
    /// Takes a request and drives the node.
    fn call(&self, call: Call);

    /// Takes several requests, and drives the node once for all of them.
    fn call_all(&self, calls: Vec<Call>);

    /// Takes the lists of messages that arrived from peers, until there are no more, and drives the node.
    fn deliver(&self, next: &mut dyn FnMut() -> Option<(NodeId, Vec<Message>)>);

    /// Makes sure that the node is woken when its next deadline is due.
    fn arm(&self);

    fn keyspaces(&self) -> &[Keyspace];

    fn limits(&self) -> &Limits;

    fn context(&self, keyspace: KeyspaceId, key: &[u8], bytes: &[u8]) -> Result<Context, ContextError>;

    fn counters(&self) -> Counters;
}
