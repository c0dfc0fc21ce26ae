//! The operations in progress, and their timers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Time;

/// A number is the slot's generation above its index.
const INDEX_BITS: u32 = 24;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;
/// A number that no operation ever has: for questions whose answers are taken in whoever asked.
pub(super) const NOBODY: u64 = INDEX_MASK;

/// A table of operations whose numbers are never used twice in one start.
#[derive(Debug)]
pub(super) struct Operations<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    timers: BinaryHeap<Reverse<(Time, u64)>>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    operation: Option<(T, Time)>,
}

impl<T> Default for Operations<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), timers: BinaryHeap::new() }
    }
}

impl<T> Operations<T> {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Adds an operation that is woken at `due`; returns its number.
    pub(super) fn add(&mut self, operation: T, due: Time) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            assert!(self.slots.len() < INDEX_MASK as usize, "the bound on requests in progress is far below");
            self.slots.push(Slot { generation: 0, operation: None });
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        slot.operation = Some((operation, due));
        let number = u64::from(slot.generation) << INDEX_BITS | u64::from(index);
        self.timers.push(Reverse((due, number)));
        number
    }

    /// All that are in progress.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.operation.as_ref()).map(|(operation, _)| operation)
    }

    pub(super) fn get(&self, number: u64) -> Option<&T> {
        let slot = self.slots.get((number & INDEX_MASK) as usize)?;
        let current = u64::from(slot.generation) == number >> INDEX_BITS;
        slot.operation.as_ref().filter(|_| current).map(|(operation, _)| operation)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let slot = self.slots.get_mut((number & INDEX_MASK) as usize)?;
        if u64::from(slot.generation) != number >> INDEX_BITS {
            return None;
        }
        slot.operation.as_mut().map(|(operation, _)| operation)
    }

    /// Wakes the operation at `due` instead.
    pub(super) fn wake_at(&mut self, number: u64, due: Time) {
        let Some(slot) = self.slots.get_mut((number & INDEX_MASK) as usize) else { return };
        if let Some((_, old)) = slot.operation.as_mut().filter(|_| u64::from(slot.generation) == number >> INDEX_BITS)
            && *old != due
        {
            *old = due;
            self.timers.push(Reverse((due, number)));
        }
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<T> {
        self.get_mut(number)?;
        let (operation, _) = self.slots[(number & INDEX_MASK) as usize].operation.take()?;
        self.vacate(number);
        Some(operation)
    }

    /// Drops an operation where it is: to move it out costs more than the rest of its end.
    pub(super) fn end(&mut self, number: u64) {
        if self.get_mut(number).is_some() {
            self.slots[(number & INDEX_MASK) as usize].operation = None;
            self.vacate(number);
        }
    }

    fn vacate(&mut self, number: u64) {
        let index = (number & INDEX_MASK) as u32;
        let slot = &mut self.slots[index as usize];
        // A slot whose numbers are used up stays empty for ever.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.free.push(index);
        }
        self.tidy();
    }

    /// The next operation that is due, if any is. Its timer is spent: set another.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<u64> {
        while let Some(&Reverse((due, number))) = self.timers.peek() {
            if due > now {
                return None;
            }
            self.timers.pop();
            if self.is_current(due, number) {
                return Some(number);
            }
        }
        None
    }

    /// When the next one is due.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.timers.peek().map(|Reverse((due, _))| *due)
    }

    fn is_current(&self, due: Time, number: u64) -> bool {
        let slot = &self.slots[(number & INDEX_MASK) as usize];
        u64::from(slot.generation) == number >> INDEX_BITS && slot.operation.as_ref().is_some_and(|(_, at)| *at == due)
    }

    /// Timers of operations that are over are left in the heap until they outnumber the others: deadlines come in
    /// order, so adding one costs nearly nothing, where taking each out would cost more than the operation.
    fn tidy(&mut self) {
        // Those at the front would be taken for deadlines, and wake somebody for nothing.
        while let Some(&Reverse((due, number))) = self.timers.peek()
            && !self.is_current(due, number)
        {
            self.timers.pop();
        }
        if self.timers.len() > 4 * self.len() + 64 {
            let mut timers = std::mem::take(&mut self.timers).into_vec();
            timers.retain(|Reverse((due, number))| self.is_current(*due, *number));
            self.timers = timers.into();
        }
    }

    /// Removes all of them, in the order of their slots.
    pub(super) fn drain(&mut self) -> Vec<T> {
        let numbers: Vec<u64> = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.operation.is_some())
            .map(|(index, slot)| u64::from(slot.generation) << INDEX_BITS | index as u64)
            .collect();
        numbers.into_iter().filter_map(|number| self.remove(number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_never_used_twice_and_late_replies_find_nothing() {
        let mut operations = Operations::default();
        let first = operations.add("first", Time(10));
        assert_eq!(operations.remove(first), Some("first"));
        let second = operations.add("second", Time(20));
        assert_ne!(first, second);
        assert_eq!(operations.get(first), None);
        assert_eq!(operations.remove(first), None);
        assert_eq!(operations.get_mut(second), Some(&mut "second"));
        assert_eq!(operations.len(), 1);
    }

    #[test]
    fn operations_wake_once_at_their_latest_due_time() {
        let mut operations = Operations::default();
        let (a, b) = (operations.add("a", Time(10)), operations.add("b", Time(20)));
        operations.wake_at(a, Time(30));
        assert_eq!(operations.pop_due(Time(19)), None);
        assert_eq!(operations.pop_due(Time(40)), Some(b));
        assert_eq!(operations.pop_due(Time(40)), Some(a));
        assert_eq!(operations.pop_due(Time(40)), None);
    }

    #[test]
    fn timers_of_finished_operations_do_not_pile_up() {
        let mut operations = Operations::default();
        for time in 0..100_000 {
            let number = operations.add((), Time(time));
            operations.remove(number);
        }
        assert!(operations.timers.len() <= 64 + 4);
        let numbers: Vec<_> = (0..10).map(|time| operations.add((), Time(time))).collect();
        assert_eq!(operations.drain().len(), 10);
        assert!(numbers.iter().all(|&number| operations.get_mut(number).is_none()));
    }
}
