//! What the fuzz targets check, over the committed corpus and mutations of it: no fuzzer, no nightly, a few seconds.

#[path = "fuzz/src/lib.rs"]
#[expect(dead_code, unused_imports, reason = "what is for `allocation.rs` alone")]
mod checks;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use checks::{KEY, Mutator, STORED, TARGETS, codec, forge};
use quorate::{Keyspace, NodeId};

/// Mutations of each target's corpus. The node target runs a cluster for each.
const MUTATIONS: usize = 50_000;
const MUTATIONS_OF_SCRIPTS: usize = 3_000;

fn directory(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target)
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(directory(target)).unwrap_or_else(|error| panic!("no corpus of {target}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a file")).collect()
}

fn run(target: &str, mutations: usize) {
    let (_, check) = TARGETS.into_iter().find(|(name, _)| *name == target).expect("a target");
    let seeds = corpus(target);
    assert!(seeds.len() >= 3, "{} entries of {target}", seeds.len());
    let mut mutator = Mutator::new(seeds.len() as u64);
    let mutated = (0..mutations).map(|_| mutator.mutate(&seeds)).collect::<Vec<_>>();
    for bytes in seeds.iter().chain(&mutated) {
        assert!(std::panic::catch_unwind(|| check(bytes)).is_ok(), "{target} fails for {}", Hex(bytes));
    }
}

struct Hex<'a>(&'a [u8]);
impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[test]
fn frames() {
    run("frame", MUTATIONS);
}

#[test]
fn messages() {
    run("message", MUTATIONS);
}

#[test]
fn contexts() {
    run("context_token", MUTATIONS);
}

#[test]
fn records() {
    run("record", MUTATIONS);
}

#[test]
fn layouts() {
    run("layout", MUTATIONS);
}

#[test]
fn nodes() {
    run("node", MUTATIONS_OF_SCRIPTS);
}

/// Mutations that are all refused at the first byte would show nothing.
#[test]
fn mutations_get_behind_the_checks() {
    let seeds = corpus("message");
    let mut mutator = Mutator::new(1);
    let taken = (0..1_000).filter(|_| codec().decode(&forge::frame(1, &mutator.mutate(&seeds))).is_ok()).count();
    assert!((100..900).contains(&taken), "{taken} of 1,000 are taken");
}

#[test]
fn the_corpus_has_every_kind_of_message_and_of_stored_bytes() {
    let shown = |bytes: &Vec<u8>| {
        let (_, messages) = codec().decode(&forge::frame(1, bytes)).ok()?;
        Some(kind(&format!("{:?}", messages[0])))
    };
    let kinds: BTreeSet<String> = corpus("message").iter().filter_map(shown).collect();
    assert_eq!(kinds.len(), 25, "{kinds:?}");
    let stored: BTreeSet<usize> = corpus("record").iter().map(|bytes| usize::from(bytes[0]) % STORED.len()).collect();
    assert_eq!(stored.len(), STORED.len());
}

fn kind(shown: &str) -> String {
    shown.split('(').next().unwrap_or_default().to_owned()
}

/// What honest nodes say and store today, which the corpus was once made of. With `QUORATE_WRITE_CORPUS` set it is
/// made of it again.
#[test]
fn what_honest_nodes_say_and_store_holds() {
    let write = std::env::var_os("QUORATE_WRITE_CORPUS").is_some();
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let (_, check) = TARGETS.into_iter().find(|(name, _)| *name == target).expect("a target");
        check(bytes);
        if write {
            fs::create_dir_all(directory(target)).expect("a directory");
            fs::write(directory(target).join(name), bytes).expect("a file");
        }
    };
    let said = checks::conversation();
    let mut of_kind: BTreeMap<String, Vec<(NodeId, Vec<u8>)>> = BTreeMap::new();
    for (from, message) in &said {
        let shown = format!("{message:?}");
        let frame = codec().encode(*from, std::slice::from_ref(message)).remove(0);
        let bytes = forge::message_in(&frame).to_vec();
        let alike = of_kind.entry(kind(&shown)).or_default();
        // Another of the same length says hardly anything new.
        if alike.iter().all(|(_, other)| other.len() != bytes.len()) {
            alike.push((*from, bytes));
        }
    }
    let mut all = Vec::new();
    for (kind, list) in of_kind {
        for (number, (from, bytes)) in list.into_iter().enumerate().take(8) {
            put("message", &format!("{kind}-{number}"), &bytes);
            all.push((from, bytes));
        }
    }
    for (number, part) in all.chunks(6).enumerate() {
        put("node", &format!("said-{number}"), &checks::script(part));
    }
    for (number, part) in said.chunks(said.len().div_ceil(4)).enumerate() {
        let messages: Vec<_> = part.iter().take(8).map(|(_, message)| message.clone()).collect();
        put("frame", &format!("said-{number}"), &codec().encode(part[0].0, &messages)[0]);
    }
    for (name, bytes) in checks::stored() {
        put("record", &name, &bytes);
    }
    let keyspace = Keyspace::new("default").id();
    let dots: [&[u8]; 4] = [
        &[0, 0, 0, 0],
        &[0, 1, 1, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 1, 7, 0, 0, 0, 0, 0, 0, 0, 4, 0],
        &[
            0, 1, 1, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7, 0, 0, 2, 1, 7, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 5, 3, 9, 0, 0, 0, 0,
            0, 0, 0, 1, 0,
        ],
        &[0, 1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 0, 2, 0, 0, 0, 0, 0, 0],
    ];
    for (number, body) in dots.iter().enumerate() {
        put("context_token", &format!("body-{number}"), &[&[number as u8], *body].concat());
        put("context_token", &format!("sealed-{number}"), &forge::context(2, keyspace, KEY, body));
    }
    for (name, layout) in checks::layouts() {
        let bytes = layout.encode();
        put("layout", &name, &bytes);
        put("layout", &format!("{name}-unnamed"), &bytes[..bytes.len() - 8]);
    }
}
