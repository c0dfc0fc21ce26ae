//! What a key contributes to a tree, and what is told of many.

use smallvec::SmallVec;

use crate::hash::{Purpose, Secret, hash};
use crate::ids::Dot;

/// What a key with these live dots contributes to its partition's tree; nothing if none is live.
///
/// Key and dots are hashed jointly, with the cluster's secret. A sum of separately hashed parts would be the same for
/// two keys that have exchanged their dots; and without a secret a client could choose keys whose digests cancel.
///
/// `key` is all that names the key within the partition (its keyspace too). The order of the dots doesn't matter. The
/// hash is told between nodes, so it is the same for ever: SipHash-2-4-128 for a purpose of its own (`hash.rs`) over the
/// number of dots, for each in order its node, start and counter (8 bytes each, little-endian), and the key.
#[must_use]
pub fn digest(secret: &Secret, key: &[u8], live: impl IntoIterator<Item = Dot>) -> Option<u128> {
    let mut dots: SmallVec<[Dot; 4]> = live.into_iter().collect();
    dots.sort_unstable();
    // One part with the number of dots in front: what is hashed part by part costs more.
    let mut bytes = Vec::with_capacity(8 + 24 * dots.len() + key.len());
    bytes.extend_from_slice(&(dots.len() as u64).to_le_bytes());
    for dot in &dots {
        for part in [dot.actor.node.0, dot.actor.start.0, dot.counter] {
            bytes.extend_from_slice(&part.to_le_bytes());
        }
    }
    bytes.extend_from_slice(key);
    (!dots.is_empty()).then(|| hash(secret, Purpose::Digest, &[&bytes]))
}

/// Some keys in sum: those of a bucket, of a node, or of a whole tree.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Summary {
    /// The wrapping sum of the keys' digests.
    pub digest: u128,
    /// How many keys there are.
    pub count: u64,
}

impl Summary {
    /// With another's keys.
    pub(crate) const fn plus(self, other: Self) -> Self {
        let (digest, count) = (self.digest.wrapping_add(other.digest), self.count.wrapping_add(other.count));
        Self { digest, count }
    }

    /// What is told of it to a peer.
    #[must_use]
    pub const fn short(self) -> Short {
        // Odd, so that no two counts are the same: a digest of zero would hide a key.
        Short((self.digest as u64).wrapping_add(self.count.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
}

/// A [`Summary`] in 64 bits, as it goes over the wire: the lower half of the digest, and the count mixed in.
///
/// Enough between nodes that share a secret: what differs looks equal once in 2^64 comparisons. It is never stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Short(pub(super) u64);
