//! Whether a quorum is reached, can still be reached, or can't any more.

/// The count of answers to one request: pure arithmetic, final as soon as no further answer can change it.
///
/// Each node that is asked takes a slot, once, and answers count by class: every slot is a class of its own where
/// nodes must differ, and slots of one zone share a class where zones must differ. An answer that comes twice counts
/// once, and a late answer counts as long as the verdict is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    need: u8,
    /// Slots whose answers count, and slots that have not failed.
    good: u64,
    open: u64,
    /// The class of each slot; empty if each slot is its own.
    classes: Vec<u8>,
    slots: u8,
    /// Classes that could still be added by asking more nodes.
    spare: u8,
}

/// What the answers say so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Further answers matter.
    Open,
    /// Enough have answered, whatever the others say.
    Reached,
    /// Too few can answer, whatever the others say.
    Failed,
}

impl Verdict {
    /// The most nodes that one request asks.
    pub const SLOTS: u8 = 64;

    /// It takes `need` answers of different nodes; `spare` more nodes could be asked than will be added at first.
    #[must_use]
    pub const fn of_nodes(need: u8, spare: u8) -> Self {
        Self { need, good: 0, open: 0, classes: Vec::new(), slots: 0, spare }
    }

    /// It takes `need` answers of different zones; `spare` more zones could be asked.
    #[must_use]
    pub fn of_zones(need: u8, spare: u8) -> Self {
        Self { classes: Vec::with_capacity(8), ..Self::of_nodes(need, spare) }
    }

    /// Adds a node that is asked; `class` is its zone, and is ignored where nodes must differ. Returns its slot.
    ///
    /// # Panics
    /// If more than [`Verdict::SLOTS`] nodes are added.
    pub fn ask(&mut self, class: u8) -> u8 {
        assert!(self.slots < Self::SLOTS, "too many nodes are asked");
        let slot = self.slots;
        self.slots += 1;
        self.open |= 1 << slot;
        if self.classes.capacity() > 0 {
            self.classes.push(class);
        }
        slot
    }

    /// How many more classes could still be added by asking more nodes: what keeps a failure from being final.
    pub const fn set_spare(&mut self, spare: u8) {
        self.spare = spare;
    }

    /// The slot answered and counts.
    pub const fn good(&mut self, slot: u8) {
        self.good |= 1 << slot;
    }

    /// The slot answered and doesn't count, or will never answer. What counted before still counts.
    pub const fn bad(&mut self, slot: u8) {
        self.open &= !(1 << slot);
    }

    /// How many answers count.
    #[must_use]
    pub fn got(&self) -> u8 {
        self.distinct(self.good)
    }

    /// The answers that it takes.
    #[must_use]
    pub const fn needed(&self) -> u8 {
        self.need
    }

    /// What the answers say so far.
    #[must_use]
    pub fn decision(&self) -> Decision {
        if self.got() >= self.need {
            Decision::Reached
        } else if self.distinct(self.good | self.open) + self.spare < self.need {
            Decision::Failed
        } else {
            Decision::Open
        }
    }

    fn distinct(&self, slots: u64) -> u8 {
        if self.classes.is_empty() {
            return slots.count_ones() as u8;
        }
        let mut classes = [0_u64; 4];
        for (slot, &class) in self.classes.iter().enumerate() {
            if slots & (1 << slot) != 0 {
                classes[usize::from(class >> 6)] |= 1 << (class & 63);
            }
        }
        classes.iter().map(|word| word.count_ones() as u8).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, by brute force: reached if enough answered; failed if no future has enough.
    fn by_definition(need: u8, answers: &[Option<bool>], zones: Option<&[u8]>) -> Decision {
        let count = |slots: &mut dyn Iterator<Item = usize>| match zones {
            None => slots.count(),
            Some(zones) => slots.map(|slot| zones[slot]).collect::<std::collections::BTreeSet<_>>().len(),
        };
        let good = count(&mut (0..answers.len()).filter(|&slot| answers[slot] == Some(true)));
        let best = count(&mut (0..answers.len()).filter(|&slot| answers[slot] != Some(false)));
        match (good >= usize::from(need), best >= usize::from(need)) {
            (true, _) => Decision::Reached,
            (false, true) => Decision::Open,
            (false, false) => Decision::Failed,
        }
    }

    /// Every n up to 5, every need, every sequence of answers (good, bad, repeated, lost): the verdict is that of the
    /// definition after every step, and once final it stays.
    fn walk(verdict: &Verdict, answers: &mut [Option<bool>], need: u8, zones: Option<&[u8]>, states: &mut u64) {
        *states += 1;
        let decision = verdict.decision();
        assert_eq!(decision, by_definition(need, answers, zones));
        for slot in 0..answers.len() {
            if let Some(answer) = answers[slot] {
                // A duplicate, or a late answer that contradicts: nothing moves, unless a failure becomes an answer.
                let mut again = verdict.clone();
                if answer {
                    again.good(slot as u8)
                } else {
                    again.bad(slot as u8)
                }
                assert_eq!(&again, verdict);
                if answer {
                    again.bad(slot as u8);
                    assert_eq!(again.decision(), decision, "an answer can't be taken back");
                }
                continue;
            }
            for good in [true, false] {
                let mut next = verdict.clone();
                if good {
                    next.good(slot as u8)
                } else {
                    next.bad(slot as u8)
                }
                answers[slot] = Some(good);
                if decision != Decision::Open {
                    assert_eq!(next.decision(), decision, "a verdict is final");
                }
                walk(&next, answers, need, zones, states);
                answers[slot] = None;
            }
        }
    }

    #[test]
    fn exhaustively_right_and_final_for_every_order_of_answers() {
        let mut states = 0;
        for n in 1..=5_u8 {
            for need in 1..=n {
                let mut verdict = Verdict::of_nodes(need, 0);
                for _ in 0..n {
                    verdict.ask(0);
                }
                walk(&verdict, &mut vec![None; usize::from(n)], need, None, &mut states);
            }
        }
        assert!(states > 20_000, "{states} states");
    }

    #[test]
    fn exhaustively_right_where_zones_must_differ() {
        let mut states = 0;
        for zones in [[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 1, 1], [0, 1, 2, 2], [0, 1, 2, 3]] {
            for need in 1..=4 {
                let mut verdict = Verdict::of_zones(need, 0);
                for zone in zones {
                    verdict.ask(zone);
                }
                walk(&verdict, &mut [None; 4], need, Some(&zones), &mut states);
            }
        }
        assert!(states > 5_000, "{states} states");
    }

    /// Zones are numbered by members, of whom there may be many.
    #[test]
    fn far_apart_zones_are_different_zones() {
        let mut verdict = Verdict::of_zones(5, 0);
        let slots = [0, 63, 64, 127, 128, 255, 0, 64, 255].map(|zone| verdict.ask(zone));
        let got = slots.map(|slot| {
            verdict.good(slot);
            (verdict.got(), verdict.decision())
        });
        assert_eq!(got[3..6], [(4, Decision::Open), (5, Decision::Reached), (6, Decision::Reached)]);
        assert_eq!((got[8].0, verdict.needed()), (6, 5));
    }

    #[test]
    fn a_failure_is_not_final_while_others_could_be_asked() {
        let mut verdict = Verdict::of_nodes(2, 1);
        let (first, second) = (verdict.ask(0), verdict.ask(0));
        verdict.bad(first);
        assert_eq!(verdict.decision(), Decision::Open);
        verdict.set_spare(0);
        assert_eq!(verdict.decision(), Decision::Failed);
        let third = verdict.ask(0);
        assert_eq!(verdict.decision(), Decision::Open);
        verdict.good(second);
        verdict.good(third);
        assert_eq!((verdict.decision(), verdict.got()), (Decision::Reached, 2));
    }
}
