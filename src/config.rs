//! Settings, validated when they are made. Every default says why.

use std::time::Duration;

/// How many replicas an object has, and how many must answer a read and a write.
///
/// With `r + w > n` and strict requests a read sees the last acknowledged write. The paper's common choice is
/// (3, 2, 2); (n, 1, n) is its read engine, and `w = 1` never refuses a write while one node lives (Dynamo §4.5, §6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quorum {
    n: u8,
    r: u8,
    w: u8,
}

impl Quorum {
    /// The most replicas that an object can have.
    pub const N_MAX: u8 = 16;

    /// `n` replicas, `r` answers to a read, `w` to a write.
    ///
    /// # Errors
    /// [`ConfigError::Quorum`] unless 1 ≤ r ≤ n, 1 ≤ w ≤ n and n ≤ 16.
    pub const fn new(n: u8, r: u8, w: u8) -> Result<Self, ConfigError> {
        if n == 0 || n > Self::N_MAX || r == 0 || r > n || w == 0 || w > n {
            return Err(ConfigError::Quorum { n, r, w });
        }
        Ok(Self { n, r, w })
    }

    /// Replicas of each object.
    #[must_use]
    pub const fn n(self) -> u8 {
        self.n
    }

    /// Answers that a read waits for.
    #[must_use]
    pub const fn r(self) -> u8 {
        self.r
    }

    /// Answers that a write waits for.
    #[must_use]
    pub const fn w(self) -> u8 {
        self.w
    }

    /// Whether every read quorum meets every write quorum.
    #[must_use]
    pub const fn overlaps(self) -> bool {
        self.r as u16 + self.w as u16 > self.n as u16
    }
}

/// (3, 2, 2): what the paper's production services commonly use, and what all its measurements used (§6).
impl Default for Quorum {
    fn default() -> Self {
        Self { n: 3, r: 2, w: 2 }
    }
}

/// Whose answers count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub enum Mode {
    /// The first N healthy nodes: a fallback that holds a hint for an owner counts toward W, and a read that can't
    /// reach R owners answers from what it reached. Always writeable; a read may miss the last write (Dynamo §4.6).
    #[default]
    Sloppy,
    /// The key's N owners alone. With R + W > N a read sees the last acknowledged write; with too few owners within
    /// reach the request is refused.
    Strict,
    /// As sloppy, but so many answers at least must be of owners (Riak's PR and PW); R or W is no less than that. With
    /// zero it is sloppy, with R or W it promises what strict does.
    Owners(u8),
}

impl Mode {
    /// Whether answers of nodes that stand in for owners are of use.
    pub(crate) fn takes_fallbacks(self) -> bool {
        self != Self::Strict
    }

    /// None of the answers need be an owner's: then it is sloppy by another name.
    pub(crate) fn plain(self) -> Self {
        if self == Self::Owners(0) { Self::Sloppy } else { self }
    }

    /// How many answers must be of owners, where others count too.
    pub(crate) const fn owners(self) -> u8 {
        match self {
            Self::Sloppy | Self::Strict => 0,
            Self::Owners(count) => count,
        }
    }
}

/// What must differ between the answers that count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub enum Spread {
    /// The nodes: no node counts twice.
    #[default]
    Nodes,
    /// The zones: W answers of W different zones, so that an acknowledged write survives the loss of W - 1 zones.
    Zones,
}

/// Where a write must be on disk before it is acknowledged (Dynamo §6.1).
///
/// W nodes have it in every case. Who has it in memory alone syncs it within [`Timing::flush`], or sooner: when
/// [`Limits::buffered`] writes wait, or when something is asked or written that takes a sync. Until then a crash of that
/// process takes it back. Reads show it meanwhile.
///
/// A delete is synced by its coordinator before it is acknowledged, whatever is asked for: nobody may hear of a delete
/// that a crash can take back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub enum Durability {
    /// At all W nodes that count.
    #[default]
    Quorum,
    /// At the coordinator; the other W - 1 have it in memory. It is lost if the coordinator's disk goes together with
    /// the others' processes.
    Coordinator,
    /// At none of the W: all have it in memory. One more owner, the last in order that can be reached, syncs it at once, and
    /// nobody waits for that, so that an acknowledgement is as fast as with [`Durability::Memory`] while W < N. This is the
    /// paper's durable write. It is lost if the processes of the W crash before they sync, and that owner never got it
    /// or loses its disk, too.
    One,
    /// At none. It is lost if all the processes that have it crash before one of them has synced.
    Memory,
}

impl Durability {
    /// Whether an owner may acknowledge before its copy is synced.
    pub(crate) fn waives_sync(self) -> bool {
        self != Self::Quorum
    }
}

/// Bounds, each with a named behaviour when it is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest key in bytes; a longer one is refused. Default 4 KiB: keys travel with every message and hint.
    pub key: usize,
    /// Longest value in bytes; a longer one is refused. Default 1 MiB: the paper's objects are usually smaller (§2.1).
    pub value: usize,
    /// Most siblings that a put may leave; at the cap the reconciler is asked to merge, and if it keeps all, the put
    /// is refused. Joins, repair and hints are never cut. Default 100, as in Riak.
    pub siblings: usize,
    /// Most bytes that the values of one object may have together when a put is admitted; beyond them the put is treated
    /// as one at the cap on siblings. Joins and repair are never cut: N coordinators can each admit as much at once, and
    /// replicas join all of it. A hint that would grow beyond this by joining is refused for want of room. At least
    /// `value`. Default 4 MiB: four of the longest values.
    pub object: usize,
    /// Longest sealed context in bytes; a longer one is refused unread. Default 64 KiB: thousands of actors.
    pub context: usize,
    /// Most requests in progress at one node; a further one is refused as overloaded. Default 16,384: 16 × the
    /// concurrency at which throughput peaks.
    pub in_flight: usize,
    /// Most bytes of hints that one node keeps for one target; a further one is refused, and the write doesn't count
    /// it. Default 256 MiB.
    pub hint_bytes: u64,
    /// Most records in one batch of hints. Default 64: enough to make the cost of a batch vanish.
    pub hint_batch: usize,
    /// Most keys in one page of a listing. Default 1,000.
    pub page: usize,
    /// Latest writes of each partition whose keys are remembered: an owner that lacks older ones too is found out by the
    /// trees. Default 1,024: some 100 KB per partition that is written to.
    pub dot_log: usize,
    /// Most records in one answer of an exchange. Default 256.
    pub exchange_batch: usize,
    /// Longest frame of messages in bytes; a longer one is refused before it is decoded. At least four times `object`,
    /// `key` and `context` together: what three coordinators admit at once, and one more. With N > 3 it should be N + 1
    /// times as much, or an object that N coordinators filled at once can't be read. Default 32 MiB: enough for N = 6.
    pub frame: usize,
    /// How many rows of a partition's clock, of starts of nodes that are over, are given a name together; the rows that
    /// have none go with every clock and context. Default 8, so that a context stays below some 200 bytes. Fewer make
    /// more names, and a name costs some 45 bytes on disk at every owner, for good.
    pub named_rows: usize,
    /// Most writes that a shard keeps in memory before it syncs them, where nobody waits for the sync. Default 1,000: the
    /// paper's buffer (§6.1).
    pub buffered: usize,
    /// Most messages that wait for a node; further ones are dropped, as a network may. Default 65,536.
    pub inbox: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            key: 4 << 10,
            value: 1 << 20,
            siblings: 100,
            object: 4 << 20,
            context: 64 << 10,
            in_flight: 16_384,
            hint_bytes: 256 << 20,
            hint_batch: 64,
            page: 1_000,
            dot_log: 1_024,
            exchange_batch: 256,
            frame: 32 << 20,
            named_rows: 8,
            buffered: 1_000,
            inbox: 65_536,
        }
    }
}

/// Durations of the protocol. None of them is needed for safety.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a request may take; then it fails with what it has. Default 2 s.
    pub deadline: Duration,
    /// How long a replica may take before the next node is asked in its stead. Default 100 ms: above the p99.9 of a
    /// healthy replica, below a third of the paper's 300 ms SLA.
    pub fallback: Duration,
    /// How long a peer that was asked something may at least stay silent before it is suspected, and skipped until it is
    /// heard again. It is asked again meanwhile; where messages get lost, or answers take long, it may take longer.
    /// Default 250 ms.
    pub suspect: Duration,
    /// A peer that was neither heard nor asked for so long is probed, so that its end is noticed without any request.
    /// At most 8 such probes leave in this time. Default 5 s: a cluster at rest says little. [`Duration::MAX`]: never.
    pub quiet: Duration,
    /// How long after an answer late replies are awaited for read repair. Default 50 ms.
    pub repair: Duration,
    /// The first pause between probes of a suspected peer; it doubles up to 16 times this. Default 100 ms.
    pub probe: Duration,
    /// How often hints are tried, and how long a batch of them may take. Default 500 ms.
    pub handoff: Duration,
    /// How long a write may stay in memory alone, where its [`Durability`] lets it. Default 1 s, as Redis has it.
    pub flush: Duration,
    /// How often records that still carry a residual are looked at. Default 1 s.
    pub sweep: Duration,
    /// How often each owner of a partition compares itself with each other. Default 5 s. [`Duration::MAX`]: never.
    pub exchange: Duration,
    /// How often a node tells another what it knows of the membership, if it takes part in gossip; a few times as often
    /// while something is news. Default 1 s (Dynamo §4.8.1). [`Duration::MAX`]: never, it only answers.
    pub gossip: Duration,
    /// In which time a node reads all that it holds once, to find what its disk has garbled or lost. Default 1 day: at
    /// 100 GB that is about 1 MB a second. [`Duration::MAX`]: never.
    pub scrub: Duration,
    /// How long 99 of a hundred requests may take while hints go home, owners are compared and records are read: above
    /// this such work goes slower, down to one slice of each kind a second (Dynamo §6.5). Default 50 ms, the paper's, and
    /// half of `fallback`. [`Duration::MAX`]: it always goes at full speed.
    pub foreground: Duration,
    /// How far ahead of its own wall clock a node believes a timestamp. Default 1 minute: beyond what NTP leaves, and
    /// Aerospike's 27 s.
    pub skew: Duration,
    /// How many of a hundred reads may ask one replica more than they need, because the others are slower than their
    /// own 95th percentile. Default 5: what the tail costs (Dean and Barroso, CACM 2013).
    pub hedge_percent: u8,
    /// A client's request that took longer is reported ([`Event::Slow`](crate::Event::Slow)). Default [`Duration::MAX`]: none is.
    pub slow: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(2),
            fallback: Duration::from_millis(100),
            suspect: Duration::from_millis(250),
            quiet: Duration::from_secs(5),
            repair: Duration::from_millis(50),
            probe: Duration::from_millis(100),
            handoff: Duration::from_millis(500),
            flush: Duration::from_secs(1),
            sweep: Duration::from_secs(1),
            exchange: Duration::from_secs(5),
            gossip: Duration::from_secs(1),
            scrub: Duration::from_secs(24 * 3_600),
            foreground: Duration::from_millis(50),
            skew: Duration::from_secs(60),
            hedge_percent: 5,
            slow: Duration::MAX,
        }
    }
}

impl Limits {
    /// # Errors
    /// [`ConfigError::Limit`] for a bound of zero or beyond 4 GiB (hints may have more), or for objects that can't hold
    /// one value; [`ConfigError::Frame`] for a frame that can't hold four objects with key and context.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let bounds: [(&'static str, usize); 14] = [
            ("key", self.key),
            ("value", self.value),
            ("siblings", self.siblings),
            ("object", self.object),
            ("context", self.context),
            ("in_flight", self.in_flight),
            ("hint_batch", self.hint_batch),
            ("page", self.page),
            ("dot_log", self.dot_log),
            ("exchange_batch", self.exchange_batch),
            ("frame", self.frame),
            ("named_rows", self.named_rows),
            ("buffered", self.buffered),
            ("inbox", self.inbox),
        ];
        for (name, value) in bounds {
            if value == 0 || u32::try_from(value).is_err() {
                return Err(ConfigError::Limit { name, value });
            }
        }
        if self.hint_bytes == 0 {
            return Err(ConfigError::Limit { name: "hint_bytes", value: 0 });
        }
        if self.object < self.value {
            return Err(ConfigError::Limit { name: "object", value: self.object });
        }
        let least = self.object.saturating_add(self.key).saturating_add(self.context).saturating_mul(4);
        if self.frame < least {
            return Err(ConfigError::Frame { frame: self.frame, least });
        }
        Ok(())
    }
}

impl Timing {
    /// # Errors
    /// [`ConfigError::Timing`] for a duration of zero (but `skew`, which may be), a fallback that comes no sooner than
    /// the deadline, or a suspicion that comes later.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let durations = [
            ("deadline", self.deadline),
            ("fallback", self.fallback),
            ("suspect", self.suspect),
            ("quiet", self.quiet),
            ("repair", self.repair),
            ("probe", self.probe),
            ("handoff", self.handoff),
            ("flush", self.flush),
            ("sweep", self.sweep),
            ("exchange", self.exchange),
            ("gossip", self.gossip),
            ("scrub", self.scrub),
            ("foreground", self.foreground),
        ];
        for (name, duration) in durations {
            if duration.is_zero() {
                return Err(ConfigError::Timing { name, duration });
            }
        }
        if self.fallback >= self.deadline {
            return Err(ConfigError::Timing { name: "fallback", duration: self.fallback });
        }
        if self.suspect > self.deadline {
            return Err(ConfigError::Timing { name: "suspect", duration: self.suspect });
        }
        Ok(())
    }
}

/// Why settings were refused. Nothing was opened or written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not 1 ≤ r ≤ n, 1 ≤ w ≤ n, n ≤ 16. Nothing was opened.
    #[error("no such quorum: n {n}, r {r}, w {w}; it takes 1 ≤ r ≤ n, 1 ≤ w ≤ n and n ≤ 16")]
    Quorum {
        /// Replicas.
        n: u8,
        /// Answers to a read.
        r: u8,
        /// Answers to a write.
        w: u8,
    },
    /// A keyspace's number of replicas is not the layout's. Nothing was opened.
    #[error("keyspace {keyspace:?} wants {n} replicas, the layout has {layout}")]
    Replicas {
        /// The keyspace.
        keyspace: String,
        /// What it wants.
        n: u8,
        /// What the layout has.
        layout: u8,
    },
    /// A bound is zero or beyond 4 GiB, or that of an object is less than that of a value. Nothing was opened.
    #[error("the bound {name} can't be {value}")]
    Limit {
        /// The bound's name in [`Limits`], or `max_siblings` of a keyspace.
        name: &'static str,
        /// Its value.
        value: usize,
    },
    /// The longest frame can't hold the largest objects. Nothing was opened.
    #[error("a frame of {frame} bytes can't hold four objects with key and context: it takes {least}")]
    Frame {
        /// The frame's bound.
        frame: usize,
        /// What it takes.
        least: usize,
    },
    /// A duration is zero, or later than the deadline. Nothing was opened.
    #[error("the duration {name} can't be {duration:?}")]
    Timing {
        /// The duration's name in [`Timing`].
        name: &'static str,
        /// Its value.
        duration: Duration,
    },
    /// Two keyspaces have one name, or names whose ids collide. Nothing was opened.
    #[error("keyspaces {0:?} and {1:?} are one: rename one of them")]
    Keyspaces(String, String),
    /// No layout can be made of the members. Nothing was opened.
    #[error("no layout: {0}")]
    Layout(String),
    /// What the node is to say of itself to others can't be. Nothing was opened.
    #[error("the node can't be introduced: {0}")]
    Membership(String),
    /// There is no keyspace, or no shard. Nothing was opened.
    #[error("there must be at least one {0}")]
    Nothing(&'static str),
    /// The node is not a member of the layout, and takes no part in gossip, by which it could become one. Nothing was
    /// opened.
    #[error("{0} is not a member of the layout")]
    NotAMember(crate::ids::NodeId),
    /// A client has the name of a member of the layout ([`Setup::client`](crate::Setup::client)). Nothing was opened.
    #[error("{0} is a member of the layout, and can't be a client")]
    Client(crate::ids::NodeId),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_quorums_are_refused_and_all_others_are_not() {
        for n in 0..=20 {
            for r in 0..=20 {
                for w in 0..=20 {
                    let possible = (1..=16).contains(&n) && (1..=n).contains(&r) && (1..=n).contains(&w);
                    match Quorum::new(n, r, w) {
                        Ok(quorum) => {
                            assert!(possible);
                            assert_eq!((quorum.n(), quorum.r(), quorum.w()), (n, r, w));
                            assert_eq!(quorum.overlaps(), r + w > n);
                        }
                        Err(error) => {
                            assert!(!possible);
                            assert_eq!(error, ConfigError::Quorum { n, r, w });
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_defaults_are_valid_and_each_zero_is_not() {
        assert_eq!(Limits::default().validate(), Ok(()));
        assert_eq!(Timing::default().validate(), Ok(()));
        assert!(Limits { key: 0, ..Limits::default() }.validate().is_err());
        assert!(Limits { hint_bytes: 0, ..Limits::default() }.validate().is_err());
        assert!(Limits { frame: 1 << 20, ..Limits::default() }.validate().is_err());
        assert!(Limits { object: (1 << 20) - 1, ..Limits::default() }.validate().is_err());
        assert!(Limits { object: usize::MAX, ..Limits::default() }.validate().is_err());
        assert!(Limits { frame: 4 * ((4 << 20) + (68 << 10)) - 1, ..Limits::default() }.validate().is_err());
        assert_eq!(Limits { frame: 4 * ((4 << 20) + (68 << 10)), ..Limits::default() }.validate(), Ok(()));
        assert!(Timing { probe: Duration::ZERO, ..Timing::default() }.validate().is_err());
        assert!(Timing { gossip: Duration::ZERO, ..Timing::default() }.validate().is_err());
        assert_eq!(Timing { gossip: Duration::MAX, ..Timing::default() }.validate(), Ok(()));
        assert!(Timing { fallback: Duration::from_secs(3), ..Timing::default() }.validate().is_err());
        assert!(Timing { suspect: Duration::from_secs(3), ..Timing::default() }.validate().is_err());
    }
}
