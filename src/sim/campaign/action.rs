//! What happens in a story, as values that can be drawn, left out, written down and read back.

use std::fmt;
use std::str::FromStr;

/// Makes an enum whose variants have a word and numbers, and the text of both.
macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $word:literal { $($field:ident),* })*) => {
        /// Something that a client does, or that befalls the cluster. Nodes are counted from 1, clients and keys from 0,
        /// times are in microseconds, sets of nodes are bits (bit 0 is node 1).
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        #[allow(missing_docs, reason = "the fields are named as the text above and the variant's own say")]
        pub enum Action {
            $($(#[$doc])* $name { $($field: u64),* },)*
        }

        impl Action {
            /// The words of all actions.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word of this kind of action.
            #[must_use]
            pub const fn word(&self) -> &'static str {
                match self {
                    $(Self::$name { .. } => $word,)*
                }
            }
        }

        impl fmt::Display for Action {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())?;
                match self {
                    $(Self::$name { $($field),* } => {
                        $(write!(f, concat!(" ", stringify!($field), "={}"), $field)?;)*
                    })*
                }
                Ok(())
            }
        }

        impl FromStr for Action {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let mut words = text.split_whitespace();
                let word = words.next().ok_or("an action without a word")?;
                let numbers = numbers(words)?;
                match word {
                    $($word => Ok(Self::$name { $($field: field(&numbers, stringify!($field))?),* }),)*
                    _ => Err(format!("no action is called {word:?}")),
                }
            }
        }
    };
}

/// Reads `name=number` pairs.
pub(super) fn numbers<'a>(words: impl Iterator<Item = &'a str>) -> Result<Vec<(&'a str, u64)>, String> {
    let pair = |word: &'a str| {
        let (name, number) = word.split_once('=').ok_or_else(|| format!("{word:?} is no name=number"))?;
        Ok((name, number.parse().map_err(|error| format!("{word:?}: {error}"))?))
    };
    words.map(pair).collect()
}

/// The number of that name.
pub(super) fn field(numbers: &[(&str, u64)], name: &str) -> Result<u64, String> {
    let found = numbers.iter().find(|(other, _)| *other == name);
    found.map(|(_, number)| *number).ok_or_else(|| format!("{name} is missing"))
}

actions! {
    /// A client reads; `all` asks every owner.
    Get = "get" { client, node, key, all }
    /// A client puts with what it knows: 0 nothing, 1 what it read before its last read, 2 what it read last. If
    /// `conditional` is 1, only if nothing has changed since.
    Put = "put" { client, node, key, knows, conditional }
    /// A client deletes with what it knows.
    Delete = "delete" { client, node, key, knows }
    /// A client reads, and puts (or, if `delete` is 1, deletes) with what it has read.
    Update = "update" { client, node, key, delete }
    /// A client lists keys, from a partition on.
    List = "list" { client, node, partition }
    /// A client sends a write of unknown outcome again.
    Repeat = "repeat" { client, node }

    /// The power of a node fails; of its unsynced batches so many survive.
    Crash = "crash" { node, kept }
    /// A node stops in good order.
    Stop = "stop" { node }
    /// A node starts, if it is down.
    Start = "start" { node }
    /// A node loses power and is back at once.
    Bounce = "bounce" { node, kept }
    /// A node does nothing for a while, and doesn't notice.
    Pause = "pause" { node, time }
    /// What a node has on its disk is copied away.
    Backup = "backup" { node }
    /// A node loses power and comes back with its last backup on its disk.
    Restore = "restore" { node }
    /// A node loses power and comes back with an empty disk.
    LoseData = "lose-data" { node }
    /// A second process starts under the node's name with a copy of its disk.
    Clone = "clone" { node }
    /// That process loses power for ever.
    EndClone = "end-clone" { node }

    /// So many percent of messages are lost.
    Loss = "loss" { percent }
    /// So many percent of messages arrive twice.
    Duplication = "duplication" { percent }
    /// So many percent of messages arrive with flipped bits.
    Corruption = "corruption" { percent }
    /// Messages overtake one another by up to so much.
    Reorder = "reorder" { time }
    /// Delays get an exponential tail of that mean.
    Tail = "tail" { time }
    /// Everything to and from a node takes so much longer.
    Slow = "slow" { node, time }
    /// Everything to and from a node waits for so long.
    Clog = "clog" { node, time }
    /// Nodes are clogged one by one and freed in another order.
    Swizzle = "swizzle" { nodes, time }
    /// Nothing gets from one node to another.
    Cut = "cut" { node, other }
    /// Nothing gets to or from a node.
    Isolate = "isolate" { node }
    /// Nothing gets between these nodes and the rest.
    Split = "split" { nodes }
    /// Nothing gets from these nodes to the rest; the other way it does.
    OneWay = "one-way" { nodes }
    /// These nodes and the rest reach one another through one node alone.
    Bridge = "bridge" { nodes, bridge }
    /// The network is well again.
    Heal = "heal" { }

    /// A disk fails to read.
    FailReads = "fail-reads" { node, shard }
    /// A disk is full.
    FillDisk = "fill-disk" { node, shard }
    /// A disk's next sync fails.
    FailSync = "fail-sync" { node, shard }
    /// A node's disks do again what they are told.
    Mend = "mend" { node }
    /// A stored bit flips in an object record.
    Rot = "rot" { node, shard, nth }
    /// A record is found in the place of another.
    Misdirect = "misdirect" { node, shard, nth }

    /// A node's clock is so many seconds ahead.
    Ahead = "ahead" { node, seconds }
    /// A node's clock is so many seconds behind.
    Behind = "behind" { node, seconds }
    /// A node's clock stands still.
    Freeze = "freeze" { node }
    /// A node's clock shows the largest time that there is.
    Latest = "latest" { node }
    /// A node's clock is right again.
    RightTime = "right-time" { node }

    /// Two new nodes start, and the next layout has them; these nodes (and nobody else) are told of it.
    Join = "join" { node, other, told }
    /// The next layout has a member less.
    Leave = "leave" { node, told }
    /// The next layout has a new node in the place of an old one.
    Replace = "replace" { node, by, told }
    /// The next layout has the owners that the latest one's parent had.
    Abort = "abort" { told }
    /// Two layouts come after one: with a new node, of which these nodes are told, and without a member, of which the
    /// others are.
    Rivals = "rivals" { nodes, node, leaver }
    /// The next layout names the store that a node has now, in the place of one that was lost.
    Renew = "renew" { node, told }
    /// Every node that runs is told of all layouts.
    Spread = "spread" { }
}

impl Action {
    /// Whether a client does it.
    #[must_use]
    pub const fn is_request(&self) -> bool {
        matches!(
            self,
            Self::Get { .. }
                | Self::Put { .. }
                | Self::Delete { .. }
                | Self::Update { .. }
                | Self::List { .. }
                | Self::Repeat { .. }
        )
    }

    /// Whether it ends what another did.
    #[must_use]
    pub const fn is_relief(&self) -> bool {
        matches!(
            self,
            Self::Start { .. }
                | Self::Backup { .. }
                | Self::EndClone { .. }
                | Self::Heal { .. }
                | Self::Mend { .. }
                | Self::RightTime { .. }
                | Self::Spread { .. }
        )
    }

    /// Whether it changes the layout.
    #[must_use]
    pub const fn is_change(&self) -> bool {
        matches!(
            self,
            Self::Join { .. }
                | Self::Leave { .. }
                | Self::Replace { .. }
                | Self::Abort { .. }
                | Self::Rivals { .. }
                | Self::Renew { .. }
        )
    }

    /// The node of a request, or of a fault that may strike any.
    pub(super) const fn anybody(&mut self) -> Option<&mut u64> {
        match self {
            Self::Get { node, .. }
            | Self::Put { node, .. }
            | Self::Delete { node, .. }
            | Self::Update { node, .. }
            | Self::List { node, .. }
            | Self::Repeat { node, .. }
            | Self::Crash { node, .. }
            | Self::Stop { node }
            | Self::Start { node }
            | Self::Bounce { node, .. }
            | Self::Pause { node, .. }
            | Self::Slow { node, .. }
            | Self::Clog { node, .. }
            | Self::Cut { node, .. }
            | Self::Isolate { node }
            | Self::FailReads { node, .. }
            | Self::FillDisk { node, .. }
            | Self::FailSync { node, .. }
            | Self::Mend { node } => Some(node),
            _ => None,
        }
    }

    /// Whether it takes from a node what it had made durable. What a cluster promises holds while at most one node
    /// is struck so, and every write has reached two.
    #[must_use]
    pub const fn is_amnesia(&self) -> bool {
        matches!(
            self,
            Self::Restore { .. }
                | Self::LoseData { .. }
                | Self::Clone { .. }
                | Self::Rot { .. }
                | Self::Misdirect { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_reads_as_it_is_written() {
        for action in [
            Action::Put { client: 1, node: 2, key: 3, knows: 2, conditional: 0 },
            Action::Heal {},
            Action::Bridge { nodes: 7, bridge: 3 },
            Action::Rivals { nodes: 5, node: 6, leaver: 2 },
        ] {
            assert_eq!(action.to_string().parse(), Ok(action));
        }
        assert_eq!(Action::Crash { node: 3, kept: 1 }.to_string(), "crash node=3 kept=1");
    }

    #[test]
    fn what_is_no_action_is_refused_with_the_reason() {
        let error = |text: &str| text.parse::<Action>().unwrap_err();
        assert_eq!(error(""), "an action without a word");
        assert_eq!(error("explode node=1"), "no action is called \"explode\"");
        assert_eq!(error("crash node=1"), "kept is missing");
        assert_eq!(error("crash node 1"), "\"node\" is no name=number");
        assert!(error("crash node=x kept=1").starts_with("\"node=x\": invalid digit"));
    }
}
