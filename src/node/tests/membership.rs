//! Nodes that gossip: on a virtual clock, over a network that a test can cut.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::{Event, Input, Keyspace, Node, Output, Setup};
use super::IDENTITY;
use crate::bytes::Bytes;
use crate::config::{ConfigError, Timing};
use crate::error::{OpenError, StorageError};
use crate::ids::{ClusterId, LayoutId, NodeId, RequestId, Start, StoreId, ZoneId};
use crate::members::{ActError, Gossip, Introduce, MemberRecord, Membership, Phase, Presence, Protocols, Said};
use crate::message::{Message, Probe};
use crate::ring::{Change, Layout, Member, plan_first};
use crate::storage::{Batch, MemoryStorage, Space, Storage};
use crate::time::{Now, Time, WallTime};
use crate::wire::{FormatError, put_checksum};

struct World {
    nodes: BTreeMap<u64, Node<MemoryStorage>>,
    now: u64,
    /// What is lost of what.
    lost: fn(&Message) -> bool,
    sent: Vec<(u64, NodeId, Message)>,
    events: Vec<(u64, Event)>,
    introduced: Option<fn(u64) -> Introduce>,
    elastic: bool,
    timing: Timing,
    starts: u64,
}

fn gossiping(node: u64) -> Introduce {
    Introduce::new(format!("host-{node}"), vec![NodeId(1)])
}

fn first_layout() -> Arc<Layout> {
    let members: Vec<_> = (1..=3).map(|node| Member::new(NodeId(node))).collect();
    Arc::new(plan_first(&members, 3, 16).expect("a layout").layout)
}

impl World {
    fn new(introduced: Option<fn(u64) -> Introduce>) -> Self {
        // Nothing else is said, so that nobody is suspected for want of an answer.
        let never = Duration::MAX;
        let timing = Timing { exchange: never, quiet: never, scrub: never, ..Timing::default() };
        let (nodes, sent, events) = (BTreeMap::new(), Vec::new(), Vec::new());
        // Partitions don't change hands: what is proposed is not decided before the test says so.
        let lost = |message: &Message| matches!(message, Message::Moving(_));
        Self { nodes, now: 1_000_000, lost, sent, events, introduced, elastic: false, timing, starts: 0 }
    }

    /// Three that found a cluster.
    fn founded(introduced: Option<fn(u64) -> Introduce>) -> Self {
        let mut world = Self::new(introduced);
        (1..=3).for_each(|node| world.open(node, vec![MemoryStorage::new()]));
        world
    }

    fn try_open(&mut self, node: u64, storages: Vec<MemoryStorage>) -> Result<(), OpenError> {
        self.starts += 1;
        let keyspaces = vec![Keyspace::new("default")];
        let setup = Setup {
            membership: self.introduced.map(|introduce| introduce(node)),
            founding: true,
            elastic: self.elastic,
            timing: self.timing.clone(),
            ..Setup::new(IDENTITY, NodeId(node), first_layout(), keyspaces)
        };
        let opened = Node::open(setup, storages, Start(self.starts), node, self.at())?;
        self.nodes.insert(node, opened);
        self.say(node);
        Ok(())
    }

    fn open(&mut self, node: u64, storages: Vec<MemoryStorage>) {
        self.try_open(node, storages).expect("it opens");
    }

    fn end(&mut self, node: u64) -> Vec<MemoryStorage> {
        self.nodes.remove(&node).expect("it runs").into_storages()
    }

    fn at(&self) -> Now {
        Now { time: Time(self.now), wall: WallTime(self.now) }
    }

    fn node(&mut self, node: u64) -> &mut Node<MemoryStorage> {
        self.nodes.get_mut(&node).expect("it runs")
    }

    fn step(&mut self, node: u64, input: Input) {
        let now = self.at();
        if let Some(node) = self.nodes.get_mut(&node) {
            node.step(now, input);
        }
        self.say(node);
    }

    /// Delivers what the node has to say, and what follows.
    fn say(&mut self, node: u64) {
        let Some(running) = self.nodes.get_mut(&node) else { return };
        running.commit().expect("memory doesn't fail");
        let said: Vec<_> = std::iter::from_fn(|| running.poll()).collect();
        for output in said {
            match output {
                Output::Send(to, message) => {
                    self.sent.push((node, to, message.clone()));
                    if !(self.lost)(&message) {
                        self.step(to.0, Input::Message(NodeId(node), message));
                    }
                }
                Output::Event(event) => self.events.push((node, event)),
                Output::Done(..) => {}
            }
        }
    }

    /// Time passes, from one deadline to the next.
    fn pass(&mut self, duration: Duration) {
        let until = self.now + duration.as_micros() as u64;
        loop {
            let dues = self.nodes.iter().filter_map(|(&id, node)| Some((node.deadline()?.0, id)));
            let Some((due, id)) = dues.min().filter(|&(due, _)| due <= until) else { break };
            self.now = self.now.max(due);
            self.step(id, Input::Wake);
        }
        self.now = until;
    }

    fn seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    fn membership(&self, node: u64) -> &Membership {
        self.nodes[&node].membership().expect("it takes part")
    }

    fn agree(&self) -> bool {
        let mut all = self.nodes.keys().map(|&node| self.membership(node));
        let first = all.next().expect("somebody");
        all.all(|other| other == first)
    }

    fn events_of(&self, node: u64) -> Vec<Event> {
        let of_members = |event: &Event| !matches!(event, Event::Suspected(_) | Event::Recovered(_));
        let own = self.events.iter().filter(|(id, event)| *id == node && of_members(event));
        own.map(|(_, event)| event.clone()).collect()
    }

    /// How often somebody sent such a message.
    fn count(&self, is: impl Fn(&Message) -> bool) -> usize {
        self.sent.iter().filter(|(_, _, message)| is(message)).count()
    }
}

/// The layout with a fourth member.
fn second_layout() -> Arc<Layout> {
    let first = first_layout();
    let change = Change::of(&first).join(Member::new(NodeId(4)));
    Arc::new(crate::ring::plan_change(&first, &change).expect("a plan").layout)
}

/// What a node was made to go for.
trait Target {
    fn target(&self) -> Option<&Arc<Layout>>;
}

impl Target for Node<MemoryStorage> {
    fn target(&self) -> Option<&Arc<Layout>> {
        Some(self.latest()).filter(|layout| layout.id().version > 1)
    }
}

#[test]
fn three_that_found_a_cluster_and_one_that_knows_only_a_seed_come_to_know_the_same() {
    let mut world = World::founded(Some(gossiping));
    world.open(4, vec![MemoryStorage::new()]);
    world.seconds(10);
    assert!(world.agree());
    let membership = world.membership(2).clone();
    let phases: Vec<_> = membership.records().map(|record| (record.node().0, record.phase())).collect();
    let active = Phase::Active;
    assert_eq!(phases, [(1, active), (2, active), (3, active), (4, Phase::Joining)]);
    assert_eq!(membership.record(NodeId(4)).unwrap().presence().unwrap().address, "host-4");
    assert_eq!(membership.layouts().decided(), first_layout().id());
    let mut heard = world.events_of(2);
    heard.sort_by_key(|event| format!("{event:?}"));
    assert_eq!(heard, [1, 3, 4].map(|node| Event::Joined(NodeId(node))));
    assert_eq!(world.node(1).spoken_by_all(), Some(1));
    // At rest a round is one message.
    let before = world.sent.len();
    world.seconds(100);
    let rounds = world.sent.len() - before;
    assert!((4 * 75..=4 * 101).contains(&rounds), "{rounds} messages of four nodes in a hundred seconds");
}

#[test]
fn without_gossip_nothing_is_said_and_nothing_is_stored() {
    let mut world = World::founded(None);
    world.seconds(100);
    assert!(world.sent.is_empty() && world.node(1).membership().is_none());
    let said = Said {
        decided: second_layout().id(),
        proposed: vec![],
        records: vec![],
        wanted: vec![],
        known: vec![],
        left: Gossip::STEPS,
    };
    world.step(1, Input::Message(NodeId(2), Message::Gossip(Gossip(said))));
    assert!(world.sent.is_empty());
    assert_eq!(world.node(1).leave(NodeId(2)), Err(ActError::NoGossip));
    assert_eq!(meta(&world.end(1)[0]).len(), 1, "the name of the storage");
}

#[test]
fn who_is_no_member_is_answered_about_the_membership_and_about_data_if_it_has_the_same_layout() {
    let mut world = World::founded(None);
    let probe = Probe { request: RequestId { start: Start(9), number: 1 } };
    world.step(1, Input::Message(NodeId(9), Message::Probe(probe)));
    assert_eq!(world.sent.pop(), Some((1, NodeId(9), Message::ProbeReply(probe))));
    world.step(1, Input::Message(NodeId(9), Message::LayoutWanted(first_layout().id())));
    assert_eq!(world.sent.pop(), Some((1, NodeId(9), Message::LayoutGiven(first_layout()))));
    world.step(1, Input::Message(NodeId(9), Message::LayoutWanted(second_layout().id())));
    assert!(world.sent.is_empty(), "nobody has it");
    let mut list = |layout| {
        let list = crate::message::List {
            request: probe.request,
            layout,
            partition: crate::ids::PartitionId(0),
            keyspace: Keyspace::new("default").id(),
            after: Bytes::default(),
            limit: 1,
        };
        world.step(1, Input::Message(NodeId(9), Message::List(list)));
        match world.sent.pop() {
            Some((1, NodeId(9), Message::ListReply(reply))) => reply.result.map(|listed| listed.keys.len()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(list(first_layout().id()), Ok(0));
    assert_eq!(list(second_layout().id()), Err(crate::error::Refusal::Layout(first_layout().id())));
}

#[test]
fn a_node_that_is_in_no_layout_opens_only_if_it_can_become_a_member() {
    let mut world = World::new(None);
    let refused = world.try_open(4, vec![MemoryStorage::new()]);
    assert_eq!(refused, Err(OpenError::Config(ConfigError::NotAMember(NodeId(4)))));
    world.introduced = Some(|node| Introduce { weight: 0, ..gossiping(node) });
    let refused = world.try_open(4, vec![MemoryStorage::new()]);
    assert!(matches!(refused, Err(OpenError::Config(ConfigError::Membership(_)))), "{refused:?}");
}

#[test]
fn the_membership_survives_a_restart() {
    let mut world = World::founded(Some(gossiping));
    world.seconds(10);
    world.node(1).propose(second_layout()).unwrap();
    world.seconds(5);
    let storages = world.end(3);
    let alone = world.end(1);
    world.end(2);
    world.open(3, storages.clone());
    let own = world.membership(3).clone();
    assert_eq!(own.len(), 3);
    assert_eq!(own.layouts().proposed().next().unwrap().0, second_layout().id());
    assert_eq!(world.node(3).target(), Some(&second_layout()), "and so does what it says");
    assert_eq!(own.record(NodeId(3)).unwrap().presence().unwrap().ordinal, 2);
    assert_eq!(world.events_of(3).last(), Some(&Event::Proposed(second_layout().id())));
    world.open(1, alone);
    world.seconds(10);
    assert!(world.agree());
    // What is decided takes the line of what was before along.
    let now = world.at().time;
    assert!(world.node(3).control.decide(second_layout().id(), now));
    world.step(3, Input::Wake);
    assert_eq!(meta(&world.end(3)[0]).len(), 3);
    world.open(3, storages);
}

/// The keys of what a storage says of itself, but for what it has promised.
fn meta(storage: &MemoryStorage) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    storage
        .scan(Space::Meta, &[], &mut |key, _| {
            if !key.starts_with(b"ballots") {
                keys.push(key.to_vec());
            }
            std::ops::ControlFlow::Continue(())
        })
        .expect("memory doesn't fail");
    keys
}

#[test]
fn damaged_lines_are_reported_and_heard_again_and_those_of_a_later_version_are_refused() {
    let mut world = World::founded(Some(gossiping));
    world.seconds(10);
    world.node(1).propose(second_layout()).unwrap();
    world.seconds(5);
    let storages = world.end(3);
    let lines: Vec<_> = meta(&storages[0]).into_iter().filter(|key| key != b"store").collect();
    assert_eq!(lines.len(), 3, "the membership, and two layouts");
    for key in &lines {
        let value = storages[0].get(Space::Meta, key).unwrap().unwrap();
        let with = |value: Vec<u8>| {
            let mut storage = storages[0].clone();
            let mut batch = Batch::new();
            batch.put(Space::Meta, key, &value);
            storage.write(&batch).unwrap();
            vec![storage]
        };
        let mut garbled = value.to_vec();
        garbled[0] ^= 1;
        world.events.clear();
        world.open(3, with(garbled));
        let damage = Event::StorageFailed(StorageError::Damaged(FormatError::Checksum));
        assert!(world.events_of(3).contains(&damage), "{:?}", world.events);
        world.seconds(10);
        assert!(world.agree());
        assert_eq!(meta(&world.end(3)[0]).len(), 4, "all is there again");
        let mut later = value[..value.len() - 4].to_vec();
        later[0] = 9;
        put_checksum(key, &mut later, 0);
        let refused = world.try_open(3, with(later));
        assert_eq!(refused, Err(OpenError::Storage(StorageError::Damaged(FormatError::Version(9)))));
    }
}

#[test]
fn a_layout_that_is_proposed_at_one_is_known_at_all() {
    let mut world = World::founded(Some(gossiping));
    world.seconds(10);
    let change = Change::of(&first_layout()).join(Member::new(NodeId(4)));
    let plan = world.node(2).preview(&change).unwrap();
    let id = world.node(2).commit_plan(&plan).unwrap();
    assert_eq!(id, second_layout().id());
    world.say(2);
    world.seconds(3);
    for node in 1..=3 {
        assert_eq!(world.node(node).target(), Some(&second_layout()));
        assert_eq!(world.events_of(node).last(), Some(&Event::Proposed(id)));
        assert_eq!(world.membership(node).layouts().proposed().next(), Some((id, first_layout().id())));
    }
    assert_eq!(world.count(|message| matches!(message, Message::LayoutGiven(_))), 2, "each was given it once");
    let stale = world.node(1).commit_plan(&plan);
    assert!(matches!(stale, Err(ActError::Stale(_))), "{stale:?}");
    let further = world.node(1).preview(&Change::of(&second_layout()).leave(NodeId(1))).unwrap();
    assert_eq!(world.node(1).commit_plan(&further), Err(ActError::Unfinished(id)));
    let now = world.at().time;
    assert!(world.node(3).control.decide(id, now));
    world.step(3, Input::Wake);
    world.seconds(5);
    for node in 1..=3 {
        assert_eq!(world.membership(node).layouts().decided(), id);
        assert_eq!(world.events_of(node).last(), Some(&Event::Decided(id)));
    }
    assert!(world.node(1).commit_plan(&further).is_ok());
}

#[test]
fn a_layout_that_got_lost_is_asked_for_again_within_bounds() {
    let mut world = World::founded(Some(gossiping));
    world.seconds(10);
    world.lost = |message| matches!(message, Message::LayoutGiven(_));
    world.node(1).propose(second_layout()).unwrap();
    world.say(1);
    world.seconds(60);
    let asked = world.count(|message| matches!(message, Message::LayoutWanted(_)));
    assert!((10..120).contains(&asked), "{asked} questions of two nodes in a minute");
    assert_eq!(world.node(2).target(), None);
    world.lost = |message| matches!(message, Message::Moving(_));
    world.seconds(10);
    assert!((2..=3).all(|node| world.nodes[&node].target() == Some(&second_layout())));
    let before = world.count(|message| matches!(message, Message::LayoutWanted(_)));
    world.seconds(60);
    assert_eq!(world.count(|message| matches!(message, Message::LayoutWanted(_))), before);
}

#[test]
fn who_is_decided_elsewhere_is_fetched_and_then_decided() {
    let mut world = World::founded(Some(gossiping));
    world.node(1).propose(second_layout()).unwrap();
    let now = world.at().time;
    assert!(world.node(1).control.decide(second_layout().id(), now));
    world.seconds(5);
    let id = second_layout().id();
    assert!(world.agree());
    assert_eq!(world.events_of(3)[world.events_of(3).len() - 2..], [Event::Proposed(id), Event::Decided(id)]);
    // The new member says itself that it is one now.
    world.open(4, vec![MemoryStorage::new()]);
    world.seconds(10);
    assert_eq!(world.membership(1).record(NodeId(4)).unwrap().phase(), Phase::Active);
    assert!(world.agree());
}

#[test]
fn a_layout_of_another_shape_is_dropped_counted_and_not_asked_for_again() {
    let mut world = World::founded(Some(gossiping));
    world.seconds(10);
    let members: Vec<_> = (1..=3).map(|node| Member::new(NodeId(node))).collect();
    let odd = plan_first(&members, 3, 17).unwrap().layout;
    let odd = Arc::new(crate::ring::plan_change(&odd, &Change::of(&odd)).unwrap().layout);
    assert_eq!(world.node(1).propose(Arc::clone(&odd)), Err(ActError::Shape(odd.id())));
    let said = Said {
        decided: first_layout().id(),
        proposed: vec![odd.id()],
        records: vec![],
        wanted: vec![],
        known: vec![],
        left: 0,
    };
    let gossip = || Input::Message(NodeId(9), Message::Gossip(Gossip(said.clone())));
    world.step(1, gossip());
    assert_eq!(world.sent.pop(), Some((1, NodeId(9), Message::LayoutWanted(odd.id()))));
    world.step(1, Input::Message(NodeId(9), Message::LayoutGiven(Arc::clone(&odd))));
    assert_eq!(world.node(1).counters().layouts_refused, 1);
    world.step(1, gossip());
    assert!(!matches!(world.sent.last(), Some((_, _, Message::LayoutWanted(_)))));
    assert_eq!(world.node(1).target(), None);
}

#[test]
fn layouts_that_nobody_has_cost_little_and_keep_no_other_away() {
    let mut world = World::founded(Some(gossiping));
    world.seconds(10);
    world.sent.clear();
    for number in 0..10 {
        let proposed: Vec<_> = (1..=16).map(|hash| LayoutId { version: 3 + number, hash }).collect();
        let said =
            Said { decided: first_layout().id(), proposed, records: vec![], wanted: vec![], known: vec![], left: 0 };
        world.step(1, Input::Message(NodeId(9), Message::Gossip(Gossip(said))));
    }
    assert_eq!(world.count(|message| matches!(message, Message::LayoutWanted(_))), 160);
    world.node(2).propose(second_layout()).unwrap();
    world.seconds(30);
    assert_eq!(world.node(1).target(), Some(&second_layout()));
    let asked = world.count(|message| matches!(message, Message::LayoutWanted(_)));
    assert!(asked < 160 + 17 * 5, "{asked} questions: in the end it gives up");
}

#[test]
fn a_host_hands_layouts_in_without_gossip() {
    let mut world = World::new(None);
    world.elastic = true;
    (1..=3).for_each(|node| world.open(node, vec![MemoryStorage::new()]));
    world.node(1).propose(second_layout()).unwrap();
    world.node(1).propose(second_layout()).unwrap();
    world.say(1);
    assert_eq!(world.events_of(1), [Event::Proposed(second_layout().id())], "once");
    assert_eq!(world.node(1).target(), Some(&second_layout()));
    assert!(world.sent.is_empty());
    let storages = world.end(1);
    assert_eq!(meta(&storages[0]).len(), 2, "its name, and the new layout");
    world.open(1, storages);
    assert_eq!(world.node(1).target(), Some(&second_layout()));
    // What is above the bound drops what is lowest.
    let mut layout = second_layout();
    for version in 3..=18 {
        let change = Change::of(&layout);
        layout = Arc::new(crate::ring::plan_change(&layout, &change).unwrap().layout);
        world.node(1).propose(Arc::clone(&layout)).unwrap();
        assert_eq!(layout.id().version, version);
    }
    assert_eq!(world.node(1).propose(second_layout()), Err(ActError::Superseded(second_layout().id())));
    assert_eq!(meta(&world.end(1)[0]).len(), 17);
}

#[test]
fn what_the_operator_says_of_members_is_staged() {
    let mut world = World::founded(Some(gossiping));
    world.open(4, vec![MemoryStorage::new()]);
    world.seconds(10);
    let first = first_layout();
    let joins = Change::of(&first).join(Member::new(NodeId(4)));
    assert_eq!(world.node(2).staged(), Some(joins.clone()));
    world.node(2).seat(NodeId(4), ZoneId(5), 2).unwrap();
    world.node(2).seat(NodeId(1), ZoneId(1), 1).unwrap();
    world.node(3).leave(NodeId(3)).unwrap();
    world.seconds(10);
    assert!(world.agree());
    let all = Change::of(&first)
        .adjust(Member::new(NodeId(1)).zone(ZoneId(1)))
        .leave(NodeId(3))
        .join(Member::new(NodeId(4)).zone(ZoneId(5)).weight(2));
    let plan = |world: &mut World, node, change: &Change| world.node(node).preview(change).unwrap();
    let staged = world.node(1).staged().unwrap();
    assert_eq!(plan(&mut world, 1, &staged), plan(&mut world, 2, &all));
    assert!(world.events_of(1).contains(&Event::Leaving(NodeId(3))));
    let plan = plan(&mut world, 1, &staged);
    world.node(1).commit_plan(&plan).unwrap();
    assert_eq!(world.node(1).staged(), None, "it is on its way");
    assert_eq!(world.node(1).leave(NodeId(8)), Err(ActError::Unknown(NodeId(8))));
    world.node(1).remove(NodeId(3)).unwrap();
    assert!(matches!(world.node(1).leave(NodeId(3)), Err(ActError::Record(_))));
    world.seconds(10);
    assert!(world.events_of(3).contains(&Event::Removed(NodeId(3))), "it learns that it is gone");
    let storages = world.end(3);
    world.events.clear();
    world.open(3, storages);
    assert_eq!(world.events_of(3), [Event::Removed(NodeId(3)), Event::Proposed(plan.id())]);
    world.node(3).rejoin().unwrap();
    world.seconds(10);
    assert!(world.agree());
    assert_eq!(world.membership(1).record(NodeId(3)).unwrap().incarnation(), 2);
    assert_eq!(world.events_of(1).last(), Some(&Event::Joined(NodeId(3))));
}

#[test]
fn changes_are_committed_without_an_operator_by_one_node_once_it_is_calm() {
    let mut world = World::founded(Some(|node| Introduce { automatic: true, ..gossiping(node) }));
    world.open(4, vec![MemoryStorage::new()]);
    world.seconds(3);
    assert_eq!(world.node(1).target(), None, "not at once");
    world.seconds(12);
    let proposed: Vec<_> = (1..=4).map(|node| world.nodes[&node].target().cloned()).collect();
    assert_eq!(proposed, vec![Some(second_layout()); 4]);
    world.open(5, vec![MemoryStorage::new()]);
    world.seconds(30);
    assert_eq!(world.node(1).target(), Some(&second_layout()), "one change after the other");
    let now = world.at().time;
    assert!(world.node(2).control.decide(second_layout().id(), now));
    world.seconds(30);
    let third = world.node(4).target().unwrap();
    assert_eq!((third.parent(), third.members().len()), (second_layout().id(), 5));
}

fn record(node: u64, start: u64, protocols: Protocols) -> MemberRecord {
    // The store that it was founded with.
    let (start, store, address) = (Start(start), StoreId(0), Bytes::default());
    let presence = Presence { ordinal: 1, start, store, protocols, address };
    MemberRecord::joining(NodeId(node), ZoneId(0), 1, presence).unwrap()
}

fn told(record: MemberRecord) -> Message {
    let decided = first_layout().id();
    let records = vec![record];
    Message::Gossip(Gossip(Said { decided, proposed: vec![], records, wanted: vec![], known: vec![], left: 0 }))
}

#[test]
fn a_peer_of_a_foreign_protocol_is_reported_and_not_listened_to() {
    let mut world = World::founded(Some(gossiping));
    world.seconds(10);
    let lists = |world: &mut World| {
        let list = crate::message::List {
            request: RequestId { start: Start(9), number: 1 },
            layout: first_layout().id(),
            partition: crate::ids::PartitionId(0),
            keyspace: Keyspace::new("default").id(),
            after: Bytes::default(),
            limit: 1,
        };
        world.sent.clear();
        world.step(1, Input::Message(NodeId(2), Message::List(list)));
        world.count(|message| matches!(message, Message::ListReply(_)))
    };
    assert_eq!(lists(&mut world), 1);
    world.end(2);
    let later = Protocols { lowest: 7, highest: 9 };
    let known = world.membership(1).record(NodeId(2)).unwrap().clone();
    let other = record(2, 99, later).presence().unwrap().clone();
    let upgraded = known.started(other.clone()).unwrap();
    world.step(1, Input::Message(NodeId(2), told(upgraded.clone())));
    assert_eq!(world.events_of(1).last(), Some(&Event::ProtocolDiffers(NodeId(2))));
    let refused = world.node(1).counters().refused;
    assert_eq!((lists(&mut world), world.node(1).counters().refused), (0, refused + 1));
    assert_eq!(world.node(1).spoken_by_all(), None);
    // Nor is one that joins with it given anything to own.
    world.step(1, Input::Message(NodeId(9), told(record(9, 9, later))));
    assert_eq!(world.node(1).staged(), None);
    let both = Protocols { lowest: 1, highest: 9 };
    let back = upgraded.started(Presence { protocols: both, ..other }).unwrap();
    world.step(1, Input::Message(NodeId(2), told(back)));
    assert_eq!(lists(&mut world), 1);
}

#[test]
fn a_copied_node_is_reported() {
    let mut world = World::founded(Some(gossiping));
    world.seconds(10);
    let mut record = record(1, 77, Protocols { lowest: 1, highest: 1 });
    for _ in 0..10 {
        record = world.membership(1).record(NodeId(1)).unwrap().started(record.presence().unwrap().clone()).unwrap();
        world.step(1, Input::Message(NodeId(9), told(record.clone())));
    }
    assert!(world.events_of(1).contains(&Event::Doubled(Start(77))));
}

#[test]
fn a_fenced_node_is_silent() {
    let mut world = World::founded(Some(gossiping));
    world.seconds(10);
    let now = world.at();
    let node = world.node(1);
    node.shards[0].fence(&StorageError::Fenced);
    while node.poll().is_some() {}
    node.step(now, Input::Message(NodeId(9), Message::LayoutWanted(first_layout().id())));
    node.step(Now { time: now.time + Duration::from_secs(60), ..now }, Input::Wake);
    assert_eq!((node.poll(), node.deadline()), (None, None));
    assert_eq!(node.leave(NodeId(2)), Err(ActError::Stopped));
}

#[test]
fn a_membership_of_another_cluster_is_no_news() {
    let mut world = World::founded(Some(gossiping));
    world.seconds(10);
    let mut storages = world.end(3);
    let mut foreign = Membership::joining(ClusterId(77)).encode();
    put_checksum(b"membership", &mut foreign, 0);
    let mut batch = Batch::new();
    batch.put(Space::Meta, b"membership", &foreign);
    storages[0].write(&batch).unwrap();
    world.open(3, storages);
    let damage = StorageError::Damaged(FormatError::Content("another cluster"));
    assert!(world.events_of(3).contains(&Event::StorageFailed(damage)));
    world.seconds(10);
    assert!(world.agree());
}

#[test]
fn time_without_end_is_no_round() {
    let mut world = World::new(Some(gossiping));
    world.timing.gossip = Duration::MAX;
    (1..=2).for_each(|node| world.open(node, vec![MemoryStorage::new()]));
    world.seconds(100);
    assert!(world.sent.is_empty());
    assert!(world.node(1).deadline().is_none_or(|due| due > world.at().time));
    let known: BTreeSet<_> = world.membership(1).records().map(MemberRecord::node).collect();
    assert_eq!(known, BTreeSet::from([NodeId(1)]));
}
