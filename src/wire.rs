//! Reading and writing the hand-made byte formats: what is stored, sealed or hashed.
//!
//! Varints are little-endian base 128 and canonical: a longer spelling of a number is refused, so that equal values
//! have equal bytes and may be hashed.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::mutant::{self, Mutant};

/// Why bytes could not be read. Nothing was changed by reading them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes end in the middle of something.
    #[error("the bytes end too early")]
    Truncated,
    /// Bytes are left over.
    #[error("there are bytes left over")]
    Trailing,
    /// A number is not written in its shortest form, or doesn't fit.
    #[error("a number is not in canonical form")]
    Number,
    /// A version of the format that this program doesn't know.
    #[error("format version {0} is not known")]
    Version(u8),
    /// The checksum doesn't match: the bytes are damaged.
    #[error("the checksum doesn't match")]
    Checksum,
    /// A rule of the format is broken (order, an empty range, an unknown tag).
    #[error("the content breaks a rule of the format: {0}")]
    Content(&'static str),
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends the CRC-32 of `place` and of what stands from `start`.
///
/// The place is the key under which the bytes are stored, or nothing for bytes that have none. A disk may write what
/// is whole to where it does not belong: without the place one key's value would be shown as another's.
pub(crate) fn put_checksum(place: &[u8], out: &mut Vec<u8>, start: usize) {
    let sum = checksum(place, &out[start..]);
    out.extend_from_slice(&sum);
}

/// The bytes before a checksum that fits them and their place.
pub(crate) fn checked<'a>(place: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], FormatError> {
    let (content, sum) = bytes.split_last_chunk::<4>().ok_or(FormatError::Truncated)?;
    if checksum(place, content) == *sum || mutant::is(Mutant::IgnoreChecksum) {
        Ok(content)
    } else {
        Err(FormatError::Checksum)
    }
}

fn checksum(place: &[u8], content: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(place);
    hasher.update(content);
    hasher.finalize().to_le_bytes()
}

/// Reads from the front of a slice; keeps the position, so that a view into shared bytes can be cut out.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) const fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// What is still to be read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        if count > self.left() {
            return Err(FormatError::Truncated);
        }
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("take returns as many bytes as it was asked for"))
    }

    pub(crate) fn byte(&mut self) -> Result<u8, FormatError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, FormatError> {
        let first = self.byte()?;
        // Nearly all numbers are small.
        if first < 0x80 { Ok(u64::from(first)) } else { self.long_varint(first) }
    }

    fn long_varint(&mut self, first: u8) -> Result<u64, FormatError> {
        let mut value = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(FormatError::Number);
            }
            value |= part << shift;
            if byte < 0x80 {
                return if byte == 0 { Err(FormatError::Number) } else { Ok(value) };
            }
        }
        Err(FormatError::Number)
    }

    /// A count of things that take at least `least` bytes each: one that can't be true is refused before anything is
    /// allocated for it.
    pub(crate) fn count(&mut self, least: usize) -> Result<usize, FormatError> {
        let count = usize::try_from(self.varint()?).map_err(|_| FormatError::Number)?;
        if count > self.left() / least.max(1) {
            return Err(FormatError::Truncated);
        }
        Ok(count)
    }

    /// Where bytes with their length in front stand in what this reader reads.
    pub(crate) fn range(&mut self) -> Result<Range<usize>, FormatError> {
        let length = self.count(1)?;
        let start = self.at;
        self.at += length;
        Ok(start..self.at)
    }

    pub(crate) const fn end(&self) -> Result<(), FormatError> {
        if self.left() == 0 { Ok(()) } else { Err(FormatError::Trailing) }
    }
}

/// A list in a message (`deserialize_with`), of whose claimed length only what has come is believed.
///
/// Serde's own reading reserves up to a megabyte for a list that claims to be long: sixteen bytes could make it do so.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    /// What is reserved at once, in bytes.
    const FIRST: usize = 1024;
    struct List<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                if list.len() == list.capacity() {
                    // As many again as have come, and not more than are still to come.
                    let more = list.len().max(FIRST / size_of::<T>().max(1)).max(1);
                    list.reserve_exact(items.size_hint().map_or(more, |rest| more.min(rest + 1)));
                }
                list.push(item);
            }
            Ok(list)
        }
    }
    deserializer.deserialize_seq(List(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_canonical() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.varint(), Ok(value));
            assert_eq!(reader.end(), Ok(()));
            for cut in 0..out.len() {
                assert_eq!(Reader::new(&out[..cut]).varint(), Err(FormatError::Truncated));
            }
        }
        assert_eq!(Reader::new(&[0x85, 0x00]).varint(), Err(FormatError::Number), "5, the long way");
        assert_eq!(Reader::new(&[0xff; 10]).varint(), Err(FormatError::Number), "more than 64 bits");
        let mut too_big = [0x80_u8; 10];
        too_big[9] = 2;
        assert_eq!(Reader::new(&too_big).varint(), Err(FormatError::Number), "2^64");
    }

    #[test]
    fn a_count_that_cannot_be_true_is_refused_before_allocating() {
        let mut out = Vec::new();
        put_varint(&mut out, 1 << 40);
        assert_eq!(Reader::new(&out).count(1), Err(FormatError::Truncated));
        // Two things of four bytes, in seven bytes and in eight.
        let bytes = [2, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Reader::new(&bytes[..8]).count(4), Err(FormatError::Truncated));
        assert_eq!(Reader::new(&bytes).count(4), Ok(2));
        assert_eq!(Reader::new(&bytes[..3]).count(0), Ok(2), "things of no bytes are taken to have one");
    }

    #[test]
    fn what_was_written_is_read_in_order_and_no_further() {
        let mut out = Vec::new();
        put_bytes(&mut out, b"abc");
        put_bytes(&mut out, b"");
        out.push(7);
        let mut reader = Reader::new(&out);
        assert_eq!(reader.range(), Ok(1..4));
        assert_eq!((reader.rest(), reader.left()), (&[0, 7][..], 2));
        assert_eq!(reader.range(), Ok(5..5));
        assert_eq!(reader.end(), Err(FormatError::Trailing));
        assert_eq!((reader.take(1), reader.end()), (Ok(&[7][..]), Ok(())));
        assert_eq!((reader.take(1), reader.byte()), (Err(FormatError::Truncated), Err(FormatError::Truncated)));
        assert_eq!(Reader::new(&out[..3]).range(), Err(FormatError::Truncated));
    }

    #[test]
    fn a_checksum_is_that_of_the_place_and_the_bytes() {
        let mut out = b"before 456789".to_vec();
        put_checksum(b"123", &mut out, 7);
        assert_eq!(out[13..], 0xcbf4_3926_u32.to_le_bytes(), "CRC-32 of 123456789");
        let bytes = &out[7..];
        assert_eq!(checked(b"123", bytes), Ok(&b"456789"[..]));
        assert_eq!(checked(b"124", bytes), Err(FormatError::Checksum));
        assert_eq!(checked(b"", bytes), Err(FormatError::Checksum));
        for at in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1;
            assert_eq!(checked(b"123", &damaged), Err(FormatError::Checksum), "byte {at}");
        }
        assert_eq!(checked(b"", &[0; 3]), Err(FormatError::Truncated));
        assert_eq!(checked(b"", &[0; 4]), Ok(&[][..]), "of nothing");
    }

    /// Items of which there are fewer than are claimed.
    struct Claiming {
        claimed: usize,
        items: u64,
    }

    impl<'de> SeqAccess<'de> for Claiming {
        type Error = serde::de::value::Error;
        fn next_element_seed<T: serde::de::DeserializeSeed<'de>>(
            &mut self,
            seed: T,
        ) -> Result<Option<T::Value>, Self::Error> {
            use serde::de::IntoDeserializer;
            let Some(left) = self.items.checked_sub(1) else { return Ok(None) };
            (self.items, self.claimed) = (left, self.claimed.saturating_sub(1));
            seed.deserialize(left.into_deserializer()).map(Some)
        }
        fn size_hint(&self) -> Option<usize> {
            Some(self.claimed)
        }
    }

    #[test]
    fn a_list_reserves_what_has_come_and_not_what_is_claimed() {
        use serde::de::value::SeqAccessDeserializer;
        let read = |claimed, items| list::<_, u64>(SeqAccessDeserializer::new(Claiming { claimed, items })).unwrap();
        assert!(read(5, 5).into_iter().eq((0..5).rev()));
        // Honest lists take what they need, up to the first kilobyte in one piece; then twice what has come.
        for length in [0, 1, 127, 128, 129, 200, 256, 257, 1000] {
            let list = read(length, length as u64);
            assert_eq!((list.len(), list.capacity()), (length, length));
        }
        for (items, most) in [(1, 128), (128, 128), (129, 256), (256, 256), (1000, 1024)] {
            let list = read(usize::MAX - 1, items);
            assert_eq!((list.len() as u64, list.capacity()), (items, most));
        }
        // What is claimed to be short and is not comes in whole.
        assert_eq!(read(0, 300).len(), 300);
    }

    #[test]
    fn what_is_no_list_is_refused_by_its_name() {
        use serde::de::value::{Error, U8Deserializer};
        let error = list::<_, u64>(U8Deserializer::<Error>::new(5)).unwrap_err().to_string();
        assert!(error.ends_with("expected a list"), "{error}");
    }
}
