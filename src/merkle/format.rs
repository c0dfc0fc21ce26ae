//! How levels go over the wire: hand-made and canonical.
//!
//! ```text
//! nodes   depth (1) · count · first index · then for each: its distance to the one before, less one
//! level   step (1) · nodes · a digest (8, little-endian) for each child
//! key     position (8) · digest (8)
//! ```
//! Numbers are canonical varints unless a width is given. A digest looks random: as a varint it would take nine bytes.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::compare::{KeyDigest, Level, Nodes};
use super::digest::Short;
use crate::bytes::Bytes;
use crate::wire::{FormatError, Reader, put_varint};

/// What is sent as bytes of its own making.
trait Format: Sized {
    fn encode(&self, out: &mut Vec<u8>);
    fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError>;
}

impl Format for Nodes {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.depth());
        put_varint(out, self.len() as u64);
        let mut least = 0;
        for &index in self.indices() {
            put_varint(out, u64::from(index - least));
            least = index + 1;
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let depth = reader.byte()?;
        let count = reader.count(1)?;
        if count > Self::LIMIT {
            return Err(FormatError::Content("more nodes than in a message"));
        }
        let mut indices = Vec::with_capacity(count);
        let mut least = 0_u64;
        for _ in 0..count {
            let index = least.checked_add(reader.varint()?).and_then(|index| u32::try_from(index).ok());
            let index = index.ok_or(FormatError::Content("a node that there is not"))?;
            indices.push(index);
            least = u64::from(index) + 1;
        }
        Self::new(depth, indices).map_err(|_| FormatError::Content("a node that there is not"))
    }
}

impl Format for Level {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.step());
        self.parents().encode(out);
        self.children().iter().for_each(|child| out.extend_from_slice(&child.0.to_le_bytes()));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let step = reader.byte()?;
        let parents = Nodes::decode(reader)?;
        let mut children = Vec::with_capacity(reader.left() / 8);
        while reader.left() > 0 {
            children.push(Short(u64::from_le_bytes(reader.array()?)));
        }
        Self::new(parents, step, children).ok_or(FormatError::Content("digests that are not those of its nodes"))
    }
}

macro_rules! as_bytes {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut out = Vec::new();
                self.encode(&mut out);
                serializer.serialize_bytes(&out)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_bytes(Whole(PhantomData))
            }
        }
    )*};
}
as_bytes!(Nodes, Level);

struct Whole<T>(PhantomData<T>);
impl<'de, T: Format> Visitor<'de> for Whole<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a part of a digest tree")
    }
    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<T, E> {
        let mut reader = Reader::new(bytes);
        let read = T::decode(&mut reader).map_err(E::custom)?;
        reader.end().map_err(E::custom)?;
        Ok(read)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        let bytes = Bytes::deserialize(SeqAccessDeserializer::new(list))?;
        self.visit_bytes(&bytes)
    }
}

impl Serialize for Short {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.to_le_bytes().serialize(serializer)
    }
}
impl<'de> Deserialize<'de> for Short {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(u64::from_le_bytes(Deserialize::deserialize(deserializer)?)))
    }
}
impl fmt::Debug for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for KeyDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.position.to_le_bytes(), self.digest).serialize(serializer)
    }
}
impl<'de> Deserialize<'de> for KeyDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (position, digest) = Deserialize::deserialize(deserializer)?;
        Ok(Self { position: u64::from_le_bytes(position), digest })
    }
}
