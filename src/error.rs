//! One enum per operation; each variant says what happened to the data.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::ids::{ClusterId, LayoutId, NodeId};
pub use crate::wire::FormatError;
use crate::wire::list;

/// Why a storage failed.
///
/// A failed sync is never tried again: what it left on the disk is not known. The shard is fenced, what waited for
/// the sync is dropped, and peers see a dead replica.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A read failed. Nothing was changed.
    #[error("the storage failed to read: {0}")]
    Read(String),
    /// A write failed. Nothing of its batch was written.
    #[error("the storage failed to write: {0}")]
    Write(String),
    /// There is no room left. Nothing of the batch was written.
    #[error("the storage is full")]
    Full,
    /// A sync failed. What was written since the last one may or may not survive.
    #[error("the storage failed to sync: {0}")]
    Sync(String),
    /// A sync failed earlier, so nothing is done any more. Nothing was changed.
    #[error("the storage is fenced since a sync failed")]
    Fenced,
    /// Stored bytes are damaged. They are left as they are and are never taken for a delete.
    #[error("stored bytes are damaged: {0}")]
    Damaged(#[from] FormatError),
}

/// Why a context was refused. Nothing was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The bytes are not a context. Nothing was written.
    #[error("the context is garbled: {0}")]
    Garbled(#[from] FormatError),
    /// The seal doesn't fit: forged, damaged, of another key or another cluster. Nothing was written.
    #[error("the context is forged, damaged, or belongs to another key or cluster")]
    Foreign,
    /// Longer than [`crate::config::Limits::context`]. Nothing was written.
    #[error("the context has {got} bytes, more than the limit of {limit}")]
    TooLong {
        /// The bytes that came.
        got: usize,
        /// The bytes that are allowed.
        limit: usize,
    },
}

/// Why a node did not do what a peer asked. Nothing was changed by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The nodes have different layouts.
    #[error("its layout is {0}")]
    Layout(LayoutId),
    /// It doesn't own the partition.
    #[error("it doesn't own the partition")]
    NotAnOwner,
    /// Its storage failed.
    #[error("its storage failed")]
    Storage,
    /// The timestamp is further ahead of its clock than it believes.
    #[error("the timestamp is too far ahead of its clock")]
    ClockAhead,
    /// It keeps as many bytes of hints for that target as it may.
    #[error("it has no room for more hints")]
    HintsFull,
    /// It has as many requests in progress as it may.
    #[error("it is overloaded")]
    Overloaded,
    /// It has just started, or lost something, and is still reading what it holds.
    #[error("it is still reading what it holds")]
    NotReady,
    /// What it was asked for is not there any more, or never was.
    #[error("it has nothing of the kind")]
    NoSuch,
}

/// What one node answered to a request that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Answer {
    /// It did what it was asked to do.
    Done,
    /// It keeps the write as a hint for the owner named.
    Hinted(NodeId),
    /// It holds no hint of the key: it knows nothing, which is not the same as "there is nothing".
    NoInformation,
    /// It refused.
    Refused(Refusal),
    /// It did not answer in time.
    Silent,
    /// It was not asked, for it is suspected.
    Suspected,
}

/// The evidence of a quorum that was not reached.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Shortfall {
    /// The answers that it took.
    pub needed: u8,
    /// The answers that counted.
    pub got: u8,
    /// Who answered what, in the order in which they were asked.
    #[serde(deserialize_with = "list")]
    pub answers: Vec<(NodeId, Answer)>,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} answers", self.got, self.needed)?;
        for (node, answer) in &self.answers {
            write!(f, "; {node}: {answer:?}")?;
        }
        Ok(())
    }
}

/// Why a get failed. A get changes nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// Too few replicas answered. Nothing was changed.
    #[error("too few replicas answered: {0}")]
    Unavailable(Shortfall),
    /// There is no such keyspace. Nothing was changed.
    #[error("there is no such keyspace")]
    Keyspace,
    /// The key is too long. Nothing was changed.
    #[error("the key has {got} bytes, more than the limit of {limit}")]
    KeyTooLong {
        /// Its bytes.
        got: usize,
        /// The bytes that are allowed.
        limit: usize,
    },
    /// R is zero or more than N. Nothing was changed.
    #[error("a read can't wait for {asked} of {n} replicas")]
    Quorum {
        /// What was asked for.
        asked: u8,
        /// Replicas.
        n: u8,
    },
    /// The node has as many requests in progress as it may. Nothing was changed.
    #[error("the node is overloaded")]
    Overloaded,
    /// The keyspace's reconciler panicked on these siblings, or picked one that isn't there. Nothing was changed.
    #[error("the reconciler panicked, or picked a sibling that isn't there")]
    Reconciler,
    /// The node's storage is fenced, or the server was stopped. Nothing was changed.
    #[error("the node has stopped")]
    Stopped,
}

/// Why a put or a delete failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// Too few replicas acknowledged it. It may have been written, and may appear later; put it again with the same
    /// context and write id to be sure.
    #[error("too few replicas acknowledged it: {0}")]
    Unavailable(Shortfall),
    /// The object is not what the context had seen, so the condition failed. Nothing was written.
    #[error("the object has changed since it was read")]
    Changed,
    /// A read that had to come first (of a condition, or of a delete without context) failed. Nothing was written.
    #[error("the read that comes first failed: {0}")]
    Read(GetError),
    /// There is no such keyspace. Nothing was written.
    #[error("there is no such keyspace")]
    Keyspace,
    /// The key is too long. Nothing was written.
    #[error("the key has {got} bytes, more than the limit of {limit}")]
    KeyTooLong {
        /// Its bytes.
        got: usize,
        /// The bytes that are allowed.
        limit: usize,
    },
    /// The value is too long. Nothing was written.
    #[error("the value has {got} bytes, more than the limit of {limit}")]
    ValueTooLong {
        /// Its bytes.
        got: usize,
        /// The bytes that are allowed.
        limit: usize,
    },
    /// The value would have expired before anybody could read it: its time to live is zero, or less than a microsecond.
    /// Nothing was written; to remove what is there, delete it.
    #[error("a value can't expire as soon as it is written")]
    ExpiresAtOnce,
    /// The context was refused. Nothing was written.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The context says a part of what was read by a name, and no node in reach knows what that stands for: those that
    /// hold it are down, or have lost their disks. Nothing was written, and the context stays good: put again later, or
    /// read again and put with the context of that.
    #[error("the context says what was read by a name that no node in reach knows")]
    UnknownName,
    /// W is zero or more than N. Nothing was written.
    #[error("a write can't wait for {asked} of {n} replicas")]
    Quorum {
        /// What was asked for.
        asked: u8,
        /// Replicas.
        n: u8,
    },
    /// The object has as many siblings as it may, and the reconciler keeps them all. Nothing was written; read,
    /// merge, and put with the context of the read. (A network that repeats the message to an owner that has forgotten
    /// its refusal in a crash may still bring the write in.)
    #[error("the object has {siblings} siblings, the limit is {limit}")]
    TooManySiblings {
        /// How many there are.
        siblings: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The values of the object together would have more bytes than they may, and the reconciler makes no smaller one of
    /// them. Nothing was written; otherwise as [`PutError::TooManySiblings`].
    #[error("the object would have {bytes} bytes in all its siblings, more than the limit of {limit}")]
    ObjectTooLarge {
        /// How many it would have.
        bytes: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The keyspace's reconciler panicked on the siblings at the cap, or picked one that isn't there. Nothing was written.
    #[error("the reconciler panicked, or picked a sibling that isn't there")]
    Reconciler,
    /// The coordinator's own storage failed before anything left it. Nothing was written.
    #[error(transparent)]
    Storage(StorageError),
    /// The node has as many requests in progress as it may. Nothing was written.
    #[error("the node is overloaded")]
    Overloaded,
    /// The node's storage is fenced, or the server was stopped, while the request was on its way. It may have been
    /// written.
    #[error("the node has stopped")]
    Stopped,
}

/// Why a page of keys could not be had. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// No owner of a partition answered. Nothing was changed.
    #[error("no owner of a partition answered: {0}")]
    Unavailable(Shortfall),
    /// There is no such keyspace. Nothing was changed.
    #[error("there is no such keyspace")]
    Keyspace,
    /// The cursor is not one that a page of this cluster gave. Nothing was changed.
    #[error("the cursor is garbled")]
    Cursor,
    /// The node has as many requests in progress as it may. Nothing was changed.
    #[error("the node is overloaded")]
    Overloaded,
    /// The node's storage is fenced, or the server was stopped. Nothing was changed.
    #[error("the node has stopped")]
    Stopped,
}

/// Why two owners of a partition could not be compared. Nothing was moved or changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// This node, or the other, does not own the partition.
    #[error("the two nodes don't both own the partition")]
    NotAnOwner,
    /// The other owner did not answer, or one of the two is still reading what it holds.
    #[error("the other owner did not answer to the end")]
    Unavailable,
    /// The node has as many requests in progress as it may.
    #[error("the node is overloaded")]
    Overloaded,
    /// The node stopped, or a sync failed.
    #[error("the node stopped")]
    Stopped,
}

/// Why a node could not be opened. The storage is as it was, but for the name that an empty one is given.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The settings are refused. Nothing was opened.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The storage failed. Nothing was changed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The storage belongs to another node, cluster or shard. Nothing was changed.
    #[error("the storage belongs to {what} {found}, not to {expected}")]
    Foreign {
        /// What differs.
        what: &'static str,
        /// What the storage says.
        found: String,
        /// What was to be opened.
        expected: String,
    },
}

/// What a peer, or whoever sent bytes in its name, got wrong. The frame was dropped; nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is not a frame of this protocol.
    #[error("these bytes are not a frame")]
    NotAFrame,
    /// It speaks a version that this program doesn't.
    #[error("protocol version {0} is not known")]
    Version(u8),
    /// It belongs to another cluster.
    #[error("the frame belongs to {0}")]
    Cluster(ClusterId),
    /// It is longer than [`crate::config::Limits::frame`].
    #[error("the frame has {got} bytes, more than the limit of {limit}")]
    TooLong {
        /// Its bytes.
        got: usize,
        /// The bytes that are allowed.
        limit: usize,
    },
    /// The lengths in it don't fit.
    #[error("the frame is garbled: {0}")]
    Format(#[from] FormatError),
    /// A message in it can't be decoded.
    #[error("a message is garbled: {0}")]
    Message(String),
    /// A message in it breaks a bound or a rule.
    #[error("a message breaks a rule: {0}")]
    Rule(&'static str),
}

/// Any error of this library, for those who handle them alike.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Of a get.
    #[error(transparent)]
    Get(#[from] GetError),
    /// Of a put or delete.
    #[error(transparent)]
    Put(#[from] PutError),
    /// Of a listing.
    #[error(transparent)]
    List(#[from] ListError),
    /// Of a comparison.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// Of opening a node.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Of settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Of a storage.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Of a context.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// Of a peer's bytes.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_can_cross_threads() {
        fn check<E: std::error::Error + Send + Sync + 'static>() {}
        check::<Error>();
        check::<GetError>();
        check::<PutError>();
        check::<OpenError>();
    }

    #[test]
    fn a_failed_quorum_shows_its_evidence() {
        let shortfall = Shortfall {
            needed: 2,
            got: 1,
            answers: vec![(NodeId(1), Answer::Done), (NodeId(2), Answer::Refused(Refusal::Storage))],
        };
        let text = PutError::Unavailable(shortfall).to_string();
        assert_eq!(text, "too few replicas acknowledged it: 1 of 2 answers; n1: Done; n2: Refused(Storage)");
    }
}
