//! Everything that nodes say to each other.
//!
//! | message | from, to | answered by | durable before it leaves |
//! |---|---|---|---|
//! | `Write` | coordinator to owner, or to a fallback with a hint | `WriteReply` | nothing (a write may travel before it is synced) |
//! | `WriteReply` | back | | the write, unless it waives that |
//! | `Read` | coordinator to owner or fallback | `ReadReply` | nothing |
//! | `ReadReply` | back | | the state that it shows |
//! | `Repair` | a read's coordinator to an owner that is behind | nothing | the state that it shows, at its origins |
//! | `Forward` | first node to an owner | `ForwardReply` | nothing |
//! | `ForwardReply` | back | | as for the client's answer |
//! | `Hints` | fallback to the owner that came back | `HintsReply` | nothing |
//! | `HintsReply` | back | | the records |
//! | `List`, `ListReply` | any node to an owner, and back | | the state that it shows |
//! | `Probe`, `ProbeReply` | any node to a suspect, and back | | nothing |
//! | `Compare`, `Compared` | owner to owner, and back | | the state that it tells of |
//! | `Ask`, `Told` | owner to owner, and back: a step of an exchange | | the state that it tells of |

mod exchange;

pub(crate) use exchange::{Answer, Ask, Compare, Compared, Item, Keys, Mark, Page, Question, Records, Surveyed, Told};

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::causality::{Entry, Update, is_sorted};
use crate::config::{Durability, Mode, Spread};
use crate::dots::DotSet;
use crate::error::{Refusal, Shortfall};
use crate::hash::Secret;
use crate::ids::{KeyspaceId, LayoutId, NodeId, PartitionId, RequestId};
use crate::key::Key;
use crate::wire::list;

/// A message between nodes. Hosts pass it on, as a value within a process or through `Codec`, and needn't look into it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the table above tells what each is")]
pub enum Message {
    Write(Write),
    WriteReply(WriteReply),
    Read(Read),
    ReadReply(ReadReply),
    Repair(Repair),
    Forward(Forward),
    ForwardReply(ForwardReply),
    Hints(Hints),
    HintsReply(HintsReply),
    List(List),
    ListReply(ListReply),
    Probe(Probe),
    ProbeReply(Probe),
    Compare(Compare),
    Compared(Compared),
    Ask(Ask),
    Told(Told),
}

/// Store this update.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Write {
    pub(crate) request: RequestId,
    pub(crate) layout: LayoutId,
    pub(crate) key: Key,
    pub(crate) update: Arc<Update>,
    /// The owner for whom the receiver shall keep it, if it isn't for the receiver itself.
    pub(crate) hint_for: Option<NodeId>,
    pub(crate) durability: Durability,
}

/// The update is stored, or why not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WriteReply {
    pub(crate) request: RequestId,
    pub(crate) result: Result<(), Refusal>,
}

/// Show what you have of this key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Read {
    pub(crate) request: RequestId,
    pub(crate) layout: LayoutId,
    pub(crate) key: Key,
}

/// What there is of a key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReadReply {
    pub(crate) request: RequestId,
    pub(crate) result: Result<Shown, Refusal>,
}

/// A key as one node shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Shown {
    /// An owner's whole record, with its whole clock, both of one instant.
    Owner {
        #[serde(deserialize_with = "list")]
        live: Vec<Entry>,
        residual: DotSet,
        clock: Arc<DotSet>,
    },
    /// Hints that a fallback holds.
    Hint(Arc<Update>),
    /// A fallback without hints: it knows nothing.
    Nothing,
}

/// You were behind when you were read: join this.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Repair {
    pub(crate) layout: LayoutId,
    pub(crate) key: Key,
    #[serde(deserialize_with = "list")]
    pub(crate) live: Vec<Entry>,
    pub(crate) covered: Arc<DotSet>,
}

/// Coordinate this write; its dot is taken already.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Forward {
    pub(crate) request: RequestId,
    pub(crate) layout: LayoutId,
    pub(crate) key: Key,
    pub(crate) update: Arc<Update>,
    pub(crate) rule: WriteRule,
    /// Microseconds that are left of the request's time.
    pub(crate) left: u64,
    /// Whether the sender has tried no other node with this dot: then a coordinator that refuses at the sibling cap
    /// knows that the dot was never stored.
    pub(crate) first: bool,
}

/// What it takes for a write to succeed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct WriteRule {
    pub(crate) w: u8,
    pub(crate) mode: Mode,
    pub(crate) spread: Spread,
    pub(crate) durability: Durability,
}

/// How a forwarded write ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ForwardReply {
    pub(crate) request: RequestId,
    pub(crate) outcome: Forwarded,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Forwarded {
    /// Acknowledged by so many owners and fallbacks.
    Done { owners: u8, fallbacks: u8 },
    /// Nothing was stored: these siblings stand at the cap.
    AtCap {
        #[serde(deserialize_with = "list")]
        live: Vec<Entry>,
    },
    /// Too few answered; it may be stored.
    Failed(Shortfall),
    /// The coordinator didn't take it; nothing was stored.
    Refused(Refusal),
}

/// These updates were kept for you while you were away.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hints {
    pub(crate) request: RequestId,
    pub(crate) layout: LayoutId,
    #[serde(deserialize_with = "list")]
    pub(crate) items: Vec<HintItem>,
}

/// One of a batch of hints.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct HintItem {
    /// Its place in the batch, by which it is acknowledged.
    pub(crate) index: u32,
    pub(crate) key: Key,
    pub(crate) update: Arc<Update>,
}

/// These items of the batch are stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HintsReply {
    pub(crate) request: RequestId,
    #[serde(deserialize_with = "list")]
    pub(crate) stored: Vec<u32>,
}

/// Which keys of a keyspace do you have in this partition?
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct List {
    pub(crate) request: RequestId,
    pub(crate) layout: LayoutId,
    pub(crate) partition: PartitionId,
    pub(crate) keyspace: KeyspaceId,
    /// Where the page before this one ended; empty for the first.
    pub(crate) after: Bytes,
    pub(crate) limit: u32,
}

/// A page of keys.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListReply {
    pub(crate) request: RequestId,
    /// Of which partition: a late answer must not be taken for that of the next.
    pub(crate) partition: PartitionId,
    pub(crate) result: Result<Listed, Refusal>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Listed {
    #[serde(deserialize_with = "list")]
    pub(crate) keys: Vec<Bytes>,
    /// Where this page ended; empty after the partition's last.
    pub(crate) after: Bytes,
}

/// Are you there? / Yes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Probe {
    pub(crate) request: RequestId,
}

impl Message {
    /// Whether it answers something that its receiver had asked.
    pub(crate) const fn is_answer(&self) -> bool {
        match self {
            Self::WriteReply(_)
            | Self::ReadReply(_)
            | Self::ForwardReply(_)
            | Self::HintsReply(_)
            | Self::ListReply(_)
            | Self::ProbeReply(_)
            | Self::Compared(_)
            | Self::Told(_) => true,
            Self::Write(_)
            | Self::Read(_)
            | Self::Repair(_)
            | Self::Forward(_)
            | Self::Hints(_)
            | Self::List(_)
            | Self::Probe(_)
            | Self::Compare(_)
            | Self::Ask(_) => false,
        }
    }

    /// What must hold of a message from outside before anything looks at it: keys are placed with the cluster's
    /// secret, entries are in order, an update speaks for what it brings.
    pub(crate) fn admit(&mut self, secret: &Secret) -> Result<(), &'static str> {
        let entries = |live: &[Entry]| if is_sorted(live) { Ok(()) } else { Err("entries out of order") };
        let update = |update: &Update| {
            entries(&update.live)?;
            let speaks = update.live.iter().all(|entry| update.covered.contains(entry.dot));
            if speaks && update.events.is_subset(&update.covered) { Ok(()) } else { Err("an update without its dots") }
        };
        let place = |key: &mut Key| if key.place(secret) { Ok(()) } else { Err("a key without keyspace") };
        match self {
            Self::Write(Write { key, update: written, .. }) | Self::Forward(Forward { key, update: written, .. }) => {
                place(key)?;
                update(written)
            }
            Self::Read(Read { key, .. }) => place(key),
            Self::Repair(Repair { key, live, .. }) => {
                place(key)?;
                entries(live)
            }
            Self::Hints(hints) => hints.items.iter_mut().try_for_each(|item| {
                place(&mut item.key)?;
                update(&item.update)
            }),
            Self::ReadReply(ReadReply { result: Ok(Shown::Owner { live, .. }), .. })
            | Self::ForwardReply(ForwardReply { outcome: Forwarded::AtCap { live }, .. }) => entries(live),
            Self::ReadReply(ReadReply { result: Ok(Shown::Hint(hint)), .. }) => update(hint),
            Self::Told(Told {
                result: Ok(Answer::Page(Page { clock, items, .. }) | Answer::Records(Records { clock, items, .. })),
                ..
            }) => {
                items.iter_mut().try_for_each(|item| {
                    place(&mut item.key)?;
                    entries(&item.live)?;
                    // What is told of a clock is told of the owner's own.
                    let own = item.events.is_subset(clock);
                    if own { Ok(()) } else { Err("a record whose dots its owner doesn't know") }
                })
            }
            Self::ReadReply(ReadReply { result: Ok(Shown::Nothing) | Err(_), .. })
            | Self::WriteReply(_)
            | Self::ForwardReply(_)
            | Self::HintsReply(_)
            | Self::List(_)
            | Self::ListReply(_)
            | Self::Probe(_)
            | Self::ProbeReply(_)
            | Self::Compare(_)
            | Self::Compared(_)
            | Self::Ask(_)
            | Self::Told(_) => Ok(()),
        }
    }
}
