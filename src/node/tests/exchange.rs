//! Exchanges with a peer that says what it should not: refused and counted, soon over, and nothing of it is kept.

use super::*;
use crate::config::Timing;
use crate::error::Refusal;
use crate::ids::{LayoutId, PartitionId};
use crate::merkle::{Nodes, Rebuild, Tree};
use crate::message::{Answer, Ask, Compared, Item, Keys, Page, Question, Records, Standing, Surveyed, Told};
use crate::node::Output;

const PEER: NodeId = NodeId(2);
const STRANGER: NodeId = NodeId(9);

fn member(node: u64) -> NodeId {
    NodeId(node)
}

/// Node 1 of four, with some keys in the partition of [`KEY`], which node 2 owns too.
struct Story {
    node: Node<MemoryStorage>,
    partition: PartitionId,
    seconds: u64,
}

impl Story {
    fn new() -> Self {
        let members: Vec<_> = (1..=4).map(|node| Member::new(NodeId(node))).collect();
        let layout = Arc::new(plan_first(&members, 3, 8).expect("a layout").layout);
        let partition = layout.partition_of(key().position());
        // Whoever the owners are, the first of them is called 1 here, and the second 2.
        let (own, peer) = (layout.owners(partition)[0], layout.owners(partition)[1]);
        let names: Vec<_> = (1..=4).map(NodeId).filter(|node| ![own, peer].contains(node)).collect();
        let name = |node: &NodeId| match *node {
            node if node == own => member(1),
            node if node == peer => PEER,
            node => member(3 + names.iter().position(|other| *other == node).expect("a member") as u64),
        };
        let owners = (0..8).map(|at| layout.owners(PartitionId(at)).iter().map(name).collect()).collect();
        let layout = Arc::new(crate::ring::Layout::from_owners(3, members, owners).expect("the same, renamed"));
        let timing = Timing { exchange: std::time::Duration::from_secs(2), ..Timing::default() };
        let keyspaces = vec![Keyspace::new("default")];
        let setup = Setup { timing, founding: true, ..Setup::new(IDENTITY, NodeId(1), layout, keyspaces) };
        let mut node = Node::open(setup.clone(), vec![MemoryStorage::new()], Start(7), 1, now(0)).expect("it opens");
        let layout = Arc::clone(node.layout());
        for (counter, key) in keys_of(&layout, partition, true).take(20).enumerate() {
            let entry = entry(counter as u64 + 1);
            let (request, layout) = (RequestId { start: Start(9), number: 1 }, node.layout().id());
            let (update, durability) = (Arc::new(Update::put(entry, &DotSet::new())), Durability::Quorum);
            let write = Write {
                request,
                sets: crate::ballot::Sets::of(layout),
                round: 0,
                key,
                update,
                hint_for: None,
                durability,
            };
            node.step(now(1), Input::Message(PEER, Message::Write(write)));
        }
        node.commit().expect("memory doesn't fail");
        // Opened again: the tree is as deep as the keys make it.
        let node = Node::open(setup, node.into_storages(), Start(8), 1, now(1)).expect("it opens");
        let mut story = Self { node, partition, seconds: 1 };
        for _ in 0..20 {
            story.wake();
        }
        story
    }

    fn step(&mut self, input: Input) -> Vec<(NodeId, Message)> {
        self.node.step(now(self.seconds), input);
        self.node.commit().expect("memory doesn't fail");
        let outputs = std::iter::from_fn(|| self.node.poll());
        outputs
            .filter_map(|output| if let Output::Send(to, message) = output { Some((to, message)) } else { None })
            .collect()
    }

    fn wake(&mut self) -> Vec<(NodeId, Message)> {
        self.seconds += 1;
        self.step(Input::Wake)
    }

    fn hear(&mut self, from: NodeId, message: Message) -> Vec<(NodeId, Message)> {
        self.step(Input::Message(from, message))
    }

    /// The peer is told the marks, and finds that they differ: the node's first question.
    fn first(&mut self) -> Ask {
        self.answered(|compared, partition| compared.apart.push(partition))
    }

    fn answered(&mut self, how: impl Fn(&mut Compared, PartitionId)) -> Ask {
        for _ in 0..20 {
            let sent = self.wake();
            let Some(request) = sent.iter().find_map(|(to, message)| match message {
                Message::Compare(compare) if *to == PEER => Some(compare.request),
                _ => None,
            }) else {
                // Nobody is suspected who is heard.
                self.hear(
                    PEER,
                    Message::Compared(Compared {
                        request: RequestId { start: Start(0), number: 0 },
                        same: vec![],
                        apart: vec![],
                        doubtful: vec![],
                    }),
                );
                continue;
            };
            let mut compared = Compared { request, same: vec![], apart: vec![], doubtful: vec![] };
            how(&mut compared, self.partition);
            let sent = self.hear(PEER, Message::Compared(compared));
            return ask(&sent).expect("it asks");
        }
        panic!("it tells the peer nothing");
    }

    /// The first question of a full exchange.
    fn survey(&mut self) -> Ask {
        let ask = self.answered(|compared, partition| compared.doubtful.push(partition));
        assert_eq!(ask.question, Question::Survey);
        ask
    }

    fn surveyed(&self, depth: u8, unsettled: Vec<u64>) -> Answer {
        let root = self.deep(40).summary().short();
        Answer::Surveyed(Surveyed { standing: Standing::Whole, clock: Arc::new(foreign()), root, depth, unsettled })
    }

    /// The first question for keys.
    fn keys(&mut self) -> Ask {
        let survey = self.survey();
        let surveyed = self.surveyed(4, vec![]);
        let ask = self.tell(&survey, surveyed).expect("it goes on");
        let level = Answer::Level(self.deep(40).level(&Nodes::root(), 4).expect("it is as deep"));
        self.tell(&ask, level).expect("it goes on")
    }

    fn own_root(&mut self) -> crate::merkle::Short {
        let (request, layout) = (RequestId { start: Start(5), number: 1 }, self.node.layout().id());
        let (step, partition, question) = (0, self.partition, Question::Survey);
        let sent = self.hear(PEER, Message::Ask(Ask { request, step, layout, partition, question }));
        let root = sent.into_iter().find_map(|(_, message)| match message {
            Message::Told(Told { result: Ok(Answer::Surveyed(surveyed)), .. }) => Some(surveyed.root),
            _ => None,
        });
        root.expect("its tree is built")
    }

    /// The peer's tree, of so many keys, of which the node has none.
    fn deep(&self, count: u64) -> Tree {
        let positions = self.node.layout().positions_of(self.partition);
        let mut rebuild = Rebuild::new(positions.clone(), count);
        let width = (positions.end() - positions.start()) / count;
        let keys: Vec<_> = (0..count).map(|at| (positions.start() + at * width, u128::from(at + 1) << 70)).collect();
        rebuild.take(*positions.end(), &keys).expect("in order");
        rebuild.finish().expect("complete")
    }

    fn told(&self, ask: &Ask, answer: Answer) -> Told {
        let (request, step, partition) = (ask.request, ask.step, self.partition);
        Told { request, step, partition, start: Start(5), losses: 0, result: Ok(answer) }
    }

    fn tell(&mut self, ask: &Ask, answer: Answer) -> Option<Ask> {
        let told = self.told(ask, answer);
        let sent = self.hear(PEER, Message::Told(told));
        self::ask(&sent)
    }

    /// The peer's answer is refused: counted once, nothing is stored, and the exchange is over.
    fn refuses(&mut self, ask: &Ask, answer: Answer, why: &str) {
        let (before, refused) = (rows(&self.node), self.node.counters().refused);
        assert_eq!(self.tell(ask, answer.clone()), None, "{why}");
        assert_eq!(self.node.counters().refused, refused + 1, "{why}");
        // It is over: the same again is nobody's.
        assert_eq!(self.tell(ask, answer), None, "{why}");
        assert_eq!(self.node.counters().refused, refused + 1, "{why}");
        assert!(rows(&self.node) == before, "{why}: something was stored");
    }
}

fn ask(sent: &[(NodeId, Message)]) -> Option<Ask> {
    sent.iter().find_map(|(to, message)| match message {
        Message::Ask(ask) if *to == PEER => Some(ask.clone()),
        _ => None,
    })
}

fn entry(counter: u64) -> Entry {
    let dot = Dot { actor: Actor { node: PEER, start: Start(1) }, counter };
    Entry { dot, write_id: None, expires: None, stamp: Stamp(1), value: "v".into() }
}

/// A clock with dots that the node doesn't know.
fn foreign() -> DotSet {
    (1_000..1_010).map(|counter| Dot { actor: Actor { node: PEER, start: Start(1) }, counter }).collect()
}

/// Keys that lie in a partition, or that don't.
fn keys_of(layout: &crate::ring::Layout, partition: PartitionId, within: bool) -> impl Iterator<Item = Key> {
    let id = Keyspace::new("default").id();
    let all = (0..10_000).map(move |number| Key::new(&IDENTITY.secret, id, format!("{number}").as_bytes()));
    let layout = layout.clone();
    all.filter(move |key| (layout.partition_of(key.position()) == partition) == within)
}

fn item(key: Key) -> Item {
    Item { key, live: vec![entry(1_000)], residual: DotSet::new(), events: DotSet::new() }
}

fn rows(node: &Node<MemoryStorage>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    for (storage, space) in node.storages().flat_map(|storage| Space::ALL.map(|space| (storage, space))) {
        let all = storage.scan(space, &[], &mut |name, value| {
            rows.push((name.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        });
        all.expect("memory doesn't fail");
    }
    rows
}

fn page(items: Vec<Item>) -> Answer {
    Answer::Page(Page { clock: Arc::new(foreign()), exact: false, items, more: true })
}

fn records(items: Vec<Item>, done: u32) -> Answer {
    Answer::Records(Records { clock: Arc::new(foreign()), items, done })
}

fn list(unsettled: Vec<u64>, through: Option<u64>) -> Answer {
    Answer::Keys(Keys { live: vec![], unsettled, through })
}

#[test]
fn an_answer_that_does_not_fit_its_question_ends_the_exchange() {
    let level = |story: &Story| Answer::Level(story.deep(40).level(&Nodes::root(), 2).expect("it is as deep"));
    let mut story = Story::new();
    let inside = keys_of(story.node.layout(), story.partition, true).nth(50).expect("enough");
    let all = [
        Answer::Nothing,
        Answer::TooOld,
        page(vec![item(inside.clone())]),
        story.surveyed(4, vec![]),
        level(&story),
        list(vec![], None),
        records(vec![item(inside)], 1),
    ];
    // To the first question the first three answers fit; to a survey only the fourth.
    for answer in &all[3..] {
        let ask = story.first();
        story.refuses(&ask, answer.clone(), "since");
    }
    for answer in all[..3].iter().chain(&all[4..]) {
        let ask = story.survey();
        story.refuses(&ask, answer.clone(), "survey");
    }
    for (which, answer) in all.iter().enumerate().filter(|(which, _)| *which != 4) {
        let survey = story.survey();
        let surveyed = story.surveyed(4, vec![]);
        let ask = story.tell(&survey, surveyed).expect("it goes on");
        assert!(matches!(ask.question, Question::Level { .. }), "{:?}", ask.question);
        story.refuses(&ask, answer.clone(), &format!("level, answer {which}"));
    }
    for (which, answer) in all.iter().enumerate().filter(|(which, _)| *which != 5) {
        let ask = story.keys();
        assert!(matches!(ask.question, Question::Keys { .. }), "{:?}", ask.question);
        story.refuses(&ask, answer.clone(), &format!("keys, answer {which}"));
    }
}

#[test]
fn records_of_another_partition_and_records_that_nobody_asked_for_are_not_taken() {
    let mut story = Story::new();
    let outside = keys_of(story.node.layout(), story.partition, false).next().expect("one");
    let inside: Vec<_> = keys_of(story.node.layout(), story.partition, true).skip(50).take(2).collect();
    let ask = story.first();
    story.refuses(&ask, page(vec![item(inside[0].clone()), item(outside.clone())]), "in a page");
    // Asked for, because the peer says that something is there; but no such key is of this partition.
    for (positions, items, done) in [
        (vec![outside.upper_position()], vec![item(outside.clone())], 1),
        (vec![inside[0].upper_position()], vec![item(inside[0].clone()), item(outside)], 1),
        (vec![inside[0].upper_position()], vec![item(inside[1].clone())], 1),
        (vec![inside[0].upper_position()], vec![item(inside[0].clone())], 0),
        (vec![inside[0].upper_position()], vec![item(inside[0].clone())], 2),
    ] {
        let root = story.own_root();
        let survey = story.survey();
        let surveyed = Answer::Surveyed(Surveyed {
            standing: Standing::Whole,
            clock: Arc::new(foreign()),
            root,
            depth: 0,
            unsettled: positions.clone(),
        });
        let ask = story.tell(&survey, surveyed).expect("it goes on");
        assert_eq!(ask.question, Question::Records(positions));
        story.refuses(&ask, records(items, done), &format!("{done} of 1"));
    }
}

#[test]
fn levels_of_other_nodes_or_deeper_than_the_tree_and_lists_that_stand_still_are_refused() {
    let mut story = Story::new();
    let deep = story.deep(4_000);
    assert!(deep.depth() > 8);
    for (depth, nodes, common) in [(200, Nodes::new(4, vec![0]), 8), (4, Nodes::new(1, vec![0]), 3)] {
        let nodes = nodes.expect("they might be");
        let survey = story.survey();
        let surveyed = story.surveyed(depth, vec![]);
        let ask = story.tell(&survey, surveyed).expect("it goes on");
        let Question::Level { common: asked, .. } = ask.question else { panic!("{:?}", ask.question) };
        assert!(asked <= 4, "no deeper than the own tree, whatever the peer says");
        let level = Answer::Level(deep.level(&nodes, common).expect("it is as deep"));
        story.refuses(&ask, level, &format!("{nodes:?} to {common}"));
    }
    let ask = story.keys();
    let Question::Keys { nodes, after: None } = ask.question.clone() else { panic!("{:?}", ask.question) };
    let positions = story.node.layout().positions_of(story.partition);
    let ask = story.tell(&ask, list(vec![], Some(*positions.start() + 5))).expect("there is more");
    assert_eq!(ask.question, Question::Keys { nodes, after: Some(positions.start() + 5) });
    story.refuses(&ask, list(vec![], Some(*positions.start() + 5)), "it stands still");
}

#[test]
fn a_page_that_brings_nothing_is_not_asked_for_again() {
    let mut story = Story::new();
    let ask = story.first();
    assert_eq!(story.tell(&ask, page(vec![])), None, "there is more, it says");
}

#[test]
fn answers_of_another_step_partition_peer_or_life_change_nothing() {
    let mut story = Story::new();
    let inside = keys_of(story.node.layout(), story.partition, true).nth(50).expect("enough");
    let ask = story.first();
    let good = story.told(&ask, page(vec![item(inside)]));
    let before = rows(&story.node);
    let other = PartitionId((story.partition.0 + 1) % 8);
    for (from, told) in [
        (PEER, Told { step: ask.step + 1, ..good.clone() }),
        (PEER, Told { partition: other, ..good.clone() }),
        (PEER, Told { partition: PartitionId(u32::MAX), ..good.clone() }),
        (PEER, Told { request: RequestId { number: 77, ..ask.request }, ..good.clone() }),
        (PEER, Told { request: RequestId { start: Start(1), ..ask.request }, ..good.clone() }),
        (member(3), good.clone()),
        (member(4), good.clone()),
        (STRANGER, good.clone()),
    ] {
        story.hear(from, Message::Told(told));
        assert!(rows(&story.node) == before);
    }
    // The exchange goes on as if nothing had been said.
    let sent = story.hear(PEER, Message::Told(good));
    assert!(rows(&story.node) != before);
    let next = self::ask(&sent).expect("there may be more");
    assert_eq!(story.tell(&next, Answer::Nothing), None);
    // And one over the trees ends when another life answers.
    for (start, losses) in [(6, 0), (5, 1)] {
        let ask = story.keys();
        let before = rows(&story.node);
        let told = Told { start: Start(start), losses, ..story.told(&ask, list(vec![], None)) };
        let sent = story.hear(PEER, Message::Told(told));
        assert!(self::ask(&sent).is_none() && rows(&story.node) == before);
        assert_eq!(story.tell(&ask, list(vec![], None)), None, "it is over");
        assert!(rows(&story.node) == before);
    }
}

#[test]
fn a_peer_that_falls_silent_is_asked_a_few_times_and_then_no_more() {
    let mut story = Story::new();
    let survey = story.survey();
    let surveyed = story.surveyed(4, vec![]);
    let ask = story.tell(&survey, surveyed).expect("it goes on");
    let before = rows(&story.node);
    let mut again = 0;
    for _ in 0..30 {
        let sent = story.wake();
        again += sent.iter().filter(|(_, message)| matches!(message, Message::Ask(_))).count();
    }
    assert!(again <= 4, "{again} times");
    let level = Answer::Level(story.deep(40).level(&Nodes::root(), 2).expect("it is as deep"));
    assert_eq!(story.tell(&ask, level), None, "too late");
    assert!(rows(&story.node) == before);
    assert!(story.first().step == 0, "and the next exchange begins anew");
}

#[test]
fn marks_and_findings_of_those_who_own_nothing_here_are_not_followed() {
    let mut story = Story::new();
    let owners = story.node.layout().owners(story.partition).to_vec();
    let other = [member(3), member(4)].into_iter().find(|node| !owners.contains(node)).expect("three own it");
    for _ in 0..20 {
        for (to, message) in story.wake() {
            let Message::Compare(compare) = message else { continue };
            let (partition, request) = (story.partition, compare.request);
            let all = vec![partition, PartitionId(7_000), PartitionId(u32::MAX)];
            let compared = Compared { request, same: all.clone(), apart: all.clone(), doubtful: all };
            for from in [other, STRANGER] {
                let sent = story.hear(from, Message::Compared(compared.clone()));
                let asked =
                    sent.iter().any(|(_, message)| matches!(message, Message::Ask(ask) if ask.partition == partition));
                assert!(!asked, "{to}");
            }
        }
    }
}

#[test]
fn questions_out_of_place_are_answered_with_a_refusal_and_change_nothing() {
    let mut story = Story::new();
    let (layout, partition) = (story.node.layout().id(), story.partition);
    let unowned = (0..8).map(PartitionId).find(|it| !story.node.layout().owns(NodeId(1), *it)).expect("one of eight");
    let before = rows(&story.node);
    let refused = story.node.counters().refused;
    let mut answer = |layout, partition, question| {
        let request = RequestId { start: Start(5), number: 1 };
        let sent = story.hear(PEER, Message::Ask(Ask { request, step: 3, layout, partition, question }));
        let answer = sent.into_iter().find_map(|(to, message)| match message {
            Message::Told(told) if to == PEER => Some((told.step, told.result)),
            _ => None,
        });
        let (step, result) = answer.expect("it answers");
        assert_eq!(step, 3);
        result
    };
    let elsewhere = LayoutId { version: 99, hash: 1 };
    assert_eq!(answer(elsewhere, partition, Question::Survey), Err(Refusal::Layout(layout)));
    for none in [unowned, PartitionId(8), PartitionId(u32::MAX)] {
        assert_eq!(answer(layout, none, Question::Survey), Err(Refusal::NotAnOwner));
    }
    for (depth, indices, common) in [(20, vec![0, 7], 22), (0, (0..1).collect(), 0), (12, (0..2_000).collect(), 16)] {
        let nodes = Nodes::new(depth, indices).expect("they might be");
        let result = answer(layout, partition, Question::Level { nodes, common });
        assert_eq!(result, Err(Refusal::NotReady), "{depth}");
    }
    let nodes = Nodes::root();
    let Ok(Answer::Keys(keys)) = answer(layout, partition, Question::Keys { nodes, after: Some(u64::MAX) }) else {
        panic!("behind the end is nothing");
    };
    assert_eq!((keys.live.len(), keys.through), (0, None));
    let positions = (0..100_000).collect();
    let Ok(Answer::Records(records)) = answer(layout, partition, Question::Records(positions)) else {
        panic!("it answers");
    };
    assert!(records.items.is_empty() || partition.0 == 0);
    assert!(rows(&story.node) == before);
    assert_eq!(story.node.counters().refused, refused + 4);
}
