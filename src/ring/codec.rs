//! The bytes of a layout.
//!
//! ```text
//! 1                              format
//! varint                         version of the layout
//! varint, 8 bytes                the parent's version and hash
//! 1 byte                         n
//! varint, then for each member:  node, zone, weight (varints), by ascending node
//! varint, then for each one:     n indices of members (varints)            (partitions)
//! 8 bytes                        the layout's own hash, of everything above
//! ```
//!
//! Numbers of fixed width are little-endian. A layout has one spelling: its hash is taken over these bytes. Fallbacks
//! aren't written down, since they follow from the rest.

use crate::hash::{Purpose, keyless};
use crate::ids::{LayoutId, NodeId, ZoneId};
use crate::wire::{FormatError, Reader, put_varint};

use super::layout::{Layout, Member, NO_PARENT};

const FORMAT: u8 = 1;
/// The layout's hash at the end: also the checksum.
const HASH: usize = 8;

impl Layout {
    /// The layout as bytes, for a file or a message; equal layouts have equal bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let index = |node| self.index_of(node).expect("owners were checked to be members") as u32;
        let owners: Vec<u32> = (0..self.partitions())
            .flat_map(|p| self.owners(crate::ids::PartitionId(p)))
            .map(|&node| index(node))
            .collect();
        let mut out = content(self.id().version, self.parent(), self.n(), self.members(), &owners);
        out.extend_from_slice(&self.id().hash.to_le_bytes());
        out
    }

    /// A layout from the bytes that [`encode`](Self::encode) gave. Whatever the bytes are, it neither panics nor
    /// takes memory out of proportion to them.
    ///
    /// # Errors
    ///
    /// [`FormatError`] if the bytes are damaged, of a version that isn't known, or don't describe a layout; nothing
    /// was made.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        match bytes.first() {
            None => return Err(FormatError::Truncated),
            Some(&FORMAT) => {}
            Some(&other) => return Err(FormatError::Version(other)),
        }
        let (body, hash) = bytes.split_last_chunk::<HASH>().ok_or(FormatError::Truncated)?;
        if keyless(Purpose::Layout, &[body]) as u64 != u64::from_le_bytes(*hash) {
            return Err(FormatError::Checksum);
        }
        let mut reader = Reader::new(body);
        reader.byte()?;
        let version = reader.varint()?;
        let parent = LayoutId { version: reader.varint()?, hash: u64::from_le_bytes(reader.array()?) };
        if parent.version >= version || (parent.version == 0 && parent != NO_PARENT) {
            return Err(FormatError::Content("a layout is younger than its parent"));
        }
        let n = reader.byte()?;
        let members = members(&mut reader)?;
        let partitions = reader.count(usize::from(n))?;
        if n == 0 || partitions == 0 || partitions > Self::MAX_PARTITIONS as usize {
            return Err(FormatError::Content("number of copies or partitions"));
        }
        let mut owners = Vec::with_capacity(partitions * usize::from(n));
        for _ in 0..partitions * usize::from(n) {
            let owner = reader.varint()?;
            if owner >= members.len() as u64 {
                return Err(FormatError::Content("an owner is a member"));
            }
            owners.push(owner as u32);
        }
        reader.end()?;
        Self::from_parts(parent, version, n, members, &owners)
            .map_err(|_| FormatError::Content("the owners of a partition differ"))
    }
}

fn members(reader: &mut Reader<'_>) -> Result<Vec<Member>, FormatError> {
    let count = reader.count(3)?;
    if count > Layout::MAX_MEMBERS {
        return Err(FormatError::Content("too many members"));
    }
    let mut members: Vec<Member> = Vec::with_capacity(count);
    for _ in 0..count {
        let node = NodeId(reader.varint()?);
        if members.last().is_some_and(|last| last.node >= node) {
            return Err(FormatError::Content("members ascend"));
        }
        let zone = ZoneId(small(reader)?);
        let weight = small(reader)?;
        if weight == 0 {
            return Err(FormatError::Content("a member has a weight"));
        }
        members.push(Member { node, zone, weight });
    }
    Ok(members)
}

fn small(reader: &mut Reader<'_>) -> Result<u32, FormatError> {
    u32::try_from(reader.varint()?).map_err(|_| FormatError::Number)
}

/// Everything but the hash at the end: what is hashed.
pub(super) fn content(version: u64, parent: LayoutId, n: u8, members: &[Member], owners: &[u32]) -> Vec<u8> {
    let mut out = vec![FORMAT];
    put_varint(&mut out, version);
    put_varint(&mut out, parent.version);
    out.extend_from_slice(&parent.hash.to_le_bytes());
    out.push(n);
    put_varint(&mut out, members.len() as u64);
    for member in members {
        put_varint(&mut out, member.node.0);
        put_varint(&mut out, u64::from(member.zone.0));
        put_varint(&mut out, u64::from(member.weight));
    }
    put_varint(&mut out, (owners.len() / usize::from(n)) as u64);
    for &owner in owners {
        put_varint(&mut out, u64::from(owner));
    }
    out
}
