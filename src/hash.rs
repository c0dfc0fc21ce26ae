//! The one hash: SipHash-2-4 with 128 bits, keyed with the cluster's secret.
//!
//! It places keys on the ring and seals contexts. Placement needs a hash that is the same on every machine for ever
//! and whose collisions a client can't choose; seals need one that can't be computed without the key. XXH3 is three
//! times faster on a hundred bytes, but gives only the first of the three. The keyless use (layout and keyspace
//! names) runs it with a key of zeros.

use std::fmt;

use siphasher::sip128::{Hasher128, SipHasher24};

/// The 128-bit secret that all nodes of a cluster share: keys the ring's hash and the seals of contexts.
///
/// Whoever knows it can forge contexts and choose keys that fall into one partition.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret([u8; 16]);

impl Secret {
    /// A secret from 16 random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

// A secret in a log is no secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a hash is for. Part of the hashed bytes, so that a seal can never be read as a position.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Position = 1,
    Seal = 2,
    Layout = 3,
    Keyspace = 4,
    Store = 5,
    Digest = 6,
    Clock = 7,
    Name = 8,
    Member = 9,
}

/// The hash of `parts`, each preceded by its length, so that ("ab", "c") and ("a", "bc") differ.
pub(crate) fn hash(secret: &Secret, purpose: Purpose, parts: &[&[u8]]) -> u128 {
    let mut hasher = SipHasher24::new_with_key(&secret.0);
    // One call with a fixed head instead of a length before every part: `write` on small pieces costs most of it.
    let mut head = [0_u8; 17];
    head[0] = purpose as u8;
    let (first, rest) = parts.split_first().map_or((&[][..], &[][..]), |(first, rest)| (*first, rest));
    head[1..9].copy_from_slice(&(first.len() as u64).to_le_bytes());
    head[9..17].copy_from_slice(&(parts.len() as u64).to_le_bytes());
    let mut short = [0_u8; 17 + 64];
    match short.get_mut(17..17 + first.len()) {
        // One call instead of two where the first part is short, as most keys are.
        Some(room) => {
            room.copy_from_slice(first);
            short[..17].copy_from_slice(&head);
            std::hash::Hasher::write(&mut hasher, &short[..17 + first.len()]);
        }
        None => {
            std::hash::Hasher::write(&mut hasher, &head);
            std::hash::Hasher::write(&mut hasher, first);
        }
    }
    for part in rest {
        std::hash::Hasher::write(&mut hasher, &(part.len() as u64).to_le_bytes());
        std::hash::Hasher::write(&mut hasher, part);
    }
    hasher.finish128().as_u128()
}

/// The hash with no secret: for names that everybody must be able to compute.
pub(crate) fn keyless(purpose: Purpose, parts: &[&[u8]]) -> u128 {
    hash(&Secret([0; 16]), purpose, parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hasher;

    /// The first vectors of the reference implementation (`vectors_sip128`, key 00..0f, message 00, 01, 02, …).
    #[test]
    fn the_library_gives_the_published_vectors() {
        let key: [u8; 16] = std::array::from_fn(|i| i as u8);
        let expected: [[u8; 16]; 2] = [
            [0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93],
            [0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45],
        ];
        for (length, vector) in expected.iter().enumerate() {
            let mut hasher = SipHasher24::new_with_key(&key);
            hasher.write(&(0..length as u8).collect::<Vec<_>>());
            assert_eq!(hasher.finish128().as_bytes(), *vector);
        }
    }

    #[test]
    fn parts_secret_and_purpose_all_count() {
        let secret = Secret([7; 16]);
        let base = hash(&secret, Purpose::Position, &[b"ab", b"c"]);
        assert_ne!(base, hash(&secret, Purpose::Position, &[b"a", b"bc"]));
        assert_ne!(base, hash(&secret, Purpose::Position, &[b"abc"]));
        assert_ne!(base, hash(&secret, Purpose::Seal, &[b"ab", b"c"]));
        assert_ne!(base, hash(&Secret([8; 16]), Purpose::Position, &[b"ab", b"c"]));
    }

    /// Positions are where data lies for ever: this figure may never change.
    #[test]
    fn golden_position() {
        assert_eq!(hash(&Secret::new(*b"0123456789abcdef"), Purpose::Position, &[b"\0\0\0\0", b"0545010225"]), GOLDEN);
    }
    const GOLDEN: u128 = 0x1414e51ba460b37db380bcaded28bb95;
}
