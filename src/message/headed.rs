//! Messages that say a part of their sets of dots by name, so that they stay small through any number of restarts.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Answer, Ask, Forward, Hints, Message, Page, Question, ReadReply, Records, Repair, Shown, Surveyed};
use super::{Told, Write};
use crate::causality::Update;
use crate::dots::DotSet;
use crate::ids::PartitionId;
use crate::key::Key;
use crate::names::Name;
use crate::wire::list;

/// A message whose sets of dots lack what is said by name.
///
/// Whoever gets it looks up the names before anything else is done with it, and goes on with the whole message. If one
/// of them is not known there, it is as if the message were still on its way until the name has been told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Headed {
    /// What each set lacks, in the order of [`Message::each_set`].
    #[serde(deserialize_with = "list")]
    heads: Vec<Option<Name>>,
    #[serde(serialize_with = "write_body", deserialize_with = "read_body")]
    message: Box<Message>,
}

/// Where it is told which partition a set of dots is of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose<'a> {
    Key(&'a Key),
    Partition(PartitionId),
}

impl Headed {
    /// The message itself, whose sets are not whole: enough to tell what kind it is.
    #[must_use]
    pub const fn message(&self) -> &Message {
        &self.message
    }

    pub(super) const fn message_mut(&mut self) -> &mut Message {
        &mut self.message
    }

    /// Whether there is a head, or the word that there is none, for each set.
    pub(super) fn fits(&mut self) -> bool {
        let mut sets = 0;
        self.message.each_set(|_, _| {
            sets += 1;
            None
        });
        sets == self.heads.len()
    }

    /// The message with all sets whole, as `whole` makes them of name and rest.
    ///
    /// # Errors
    /// That of `whole`, and the message as it came: nothing may be done with the rest of its sets.
    pub(crate) fn open<E>(
        mut self,
        mut whole: impl FnMut(Whose<'_>, Name, &DotSet) -> Result<DotSet, E>,
    ) -> Result<Message, (E, Self)> {
        let (mut heads, mut sets) = (self.heads.iter(), Ok(Vec::with_capacity(self.heads.len())));
        self.message.each_set(|whose, rest| {
            let head = heads.next().copied().flatten();
            if let Ok(found) = &mut sets {
                match head.map(|name| whole(whose, name, rest)).transpose() {
                    Ok(set) => found.push(set),
                    Err(error) => sets = Err(error),
                }
            }
            None
        });
        match sets {
            Ok(sets) => {
                let mut sets = sets.into_iter();
                self.message.each_set(|_, _| sets.next().flatten());
                Ok(*self.message)
            }
            Err(error) => Err((error, self)),
        }
    }
}

impl Message {
    /// The message with sets said shorter where `shorten` has a name and the rest for one.
    pub(crate) fn headed(mut self, mut shorten: impl FnMut(Whose<'_>, &DotSet) -> Option<(Name, DotSet)>) -> Self {
        let mut heads = Vec::new();
        self.each_set(|whose, set| {
            let (head, rest) = shorten(whose, set).unzip();
            heads.push(head);
            rest
        });
        if heads.iter().any(Option::is_some) { Self::Headed(Headed { heads, message: Box::new(self) }) } else { self }
    }

    /// Visits the sets of dots that grow with the starts of nodes, in an order that is part of the format, and puts in
    /// their place what `change` makes of them. All others hold what one exchange or write is about.
    pub(crate) fn each_set(&mut self, mut change: impl FnMut(Whose<'_>, &DotSet) -> Option<DotSet>) {
        let mut of_update = |whose: Whose<'_>, update: &mut std::sync::Arc<Update>| {
            if let Some(covered) = change(whose, &update.covered) {
                let (live, events) = (update.live.clone(), update.events.clone());
                *update = Update { live, covered, events }.into();
            }
        };
        let (whose, set) = match self {
            Self::Write(Write { key, update, .. }) | Self::Forward(Forward { key, update, .. }) => {
                return of_update(Whose::Key(key), update);
            }
            Self::Hints(Hints { items, .. }) => {
                return items.iter_mut().for_each(|item| of_update(Whose::Key(&item.key), &mut item.update));
            }
            Self::ReadReply(ReadReply { partition, result: Ok(Shown::Hint(update)), .. }) => {
                return of_update(Whose::Partition(*partition), update);
            }
            Self::ReadReply(ReadReply { partition, result: Ok(Shown::Owner { clock, .. }), .. }) => {
                (Whose::Partition(*partition), clock)
            }
            Self::Repair(Repair { key, covered, .. }) => (Whose::Key(key), covered),
            Self::Ask(Ask { partition, question: Question::Since(clock), .. })
            | Self::Told(Told {
                partition,
                result:
                    Ok(
                        Answer::Page(Page { clock, .. })
                        | Answer::Records(Records { clock, .. })
                        | Answer::Surveyed(Surveyed { clock, .. }),
                    ),
                ..
            }) => (Whose::Partition(*partition), clock),
            Self::ReadReply(_)
            | Self::Ask(_)
            | Self::Told(_)
            | Self::WriteReply(_)
            | Self::Read(_)
            | Self::ForwardReply(_)
            | Self::HintsReply(_)
            | Self::List(_)
            | Self::ListReply(_)
            | Self::Probe(_)
            | Self::ProbeReply(_)
            | Self::Compare(_)
            | Self::Compared(_)
            | Self::NamesWanted(_)
            | Self::NamesKnown(_)
            | Self::Moving(_)
            | Self::Settled(_)
            | Self::Gossip(_)
            | Self::LayoutWanted(_)
            | Self::LayoutGiven(_)
            | Self::Headed(_) => return,
        };
        if let Some(changed) = change(whose, set) {
            *set = changed.into();
        }
    }
}

/// The messages that can be headed. Not all of them: one inside the other, foreign bytes could nest without an end.
#[derive(Deserialize)]
enum Body {
    Write(Write),
    Forward(Forward),
    Hints(Hints),
    ReadReply(ReadReply),
    Repair(Repair),
    Ask(Ask),
    Told(Told),
}

/// The same, to be written.
#[derive(Serialize)]
enum Borrowed<'a> {
    Write(&'a Write),
    Forward(&'a Forward),
    Hints(&'a Hints),
    ReadReply(&'a ReadReply),
    Repair(&'a Repair),
    Ask(&'a Ask),
    Told(&'a Told),
}

fn write_body<S: Serializer>(message: &Message, serializer: S) -> Result<S::Ok, S::Error> {
    let body = match message {
        Message::Write(write) => Borrowed::Write(write),
        Message::Forward(forward) => Borrowed::Forward(forward),
        Message::Hints(hints) => Borrowed::Hints(hints),
        Message::ReadReply(reply) => Borrowed::ReadReply(reply),
        Message::Repair(repair) => Borrowed::Repair(repair),
        Message::Ask(ask) => Borrowed::Ask(ask),
        Message::Told(told) => Borrowed::Told(told),
        _ => unreachable!("a message is headed for a set of dots, and these have none"),
    };
    body.serialize(serializer)
}

fn read_body<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<Message>, D::Error> {
    Ok(Box::new(match Body::deserialize(deserializer)? {
        Body::Write(write) => Message::Write(write),
        Body::Forward(forward) => Message::Forward(forward),
        Body::Hints(hints) => Message::Hints(hints),
        Body::ReadReply(reply) => Message::ReadReply(reply),
        Body::Repair(repair) => Message::Repair(repair),
        Body::Ask(ask) => Message::Ask(ask),
        Body::Told(told) => Message::Told(told),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ballot::Sets;
    use crate::bytes::Bytes;
    use crate::causality::{Entry, Identity, Stamp};
    use crate::codec::Codec;
    use crate::config::{Durability, Mode, Spread};
    use crate::error::DecodeError;
    use crate::hash::Secret;
    use crate::ids::{Actor, ClusterId, Dot, KeyspaceId, LayoutId, NodeId, RequestId, Start};
    use crate::merkle::Short;
    use crate::message::{HintItem, Item, Probe, Standing, WriteRule};

    const IDENTITY: Identity = Identity { cluster: ClusterId(5), secret: Secret::new([1; 16]) };
    const REQUEST: RequestId = RequestId { start: Start(1), number: 1 };
    const LAYOUT: LayoutId = LayoutId { version: 1, hash: 1 };
    const OLD: Name = Name(7);

    fn dot(start: u64, counter: u64) -> Dot {
        Dot { actor: Actor { node: NodeId(1), start: Start(start) }, counter }
    }

    /// What the name stands for.
    fn old() -> DotSet {
        (1..100).map(|start| dot(start, 1)).collect()
    }

    fn whole() -> DotSet {
        old().with(dot(100, 3))
    }

    fn key() -> Key {
        Key::new(&IDENTITY.secret, KeyspaceId(1), b"key")
    }

    /// One of every kind whose sets grow with starts, and what is in them.
    fn messages() -> Vec<Message> {
        let entry =
            Entry { dot: dot(99, 1), write_id: None, expires: None, stamp: Stamp(1), value: Bytes::from("value") };
        let live = || vec![entry.clone()];
        let update = || Update { live: live(), covered: whole(), events: DotSet::of(dot(99, 1)) }.into();
        let rule = WriteRule { w: 1, mode: Mode::Sloppy, spread: Spread::Nodes, durability: Durability::Quorum };
        let (request, layout, partition, durability) = (REQUEST, LAYOUT, PartitionId(3), Durability::Quorum);
        let clock = || whole().into();
        let items = || vec![Item { key: key(), live: live(), residual: DotSet::new(), events: DotSet::of(dot(98, 1)) }];
        let told = |answer| {
            Message::Told(Told { request, step: 1, partition, start: Start(1), losses: 0, result: Ok(answer) })
        };
        vec![
            Message::Write(Write {
                request,
                sets: Sets::of(layout),
                round: 0,
                key: key(),
                update: update(),
                hint_for: None,
                durability,
            }),
            Message::Forward(Forward { request, layout, key: key(), update: update(), rule, left: 1, first: true }),
            Message::Hints(Hints {
                request,
                layout,
                items: (0..3).map(|index| HintItem { index, key: key(), update: update() }).collect(),
                last: true,
            }),
            Message::ReadReply(ReadReply {
                request,
                partition,
                floor: layout,
                store: None,
                known: None,
                result: Ok(Shown::Hint(update())),
            }),
            Message::ReadReply(ReadReply {
                request,
                partition,
                floor: layout,
                store: None,
                known: None,
                result: Ok(Shown::Owner { live: live(), residual: DotSet::new(), clock: clock() }),
            }),
            Message::Repair(Repair { layout, key: key(), live: live(), covered: clock() }),
            Message::Ask(Ask { request, step: 1, layout, partition, question: Question::Since(clock()) }),
            told(Answer::Page(Page { clock: clock(), exact: true, items: items(), more: false })),
            told(Answer::Records(Records { clock: clock(), items: items(), done: 1 })),
            told(Answer::Surveyed(Surveyed {
                standing: Standing::Whole,
                clock: clock(),
                root: Short::default(),
                depth: 0,
                unsettled: Vec::new(),
            })),
        ]
    }

    fn said(message: Message) -> Message {
        message.headed(|_, set| old().is_subset(set).then(|| (OLD, set.minus(&old()))))
    }

    fn through_bytes(message: &Message) -> Result<Message, DecodeError> {
        let codec = Codec::new(IDENTITY, 1 << 20);
        let frame = codec.encode(NodeId(1), std::slice::from_ref(message)).remove(0);
        codec.decode(&frame).map(|(_, mut messages)| messages.remove(0))
    }

    fn opened(message: Message) -> Result<Message, Name> {
        let Message::Headed(headed) = message else { panic!("not headed") };
        let came = headed.clone();
        let opened = headed.open(|whose, name, rest| {
            let placed = match whose {
                Whose::Key(of) => *of == key(),
                Whose::Partition(partition) => partition == PartitionId(3),
            };
            assert!(placed);
            if name == OLD { Ok(DotSet::union_of([old(), rest.clone()])) } else { Err(name) }
        });
        opened.map_err(|(name, left)| {
            assert_eq!(left, came, "it can be opened later");
            name
        })
    }

    #[test]
    fn every_kind_is_short_on_its_way_and_comes_back_whole() {
        for message in messages() {
            let said = through_bytes(&said(message.clone())).unwrap();
            let length = |message: &Message| Codec::new(IDENTITY, 0).encode(NodeId(1), std::slice::from_ref(message));
            let (long, short) = (length(&message)[0].len(), length(&said)[0].len());
            assert!(short < 400 && long > 1_000, "{short} of {long} bytes: {message:?}");
            assert_eq!((said.asks(), said.is_answer()), (message.asks(), message.is_answer()));
            assert_eq!(opened(said), Ok(message.clone()));
            assert_eq!(message.check(), Ok(()));
        }
    }

    #[test]
    fn an_unknown_name_in_any_place_leaves_nothing_of_the_message() {
        for message in messages() {
            let mut sets = 0;
            message.clone().each_set(|_, _| {
                sets += 1;
                None
            });
            for unknown in 0..sets {
                let mut at = 0..sets;
                let name = |at| if at == Some(unknown) { Name(8) } else { OLD };
                let said = message.clone().headed(|_, set| Some((name(at.next()), set.minus(&old()))));
                assert_eq!(opened(said), Err(Name(8)));
            }
        }
    }

    #[test]
    fn what_has_nothing_to_say_by_name_stays_as_it_is() {
        let probe = Message::Probe(Probe { request: REQUEST });
        assert_eq!(said(probe.clone()), probe);
        for message in messages() {
            assert_eq!(message.clone().headed(|_, _| None), message);
        }
    }

    #[test]
    fn names_for_more_or_fewer_sets_are_refused_with_the_frame() {
        for count in [0, 1, 2, 4] {
            let Message::Headed(hints) = said(messages().remove(2)) else { panic!("not headed") };
            let wrong = Headed { heads: vec![Some(OLD); count], ..hints };
            let refused = Err(DecodeError::Rule("more or fewer names than sets of dots"));
            assert_eq!(through_bytes(&Message::Headed(wrong)), refused);
        }
    }

    /// What the rest says of itself is looked at when it is whole: the entry's dot is in what the name stands for.
    #[test]
    fn an_update_that_does_not_speak_for_what_it_brings_is_found_when_it_is_whole() {
        let message = said(messages().remove(0));
        assert!(through_bytes(&message).is_ok());
        let Message::Headed(headed) = message else { panic!("not headed") };
        let whole = headed.open(|_, _, rest| Ok::<_, Name>(rest.clone())).unwrap();
        assert_eq!(whole.check(), Err("an update without its dots"));
    }
}
