//! What a node has done, in numbers.

use serde::{Deserialize, Serialize};

/// What a node has done since it was opened: plain numbers, for whatever collects them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counters {
    /// Gets answered, failures included.
    pub gets: u64,
    /// Puts and deletes answered, failures included.
    pub puts: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Gets that met more than one version.
    pub divergent: u64,
    /// Versions met by those gets.
    pub siblings: u64,
    /// Records sent to replicas that a read had found behind.
    pub repairs: u64,
    /// Reads that asked one more replica because another was slow.
    pub hedges: u64,
    /// Reads that more than one owner has answered, late answers included.
    pub gets_compared: u64,
    /// Of those, reads in which the owner that answered first lacked something that another answer showed: with R = 1 they
    /// would have missed it. What was written while they were under way counts too.
    pub gets_first_behind: u64,
    /// Writes acknowledged by this node as their coordinator, whichever node was asked, that it has done with: all that
    /// is to know of them is known.
    pub puts_led: u64,
    /// Of those, writes that all owners had stored before that, within the request's deadline: W = N would have been met.
    pub puts_at_all: u64,
    /// Writes handed to another node because this one owns no copy.
    pub forwards: u64,
    /// Hints that it held when it was opened. Hints of one key for one node are one.
    pub hints_found: u64,
    /// Hints that this node took in, joined ones among them.
    pub hints_kept: u64,
    /// Of those, hints that were joined into one that it held already: one fewer goes home.
    pub hints_joined: u64,
    /// Hints that it refused for want of room. They were never taken in.
    pub hints_refused: u64,
    /// Hints that it sent, repeats among them.
    pub hints_sent: u64,
    /// Batches of hints for it that it did not take, because another node's were being stored.
    pub hints_waited: u64,
    /// Hints that their targets have stored, or had covered already, as they stood here: they are gone.
    pub hints_delivered: u64,
    /// Hints that its disk has garbled or lost: they are gone, and never arrived. Where this node is an owner, what they
    /// were part of is marked ([`Debt::Dirty`](crate::status::Debt::Dirty)).
    pub hints_dropped: u64,
    /// Hints that it holds now.
    pub hints_pending: u64,
    /// Messages refused: another layout, not an owner, or of a node that speaks no version of this node's protocol.
    pub refused: u64,
    /// Names that this node asked for because a message said them: the message waits until it has been told.
    pub unnamed: u64,
    /// Syncs.
    pub commits: u64,
    /// Records whose residual the clock doesn't cover yet.
    pub unsettled: u64,
    /// Records that came in exchanges with other owners.
    pub exchanged: u64,
    /// How many of these changed anything.
    pub exchanged_needed: u64,
    /// Exchanges over the trees.
    pub full_exchanges: u64,
    /// Exchanges that were begun for partitions that change hands.
    pub move_exchanges: u64,
    /// Requests refused because they knew too little of layouts.
    pub behind: u64,
    /// Requests that it sent again because other layouts count than before.
    pub sent_again: u64,
    /// Partitions that were to come here by a layout, and then by a later one.
    pub superseded: u64,
    /// Partitions for which it has collected what was sealed for beside what was decided.
    pub rivals: u64,
    /// Partitions that have come to this node by a layout, or have stayed by a later one.
    pub moves_done: u64,
    /// Copies that it has dropped since no layout named them any more.
    pub moves_dropped: u64,
    /// Records that came for partitions on their way to it.
    pub moved_records: u64,
    /// The bytes of their values.
    pub moved_bytes: u64,
    /// Layouts that came and can't be ones of this cluster: they have another number of copies or partitions.
    pub layouts_refused: u64,
}

impl Counters {
    /// Whether every hint is accounted for: what was found and taken in was joined, delivered, dropped as damaged, or is
    /// still there.
    ///
    /// `hints_found + hints_kept = hints_joined + hints_delivered + hints_dropped + hints_pending`, after every call into a
    /// node. Nothing else ends a hint: none is dropped for its age, and for want of room it is the new one that is
    /// refused. The numbers begin anew when the node is opened, with what is stored; what a crash has undone is found as
    /// it was before.
    #[must_use]
    pub const fn hints_balance(&self) -> bool {
        self.hints_found + self.hints_kept
            == self.hints_joined + self.hints_delivered + self.hints_dropped + self.hints_pending
    }

    /// Adds another node's or shard's numbers.
    pub fn add(&mut self, other: &Self) {
        self.gets += other.gets;
        self.puts += other.puts;
        self.failed += other.failed;
        self.divergent += other.divergent;
        self.siblings += other.siblings;
        self.repairs += other.repairs;
        self.hedges += other.hedges;
        self.gets_compared += other.gets_compared;
        self.gets_first_behind += other.gets_first_behind;
        self.puts_led += other.puts_led;
        self.puts_at_all += other.puts_at_all;
        self.forwards += other.forwards;
        self.hints_found += other.hints_found;
        self.hints_kept += other.hints_kept;
        self.hints_joined += other.hints_joined;
        self.hints_refused += other.hints_refused;
        self.hints_delivered += other.hints_delivered;
        self.hints_sent += other.hints_sent;
        self.hints_waited += other.hints_waited;
        self.unnamed += other.unnamed;
        self.hints_dropped += other.hints_dropped;
        self.hints_pending += other.hints_pending;
        self.refused += other.refused;
        self.commits += other.commits;
        self.unsettled += other.unsettled;
        self.exchanged += other.exchanged;
        self.exchanged_needed += other.exchanged_needed;
        self.full_exchanges += other.full_exchanges;
        self.move_exchanges += other.move_exchanges;
        self.behind += other.behind;
        self.sent_again += other.sent_again;
        self.superseded += other.superseded;
        self.rivals += other.rivals;
        self.moves_done += other.moves_done;
        self.moves_dropped += other.moves_dropped;
        self.moved_records += other.moved_records;
        self.moved_bytes += other.moved_bytes;
        self.layouts_refused += other.layouts_refused;
    }
}
