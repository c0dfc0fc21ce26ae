//! What a client asks of a node, and what it gets.

use std::time::Duration;

use crate::bytes::Bytes;
use crate::causality::Context;
use crate::config::{Durability, Mode, Spread};
use crate::error::{CompareError, GetError, ListError, PutError};
use crate::ids::{KeyspaceId, LayoutId, NodeId, PartitionId, WriteId};
use crate::trace::Trace;

/// A client's request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Request {
    /// Read a key.
    Get {
        /// In which keyspace.
        keyspace: KeyspaceId,
        /// The key.
        key: Bytes,
        /// What differs from the keyspace's defaults.
        options: GetOptions,
    },
    /// Write a key, superseding what the context has seen.
    Put {
        /// In which keyspace.
        keyspace: KeyspaceId,
        /// The key.
        key: Bytes,
        /// The value; none deletes. A delete without a context reads first, and deletes what it saw.
        value: Option<Bytes>,
        /// What the client had read.
        context: Context,
        /// What differs from the keyspace's defaults.
        options: PutOptions,
    },
    /// A page of a keyspace's keys.
    List {
        /// In which keyspace.
        keyspace: KeyspaceId,
        /// Where the page before ended.
        cursor: Cursor,
        /// The most keys to return; at least 1, at most the node's limit.
        limit: usize,
    },
    /// In how many keys do this node and another owner of a partition differ? Nothing is moved.
    Compare {
        /// A partition that both own.
        partition: PartitionId,
        /// The other owner.
        with: NodeId,
    },
}

/// How to read; what is not said comes from the keyspace.
#[derive(Clone, Debug, Default)]
pub struct GetOptions {
    /// How many owners must answer.
    pub r: Option<u8>,
    /// Whose answers count.
    pub mode: Option<Mode>,
    /// What must differ between the answers that count.
    pub spread: Spread,
    /// Ask all owners, not only as many as it takes: dearer, and repairs every replica that is behind.
    pub all: bool,
    /// How long it may take.
    pub deadline: Option<Duration>,
    /// The answer is to come with an account of how the node came to it ([`Reply::Traced`]).
    pub traced: bool,
}

/// How to write; what is not said comes from the keyspace.
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    /// How many nodes must have it.
    pub w: Option<u8>,
    /// Whose answers count.
    pub mode: Option<Mode>,
    /// What must differ between the answers that count.
    pub spread: Spread,
    /// Where it must be on disk before it is acknowledged.
    pub durability: Durability,
    /// How long it may take.
    pub deadline: Option<Duration>,
    /// The client's name for this write, to be sent again when it repeats one of unknown outcome. Versions of one name are
    /// shown as one. But where somebody has read the first and replaced or deleted it meanwhile, a repetition through
    /// another node is news to that one, and stands beside what has replaced it.
    pub write_id: Option<WriteId>,
    /// Write only if a read of R replicas shows nothing that the context has not seen.
    ///
    /// This is a check, not a lock: two conditional puts at the same time may both succeed, and then stand side by
    /// side as siblings. It never loses a write; it can't promise to be the only one.
    pub if_unchanged: bool,
    /// After how long the value expires, by wall clocks, counted from when the write is named (a condition is read
    /// before that); none: never. Zero, or less than a microsecond, is refused. A delete does not look at it.
    ///
    /// From then on no read shows the value, and after [`Timing::skew`](crate::config::Timing::skew) more every owner
    /// removes it alone, as if it had been deleted. A node whose clock is ahead by more than the skew removes it that
    /// much earlier, for all; one whose clock is behind goes on showing it that much longer.
    pub expires_after: Option<Duration>,
    /// The answer is to come with an account of how the node came to it ([`Reply::Traced`]).
    pub traced: bool,
}

/// How a request ended.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reply {
    /// Of a get.
    Get(Result<Versions, GetError>),
    /// Of a put or a delete.
    Put(Result<Written, PutError>),
    /// Of a listing.
    List(Result<Page, ListError>),
    /// Of a comparison: the keys that differ, or whose deletes the other owner has not yet understood.
    Compared(Result<u64, CompareError>),
    /// Of a get, put or delete whose options ask for it: its answer, and how the node came to it.
    Traced(Box<Reply>, Box<Trace>),
}

impl Reply {
    /// The answer itself, and its trace, which is empty if none was asked for.
    #[must_use]
    pub fn split(self) -> (Self, Trace) {
        match self {
            Self::Traced(reply, trace) => (*reply, *trace),
            reply => (reply, Trace::default()),
        }
    }
}

/// What a get found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Versions {
    /// The values: none if there is nothing, several if versions stand side by side and the reconciler keeps them.
    pub values: Vec<Bytes>,
    /// What was read: pass it back with the put that replaces it.
    pub context: Context,
    /// How many versions stood side by side before they were reconciled; expired ones don't count.
    pub siblings: usize,
    /// How many owners answered. Fewer than R only in sloppy mode, when no more could be reached.
    pub owners: u8,
    /// The latest layout that the node knows to be decided: for clients that hold one ([`crate::router::Router`]).
    pub layout: LayoutId,
}

impl Versions {
    /// The value, if there is exactly one.
    #[must_use]
    pub fn value(&self) -> Option<&Bytes> {
        match &self.values[..] {
            [value] => Some(value),
            _ => None,
        }
    }
}

/// What a put did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Written {
    /// What the client has seen now: what it had read, and its own write. The next put may go on from it.
    pub context: Context,
    /// How many owners had it when it was acknowledged.
    pub owners: u8,
    /// How many fallbacks had it, as a hint for an owner out of reach.
    pub fallbacks: u8,
    /// The only copy is a hint at the coordinator itself: nobody else could be reached, and W is 1.
    pub only_here: bool,
    /// The object was at its sibling cap, and the reconciler has made one value of what was put and what was there (or
    /// expired versions, which nobody sees any more, have made room). A value that the reconciler picks keeps its expiry;
    /// one that it makes expires with the last of its parts, and never if one of them never does.
    /// Then the context is empty: to go on, read first.
    pub merged: bool,
    /// The latest layout that the node knows to be decided: for clients that hold one ([`crate::router::Router`]).
    pub layout: LayoutId,
}

/// A page of keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// Keys, in no order that means anything. Each is listed once; one that came or went meanwhile may be missed.
    pub keys: Vec<Bytes>,
    /// Where to go on; none after the last page.
    pub next: Option<Cursor>,
}

/// Where a listing goes on. The default is its beginning.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cursor {
    pub(crate) partition: u32,
    pub(crate) after: Bytes,
}

impl Cursor {
    /// As bytes, for a client far away.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.partition.to_be_bytes()[..], &self.after].concat()
    }

    /// From the bytes that [`Cursor::to_bytes`] made.
    ///
    /// # Errors
    /// [`ListError::Cursor`] if they are too short. Nothing was changed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ListError> {
        match bytes.split_first_chunk::<4>() {
            Some((partition, after)) => {
                Ok(Self { partition: u32::from_be_bytes(*partition), after: Bytes::from(after) })
            }
            None if bytes.is_empty() => Ok(Self::default()),
            None => Err(ListError::Cursor),
        }
    }
}
