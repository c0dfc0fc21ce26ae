//! What a host supplies to reach other nodes: outbound alone, one way, allowed to fail.

use crate::ids::NodeId;
use crate::message::Message;

/// Sends messages to peers. Inbound is the host calling the node with what arrived.
///
/// It may lose, repeat, reorder and delay; it must not block. Timeouts, retries and the matching of replies belong to
/// the core, where they can be simulated. It gets all that one drain of the inbox has for a peer in one call, since
/// 64 messages in one socket write cost a seventieth of 64 writes.
pub trait Transport: Send + Sync {
    /// Sends `messages` to the node `to`, in order if it can. What it leaves in the list is dropped; the list itself
    /// stays with the caller, for its memory.
    ///
    /// The receiver must learn from whom they come in a way that it can trust.
    fn send(&self, to: NodeId, messages: &mut Vec<Message>);
}
