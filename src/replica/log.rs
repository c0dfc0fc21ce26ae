//! Which key each recent dot of a partition is of: what an exchange by clocks sends is looked up here.

use std::collections::{BTreeMap, VecDeque};

use crate::bytes::Bytes;
use crate::dots::DotSet;
use crate::ids::{Actor, Dot};
use crate::mutant::{self, Mutant};

/// The latest dots of a partition's clock, and their keys.
///
/// It is a cache: any line may go at any time, for whoever asks for a dot that has no line here gets the full exchange.
/// So one replica that is away for a year makes no other grow.
#[derive(Debug)]
pub(crate) struct DotLog {
    lines: BTreeMap<Actor, VecDeque<(u64, Bytes)>>,
    /// In the order in which they came.
    order: VecDeque<Dot>,
    count: usize,
    limit: usize,
}

impl DotLog {
    pub(crate) const fn new(limit: usize) -> Self {
        Self { lines: BTreeMap::new(), order: VecDeque::new(), count: 0, limit }
    }

    /// Notes that `dot` is of `key`. The oldest line goes when there are too many.
    pub(crate) fn push(&mut self, dot: Dot, key: &Bytes) {
        if self.limit == 0 {
            return;
        }
        let lines = self.lines.entry(dot.actor).or_default();
        // Nearly always behind the last: counters come in order.
        let at = match lines.back() {
            Some((last, _)) if *last >= dot.counter => lines.partition_point(|(counter, _)| *counter < dot.counter),
            _ => lines.len(),
        };
        if lines.get(at).is_some_and(|(counter, _)| *counter == dot.counter) {
            return;
        }
        lines.insert(at, (dot.counter, key.clone()));
        self.count += 1;
        self.order.push_back(dot);
        while self.count > self.limit {
            let Some(oldest) = self.order.pop_front() else { return };
            self.remove(oldest);
        }
    }

    /// Notes that `dots` are of `key`. A member may speak of more than can ever be counted: what no log holds leaves it
    /// empty.
    pub(crate) fn push_all(&mut self, dots: &DotSet, key: &Bytes) {
        if dots.count() > self.limit as u64 {
            self.clear();
            return;
        }
        dots.iter().for_each(|dot| self.push(dot, key));
    }

    /// The keys of `dots`, each with its dots among them; nothing unless every dot has a line.
    pub(crate) fn keys(&self, dots: &DotSet) -> Option<BTreeMap<Bytes, DotSet>> {
        if dots.count() > self.count as u64 && !mutant::is(Mutant::ServeGaps) {
            return None;
        }
        let mut keys = BTreeMap::<Bytes, DotSet>::new();
        for dot in dots.iter() {
            match self.key(dot) {
                None if mutant::is(Mutant::ServeGaps) => continue,
                key => keys.entry(key?.clone()).or_default().insert(dot),
            };
        }
        Some(keys)
    }

    /// Drops all lines.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    /// How many lines there are.
    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    fn key(&self, dot: Dot) -> Option<&Bytes> {
        let lines = self.lines.get(&dot.actor)?;
        let at = lines.partition_point(|(counter, _)| *counter < dot.counter);
        lines.get(at).filter(|(counter, _)| *counter == dot.counter).map(|(_, key)| key)
    }

    fn remove(&mut self, dot: Dot) {
        let Some(lines) = self.lines.get_mut(&dot.actor) else { return };
        let at = lines.partition_point(|(counter, _)| *counter < dot.counter);
        if lines.get(at).is_some_and(|(counter, _)| *counter == dot.counter) {
            lines.remove(at);
            self.count -= 1;
        }
        if lines.is_empty() {
            self.lines.remove(&dot.actor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{NodeId, Start};
    use crate::wire::{Reader, put_varint};

    fn dot(node: u64, counter: u64) -> Dot {
        Dot { actor: Actor { node: NodeId(node), start: Start(1) }, counter }
    }

    fn key(name: &str) -> Bytes {
        Bytes::from(name.as_bytes())
    }

    #[test]
    fn keys_come_with_their_dots_and_one_dot_without_a_line_is_none_at_all() {
        let mut log = DotLog::new(10);
        log.push(dot(1, 2), &key("a"));
        log.push(dot(1, 1), &key("b"));
        log.push(dot(2, 7), &key("a"));
        let wanted: DotSet = [dot(1, 2), dot(2, 7)].into_iter().collect();
        let keys = log.keys(&wanted).unwrap();
        assert_eq!(keys.into_iter().collect::<Vec<_>>(), [(key("a"), wanted.clone())]);
        assert_eq!(log.keys(&DotSet::new()), Some(BTreeMap::new()));
        assert_eq!(log.keys(&wanted.with(dot(1, 3))), None);
    }

    #[test]
    fn the_oldest_line_goes_at_the_limit_and_a_repeated_one_is_one() {
        let mut log = DotLog::new(2);
        for (counter, name) in [(3, "a"), (3, "a"), (1, "b"), (2, "c")] {
            log.push(dot(1, counter), &key(name));
        }
        assert_eq!(log.len(), 2);
        assert_eq!(log.keys(&DotSet::of(dot(1, 3))), None, "the first that came");
        assert!(log.keys(&[dot(1, 1), dot(1, 2)].into_iter().collect()).is_some());
    }

    #[test]
    fn more_dots_than_the_log_holds_leave_it_empty_and_are_not_counted_through() {
        let mut log = DotLog::new(2);
        log.push(dot(1, 1), &key("a"));
        // Five actors: start, and all counters that there are.
        let mut bytes = vec![0, 5];
        for node in 1..=5 {
            bytes.extend_from_slice(&[node, 1, 0, 0, 0, 0, 0, 0, 0]);
            put_varint(&mut bytes, Dot::COUNTER_MAX);
            bytes.push(0);
        }
        let endless = DotSet::decode(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(endless.count(), u64::MAX);
        log.push_all(&endless, &key("b"));
        assert_eq!(log.len(), 0);
        log.push_all(&[dot(1, 1), dot(1, 2)].into_iter().collect(), &key("a"));
        assert_eq!(log.len(), 2);
    }

    #[test]
    fn a_log_of_no_lines_keeps_none() {
        let mut log = DotLog::new(0);
        log.push(dot(1, 1), &key("a"));
        assert_eq!((log.len(), log.order.len()), (0, 0));
    }
}
