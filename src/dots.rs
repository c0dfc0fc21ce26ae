//! Sets of dots, with gaps: clocks, contexts and residuals are all this type.

use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use crate::bytes::Bytes;
use crate::ids::{Actor, Dot, NodeId, Start};
use crate::mutant::{self, Mutant};
use crate::wire::{FormatError, Reader, put_varint};

/// A set of dots: for each actor a contiguous base (1 to `base`) and the ranges above it.
///
/// The gaps are kept exactly. A set that rounds up to the largest counter would speak for writes that nobody has
/// seen, and lose them (dotted version vector sets, arXiv 1011.5808; node-wide dot clocks, SRDS 2017).
#[derive(PartialEq, Eq, Default)]
pub struct DotSet {
    /// One in place: the sets that a write makes hold its own dot, and what one actor wrote before it.
    rows: SmallVec<[Row; 1]>,
}

/// One actor's dots. Never empty; `above` is sorted, and no range touches its neighbour or the base.
#[derive(PartialEq, Eq)]
struct Row {
    actor: Actor,
    base: u64,
    above: Ranges,
}

/// As large as a `Vec`, and a single dot above a gap takes no allocation.
type Ranges = SmallVec<[(u64, u64); 1]>;

impl DotSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { rows: SmallVec::new_const() }
    }

    /// The set of one dot.
    ///
    /// # Panics
    /// As [`DotSet::insert`].
    #[must_use]
    pub fn of(dot: Dot) -> Self {
        let row = Row::of(dot);
        Self { rows: SmallVec::from_buf([row]) }
    }

    /// A copy that has this dot as well, in one allocation where a copy takes one.
    ///
    /// # Panics
    /// As [`DotSet::insert`].
    #[must_use]
    pub fn with(&self, dot: Dot) -> Self {
        let new = usize::from(self.find(dot.actor).is_err());
        let mut rows = SmallVec::with_capacity(self.rows.len() + new);
        for row in &self.rows {
            rows.push(row.with_room(usize::from(row.actor == dot.actor)));
        }
        let mut set = Self { rows };
        set.insert(dot);
        set
    }

    /// Whether no dot is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether `dot` is in it.
    #[must_use]
    pub fn contains(&self, dot: Dot) -> bool {
        if mutant::is(Mutant::NoGaps) {
            return self.iter().any(|other| other.actor == dot.actor && other.counter >= dot.counter);
        }
        self.row(dot.actor).is_some_and(|row| row.contains(dot.counter))
    }

    /// Adds a dot; tells whether it was new.
    ///
    /// # Panics
    /// If the counter is zero or above 2^62: dots that come from outside are checked when they are decoded.
    pub fn insert(&mut self, dot: Dot) -> bool {
        check(dot);
        if let [row] = &mut self.rows[..]
            && row.actor == dot.actor
        {
            return row.insert(dot.counter);
        }
        match self.find(dot.actor) {
            Ok(at) => self.rows[at].insert(dot.counter),
            Err(at) => {
                if at == self.rows.len() {
                    self.rows.push(Row::of(dot));
                } else {
                    self.rows.insert(at, Row::of(dot));
                }
                true
            }
        }
    }

    /// Adds all the dots of `other`; returns those that were new.
    pub(crate) fn absorb(&mut self, other: &Self) -> Self {
        // The events of nearly every join: one write is one dot.
        if let Some(dot) = other.single() {
            return if self.insert(dot) { Self::of(dot) } else { Self::new() };
        }
        let added = other.minus(self);
        self.union_with(&added);
        added
    }

    /// The dot, if there is exactly one.
    fn single(&self) -> Option<Dot> {
        let [row] = &self.rows[..] else { return None };
        let counter = match (row.base, &row.above[..]) {
            (1, []) => 1,
            (0, &[(low, high)]) if low == high => low,
            _ => return None,
        };
        Some(Dot { actor: row.actor, counter })
    }

    /// Adds all the dots of `other`.
    pub fn union_with(&mut self, other: &Self) {
        if other.rows.is_empty() {
            return;
        }
        if self.rows.is_empty() {
            self.rows.clone_from(&other.rows);
            return;
        }
        for row in &other.rows {
            match self.find(row.actor) {
                Ok(at) => self.rows[at].union_with(row),
                Err(at) => self.rows.insert(at, row.clone()),
            }
        }
    }

    /// The dots of this set that are not in `other`. Allocates nothing when none is left.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let (mut rows, mut theirs) = (SmallVec::new(), &other.rows[..]);
        for row in &self.rows {
            match seek(&mut theirs, row.actor) {
                None => rows.push(row.clone()),
                Some(own) => rows.extend(row.minus(own)),
            }
        }
        Self { rows }
    }

    /// Whether all dots of this set are in `other`.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        let mut theirs = &other.rows[..];
        self.rows.iter().all(|row| seek(&mut theirs, row.actor).is_some_and(|own| row.is_subset(own)))
    }

    /// Whether any dot is in both.
    #[must_use]
    pub fn intersects(&self, other: &Self) -> bool {
        !self.is_empty() && self.minus(other) != *self
    }

    /// How many dots are in it; the largest number if there are more.
    #[must_use]
    pub fn count(&self) -> u64 {
        let lengths = self.rows.iter().flat_map(Row::ranges).map(|(low, high)| high - low + 1);
        lengths.fold(0, u64::saturating_add)
    }

    /// How many ranges it takes to write the set down: what it costs in memory.
    #[must_use]
    pub fn intervals(&self) -> usize {
        self.rows.iter().map(|row| usize::from(row.base > 0) + row.above.len()).sum()
    }

    /// The actors that have dots in it, in order.
    pub fn actors(&self) -> impl Iterator<Item = Actor> {
        self.rows.iter().map(|row| row.actor)
    }

    /// Every dot in it, in order. For tests and small sets: a set may hold billions.
    pub fn iter(&self) -> impl Iterator<Item = Dot> {
        self.rows.iter().flat_map(|row| {
            row.ranges().flat_map(|(low, high)| (low..=high).map(|counter| Dot { actor: row.actor, counter }))
        })
    }

    /// The canonical bytes of one actor's dots as a set: what a store keeps per actor, so that a write rewrites one row.
    pub(crate) fn encode_row_of(&self, actor: Actor, out: &mut Vec<u8>) {
        match self.find(actor) {
            Ok(at) => encode_rows(&self.rows[at..=at], out),
            Err(_) => encode_rows(&[], out),
        }
    }

    /// The dots of the actors that `keep` picks.
    pub(crate) fn part(&self, mut keep: impl FnMut(Actor) -> bool) -> Self {
        Self { rows: self.rows.iter().filter(|row| keep(row.actor)).cloned().collect() }
    }

    /// The dots of all these sets. Rows are sorted once; adding one set after the other would move them each time.
    pub(crate) fn union_of(sets: impl IntoIterator<Item = Self>) -> Self {
        let mut all: Vec<Row> = sets.into_iter().flat_map(|set| set.rows).collect();
        all.sort_by_key(|row| rank(row.actor));
        let mut rows = SmallVec::<[Row; 1]>::with_capacity(all.len());
        for row in all {
            match rows.last_mut() {
                Some(last) if last.actor == row.actor => last.union_with(&row),
                _ => rows.push(row),
            }
        }
        Self { rows }
    }

    fn row(&self, actor: Actor) -> Option<&Row> {
        match &self.rows[..] {
            [row] => (row.actor == actor).then_some(row),
            rows => self.find(actor).ok().map(|at| &rows[at]),
        }
    }

    fn find(&self, actor: Actor) -> Result<usize, usize> {
        // A handful of rows: a straight walk beats a binary search and is easier on the branch predictor.
        if self.rows.len() <= 8 {
            for (at, row) in self.rows.iter().enumerate() {
                if rank(row.actor) >= rank(actor) {
                    return if row.actor == actor { Ok(at) } else { Err(at) };
                }
            }
            return Err(self.rows.len());
        }
        self.rows.binary_search_by(|row| row.actor.cmp(&actor))
    }

    /// Appends the canonical bytes: equal sets have equal bytes.
    ///
    /// The first byte says how the old part of the set is named: 0, not at all. `names` writes and reads the sets that
    /// name a part of themselves; where this is called for none is allowed.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        encode_rows(&self.rows, out);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        if reader.byte()? != 0 {
            return Err(FormatError::Content("a set of dots with a named head"));
        }
        Self::decode_rows(reader)
    }

    /// What follows the first byte.
    pub(crate) fn encode_rows(&self, out: &mut Vec<u8>) {
        put_rows(&self.rows, out);
    }

    pub(crate) fn decode_rows(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        // A row takes at least 11 bytes: node, 8 of the start, base, number of ranges.
        let count = reader.count(11)?;
        if count == 0 {
            return Ok(Self::new());
        }
        let mut rows = SmallVec::<[Row; 1]>::with_capacity(count);
        for _ in 0..count {
            let row = Row::decode(reader)?;
            if rows.last().is_some_and(|last| last.actor >= row.actor) {
                return Err(FormatError::Content("actors out of order"));
            }
            rows.push(row);
        }
        Ok(Self { rows })
    }
}

/// The row of an actor among rows that are left, and leaves those from there on: for actors in order.
///
/// In steps that double: a clock of thousands of starts against another is a walk, and one row among thousands a search.
fn seek<'a>(rows: &mut &'a [Row], actor: Actor) -> Option<&'a Row> {
    let mut end = 1;
    while rows.get(end - 1).is_some_and(|row| rank(row.actor) < rank(actor)) {
        end *= 2;
    }
    let (low, high) = (end / 2, end.min(rows.len()));
    let at = low + rows[low..high].partition_point(|row| rank(row.actor) < rank(actor));
    *rows = &rows[at..];
    rows.first().filter(|row| row.actor == actor)
}

/// The order of actors as one number: a comparison of two fields branches twice.
const fn rank(actor: Actor) -> u128 {
    (actor.node.0 as u128) << 64 | actor.start.0 as u128
}

fn check(dot: Dot) {
    assert!((1..=Dot::COUNTER_MAX).contains(&dot.counter), "counter {} out of range", dot.counter);
}

fn encode_rows(rows: &[Row], out: &mut Vec<u8>) {
    out.push(0);
    put_rows(rows, out);
}

fn put_rows(rows: &[Row], out: &mut Vec<u8>) {
    put_varint(out, rows.len() as u64);
    for row in rows {
        put_varint(out, row.actor.node.0);
        out.extend_from_slice(&row.actor.start.0.to_le_bytes());
        put_varint(out, row.base);
        put_varint(out, row.above.len() as u64);
        let mut end = row.base;
        for &(low, high) in &row.above {
            // Ranges never touch, so the gap before one is at least one dot.
            put_varint(out, low - end - 2);
            put_varint(out, high - low);
            end = high;
        }
    }
}

// Not derived: a list that is cloned item by item grows and checks with every item.
impl Clone for DotSet {
    fn clone(&self) -> Self {
        match &self.rows[..] {
            [row] => Self { rows: SmallVec::from_buf([row.clone()]) },
            rows => Self { rows: rows.iter().cloned().collect() },
        }
    }
}

impl Clone for Row {
    fn clone(&self) -> Self {
        Self { actor: self.actor, base: self.base, above: Ranges::from_slice(&self.above) }
    }
}

impl Row {
    /// A copy that takes so many ranges more without another allocation.
    fn with_room(&self, more: usize) -> Self {
        let mut above = Ranges::with_capacity(self.above.len() + more);
        above.extend_from_slice(&self.above);
        Self { actor: self.actor, base: self.base, above }
    }

    fn of(dot: Dot) -> Self {
        check(dot);
        if dot.counter == 1 {
            return Self { actor: dot.actor, base: 1, above: Ranges::new() };
        }
        Self { actor: dot.actor, base: 0, above: Ranges::from_buf([(dot.counter, dot.counter)]) }
    }

    fn contains(&self, counter: u64) -> bool {
        counter > 0 && (counter <= self.base || self.covers(counter, counter))
    }

    /// Whether it has all dots from `low` to `high`.
    fn covers(&self, low: u64, high: u64) -> bool {
        if high <= self.base {
            return true;
        }
        let at = self.above.partition_point(|&(_, end)| end < high);
        self.above.get(at).is_some_and(|&(start, _)| start <= low)
    }

    /// All ranges, the base first.
    fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        (self.base > 0).then_some((1, self.base)).into_iter().chain(self.above.iter().copied())
    }

    fn insert(&mut self, counter: u64) -> bool {
        if counter <= self.base {
            return false;
        }
        if self.above.is_empty() && counter == self.base + 1 {
            // A clock that takes in the next write of an actor.
            self.base = counter;
            return true;
        }
        if self.contains(counter) {
            return false;
        }
        self.add(counter, counter);
        true
    }

    /// Adds the dots from `low` to `high`.
    fn add(&mut self, low: u64, high: u64) {
        if low <= self.base + 1 {
            self.base = self.base.max(high);
            let swallowed = self.above.partition_point(|&(low, _)| low <= self.base + 1);
            if swallowed > 0 {
                self.base = self.base.max(self.above[swallowed - 1].1);
                self.above.drain(..swallowed);
            }
            return;
        }
        // The ranges that it overlaps or touches become one with it.
        let start = self.above.partition_point(|&(_, high)| high + 1 < low);
        let end = start + self.above[start..].partition_point(|&(low, _)| low <= high + 1);
        if start == end {
            self.above.insert(start, (low, high));
        } else {
            self.above[start] = (low.min(self.above[start].0), high.max(self.above[end - 1].1));
            self.above.drain(start + 1..end);
        }
    }

    fn union_with(&mut self, other: &Self) {
        // Each range that is added moves those behind it: for many of them a merge is cheaper.
        const FEW: usize = 4;
        if other.above.len() <= FEW {
            other.ranges().for_each(|(low, high)| self.add(low, high));
            return;
        }
        let mut all: Vec<(u64, u64)> = self.ranges().chain(other.ranges()).collect();
        all.sort_unstable();
        let mut merged = Ranges::with_capacity(all.len());
        for (low, high) in all {
            match merged.last_mut() {
                Some(last) if low <= last.1 + 1 => last.1 = last.1.max(high),
                _ => merged.push((low, high)),
            }
        }
        (self.base, self.above) = split_base(merged);
    }

    fn minus(&self, other: &Self) -> Option<Self> {
        if self.is_subset(other) {
            return None;
        }
        let mut left = Ranges::new();
        if other.above.is_empty() {
            // A clock without gaps: what lies above it stays.
            let least = other.base + 1;
            left.extend(self.ranges().filter(|&(_, high)| high >= least).map(|(low, high)| (low.max(least), high)));
            let (base, above) = split_base(left);
            return Some(Self { actor: self.actor, base, above });
        }
        let mut cuts = other.ranges().peekable();
        for (mut low, high) in self.ranges() {
            while let Some(&(cut_low, cut_high)) = cuts.peek() {
                if cut_high < low {
                    cuts.next();
                    continue;
                }
                if cut_low > high {
                    break;
                }
                if low < cut_low {
                    left.push((low, cut_low - 1));
                }
                low = cut_high + 1;
                if cut_high >= high {
                    break;
                }
                cuts.next();
            }
            if low <= high {
                left.push((low, high));
            }
        }
        if left.is_empty() {
            return None;
        }
        let (base, above) = split_base(left);
        Some(Self { actor: self.actor, base, above })
    }

    fn is_subset(&self, other: &Self) -> bool {
        let last = self.above.last().map_or(self.base, |&(_, high)| high);
        last <= other.base || self.ranges().all(|(low, high)| other.covers(low, high))
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let node = NodeId(reader.varint()?);
        let start = Start(u64::from_le_bytes(reader.array()?));
        let base = reader.varint()?;
        let count = reader.count(2)?;
        if (base == 0 && count == 0) || base > Dot::COUNTER_MAX {
            return Err(FormatError::Content("an actor without dots, or a counter out of range"));
        }
        let mut above = Ranges::with_capacity(count);
        let mut end = base;
        for _ in 0..count {
            let (gap, length) = (reader.varint()?, reader.varint()?);
            let low = gap.checked_add(end + 2).filter(|&low| low <= Dot::COUNTER_MAX);
            let high = low.and_then(|low| length.checked_add(low)).filter(|&high| high <= Dot::COUNTER_MAX);
            let (Some(low), Some(high)) = (low, high) else {
                return Err(FormatError::Content("a counter out of range"));
            };
            above.push((low, high));
            end = high;
        }
        Ok(Self { actor: Actor { node, start }, base, above })
    }
}

/// Ranges in order, none touching its neighbour, as base and rest.
fn split_base(mut ranges: Ranges) -> (u64, Ranges) {
    match ranges.first() {
        Some(&(1, high)) => {
            ranges.remove(0);
            (high, ranges)
        }
        _ => (0, ranges),
    }
}

impl FromIterator<Dot> for DotSet {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut set = Self::new();
        for dot in dots {
            set.insert(dot);
        }
        set
    }
}

impl fmt::Debug for DotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, row) in self.rows.iter().enumerate() {
            write!(f, "{}{}.", if index > 0 { " " } else { "" }, row.actor)?;
            for (index, (low, high)) in row.ranges().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                if low == high { write!(f, "{comma}{low}")? } else { write!(f, "{comma}{low}-{high}")? }
            }
        }
        f.write_str("}")
    }
}

// Through the canonical bytes: bounded by what is there, checked once, the same on the wire and on disk.
impl Serialize for DotSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = Vec::with_capacity(2 + 24 * self.rows.len());
        self.encode(&mut out);
        serializer.serialize_bytes(&out)
    }
}

impl<'de> Deserialize<'de> for DotSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DotsVisitor;
        impl<'de> Visitor<'de> for DotsVisitor {
            type Value = DotSet;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of a set of dots")
            }
            // Read where they stand: a copy of a large clock's bytes would be made only to be read once.
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<DotSet, E> {
                let mut reader = Reader::new(bytes);
                let set = DotSet::decode(&mut reader).map_err(E::custom)?;
                reader.end().map_err(E::custom)?;
                Ok(set)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<DotSet, A::Error> {
                let bytes = Bytes::deserialize(SeqAccessDeserializer::new(list))?;
                self.visit_bytes(&bytes)
            }
        }
        deserializer.deserialize_bytes(DotsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn dot(node: u64, counter: u64) -> Dot {
        Dot { actor: Actor { node: NodeId(node), start: Start(node * 17) }, counter }
    }

    fn any_dots() -> impl Strategy<Value = Vec<Dot>> {
        prop::collection::vec((0..3_u64, 1..12_u64).prop_map(|(node, counter)| dot(node, counter)), 0..24)
    }

    fn canonical(set: &DotSet) -> bool {
        set.rows.windows(2).all(|pair| pair[0].actor < pair[1].actor)
            && set.rows.iter().all(|row| {
                let mut end = row.base;
                (row.base > 0 || !row.above.is_empty())
                    && row.above.iter().all(|&(low, high)| {
                        let apart = low > end + 1 && low <= high;
                        end = high;
                        apart
                    })
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Against the naive model: a set of dots in a tree.
        #[test]
        fn behaves_as_a_set(left in any_dots(), right in any_dots()) {
            let (model_left, model_right): (BTreeSet<_>, BTreeSet<_>) =
                (left.iter().copied().collect(), right.iter().copied().collect());
            let (a, b): (DotSet, DotSet) = (left.iter().copied().collect(), right.iter().copied().collect());
            prop_assert!(canonical(&a));
            prop_assert_eq!(a.iter().collect::<BTreeSet<_>>(), model_left.clone());
            prop_assert_eq!(a.count(), model_left.len() as u64);

            let mut union = a.clone();
            union.union_with(&b);
            prop_assert!(canonical(&union));
            prop_assert_eq!(union.iter().collect::<BTreeSet<_>>(), &model_left | &model_right);

            let minus = a.minus(&b);
            prop_assert!(canonical(&minus));
            prop_assert_eq!(minus.iter().collect::<BTreeSet<_>>(), &model_left - &model_right);
            prop_assert_eq!(a.is_subset(&b), model_left.is_subset(&model_right));
            prop_assert_eq!(a.intersects(&b), !model_left.is_disjoint(&model_right));
            prop_assert_eq!(a == b, model_left == model_right);

            let mut absorbed = a.clone();
            let added = absorbed.absorb(&b);
            prop_assert!(canonical(&absorbed) && canonical(&added));
            prop_assert_eq!(&absorbed, &union);
            prop_assert_eq!(added, b.minus(&a));
            for &dot in right.iter().take(1) {
                let more = a.with(dot);
                let mut inserted = a.clone();
                prop_assert_eq!(inserted.insert(dot), !model_left.contains(&dot));
                prop_assert!(canonical(&more) && more == inserted);
                let one = DotSet::of(dot);
                prop_assert!(canonical(&one) && one == std::iter::once(dot).collect());
            }
            prop_assert_eq!(a.is_empty(), model_left.is_empty());
            let actors: BTreeSet<_> = model_left.iter().map(|dot| dot.actor).collect();
            prop_assert!(a.actors().eq(actors));
            // A range begins where the dot before is missing.
            let begins = |dot: &&Dot| !model_left.contains(&Dot { counter: dot.counter - 1, ..**dot });
            prop_assert_eq!(a.intervals(), model_left.iter().filter(begins).count());
            let all = DotSet::union_of([a.clone(), b.clone(), a.clone()]);
            prop_assert!(canonical(&all));
            prop_assert_eq!(all, union);
            prop_assert_eq!(&DotSet::union_of(a.actors().map(|actor| a.part(|other| other == actor))), &a);
            let part = a.part(|actor| actor.node != NodeId(1));
            prop_assert_eq!(part.iter().collect::<Vec<_>>(), a.iter().filter(|dot| dot.actor.node != NodeId(1)).collect::<Vec<_>>());
            for node in 0..3 {
                for counter in 1..14 {
                    prop_assert_eq!(a.contains(dot(node, counter)), model_left.contains(&dot(node, counter)));
                }
            }

            let mut bytes = Vec::new();
            a.encode(&mut bytes);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(DotSet::decode(&mut reader).unwrap(), a);
            prop_assert_eq!(reader.end(), Ok(()));
        }

        /// Whatever the bytes, decoding ends in a set whose bytes are these, or in an error.
        #[test]
        fn decoding_is_total_and_canonical(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            if let Ok(set) = DotSet::decode(&mut reader) && reader.left() == 0 {
                let mut again = Vec::new();
                set.encode(&mut again);
                prop_assert_eq!(again, bytes);
                prop_assert!(canonical(&set));
            }
        }
    }

    #[test]
    fn actors_are_in_order_of_nodes_and_of_starts_however_many_there_are() {
        let of = |node, start| Dot { actor: Actor { node: NodeId(node), start: Start(start) }, counter: 3 };
        let mut dots: Vec<Dot> =
            (0..4).flat_map(|node| [u64::MAX, 5, 1 << 32].map(|start| of(node, start - node))).collect();
        for count in [3, 8, 9, 12] {
            let set: DotSet = dots[..count].iter().copied().collect();
            dots[..count].sort_unstable();
            assert!(canonical(&set) && set.iter().eq(dots[..count].iter().copied()));
            assert!(dots[..count].iter().all(|&dot| set.contains(dot)) && !set.contains(of(7, 7)));
        }
    }

    #[test]
    fn sets_of_many_actors_are_told_apart_row_by_row() {
        let of = |start| Dot { actor: Actor { node: NodeId(start % 3), start: Start(start) }, counter: 1 };
        let all: Vec<Dot> = (0..40).map(of).collect();
        let set = |keep: &dyn Fn(usize) -> bool| -> DotSet {
            all.iter().enumerate().filter(|(at, _)| keep(*at)).map(|(_, dot)| *dot).collect()
        };
        let every = |step: usize| set(&|at| at % step == 0);
        for (left, right) in [(1, 1), (1, 2), (2, 1), (2, 3), (3, 2), (1, 13), (13, 1), (40, 1), (1, 40), (7, 40)] {
            let (a, b) = (every(left), every(right));
            assert_eq!(a.minus(&b), set(&|at| at % left == 0 && at % right != 0), "{left} {right}");
            assert_eq!(a.is_subset(&b), left % right == 0, "{left} {right}");
        }
        for (at, &dot) in all.iter().enumerate() {
            let one = DotSet::of(dot);
            let others = set(&|other| other != at);
            assert!(one.is_subset(&every(1)) && !one.is_subset(&others) && !every(1).is_subset(&others));
            assert_eq!((every(1).minus(&others), one.minus(&others)), (one.clone(), one));
        }
    }

    #[test]
    fn counters_end_where_they_are_said_to_end() {
        let last = dot(1, Dot::COUNTER_MAX);
        let mut set = DotSet::of(last);
        assert!(set.contains(last) && !set.contains(dot(1, 0)));
        set.insert(dot(1, 1));
        assert!(!set.contains(dot(1, 0)), "no write is named 0");
        for counter in [0, Dot::COUNTER_MAX + 1, u64::MAX] {
            assert!(std::panic::catch_unwind(|| DotSet::of(dot(1, counter))).is_err());
            assert!(std::panic::catch_unwind(|| DotSet::new().insert(dot(1, counter))).is_err());
            assert!(std::panic::catch_unwind(|| DotSet::of(dot(1, 9)).insert(dot(1, counter))).is_err());
        }
    }

    #[test]
    fn a_set_that_is_a_message_is_its_canonical_bytes_and_no_more() {
        use serde::de::value::{BytesDeserializer, Error, SeqDeserializer, U8Deserializer};
        let set: DotSet = [dot(1, 1), dot(1, 4), dot(2, 7)].into_iter().collect();
        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        let whole = |bytes: &[u8]| DotSet::deserialize(BytesDeserializer::<Error>::new(bytes));
        let listed = |bytes: &[u8]| DotSet::deserialize(SeqDeserializer::<_, Error>::new(bytes.iter().copied()));
        assert_eq!((whole(&bytes).unwrap(), listed(&bytes).unwrap()), (set.clone(), set));
        bytes.push(0);
        for refused in [whole(&bytes), listed(&bytes)] {
            assert_eq!(refused.unwrap_err().to_string(), FormatError::Trailing.to_string());
        }
        assert!(whole(&bytes[..5]).is_err() && listed(&bytes[..5]).is_err());
        let number = DotSet::deserialize(U8Deserializer::<Error>::new(5)).unwrap_err().to_string();
        assert!(number.ends_with("expected the bytes of a set of dots"), "{number}");
    }

    /// The format is on disks and in clients' hands: these bytes may never change.
    #[test]
    fn golden_bytes() {
        let set: DotSet = [dot(1, 1), dot(1, 2), dot(1, 4), dot(1, 5), dot(300, 9)].into_iter().collect();
        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        let expected: &[u8] = &[
            0, 2, // no named head, two actors
            1, 17, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 1, // node 1, its start, base 2, one range: gap 0, length 1
            0xac, 2, 0xec, 0x13, 0, 0, 0, 0, 0, 0, 0, 1, 7, 0, // node 300, its start, no base, one range: 9 alone
        ];
        assert_eq!(bytes, expected);
        let mut rows = Vec::new();
        set.encode_rows(&mut rows);
        assert_eq!(rows, expected[1..], "what follows the first byte");
        assert_eq!(format!("{set:?}"), "{n1@11.1-2,4-5 n300@13ec.9}");
    }

    #[test]
    fn hostile_sets_are_refused() {
        let decode = |bytes: &[u8]| DotSet::decode(&mut Reader::new(bytes));
        assert_eq!(decode(&[1, 0]), Err(FormatError::Content("a set of dots with a named head")));
        assert_eq!(decode(&[0, 0xff, 0xff, 0xff, 0xff, 0x0f]), Err(FormatError::Truncated), "four billion actors");
        let mut huge = vec![0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        put_varint(&mut huge, u64::MAX);
        huge.push(0);
        assert!(matches!(decode(&huge), Err(FormatError::Content(_))), "a counter of 2^64-1");
        let until = |base: u64, gap: u64, length: u64| {
            let mut bytes = vec![0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0];
            put_varint(&mut bytes, base);
            bytes.push(u8::from(gap > 0));
            if gap > 0 {
                put_varint(&mut bytes, gap);
                put_varint(&mut bytes, length);
            }
            decode(&bytes)
        };
        // A range begins two after the end of what is before it, and the gap.
        let max = Dot::COUNTER_MAX;
        assert_eq!(until(max, 0, 0).unwrap().count(), max);
        assert_eq!(until(1, max - 3, 0).unwrap().count(), 2);
        assert_eq!(until(1, 1, max - 4).unwrap().count(), max - 2);
        for (base, gap, length) in
            [(max + 1, 0, 0), (1, max - 2, 0), (1, 1, max - 3), (1, u64::MAX, 0), (1, 1, u64::MAX)]
        {
            assert!(matches!(until(base, gap, length), Err(FormatError::Content(_))), "{base}, {gap}, {length}");
        }
    }

    #[test]
    fn the_row_of_an_actor_is_its_part_of_the_set() {
        let set: DotSet = [dot(1, 1), dot(1, 3), dot(2, 1)].into_iter().collect();
        for (actor, part) in [(1, vec![dot(1, 1), dot(1, 3)]), (2, vec![dot(2, 1)]), (3, vec![])] {
            let (mut row, mut expected) = (Vec::new(), Vec::new());
            set.encode_row_of(dot(actor, 1).actor, &mut row);
            part.into_iter().collect::<DotSet>().encode(&mut expected);
            assert_eq!(row, expected);
        }
    }
}
