//! Work that nobody waits for, and that goes over everything: by slices, as the foreground allows.

use std::time::Duration;

use super::shard::Shard;
use crate::admission::Work;
use crate::config::Timing;
use crate::ids::PartitionId;
use crate::replica::Replica;
use crate::status::Backlog;
use crate::storage::Storage;
use crate::time::Time;

/// Between two slices, however idle the node is: what arrives meanwhile goes between them.
const PAUSE: Duration = Duration::from_millis(2);

/// What goes round all partitions, and where it is.
#[derive(Debug)]
pub(super) struct Rounds {
    /// When residuals are settled, and of which partitions first: a slice has not room for all.
    pub(super) sweep_due: Time,
    sweep_next: PartitionId,
    /// When the next partition is read again, and which.
    pub(super) scrub_due: Time,
    scrub_next: usize,
}

impl Rounds {
    pub(super) fn new(now: Time, timing: &Timing, partitions: usize) -> Self {
        let scrub_due = now + timing.scrub / partitions.max(1) as u32;
        Self { sweep_due: now + timing.sweep, sweep_next: PartitionId(0), scrub_due, scrub_next: 0 }
    }
}

impl<S: Storage> Shard<S> {
    /// An operation of the foreground ends.
    pub(super) fn foreground(&mut self, began: Time) {
        self.admission.answered(began, self.now.time);
    }

    /// Reads records on: for a tree that is to be built, or to see whether what was written is there.
    pub(super) fn build_digests(&mut self) {
        const RECORDS: usize = 256;
        let next = self.replica.partitions_building().next();
        if next.is_none() && !self.replica.has_leftovers() {
            self.building_due = None;
            return;
        }
        if let Err(due) = self.admission.grant(Work::Build, self.now.time) {
            self.building_due = Some(due);
            return;
        }
        self.building_due = Some(self.now.time + PAUSE);
        let Some(partition) = next else {
            match self.replica.remove_leftovers(&mut self.storage, RECORDS) {
                Ok(stored) => self.lanes.wrote(&stored),
                Err(error) => {
                    self.storage_failed(error);
                    self.building_due = Some(self.now.time + self.shared.timing.sweep);
                }
            }
            return;
        };
        let built = self.of_partition(partition, |replica, storage| replica.build(storage, partition, RECORDS));
        if let Ok(stored) = built {
            self.lanes.wrote(&stored);
        }
    }

    /// Looks at some records with residuals, of as many partitions as there is room for.
    pub(super) fn sweep(&mut self) {
        // Of all partitions together: a request that comes behind the slice waits for all of it.
        const RECORDS: u64 = 64;
        if let Err(due) = self.admission.grant(Work::Sweep, self.now.time) {
            self.rounds.sweep_due = due;
            return;
        }
        self.rounds.sweep_due = self.now.time + self.shared.timing.sweep;
        let mut partitions: Vec<_> = self.replica.partitions_unsettled().collect();
        partitions.sort_by_key(|(partition, _)| (*partition < self.rounds.sweep_next, *partition));
        self.rounds.sweep_next = PartitionId(0);
        let before = self.replica.unsettled();
        let mut room = RECORDS;
        for (partition, count) in partitions {
            if room == 0 {
                self.rounds.sweep_next = partition;
                break;
            }
            let count = count.min(room);
            room -= count;
            let sweep = |replica: &mut Replica, storage: &mut S| replica.sweep(storage, partition, count as usize);
            let swept = self.of_partition(partition, sweep);
            if let Ok(stored) = swept {
                self.lanes.wrote(&stored);
            }
        }
        // After a full exchange as many are settled at once as there are keys: who finds some goes on soon.
        if self.replica.unsettled() < before {
            self.rounds.sweep_due = self.now.time + PAUSE;
        }
    }

    /// When something that has expired is to be removed.
    pub(super) fn expire_due(&self) -> Option<Time> {
        Some((self.now.time + self.replica.until_due()?).max(self.expire_from))
    }

    /// Removes what has expired.
    pub(super) fn expire(&mut self) {
        const VERSIONS: usize = 64;
        if let Err(due) = self.admission.grant(Work::Sweep, self.now.time) {
            self.expire_from = due;
            return;
        }
        let partitions: Vec<_> = self.replica.partitions_due().collect();
        let mut failed = false;
        for partition in partitions {
            let expired = self.of_partition(partition, |replica, storage| replica.expire(storage, partition, VERSIONS));
            match expired {
                Ok(stored) => self.lanes.wrote(&stored),
                Err(_) => failed = true,
            }
        }
        self.replica.find_next_due();
        let more = !failed && self.replica.partitions_due().next().is_some();
        self.expire_from = self.now.time + if more { PAUSE } else { self.shared.timing.sweep };
    }

    /// Begins to read the next partition again.
    pub(super) fn scrub(&mut self) {
        let owned: Vec<PartitionId> = self.replica.partitions().collect();
        self.rounds.scrub_due = self.now.time + self.shared.timing.scrub / owned.len().max(1) as u32;
        if let Some(&partition) = owned.get(self.rounds.scrub_next % owned.len().max(1)) {
            self.rounds.scrub_next += 1;
            self.replica.scrub(partition);
            self.building_due.get_or_insert(self.now.time);
        }
    }

    /// What is left of it.
    pub(super) fn backlog(&self) -> Backlog {
        Backlog {
            hints: self.hints().map(|(_, count)| count).sum(),
            exchanges: self.exchanges.left() as u64,
            records_to_read: self.replica.records_to_read(),
            unsettled: self.replica.unsettled(),
        }
    }
}
