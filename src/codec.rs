//! Frames of messages as bytes: the only place that knows `bincode`.
//!
//! ```text
//! "QRT" · version 1 · cluster (16) · sender (8) · count · { length · message } · crc32 (4)
//! ```
//! Widths in bytes, little-endian; the others are varints. A message is what serde and bincode 2 make of it in their
//! standard configuration. That crate is no longer maintained (RUSTSEC-2025-0141): it reads nothing before the frame's
//! length, cluster, lengths and checksum have been looked at, and it can be replaced here alone.

use crate::causality::Identity;
use crate::error::DecodeError;
use crate::ids::{ClusterId, NodeId};
use crate::message::Message;
use crate::wire::{FormatError, Reader, checked, put_bytes, put_checksum, put_varint};

/// Turns messages into frames and back, for one cluster.
#[derive(Clone, Debug)]
pub struct Codec {
    identity: Identity,
    limit: usize,
}

const MAGIC: &[u8; 3] = b"QRT";
const VERSION: u8 = 1;

impl Codec {
    /// For the cluster `identity`, with frames of at most `limit` bytes (see [`crate::config::Limits::frame`]).
    #[must_use]
    pub const fn new(identity: Identity, limit: usize) -> Self {
        Self { identity, limit }
    }

    /// Frames that hold `messages`, each within the limit if its messages are.
    #[must_use]
    pub fn encode(&self, from: NodeId, messages: &[Message]) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let (mut body, mut count) = (Vec::new(), 0);
        let mut one = Vec::new();
        for message in messages {
            one.clear();
            bincode::serde::encode_into_std_write(message, &mut one, bincode::config::standard())
                .expect("writing to memory does not fail, and the messages have no types that bincode refuses");
            if count > 0 && body.len() + one.len() + 64 > self.limit {
                frames.push(self.frame(from, count, &body));
                body.clear();
                count = 0;
            }
            put_bytes(&mut body, &one);
            count += 1;
        }
        if count > 0 {
            frames.push(self.frame(from, count, &body));
        }
        frames
    }

    fn frame(&self, from: NodeId, count: u64, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(body.len() + 48);
        out.extend_from_slice(MAGIC);
        out.push(VERSION);
        out.extend_from_slice(&self.identity.cluster.0.to_le_bytes());
        out.extend_from_slice(&from.0.to_le_bytes());
        put_varint(&mut out, count);
        out.extend_from_slice(body);
        put_checksum(&[], &mut out, 0);
        out
    }

    /// The sender and the messages of a frame. Whoever carried the frame must know that it comes from that sender.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong with the bytes. All of the frame is dropped.
    pub fn decode(&self, frame: &[u8]) -> Result<(NodeId, Vec<Message>), DecodeError> {
        if frame.len() > self.limit {
            return Err(DecodeError::TooLong { got: frame.len(), limit: self.limit });
        }
        let mut reader = Reader::new(frame);
        if reader.array::<3>().map_err(|_| DecodeError::NotAFrame)? != *MAGIC {
            return Err(DecodeError::NotAFrame);
        }
        match reader.byte()? {
            VERSION => {}
            version => return Err(DecodeError::Version(version)),
        }
        let cluster = ClusterId(u128::from_le_bytes(reader.array()?));
        if cluster != self.identity.cluster {
            return Err(DecodeError::Cluster(cluster));
        }
        let content = checked(&[], frame)?;
        let mut reader = Reader::new(content);
        reader.take(MAGIC.len() + 1 + 16)?;
        let from = NodeId(u64::from_le_bytes(reader.array()?));
        // A message takes at least four bytes: length, kind, and the two numbers that name a request. That many are
        // there before room is made for them.
        let count = reader.count(4)?;
        let mut lengths = Reader::new(reader.rest());
        for _ in 0..count {
            let length = lengths.count(1)?;
            lengths.take(length)?;
        }
        let mut messages = Vec::with_capacity(count);
        for _ in 0..count {
            let length = reader.count(1)?;
            messages.push(self.message(reader.take(length)?)?);
        }
        reader.end()?;
        Ok((from, messages))
    }

    fn message(&self, bytes: &[u8]) -> Result<Message, DecodeError> {
        let (mut message, used): (Message, usize) =
            bincode::serde::decode_from_slice(bytes, bincode::config::standard())
                .map_err(|error| DecodeError::Message(error.to_string()))?;
        if used != bytes.len() {
            return Err(FormatError::Trailing.into());
        }
        message.admit(&self.identity.secret).map_err(DecodeError::Rule)?;
        Ok(message)
    }
}
