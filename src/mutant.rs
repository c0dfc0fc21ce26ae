//! Deliberate faults: the proof that the checks find what they are there for.
//!
//! Each is a mistake that a store of this kind has been caught in, or that one could make here in a line or two. With
//! the feature `mutants`, which is never on by default, one can be switched on for a thread; without it, asking whether
//! one is on is the constant "no", and nothing of them is in the program.

macro_rules! mutants {
    ($($(#[doc = $doc:literal])* $name:ident = $word:literal,)*) => {
        /// A deliberate fault.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        #[cfg_attr(not(feature = "mutants"), expect(unreachable_pub, reason = "public with the feature"))]
        pub enum Mutant {
            $($(#[doc = $doc])* $name,)*
        }

        #[cfg(feature = "mutants")]
        impl Mutant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// What it is called.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// What it does.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),*),)*
                }
            }
        }
    };
}

mutants! {
    /// A start names its writes as the start before it did.
    ReuseDots = "reuse-dots",
    /// A put supersedes nothing of what its context has seen.
    IgnoreContext = "ignore-context",
    /// A put speaks for all that its coordinator's clock covers.
    WriteSpeaksForClock = "write-speaks-for-clock",
    /// A delete supersedes also what it has not seen.
    DeleteEverything = "delete-everything",
    /// A context covers what the coordinator knows, not what the replies spoke for.
    ContextOfClock = "context-of-clock",
    /// A version vector without dots: whoever has an event is taken to have all before it.
    NoGaps = "no-gaps",
    /// A join drops what is concurrent with what is there.
    DropConcurrent = "drop-concurrent",
    /// A join cuts siblings beyond the cap.
    CutAtJoin = "cut-at-join",
    /// The dots that a record supersedes are forgotten, though the clock doesn't cover them yet.
    ForgetResidual = "forget-residual",
    /// An owner that has deleted a record forgets that it ever knew what was in it.
    ForgetDeletes = "forget-deletes",
    /// An owner shows its records without its clock.
    ShowNoClock = "show-no-clock",
    /// A clock keeps the dots of a write that the storage has refused.
    ClockAheadOfRecords = "clock-ahead-of-records",
    /// The clock's line is written before the record, in a batch of its own.
    ClockBeforeRecord = "clock-before-record",
    /// A start reads only a part of its clocks.
    LoseClockAtStart = "lose-clock-at-start",
    /// A put is acknowledged by one replica less than it takes.
    OneLess = "one-less",
    /// A repeated acknowledgement counts again.
    CountTwice = "count-twice",
    /// A replica that refuses counts as one that has stored.
    CountRefusals = "count-refusals",
    /// A replica that can't read counts as one that has nothing.
    CountReadErrors = "count-read-errors",
    /// A hint counts though the quorum is strict.
    CountHintsInStrict = "count-hints-in-strict",
    /// An acknowledgement doesn't wait for the sync.
    AcknowledgeUnsynced = "acknowledge-unsynced",
    /// A put whose outcome is unknown is reported as refused.
    UnknownIsRefused = "unknown-is-refused",
    /// A conditional put doesn't look.
    IgnoreCondition = "ignore-condition",
    /// Whoever coordinates a forwarded write gives it another dot.
    NameAgain = "name-again",
    /// An owner forgets what it has turned away at the sibling cap.
    ForgetTurnedAway = "forget-turned-away",
    /// Who was merged at the cap may go on as if it had seen the merge.
    ContextOfMerge = "context-of-merge",
    /// What a message says by a name that its receiver doesn't know is taken for nothing.
    UnknownIsEmpty = "unknown-is-empty",
    /// A message says a name though not all of its dots are in the set.
    NameOutside = "name-outside",
    /// Repair replaces what an owner has.
    RepairOverwrites = "repair-overwrites",
    /// Repair sends one of the siblings, and speaks for all.
    RepairWithOneSibling = "repair-with-one-sibling",
    /// Repair is sent to those that agree, too.
    RepairAlways = "repair-always",
    /// No replica is repaired after a read.
    RepairNever = "repair-never",
    /// A hint is dropped when it is sent.
    DropHintWhenSent = "drop-hint-when-sent",
    /// A hint is dropped though another write was joined into it meanwhile.
    DropChangedHint = "drop-changed-hint",
    /// A hint replaces what its target has.
    HintOverwrites = "hint-overwrites",
    /// A second hint for a key replaces the first.
    HintReplacesHint = "hint-replaces-hint",
    /// Hints are forgotten when their holder starts.
    ForgetHints = "forget-hints",
    /// Hints never go home.
    KeepHints = "keep-hints",
    /// A hint that finds no room takes the place of another.
    DropHintForRoom = "drop-hint-for-room",
    /// A node that is back lets all that have hints for it send them at once.
    TwoLeases = "two-leases",
    /// A batch of hints that was not acknowledged is sent again as it was.
    WindowNeverShrinks = "window-never-shrinks",
    /// Hints have no bound.
    UnboundedHints = "unbounded-hints",
    /// Who was suspected once is suspected for ever.
    SuspectForEver = "suspect-for-ever",
    /// A timestamp from the far future is believed.
    BelieveFarFuture = "believe-far-future",
    /// A write with an older timestamp is dropped, though it has seen what it replaces.
    TimestampBeatsCausality = "timestamp-beats-causality",
    /// An owner that has lost something counts in reads as if it had not.
    CountRefilling = "count-refilling",
    /// Owners never compare themselves.
    ExchangeNever = "exchange-never",
    /// The clock takes in the opening's before all records have come.
    OpeningBeforeRecords = "opening-before-records",
    /// Where the log of dots has gaps, an exchange by clocks shows what is left of it.
    ServeGaps = "serve-gaps",
    /// A full exchange takes keys for equal whose live versions are, though one side has yet to refuse something.
    EqualWhenUnsettled = "equal-when-unsettled",
    /// A key into which something came during a full exchange is not fetched again.
    FetchOnce = "fetch-once",
    /// A full exchange ends with the clock that came with the last records.
    LaterClock = "later-clock",
    /// A page of records is taken in without the clock that goes with it.
    PageWithoutClock = "page-without-clock",
    /// The digest keeps what was deleted.
    DigestKeepsDeletes = "digest-keeps-deletes",
    /// Records that are not what was written pass for right.
    ScrubBelieves = "scrub-believes",
    /// An exchange goes on with a peer that has lost everything since it began.
    ExchangeOutlivesPeer = "exchange-outlives-peer",
    /// A record that another owner does not have says nothing, whatever that one's clock knows.
    AbsentSaysNothing = "absent-says-nothing",
    /// A list of keys that lacks one passes for all that there is.
    ListBelieves = "list-believes",
    /// A partition that has lost something keeps its clock.
    LoseKeepsClock = "lose-keeps-clock",
    /// A partition that has lost something is whole after one exchange.
    RefillAfterOne = "refill-after-one",
    /// A frame's checksum is not looked at.
    IgnoreChecksum = "ignore-checksum",
    /// A write doesn't promise the layouts that it names.
    WriteKeepsPromise = "write-keeps-promise",
    /// A replica takes writes that don't name what it has promised.
    WriteIgnoresPromise = "write-ignores-promise",
    /// A replica takes writes that don't name what it has sealed for.
    WriteIgnoresSeals = "write-ignores-seals",
    /// A replica serves requests that know less of what is decided than it does.
    OldFloorPasses = "old-floor-passes",
    /// A replica that has sealed still answers reads of the earlier layouts.
    ReadIgnoresSeals = "read-ignores-seals",
    /// What was acknowledged still counts when a write names more layouts.
    KeepAcksWhenNamingMore = "keep-acks-when-naming-more",
    /// What was acknowledged still counts when another layout is decided.
    KeepAcksWhenFloorRises = "keep-acks-when-floor-rises",
    /// A replica promises the layout that comes first, and no other until that is decided.
    FirstCome = "first-come",
    /// A replica seals for a layout below what it has promised.
    SealBelowPromise = "seal-below-promise",
    /// A replica remembers the last layout that it has sealed for.
    TopSealOnly = "top-seal-only",
    /// An owner holds a layout without having promised it.
    HoldWithoutPromise = "hold-without-promise",
    /// One owner that holds a layout is enough.
    OneHolder = "one-holder",
    /// A new owner collects from one owner of each layout.
    CollectFromOne = "collect-from-one",
    /// A new owner collects from the decided layout alone.
    LeaveOutRivals = "leave-out-rivals",
    /// A new owner leaves out what is decided, where few owners of an earlier layout know it.
    LeaveOutFloors = "leave-out-floors",
    /// One seal in each layout decides.
    DecideByOneSeal = "decide-by-one-seal",
    /// A former owner drops its copy though it has promised a later layout.
    DeleteWhilePending = "delete-while-pending",
    /// A former owner drops its copy without asking.
    DeleteUncovered = "delete-uncovered",
    /// What was acknowledged to a put before it was sent again for other layouts counts still.
    OldRoundCounts = "old-round-counts",
    /// An owner to be counts what it collected of an owner that had lost something.
    CollectUnwhole = "collect-unwhole",
    /// An owner to be counts the copy that it made before anybody was fenced.
    CopyCounts = "copy-counts",
    /// A fence is answered before the promise is durable.
    FenceUnsynced = "fence-unsynced",
    /// A copy that no layout names takes writes.
    GoingTakesWrites = "going-takes-writes",
    /// An acknowledgement or an answer of a store counts that the layout doesn't name.
    AnyStoreCounts = "any-store-counts",
}

#[cfg(feature = "mutants")]
std::thread_local! {
    static ON: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Switches a fault on for everything that this thread does from now on, or all of them off.
#[cfg(feature = "mutants")]
pub fn switch(mutant: Option<Mutant>) {
    ON.set(mutant);
}

#[cfg(feature = "mutants")]
pub(crate) fn is(mutant: Mutant) -> bool {
    ON.get() == Some(mutant)
}

#[cfg(not(feature = "mutants"))]
pub(crate) const fn is(_: Mutant) -> bool {
    false
}
