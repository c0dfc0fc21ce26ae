//! Frames that no honest node sends, in the middle of a cluster that works.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate::sim::Sim;
use quorate::{Keyspace, Layout, Message, NodeId};

use super::{codec, forge};

pub(crate) const PARTITIONS: u32 = 16;
const NODES: u64 = 5;
/// The first two are what the nodes of the corpus speak of.
const KEPT: [&str; 8] = ["book", "other", "three", "four", "five", "six", "seven", "eight"];

/// Honest nodes take writes, hear the frames of a script, and go on.
///
/// Nothing panics, the cluster comes to rest, and what was acknowledged is readable; so is what is written afterwards.
/// Members are believed: a well-formed message from one that says "these dots are superseded" supersedes them, for its
/// key, and through the clock for its key's partition. So this is asked of the partitions that no message that was
/// taken names a key of.
pub fn node(data: &[u8]) {
    let mut sim = Sim::builder(NODES, 1).partitions(PARTITIONS).encode(false).gossip(true).build();
    let members = sim.members();
    for (at, key) in KEPT.iter().enumerate() {
        if at == KEPT.len() / 2 {
            // From here on it misses what it owns, and hints are kept for it.
            sim.crash(members[4]);
        }
        sim.put(members[at % 4], key, key).expect("a cluster that is well");
    }
    sim.settle();
    sim.restart(members[4]);
    let mut touched = BTreeSet::new();
    for Step { from, to, pause, message } in steps(data) {
        if let Ok((sender, messages)) = codec().decode(&forge::frame(from, message)) {
            for message in messages {
                touched.extend(partitions_of(&message, sim.layout()));
                sim.inject(sender, members[to], message);
            }
        }
        sim.run_for(pause);
    }
    sim.settle();
    let keyspace = Keyspace::new("default").id();
    for (at, key) in KEPT.iter().enumerate() {
        let partition = partition_of(sim.layout(), &forge::full_key(keyspace, key.as_bytes()));
        if touched.contains(&partition) {
            continue;
        }
        assert_eq!(sim.values(members[at % 5], key), [*key], "acknowledged before the frames came");
        sim.put(members[(at + 1) % 5], key, "and more").expect("a cluster that is well");
        assert_eq!(sim.values(members[(at + 2) % 5], key), ["and more", key], "acknowledged afterwards");
    }
}

/// One frame: who sends it to whom, and how long nothing more comes after it.
struct Step<'a> {
    from: u64,
    to: usize,
    pause: Duration,
    message: &'a [u8],
}

/// Sender · receiver · pause · length (2, little-endian) · the bytes of one message; at most 32 of these.
fn steps(mut data: &[u8]) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    while let Some((&[from, to, pause, low, high], rest)) = data.split_first_chunk::<5>()
        && steps.len() < 32
    {
        let (message, rest) = rest.split_at(usize::from(u16::from_le_bytes([low, high])).min(rest.len()));
        data = rest;
        let pause = Duration::from_micros(u64::from(pause).pow(2));
        steps.push(Step { from: 1 + u64::from(from) % NODES, to: usize::from(to) % NODES as usize, pause, message });
    }
    steps
}

/// The bytes of a script in which these messages come in this order.
pub fn script(messages: &[(NodeId, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, (from, message)) in messages.iter().enumerate() {
        out.extend_from_slice(&[(from.0 - 1) as u8, at as u8, (at * 16) as u8]);
        out.extend_from_slice(&(message.len() as u16).to_le_bytes());
        out.extend_from_slice(message);
    }
    out
}

/// The partitions of the keys that a message names: read from how it shows itself, which is all that is public of it.
///
/// Where a key ends can't be told for certain; a place too many is looked at less, one too few would be a false alarm.
fn partitions_of(message: &Message, layout: &Layout) -> BTreeSet<u32> {
    const ENDS: [&str; 3] = [", update: Update", ", live: [", " }"];
    let text = format!("{message:?}");
    let mut partitions = BTreeSet::new();
    for (at, mark) in text.match_indices("key: k") {
        let shown = &text[at + mark.len()..];
        let Some((keyspace, user)) = shown.split_once('/') else { continue };
        let Ok(keyspace) = u32::from_str_radix(keyspace, 16) else { continue };
        let mut ends: Vec<usize> = ENDS.iter().flat_map(|end| user.match_indices(end).map(|(at, _)| at)).collect();
        ends.sort_unstable();
        // The first that fits is the key's, unless the key looks like an end itself.
        for &end in ends.iter().take(8) {
            let full = [&keyspace.to_be_bytes()[..], &unescaped(&user[..end])].concat();
            partitions.insert(partition_of(layout, &full));
        }
    }
    partitions
}

fn partition_of(layout: &Layout, full: &[u8]) -> u32 {
    layout.partition_of(forge::position(full)).0
}

/// What `escape_ascii` was given.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, if byte == b'\\' { rest.next() } else { None }) {
            (b'\\', Some(b't')) => b'\t',
            (b'\\', Some(b'r')) => b'\r',
            (b'\\', Some(b'n')) => b'\n',
            (b'\\', Some(b'x')) => {
                let digit = |digit: Option<u8>| digit.and_then(|digit| (digit as char).to_digit(16)).unwrap_or(0) as u8;
                digit(rest.next()) << 4 | digit(rest.next())
            }
            (b'\\', Some(other)) => other,
            (plain, _) => plain,
        });
    }
    bytes
}
