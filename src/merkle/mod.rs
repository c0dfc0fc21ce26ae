//! Digest trees (Merkle trees): in which keys do two replicas of a partition differ? (Dynamo §4.7)
//!
//! Pure, and usable by itself: keys are known by their position in the hash space and by a [`digest`].
//!
//! | call | what it is for |
//! |---|---|
//! | [`digest`] | what a key contributes: its bytes and its live dots, hashed jointly |
//! | [`Tree::new`], [`Tree::replace`] | a tree over the positions of a partition; kept current on the write path |
//! | [`Tree::summary`] | digest and number of all keys; equal for equal content, whatever the depths |
//! | [`Tree::depth`], [`Tree::level`], [`Tree::compare`] | the comparison with a peer, level by level |
//! | [`Tree::ranges`] | the positions under some nodes: what is scanned for the lists of keys |
//! | [`differing_keys`] | the comparison of two such lists |
//! | [`Tree::outgrown`], [`Rebuild`] | a deeper or fresh tree from a scan in slices, beside writes |
//!
//! A session tells [`Tree::summary`] (as a [`Short`]) and [`Tree::depth`] first. If the digests differ, the side that
//! has just heard something shows the next level of what differs, in turns, so that each level costs one message, not
//! two. At the lower of the two depths come the lists of keys.
//!
//! ```
//! use quorate::merkle::{Nodes, Rebuild, Tree};
//!
//! let positions = 0..=u64::MAX;
//! let (mut a, mut b) = (Tree::new(positions.clone()), Tree::new(positions));
//! a.replace(77, None, Some(0xaa));
//! b.replace(77, None, Some(0xbb));
//! let common = a.depth().min(b.depth());
//! let mut differing = Nodes::root();
//! while differing.depth() < common {
//!     // On the wire: `Level` says which nodes it speaks of.
//!     let level = a.level(&differing, common)?;
//!     differing = b.compare(&level)?;
//! }
//! assert!(a.ranges(&differing)[0].contains(&77));
//! # Ok::<(), quorate::merkle::Refused>(())
//! ```
//!
//! # Shape
//!
//! The positions of a partition are cut into 2^depth buckets of equal width, and a bucket holds the wrapping sum of its
//! keys' digests and their number. A sum needs no order, a key is taken out by subtraction, and two equal digests do not
//! cancel, as they do under XOR. A node of any depth *d* is the *i*-th of 2^*d* equal parts: it means the same
//! positions on both sides, and its sum is that of the buckets below it, so trees of different depths compare at the
//! lower one. Storage iterates in order of positions, so the list of a bucket is one range scan.
//!
//! There are two arrays: the buckets, and sums of about √buckets neighbours each, which stay in the cache. A write
//! touches one element of each, and no node costs more than a walk over √buckets elements. Keeping all levels would
//! cost a write a cache miss for each; keeping none would make the first levels of a comparison read everything.
//!
//! Depth follows the number of keys in steps of four times as many buckets, with 2 to 8 keys in a bucket: 3 to 10 bytes
//! per key, nothing for an empty partition. Folding buckets together needs nothing but the tree, and is done at once.
//! Splitting them needs the keys: the caller rebuilds a tree that is [`Tree::outgrown`] beside writes, in slices, as it
//! must be able to anyhow. Until then lists are longer, and nothing is wrong. The other way is a fixed fine grain,
//! allocated where there are keys: it needs no rebuild, but takes 30 bytes and more per key in a small partition, and
//! is too coarse for a very large one.

mod compare;
mod digest;
mod format;
mod rebuild;
mod span;
mod tree;

pub use compare::{KeyDigest, Level, Nodes, Refused, differing_keys};
pub use digest::{Short, Summary, digest};
pub use rebuild::Rebuild;
pub use tree::Tree;

#[cfg(test)]
mod tests;
