//! Names: of nodes, stores, starts, write events.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A node's name in layouts: chosen by the operator, kept for the node's whole life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

/// A cluster's name: random, made once, when the cluster is founded. Messages of another cluster are refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u128);

/// A store's name: random, made when an empty storage is first opened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StoreId(pub u128);

/// One start of a node's process: at least 64 fresh random bits at every start, never read back from a disk.
///
/// It names the write events of that start. Two starts with one nonce would name two different writes alike, and one
/// of the two, though acknowledged, would be taken for the other and lost. It therefore never comes from a seed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Start(pub u64);

/// Who names write events: a node, in one of its starts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// The node.
    pub node: NodeId,
    /// Which of its starts.
    pub start: Start,
}

/// One write event, named once, for ever: the `counter`-th (from 1) of an actor in a partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(Actor, u64)", into = "(Actor, u64)")]
pub struct Dot {
    /// Who named it.
    pub actor: Actor,
    /// From 1, without gaps at its origin.
    pub counter: u64,
}

impl Dot {
    /// Counters end here, so that arithmetic on what a peer sent can't overflow. At a million writes a second an
    /// actor reaches it after 146,000 years.
    pub const COUNTER_MAX: u64 = 1 << 62;
}

impl From<Dot> for (Actor, u64) {
    fn from(dot: Dot) -> Self {
        (dot.actor, dot.counter)
    }
}

impl TryFrom<(Actor, u64)> for Dot {
    type Error = &'static str;
    fn try_from((actor, counter): (Actor, u64)) -> Result<Self, Self::Error> {
        if (1..=Self::COUNTER_MAX).contains(&counter) {
            Ok(Self { actor, counter })
        } else {
            Err("counter out of range")
        }
    }
}

/// A client's own name for a write: 128 bits that it makes and sends again when it repeats a put of unknown outcome.
///
/// Two puts with one id that reach different nodes across a crash are two events; a read shows them as one value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WriteId(pub u128);

/// One of the equal slices of the hash space: the unit of ownership and of clocks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId(pub u32);

/// A failure domain (rack, room, data centre) that the operator names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ZoneId(pub u32);

/// The host's name for a request that it gave to a node; comes back with the reply.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A node's name for a request that it sent to a peer; comes back with the peer's reply.
///
/// It carries the start, so that a reply to what the node asked before it crashed answers nothing that it asks now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RequestId {
    /// The start that asked.
    pub start: Start,
    /// Which of its requests.
    pub number: u64,
}

/// A layout's name: ordered by version, then by a hash of its content and its parent's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct LayoutId {
    /// How many layouts came before it.
    pub version: u64,
    /// Keyless hash of the content, the parent's name included.
    pub hash: u64,
}

/// A keyspace's name on the wire and on disk: derived from the text that the operator gave.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyspaceId(pub u32);

macro_rules! shown {
    ($($name:ident: $prefix:literal $style:literal),* $(,)?) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:", $style, "}"), self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}
shown!(
    NodeId: "n" "", ClusterId: "cluster-" "032x", StoreId: "store-" "032x", Start: "s" "016x", WriteId: "w-" "x",
    PartitionId: "p" "", ZoneId: "z" "", Ticket: "t" "", KeyspaceId: "k" "08x",
);

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{:x}", self.node, self.start.0)
    }
}
impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.actor, self.counter)
    }
}
impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl fmt::Display for LayoutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}-{:016x}", self.version, self.hash)
    }
}
impl fmt::Debug for LayoutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
