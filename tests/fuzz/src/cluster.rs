//! Nodes that are driven by hand: one that stands alone, and a few that say everything that nodes can say.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use quorate::config::Limits;
use quorate::error::OpenError;
use quorate::ids::{KeyspaceId, PartitionId, WriteId};
use quorate::members::Introduce;
use quorate::request::{Cursor, Page};
use quorate::ring::{Change, Member, plan_first};
use quorate::storage::MemoryStorage;
use quorate::{
    Bytes, Context, GetOptions, Input, Keyspace, Layout, Message, Mode, Node, NodeId, Now, Output, PutOptions, Quorum,
    Reply, Request, Setup, Start, Ticket, Time, WallTime,
};

use super::{IDENTITY, KEY};

const NOW: Now = Now { time: Time(1_000_000), wall: WallTime(1_700_000_000_000_000) };

/// A node that owns everything, and has a peer for whom it may keep hints.
pub(crate) struct Lone {
    pub(crate) node: Node<MemoryStorage>,
    pub(crate) peer: NodeId,
}

impl Lone {
    /// With these storages, or an empty one if there are none.
    pub(crate) fn open(mut storages: Vec<MemoryStorage>) -> Result<Self, OpenError> {
        // Planned once: to do it for every input would take most of the time.
        static LAYOUT: LazyLock<Arc<Layout>> = LazyLock::new(|| {
            let members = [1, 2].map(|node| Member::new(NodeId(node)));
            Arc::new(plan_first(&members, 1, 1).expect("a layout").layout)
        });
        let keyspaces = vec![Keyspace::new("default").quorum(Quorum::new(1, 1, 1).expect("a quorum"))];
        let owner = LAYOUT.owners(PartitionId(0))[0];
        let peer = LAYOUT.preference_list(PartitionId(0)).last().expect("two members");
        let setup = Setup::new(IDENTITY, owner, Arc::clone(&LAYOUT), keyspaces);
        if storages.is_empty() {
            storages.push(MemoryStorage::new());
        }
        Ok(Self { node: Node::open(setup, storages, Start(7), 1, NOW)?, peer })
    }

    /// The answer to a request.
    pub(crate) fn ask(&mut self, request: Request) -> Option<Reply> {
        self.node.step(NOW, Input::Request(Ticket(1), request));
        let mut replies = self.quiet();
        replies.pop()
    }

    /// Lets the node do what it has to, and collects its answers.
    pub(crate) fn quiet(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        loop {
            while let Some(output) = self.node.poll() {
                if let Output::Done(_, reply) = output {
                    replies.push(reply);
                }
            }
            if !self.node.wants_commit() || self.node.commit().is_err() {
                return replies;
            }
        }
    }

    /// Time passes: hints are tried, leftovers swept.
    pub(crate) fn wake(&mut self) {
        let later = Now { time: NOW.time + Duration::from_secs(3_600), ..NOW };
        self.node.step(later, Input::Wake);
        self.quiet();
    }

    /// What a get of the key shows; nothing if it fails.
    pub(crate) fn values(&mut self) -> Vec<Bytes> {
        let (keyspace, key) = (Keyspace::new("default").id(), Bytes::from(KEY));
        match self.ask(Request::Get { keyspace, key, options: GetOptions::default() }) {
            Some(Reply::Get(Ok(found))) => found.values,
            _ => Vec::new(),
        }
    }
}

/// The first start of a node in the simulator: what its nodes say here is what they could have said there, of other
/// writes with the same names.
fn simulated(node: NodeId) -> Start {
    Start(node.0 << 32 | 1)
}

struct Nodes {
    layout: Arc<Layout>,
    limits: Limits,
    members: BTreeMap<NodeId, Node<MemoryStorage>>,
    deaf: Vec<NodeId>,
    /// Whether nodes that are opened from now on gossip.
    gossip: bool,
    now: Now,
    said: Vec<(NodeId, Message)>,
    replies: Vec<Reply>,
}

/// The keyspaces of the conversation: one that keeps siblings, one that stands at its cap with the second.
fn keyspaces() -> [Keyspace; 2] {
    [Keyspace::new("default"), Keyspace::new("narrow").max_siblings(1)]
}

/// Who said what while a small cluster went through everything that needs a message: all kinds of them.
pub fn conversation() -> Vec<(NodeId, Message)> {
    let mut all = Nodes::new(NOW, simulated, Limits { named_rows: 1, ..Limits::default() });
    all.talk();
    for _ in 0..8 {
        all.pass(Duration::from_secs(5));
    }
    all.start_again(|node| Start(node.0 << 32 | 2));
    all.talk();
    for _ in 0..8 {
        all.pass(Duration::from_secs(5));
    }
    // What their first starts wrote has names by now.
    all.talk();
    for _ in 0..8 {
        all.pass(Duration::from_secs(5));
    }
    all.said.extend(of_membership());
    all.said
}

/// What nodes say that gossip, while one of them proposes a layout.
fn of_membership() -> Vec<(NodeId, Message)> {
    let mut all = Nodes::new(NOW, simulated, Limits::default());
    all.gossip = true;
    all.start_again(|node| Start(node.0 << 32 | 2));
    for _ in 0..20 {
        all.pass(Duration::from_millis(300));
    }
    let change = Change::of(&all.layout).leave(NodeId(5));
    let proposer = all.members.get_mut(&NodeId(2)).expect("a member");
    let plan = proposer.preview(&change).expect("a plan");
    proposer.commit_plan(&plan).expect("nothing else is on its way");
    for _ in 0..20 {
        all.pass(Duration::from_millis(300));
    }
    all.said.retain(|(_, message)| is_of_membership(message));
    all.said
}

fn is_of_membership(message: &Message) -> bool {
    matches!(message, Message::Gossip(_) | Message::LayoutWanted(_) | Message::LayoutGiven(_))
}

/// What is said of one value, when it is written and read.
pub fn said_of(value: &str) -> Vec<(NodeId, Message)> {
    let mut all = Nodes::new(NOW, simulated, Limits::default());
    let keyspace = keyspaces()[0].id();
    let [a, b, _, d, _] = all.preference(keyspace, KEY);
    all.deaf = vec![b];
    for node in [a, d] {
        all.put(node, keyspace, KEY, Some(value), Context::empty(), PutOptions::default());
    }
    all.pass(Duration::from_millis(500));
    all.deaf.clear();
    let options = GetOptions { all: true, ..GetOptions::default() };
    all.ask(d, Request::Get { keyspace, key: KEY.into(), options });
    all.pass(Duration::from_secs(5));
    all.said
}

const CROWD: usize = 300;

/// The messages that hold the most things of the fewest bytes: empty values and keys, and names of starts and times
/// that are small numbers, which real ones are not.
pub fn crowds() -> Vec<(NodeId, Message)> {
    crowd(Nodes::new(Now { time: Time(1), wall: WallTime(0) }, |node| Start(node.0), crowded()), "")
}

/// The same with starts and times as they are, and values of a hundred bytes.
pub fn usual_crowds() -> Vec<(NodeId, Message)> {
    crowd(Nodes::new(NOW, simulated, crowded()), &"v".repeat(100))
}

fn crowded() -> Limits {
    Limits { siblings: CROWD, hint_batch: CROWD, ..Limits::default() }
}

fn crowd(mut all: Nodes, value: &str) -> Vec<(NodeId, Message)> {
    let keyspace = keyspaces()[0].id();
    let [owner, second, third, stranger, _] = all.preference(keyspace, b"");
    let none = PutOptions::default;
    for round in 0..=CROWD {
        // Every second write passes the third owner by: what it has has gaps.
        all.deaf = if round % 2 == 0 { vec![third] } else { Vec::new() };
        all.put(if round < CROWD { owner } else { stranger }, keyspace, b"", Some(value), Context::empty(), none());
    }
    all.deaf = vec![second];
    for number in 0..CROWD {
        all.put(owner, keyspace, number.to_string().as_bytes(), Some(value), Context::empty(), none());
    }
    all.deaf.clear();
    for node in [owner, second, third, stranger] {
        let options = GetOptions { all: true, ..GetOptions::default() };
        all.ask(node, Request::Get { keyspace, key: "".into(), options });
        let mut cursor = Cursor::from_bytes(&[0; 4]).expect("a cursor");
        while let Some(Reply::List(Ok(Page { next: Some(next), .. }))) =
            all.ask(node, Request::List { keyspace, cursor: cursor.clone(), limit: CROWD })
        {
            cursor = next;
        }
    }
    for _ in 0..8 {
        all.pass(Duration::from_secs(5));
    }
    all.said
}

/// What its nodes have on their disks while hints still wait.
pub(crate) fn disks() -> Vec<MemoryStorage> {
    let mut all = Nodes::new(NOW, simulated, Limits::default());
    all.talk();
    all.members.into_values().flat_map(Node::into_storages).collect()
}

impl Nodes {
    fn talk(&mut self) {
        let [wide, narrow] = keyspaces().map(|keyspace| keyspace.id());
        let [owner, second, third, stranger, last] = self.preference(wide, b"book");
        let first = self.put(owner, wide, b"book", Some("Dune"), Context::empty(), PutOptions::default());
        self.put(stranger, wide, b"book", Some("Emma"), Context::empty(), PutOptions::default());
        self.put(second, wide, b"book", Some(""), first, PutOptions::default());
        for node in [owner, stranger] {
            self.ask(node, Request::Get { keyspace: wide, key: "book".into(), options: GetOptions::default() });
            self.ask(
                node,
                Request::List { keyspace: wide, cursor: Cursor::from_bytes(&[0; 4]).expect("a cursor"), limit: 9 },
            );
        }
        // At the cap, through a node that owns no copy.
        let [_, _, _, outside, _] = self.preference(narrow, b"n");
        for value in ["1", "2"] {
            self.put(outside, narrow, b"n", Some(value), Context::empty(), PutOptions::default());
        }
        // An owner is away: hints, reads of those who hold them, and of those who hold none.
        self.deaf = vec![third];
        let seen = self.put(owner, wide, b"book", Some("Kim"), Context::empty(), PutOptions::default());
        self.pass(Duration::from_millis(500));
        self.put(stranger, wide, b"book", None, seen, PutOptions::default());
        self.deaf = vec![owner, second, third];
        self.pass(Duration::from_millis(500));
        let id = WriteId(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
        let named = PutOptions { write_id: Some(id), ..PutOptions::default() };
        self.put(last, wide, b"book", Some("Ulysses"), Context::empty(), named);
        self.pass(Duration::from_millis(500));
        self.ask(stranger, Request::Get { keyspace: wide, key: "book".into(), options: GetOptions::default() });
        self.ask(stranger, Request::Get { keyspace: wide, key: "other".into(), options: GetOptions::default() });
        self.pass(Duration::from_millis(500));
        // Too few, seen from a node that forwards.
        self.deaf = vec![second, third, last];
        let strict = PutOptions { mode: Some(Mode::Strict), ..PutOptions::default() };
        self.put(stranger, wide, b"book", Some("Walden"), Context::empty(), strict);
        self.pass(Duration::from_secs(3));
        // They are back: a read that asks all of them repairs, and hints go home at the next wake-ups.
        self.deaf.clear();
        let options = GetOptions { all: true, ..GetOptions::default() };
        self.ask(owner, Request::Get { keyspace: wide, key: "book".into(), options });
    }

    fn new(now: Now, start: fn(NodeId) -> Start, limits: Limits) -> Self {
        let members: Vec<Member> = (1..=5).map(|node| Member::new(NodeId(node))).collect();
        // As the node target's simulator makes it, so that the messages name its layout.
        let layout = Arc::new(plan_first(&members, 3, super::node::PARTITIONS).expect("a layout").layout);
        let mut all = Self {
            layout,
            limits,
            members: BTreeMap::new(),
            deaf: Vec::new(),
            gossip: false,
            now,
            said: Vec::new(),
            replies: Vec::new(),
        };
        for member in members {
            all.open(member.node, vec![MemoryStorage::new()], start(member.node));
        }
        all
    }

    fn open(&mut self, node: NodeId, storages: Vec<MemoryStorage>, start: Start) {
        let setup = Setup::new(IDENTITY, node, Arc::clone(&self.layout), keyspaces().to_vec());
        let membership = self.gossip.then(|| Introduce::new(format!("host-{}", node.0), vec![NodeId(1)]));
        let setup = Setup { limits: self.limits.clone(), membership, ..setup };
        self.members.insert(node, Node::open(setup, storages, start, 1, self.now).expect("it opens"));
    }

    fn start_again(&mut self, start: fn(NodeId) -> Start) {
        for (node, ended) in std::mem::take(&mut self.members) {
            self.open(node, ended.into_storages(), start(node));
        }
    }

    /// The five nodes in the order in which they serve a key.
    fn preference(&self, keyspace: KeyspaceId, key: &[u8]) -> [NodeId; 5] {
        let position = super::forge::position(&super::forge::full_key(keyspace, key));
        let list: Vec<NodeId> = self.layout.preference_list(self.layout.partition_of(position)).collect();
        list.try_into().expect("five members")
    }

    fn put(
        &mut self,
        node: NodeId,
        keyspace: KeyspaceId,
        key: &[u8],
        value: Option<&str>,
        context: Context,
        options: PutOptions,
    ) -> Context {
        let (key, value) = (Bytes::from(key), value.map(Bytes::from));
        match self.ask(node, Request::Put { keyspace, key, value, context, options }) {
            Some(Reply::Put(Ok(written))) => written.context,
            _ => Context::empty(),
        }
    }

    fn ask(&mut self, node: NodeId, request: Request) -> Option<Reply> {
        self.replies.clear();
        self.members.get_mut(&node).expect("a member").step(self.now, Input::Request(Ticket(1), request));
        self.quiet();
        for _ in 0..40 {
            if !self.replies.is_empty() {
                break;
            }
            self.pass(Duration::from_millis(50));
        }
        self.replies.pop()
    }

    fn pass(&mut self, duration: Duration) {
        self.now.time = self.now.time + duration;
        for node in self.members.values_mut() {
            node.step(self.now, Input::Wake);
        }
        self.quiet();
    }

    /// Delivers until nobody has anything to say.
    fn quiet(&mut self) {
        loop {
            let mut sent = Vec::new();
            for (&from, node) in &mut self.members {
                if node.wants_commit() {
                    node.commit().expect("memory doesn't fail");
                }
                while let Some(output) = node.poll() {
                    match output {
                        Output::Send(to, message) => sent.push((from, to, message)),
                        Output::Done(_, reply) => self.replies.push(reply),
                        _ => {}
                    }
                }
            }
            if sent.is_empty() && !self.members.values().any(Node::wants_commit) {
                return;
            }
            for (from, to, message) in sent {
                self.said.push((from, message.clone()));
                if !self.deaf.contains(&to) && !self.deaf.contains(&from) {
                    self.members.get_mut(&to).expect("a member").step(self.now, Input::Message(from, message));
                }
            }
        }
    }
}
