//! A recording as bytes.
//!
//! ```text
//! "QREC" · version 1 · node · shards · start (8) · seed (8) · time · wall · outputs (16) · count · { call } · crc32 (4)
//! call:  0 | 1 time · wall · input
//! input: 0 | 1 sender · length · frame | 2 ticket · request
//! ```
//! Widths in bytes, little-endian; the others are varints. A message is a frame of its own, a context its sealed bytes.

use std::time::Duration;

use super::{Call, Outputs, Recording};
use crate::bytes::Bytes;
use crate::causality::Context;
use crate::codec::Codec;
use crate::config::{Durability, Mode, Spread};
use crate::error::DecodeError;
use crate::ids::{KeyspaceId, NodeId, PartitionId, Start, Ticket, WriteId};
use crate::key::Key;
use crate::names::{Named, Unknown};
use crate::node::{Input, Setup};
use crate::request::{Cursor, GetOptions, PutOptions, Request};
use crate::time::{Now, Time, WallTime, micros};
use crate::wire::{FormatError, Reader, checked, put_bytes, put_checksum, put_varint};

const MAGIC: &[u8; 4] = b"QREC";
const VERSION: u8 = 1;

impl Recording {
    /// As bytes, sealed contexts and all: whoever has them has what the clients had. `setup` is the node's own.
    #[must_use]
    pub fn to_bytes(&self, setup: &Setup) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(VERSION);
        put_varint(&mut out, self.node.0);
        put_varint(&mut out, self.shards as u64);
        out.extend_from_slice(&self.start.0.to_le_bytes());
        out.extend_from_slice(&self.seed.to_le_bytes());
        put_now(&mut out, self.opened);
        out.extend_from_slice(&self.outputs.0.to_le_bytes());
        put_varint(&mut out, self.calls.len() as u64);
        let codec = Codec::new(setup.identity, setup.limits.frame);
        for call in &self.calls {
            match call {
                Call::Commit => out.push(0),
                Call::Step(now, input) => {
                    out.push(1);
                    put_now(&mut out, *now);
                    put_input(&mut out, input, &codec);
                }
            }
        }
        put_checksum(&[], &mut out, 0);
        out
    }

    /// From the bytes that [`Recording::to_bytes`] made with the same setup.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong with the bytes: damaged, of another version, of another cluster.
    pub fn from_bytes(bytes: &[u8], setup: &Setup) -> Result<Self, DecodeError> {
        let content = bytes.strip_prefix(&MAGIC[..]).ok_or(DecodeError::NotAFrame)?;
        checked(&[], bytes)?;
        let mut reader = Reader::new(&content[..content.len().saturating_sub(4)]);
        match reader.byte()? {
            VERSION => {}
            version => return Err(DecodeError::Version(version)),
        }
        let (node, shards) = (NodeId(reader.varint()?), reader.varint()? as usize);
        let start = Start(u64::from_le_bytes(reader.array()?));
        let seed = u64::from_le_bytes(reader.array()?);
        let opened = now(&mut reader)?;
        let outputs = Outputs(u128::from_le_bytes(reader.array()?));
        let count = reader.count(1)?;
        let mut calls = Vec::with_capacity(count);
        for _ in 0..count {
            calls.push(match reader.byte()? {
                0 => Call::Commit,
                1 => Call::Step(now(&mut reader)?, input(&mut reader, setup)?),
                _ => return Err(FormatError::Content("a call of no kind").into()),
            });
        }
        reader.end()?;
        Ok(Self { node, shards, start, seed, opened, calls, outputs, ended: true })
    }
}

fn put_now(out: &mut Vec<u8>, now: Now) {
    put_varint(out, now.time.0);
    put_varint(out, now.wall.0);
}

fn now(reader: &mut Reader<'_>) -> Result<Now, FormatError> {
    Ok(Now { time: Time(reader.varint()?), wall: WallTime(reader.varint()?) })
}

fn put_input(out: &mut Vec<u8>, input: &Input, codec: &Codec) {
    match input {
        Input::Wake => out.push(0),
        Input::Message(from, message) => {
            out.push(1);
            put_varint(out, from.0);
            put_bytes(out, &codec.encode(*from, std::slice::from_ref(message))[0]);
        }
        Input::Request(ticket, request) => {
            out.push(2);
            put_varint(out, ticket.0);
            put_request(out, request);
        }
    }
}

fn input(reader: &mut Reader<'_>, setup: &Setup) -> Result<Input, DecodeError> {
    match reader.byte()? {
        0 => Ok(Input::Wake),
        1 => {
            let from = NodeId(reader.varint()?);
            let length = reader.count(1)?;
            let codec = Codec::new(setup.identity, setup.limits.frame);
            let (_, mut messages) = codec.decode(reader.take(length)?)?;
            let message = messages.pop().ok_or(FormatError::Content("a frame without a message"))?;
            Ok(Input::Message(from, message))
        }
        2 => Ok(Input::Request(Ticket(reader.varint()?), request(reader, setup)?)),
        _ => Err(FormatError::Content("an input of no kind").into()),
    }
}

/// 0 get, 1 put, 2 delete, 3 list, 4 compare, 5 a put that expires; 128 more for one that is traced; then the keyspace (4; of 4 the partition) and what the request holds, in its
/// order.
fn put_request(out: &mut Vec<u8>, request: &Request) {
    let traced = |kind: u8, on: bool| kind | u8::from(on) << 7;
    let begin = |out: &mut Vec<u8>, kind: u8, keyspace: KeyspaceId| {
        out.push(kind);
        out.extend_from_slice(&keyspace.0.to_le_bytes());
    };
    match request {
        Request::Get { keyspace, key, options } => {
            begin(out, traced(0, options.traced), *keyspace);
            put_bytes(out, key);
            put_option(out, options.r.map(u64::from));
            put_rule(out, options.mode, options.spread, options.deadline);
            out.push(u8::from(options.all));
        }
        Request::Put { keyspace, key, value, context, options } => {
            let expires_after = options.expires_after.filter(|_| value.is_some());
            let kind = if expires_after.is_some() { 5 } else { 1 };
            begin(out, traced(if value.is_some() { kind } else { 2 }, options.traced), *keyspace);
            put_bytes(out, key);
            value.iter().for_each(|value| put_bytes(out, value));
            put_bytes(out, &context.unnamed().to_bytes());
            put_option(out, options.w.map(u64::from));
            put_rule(out, options.mode, options.spread, options.deadline);
            out.push(options.durability as u8);
            out.push(u8::from(options.if_unchanged));
            out.push(u8::from(options.write_id.is_some()));
            options.write_id.iter().for_each(|id| out.extend_from_slice(&id.0.to_le_bytes()));
            expires_after.iter().for_each(|&after| put_varint(out, micros(after)));
        }
        Request::List { keyspace, cursor, limit } => {
            begin(out, 3, *keyspace);
            put_bytes(out, &cursor.to_bytes());
            put_varint(out, *limit as u64);
        }
        Request::Compare { partition, with } => {
            begin(out, 4, KeyspaceId(partition.0));
            put_varint(out, with.0);
        }
    }
}

fn request(reader: &mut Reader<'_>, setup: &Setup) -> Result<Request, DecodeError> {
    let byte = reader.byte()?;
    let (kind, traced) = (byte & 0x7f, byte & 0x80 != 0);
    let keyspace = KeyspaceId(u32::from_le_bytes(reader.array()?));
    match kind {
        0 => {
            let (key, r) = (bytes(reader)?, small(reader)?);
            let (mode, spread, deadline) = rule(reader)?;
            let options = GetOptions { r, mode, spread, all: flag(reader)?, deadline, traced };
            Ok(Request::Get { keyspace, key, options })
        }
        1 | 2 | 5 => {
            let key = bytes(reader)?;
            let value = if kind == 2 { None } else { Some(bytes(reader)?) };
            let position = Key::new(&setup.identity.secret, keyspace, &key).position();
            let unnamed = |named: &Named| named.head.map_or_else(|| Ok(named.rest.clone()), |name| Err(Unknown(name)));
            let context = Context::from_bytes(&setup.identity, position, &bytes(reader)?, usize::MAX, unnamed)
                .map_err(|_| DecodeError::Rule("a context that is not of this cluster and key"))?;
            let w = small(reader)?;
            let (mode, spread, deadline) = rule(reader)?;
            let [durability] = reader.array()?;
            let all = [Durability::Quorum, Durability::Coordinator, Durability::One, Durability::Memory];
            let known = all.into_iter().find(|known| *known as u8 == durability);
            let durability = known.ok_or(DecodeError::Rule("a durability that nobody knows"))?;
            let if_unchanged = flag(reader)?;
            let write_id = if flag(reader)? { Some(WriteId(u128::from_le_bytes(reader.array()?))) } else { None };
            let expires_after = if kind == 5 { Some(Duration::from_micros(reader.varint()?)) } else { None };
            let options =
                PutOptions { w, mode, spread, durability, deadline, write_id, if_unchanged, expires_after, traced };
            Ok(Request::Put { keyspace, key, value, context, options })
        }
        3 if !traced => {
            let cursor = Cursor::from_bytes(&bytes(reader)?);
            let cursor = cursor.map_err(|_| FormatError::Content("a cursor that is too short"))?;
            Ok(Request::List { keyspace, cursor, limit: reader.varint()? as usize })
        }
        4 if !traced => Ok(Request::Compare { partition: PartitionId(keyspace.0), with: NodeId(reader.varint()?) }),
        _ => Err(FormatError::Content("a request of no kind").into()),
    }
}

/// 0 for nothing, else one more than the number.
fn put_option(out: &mut Vec<u8>, number: Option<u64>) {
    put_varint(out, number.map_or(0, |number| number.saturating_add(1)));
}

fn option(reader: &mut Reader<'_>) -> Result<Option<u64>, FormatError> {
    Ok(reader.varint()?.checked_sub(1))
}

fn small(reader: &mut Reader<'_>) -> Result<Option<u8>, FormatError> {
    option(reader)?.map(|number| u8::try_from(number).map_err(|_| FormatError::Number)).transpose()
}

fn put_rule(out: &mut Vec<u8>, mode: Option<Mode>, spread: Spread, deadline: Option<Duration>) {
    put_option(out, mode.map(mode_number));
    out.push(u8::from(spread == Spread::Zones));
    put_option(out, deadline.map(micros));
}

fn mode_number(mode: Mode) -> u64 {
    match mode {
        Mode::Sloppy => 0,
        Mode::Strict => 1,
        Mode::Owners(count) => 2 + u64::from(count),
    }
}

type Rule = (Option<Mode>, Spread, Option<Duration>);

fn rule(reader: &mut Reader<'_>) -> Result<Rule, FormatError> {
    let mode = match option(reader)? {
        None => None,
        Some(0) => Some(Mode::Sloppy),
        Some(1) => Some(Mode::Strict),
        Some(more) => {
            Some(Mode::Owners(u8::try_from(more - 2).map_err(|_| FormatError::Content("a mode of no kind"))?))
        }
    };
    let spread = if flag(reader)? { Spread::Zones } else { Spread::Nodes };
    Ok((mode, spread, option(reader)?.map(Duration::from_micros)))
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, FormatError> {
    match reader.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(FormatError::Content("neither yes nor no")),
    }
}

fn bytes(reader: &mut Reader<'_>) -> Result<Bytes, FormatError> {
    let length = reader.count(1)?;
    Ok(Bytes::from(reader.take(length)?))
}
