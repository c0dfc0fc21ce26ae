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
//! | `NamesWanted` | any node to any node | `NamesKnown` | the names that an owner says it knows |
//! | `NamesKnown` | back, or from a node that has learned a name | | the names that an owner says are held |
//! | `Moving` | a step between owners of a partition that changes hands, and back | `Moving`, or nothing | what it says of the sender: a promise, a seal, what it holds, its clock |
//! | `Settled` | a member to the one that counts, and from that one to all | nothing | the decisions that it tells of |
//! | `Headed` | one of the above that carries a set of dots, a part of which it says by name | as that one | as for that one |
//! | `Gossip` | any node to any node that it has heard of, or was told to ask | `Gossip`, unless both know the same | nothing |
//! | `LayoutWanted` | any node to one that has said that it has the layout | `LayoutGiven` | nothing |
//! | `LayoutGiven` | back | | nothing |
//!
//! The last three and probes are taken from any node that the transport vouches for: one that joins is no member of a
//! layout yet. All others are taken from members alone.

mod exchange;
mod headed;
mod membership;
mod moving;

pub(crate) use exchange::{
    Answer, Ask, Compare, Compared, Item, Keys, Mark, Page, Question, Records, Standing, Surveyed, Told,
};
pub(crate) use headed::{Headed, Whose};
pub(crate) use membership::PROTOCOLS;
pub(crate) use moving::{MoveStep, Moving, Settled};

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ballot::{Refused, Sets};
use crate::bytes::Bytes;
use crate::causality::{Entry, Update, is_sorted};
use crate::config::{Durability, Mode, Spread};
use crate::dots::DotSet;
use crate::error::{Refusal, Shortfall};
use crate::hash::Secret;
use crate::ids::{KeyspaceId, LayoutId, NodeId, PartitionId, RequestId, StoreId};
use crate::key::Key;
use crate::members::Gossip;
use crate::names::{Definition, Name};
use crate::ring::Layout;
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
    NamesWanted(NamesWanted),
    NamesKnown(NamesKnown),
    Headed(Headed),
    Gossip(Gossip),
    LayoutWanted(LayoutId),
    LayoutGiven(Arc<Layout>),
    Moving(Moving),
    Settled(Settled),
}

/// Store this update.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Write {
    pub(crate) request: RequestId,
    /// The layouts in each of which it takes W places.
    pub(crate) sets: Sets,
    /// How often these have changed in the course of the request.
    pub(crate) round: u32,
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
    /// That of the write: what was stored under other layouts promises other things.
    pub(crate) round: u32,
    /// From which of the sender's stores, if that is not the one that it was founded with.
    pub(crate) store: Option<StoreId>,
    pub(crate) result: Result<(), Refusal>,
    /// What the request must know of later layouts.
    pub(crate) known: Option<Box<Refused>>,
}

/// Show what you have of this key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Read {
    pub(crate) request: RequestId,
    /// The decided layout whose owners are asked.
    pub(crate) floor: LayoutId,
    pub(crate) key: Key,
    /// The longest name that the reader knows, with all on which that builds: by it the clock may be said.
    pub(crate) known: Option<Name>,
}

/// What there is of a key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReadReply {
    pub(crate) request: RequestId,
    /// Of which partition the key is: names are looked up in that one's dictionary.
    pub(crate) partition: PartitionId,
    /// That of the read: answers of the owners of two layouts are never mixed.
    pub(crate) floor: LayoutId,
    /// From which of the sender's stores, if that is not the one that it was founded with.
    pub(crate) store: Option<StoreId>,
    pub(crate) result: Result<Shown, Refusal>,
    /// What the request must know of later layouts.
    pub(crate) known: Option<Box<Refused>>,
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
    /// Whether the sender has no more for the receiver: the next one may come.
    pub(crate) last: bool,
}

/// One of a batch of hints.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct HintItem {
    /// Its place in the batch, by which it is acknowledged.
    pub(crate) index: u32,
    pub(crate) key: Key,
    pub(crate) update: Arc<Update>,
}

/// These items of the batch are stored; or another's are now, and the sender may come later.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HintsReply {
    pub(crate) request: RequestId,
    #[serde(deserialize_with = "list")]
    pub(crate) stored: Vec<u32>,
    /// Microseconds to wait, if nothing is stored because another fills the receiver. Nothing stored and nothing to wait
    /// for is the call to come.
    pub(crate) wait: u64,
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

/// What do these names of old starts stand for, and which do you hold?
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NamesWanted {
    pub(crate) request: RequestId,
    pub(crate) layout: LayoutId,
    pub(crate) partition: PartitionId,
    /// All that are known, if none.
    #[serde(deserialize_with = "list")]
    pub(crate) wanted: Vec<Name>,
    /// What the sender knows, with all on which that builds. An owner holds it durably.
    #[serde(deserialize_with = "list")]
    pub(crate) known: Vec<Name>,
}

/// What names of old starts stand for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NamesKnown {
    /// What it answers, if that was asked.
    pub(crate) request: Option<RequestId>,
    pub(crate) layout: LayoutId,
    pub(crate) partition: PartitionId,
    /// Parents first.
    #[serde(deserialize_with = "list")]
    pub(crate) definitions: Vec<Definition>,
    /// What the sender holds, with all on which that builds; an owner durably.
    #[serde(deserialize_with = "list")]
    pub(crate) held: Vec<Name>,
}

impl Message {
    /// The sender's request that it makes, if it makes one that has a name.
    pub(crate) fn asks(&self) -> Option<RequestId> {
        match self {
            Self::Write(Write { request, .. })
            | Self::Read(Read { request, .. })
            | Self::Forward(Forward { request, .. })
            | Self::Hints(Hints { request, .. })
            | Self::List(List { request, .. })
            | Self::Probe(Probe { request })
            | Self::Compare(Compare { request, .. })
            | Self::Ask(Ask { request, .. })
            | Self::NamesWanted(NamesWanted { request, .. }) => Some(*request),
            Self::Headed(headed) => headed.message().asks(),
            Self::WriteReply(_)
            | Self::ReadReply(_)
            | Self::Repair(_)
            | Self::ForwardReply(_)
            | Self::HintsReply(_)
            | Self::ListReply(_)
            | Self::ProbeReply(_)
            | Self::Compared(_)
            | Self::Told(_)
            | Self::NamesKnown(_)
            | Self::Moving(_)
            | Self::Settled(_)
            | Self::Gossip(_)
            | Self::LayoutWanted(_)
            | Self::LayoutGiven(_) => None,
        }
    }

    /// Whether it answers something that its receiver had asked.
    pub(crate) fn is_answer(&self) -> bool {
        match self {
            Self::WriteReply(_)
            | Self::ReadReply(_)
            | Self::ForwardReply(_)
            | Self::HintsReply(_)
            | Self::ListReply(_)
            | Self::ProbeReply(_)
            | Self::Compared(_)
            | Self::Told(_)
            | Self::LayoutGiven(_)
            | Self::NamesKnown(NamesKnown { request: Some(_), .. }) => true,
            Self::Moving(moving) => moving.is_answer(),
            Self::Headed(headed) => headed.message().is_answer(),
            Self::Write(_)
            | Self::Read(_)
            | Self::Repair(_)
            | Self::Forward(_)
            | Self::Hints(_)
            | Self::List(_)
            | Self::Probe(_)
            | Self::Compare(_)
            | Self::Ask(_)
            | Self::NamesWanted(_)
            | Self::NamesKnown(_)
            | Self::Settled(_)
            | Self::Gossip(_)
            | Self::LayoutWanted(_) => false,
        }
    }

    /// What must hold of a message from outside before anything looks at it: keys are placed with the cluster's
    /// secret, and what it says goes together. Of a headed one the latter can only be told when its sets are whole.
    pub(crate) fn admit(&mut self, secret: &Secret) -> Result<(), &'static str> {
        self.place(secret)?;
        if let Self::Headed(headed) = self
            && !headed.fits()
        {
            return Err("more or fewer names than sets of dots");
        }
        self.check()
    }

    fn place(&mut self, secret: &Secret) -> Result<(), &'static str> {
        let place = |key: &mut Key| if key.place(secret) { Ok(()) } else { Err("a key without keyspace") };
        match self {
            Self::Write(Write { key, .. })
            | Self::Forward(Forward { key, .. })
            | Self::Read(Read { key, .. })
            | Self::Repair(Repair { key, .. }) => place(key),
            Self::Hints(Hints { items, .. }) => items.iter_mut().try_for_each(|item| place(&mut item.key)),
            Self::Told(Told {
                result: Ok(Answer::Page(Page { items, .. }) | Answer::Records(Records { items, .. })),
                ..
            }) => items.iter_mut().try_for_each(|item| place(&mut item.key)),
            Self::Headed(headed) => headed.message_mut().place(secret),
            Self::ReadReply(_)
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
            | Self::Told(_)
            | Self::NamesWanted(_)
            | Self::NamesKnown(_)
            | Self::Moving(_)
            | Self::Settled(_)
            | Self::Gossip(_)
            | Self::LayoutWanted(_)
            | Self::LayoutGiven(_) => Ok(()),
        }
    }

    /// Entries are in order, an update speaks for what it brings.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let entries = |live: &[Entry]| if is_sorted(live) { Ok(()) } else { Err("entries out of order") };
        let update = |update: &Update| {
            entries(&update.live)?;
            let speaks = update.live.iter().all(|entry| update.covered.contains(entry.dot));
            if speaks && update.events.is_subset(&update.covered) { Ok(()) } else { Err("an update without its dots") }
        };
        match self {
            Self::Write(Write { update: written, .. }) | Self::Forward(Forward { update: written, .. }) => {
                update(written)
            }
            Self::Hints(hints) => hints.items.iter().try_for_each(|item| update(&item.update)),
            Self::Repair(Repair { live, .. })
            | Self::ReadReply(ReadReply { result: Ok(Shown::Owner { live, .. }), .. })
            | Self::ForwardReply(ForwardReply { outcome: Forwarded::AtCap { live }, .. }) => entries(live),
            Self::ReadReply(ReadReply { result: Ok(Shown::Hint(hint)), .. }) => update(hint),
            Self::Told(Told {
                result: Ok(Answer::Page(Page { clock, items, .. }) | Answer::Records(Records { clock, items, .. })),
                ..
            }) => items.iter().try_for_each(|item| {
                entries(&item.live)?;
                // What is told of a clock is told of the owner's own.
                let own = item.events.is_subset(clock);
                if own { Ok(()) } else { Err("a record whose dots its owner doesn't know") }
            }),
            Self::Moving(moving) => moving.check(),
            Self::WriteReply(WriteReply { known: Some(known), .. })
            | Self::ReadReply(ReadReply { result: Err(_), known: Some(known), .. })
                if known.seals.len() > Sets::MAX =>
            {
                Err("too many layouts")
            }
            Self::ReadReply(ReadReply { result: Ok(Shown::Nothing) | Err(_), .. })
            | Self::Read(_)
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
            | Self::Told(_)
            | Self::NamesWanted(_)
            | Self::NamesKnown(_)
            | Self::Settled(_)
            // A membership and a layout are looked at where their bytes are read.
            | Self::Gossip(_)
            | Self::LayoutWanted(_)
            | Self::LayoutGiven(_)
            | Self::Headed(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::de::value::{BytesDeserializer, Error};

    use super::*;
    use crate::causality::Stamp;
    use crate::ids::{Actor, Dot, Start};

    const SECRET: Secret = Secret::new([1; 16]);
    const REQUEST: RequestId = RequestId { start: Start(1), number: 1 };
    const LAYOUT: LayoutId = LayoutId { version: 1, hash: 1 };
    const RULE: WriteRule =
        WriteRule { w: 1, mode: Mode::Sloppy, spread: Spread::Nodes, durability: Durability::Quorum };

    const fn dot(counter: u64) -> Dot {
        Dot { actor: Actor { node: NodeId(1), start: Start(1) }, counter }
    }

    fn entries(counters: &[u64]) -> Vec<Entry> {
        let entry = |&counter: &u64| Entry {
            dot: dot(counter),
            write_id: None,
            expires: None,
            stamp: Stamp(1),
            value: Bytes::from("value"),
        };
        counters.iter().map(entry).collect()
    }

    fn update(live: &[u64], covered: &[u64], events: &[u64]) -> Arc<Update> {
        let dots = |counters: &[u64]| counters.iter().map(|&counter| dot(counter)).collect();
        Arc::new(Update { live: entries(live), covered: dots(covered), events: dots(events) })
    }

    fn key() -> Key {
        Key::new(&SECRET, KeyspaceId(1), b"key")
    }

    /// A key as it comes from outside.
    fn decoded(bytes: &[u8]) -> Key {
        Key::deserialize(BytesDeserializer::<Error>::new(bytes)).unwrap()
    }

    /// The messages that carry a key and an update.
    fn with_update(key: &Key, update: &Arc<Update>) -> [Message; 3] {
        let (key, update) = (|| key.clone(), || Arc::clone(update));
        let durability = Durability::Quorum;
        let sound = HintItem { index: 0, key: self::key(), update: self::update(&[1], &[1], &[1]) };
        [
            Message::Write(Write {
                request: REQUEST,
                sets: Sets::of(LAYOUT),
                round: 0,
                key: key(),
                update: update(),
                hint_for: None,
                durability,
            }),
            Message::Forward(Forward {
                request: REQUEST,
                layout: LAYOUT,
                key: key(),
                update: update(),
                rule: RULE,
                left: 1,
                first: true,
            }),
            Message::Hints(Hints {
                request: REQUEST,
                layout: LAYOUT,
                items: vec![sound, HintItem { index: 1, key: key(), update: update() }],
                last: true,
            }),
        ]
    }

    /// The messages that carry entries, and no update.
    fn with_entries(counters: &[u64]) -> [Message; 3] {
        let live = || entries(counters);
        let shown = Shown::Owner { live: live(), residual: DotSet::new(), clock: Arc::default() };
        [
            Message::Repair(Repair { layout: LAYOUT, key: key(), live: live(), covered: Arc::default() }),
            Message::ReadReply(ReadReply {
                request: REQUEST,
                partition: PartitionId(0),
                floor: LAYOUT,
                store: None,
                known: None,
                result: Ok(shown),
            }),
            Message::ForwardReply(ForwardReply { request: REQUEST, outcome: Forwarded::AtCap { live: live() } }),
        ]
    }

    fn admit(mut message: Message) -> Result<(), &'static str> {
        message.admit(&SECRET)
    }

    #[test]
    fn an_update_speaks_for_what_it_brings_and_for_its_events() {
        let shown = |update| {
            Message::ReadReply(ReadReply {
                request: REQUEST,
                floor: LAYOUT,
                store: None,
                known: None,
                partition: PartitionId(0),
                result: Ok(Shown::Hint(update)),
            })
        };
        let check = |update: Arc<Update>, expected: Result<(), &'static str>| {
            let messages = with_update(&key(), &update).into_iter().chain([shown(update)]);
            messages.for_each(|message| assert_eq!(admit(message.clone()), expected, "{message:?}"));
        };
        check(update(&[1, 3], &[1, 2, 3], &[3]), Ok(()));
        check(update(&[], &[2], &[2]), Ok(()));
        check(update(&[3, 1], &[1, 2, 3], &[3]), Err("entries out of order"));
        check(update(&[1, 1], &[1], &[1]), Err("entries out of order"));
        check(update(&[1, 3], &[1, 2], &[2]), Err("an update without its dots"));
        check(update(&[1], &[1, 2], &[3]), Err("an update without its dots"));
    }

    #[test]
    fn entries_are_in_order_whatever_carries_them() {
        for message in with_entries(&[1, 2, 5]) {
            assert_eq!(admit(message), Ok(()));
        }
        for message in with_entries(&[1, 5, 2]) {
            assert_eq!(admit(message), Err("entries out of order"));
        }
    }

    #[test]
    fn keys_are_placed_by_who_receives_them_and_have_a_keyspace() {
        let from_outside = decoded(key().full());
        assert_ne!(from_outside, key(), "not placed yet");
        let read = |key| Message::Read(Read { request: REQUEST, floor: LAYOUT, key, known: None });
        let mut message = read(from_outside);
        assert_eq!(message.admit(&SECRET), Ok(()));
        assert_eq!(message, read(key()));

        let short = decoded(&[0, 0, 1]);
        let repair = Repair { layout: LAYOUT, key: short.clone(), live: vec![], covered: Arc::default() };
        let with_update = with_update(&short, &update(&[1], &[1], &[1]));
        for message in with_update.into_iter().chain([read(short), Message::Repair(repair)]) {
            assert_eq!(admit(message), Err("a key without keyspace"));
        }
    }

    #[test]
    fn answers_are_told_from_questions() {
        let shown = Ok(Shown::Nothing);
        assert!(
            Message::ReadReply(ReadReply {
                request: REQUEST,
                partition: PartitionId(0),
                floor: LAYOUT,
                store: None,
                known: None,
                result: shown
            })
            .is_answer()
        );
        assert!(Message::ProbeReply(Probe { request: REQUEST }).is_answer());
        assert!(!Message::Probe(Probe { request: REQUEST }).is_answer());
        for message in with_update(&key(), &update(&[1], &[1], &[1])) {
            assert!(!message.is_answer() && message.asks() == Some(REQUEST), "{message:?}");
        }
        assert_eq!(Message::ProbeReply(Probe { request: REQUEST }).asks(), None, "it is the other's request");
        assert_eq!(with_entries(&[1]).map(|message| message.asks()), [None; 3]);
    }
}
