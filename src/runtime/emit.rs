//! What nodes report, for those who listen through the crate `tracing`.
//!
//! Targets begin with `quorate::`: `peers`, `storage`, `hints`, `repair`, `layout`, `members`, `request`, `trace`. Each event has
//! the field `node`, and those of its kind. Nothing is emitted on the path of a request that is neither slow nor traced.

use tracing::{debug, error, info, warn};

use crate::ids::NodeId;
use crate::node::Event;
use crate::request::Reply;

/// A node has reported something.
pub(super) fn event(node: NodeId, event: &Event) {
    let node = node.0;
    match event {
        Event::Suspected(peer) => warn!(target: "quorate::peers", node, peer = peer.0, "peer suspected"),
        Event::Recovered(peer) => info!(target: "quorate::peers", node, peer = peer.0, "peer recovered"),
        Event::ProtocolDiffers(peer) => {
            warn!(target: "quorate::peers", node, peer = peer.0, "peer speaks no version of this protocol");
        }
        Event::Doubled(start) => {
            error!(target: "quorate::peers", node, start = %start, "another start says that it is this node");
        }
        Event::StorageFailed(error) => error!(target: "quorate::storage", node, %error, "storage call failed"),
        Event::Fenced(error) => error!(target: "quorate::storage", node, %error, "node fenced"),
        Event::HintsDelivered(peer) => info!(target: "quorate::hints", node, peer = peer.0, "all hints delivered"),
        Event::PartitionLost(partition) => {
            warn!(target: "quorate::repair", node, partition = partition.0, "partition has lost something");
        }
        Event::PartitionRefilled(partition) => {
            info!(target: "quorate::repair", node, partition = partition.0, "partition filled again");
        }
        Event::LayoutDiffers(peer) => {
            warn!(target: "quorate::layout", node, peer = peer.0, "peer works with another layout");
        }
        Event::PartitionMoved(partition, layout) => {
            info!(target: "quorate::layout", node, partition = partition.0, %layout, "partition has come");
        }
        Event::PartitionDropped(partition) => {
            info!(target: "quorate::layout", node, partition = partition.0, "copy dropped");
        }
        Event::PossibleLoss(partition, layout) => {
            error!(target: "quorate::layout", node, partition = partition.0, %layout, "acknowledged writes may be gone");
        }
        Event::VoteLost(partition) => error!(target: "quorate::layout", node, partition = partition.0, "vote lost"),
        Event::Proposed(layout) => info!(target: "quorate::layout", node, %layout, "layout proposed"),
        Event::Decided(layout) => info!(target: "quorate::layout", node, %layout, "layout decided"),
        Event::Joined(member) => info!(target: "quorate::members", node, member = member.0, "member joined"),
        Event::Leaving(member) => info!(target: "quorate::members", node, member = member.0, "member is leaving"),
        Event::Removed(member) => info!(target: "quorate::members", node, member = member.0, "member removed"),
        Event::ReconcilerFailed(keyspace) => {
            error!(target: "quorate::request", node, keyspace = keyspace.0, "reconciler failed");
        }
        Event::Slow(phase, took) => {
            let took_us = crate::time::micros(*took);
            warn!(target: "quorate::request", node, operation = phase.name(), took_us, "slow request");
        }
    }
}

/// A request was answered: a traced one is told as a whole.
pub(super) fn answered(node: NodeId, reply: &Reply) {
    if let Reply::Traced(_, trace) = reply {
        debug!(target: "quorate::trace", node = node.0, steps = trace.steps().len(), "traced request\n{trace}");
    }
}
