//! Where a key lies: its keyspace, its bytes, its position in the hash space.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bytes::Bytes;
use crate::hash::{Purpose, Secret, hash, keyless};
use crate::ids::KeyspaceId;

/// A key with its keyspace and its position on the ring, hashed once where the request enters the cluster.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// The keyspace's id (big-endian), then the key as the client gave it.
    bytes: Bytes,
    /// Upper and lower half: a message that holds a key would be a cache line longer with the alignment of a `u128`.
    position: [u64; 2],
}

impl Key {
    /// The key `key` of a keyspace, placed with the cluster's secret.
    pub(crate) fn new(secret: &Secret, keyspace: KeyspaceId, key: &[u8]) -> Self {
        let bytes = Bytes::concat(&keyspace.0.to_be_bytes(), key);
        let position = position(secret, &bytes);
        Self { bytes, position }
    }

    /// From bytes that begin with a keyspace; nothing if they are too short to.
    pub(crate) fn from_full(secret: &Secret, bytes: Bytes) -> Option<Self> {
        let position = position(secret, &bytes);
        (bytes.len() >= 4).then_some(Self { bytes, position })
    }

    /// Keyspace and key in one.
    pub(crate) const fn full(&self) -> &Bytes {
        &self.bytes
    }

    /// The key as the client gave it.
    pub(crate) fn user(&self) -> &[u8] {
        &self.bytes[4..]
    }

    /// Its keyspace.
    pub(crate) fn keyspace(&self) -> KeyspaceId {
        let [a, b, c, d, ..] = self.bytes[..] else { unreachable!("every key begins with its keyspace") };
        KeyspaceId(u32::from_be_bytes([a, b, c, d]))
    }

    /// Its position in the hash space.
    pub(crate) const fn position(&self) -> u128 {
        let [upper, lower] = self.position;
        (upper as u128) << 64 | lower as u128
    }

    /// The upper half of its position: the order in which keys are stored.
    pub(crate) const fn upper_position(&self) -> u64 {
        self.position[0]
    }

    /// Places a key that was decoded. False if it is too short to be one.
    pub(crate) fn place(&mut self, secret: &Secret) -> bool {
        self.position = position(secret, &self.bytes);
        self.bytes.len() >= 4
    }
}

fn position(secret: &Secret, full: &[u8]) -> [u64; 2] {
    let position = hash(secret, Purpose::Position, &[full]);
    [(position >> 64) as u64, position as u64]
}

/// The id of a keyspace: the same on every node that knows it by the same name.
pub(crate) fn keyspace_id(name: &str) -> KeyspaceId {
    KeyspaceId(keyless(Purpose::Keyspace, &[name.as_bytes()]) as u32)
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bytes.len() < 4 {
            return f.write_str("Key(unplaced)");
        }
        write!(f, "{}/{}", self.keyspace(), self.user().escape_ascii())
    }
}

// The position is not sent: who receives a key places it with the secret, so that a peer can't misplace it.
impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bytes.serialize(serializer)
    }
}
impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { bytes: Bytes::deserialize(deserializer)?, position: [0; 2] })
    }
}
