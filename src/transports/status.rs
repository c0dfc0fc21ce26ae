//! What a transport tells of itself: events as they come, and figures when they are asked for.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::handshake::PeerRefusal;
use crate::ids::{NodeId, Start, StoreId};

/// What happens between a transport and its peers. Reported in the thread where it happens, so what takes it must be
/// quick; anybody who can connect can cause refusals.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NetworkEvent {
    /// A peer was dialled and has said that it is there.
    Connected {
        /// The peer.
        node: NodeId,
        /// Where.
        address: String,
        /// The version of the protocol that is spoken to it.
        version: u16,
    },
    /// The connection to a peer has ended, or a dial failed. What waited for it was dropped and counted.
    Disconnected {
        /// The peer.
        node: NodeId,
        /// Why.
        error: String,
    },
    /// A peer has dialled in, and said who it is.
    Accepted {
        /// The peer.
        node: NodeId,
        /// From where.
        address: String,
    },
    /// A connection from a peer has ended.
    Ended {
        /// The peer.
        node: NodeId,
        /// Why.
        error: String,
    },
    /// This node has turned somebody away, and told them why if they listened.
    Refused {
        /// Who they said they were, if they came to that.
        node: Option<NodeId>,
        /// From where, or where they were dialled.
        address: String,
        /// Why.
        refusal: PeerRefusal,
    },
    /// A peer has turned this node away.
    RefusedBy {
        /// The peer that was dialled.
        node: NodeId,
        /// Where.
        address: String,
        /// Why.
        refusal: PeerRefusal,
    },
}

impl fmt::Display for NetworkEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { node, address, version } => {
                write!(f, "connected to {node} at {address}, version {version}")
            }
            Self::Disconnected { node, error } => write!(f, "no connection to {node}: {error}"),
            Self::Accepted { node, address } => write!(f, "{node} has connected from {address}"),
            Self::Ended { node, error } => write!(f, "the connection from {node} has ended: {error}"),
            Self::Refused { node: Some(node), address, refusal } => {
                write!(f, "turned away {node} of {address}: {refusal}")
            }
            Self::Refused { node: None, address, refusal } => write!(f, "turned away {address}: {refusal}"),
            Self::RefusedBy { node, address, refusal } => write!(f, "turned away by {node} at {address}: {refusal}"),
        }
    }
}

/// A transport's figures, as of now.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NetworkStatus {
    /// Where it listens.
    pub listening: String,
    /// Connections that are open from others, those included that have not shaken hands.
    pub inbound: usize,
    /// Those of them that have not shaken hands.
    pub shaking: usize,
    /// How often each reason was one to turn somebody away, here.
    pub refused: BTreeMap<PeerRefusal, u64>,
    /// Connections that could not be taken because the system had no room.
    pub accept_errors: u64,
    /// Messages dropped because there were [`super::NetworkLimits::peers`] already.
    pub dropped: u64,
    /// All peers that were spoken to or heard, by name.
    pub peers: Vec<PeerStatus>,
}

/// What is known of one peer. Counts are since the transport was bound.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeerStatus {
    /// The peer.
    pub node: NodeId,
    /// Where it was dialled last.
    pub address: Option<String>,
    /// Since when the connection to it stands: microseconds since 1970 by the wall clock.
    pub connected_since: Option<u64>,
    /// The version of the protocol that is spoken to it.
    pub version: Option<u16>,
    /// In which start it answered last.
    pub start: Option<Start>,
    /// Which store it named then, if that has a name.
    pub store: Option<StoreId>,
    /// Since when the connection from it stands.
    pub accepted_since: Option<u64>,
    /// Bytes that wait to be written.
    pub queued_bytes: usize,
    /// Messages that wait to be written.
    pub queued_messages: usize,
    /// Messages handed to the system.
    pub messages_out: u64,
    /// Bytes of frames handed to the system, before encryption.
    pub bytes_out: u64,
    /// Writes that a sender made itself, without the peer's thread.
    pub writes_direct: u64,
    /// Writes that the peer's thread made, because a sender found the system's buffer full or the connection new.
    pub writes_handed: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Bytes of frames received.
    pub bytes_in: u64,
    /// Messages dropped: no room, too long for a frame, no connection, or one that ended.
    pub dropped: u64,
    /// How often the connection to it came about.
    pub connects: u64,
    /// How often a dial failed.
    pub failed_dials: u64,
    /// Why the last connection to it ended or was not made.
    pub last_error: Option<String>,
}
