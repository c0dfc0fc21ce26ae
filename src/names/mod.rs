//! Names for old starts: how clocks and contexts stay small though every start of a node is an actor of its own.
//!
//! A name stands for an immutable set of dots, by a hash of what that set is. It is a definition and never a claim: who
//! knows a name has not thereby seen a dot of it. Any owner may make one, alone; no two owners can mean different sets
//! by one name, as they could by counting. A set that contains a named one is sent as the name and the rest.
//!
//! To fold dead actors away instead ("all of their dots are seen") loses acknowledged writes: a late message, a late
//! hint or a restored backup brings a dot that is then taken for one that was seen.

mod dictionary;
mod line;

#[cfg(test)]
mod tests;

pub(crate) use dictionary::{Names, Refused};
pub(crate) use line::{decode_line, encode_line, line_key, line_prefix};

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bytes::Bytes;
use crate::dots::DotSet;
use crate::hash::{Purpose, Secret, hash};
use crate::wire::{FormatError, Reader};

/// What names an immutable set of dots: a hash of its [`Definition`].
///
/// Keyed with the cluster's secret, which never changes for positions: who doesn't know it can't look for two sets with
/// one name, and the names of another cluster fit nothing here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(pub(crate) u128);

/// What a name stands for: the dots of `parent`, and new ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Definition {
    parent: Option<Name>,
    /// Never empty, and nothing of it is in the parent: one set has one definition on top of one parent.
    rows: DotSet,
}

/// A set of dots that may say a part of itself by name: how clocks, covered sets and contexts are sent and kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Named {
    /// All of its dots are in the set (N2).
    pub(crate) head: Option<Name>,
    pub(crate) rest: DotSet,
}

/// A name that this node can't expand.
///
/// What carries it is as good as lost: it is not joined, not acknowledged and counted nowhere. To take the unknown part
/// for empty brings back what it supersedes; to take it for everything deletes what nobody has read (N3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the set of dots {0:?} is not known here")]
pub(crate) struct Unknown(pub(crate) Name);

/// The first byte of a set of dots without and with a name.
const PLAIN: u8 = 0;
const HEADED: u8 = 1;

impl Definition {
    /// The set of `parent` and of `rows`, of which none is in the parent's; nothing if there are no rows.
    pub(crate) fn new(parent: Option<Name>, rows: DotSet) -> Option<Self> {
        (!rows.is_empty()).then_some(Self { parent, rows })
    }

    pub(crate) const fn parent(&self) -> Option<Name> {
        self.parent
    }

    pub(crate) const fn rows(&self) -> &DotSet {
        &self.rows
    }

    pub(crate) fn name(&self, secret: &Secret) -> Name {
        name_of(secret, &self.bytes())
    }

    /// The canonical bytes: those of a set whose head is the parent.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_set(self.parent, &self.rows, out);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let Named { head, rest } = Named::decode(reader)?;
        Self::new(head, rest).ok_or(FormatError::Content("a name for nothing"))
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let definition = Self::decode(&mut reader)?;
        reader.end()?;
        Ok(definition)
    }
}

impl Named {
    /// ```text
    /// 0 · rows                 without a name
    /// 1 · name (16) · rows     the dots of the name, and these
    /// ```
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_set(self.head, &self.rest, out);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let head = match reader.byte()? {
            PLAIN => None,
            HEADED => Some(Name(u128::from_le_bytes(reader.array()?))),
            _ => return Err(FormatError::Content("an unknown kind of set of dots")),
        };
        Ok(Self { head, rest: DotSet::decode_rows(reader)? })
    }
}

impl From<DotSet> for Named {
    fn from(rest: DotSet) -> Self {
        Self { head: None, rest }
    }
}

fn put_set(head: Option<Name>, rest: &DotSet, out: &mut Vec<u8>) {
    match head {
        None => out.push(PLAIN),
        Some(name) => {
            out.push(HEADED);
            out.extend_from_slice(&name.0.to_le_bytes());
        }
    }
    rest.encode_rows(out);
}

fn name_of(secret: &Secret, definition: &[u8]) -> Name {
    Name(hash(secret, Purpose::Name, &[definition]))
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dots-{:032x}", self.0)
    }
}

// In messages: its sixteen bytes. As a number a made-up name would be a byte, and a list of them sixteen times itself.
impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.to_le_bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <[u8; 16]>::deserialize(deserializer).map(|bytes| Self(u128::from_le_bytes(bytes)))
    }
}

// In messages: the bytes that the name is the hash of. The name itself is not sent, so that no peer can misname a set.
impl Serialize for Definition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Bytes::from(self.bytes()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Definition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_bytes(&Bytes::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
