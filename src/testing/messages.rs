//! Messages of every kind, no two alike.

use std::sync::Arc;

use crate::ballot::{Reason, Refused, Sets};
use crate::bytes::Bytes;
use crate::causality::{Entry, Identity, Secret, Stamp, Update};
use crate::codec::Codec;
use crate::config::{Durability, Mode, Spread};
use crate::dots::DotSet;
use crate::error::{Answer, Refusal, Shortfall};
use crate::ids::{
    Actor, ClusterId, Dot, KeyspaceId, LayoutId, NodeId, PartitionId, RequestId, Start, StoreId, WriteId, ZoneId,
};
use crate::key::Key;
use crate::members::{Gossip, Known, MemberRecord, Phase, Presence, Protocols, Said};
use crate::message::{
    Forward, ForwardReply, Forwarded, HintItem, Hints, HintsReply, List, ListReply, Listed, Message, MoveStep, Moving,
    NamesKnown, NamesWanted, Probe, Read, ReadReply, Repair, Settled, Shown, Write, WriteReply, WriteRule,
};
use crate::names::{Definition, Name};
use crate::ring::{Member, plan_first};
use crate::time::WallTime;

/// Makes messages.
pub(super) struct Messages {
    /// How many were made.
    count: u64,
    largest: usize,
}

const SECRET: Secret = Secret::new([7; 16]);

/// What a message is on the wire: two are the same if these are. The position of a key isn't among it, for who
/// receives a key places it with the secret of the cluster, which is not the suite's.
pub(super) fn bytes(message: &Message) -> Vec<u8> {
    let codec = Codec::new(Identity { cluster: ClusterId(0), secret: SECRET }, usize::MAX);
    codec.encode(NodeId(0), std::slice::from_ref(message)).concat()
}

/// What is said of members and layouts.
fn membership(id: LayoutId) -> Vec<Message> {
    let (first, last) = (NodeId(1), NodeId(u64::MAX));
    let protocols = Protocols { lowest: 1, highest: u16::MAX };
    let (store, address) = (StoreId(u128::MAX), Bytes::from("host.example:7000"));
    let presence = Presence { ordinal: 1, start: Start(u64::MAX), store, protocols, address };
    let joining = MemberRecord::joining(last, ZoneId(u32::MAX), 7, presence).expect("a record");
    let removed = joining.advanced(Phase::Removed).expect("a further phase");
    let ranges = vec![
        Known::Range { first, last: NodeId(300), digest: u64::MAX },
        Known::Listed { first: NodeId(301), last, hashes: vec![(NodeId(400), 0), (last, u64::MAX)] },
    ];
    let gossip = |known| {
        let records = vec![joining.clone(), removed.clone()];
        let (proposed, wanted, left) = (vec![id], vec![first, last], Gossip::STEPS);
        Message::Gossip(Gossip(Said { decided: id, proposed, records, wanted, known, left }))
    };
    let members = [1, 2, 300].map(|node| Member::new(NodeId(node)).weight(5));
    let layout = plan_first(&members, 2, 300).expect("a layout").layout;
    let layout = Message::LayoutGiven(Arc::new(layout));
    vec![gossip(Vec::new()), gossip(vec![Known::All(u64::MAX)]), gossip(ranges), Message::LayoutWanted(id), layout]
}

impl Messages {
    pub(super) const fn new(largest: usize) -> Self {
        Self { count: 0, largest }
    }

    /// The bytes of a large message's value.
    pub(super) fn bulk(&self) -> usize {
        self.largest.clamp(1, 64 << 10)
    }

    pub(super) fn small(&mut self) -> Message {
        Message::Probe(Probe { request: self.request() })
    }

    pub(super) fn large(&mut self) -> Message {
        let value = vec![0xab; self.bulk()];
        let update = Arc::new(Update::put(self.entry(&value), &DotSet::new()));
        self.write(update)
    }

    /// One of every kind, with all that it can hold, and values of every size up to the largest.
    pub(super) fn of_every_kind(&mut self) -> Vec<Message> {
        let layout = LayoutId { version: 3, hash: u64::MAX };
        let shortfall = Shortfall {
            needed: 2,
            got: 1,
            answers: vec![
                (NodeId(1), Answer::Hinted(NodeId(9))),
                (NodeId(u64::MAX), Answer::Refused(Refusal::Overloaded)),
            ],
        };
        let rule =
            WriteRule { w: 2, mode: Mode::default(), spread: Spread::default(), durability: Durability::default() };
        let mut messages = vec![self.small(), Message::ProbeReply(Probe { request: self.request() })];
        let mut shown = vec![Err(Refusal::Layout(layout)), Ok(Shown::Nothing), Ok(Shown::Hint(self.update()))];
        let (live, residual, clock) = (self.siblings(), self.gaps(), Arc::new(self.gaps()));
        shown.push(Ok(Shown::Owner { live, residual, clock }));
        for result in shown {
            messages.push(Message::ReadReply(ReadReply {
                request: self.request(),
                partition: PartitionId(9),
                floor: layout,
                store: None,
                result,
                known: None,
            }));
        }
        let refused = Refused { reason: Reason::Seals, floor: layout, promise: layout, seals: vec![layout, layout] };
        let known = Some(Box::new(refused.clone()));
        for result in [Ok(()), Err(Refusal::Storage)] {
            messages.push(Message::WriteReply(WriteReply {
                request: self.request(),
                round: 1,
                store: Some(StoreId(4)),
                result,
                known: known.clone(),
            }));
        }
        for known in [None, Some(Name(u128::MAX))] {
            messages.push(Message::Read(Read { request: self.request(), floor: layout, key: self.key(), known }));
        }
        let (key, live, covered) = (self.key(), self.siblings(), Arc::new(self.gaps()));
        messages.push(Message::Repair(Repair { layout, key, live, covered }));
        let (request, key, update) = (self.request(), self.key(), self.update());
        messages.push(Message::Forward(Forward { request, layout, key, update, rule, left: u64::MAX, first: true }));
        let live = self.siblings();
        for outcome in [
            Forwarded::Done { owners: 3, fallbacks: 0 },
            Forwarded::AtCap { live },
            Forwarded::Failed(shortfall),
            Forwarded::Refused(Refusal::NotAnOwner),
        ] {
            messages.push(Message::ForwardReply(ForwardReply { request: self.request(), outcome }));
        }
        let items = (0..3).map(|index| HintItem { index, key: self.key(), update: self.update() }).collect();
        messages.push(Message::Hints(Hints { request: self.request(), layout, items, last: true }));
        messages.push(Message::HintsReply(HintsReply {
            request: self.request(),
            stored: vec![0, 2, u32::MAX],
            wait: 500_000,
        }));
        let (request, partition, after) = (self.request(), PartitionId(255), Bytes::from("after"));
        let keyspace = KeyspaceId(u32::MAX);
        messages.push(Message::List(List { request, layout, partition, keyspace, after: after.clone(), limit: 1000 }));
        let keys = vec![Bytes::from("a"), Bytes::default(), Bytes::from(&[0, 255])];
        for result in [Ok(Listed { keys, after }), Err(Refusal::HintsFull)] {
            messages.push(Message::ListReply(ListReply { request: self.request(), partition, result }));
        }
        let definition = Definition::new(Some(Name(u128::MAX)), self.gaps()).expect("it has dots");
        let (definitions, held) = (vec![definition], vec![Name(0), Name(1 << 100)]);
        for request in [None, Some(self.request())] {
            let (definitions, held) = (definitions.clone(), held.clone());
            messages.push(Message::NamesKnown(NamesKnown { request, layout, partition, definitions, held }));
        }
        let (request, wanted, known) = (self.request(), held, vec![]);
        messages.push(Message::NamesWanted(NamesWanted { request, layout, partition, wanted, known }));
        let (seals, closure, clock) = (vec![layout], vec![layout; 3], Arc::new(self.gaps()));
        let steps = [
            MoveStep::Copying,
            MoveStep::Ready,
            MoveStep::Fence,
            MoveStep::Fenced { floor: layout, seals, has_all: true },
            MoveStep::Held { closure },
            MoveStep::Seal,
            MoveStep::Sealed,
            MoveStep::Refused(refused),
            MoveStep::Decided,
            MoveStep::Cover { clock, settled: true, start: Start(1), changes: u64::MAX },
            MoveStep::Covered { changes: 0, covers: true },
            MoveStep::Asking,
        ];
        for (step, store) in steps.into_iter().zip([None, Some(StoreId(u128::MAX))].into_iter().cycle()) {
            messages.push(Message::Moving(Moving { partition, layout, store, step }));
        }
        messages.push(Message::Settled(Settled { layout, everywhere: true }));
        messages.extend(membership(layout));
        let said = |message: &Message| message.clone().headed(|_, set| Some((Name(1 << 90), set.clone())));
        let headed: Vec<_> = messages.iter().map(said).filter(|it| matches!(it, Message::Headed(_))).collect();
        messages.extend(headed);
        // Around the sizes at which lengths take another byte, buffers end and packets split.
        let sizes = [0, 1, 127, 128, 255, 256, 1400, 1500, 4095, 4096, 16_383, 16_384, 65_535, 65_536, 1 << 20];
        let largest = self.largest;
        for size in sizes.into_iter().filter(|size| *size < largest).chain([largest]) {
            // Every byte there is, so that one that ends or escapes something is among them.
            let value: Vec<_> = (0..size).map(|at| (at ^ at >> 8) as u8).collect();
            let update = Arc::new(Update::put(self.entry(&value), &DotSet::new()));
            messages.push(self.write(update));
        }
        messages
    }

    fn write(&mut self, update: Arc<Update>) -> Message {
        let (request, key, layout) = (self.request(), self.key(), LayoutId { version: 0, hash: 1 });
        let hint_for = request.number.is_multiple_of(2).then_some(NodeId(1 << 40));
        Message::Write(Write {
            request,
            sets: Sets::of(layout),
            round: 0,
            key,
            update,
            hint_for,
            durability: Durability::default(),
        })
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn request(&mut self) -> RequestId {
        RequestId { start: Start(u64::MAX - 1), number: self.next() }
    }

    fn key(&mut self) -> Key {
        let key = [&b"key\0\xff"[..], &self.next().to_be_bytes()].concat();
        Key::new(&SECRET, KeyspaceId(5), &key)
    }

    fn dot(&mut self) -> Dot {
        Dot { actor: Actor { node: NodeId(300), start: Start(1 << 63) }, counter: self.next() }
    }

    fn entry(&mut self, value: &[u8]) -> Entry {
        let (dot, write_id) = (self.dot(), Some(WriteId(u128::from(self.count) << 100)));
        let expires = self.count.is_multiple_of(2).then_some(WallTime(u64::MAX - self.count));
        Entry { dot, write_id, expires, stamp: Stamp(u64::MAX), value: value.into() }
    }

    /// In the order of their dots, as they must be.
    fn siblings(&mut self) -> Vec<Entry> {
        vec![self.entry(b"one"), self.entry(b""), self.entry(b"\0\xff")]
    }

    fn update(&mut self) -> Arc<Update> {
        let covered = self.gaps();
        Arc::new(Update::put(self.entry(b"value"), &covered))
    }

    fn gaps(&mut self) -> DotSet {
        let (first, _, third) = (self.dot(), self.dot(), self.dot());
        DotSet::from_iter([first, third])
    }
}
