//! The bytes of records and hints are on disks: they may change only with a new version byte.

use proptest::prelude::*;

use super::super::{Cover, Entry, Record, Stamp, Update, is_sorted, value_bytes};
use super::{dot, dots, entry, survives};
use crate::bytes::Bytes;
use crate::dots::DotSet;
use crate::ids::{Actor, Dot, NodeId, Start, WriteId};
use crate::time::WallTime;
use crate::wire::{FormatError, put_varint};

/// Under which key they stand.
const PLACE: &[u8] = b"place";

fn record() -> Record {
    Record {
        live: vec![
            Entry { dot: dot(1, 2), write_id: None, expires: None, stamp: Stamp(0x0102), value: Bytes::from("ab") },
            Entry {
                dot: dot(300, 200),
                write_id: Some(WriteId(0xf0e)),
                expires: None,
                stamp: Stamp(1 << 56),
                value: Bytes::default(),
            },
        ],
        residual: dots([dot(2, 1), dot(2, 2), dot(2, 4), dot(2, 5), dot(2, 9)]),
    }
}

fn update() -> Update {
    Update {
        events: dots([dot(1, 3)]),
        ..Update::put(Entry { dot: dot(1, 3), ..record().live[0].clone() }, &dots([dot(1, 1)]))
    }
}

fn bytes_of(update: &Update) -> Vec<u8> {
    let mut out = Vec::new();
    update.encode_into(PLACE, &mut out);
    out
}

/// The content with a checksum that fits, as a forger or a broken program would write it.
fn sealed(content: &[u8]) -> Bytes {
    Bytes::from([content, &crc32fast::hash(&[PLACE, content].concat()).to_le_bytes()].concat())
}

fn record_of(content: &[u8]) -> Result<Record, FormatError> {
    Record::decode(PLACE, &sealed(content))
}

fn content(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len() - 4].to_vec()
}

/// With and without a write id; a residual with a base, a gap of one and a gap of more.
#[test]
fn the_bytes_of_a_record_are_these() {
    let expected: &[u8] = &[
        1, 2, // version 1, two entries
        0, 1, 17, 0, 0, 0, 0, 0, 0, 0, 2, // no write id; node 1, its start, counter 2
        2, 1, 0, 0, 0, 0, 0, 0, 2, b'a', b'b', // stamp, length, value
        1, 0xac, 2, 0xec, 0x13, 0, 0, 0, 0, 0, 0, 0xc8, 1, // a write id; node 300, its start, counter 200
        0x0e, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // the write id
        0, 0, 0, 0, 0, 0, 0, 1, 0, // stamp, no value
        0, 1, 2, 34, 0, 0, 0, 0, 0, 0, 0, 2, 2, 0, 1, 2, 0, // residual: 1-2, a gap of 1, 4-5, a gap of 3, 9
    ];
    let bytes = record().encode(PLACE);
    assert_eq!(content(&bytes), expected);
    assert_eq!(bytes[expected.len()..], RECORD_SUM.to_le_bytes());
    assert_eq!(Record::decode(PLACE, &Bytes::from(bytes)), Ok(record()));
    assert_eq!(content(&Record::default().encode(PLACE)), [1, 0, 0, 0], "absence, if anybody stores it");
}
const RECORD_SUM: u32 = 0x2ae09f20;

#[test]
fn the_bytes_of_an_update_are_these() {
    let expected: &[u8] = &[
        2, 1, // version 2, one entry
        0, 1, 17, 0, 0, 0, 0, 0, 0, 0, 3, 2, 1, 0, 0, 0, 0, 0, 0, 2, b'a', b'b', // the entry
        0, 1, 1, 17, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, // covered: 1 and, after a gap of one, 3
        0, 1, 1, 17, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, // events: 3 alone
    ];
    let bytes = bytes_of(&update());
    assert_eq!(content(&bytes), expected);
    assert_eq!(bytes[expected.len()..], UPDATE_SUM.to_le_bytes());
    assert_eq!(Update::decode(PLACE, &Bytes::from(bytes)), Ok(update()));
}
const UPDATE_SUM: u32 = 0x390b8653;

/// The expiry stands behind the write id, wherever there is one.
#[test]
fn the_bytes_of_what_expires_are_these() {
    let expiring = |write_id| Record {
        live: vec![Entry { write_id, expires: Some(WallTime(0x0708)), ..record().live[0].clone() }],
        residual: DotSet::new(),
    };
    let dot = [1, 17, 0, 0, 0, 0, 0, 0, 0, 2];
    let rest = [8, 7, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 2, b'a', b'b', 0, 0];
    let id = [0x0e, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (record, expected) in [
        (expiring(None), [&[1, 1, 2][..], &dot, &rest].concat()),
        (expiring(Some(WriteId(0xf0e))), [&[1, 1, 3][..], &dot, &id, &rest].concat()),
    ] {
        let bytes = record.encode(PLACE);
        assert_eq!(content(&bytes), expected);
        assert_eq!(Record::decode(PLACE, &Bytes::from(bytes)), Ok(record));
    }
}

/// The checksum is over the record alone, wherever it is appended.
#[test]
fn a_record_or_an_update_has_the_same_bytes_behind_others() {
    let mut out = b"key".to_vec();
    record().encode_into(PLACE, &mut out);
    let end = out.len();
    update().encode_into(PLACE, &mut out);
    assert_eq!(out[3..end], record().encode(PLACE));
    assert_eq!(out[end..], bytes_of(&update()));
}

/// Nothing damaged is ever read, and nothing damaged panics.
#[test]
fn every_flipped_bit_every_cut_and_every_added_byte_is_refused() {
    let refused = |bytes: &[u8]| {
        let bytes = Bytes::from(bytes);
        Record::decode(PLACE, &bytes).is_err() && Update::decode(PLACE, &bytes).is_err()
    };
    for bytes in [record().encode(PLACE), bytes_of(&update())] {
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut garbled = bytes.clone();
                garbled[at] ^= 1 << bit;
                assert!(refused(&garbled), "byte {at}, bit {bit}");
            }
            assert!(refused(&bytes[..at]), "cut to {at} bytes");
        }
        for added in 0..=255 {
            assert!(refused(&[&bytes[..], &[added]].concat()), "added {added}");
        }
    }
    assert_eq!(Record::decode(PLACE, &Bytes::from(&[1, 2, 3][..])), Err(FormatError::Truncated));
    let mut garbled = record().encode(PLACE);
    garbled[3] ^= 1;
    assert_eq!(Record::decode(PLACE, &Bytes::from(garbled)), Err(FormatError::Checksum));
}

/// A checksum is no defence against a program that seals what it should not.
#[test]
fn every_cut_and_every_added_byte_is_refused_even_with_a_fitting_checksum() {
    let content = content(&record().encode(PLACE));
    for end in 0..content.len() {
        assert!(record_of(&content[..end]).is_err(), "cut to {end} bytes");
    }
    assert_eq!(record_of(&[&content[..], &[0]].concat()), Err(FormatError::Trailing));
    assert_eq!(
        Update::decode(PLACE, &sealed(&[&self::content(&bytes_of(&update()))[..], &[0]].concat())),
        Err(FormatError::Trailing)
    );
}

#[test]
fn other_versions_and_other_kinds_are_refused_by_name() {
    for version in (0..=255).filter(|&version| version != 1) {
        assert_eq!(record_of(&[version, 0, 0, 0]), Err(FormatError::Version(version)));
    }
    assert_eq!(Record::decode(PLACE, &Bytes::from(bytes_of(&update()))), Err(FormatError::Version(2)));
    assert_eq!(Update::decode(PLACE, &Bytes::from(record().encode(PLACE))), Err(FormatError::Version(1)));
}

/// What they announce is not known, so nobody can read past it.
#[test]
fn flags_that_are_not_known_are_refused() {
    let content = content(&record().encode(PLACE));
    for flags in 4..=255 {
        let mut flagged = content.clone();
        flagged[2] = flags;
        assert!(matches!(record_of(&flagged), Err(FormatError::Content(_))), "flags {flags}");
    }
}

#[test]
fn entries_out_of_order_or_twice_and_counters_out_of_range_are_refused() {
    let encoded = |live: Vec<Entry>| content(&Record { live, residual: DotSet::new() }.encode(PLACE));
    let [first, second] = [record().live[0].clone(), record().live[1].clone()];
    assert!(record_of(&encoded(vec![first.clone(), second.clone()])).is_ok());
    assert!(matches!(record_of(&encoded(vec![second, first.clone()])), Err(FormatError::Content(_))));
    assert!(matches!(record_of(&encoded(vec![first.clone(), first.clone()])), Err(FormatError::Content(_))));
    for (counter, valid) in
        [(0, false), (1, true), (Dot::COUNTER_MAX, true), (Dot::COUNTER_MAX + 1, false), (u64::MAX, false)]
    {
        let dot = Dot { counter, ..first.dot };
        let content = encoded(vec![Entry { dot, ..first.clone() }]);
        assert_eq!(record_of(&content).is_ok(), valid, "counter {counter}");
    }
}

/// A count or a length that can't be true is refused before anything is allocated for it: these would take terabytes.
#[test]
fn hostile_counts_and_lengths_are_refused_before_anything_is_allocated() {
    for count in [3, 1 << 20, 1 << 40, 1 << 60, u64::MAX] {
        let with = |before: &[u8], after: &[u8]| {
            let mut content = before.to_vec();
            put_varint(&mut content, count);
            [&content[..], after].concat()
        };
        let refused = Err(FormatError::Truncated);
        assert_eq!(record_of(&with(&[1], &[0; 40])), refused, "{count} entries in 40 bytes");
        let entry = [1, 1, 0, 1, 17, 0, 0, 0, 0, 0, 0, 0, 2, 2, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(record_of(&with(&entry, b"ab")), refused, "a value of {count} bytes in 2");
        assert_eq!(record_of(&with(&[1, 0, 0], &[1; 30])), refused, "{count} actors in 30 bytes");
        let row = [1, 0, 0, 1, 2, 34, 0, 0, 0, 0, 0, 0, 0, 2];
        assert_eq!(record_of(&with(&row, &[0; 5])), refused, "{count} ranges in 5 bytes");
        assert_eq!(Update::decode(PLACE, &sealed(&with(&[2], &[0; 40]))).map(|_| ()), Err(FormatError::Truncated));
    }
}

#[test]
fn lists_of_entries_are_in_strict_order_and_have_the_bytes_of_their_values() {
    let entries = |counters: &[u64]| counters.iter().map(|&counter| entry(dot(1, counter), "abc")).collect::<Vec<_>>();
    assert!([&[][..], &[4], &[1, 2, 9]].iter().all(|counters| is_sorted(&entries(counters))));
    assert!([&[1, 1][..], &[2, 1], &[1, 3, 2]].iter().all(|counters| !is_sorted(&entries(counters))));
    assert_eq!([&[][..], &[1], &[1, 2]].map(|counters| value_bytes(&entries(counters))), [0, 3, 6]);
}

#[test]
fn entries_of_no_bytes_take_twenty() {
    let entries = |bytes: usize| record_of(&[&[1, 2][..], &vec![0; bytes]].concat());
    assert_eq!(entries(39), Err(FormatError::Truncated), "no room for two");
    assert_eq!(entries(40), Err(FormatError::Content("a counter out of range")), "there is, whatever they are");
}

fn any_dot() -> impl Strategy<Value = Dot> {
    let counter = prop_oneof![1..20_u64, 1..=Dot::COUNTER_MAX];
    (0..4_u64, any::<u64>(), counter).prop_map(|(node, start, counter)| Dot {
        actor: Actor { node: NodeId(if node == 3 { u64::MAX } else { node }), start: Start(start % 3) },
        counter,
    })
}

fn any_dots() -> impl Strategy<Value = DotSet> {
    prop::collection::vec(any_dot(), 0..20).prop_map(|dots| dots.into_iter().collect())
}

fn any_entries() -> impl Strategy<Value = Vec<Entry>> {
    let rest = (any::<Option<u128>>(), any::<Option<u64>>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..200));
    prop::collection::btree_map(any_dot(), rest, 0..6).prop_map(|entries| {
        let entry = |(dot, (write_id, expires, stamp, value)): (_, (Option<u128>, Option<u64>, _, Vec<u8>))| Entry {
            dot,
            write_id: write_id.map(WriteId),
            expires: expires.map(WallTime),
            stamp: Stamp(stamp),
            value: Bytes::from(value),
        };
        entries.into_iter().map(entry).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn records_come_back_as_they_were(live in any_entries(), residual in any_dots()) {
        let record = Record { live, residual };
        prop_assert_eq!(Record::decode(PLACE, &Bytes::from(record.encode(PLACE))), Ok(record));
    }

    /// What an owner reads beside a message is the record without what the message supersedes.
    #[test]
    fn survivors_are_what_a_message_leaves(
        live in any_entries(), residual in any_dots(), other in any_entries(), kept in any::<u8>(), covered in any_dots(),
    ) {
        // The message has some of the entries, and speaks for some of the dots.
        let kept = |at: usize| kept & 1 << at != 0;
        let shared = live.iter().enumerate().filter(|(at, _)| kept(*at)).map(|(_, entry)| entry.clone());
        let message: Vec<Entry> = other.into_iter().chain(shared).collect();
        let superseded = live.iter().enumerate().filter(|(at, _)| kept(at + 3)).map(|(_, entry)| entry.dot).collect();
        let cover = Cover { own: &covered, shared: &superseded };
        let bytes = Bytes::from(Record { live: live.clone(), residual: residual.clone() }.encode(PLACE));
        let mut read = Record { live: message.clone(), residual: covered.clone() };
        let mut all = Vec::new();
        let dropped = read.decode_survivors(PLACE, &bytes, &message, cover, &mut all);
        prop_assert!(all.iter().copied().eq(live.iter().map(|entry| (entry.dot, entry.expires))));
        let survivors: Vec<_> = live.iter().filter(|entry| survives(entry.dot, &message, cover)).cloned().collect();
        prop_assert_eq!(dropped, Ok(live.len() - survivors.len()));
        prop_assert_eq!(read, Record { live: survivors, residual });
    }

    #[test]
    fn updates_come_back_as_they_were(live in any_entries(), covered in any_dots(), events in any_dots()) {
        let update = Update { live, covered, events };
        prop_assert_eq!(Update::decode(PLACE, &Bytes::from(bytes_of(&update))), Ok(update));
    }

    /// Whatever is sealed, reading it ends in an error or in something whose bytes are these: one value, one spelling.
    #[test]
    fn reading_is_total_and_canonical(
        live in any_entries(), residual in any_dots(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut content = content(&Record { live, residual }.encode(PLACE));
        let at = at.index(content.len());
        content[at] = byte;
        if let Ok(record) = record_of(&content) {
            prop_assert_eq!(record.encode(PLACE), sealed(&content).to_vec());
        }
    }
}
