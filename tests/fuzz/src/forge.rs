//! What somebody can do who knows the cluster's secret: checksums, seals, positions and names that fit.
//!
//! Written from `docs/STORAGE_FORMAT.md` and `docs/PROTOCOL.md` and not from the code, so that bytes which pass here
//! show that the pages are right.

use std::hash::Hasher;

use quorate::ids::KeyspaceId;
use siphasher::sip128::{Hasher128, SipHasher24};

/// The cluster and the secret of the simulator, so that frames which are made here are heard there.
pub const CLUSTER: u128 = 0x51;
pub const SECRET: [u8; 16] = *b"simulated secret";

const POSITION: u8 = 1;
const SEAL: u8 = 2;
const LAYOUT: u8 = 3;

/// The bytes with a CRC-32 behind them.
pub fn checked(content: &[u8]) -> Vec<u8> {
    checked_at(&[], content)
}

/// The bytes with a CRC-32 behind them that fits where they are stored.
pub fn checked_at(place: &[u8], content: &[u8]) -> Vec<u8> {
    [content, &crc32fast::hash(&[place, content].concat()).to_le_bytes()].concat()
}

/// A frame that says that it is from `sender` and holds one message of these bytes.
pub fn frame(sender: u64, message: &[u8]) -> Vec<u8> {
    let mut out = b"QRT\x01".to_vec();
    out.extend_from_slice(&CLUSTER.to_le_bytes());
    out.extend_from_slice(&sender.to_le_bytes());
    out.push(1);
    put_varint(&mut out, message.len() as u64);
    out.extend_from_slice(message);
    checked(&out)
}

/// The bytes of the message in a frame that holds one.
pub fn message_in(frame: &[u8]) -> &[u8] {
    let body = &frame[28 + 1..frame.len() - 4];
    let length = body.iter().take_while(|&&byte| byte >= 0x80).count() + 1;
    &body[length..]
}

/// A context for a key with this body (dots shown, dots covered), sealed.
pub fn context(route: u64, keyspace: KeyspaceId, key: &[u8], body: &[u8]) -> Vec<u8> {
    let position = position(&full_key(keyspace, key));
    let seal = hash(&SECRET, SEAL, &[&CLUSTER.to_le_bytes(), &position.to_le_bytes(), body]);
    let mut out = vec![1];
    put_varint(&mut out, route);
    out.extend_from_slice(&seal.to_le_bytes());
    out.extend_from_slice(body);
    out
}

/// The bytes of a layout with its hash behind them.
pub fn layout(content: &[u8]) -> Vec<u8> {
    [content, &(hash(&[0; 16], LAYOUT, &[content]) as u64).to_le_bytes()].concat()
}

/// A key with its keyspace in front, as it is hashed, sent and stored.
pub fn full_key(keyspace: KeyspaceId, key: &[u8]) -> Vec<u8> {
    [&keyspace.0.to_be_bytes(), key].concat()
}

/// Where a key lies on the ring.
pub fn position(full_key: &[u8]) -> u128 {
    hash(&SECRET, POSITION, &[full_key])
}

fn hash(secret: &[u8; 16], purpose: u8, parts: &[&[u8]]) -> u128 {
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write(&[purpose]);
    hasher.write(&(parts[0].len() as u64).to_le_bytes());
    hasher.write(&(parts.len() as u64).to_le_bytes());
    hasher.write(parts[0]);
    for part in &parts[1..] {
        hasher.write(&(part.len() as u64).to_le_bytes());
        hasher.write(part);
    }
    hasher.finish128().as_u128()
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
