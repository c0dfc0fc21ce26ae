//! Three nodes without the runtime: no threads, locks, queues or clocks, stepped by hand in one thread.

use std::sync::Arc;

use quorate::causality::Secret;
use quorate::ring::plan_first;
use quorate::storage::MemoryStorage;
use quorate::{
    Bytes, ClusterId, Codec, Context, GetOptions, Identity, Input, Keyspace, Member, Message, Node, NodeId, Now,
    Output, PutOptions, Reply, Request, Setup, Start, Ticket, Time, WallTime, Written,
};

use super::keys::{Bytes16, Walk, keys};

pub(crate) const IDENTITY: Identity = Identity { cluster: ClusterId(1), secret: Secret::new([9; 16]) };

/// Three nodes, and what is on its way between them.
pub(crate) struct Nodes {
    pub(crate) all: Vec<Node<MemoryStorage>>,
    keyspace: Keyspace,
    /// With a codec every message travels as a frame of bytes.
    codec: Option<Codec>,
    post: Vec<(NodeId, NodeId, Message)>,
    pub(crate) keys: Vec<Bytes16>,
    contexts: Vec<Context>,
    pub(crate) walk: Walk,
    micros: u64,
}

impl Nodes {
    /// Three nodes whose keys all have a value.
    pub(crate) fn start(count: usize, value: usize, codec: Option<Codec>) -> Self {
        let keyspace = Keyspace::new("default");
        let members: Vec<Member> = (1..=3).map(|node| Member::new(NodeId(node))).collect();
        let layout = Arc::new(plan_first(&members, 3, 256).expect("three nodes can hold three copies").layout);
        let open = |node: u64| {
            let setup = Setup::new(IDENTITY, NodeId(node), Arc::clone(&layout), vec![keyspace.clone()]);
            // Else each would take its empty storage for a disk that was replaced, and count in no read.
            let setup = Setup { founding: true, ..setup };
            Node::open(setup, vec![MemoryStorage::new()], Start(node), node, Now::default()).expect("it opens")
        };
        let mut nodes = Self {
            all: (1..=3).map(open).collect(),
            keyspace,
            codec,
            post: Vec::new(),
            keys: keys(count),
            contexts: vec![Context::empty(); count],
            walk: Walk::new(count, value),
            micros: 0,
        };
        nodes.put(count);
        nodes
    }

    /// Puts, one after the other, each with the context of the last put of its key.
    pub(crate) fn put(&mut self, times: usize) {
        for _ in 0..times {
            let (at, request) = self.next_put();
            let Some(Reply::Put(Ok(written))) = self.ask(request) else { unreachable!("healthy nodes answer") };
            self.land(at, written);
        }
    }

    /// The next put of the key at this place goes on from this one.
    pub(crate) fn land(&mut self, at: usize, written: Written) {
        self.contexts[at] = written.context;
    }

    /// Gets, one after the other. Tells how many bytes came back.
    pub(crate) fn get(&mut self, times: usize) -> usize {
        let mut bytes = 0;
        for _ in 0..times {
            let request = self.next_get();
            let Some(Reply::Get(Ok(seen))) = self.ask(request) else { unreachable!("healthy nodes answer") };
            bytes += seen.values.iter().map(|value| value.len()).sum::<usize>();
        }
        bytes
    }

    /// The put that is next, and the place of its key.
    pub(crate) fn next_put(&mut self) -> (usize, Request) {
        let at = self.walk.step();
        let request = Request::Put {
            keyspace: self.keyspace.id(),
            key: Bytes::from(&self.keys[at]),
            value: Some(Bytes::from(self.walk.value())),
            context: self.contexts[at].clone(),
            options: PutOptions::default(),
        };
        (at, request)
    }

    /// The get that is next.
    pub(crate) fn next_get(&mut self) -> Request {
        let at = self.walk.step();
        Request::Get { keyspace: self.keyspace.id(), key: Bytes::from(&self.keys[at]), options: GetOptions::default() }
    }

    /// Runs one request at the first node to its end.
    pub(crate) fn ask(&mut self, request: Request) -> Option<Reply> {
        let now = self.now();
        self.all[0].step(now, Input::Request(Ticket(0), request));
        let mut answer = self.empty(0);
        while let Some((from, to, message)) = self.post.pop() {
            let at = to.0 as usize - 1;
            match self.codec.as_ref().map(|codec| (codec, codec.encode(from, std::slice::from_ref(&message)))) {
                None => self.all[at].step(now, Input::Message(from, message)),
                Some((codec, frames)) => {
                    for frame in frames {
                        let (from, messages) = codec.decode(&frame).expect("what was encoded can be decoded");
                        for message in messages {
                            self.all[at].step(now, Input::Message(from, message));
                        }
                    }
                }
            }
            answer = self.empty(at).or(answer);
        }
        answer
    }

    /// The time: requests come a microsecond apart, and the timers are looked at once a millisecond.
    pub(crate) fn now(&mut self) -> Now {
        self.micros += 1;
        let now = Now { time: Time(self.micros), wall: WallTime(self.micros) };
        if self.micros.is_multiple_of(1_000) {
            for node in &mut self.all {
                node.step(now, Input::Wake);
            }
        }
        now
    }

    /// Takes out what a node has to say, committing in between as a host does.
    fn empty(&mut self, at: usize) -> Option<Reply> {
        let (node, post) = (&mut self.all[at], &mut self.post);
        let from = NodeId(at as u64 + 1);
        let mut answer = None;
        loop {
            while let Some(output) = node.poll() {
                match output {
                    Output::Send(to, message) => post.push((from, to, message)),
                    Output::Done(_, reply) => answer = Some(reply),
                    _ => {}
                }
            }
            if !node.wants_commit() {
                return answer;
            }
            node.commit().expect("a storage in memory syncs");
        }
    }
}
