//! Keys and values of a story. A value tells which writes are in it.

use std::collections::BTreeSet;

use super::history::Number;
use crate::bytes::Bytes;

pub(super) fn name(key: usize) -> String {
    format!("key {key}")
}

/// The writes whose numbers a value holds; one that no client wrote stands for a number that none gave.
pub(super) fn members(value: &Bytes) -> Vec<Number> {
    let text = String::from_utf8_lossy(value);
    let text = text.split(' ').next().unwrap_or_default();
    text.split(',').map(|number| number.parse().unwrap_or(Number::MAX)).collect()
}

/// The longest value where values are large, in bytes. Three fill an object.
pub(super) const VALUE: usize = 2_000;

/// A number, and behind it as much that the value is short, or of some length, or the longest.
pub(super) fn padded(number: Number) -> String {
    let length = [0, 20, VALUE / 3, VALUE][number % 4];
    format!("{number:<length$}")
}

pub(super) fn text(numbers: impl Iterator<Item = Number>) -> String {
    let numbers: BTreeSet<Number> = numbers.collect();
    numbers.iter().map(Number::to_string).collect::<Vec<_>>().join(",")
}

pub(super) fn union(a: &[u8], b: &[u8]) -> Vec<u8> {
    text([a, b].into_iter().flat_map(|value| members(&Bytes::from(value)))).into_bytes()
}
