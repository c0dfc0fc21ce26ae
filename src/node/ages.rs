//! Since when hints are kept. They carry no time: a clock that is set would make them old or young.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Time;

/// Which version hints had at which times: so many marks, however many hints there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Ages {
    /// Hints of this version and later ones came then or later. Both ascend.
    marks: VecDeque<(u64, Time)>,
    /// So far apart marks are at least.
    apart: Duration,
}

/// How long the oldest of some hints is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Age {
    /// At most so long, or at least, if it is from before.
    pub(super) kept: Duration,
    /// It was there when the node was opened.
    pub(super) from_before: bool,
}

const MOST: usize = 64;

impl Ages {
    /// `next` is the version of the next hint.
    pub(super) fn new(next: u64, now: Time) -> Self {
        Self { marks: VecDeque::from([(next, now)]), apart: Duration::from_secs(1) }
    }

    /// Before a hint is kept that has at least version `next`; the oldest that is there has version `oldest`.
    pub(super) fn note(&mut self, next: u64, oldest: Option<u64>, now: Time) {
        if self.marks.back().is_none_or(|(_, time)| now.since(*time) < self.apart) {
            return;
        }
        let oldest = oldest.unwrap_or(next);
        // One stays that is no younger than the oldest, by which its age is known.
        while self.marks.len() > 1 && self.marks[1].0 <= oldest {
            self.marks.pop_front();
        }
        if self.marks.len() == MOST {
            let mut at = 0;
            self.marks.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.apart = self.apart.saturating_mul(2);
        }
        self.marks.push_back((next, now));
    }

    /// The age of a hint of this version.
    pub(super) fn of(&self, version: u64, now: Time) -> Age {
        let since = self.marks.iter().rev().find(|(mark, _)| *mark <= version);
        let first = self.marks.front().map_or(now, |(_, time)| *time);
        Age { kept: now.since(since.map_or(first, |(_, time)| *time)), from_before: since.is_none() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Time {
        Time(seconds * 1_000_000)
    }

    #[test]
    fn an_age_is_never_too_low_and_a_mark_too_high_at_most() {
        let mut ages = Ages::new(100, seconds(0));
        // A hint every quarter of a second, for half an hour, and none leaves.
        for hint in 0..7_200_u64 {
            ages.note(100 + hint, Some(100), Time(hint * 250_000));
            assert!(ages.marks.len() <= MOST);
        }
        let now = seconds(1_800);
        for hint in 0..7_200_u64 {
            let (exact, age) = (now.since(Time(hint * 250_000)), ages.of(100 + hint, now));
            assert!(
                !age.from_before && age.kept >= exact && age.kept <= exact + ages.apart * 2,
                "{hint}: {age:?} {exact:?}"
            );
        }
        assert!(ages.apart <= Duration::from_secs(64));
    }

    #[test]
    fn what_was_there_at_the_start_is_at_least_as_old_as_that() {
        let mut ages = Ages::new(100, seconds(5));
        ages.note(100, Some(40), seconds(60));
        assert_eq!(ages.of(40, seconds(65)), Age { kept: Duration::from_secs(60), from_before: true });
        assert_eq!(ages.of(100, seconds(65)), Age { kept: Duration::from_secs(5), from_before: false });
    }

    #[test]
    fn marks_of_what_has_left_are_forgotten() {
        let mut ages = Ages::new(0, seconds(0));
        for hint in 0..1_000_u64 {
            ages.note(hint, Some(hint.saturating_sub(3)), seconds(hint));
        }
        assert!(ages.marks.len() <= 6 && ages.apart == Duration::from_secs(1), "{ages:?}");
    }
}
