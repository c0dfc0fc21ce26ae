//! How much memory foreign bytes can make a node take: at once (the most that lives at one time), and in sum.
//!
//! What a list claims reserves nothing, what has come does. So lists that are not there, small messages and large values
//! take no more than twice themselves and four kilobytes. A crowd of small things takes more once it has been read: an
//! entry of six bytes is a hundred in memory. For these the ratio is fixed here.

#[path = "fuzz/src/lib.rs"]
#[expect(dead_code, unused_imports, reason = "the checks themselves run in `corpus.rs`")]
mod checks;

use std::fs;
use std::path::Path;

use allocation_counter::measure;
use checks::{KEY, Mutator, codec, forge};
use quorate::causality::Record;
use quorate::{Bytes, Keyspace, Layout, Message, NodeId};

/// What a refusal may say, and the first elements of a list or two.
const CONSTANT: u64 = 4 << 10;
/// Of anything but crowds and layouts.
const RATIO: f64 = 2.0;
/// Of layouts: what follows from the owners takes more than they do.
const LAYOUTS: f64 = 120.0;
/// The kind of message that holds one.
const LAYOUT_GIVEN: u8 = 22;

/// How many times the input is allocated beyond the constant: at once, and in sum.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    peak: f64,
    total: f64,
}

impl Cost {
    fn of<T>(input: &[u8], decode: impl FnOnce(&[u8]) -> T) -> Self {
        let info = measure(|| drop(decode(input)));
        let times = |bytes: u64| bytes.saturating_sub(CONSTANT) as f64 / input.len().max(1) as f64;
        Self { peak: times(info.bytes_max), total: times(info.bytes_total) }
    }

    fn max(self, other: Self) -> Self {
        Self { peak: self.peak.max(other.peak), total: self.total.max(other.total) }
    }

    #[track_caller]
    fn at_most(self, ratio: f64, what: &str) {
        println!("{what}: {:.1} at once, {:.1} in sum", self.peak, self.total);
        assert!(self.peak <= ratio && self.total <= ratio, "{what}: {self:?}, more than {ratio}");
    }
}

fn frame(bytes: &[u8]) -> Cost {
    let codec = codec();
    Cost::of(bytes, |bytes| codec.decode(bytes))
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut paths: Vec<_> =
        fs::read_dir(directory).expect("a corpus").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a file")).collect()
}

/// Sixteen bytes, of which four claimed a list of four billion, used to take a megabyte.
#[test]
fn what_a_list_claims_reserves_nothing() {
    const CLAIMS: [&[u8]; 3] =
        [&[0xfc, 0xff, 0xff, 0xff, 0xff], &[0xfd, 0, 0, 0, 0, 0, 1, 0, 0], &[0xff, 0xff, 0xff, 0xff, 0x0f]];
    let mut worst = Cost::default();
    for message in corpus("message") {
        for at in 0..message.len() {
            for claim in CLAIMS {
                let lying = [&message[..at], claim, &message[at + 1..]].concat();
                worst = worst.max(frame(&forge::frame(1, &lying)));
                worst = worst.max(frame(&forge::frame(1, &lying[..at + claim.len()])));
            }
        }
    }
    worst.at_most(RATIO, "lists that claim to be long");
}

#[test]
fn messages_as_nodes_exchange_them_take_twice_themselves() {
    let (mut worst, mut layouts) = (Cost::default(), Cost::default());
    for (from, message) in checks::conversation() {
        let of_kind = if matches!(message, Message::LayoutGiven(_)) { &mut layouts } else { &mut worst };
        *of_kind = of_kind.max(frame(&codec().encode(from, &[message])[0]));
    }
    let seeds = corpus("message");
    let mut mutator = Mutator::new(3);
    for _ in 0..20_000 {
        let message = mutator.mutate(&seeds);
        let of_kind = if message.first() == Some(&LAYOUT_GIVEN) { &mut layouts } else { &mut worst };
        *of_kind = of_kind.max(frame(&forge::frame(1, &message)));
    }
    worst.at_most(RATIO, "messages, and mutations of them");
    layouts.at_most(LAYOUTS, "layouts in messages");
}

#[test]
fn large_values_take_themselves_once() {
    let large = "v".repeat(1 << 20);
    let messages = checks::said_of(&large);
    assert!(messages.len() > 4);
    let mut worst = Cost::default();
    for (from, message) in messages {
        worst = worst.max(frame(&codec().encode(from, &[message])[0]));
    }
    worst.at_most(1.01, "messages with a megabyte");
}

/// The worst that can be said in the fewest bytes, alone and in frames that are full of it.
#[test]
fn crowds_of_small_things_take_no_more_than_is_fixed_here() {
    let (alone, full) = crowded(checks::crowds());
    alone.at_most(40.0, "a message with three hundred empty things");
    full.at_most(44.0, "a frame with thousands of empty messages");
    let (alone, full) = crowded(checks::usual_crowds());
    alone.at_most(12.0, "a message with three hundred usual things");
    full.at_most(16.0, "a frame with thousands of usual messages");
}

/// What no node says, but whoever is let in could: lists of things of a byte or two, as long as is worst for memory
/// that doubles.
#[test]
fn lists_of_nothing_take_no_more_than_is_fixed_here() {
    // Kind, request, what stands before the list, an element, what stands behind it.
    let keys: [&[u8]; 3] = [&[10, 1, 1, 0, 0], &[0], &[0]];
    let answers: [&[u8]; 3] = [&[6, 1, 1, 2, 2, 0], &[1, 0], &[]];
    let indices: [&[u8]; 3] = [&[8, 1, 1], &[0], &[0]];
    for (what, [before, element, behind], ratio) in
        [("empty keys", keys, 72.0), ("answers", answers, 48.0), ("indices", indices, 12.0)]
    {
        let mut worst = Cost::default();
        // One more than fits: what a kilobyte holds of 24, 32, 40 and 4 bytes, doubled.
        for length in [42, 32, 25, 256].into_iter().flat_map(|first| (4..12).map(move |times| (first << times) + 1)) {
            let claimed = [&[0xfc][..], &u32::to_le_bytes(length)].concat();
            let message = [before, &claimed, &element.repeat(length as usize), behind].concat();
            let bytes = forge::frame(1, &message);
            assert!(codec().decode(&bytes).is_ok(), "{what}");
            worst = worst.max(frame(&bytes));
        }
        worst.at_most(ratio, what);
    }
}

fn crowded(messages: Vec<(NodeId, Message)>) -> (Cost, Cost) {
    let (mut alone, mut full) = (Cost::default(), Cost::default());
    for (from, message) in messages {
        let one = codec().encode(from, std::slice::from_ref(&message)).remove(0);
        alone = alone.max(frame(&one));
        let many = vec![message; (1 << 16) / one.len()];
        if let Some(many) = codec().encode(from, &many).first() {
            full = full.max(frame(many));
        }
    }
    (alone, full)
}

#[test]
fn stored_bytes_and_contexts_take_what_is_fixed_here() {
    let (mut records, mut contexts) = (Cost::default(), Cost::default());
    let mut mutator = Mutator::new(4);
    let seeds = corpus("record");
    let decode = |bytes: &[u8]| {
        let stored = Bytes::from(bytes);
        Cost::of(bytes, |_| Record::decode(&[], &stored))
    };
    for _ in 0..5_000 {
        records = records.max(decode(&forge::checked(mutator.mutate(&seeds).get(1..).unwrap_or_default())));
    }
    records.at_most(RATIO, "small records, and mutations of them");
    // A thousand empty siblings, and a residual of a thousand single dots.
    let entries: Vec<u8> = (0..1_000_u64).flat_map(entry).collect();
    decode(&forge::checked(&[&[1, 0xe8, 7], &entries[..], &[0, 0]].concat())).at_most(5.4, "a record of entries");
    decode(&forge::checked(&[&[1, 0], &gaps()[..]].concat())).at_most(8.1, "a record of gaps");

    let node = checks::lone();
    let keyspace = Keyspace::new("default").id();
    let open = |token: &[u8]| Cost::of(token, |token| node.context(keyspace, KEY, token));
    let seeds = corpus("context_token");
    for _ in 0..5_000 {
        let mutated = mutator.mutate(&seeds);
        contexts = contexts.max(open(&mutated)).max(open(&forge::context(1, keyspace, KEY, &mutated)));
    }
    contexts.at_most(RATIO, "small contexts, and mutations of them");
    open(&forge::context(1, keyspace, KEY, &[&[0, 0], &gaps()[..]].concat())).at_most(8.1, "a context of gaps");
    let mut forged = forge::context(1, keyspace, KEY, &gaps());
    forged[5] ^= 1;
    open(&forged).at_most(0.0, "a context that is not sealed");
}

/// flags · node · start · counter · stamp · length of nothing.
fn entry(number: u64) -> Vec<u8> {
    [&[0, 1][..], &(number + 1).to_be_bytes(), &[1], &[0; 8], &[0]].concat()
}

/// One actor that wrote every second of two thousand dots.
fn gaps() -> Vec<u8> {
    [&[0, 1, 1, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0xe8, 7][..], &[0; 2_000]].concat()
}

/// A layout is worked out again when it is read, who stands in for whom included.
#[test]
fn layouts_take_what_is_fixed_here() {
    let mut worst = Cost::default();
    let mut mutator = Mutator::new(5);
    let seeds = corpus("layout");
    for _ in 0..5_000 {
        let bytes = forge::layout(&mutator.mutate(&seeds));
        if Layout::decode(&bytes).is_err() {
            worst = worst.max(Cost::of(&bytes, Layout::decode));
        }
    }
    worst.at_most(RATIO, "small layouts that are refused");
    let mut worst = Cost::default();
    for (_, layout) in checks::layouts() {
        worst = worst.max(Cost::of(&layout.encode(), Layout::decode));
    }
    worst.at_most(LAYOUTS, "layouts");
}
