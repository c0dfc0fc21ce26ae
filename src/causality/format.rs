//! How records and hints are stored: hand-made, versioned bytes with a checksum at the end.
//!
//! ```text
//! record   version 1 · entries · residual · crc32 (4, little-endian, over all before it)
//! update   version 2 · entries · covered · events · crc32
//! entries  count, then each: flags · node · start (8) · counter · [write id (16)] · [expiry (8)] · stamp (8) · length ·
//!          value
//! ```
//! Numbers are canonical varints unless a width is given. Flag 1: there is a write id. Flag 2: an expiry.
//! A program that knows no expiry refuses flag 2: it would keep for ever what others remove.

use super::join::{Cover, survives};
use super::record::{Entry, Record, Update};
use super::stamp::Stamp;
use crate::bytes::Bytes;
use crate::dots::DotSet;
use crate::ids::{Actor, Dot, NodeId, Start, WriteId};
use crate::time::WallTime;
use crate::wire::{FormatError, Reader, checked, put_bytes, put_checksum, put_varint};

const RECORD: u8 = 1;
const UPDATE: u8 = 2;
const FLAG_WRITE_ID: u8 = 1;
const FLAG_EXPIRY: u8 = 2;
/// The least bytes of an entry: flags, node, start, counter, stamp, length.
const ENTRY_LEAST: usize = 1 + 1 + 8 + 1 + 8 + 1;

impl Record {
    /// The bytes that are stored under the key `place`.
    #[must_use]
    pub fn encode(&self, place: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(place, &mut out);
        out
    }

    pub(crate) fn encode_into(&self, place: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.push(RECORD);
        put_entries(out, &self.live);
        self.residual.encode(out);
        put_checksum(place, out, start);
    }

    /// Reads the bytes that are stored under the key `place`; values are views into them.
    ///
    /// # Errors
    /// [`FormatError`] if they are damaged, belong to another place, or are of a version that is not known. Nothing is
    /// changed.
    pub fn decode(place: &[u8], bytes: &Bytes) -> Result<Self, FormatError> {
        let mut record = Self::default();
        record.decode_from(place, bytes)?;
        Ok(record)
    }

    /// Becomes what the stored bytes say, in the memory that it has.
    pub(crate) fn decode_from(&mut self, place: &[u8], bytes: &Bytes) -> Result<(), FormatError> {
        self.decode_some(place, bytes, |_, _| true)
    }

    /// Becomes what is left of the stored bytes beside a message with these entries and this cover. Returns how many
    /// entries the message supersedes, and adds the dots and expiries of all to `all`.
    ///
    /// Nearly every write supersedes all that is stored: its owner checks the bytes, and builds nothing from them.
    pub(crate) fn decode_survivors(
        &mut self,
        place: &[u8],
        bytes: &Bytes,
        live: &[Entry],
        cover: Cover<'_>,
        all: &mut Vec<(Dot, Option<WallTime>)>,
    ) -> Result<usize, FormatError> {
        self.decode_some(place, bytes, |dot, expires| {
            all.push((dot, expires));
            survives(dot, live, cover)
        })?;
        Ok(all.len() - self.live.len())
    }

    fn decode_some(
        &mut self,
        place: &[u8],
        bytes: &Bytes,
        keep: impl FnMut(Dot, Option<WallTime>) -> bool,
    ) -> Result<(), FormatError> {
        self.clear();
        let mut reader = open(place, bytes, RECORD)?;
        entries(&mut reader, bytes, &mut self.live, keep)?;
        self.residual = DotSet::decode(&mut reader)?;
        reader.end()
    }
}

impl Update {
    pub(crate) fn encode_into(&self, place: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.push(UPDATE);
        put_entries(out, &self.live);
        self.covered.encode(out);
        self.events.encode(out);
        put_checksum(place, out, start);
    }

    pub(crate) fn decode(place: &[u8], bytes: &Bytes) -> Result<Self, FormatError> {
        let mut reader = open(place, bytes, UPDATE)?;
        let mut live = Vec::new();
        entries(&mut reader, bytes, &mut live, |_, _| true)?;
        let update = Self { live, covered: DotSet::decode(&mut reader)?, events: DotSet::decode(&mut reader)? };
        reader.end()?;
        Ok(update)
    }
}

fn open<'a>(place: &[u8], bytes: &'a [u8], kind: u8) -> Result<Reader<'a>, FormatError> {
    let mut reader = Reader::new(checked(place, bytes)?);
    match reader.byte()? {
        version if version == kind => Ok(reader),
        version => Err(FormatError::Version(version)),
    }
}

fn put_entries(out: &mut Vec<u8>, entries: &[Entry]) {
    put_varint(out, entries.len() as u64);
    for entry in entries {
        let flag = |there: bool, flag: u8| if there { flag } else { 0 };
        out.push(flag(entry.write_id.is_some(), FLAG_WRITE_ID) | flag(entry.expires.is_some(), FLAG_EXPIRY));
        put_varint(out, entry.dot.actor.node.0);
        out.extend_from_slice(&entry.dot.actor.start.0.to_le_bytes());
        put_varint(out, entry.dot.counter);
        if let Some(WriteId(id)) = entry.write_id {
            out.extend_from_slice(&id.to_le_bytes());
        }
        if let Some(WallTime(expires)) = entry.expires {
            out.extend_from_slice(&expires.to_le_bytes());
        }
        out.extend_from_slice(&entry.stamp.0.to_le_bytes());
        put_bytes(out, &entry.value);
    }
}

/// Reads the entries to `keep` into an empty list; their values are views into `whole`, which `reader` reads from its
/// beginning.
fn entries(
    reader: &mut Reader<'_>,
    whole: &Bytes,
    list: &mut Vec<Entry>,
    mut keep: impl FnMut(Dot, Option<WallTime>) -> bool,
) -> Result<(), FormatError> {
    let count = reader.count(ENTRY_LEAST)?;
    let mut last = None;
    for _ in 0..count {
        let flags = reader.byte()?;
        if flags & !(FLAG_WRITE_ID | FLAG_EXPIRY) != 0 {
            return Err(FormatError::Content("an entry with unknown flags"));
        }
        let node = NodeId(reader.varint()?);
        let start = Start(u64::from_le_bytes(reader.array()?));
        let counter = reader.varint()?;
        if !(1..=Dot::COUNTER_MAX).contains(&counter) {
            return Err(FormatError::Content("a counter out of range"));
        }
        let dot = Dot { actor: Actor { node, start }, counter };
        if last.replace(dot).is_some_and(|last| last >= dot) {
            return Err(FormatError::Content("entries out of order"));
        }
        let write_id = match flags & FLAG_WRITE_ID {
            0 => None,
            _ => Some(WriteId(u128::from_le_bytes(reader.array()?))),
        };
        let expires = match flags & FLAG_EXPIRY {
            0 => None,
            _ => Some(WallTime(u64::from_le_bytes(reader.array()?))),
        };
        let stamp = Stamp(u64::from_le_bytes(reader.array()?));
        let value = reader.range()?;
        if keep(dot, expires) {
            if list.is_empty() {
                list.reserve_exact(count);
            }
            list.push(Entry { dot, write_id, expires, stamp, value: whole.slice(value) });
        }
    }
    Ok(())
}
