//! Why a request was refused. Riak has one reply for all, a text with a code that is always zero.

use quorate::error::{ContextError, GetError, ListError, PutError};

use crate::options::OptionError;

/// Why a request was refused, in Riak's words where it has some.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Nothing was done.
    #[error("Unknown message code: {0}")]
    Code(u8),
    /// Nothing was done.
    #[error("Message decoding error: {0}")]
    Garbled(String),
    /// Nothing was done.
    #[error("{0} cannot be zero-length")]
    Empty(&'static str),
    /// There are no bucket types but the default one. Nothing was done.
    #[error("No bucket-type named '{0}'")]
    BucketType(String),
    /// Nothing was done.
    #[error(transparent)]
    Options(#[from] OptionError),
    /// Nothing was changed.
    #[error("the bucket property {0} can't be set to that here")]
    Property(&'static str),
    /// Something is there already, and `if_none_match` was asked for. Nothing was written.
    #[error("match_found")]
    MatchFound,
    /// It is not what the vclock has seen, and `if_not_modified` was asked for. Nothing was written.
    #[error("modified")]
    Modified,
    /// Nothing is there, and `if_not_modified` was asked for. Nothing was written.
    #[error("notfound")]
    NotFound,
    /// Nothing was done.
    #[error("the option {0} is not supported")]
    Unsupported(&'static str),
    /// A counter was asked for in a bucket without `allow_mult`. Nothing was done.
    #[error("Counters require bucket property 'allow_mult=true'")]
    CounterBucket,
    /// The object is no counter. Nothing was done.
    #[error("the object is not a counter")]
    NotACounter,
    /// Nothing was written.
    #[error("the counter can't count any further")]
    CounterFull,
    /// Listing took longer than the client gave it. Nothing was changed.
    #[error("timeout")]
    Timeout,
    /// What is stored there was not written by this program. Nothing was changed.
    #[error("what is stored is not an object")]
    Stored,
    /// Nothing was changed.
    #[error(transparent)]
    Get(#[from] GetError),
    /// The library says what happened to the data.
    #[error(transparent)]
    Put(#[from] PutError),
    /// Nothing was changed.
    #[error(transparent)]
    List(#[from] ListError),
    /// The vclock is none that this cluster gave for this key. Nothing was written.
    #[error(transparent)]
    Context(#[from] ContextError),
}

impl Refusal {
    /// Whether it is sure that nothing was written.
    pub(crate) fn wrote_nothing(&self) -> bool {
        !matches!(self, Self::Put(PutError::Unavailable(_) | PutError::Stopped))
    }
}
