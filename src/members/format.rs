//! The bytes of a membership.
//!
//! ```text
//! 1                               format
//! 16 bytes                        cluster
//! id                              the decided layout
//! varint, then for each one:      id, id of its parent, ascending                          (proposed layouts)
//! varint, then for each record, by ascending node:
//!     varint                      node
//!     varint                      incarnation
//!     1 byte                      phase: 1 joining, 2 active, 3 leaving, 4 removed
//!     and unless it is removed:
//!     3 varints                   revision of the seat, zone, weight
//!     varint, 8 and 16 bytes      ordinal, start, store
//!     2 varints                   lowest and highest version of the protocol
//!     varint, bytes               address
//! 4 bytes                         CRC-32 of everything above
//! ```
//!
//! An id of a layout is its version (varint) and its hash (8 bytes). Numbers of fixed width are little-endian. A
//! membership has one spelling.

use super::layouts::Layouts;
use super::record::{MemberRecord, Phase, Presence, Protocols, Seat, Standing};
use super::{Held, Membership, digest};
use crate::bytes::Bytes;
use crate::ids::{ClusterId, LayoutId, NodeId, Start, StoreId, ZoneId};
use crate::wire::{FormatError, Reader, checked, put_bytes, put_checksum, put_varint};

const FORMAT: u8 = 1;
/// The least that an id of a layout takes.
const ID: usize = 9;
/// The least that a record takes.
const RECORD: usize = 3;

impl Membership {
    /// The membership as bytes, to be kept over a restart; equal ones have equal bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend_from_slice(&self.cluster.0.to_le_bytes());
        put_id(&mut out, self.layouts.decided);
        put_varint(&mut out, self.layouts.proposed.len() as u64);
        for (&id, &parent) in &self.layouts.proposed {
            put_id(&mut out, id);
            put_id(&mut out, parent);
        }
        put_varint(&mut out, self.records.len() as u64);
        self.records().for_each(|record| put_record(&mut out, record));
        put_checksum(&[], &mut out, 0);
        out
    }

    /// A membership from the bytes that [`encode`](Self::encode) gave. Whatever the bytes are, it neither panics nor
    /// takes memory out of proportion to them.
    ///
    /// # Errors
    /// [`FormatError`] if the bytes are damaged, of a version that isn't known, or don't describe a membership; nothing
    /// was made.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        match bytes.first() {
            None => return Err(FormatError::Truncated),
            Some(&FORMAT) => {}
            Some(&other) => return Err(FormatError::Version(other)),
        }
        let mut reader = Reader::new(checked(&[], bytes)?);
        reader.byte()?;
        let cluster = ClusterId(u128::from_le_bytes(reader.array()?));
        let layouts = layouts(&mut reader)?;
        let count = reader.count(RECORD)?;
        if count > Self::NODES_MAX {
            return Err(FormatError::Content("too many nodes"));
        }
        let mut records: Vec<Held> = Vec::new();
        for _ in 0..count {
            let record = record(&mut reader)?;
            if records.last().is_some_and(|last| last.record.node() >= record.node()) {
                return Err(FormatError::Content("nodes ascend"));
            }
            records.push(Held { hash: digest::of_record(&record), record });
        }
        reader.end()?;
        let digest = digest::of_range(&records);
        Ok(Self { cluster, records, layouts, digest })
    }
}

fn put_id(out: &mut Vec<u8>, id: LayoutId) {
    put_varint(out, id.version);
    out.extend_from_slice(&id.hash.to_le_bytes());
}

fn id(reader: &mut Reader<'_>) -> Result<LayoutId, FormatError> {
    Ok(LayoutId { version: reader.varint()?, hash: u64::from_le_bytes(reader.array()?) })
}

fn layouts(reader: &mut Reader<'_>) -> Result<Layouts, FormatError> {
    let mut layouts = Layouts::founded(id(reader)?);
    let mut last = layouts.decided;
    let count = reader.count(2 * ID)?;
    if count > Layouts::PROPOSED_MAX {
        return Err(FormatError::Content("too many layouts"));
    }
    for _ in 0..count {
        let (id, parent) = (id(reader)?, id(reader)?);
        if id <= last || parent.version >= id.version {
            return Err(FormatError::Content("layouts ascend and are younger than their parents"));
        }
        layouts.proposed.insert(id, parent);
        last = id;
    }
    Ok(layouts)
}

/// One record: what is stored of it, and what its hash is taken over.
pub(super) fn put_record(out: &mut Vec<u8>, record: &MemberRecord) {
    put_varint(out, record.node.0);
    put_varint(out, record.incarnation);
    out.push(match record.phase {
        Phase::Joining => 1,
        Phase::Active => 2,
        Phase::Leaving => 3,
        Phase::Removed => 4,
    });
    let Some(Standing { seat, presence }) = &record.standing else { return };
    put_varint(out, seat.revision);
    put_varint(out, u64::from(seat.zone.0));
    put_varint(out, u64::from(seat.weight));
    put_varint(out, presence.ordinal);
    out.extend_from_slice(&presence.start.0.to_le_bytes());
    out.extend_from_slice(&presence.store.0.to_le_bytes());
    put_varint(out, u64::from(presence.protocols.lowest));
    put_varint(out, u64::from(presence.protocols.highest));
    put_bytes(out, &presence.address);
}

fn record(reader: &mut Reader<'_>) -> Result<MemberRecord, FormatError> {
    let (node, incarnation) = (NodeId(reader.varint()?), reader.varint()?);
    let phase = match reader.byte()? {
        1 => Phase::Joining,
        2 => Phase::Active,
        3 => Phase::Leaving,
        4 => Phase::Removed,
        _ => return Err(FormatError::Content("a phase")),
    };
    let standing = if phase == Phase::Removed { None } else { Some(standing(reader)?) };
    let record = MemberRecord { node, incarnation, phase, standing };
    record.checked().map_err(|_| FormatError::Content("a record that can't be"))
}

fn standing(reader: &mut Reader<'_>) -> Result<Standing, FormatError> {
    let seat = Seat { revision: reader.varint()?, zone: ZoneId(small(reader)?), weight: small(reader)? };
    let presence = Presence {
        ordinal: reader.varint()?,
        start: Start(u64::from_le_bytes(reader.array()?)),
        store: StoreId(u128::from_le_bytes(reader.array()?)),
        protocols: Protocols { lowest: small(reader)?, highest: small(reader)? },
        address: {
            let length = reader.count(1)?;
            Bytes::from(reader.take(length)?)
        },
    };
    Ok(Standing { seat, presence })
}

fn small<T: TryFrom<u64>>(reader: &mut Reader<'_>) -> Result<T, FormatError> {
    T::try_from(reader.varint()?).map_err(|_| FormatError::Number)
}
