//! openraft's storage, at the least cost we could give it: all in memory, and a state machine without state.

use std::{
    collections::VecDeque,
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::{Arc, Mutex, MutexGuard},
};

use futures_util::{Stream, TryStreamExt};
use openraft::{
    EntryPayload, LogState, RaftLogReader, RaftSnapshotBuilder,
    alias::{EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf},
    entry::RaftEntry,
    storage::{EntryResponder, IOFlushed, RaftLogStorage, RaftStateMachine},
};

use super::{Response, Types};

/// One node's log and vote, shared by the node and its readers.
#[derive(Clone, Default)]
pub(super) struct LogStore(Arc<Mutex<Log>>);

/// Entries without a gap, from the first that is not purged.
#[derive(Default)]
struct Log {
    vote: Option<VoteOf<Types>>,
    purged: Option<LogIdOf<Types>>,
    entries: VecDeque<EntryOf<Types>>,
}

impl Log {
    /// Where the entry of that index is, or would be.
    fn position(&self, index: u64) -> usize {
        let first = self.entries.front().map_or(index, RaftEntry::index);
        (index.saturating_sub(first) as usize).min(self.entries.len())
    }
}

impl LogStore {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().expect("no holder of the log panics")
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<EntryOf<Types>>>
    where
        R: RangeBounds<u64> + Clone + Debug + Send,
    {
        let log = self.log();
        let from = match range.start_bound() {
            Bound::Included(&index) => log.position(index),
            Bound::Excluded(&index) => log.position(index + 1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(&index) => log.position(index + 1),
            Bound::Excluded(&index) => log.position(index),
            Bound::Unbounded => log.entries.len(),
        };
        Ok(log.entries.range(from..to.max(from)).cloned().collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf<Types>>> {
        Ok(self.log().vote)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let log = self.log();
        let last = log.entries.back().map(RaftEntry::log_id).or(log.purged);
        Ok(LogState {
            last_purged_log_id: log.purged,
            last_log_id: last,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<Types>) -> io::Result<()> {
        self.log().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, done: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = EntryOf<Types>> + Send,
        I::IntoIter: Send,
    {
        self.log().entries.extend(entries);
        done.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<Types>>) -> io::Result<()> {
        let mut log = self.log();
        let keep = last.map_or(0, |id| log.position(id.index() + 1));
        log.entries.truncate(keep);
        Ok(())
    }

    async fn purge(&mut self, upto: LogIdOf<Types>) -> io::Result<()> {
        let mut log = self.log();
        let gone = log.position(upto.index() + 1);
        log.entries.drain(..gone);
        log.purged = Some(upto);
        Ok(())
    }
}

/// A state machine that knows only how far it has come. Its snapshots carry no data.
#[derive(Clone, Default)]
pub(super) struct Machine {
    applied: Option<LogIdOf<Types>>,
    membership: StoredMembershipOf<Types>,
    /// The last snapshot, shared with the builders.
    snapshot: Arc<Mutex<Option<SnapshotMetaOf<Types>>>>,
}

impl Machine {
    fn snapshot(&self) -> MutexGuard<'_, Option<SnapshotMetaOf<Types>>> {
        self.snapshot.lock().expect("no holder of the snapshot panics")
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, ()>> {
        let meta = SnapshotMetaOf::<Types> {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        };
        *self.snapshot() = Some(meta.clone());
        Ok(SnapshotOf::<Types, ()> { meta, snapshot: () })
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogIdOf<Types>>, StoredMembershipOf<Types>)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + Send,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            self.applied = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = entry.payload {
                self.membership = StoredMembershipOf::<Types>::new(self.applied, membership);
            }
            if let Some(responder) = responder {
                responder.send(Response);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMetaOf<Types>, (): ()) -> io::Result<()> {
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        *self.snapshot() = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, ()>>> {
        Ok(self
            .snapshot()
            .clone()
            .map(|meta| SnapshotOf::<Types, ()> { meta, snapshot: () }))
    }
}
