//! Reconcilers.

use std::sync::atomic::{AtomicUsize, Ordering};

use quorate::Bytes;
use quorate::reconcile::{KeepSiblings, LastWriteWins, MergeBy, Reconciled, Reconciler, Sibling};
use quorate::testing::reconciler_laws;

use super::assert_rejected;

/// A reconciler that is a function.
struct By<F>(F);

impl<F: Fn(&[Sibling<'_>]) -> Reconciled + Send + Sync> Reconciler for By<F> {
    fn reconcile(&self, _key: &[u8], siblings: &[Sibling<'_>]) -> Reconciled {
        (self.0)(siblings)
    }
}

/// The letters a, b, c, …: the simplest values.
fn letter(number: u64) -> String {
    char::from(b'a' + (number % 26) as u8).to_string()
}

/// Sets of words: each bit of the number is one.
fn words(number: u64) -> String {
    (0..6).filter(|bit| number >> bit & 1 == 1).map(letter).collect::<Vec<_>>().join(" ")
}

fn union(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut words: Vec<_> = [a, b].into_iter().flat_map(|list| list.split(|byte| *byte == b' ')).collect();
    words.retain(|word| !word.is_empty());
    words.sort_unstable();
    words.dedup();
    words.join(&b' ')
}

fn values<'a>(siblings: &'a [Sibling<'_>]) -> impl Iterator<Item = &'a Bytes> {
    siblings.iter().map(|sibling| sibling.value)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map(u64::from_be_bytes).unwrap_or_default()
}

#[test]
fn the_reconcilers_that_ship_pass() {
    reconciler_laws(&LastWriteWins, letter);
    reconciler_laws(&KeepSiblings, letter);
    reconciler_laws(&MergeBy::new(union), words);
    reconciler_laws(&MergeBy::new(|a, b| a.max(b).to_vec()), u64_bytes);
}

#[test]
fn a_merge_may_bring_values_into_a_form_of_its_own() {
    // Words in any order, some of them twice: the union is sorted, which none of the siblings is.
    reconciler_laws(&MergeBy::new(union), |number| format!("z {} a a", words(number)));
}

fn u64_bytes(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn assert_laws_reject(reconciler: &dyn Reconciler, value: fn(u64) -> String, lines: &[&str]) {
    assert_rejected("Reconciler", lines, || reconciler_laws(reconciler, value));
}

#[test]
fn what_depends_on_the_order_is_rejected() {
    let law = "the order of the siblings makes no difference";
    let (one, two) = (r#"sibling 1: b"b", 0ms+1, n1@1.2"#, r#"sibling 2: b"a", 0ms+1, n2@1.2"#);
    assert_laws_reject(
        &By(|_: &[Sibling<'_>]| Reconciled::Pick(0)),
        letter,
        &[law, one, two, r#"in this order they show {b"b"}, in the order 2 1 {b"a"}"#],
    );
    // Stamps alone leave ties, which the order then decides.
    let latest = |siblings: &[Sibling<'_>]| {
        let latest = siblings.iter().enumerate().max_by_key(|(_, sibling)| sibling.stamp);
        Reconciled::Pick(latest.map_or(0, |(index, _)| index))
    };
    assert_laws_reject(&By(latest), letter, &[law, one, two]);
}

#[test]
fn what_depends_on_the_grouping_is_rejected() {
    let law = "merging some first, and then what came of it with the others, makes no difference";
    // Each letter is beaten by the next, and the last by the first; all three together are a draw.
    let cycle = |siblings: &[Sibling<'_>]| {
        let mut letters: Vec<_> = values(siblings).map(|value| value[0]).collect();
        letters.sort_unstable();
        letters.dedup();
        Reconciled::Merge(match letters[..] {
            [one] => Bytes::from(&[one]),
            [b'a', b'c'] => "a".into(),
            [_, larger] => Bytes::from(&[larger]),
            _ => "draw".into(),
        })
    };
    let three = |number: u64| letter(number % 3);
    assert_laws_reject(&By(cycle), three, &[law, "sibling 1: ", "sibling 2: ", "sibling 3: ", "together they show {"]);
    // It merges pairs alone.
    let pairs = |siblings: &[Sibling<'_>]| match siblings {
        [a, b] => Reconciled::Merge(union(a.value, b.value).into()),
        _ => Reconciled::Keep,
    };
    assert_laws_reject(&By(pairs), words, &[law]);
}

#[test]
fn what_counts_twice_is_rejected() {
    let law = "merging what was merged with a part of it again changes nothing";
    let sum = MergeBy::new(|a: &[u8], b: &[u8]| number(a).wrapping_add(number(b)).to_be_bytes().to_vec());
    assert_rejected("Reconciler", &[law, "sibling 1: ", "sibling 2: ", "they show {"], || {
        reconciler_laws(&sum, u64_bytes)
    });
    let concat = MergeBy::new(|a: &[u8], b: &[u8]| [a, b].concat());
    let twice = r#"they show {b"aa"}; that, merged with 1 again, {b"aaa"}"#;
    assert_laws_reject(&concat, letter, &[law, "sibling 1: ", "sibling 2: ", twice]);
    let mean = MergeBy::new(|a: &[u8], b: &[u8]| (number(a).midpoint(number(b))).to_be_bytes().to_vec());
    assert_rejected("Reconciler", &[law], || reconciler_laws(&mean, u64_bytes));
}

#[test]
fn what_differs_from_call_to_call_is_rejected() {
    let calls = AtomicUsize::new(0);
    let changing =
        By(|siblings: &[Sibling<'_>]| Reconciled::Pick(calls.fetch_add(1, Ordering::Relaxed) % siblings.len()));
    let law = "the same siblings give the same decision";
    assert_laws_reject(&changing, letter, &[law, "sibling 1: ", "sibling 2: ", "it says Pick(0), and then Pick(1)"]);
}

#[test]
fn what_is_no_decision_is_rejected() {
    let beyond = By(|siblings: &[Sibling<'_>]| Reconciled::Pick(siblings.len()));
    assert_laws_reject(
        &beyond,
        letter,
        &["it picks one of the siblings", "sibling 1: ", "sibling 2: ", "it picks index 2 of 2"],
    );
    let pairs = By(|siblings: &[Sibling<'_>]| match siblings {
        [a, b] => Reconciled::Merge(a.value.max(b.value).clone()),
        _ => panic!("how many more?"),
    });
    let law = "it decides for any two or more siblings, without a panic";
    let panics = r#"it panics on [b"a", b"a", b"a"]: how many more?"#;
    assert_laws_reject(&pairs, letter, &[law, "sibling 1: ", "sibling 2: ", "sibling 3: ", panics]);
}

#[test]
fn who_looks_at_timestamps_must_say_so() {
    let silent = By(|siblings: &[Sibling<'_>]| LastWriteWins.reconcile(b"", siblings));
    let law = "who doesn't say `uses_stamps` shows the same whatever the timestamps are";
    assert_laws_reject(&silent, letter, &[law, "sibling 1: ", "sibling 2: ", "they show {"]);
}

#[test]
fn a_large_counterexample_is_made_small() {
    // Wrong only where a value is long: the small sets don't show it, and the larger ones hold much besides.
    let long = By(|siblings: &[Sibling<'_>]| {
        let long = values(siblings).find(|value| value.len() > 9);
        Reconciled::Merge(long.or(values(siblings).max()).expect("siblings").clone())
    });
    let value = |number: u64| if number > 16 { format!("long {number:020}") } else { letter(number) };
    let law = "the order of the siblings makes no difference";
    let two = r#"sibling 2: b"long "#;
    assert_rejected("Reconciler", &[law, r#"sibling 1: b"long "#, two, "in this order"], || {
        reconciler_laws(&long, value)
    });
}
