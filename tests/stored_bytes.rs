//! All that a node stores, byte for byte: what `docs/STORAGE_FORMAT.md` says, held to it.
//!
//! A change here is a change of the format: disks that hold the old bytes must still be read.

use std::fmt::Write;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use quorate::causality::{Identity, Secret};
use quorate::ids::WriteId;
use quorate::members::Introduce;
use quorate::ring::{Change, Member, plan_first};
use quorate::storage::{MemoryStorage, Space, Storage, mark_set_back};
use quorate::{
    ClusterId, Context, Input, Keyspace, Node, NodeId, Now, Output, PutOptions, Reply, Request, Setup, Start, Ticket,
    Time, WallTime,
};

fn open(node: u64) -> Node<MemoryStorage> {
    open_with(node, None)
}

fn open_with(node: u64, membership: Option<Introduce>) -> Node<MemoryStorage> {
    let members: Vec<_> = (1..=3).map(|node| Member::new(NodeId(node))).collect();
    let layout = Arc::new(plan_first(&members, 3, 2).unwrap().layout);
    let identity = Identity { cluster: ClusterId(0xc1), secret: Secret::new([1; 16]) };
    let setup = Setup::new(identity, NodeId(node), layout, vec![Keyspace::new("default")]);
    let setup = Setup { founding: true, membership, ..setup };
    Node::open(setup, vec![MemoryStorage::new()], Start(0x5700 + node), 1, at(0)).unwrap()
}

fn at(millis: u64) -> Now {
    Now { time: Time(millis * 1_000), wall: WallTime(0x0006_0000_0000_0000 + millis * 1_000) }
}

/// A put at this node alone: the others are never heard of.
fn put(node: &mut Node<MemoryStorage>, key: &str, value: Option<&str>, context: &Context) -> Context {
    let options = PutOptions { w: Some(1), write_id: value.map(|_| WriteId(0x1d)), ..PutOptions::default() };
    let (keyspace, value) = (Keyspace::new("default").id(), value.map(Into::into));
    let request = Request::Put { keyspace, key: key.into(), value, context: context.clone(), options };
    node.step(at(1), Input::Request(Ticket(1), request));
    node.commit().unwrap();
    while let Some(output) = node.poll() {
        if let Output::Done(_, Reply::Put(written)) = output {
            return written.unwrap().context;
        }
    }
    panic!("no answer");
}

fn dump(storage: &MemoryStorage) -> String {
    let mut out = String::new();
    for space in [Space::Meta, Space::Objects, Space::Dots, Space::Hints] {
        writeln!(out, "{space:?}").unwrap();
        storage
            .scan(space, &[], &mut |key, value| {
                let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
                writeln!(out, "  {} = {}", hex(key), hex(value)).unwrap();
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    out
}

#[test]
fn the_four_spaces_of_a_node_are_what_they_always_were() {
    let (mut node, mut other) = (open(1), open(2));
    // What another node alone has seen: here the context is ahead of the clock, and leaves a residual.
    let ahead = put(&mut other, "residual", Some("old"), &Context::empty());
    put(&mut node, "residual", Some("new"), &ahead);
    put(&mut node, "siblings", Some("one"), &Context::empty());
    put(&mut node, "siblings", Some("two"), &Context::empty());
    let seen = put(&mut node, "deleted", Some("gone"), &Context::empty());
    put(&mut node, "deleted", None, &seen);
    // The others are late: there is no fallback, so the coordinator keeps the hints.
    node.step(at(150), Input::Wake);
    node.commit().unwrap();
    let dump = dump(node.storages().next().unwrap());
    assert_eq!(dump, GOLDEN, "\n{dump}");
}

/// Its stamp stands in the record behind the write id, and again, in the order of time, in the index of what expires.
#[test]
fn what_expires_is_found_by_its_time() {
    let mut node = open(1);
    let options = PutOptions { w: Some(1), expires_after: Some(Duration::from_millis(0x10)), ..PutOptions::default() };
    let keyspace = Keyspace::new("default").id();
    let (key, value, context) = ("siblings".into(), Some("one".into()), Context::empty());
    node.step(at(1), Input::Request(Ticket(1), Request::Put { keyspace, key, value, context, options }));
    node.commit().unwrap();
    let dump = dump(node.storages().next().unwrap());
    let key = "5759a60c7369626c696e6773";
    // 17 ms after the beginning.
    let record = format!("0000000100000001cd580e8f33840797{key} = 0101020101570000000000000168420000000006000000");
    let line = format!("0000000100000001050006000000004268{key} = \n");
    assert!(dump.contains(&record) && dump.contains(&line), "\n{dump}");
}

#[test]
fn the_mark_of_a_storage_that_was_set_back() {
    let mut storage = MemoryStorage::new();
    mark_set_back(&mut storage).unwrap();
    assert_eq!(dump(&storage), "Meta\n  736574206261636b = 01a7f75073\nObjects\nDots\nHints\n");
}

/// A node that takes part in gossip keeps who belongs to the cluster, and what layouts say.
#[test]
fn the_membership_and_the_layouts() {
    let mut node = open_with(1, Some(Introduce::new("host-1", Vec::new())));
    let plan = node.preview(&Change::of(node.layout()).join(Member::new(NodeId(4)))).unwrap();
    node.commit_plan(&plan).unwrap();
    let dump = dump(node.storages().next().unwrap());
    // The store's name, and what it has promised.
    let others = ["  73746f7265", "  62616c6c6f7473"];
    let is_of_membership = |line: &&str| line.starts_with("  ") && !others.iter().any(|other| line.starts_with(other));
    let shown: Vec<&str> = dump.lines().filter(is_of_membership).map(str::trim_start).collect();
    assert_eq!(shown, GOLDEN_MEMBERSHIP.lines().map(str::trim_start).collect::<Vec<_>>(), "\n{dump}");
}

const GOLDEN_MEMBERSHIP: &str = "\
  6c61796f757400000000000000010062cd6de75581e7 = 020100000000000000000003030100010002000100030001000000020001020000000102e78155e76dcd62007dd04ffc
  6c61796f75740000000000000002114601a44f789d79 = 020201e78155e76dcd6200030401000100020001000300010004000100000101e78155e76dcd6200020101020000000301799d784fa4014611aa5ae4de
  6d656d62657273686970 = 01c100000000000000000000000000000001e78155e76dcd62000102799d784fa401461101e78155e76dcd62000101010200000101015700000000000000000000000000000000000000000000010106686f73742d3192622ecde2687e13
";

const GOLDEN: &str = "\
Meta
  62616c6c6f747300000000 = 0101e78155e76dcd620001e78155e76dcd620000006ee69c68
  62616c6c6f747300000001 = 0101e78155e76dcd620001e78155e76dcd62000000ae82b47f
  73746f7265 = 02c10000000000000000000000000000000100000000000000a730eb062257ddc5480f9a7e814348c00000000001000000020000000151ca58bb
Objects
  00000000000000012741d31d783da56b5759a60c726573696475616c = 010101010157000000000000011d0000000000000000000000000000000000a8c64b378901036e65770001020257000000000000010037c9047c
  0000000100000001cd580e8f338407975759a60c7369626c696e6773 = 010201010157000000000000011d0000000000000000000000000000000100a8c64b378901036f6e6501010157000000000000021d0000000000000000000000000000000200a8c64b3789010374776f00002ed34931
Dots
  00000000000000010100000000000000010000000000005701 = 00010101570000000000000300197936bd
  0000000000000001025759a60c726573696475616c = 
  000000000000000104 = 564bda237a105060b5315592074df9900100000000000000407d5431
  00000001000000010100000000000000010000000000005701 = 00010101570000000000000200905fb36b
  000000010000000104 = 86b8fd92f92cc3c7e1aaef1f5c36c23001000000000000007fe84100
Hints
  00000000000000022741d31d783da56b5759a60c726573696475616c = 0000100000000000020101010157000000000000011d0000000000000000000000000000000000a8c64b378901036e65770002010157000000000000010002025700000000000001000001010157000000000000010089e29f6f
  0000000000000002540f9749400fb8935759a60c64656c65746564 = 01005000000000000200000101015700000000000000010001000101015700000000000000010001e6157825
  0000000000000002cd580e8f338407975759a60c7369626c696e6773 = 0100300000000000020201010157000000000000011d0000000000000000000000000000000100a8c64b378901036f6e6501010157000000000000021d0000000000000000000000000000000200a8c64b3789010374776f0001010157000000000000020000010101570000000000000200b64d9acc
  00000000000000032741d31d783da56b5759a60c726573696475616c = 0000200000000000020101010157000000000000011d0000000000000000000000000000000000a8c64b378901036e6577000201015700000000000001000202570000000000000100000101015700000000000001004be3fa9a
  0000000000000003540f9749400fb8935759a60c64656c65746564 = 01006000000000000200000101015700000000000000010001000101015700000000000000010001ebe9b44c
  0000000000000003cd580e8f338407975759a60c7369626c696e6773 = 0100400000000000020201010157000000000000011d0000000000000000000000000000000100a8c64b378901036f6e6501010157000000000000021d0000000000000000000000000000000200a8c64b3789010374776f0001010157000000000000020000010101570000000000000200db9b7230
";
