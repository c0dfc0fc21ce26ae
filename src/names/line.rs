//! Names as they are stored: one line each, among the lines of the partition's clock.
//!
//! ```text
//! partition (4) · 0 (4) · kind 3 · name (16)   =   definition · crc32 (4, over key and definition)
//! ```
//! Big-endian in the key. Where other lines have the partition's life there is a zero: a name stands for what it stands
//! for in all of them. A line is written in the batch of the first clock or record that says the name, or before
//! (N5), and never again.

use super::{Definition, Name};
use crate::ids::PartitionId;
use crate::wire::{FormatError, Reader, checked, put_checksum};

/// The kind of these lines.
const NAME_LINE: u8 = 3;

/// How the keys of one partition's names begin.
pub(crate) fn line_prefix(partition: PartitionId) -> [u8; 9] {
    let mut prefix = [NAME_LINE; 9];
    prefix[..4].copy_from_slice(&partition.0.to_be_bytes());
    prefix[4..8].fill(0);
    prefix
}

/// The key of a name's line.
pub(crate) fn line_key(partition: PartitionId, name: Name) -> [u8; 25] {
    let mut key = [0; 25];
    key[..9].copy_from_slice(&line_prefix(partition));
    key[9..].copy_from_slice(&name.0.to_be_bytes());
    key
}

/// Appends the value that stands under `key`.
pub(crate) fn encode_line(key: &[u8], definition: &Definition, out: &mut Vec<u8>) {
    let start = out.len();
    definition.encode(out);
    put_checksum(key, out, start);
}

/// The name and definition of a line. Whether the one defines the other is for [`super::Names::open`] to see.
///
/// # Errors
/// [`FormatError`] if it is damaged, or stands in the place of another.
pub(crate) fn decode_line(key: &[u8], value: &[u8]) -> Result<(Name, Definition), FormatError> {
    let name = key.get(8..).and_then(|rest| rest.split_first_chunk::<1>());
    let Some((&[NAME_LINE], name)) = name else { return Err(FormatError::Content("the line of no name")) };
    let name = name.try_into().map_err(|_| FormatError::Content("a name of another length"))?;
    let mut reader = Reader::new(checked(key, value)?);
    let definition = Definition::decode(&mut reader)?;
    reader.end()?;
    Ok((Name(u128::from_be_bytes(name)), definition))
}
