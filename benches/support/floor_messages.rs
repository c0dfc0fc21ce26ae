//! The floor by encoded messages: the same work, but two of the replicas are reached by bytes.
//!
//! A put is encoded once, by hand, into a buffer that is kept; both peers decode it, allocate the value, store it, and
//! answer with an acknowledgement that is encoded and decoded. A get reads its own replica and asks one peer, whose
//! answer brings version and value.
//!
//! ```text
//! request (8) · key (16) · count · { node (8) · counter (8) } · length (4) · value
//! ```
//! A peer hashes the key again: nobody trusts a position that came over a wire.

use std::sync::Arc;

use super::floor::{Floor, Placed, Version};
use super::keys::{Bytes16, LENGTH};

/// Three replicas in one thread, which speak in bytes.
pub(crate) struct Messages {
    floor: Floor,
    asked: u64,
    out: Vec<u8>,
    back: Vec<u8>,
}

impl Messages {
    pub(crate) fn new() -> Self {
        Self { floor: Floor::new(), asked: 0, out: Vec::new(), back: Vec::new() }
    }

    /// Writes; the version comes back if two replicas have it.
    pub(crate) fn put(&mut self, key: &Bytes16, value: &[u8], context: &Version) -> Option<Version> {
        let placed = Placed::new(key);
        let [first, peers @ ..] = self.floor.owners[placed.partition()];
        let value: Arc<[u8]> = Arc::from(value);
        let version = self.floor.replicas[usize::from(first)].coordinate(&placed, &value, context, u64::from(first));
        self.asked += 1;
        encode_write(&mut self.out, self.asked, key, &version, &value);
        let mut stored = 1;
        for peer in peers {
            let (request, key, version, value) = decode_write(&self.out)?;
            let good = self.floor.replicas[usize::from(peer)].apply(&Placed::new(&key), &value, &version);
            self.back.clear();
            self.back.extend_from_slice(&request.to_le_bytes());
            self.back.push(u8::from(good));
            let (request, good) = self.back.split_first_chunk()?;
            stored += usize::from(u64::from_le_bytes(*request) == self.asked && good == [1]);
        }
        (stored >= 2).then_some(version)
    }

    /// Reads its own replica and one peer's.
    pub(crate) fn get(&mut self, key: &Bytes16) -> Option<(Version, Arc<[u8]>)> {
        let placed = Placed::new(key);
        let [first, second, _] = self.floor.owners[placed.partition()];
        self.asked += 1;
        self.out.clear();
        self.out.extend_from_slice(&self.asked.to_le_bytes());
        self.out.extend_from_slice(key);

        let (request, rest) = self.out.split_first_chunk()?;
        let asked: &Bytes16 = rest.first_chunk()?;
        let (version, value) = self.floor.replicas[usize::from(second)].read(&Placed::new(asked))?;
        encode_write(&mut self.back, u64::from_le_bytes(*request), asked, version, value);

        let (request, _, other_version, other) = decode_write(&self.back)?;
        let (version, value) = self.floor.replicas[usize::from(first)].read(&placed)?;
        if request != self.asked || version.covers(&other_version) {
            Some((*version, Arc::clone(value)))
        } else {
            Some((other_version, other))
        }
    }
}

/// Key, version and value, as bytes.
pub(crate) fn encode_write(out: &mut Vec<u8>, request: u64, key: &Bytes16, version: &Version, value: &[u8]) {
    out.clear();
    out.reserve(8 + LENGTH + 1 + 48 + 4 + value.len());
    out.extend_from_slice(&request.to_le_bytes());
    out.extend_from_slice(key);
    out.push(version.length as u8);
    for (node, counter) in version.used() {
        out.extend_from_slice(&node.to_le_bytes());
        out.extend_from_slice(&counter.to_le_bytes());
    }
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(value);
}

/// Request, key, version and value; nothing if the bytes don't hold together.
pub(crate) fn decode_write(bytes: &[u8]) -> Option<(u64, Bytes16, Version, Arc<[u8]>)> {
    let (request, rest) = bytes.split_first_chunk()?;
    let (key, rest) = rest.split_first_chunk()?;
    let (&length, mut rest) = rest.split_first()?;
    let mut version = Version { length: usize::from(length), ..Version::default() };
    for dot in version.dots.get_mut(..version.length)? {
        let (node, after) = rest.split_first_chunk()?;
        let (counter, after) = after.split_first_chunk()?;
        *dot = (u64::from_le_bytes(*node), u64::from_le_bytes(*counter));
        rest = after;
    }
    let (length, value) = rest.split_first_chunk()?;
    (value.len() == u32::from_le_bytes(*length) as usize)
        .then(|| (u64::from_le_bytes(*request), *key, version, Arc::from(value)))
}
