//! Bytes on a disk.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use quorate::causality::Record;
use quorate::error::FormatError;
use quorate::request::Cursor;
use quorate::storage::{Batch, MemoryStorage, Space, Storage};
use quorate::{Bytes, Context, Keyspace, NodeId, PutOptions, Reply, Request};

use super::cluster::Lone;
use super::{KEY, forge};

/// What the first byte of an input makes of the rest.
pub const STORED: [&str; 5] = ["object", "clock", "hint", "name", "unsettled"];

/// Stored bytes are an error or what was stored, in its only spelling; a node that meets them does not panic, and
/// leaves bytes that are damaged where they are.
pub fn record(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let kind = usize::from(kind) % STORED.len();
    // The version in front of a hint is not in its checksum.
    let unchecked = if STORED[kind] == "hint" { data.len().min(8) } else { 0 };
    let (head, rest) = data.split_at(unchecked);
    let (space, place) = place_of(kind, data);
    for bytes in [data.to_vec(), [head, &forge::checked_at(&place, rest)].concat()] {
        if let Ok(record) = Record::decode(&place, &Bytes::from(&bytes[..])) {
            assert_eq!(record.encode(&place), bytes);
        }
        behind_a_node(kind, space, &place, &bytes);
    }
}

/// Where bytes of this kind stand, for the key that is looked at.
fn place_of(kind: usize, bytes: &[u8]) -> (Space, Vec<u8>) {
    let full = forge::full_key(Keyspace::new("default").id(), KEY);
    let (storage, peer) = &*WRITTEN;
    match STORED[kind] {
        "object" => (Space::Objects, first(storage, Space::Objects)),
        "clock" => (Space::Dots, first(storage, Space::Dots)),
        "hint" => {
            let upper = (forge::position(&full) >> 64) as u64;
            (Space::Hints, [&peer.0.to_be_bytes()[..], &upper.to_be_bytes(), &full].concat())
        }
        "name" => (Space::Meta, b"store".to_vec()),
        // A line of the index for a key that may not be there, or may be none.
        _ => (Space::Dots, [&[0, 0, 0, 0, 0, 0, 0, 1, 2], bytes].concat()),
    }
}

/// Puts the bytes where a node will look, and makes it look.
fn behind_a_node(kind: usize, space: Space, name: &[u8], bytes: &[u8]) {
    let keyspace = Keyspace::new("default").id();
    let (mut storage, _) = WRITTEN.clone();
    let mut batch = Batch::new();
    batch.put(space, name, bytes);
    storage.write(&batch).expect("memory doesn't fail");
    let Ok(mut lone) = Lone::open(vec![storage]) else { return };
    lone.wake();
    let read = Record::decode(name, &Bytes::from(bytes));
    // What another program may have written is not touched.
    let damaged = STORED[kind] == "object" && read.is_err_and(|error| !matches!(error, FormatError::Version(_)));
    assert!(lone.values().is_empty() || !damaged, "damage is not shown");
    lone.ask(Request::List { keyspace, cursor: Cursor::from_bytes(&[0; 4]).expect("a cursor"), limit: 10 });
    let (key, options) = (Bytes::from(KEY), PutOptions::default());
    let put = lone.ask(Request::Put { keyspace, key, value: Some("new".into()), context: Context::empty(), options });
    if damaged {
        // The partition begins a new life, in which the write is all that there is.
        assert!(matches!(put, Some(Reply::Put(Ok(_)))), "{put:?}");
        let there = lone.node.inspect(keyspace, KEY).expect("memory doesn't fail").expect("it owns the key");
        assert_eq!(there.iter().map(|entry| &entry.value[..]).collect::<Vec<_>>(), [b"new"]);
    }
}

/// The storage of a node that has taken two writes, and the node's peer.
static WRITTEN: LazyLock<(MemoryStorage, NodeId)> = LazyLock::new(written);

fn written() -> (MemoryStorage, NodeId) {
    let mut lone = Lone::open(Vec::new()).expect("an empty storage opens");
    for value in ["a", "b"] {
        let (keyspace, key) = (Keyspace::new("default").id(), Bytes::from(KEY));
        let (value, context, options) = (Some(Bytes::from(value)), Context::empty(), PutOptions::default());
        lone.ask(Request::Put { keyspace, key, value, context, options });
    }
    (lone.node.into_storages().remove(0), lone.peer)
}

fn first(storage: &MemoryStorage, space: Space) -> Vec<u8> {
    let mut name = Vec::new();
    let scanned = storage.scan(space, &[], &mut |key, _| {
        name = key.to_vec();
        ControlFlow::Break(())
    });
    scanned.expect("memory doesn't fail");
    name
}

/// What honest nodes have on their disks, as inputs: with the checksum off where it is put on again.
pub fn stored() -> Vec<(String, Vec<u8>)> {
    let (own, _) = WRITTEN.clone();
    let mut spaces: Vec<(usize, Space, &MemoryStorage)> =
        vec![(0, Space::Objects, &own), (1, Space::Dots, &own), (3, Space::Meta, &own)];
    let others = super::cluster::disks();
    for disk in &others {
        spaces.extend([(0, Space::Objects, disk), (1, Space::Dots, disk), (2, Space::Hints, disk)]);
    }
    let (mut found, mut lengths) = (Vec::new(), std::collections::BTreeSet::new());
    for (kind, space, disk) in spaces {
        let scanned = disk.scan(space, &[], &mut |_, value| {
            if !value.is_empty() && lengths.insert((kind, value.len())) {
                let name = format!("{}-{}", STORED[kind], value.len());
                found.push((format!("{name}-checked"), [&[kind as u8], value].concat()));
                found.push((name, [&[kind as u8], &value[..value.len() - 4]].concat()));
            }
            ControlFlow::Continue(())
        });
        scanned.expect("memory doesn't fail");
    }
    let line = forge::full_key(Keyspace::new("default").id(), KEY);
    found.push(("unsettled".into(), [&[4], &line[..]].concat()));
    found
}
