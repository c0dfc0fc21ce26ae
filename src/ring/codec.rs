//! The bytes of a layout.
//!
//! ```text
//! 2                              format
//! varint                         version of the layout
//! varint, 8 bytes                the parent's version and hash
//! 1 byte                         n
//! varint, then for each member:  node, zone, weight (varints), store; by ascending node
//! varint, then for each one:     node (varint), store; ascending           (owners that are gone for good)
//! varint, then for each one:     version (varint), 8 bytes of hash         (earlier layouts, ascending)
//! varint, then for each one:     ballot, n indices of members (varints)    (partitions)
//! 8 bytes                        the layout's own hash, of everything above
//! ```
//!
//! A store is 0 for the one that the node was founded with, or 1 and 16 bytes. A ballot is 0 for this layout, or one more
//! than where in the list of earlier layouts it stands; each of these is the ballot of a partition.
//!
//! Numbers of fixed width are little-endian. A layout has one spelling: its hash is taken over these bytes. Fallbacks
//! aren't written down, since they follow from the rest.

use crate::bytes::Bytes;
use crate::hash::{Purpose, keyless};
use crate::ids::{LayoutId, NodeId, StoreId, ZoneId};
use crate::wire::{FormatError, Reader, put_varint};

use super::content::{Content, NO_PARENT};
use super::layout::{Layout, Member, gone_member};

const FORMAT: u8 = 2;
/// How many bytes are reserved at once for members, and for owners that are gone. In memory they take many times what
/// they take here, and a few bytes can claim that there are many.
const RESERVED: usize = 2048;
/// The layout's hash at the end: also the checksum.
const HASH: usize = 8;

impl Layout {
    /// The layout as bytes, for a file or a message; equal layouts have equal bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = content(&self.to_content());
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
        let gone = gone(&mut reader)?;
        if gone_member(&members, &gone).is_some() {
            return Err(FormatError::Content("a member is gone"));
        }
        let earlier = earlier(&mut reader, parent)?;
        let partitions = reader.count(1 + usize::from(n))?;
        if n == 0 || partitions == 0 || partitions > Self::MAX_PARTITIONS as usize {
            return Err(FormatError::Content("number of copies or partitions"));
        }
        let mut ballots = Vec::with_capacity(partitions);
        let mut owners = Vec::with_capacity(partitions * usize::from(n));
        let mut is_used = vec![false; earlier.len()];
        for _ in 0..partitions {
            let ballot = below(&mut reader, earlier.len() + 1, "a ballot is a layout")?;
            if let Some(earlier) = (ballot as usize).checked_sub(1) {
                is_used[earlier] = true;
            }
            ballots.push(ballot);
            for _ in 0..n {
                owners.push(below(&mut reader, members.len(), "an owner is a member")?);
            }
        }
        reader.end()?;
        if !is_used.iter().all(|&is_used| is_used) {
            return Err(FormatError::Content("an earlier layout is a ballot"));
        }
        Self::from_content(Content { version, parent, n, members, gone, earlier, ballots, owners })
            .map_err(|_| FormatError::Content("the owners of a partition differ"))
    }
}

impl From<Layout> for Bytes {
    fn from(layout: Layout) -> Self {
        layout.encode().into()
    }
}

impl TryFrom<Bytes> for Layout {
    type Error = FormatError;
    fn try_from(bytes: Bytes) -> Result<Self, FormatError> {
        Self::decode(&bytes)
    }
}

fn members(reader: &mut Reader<'_>) -> Result<Vec<Member>, FormatError> {
    let count = reader.count(4)?;
    if count > Layout::MAX_MEMBERS {
        return Err(FormatError::Content("too many members"));
    }
    let mut members: Vec<Member> = Vec::with_capacity(count.min(RESERVED / size_of::<Member>()));
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
        let store = store(reader)?;
        members.push(Member { node, zone, weight, store });
    }
    Ok(members)
}

fn gone(reader: &mut Reader<'_>) -> Result<Vec<(NodeId, Option<StoreId>)>, FormatError> {
    let count = reader.count(2)?;
    let mut gone: Vec<(NodeId, Option<StoreId>)> = Vec::with_capacity(count.min(RESERVED / size_of::<Member>()));
    for _ in 0..count {
        let owner = (NodeId(reader.varint()?), store(reader)?);
        if gone.last().is_some_and(|last| *last >= owner) {
            return Err(FormatError::Content("gone owners ascend"));
        }
        gone.push(owner);
    }
    Ok(gone)
}

/// Layouts that come one from the other, the parent perhaps being the last. A first layout comes from none.
fn earlier(reader: &mut Reader<'_>, parent: LayoutId) -> Result<Vec<LayoutId>, FormatError> {
    let count = reader.count(9)?;
    let mut earlier: Vec<LayoutId> = Vec::with_capacity(count);
    for _ in 0..count {
        let id = LayoutId { version: reader.varint()?, hash: u64::from_le_bytes(reader.array()?) };
        if id.version <= earlier.last().map_or(NO_PARENT.version, |last| last.version) {
            return Err(FormatError::Content("earlier layouts ascend"));
        }
        if id.version >= parent.version && id != parent {
            return Err(FormatError::Content("an earlier layout is the parent or older"));
        }
        earlier.push(id);
    }
    Ok(earlier)
}

fn store(reader: &mut Reader<'_>) -> Result<Option<StoreId>, FormatError> {
    match reader.byte()? {
        0 => Ok(None),
        1 => Ok(Some(StoreId(u128::from_le_bytes(reader.array()?)))),
        _ => Err(FormatError::Content("a store is named or isn't")),
    }
}

fn below(reader: &mut Reader<'_>, bound: usize, rule: &'static str) -> Result<u32, FormatError> {
    let index = reader.varint()?;
    if index < bound as u64 { Ok(index as u32) } else { Err(FormatError::Content(rule)) }
}

fn small(reader: &mut Reader<'_>) -> Result<u32, FormatError> {
    u32::try_from(reader.varint()?).map_err(|_| FormatError::Number)
}

/// Everything but the hash at the end: what is hashed.
pub(super) fn content(content: &Content) -> Vec<u8> {
    let mut out = vec![FORMAT];
    put_varint(&mut out, content.version);
    put_id(&mut out, content.parent);
    out.push(content.n);
    put_varint(&mut out, content.members.len() as u64);
    for member in &content.members {
        put_varint(&mut out, member.node.0);
        put_varint(&mut out, u64::from(member.zone.0));
        put_varint(&mut out, u64::from(member.weight));
        put_store(&mut out, member.store);
    }
    put_varint(&mut out, content.gone.len() as u64);
    for &(node, store) in &content.gone {
        put_varint(&mut out, node.0);
        put_store(&mut out, store);
    }
    put_varint(&mut out, content.earlier.len() as u64);
    content.earlier.iter().for_each(|&id| put_id(&mut out, id));
    put_varint(&mut out, content.ballots.len() as u64);
    let rows = content.owners.chunks(usize::from(content.n));
    for (&ballot, owners) in content.ballots.iter().zip(rows) {
        put_varint(&mut out, u64::from(ballot));
        owners.iter().for_each(|&owner| put_varint(&mut out, u64::from(owner)));
    }
    out
}

fn put_id(out: &mut Vec<u8>, id: LayoutId) {
    put_varint(out, id.version);
    out.extend_from_slice(&id.hash.to_le_bytes());
}

fn put_store(out: &mut Vec<u8>, store: Option<StoreId>) {
    out.push(u8::from(store.is_some()));
    if let Some(StoreId(store)) = store {
        out.extend_from_slice(&store.to_le_bytes());
    }
}
