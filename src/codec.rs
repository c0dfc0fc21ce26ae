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
use crate::wire::{FormatError, Reader, checked, put_checksum, put_varint};

/// Turns messages into frames and back, for one cluster.
#[derive(Clone, Debug)]
pub struct Codec {
    identity: Identity,
    limit: usize,
}

const MAGIC: &[u8; 3] = b"QRT";
const VERSION: u8 = 1;
/// What stands behind a frame, in bytes.
const CHECKSUM: usize = 4;
/// What stands before a frame on a stream, in bytes.
#[cfg(feature = "tcp")]
const LENGTH: usize = 4;
/// The most messages in one frame: so many that their count takes one byte, which is written when they are known.
const COUNT_MAX: u8 = 127;

impl Codec {
    /// For the cluster `identity`, with frames of at most `limit` bytes (see [`crate::config::Limits::frame`]).
    #[must_use]
    pub const fn new(identity: Identity, limit: usize) -> Self {
        Self { identity, limit }
    }

    /// Frames that hold `messages`, each within the limit if its messages are: one that is too long has a frame by itself.
    #[must_use]
    pub fn encode(&self, from: NodeId, messages: &[Message]) -> Vec<Vec<u8>> {
        let (mut frames, mut frame, mut count) = (Vec::new(), Vec::new(), 0);
        for message in messages {
            if count == 0 {
                self.begin(from, &mut frame);
            }
            let before = frame.len();
            append_message(message, &mut frame);
            if count > 0 && (count == COUNT_MAX || frame.len() + CHECKSUM > self.limit) {
                // It begins a frame of its own.
                let last = frame.split_off(before);
                end(&mut frame, 0, count);
                frames.push(std::mem::take(&mut frame));
                self.begin(from, &mut frame);
                frame.extend_from_slice(&last);
                count = 0;
            }
            count += 1;
        }
        if count > 0 {
            end(&mut frame, 0, count);
            frames.push(frame);
        }
        frames
    }

    /// Appends the messages to `out` in as few frames as the limit allows, each after its length in four bytes,
    /// little-endian, until `out` would be longer than `most`. What doesn't fit any more is left out, with all that
    /// follows; a message that is too long for any frame is left out by itself. Gives how many are in.
    #[cfg(feature = "tcp")]
    pub(crate) fn append(&self, from: NodeId, messages: &[Message], out: &mut Vec<u8>, most: usize) -> usize {
        let (mut written, mut frame, mut count) = (0, out.len(), 0);
        for message in messages {
            let mut before = out.len();
            if count == 0 {
                frame = before;
                self.begin_on_stream(from, out);
                before = out.len();
            }
            append_message(message, out);
            if out.len() - frame + CHECKSUM > self.limit + LENGTH && count > 0 {
                // It begins a frame of its own.
                out.truncate(before);
                end_on_stream(out, frame, count);
                (frame, count) = (out.len(), 0);
                self.begin_on_stream(from, out);
                before = out.len();
                append_message(message, out);
            }
            let too_long = out.len() - frame + CHECKSUM > self.limit + LENGTH;
            if too_long || out.len() + CHECKSUM > most {
                out.truncate(if count == 0 { frame } else { before });
                if too_long {
                    continue;
                }
                break;
            }
            (count, written) = (count + 1, written + 1);
            if count == COUNT_MAX {
                end_on_stream(out, frame, count);
                (frame, count) = (out.len(), 0);
            }
        }
        if count > 0 {
            end_on_stream(out, frame, count);
        }
        written
    }

    /// What stands before the messages of a frame. Their count is written by [`end`].
    fn begin(&self, from: NodeId, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC);
        out.push(VERSION);
        out.extend_from_slice(&self.identity.cluster.0.to_le_bytes());
        out.extend_from_slice(&from.0.to_le_bytes());
        out.push(0);
    }

    /// As [`Codec::begin`], after room for the frame's length.
    #[cfg(feature = "tcp")]
    fn begin_on_stream(&self, from: NodeId, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0; LENGTH]);
        self.begin(from, out);
    }

    /// The longest frame that is read, in bytes.
    #[cfg(feature = "tcp")]
    pub(crate) const fn limit(&self) -> usize {
        self.limit
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

/// Appends a message after its length.
fn append_message(message: &Message, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(0);
    bincode::serde::encode_into_std_write(message, &mut *out, bincode::config::standard())
        .expect("writing to memory does not fail, and the messages have no types that bincode refuses");
    let length = out.len() - start - 1;
    if length < 0x80 {
        out[start] = length as u8;
        return;
    }
    // Its length takes more room than was left for it: cheaper than a buffer of its own for each message.
    let mut prefix = Vec::with_capacity(5);
    put_varint(&mut prefix, length as u64);
    let more = prefix.len() - 1;
    out.resize(out.len() + more, 0);
    out.copy_within(start + 1..start + 1 + length, start + prefix.len());
    out[start..start + prefix.len()].copy_from_slice(&prefix);
}

/// Completes the frame that begins at `start` with `count` messages in it.
fn end(out: &mut Vec<u8>, start: usize, count: u8) {
    out[start + MAGIC.len() + 1 + 16 + 8] = count;
    put_checksum(&[], out, start);
}

/// As [`end`], and writes the length for which room was left at `frame`.
#[cfg(feature = "tcp")]
fn end_on_stream(out: &mut Vec<u8>, frame: usize, count: u8) {
    let start = frame + LENGTH;
    end(out, start, count);
    let length = (out.len() - start) as u32;
    out[frame..start].copy_from_slice(&length.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ballot::Sets;
    use crate::bytes::Bytes;
    use crate::causality::{Entry, Secret, Stamp, Update};
    use crate::config::Durability;
    use crate::dots::DotSet;
    use crate::ids::{Actor, Dot, KeyspaceId, LayoutId, RequestId, Start};
    use crate::key::Key;
    use crate::message::{Probe, Write};

    const IDENTITY: Identity = Identity { cluster: ClusterId(5), secret: Secret::new([1; 16]) };
    const FROM: NodeId = NodeId(300);

    const fn request(number: u64) -> RequestId {
        RequestId { start: Start(2), number }
    }

    fn probe(number: u64) -> Message {
        Message::Probe(Probe { request: request(number) })
    }

    fn write(number: u64, value: usize) -> Message {
        let dot = Dot { actor: Actor { node: FROM, start: Start(2) }, counter: number };
        let entry =
            Entry { dot, write_id: None, expires: None, stamp: Stamp(number), value: Bytes::from(vec![7; value]) };
        Message::Write(Write {
            request: request(number),
            sets: Sets::of(LayoutId { version: 1, hash: 2 }),
            round: 0,
            key: Key::new(&IDENTITY.secret, KeyspaceId(3), b"key"),
            update: Update::put(entry, &DotSet::new()).into(),
            hint_for: None,
            durability: Durability::Quorum,
        })
    }

    fn codec(limit: usize) -> Codec {
        Codec::new(IDENTITY, limit)
    }

    /// A frame whose checksum is right, whatever else is wrong: anybody can compute it.
    fn sealed(content: &[u8]) -> Vec<u8> {
        let mut frame = content.to_vec();
        put_checksum(&[], &mut frame, 0);
        frame
    }

    #[test]
    fn messages_come_back_in_order_in_as_few_frames_as_the_limit_allows() {
        let messages: Vec<_> = (1..40).map(|number| write(number, number as usize * 5)).collect();
        // The longest message, and what a frame takes beside it.
        let one = codec(0).encode(FROM, &messages[38..])[0].len();
        for limit in [one, one + 7, one + 64, 1000, 2000, 4000, 100_000] {
            let frames = codec(limit).encode(FROM, &messages);
            let mut decoded = Vec::new();
            let mut last = 0;
            for frame in &frames {
                assert!(frame.len() <= limit, "{} bytes, {limit} are allowed", frame.len());
                assert!(last == 0 || last + frame.len() > limit, "two frames where one was enough");
                let (from, some) = codec(limit).decode(frame).unwrap();
                assert_eq!(from, FROM);
                last = frame.len();
                decoded.extend(some);
            }
            assert_eq!(decoded, messages);
        }
        assert_eq!(codec(100_000).encode(FROM, &messages).len(), 1);
        assert_eq!(codec(100_000).encode(FROM, &[]), Vec::<Vec<u8>>::new());
        // Two messages of four bytes, and what a frame takes beside them.
        assert_eq!([40, 41].map(|limit| codec(limit).encode(FROM, &[probe(7), probe(8)]).len()), [2, 1]);
        let frames = codec(0).encode(FROM, &messages[..3]);
        assert_eq!(frames.len(), 3, "one that is too long by itself keeps nobody company");
        let many: Vec<_> = (0..300).map(probe).collect();
        let frames = codec(100_000).encode(FROM, &many);
        let decoded: Vec<_> = frames.iter().flat_map(|frame| codec(100_000).decode(frame).unwrap().1).collect();
        assert_eq!((frames.len(), decoded), (3, many));
    }

    #[cfg(feature = "tcp")]
    #[test]
    fn on_a_stream_frames_stand_one_after_the_other_each_after_its_length() {
        let codec = codec(1000);
        let sizes = [0, 90, 100, 200, 110, 300, 5, 800, 2000, 7];
        let mut messages: Vec<_> = sizes.iter().zip(1..).map(|(size, number)| write(number, *size)).collect();
        messages.extend((0..300).map(probe));
        let read = |mut bytes: &[u8]| {
            let mut decoded = Vec::new();
            while let Some((length, rest)) = bytes.split_first_chunk() {
                let (frame, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
                let (from, some) = codec.decode(frame).unwrap();
                assert_eq!(from, FROM);
                decoded.extend(some);
                bytes = rest;
            }
            decoded
        };
        let mut out = Vec::new();
        assert_eq!(codec.append(FROM, &messages, &mut out, usize::MAX), messages.len() - 1);
        // All but the one that no frame holds.
        messages.remove(8);
        assert_eq!(read(&out), messages);
        // The room ends: what came before is whole, and what was there stays.
        let whole = out.len();
        for most in (0..whole).step_by(7) {
            let mut out = Vec::new();
            codec.append(FROM, &messages[..1], &mut out, usize::MAX);
            let (first, written) = (out.len(), codec.append(FROM, &messages, &mut out, most));
            assert!(out.len() <= most.max(first));
            assert_eq!(read(&out)[1..], messages[..written]);
        }
        // The same bytes as by itself.
        let (mut out, frames) = (Vec::new(), codec.encode(FROM, &messages[..4]));
        codec.append(FROM, &messages[..4], &mut out, usize::MAX);
        assert_eq!(out[4..], frames[0]);
    }

    #[test]
    fn golden_bytes() {
        let frames = codec(1000).encode(FROM, &[probe(7), probe(300)]);
        let mut expected = b"QRT\x01".to_vec();
        expected.extend([5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([44, 1, 0, 0, 0, 0, 0, 0, 2]);
        expected.extend([3, 11, 2, 7, 5, 11, 2, 251, 44, 1]);
        assert_eq!(frames, [sealed(&expected)]);
    }

    #[test]
    fn whatever_is_wrong_with_a_frame_is_named() {
        let frame = codec(1000).encode(FROM, &[probe(7), probe(8)]).remove(0);
        let body = &frame[..frame.len() - 4];
        let decode = |bytes: &[u8]| codec(1000).decode(bytes).unwrap_err();
        let with = |at: usize, byte: u8| {
            let mut content = body.to_vec();
            content[at] = byte;
            sealed(&content)
        };
        assert_eq!(codec(frame.len()).decode(&frame).unwrap().1, [probe(7), probe(8)]);
        let limit = frame.len() - 1;
        assert_eq!(codec(limit).decode(&frame), Err(DecodeError::TooLong { got: frame.len(), limit }));
        assert_eq!(decode(b"QR"), DecodeError::NotAFrame);
        assert_eq!(decode(&with(2, b'X')), DecodeError::NotAFrame);
        assert_eq!(decode(&with(3, 2)), DecodeError::Version(2));
        assert_eq!(decode(&with(4, 6)), DecodeError::Cluster(ClusterId(6)));
        let mut damaged = frame.clone();
        damaged[29] ^= 1;
        assert_eq!(decode(&damaged), FormatError::Checksum.into());
        // The count: more than there can be, more than there are, fewer than there are.
        assert_eq!(decode(&with(28, 100)), FormatError::Truncated.into());
        assert_eq!(decode(&with(28, 3)), FormatError::Truncated.into());
        assert_eq!(decode(&with(28, 1)), FormatError::Trailing.into());
        // A length that reaches beyond the frame, and a message that is shorter than its length.
        assert_eq!(decode(&with(29, 9)), FormatError::Truncated.into());
        let mut longer = body.to_vec();
        longer[33] = 4;
        longer.push(0);
        assert_eq!(decode(&sealed(&longer)), FormatError::Trailing.into());
        assert!(matches!(decode(&with(30, 99)), DecodeError::Message(_)), "no such kind of message");
    }

    #[test]
    fn a_message_that_breaks_a_rule_takes_its_frame_with_it() {
        let Message::Write(mut rootless) = write(1, 1) else { unreachable!() };
        rootless.update = Update { covered: DotSet::new(), ..Update::clone(&rootless.update) }.into();
        let frames = codec(1000).encode(FROM, &[probe(1), Message::Write(rootless)]);
        assert_eq!(codec(1000).decode(&frames[0]), Err(DecodeError::Rule("an update without its dots")));
    }
}
