//! What the source tree promises about itself: its floors, its size, its names. Reads the tree as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which floor each module stands on. A module uses only floors below its own, and its own without going in circles;
/// the machines don't know one another. A new module must be placed here.
const FLOORS: [&[&str]; 6] = [
    &["bytes", "config", "dots", "error", "hash", "histogram", "ids", "key", "mutant", "time", "wire"],
    &[
        "admission",
        "ballot",
        "causality",
        "detector",
        "latencies",
        "members",
        "merkle",
        "names",
        "ring",
        "sla",
        "status",
        "trace",
        "verdict",
    ],
    &["codec", "message", "reconcile", "request", "router", "storage", "transport"],
    &["change", "coordinate", "exchange", "gossip", "hint", "naming", "replica"],
    &["node"],
    &["durable", "runtime", "sim", "testing", "transports", "views"],
];
/// The floor of the machines.
const MACHINES: usize = 3;
/// The most lines of code in one file, without blank lines, comments and tests.
const LINES: usize = 500;
/// The most names at the crate's root.
const NAMES: usize = 35;

// ---- reading the tree

struct Source {
    /// From the crate's root.
    path: String,
    /// Without comments and without what strings say; same lines as in the file.
    code: String,
}

impl Source {
    /// The module at the crate's root that the file belongs to; none for the root itself.
    fn module(&self) -> Option<&str> {
        let path = self.path.strip_prefix("src/")?;
        let first = path.split('/').next()?;
        (path != "lib.rs").then(|| first.strip_suffix(".rs").unwrap_or(first))
    }

    /// How many modules lie between the crate's root and the file: 1 for `src/x.rs` and `src/x/mod.rs`.
    fn depth(&self) -> usize {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        path.split('/').count()
    }

    /// Whether all of it is compiled for tests alone.
    fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }

    fn line_of(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(directory: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&root().join(directory), &mut paths);
    paths.sort();
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let path = path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
        Source { path, code: without_comments(&text) }
    };
    paths.into_iter().map(source).collect()
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.expect("a directory that can be read").path();
        // The fuzz package builds into a directory of its own.
        if path.is_dir() {
            if !path.ends_with("target") {
                collect(&path, paths);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// The library's own code: no files of tests, and without the tests that stand in the others.
fn library() -> Vec<Source> {
    let mut sources = rust_files("src");
    sources.retain(|source| !source.is_test());
    for source in &mut sources {
        source.code = without_tests(&source.code);
    }
    assert!(sources.len() > 20, "the tree was not found");
    sources
}

// ---- a little lexer

/// Blanks out comments, and writes `s` for each character of a string.
fn without_comments(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let starts = |at: usize, what: &str| what.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    let blank = |c: char, by: char| if c == '\n' { '\n' } else { by };
    while at < chars.len() {
        if starts(at, "//") {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
        } else if starts(at, "/*") {
            let mut depth = 0;
            loop {
                if starts(at, "/*") {
                    depth += 1;
                    at += 2;
                } else if starts(at, "*/") {
                    depth -= 1;
                    at += 2;
                } else {
                    out.push(blank(chars[at], ' '));
                    at += 1;
                }
                if depth == 0 || at >= chars.len() {
                    break;
                }
            }
        } else if let Some(end) = string_end(&chars, at) {
            out.push('"');
            out.extend(chars[at + 1..end - 1].iter().map(|&c| blank(c, 's')));
            out.push('"');
            at = end;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// Where a string or character that starts here ends.
fn string_end(chars: &[char], at: usize) -> Option<usize> {
    let after_word = at > 0 && is_word(chars[at - 1]);
    match chars[at] {
        '"' => quoted_end(chars, at + 1, '"'),
        // A lifetime has no closing quote where a character has one.
        '\'' if chars.get(at + 1) == Some(&'\\') => quoted_end(chars, at + 1, '\''),
        '\'' if chars.get(at + 2) == Some(&'\'') => Some(at + 3),
        'r' if !after_word || chars[at - 1] == 'b' => {
            let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
            if chars.get(at + 1 + hashes) != Some(&'"') {
                return None;
            }
            let mut end = at + 2 + hashes;
            while end < chars.len() {
                let closes = chars[end] == '"' && chars[end + 1..].iter().take(hashes).all(|&c| c == '#');
                end += 1;
                if closes {
                    return Some((end + hashes).min(chars.len()));
                }
            }
            Some(end)
        }
        _ => None,
    }
}

fn quoted_end(chars: &[char], mut at: usize, quote: char) -> Option<usize> {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            c if c == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

/// Blanks out each item that is compiled for tests alone.
fn without_tests(code: &str) -> String {
    let mut code = code.to_string();
    while let Some(start) = code.find(TEST) {
        let end = item_end(&code, start + TEST.len());
        let blanks: String = code[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        code.replace_range(start..end, &blanks);
    }
    code
}

const TEST: &str = "#[cfg(test)]";

/// Where the item, field or variant that starts here ends: with its body, its `;`, its `,`, or the list it stands in.
fn item_end(code: &str, start: usize) -> usize {
    let (mut braces, mut brackets, mut before) = (0_usize, 0_usize, ' ');
    for (at, c) in code[start..].char_indices() {
        match c {
            '{' => braces += 1,
            '}' if braces == 0 => return start + at,
            '}' => braces -= 1,
            '(' | '[' | '<' if braces == 0 => brackets += 1,
            ')' | ']' if braces == 0 => brackets = brackets.saturating_sub(1),
            '>' if braces == 0 && !"-=".contains(before) => brackets = brackets.saturating_sub(1),
            _ => {}
        }
        if "};,".contains(c) && braces == 0 && brackets == 0 {
            return start + at + 1;
        }
        before = c;
    }
    code.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where a word or path stands by itself.
fn places_of(code: &str, what: &str) -> Vec<usize> {
    let free = |at: &usize| {
        let before = code[..*at].chars().next_back();
        let after = code[at + what.len()..].chars().next();
        let ends_in_word = what.chars().next_back().is_some_and(is_word);
        !(before.is_some_and(is_word) || ends_in_word && after.is_some_and(is_word))
    };
    code.match_indices(what).map(|(at, _)| at).filter(free).collect()
}

/// The first name of each path in what follows a `::`: one, or all of a group.
fn names_after(code: &str) -> Vec<&str> {
    let first = |path: &'_ str| -> usize { path.find(|c| !is_word(c)).unwrap_or(path.len()) };
    let Some(group) = code.strip_prefix('{') else { return vec![&code[..first(code)]] };
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let path = group[start..at].trim();
                if !path.is_empty() {
                    names.push(&path[..first(path)]);
                }
                if c == '}' {
                    return names;
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    names
}

// ---- floors

/// A use of one module by another, and the first line where it stands.
struct Edge {
    from: String,
    to: String,
    place: String,
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

fn edges(sources: &[Source]) -> Vec<Edge> {
    let mut edges = Vec::new();
    for source in sources {
        let Some(from) = source.module() else { continue };
        let supers = "super::".repeat(source.depth());
        for prefix in ["crate::", &supers] {
            for at in places_of(&source.code, prefix) {
                // `super::super::` holds `super::` twice: the path begins at the first.
                if source.code[..at].ends_with("::") {
                    continue;
                }
                for to in names_after(&source.code[at + prefix.len()..]) {
                    if to != from && to != "super" && !to.is_empty() {
                        let place = format!("{}:{}", source.path, source.line_of(at));
                        edges.push(Edge { from: from.to_string(), to: to.to_string(), place });
                    }
                }
            }
        }
    }
    edges
}

/// What is wrong with these uses.
fn wrong_edges(edges: &[Edge]) -> Vec<String> {
    let wrong = |edge: &Edge| {
        let Edge { from, to, place } = edge;
        let above = floor_of(from)?;
        let Some(below) = floor_of(to) else {
            return Some(format!(
                "{place}: {from} uses crate::{to}: name the module it comes from, or give it a floor"
            ));
        };
        if below > above {
            return Some(format!("{place}: {from} (floor {above}) uses {to} (floor {below})"));
        }
        (below == MACHINES && above == MACHINES).then(|| format!("{place}: the machines {from} and {to} must not meet"))
    };
    edges.iter().filter_map(wrong).collect()
}

/// A way round in a circle, if there is one.
fn cycle(edges: &[Edge]) -> Option<Vec<String>> {
    let mut uses: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for edge in edges {
        uses.entry(&edge.from).or_default().insert(&edge.to);
    }
    let mut done = BTreeSet::new();
    for &start in uses.keys() {
        if let Some(found) = walk(start, &uses, &mut Vec::new(), &mut done) {
            return Some(found);
        }
    }
    None
}

fn walk<'a>(
    at: &'a str,
    uses: &BTreeMap<&'a str, BTreeSet<&'a str>>,
    path: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Option<Vec<String>> {
    if let Some(start) = path.iter().position(|module| *module == at) {
        return Some(path[start..].iter().chain([&at]).map(ToString::to_string).collect());
    }
    if !done.contains(at) {
        path.push(at);
        for &next in uses.get(at).into_iter().flatten() {
            if let Some(found) = walk(next, uses, path, done) {
                return Some(found);
            }
        }
        path.pop();
        done.insert(at);
    }
    None
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_module_has_a_floor_and_none_has_two() {
    let sources = rust_files("src");
    let modules: BTreeSet<&str> = sources.iter().filter_map(Source::module).collect();
    let homeless: Vec<_> = modules.iter().filter(|module| floor_of(module).is_none()).collect();
    assert!(homeless.is_empty(), "give these a floor: {homeless:?}");
    let all: Vec<_> = FLOORS.concat();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "a module stands on two floors");
}

#[test]
fn no_module_uses_a_floor_above_its_own_and_the_machines_do_not_meet() {
    let edges = edges(&library());
    assert!(edges.len() > 100, "the uses were not found: {}", edges.len());
    assert_none(&wrong_edges(&edges));
}

#[test]
fn modules_do_not_use_one_another_in_circles() {
    assert_eq!(cycle(&edges(&library())), None);
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let too_long = library().into_iter().filter_map(|source| {
        let lines = source.code.lines().filter(|line| !line.trim().is_empty()).count();
        (lines > LINES).then(|| format!("{}: {lines} lines of code, the limit is {LINES}", source.path))
    });
    assert_none(&too_long.collect::<Vec<_>>());
}

#[test]
fn the_root_names_few_things_and_names_them_one_by_one() {
    let sources = rust_files("src");
    let root = sources.iter().find(|source| source.path == "src/lib.rs").expect("a root");
    let mut names = 0;
    for at in places_of(&root.code, "pub use") {
        let item = &root.code[at..at + root.code[at..].find(';').expect("an item ends")];
        assert!(!item.contains('*'), "{item}: a glob hides what is named");
        names += item.matches(',').count() + 1 - usize::from(item.replace(['\n', ' '], "").contains(",}"));
    }
    assert!((10..=NAMES).contains(&names), "{names} names at the root, the limit is {NAMES}");
}

#[test]
fn nothing_is_left_undone_unsafe_or_asleep() {
    let mut wrong = Vec::new();
    for source in ["src", "tests", "examples"].into_iter().flat_map(rust_files) {
        for word in ["todo!", "dbg!", "unimplemented!", "unsafe", "thread::sleep"] {
            // What befalls real processes, and how fast they are asked, goes by the clock.
            let may_sleep = word == "thread::sleep" && source.path.starts_with("examples/cluster/");
            for at in places_of(&source.code, word).into_iter().filter(|_| !may_sleep) {
                wrong.push(format!("{}:{}: {word}", source.path, source.line_of(at)));
            }
        }
    }
    assert_none(&wrong);
}

/// Modules that may ask the system for something. The others are told. A suite for transports waits for real ones;
/// durable storages are files.
const IMPURE: &[&str] = &["durable", "runtime", "testing", "transports"];

/// Where the rest reaches for files, sockets, the environment, threads or the system's randomness.
fn impurities(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources.iter().filter(|source| !source.module().is_some_and(|module| IMPURE.contains(&module))) {
        let named = places_of(&source.code, "std::").into_iter().flat_map(|at| {
            let names = names_after(&source.code[at + "std::".len()..]);
            names
                .into_iter()
                .filter(|name| ["fs", "net", "env", "thread", "process", "io"].contains(name))
                .map(move |name| (at, name))
        });
        let random = places_of(&source.code, "SysRng").into_iter().map(|at| (at, "SysRng"));
        wrong.extend(named.chain(random).map(|(at, name)| format!("{}:{}: {name}", source.path, source.line_of(at))));
    }
    wrong
}

#[test]
fn the_core_asks_the_system_for_nothing() {
    assert_none(&impurities(&library()));
}

// ---- what stands beside the code

fn text_of(file: &str) -> Option<String> {
    fs::read_to_string(root().join(file)).ok()
}

fn manifest() -> String {
    text_of("Cargo.toml").expect("a manifest")
}

fn example_exists(name: &str) -> bool {
    [format!("examples/{name}.rs"), format!("examples/{name}/main.rs")].iter().any(|path| root().join(path).is_file())
}

/// The values of `key = "…"` in the tables of this name.
fn values_in<'a>(manifest: &'a str, table: &str, key: &str) -> Vec<&'a str> {
    let (mut inside, mut values) = (false, Vec::new());
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == table;
        } else if inside
            && let Some((name, value)) = line.split_once('=')
            && name.trim() == key
        {
            values.push(value.trim().trim_matches('"'));
        }
    }
    values
}

#[test]
fn every_example_that_is_spoken_of_exists() {
    let manifest = manifest();
    let mut wrong = Vec::new();
    for name in values_in(&manifest, "[[example]]", "name") {
        if !example_exists(name) {
            wrong.push(format!("Cargo.toml: no example {name}"));
        }
    }
    for page in ["README.md", "docs/ARCHITECTURE.md", "docs/GUIDE.md"] {
        // Pages that are not written yet promise nothing.
        let Some(text) = text_of(page) else { continue };
        for (_, rest) in text.match_indices("--example ").map(|(at, mark)| text.split_at(at + mark.len())) {
            let name = &rest[..rest.find(|c: char| !is_word(c) && c != '-').unwrap_or(rest.len())];
            if !example_exists(name) {
                wrong.push(format!("{page}: no example {name}"));
            }
        }
        for (at, _) in text.match_indices("examples/") {
            let path = &text[at..];
            let end = path.find(|c: char| !is_word(c) && !"-/.".contains(c)).unwrap_or(path.len());
            let path = path[..end].trim_end_matches('.');
            if !root().join(path).exists() {
                wrong.push(format!("{page}: no {path}"));
            }
        }
    }
    assert_none(&wrong);
}

/// Before the first stable version the page may be missing; where it is there it speaks of the present version, or of
/// what is not released yet.
#[test]
fn the_changelog_knows_the_present_version() {
    let manifest = manifest();
    let version = values_in(&manifest, "[package]", "version")[0];
    match text_of("CHANGELOG.md") {
        Some(text) => {
            let known = text.contains(&format!("## {version}")) || text.contains(&format!("## [{version}]"));
            assert!(known || text.contains("## Unreleased"), "CHANGELOG.md has nothing on {version}");
        }
        None => assert!(version.starts_with("0."), "version {version} has no CHANGELOG.md"),
    }
}

// ---- the checks themselves can fail

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_string(), code: without_tests(&without_comments(text)) }
}

#[test]
fn an_upward_use_is_found_wherever_it_stands() {
    for (path, text) in [
        ("src/ring/plan.rs", "use crate::node::Node;"),
        ("src/ring/plan.rs", "use crate::{\n    ids::{A, B},\n    node::Node,\n};"),
        ("src/ring/plan.rs", "fn f() -> crate::node::Node {}"),
        ("src/ring/plan.rs", "use super::super::node::Node;"),
        ("src/ring/mod.rs", "use super::node::Node;"),
        ("src/verdict.rs", "use super::{ids::A, node::Node};"),
        ("src/replica.rs", "use crate::hint::HintStore;"),
        ("src/verdict.rs", "use crate::Node;"),
        ("src/verdict.rs", "#[cfg(test)]\nmod tests { fn f() { '{'; } }\nuse crate::node::Node;"),
        ("src/verdict.rs", "struct S {\n    #[cfg(test)]\n    a: u8,\n    b: crate::node::Node,\n}"),
        ("src/verdict.rs", "enum E { #[cfg(test)] A }\nuse crate::node::Node;"),
    ] {
        assert_eq!(wrong_edges(&edges(&[source(path, text)])).len(), 1, "{path}: {text}");
    }
}

#[test]
fn what_is_no_use_is_not_taken_for_one() {
    for text in [
        "use crate::ids::NodeId;",
        "/// See [`crate::node::Node`].\nfn f() {}",
        "/* crate::node /* crate::node */ crate::node */",
        "const A: &str = \"crate::node\"; const B: &str = r#\"\"crate::node\"#; const C: char = '\"';",
        "#[cfg(test)]\nmod tests {\n    use crate::node::Node;\n    fn f() { if true {} }\n}",
        "#[cfg(test)]\nuse crate::node::Node;",
        "#[cfg(test)]\nfn f<A, B>(a: A, b: [B; 1]) -> crate::node::Node { a; b }",
        "fn f<'a>(x: &'a str) -> &'a str { x }",
    ] {
        assert_none(&wrong_edges(&edges(&[source("src/verdict.rs", text)])));
    }
}

#[test]
fn what_asks_the_system_is_found_outside_the_runtime_alone() {
    for text in [
        "use std::fs;",
        "use std::{fmt, net::TcpStream};",
        "fn f() { std::env::var(\"X\"); }",
        "use std::thread::{self, JoinHandle};",
        "use rand::rngs::SysRng;",
    ] {
        assert_eq!(impurities(&[source("src/node/put.rs", text)]).len(), 1, "{text}");
        assert_none(&impurities(&[source("src/runtime/server.rs", text)]));
    }
    assert_none(&impurities(&[source("src/node/put.rs", "use std::{fmt, sync::Arc}; // std::fs\nuse crate::env;")]));
}

#[test]
fn a_circle_is_found() {
    let circle = [
        source("src/dots.rs", "use crate::wire::W;"),
        source("src/wire.rs", "use crate::error::E;"),
        source("src/error.rs", "use crate::ids::I; use crate::dots::D;"),
    ];
    assert_eq!(cycle(&edges(&circle)), Some(["dots", "wire", "error", "dots"].map(String::from).to_vec()));
    assert_eq!(cycle(&edges(&circle[..2])), None);
}
