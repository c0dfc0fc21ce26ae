//! What a host supplies to keep data: ordered bytes in a few spaces.
//!
//! An engine knows nothing of versions, clocks or hints. Four calls are all it takes, and an adapter for an embedded
//! database is some fifty lines.

mod memory;

pub use memory::MemoryStorage;

use std::ops::{ControlFlow, Range};

use crate::bytes::Bytes;
use crate::error::StorageError;
use crate::wire::{FormatError, checked, put_checksum};

/// Ordered bytes in four spaces. One storage belongs to one shard of one node.
///
/// Keys are never empty, and compare byte by byte, unsigned; a key that another begins with comes first. What a
/// storage shows when it is opened must be durable already: an engine that finds writes of which it can't tell whether
/// they were synced, because the process died and the machine did not, syncs them before it shows them.
///
/// The suites in `quorate::testing` check an implementation against all of this.
pub trait Storage: Send {
    /// The value of `key`. Sees every write before it, synced or not.
    ///
    /// # Errors
    /// [`StorageError::Read`]; the request is refused, and other replicas are asked.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError>;

    /// Applies a batch, all or nothing, visible at once; durable after the next sync that succeeds.
    ///
    /// A crash before that sync may take it back, but only whole, and only together with every batch after it: what
    /// survives of the batches since the last sync is a prefix of them. Each batch rewrites the line of its partition's
    /// clock, which speaks for the records of all batches before it. If it survived without one of those records, the
    /// node would claim to have seen that write, and it would be deleted everywhere without an error. A log does this
    /// by itself; an engine that writes its files back in any order must not be used without one.
    ///
    /// # Errors
    /// [`StorageError::Write`] or [`StorageError::Full`], and nothing of the batch was written.
    fn write(&mut self, batch: &Batch) -> Result<(), StorageError>;

    /// Shows the pairs of a space in the order of their keys, from the first key that is not below `from`, until
    /// `visit` breaks off.
    ///
    /// # Errors
    /// [`StorageError::Read`], after some pairs may have been shown.
    fn scan(&self, space: Space, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError>;

    /// Makes every write before it durable: it survives the loss of power. Of the writes after it a prefix does, each
    /// batch whole (see [`Storage::write`]).
    ///
    /// # Errors
    /// [`StorageError::Sync`]. It is not called again: the shard is fenced.
    fn sync(&mut self) -> Result<(), StorageError>;
}

/// Is shown a key and its value, and says whether to go on.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// What is kept apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Space {
    /// The records of the partitions that the node owns.
    Objects,
    /// Their clocks, and the index of what is not settled.
    Dots,
    /// Writes that wait for other nodes.
    Hints,
    /// Whose storage this is.
    Meta,
}

impl Space {
    /// All spaces.
    pub const ALL: [Self; 4] = [Self::Objects, Self::Dots, Self::Hints, Self::Meta];
}

/// Writes that belong together. One allocation serves all of them, and the next batch again.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    arena: Vec<u8>,
    writes: Vec<(Space, Range<u32>, Option<Range<u32>>)>,
}

/// One write of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Write<'a> {
    /// Where.
    pub space: Space,
    /// Under which key.
    pub key: &'a [u8],
    /// The value; none deletes the key.
    pub value: Option<&'a [u8]>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The writes, in order. A later one of the same key wins.
    pub fn iter(&self) -> impl Iterator<Item = Write<'_>> {
        let bytes = |range: &Range<u32>| &self.arena[range.start as usize..range.end as usize];
        self.writes.iter().map(move |(space, key, value)| Write {
            space: *space,
            key: bytes(key),
            value: value.as_ref().map(bytes),
        })
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Adds a write.
    pub fn put(&mut self, space: Space, key: &[u8], value: &[u8]) {
        self.put_with(space, |out| out.extend_from_slice(key), |out| out.extend_from_slice(value));
    }

    /// Adds a removal.
    pub fn delete(&mut self, space: Space, key: &[u8]) {
        let key = self.append(|out| out.extend_from_slice(key));
        self.writes.push((space, key, None));
    }

    /// Empties it and keeps its memory, unless one large batch made it large.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.arena.shrink_to(1 << 20);
        self.writes.clear();
    }

    pub(crate) fn put_with(&mut self, space: Space, key: impl FnOnce(&mut Vec<u8>), value: impl FnOnce(&mut Vec<u8>)) {
        let key = self.append(key);
        let value = self.append(value);
        self.writes.push((space, key, Some(value)));
    }

    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Range<u32> {
        let start = self.arena.len() as u32;
        write(&mut self.arena);
        start..u32::try_from(self.arena.len()).expect("a batch holds less than 4 GiB")
    }
}

const SET_BACK: &[u8] = b"set back";
const SET_BACK_VERSION: u8 = 1;

/// Says of a storage that its node has promised more with it than it shows: it is a copy of an earlier time, or that of
/// a node of which another shard was lost. Makes it durable.
///
/// The next open of the node renews it: it is another store ([`StoreId`](crate::ids::StoreId)), which has no vote in any
/// layout before one names it, takes its records over as if others had shown them, and counts in no read before it has
/// seen what the other owners have. Without this an older disk in the place of a newer one goes unnoticed, and reads
/// miss what it had acknowledged.
///
/// # Errors
/// Those of [`Storage::write`] and [`Storage::sync`].
pub fn mark_set_back<S: Storage>(storage: &mut S) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    let mut value = vec![SET_BACK_VERSION];
    put_checksum(SET_BACK, &mut value, 0);
    batch.put(Space::Meta, SET_BACK, &value);
    storage.write(&batch)?;
    storage.sync()
}

/// Whether [`mark_set_back`] was said of it, and it was not opened since.
///
/// # Errors
/// [`StorageError`]: who can't read it must not take the storage for one that is not marked.
pub(crate) fn is_set_back<S: Storage>(storage: &S) -> Result<bool, StorageError> {
    let Some(bytes) = storage.get(Space::Meta, SET_BACK)? else { return Ok(false) };
    match checked(SET_BACK, &bytes)? {
        [SET_BACK_VERSION] => Ok(true),
        [version, ..] => Err(FormatError::Version(*version).into()),
        [] => Err(FormatError::Content("a mark without a version").into()),
    }
}

/// Takes the mark away, in the batch that renews the storage.
pub(crate) fn unmark_set_back(batch: &mut Batch) {
    batch.delete(Space::Meta, SET_BACK);
}

/// Proof that a write was made, or was there already: without it no `WriteReply` that says so can be queued, and no
/// ballot told.
///
/// It is minted here alone, beside the one call of [`Storage::write`] that writes data; the other names an empty storage.
#[must_use]
#[derive(Debug)]
pub struct Stored {
    wrote: bool,
}

impl Stored {
    /// Writes a batch; one without writes needs none.
    ///
    /// # Errors
    /// As [`Storage::write`]; nothing of the batch was written.
    pub fn write<S: Storage>(storage: &mut S, batch: &Batch) -> Result<Self, StorageError> {
        if batch.is_empty() {
            return Ok(Self { wrote: false });
        }
        storage.write(batch)?;
        Ok(Self { wrote: true })
    }

    /// Both were made.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { wrote: self.wrote | other.wrote }
    }

    /// Whether a sync is due before anybody may hear of it.
    pub(crate) const fn wrote(&self) -> bool {
        self.wrote
    }
}
