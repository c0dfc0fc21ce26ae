//! All that went into one node of a simulated cluster, to be played again on that node alone.

mod format;

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::error::OpenError;
use crate::ids::{NodeId, Start};
use crate::node::{Input, Node, Output, Setup};
use crate::request::Reply;
use crate::storage::{MemoryStorage, Storage};
use crate::time::Now;

/// What went into a node from its first opening to its end, in order, and a fingerprint of what came out.
///
/// A whole cluster is replayed from its story. This is for a single node: to look at one call after the other, to time
/// them, or to see whether another build still does the same with the same inputs, on a [`Node`] with storage in memory
/// and nothing else.
///
/// ```
/// use quorate::NodeId;
/// use quorate::sim::{Recording, Sim};
///
/// let mut sim = Sim::builder(3, 7).record(NodeId(2)).build();
/// sim.put(NodeId(1), "cart", "book").unwrap();
/// sim.settle();
/// let setup = sim.setup(NodeId(2));
/// let recording = sim.recording().unwrap();
/// let read: Recording = Recording::from_bytes(&recording.to_bytes(&setup), &setup).unwrap();
/// assert_eq!(read.replay(&setup), Ok(recording.outputs()));
/// ```
/// It ends when the process does: with a crash, or a stop. What a disk did to the node is not in it: a node whose disk
/// failed or was damaged does something else with a disk that is well.
#[derive(Clone, Debug)]
pub struct Recording {
    node: NodeId,
    shards: usize,
    start: Start,
    seed: u64,
    opened: Now,
    calls: Vec<Call>,
    outputs: Outputs,
    ended: bool,
}

/// One call. After each the node is polled until it has nothing to say.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are steps")]
enum Call {
    Step(Now, Input),
    Commit,
}

/// A running fingerprint of outputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Outputs(u128);

impl Recording {
    pub(super) fn new(node: NodeId, shards: usize, start: Start, seed: u64, opened: Now) -> Self {
        let (calls, outputs) = (Vec::new(), Outputs::default());
        Self { node, shards, start, seed, opened, calls, outputs, ended: false }
    }

    /// Notes a call into `node`, if that is the one.
    pub(super) fn step(&mut self, node: NodeId, now: Now, input: &Input) {
        if node == self.node && !self.ended {
            self.calls.push(Call::Step(now, input.clone()));
        }
    }

    pub(super) fn commit(&mut self, node: NodeId) {
        if node == self.node && !self.ended {
            self.calls.push(Call::Commit);
        }
    }

    pub(super) fn said(&mut self, node: NodeId, outputs: &[Output]) {
        if node == self.node && !self.ended {
            outputs.iter().for_each(|output| self.outputs.add(output));
        }
    }

    pub(super) fn end(&mut self, node: NodeId) {
        self.ended |= node == self.node;
    }

    /// Whose it is.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// How many calls it holds: inputs and commits.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// The fingerprint of what the node had to say.
    #[must_use]
    pub const fn outputs(&self) -> u128 {
        self.outputs.0
    }

    /// Plays it on a fresh node with empty storage in memory. Returns the fingerprint of what that had to say: the same
    /// as [`Recording::outputs`], unless the program or the setup is another.
    ///
    /// # Errors
    /// Those of [`Node::open`]. Nothing was played.
    pub fn replay(&self, setup: &Setup) -> Result<u128, OpenError> {
        let storages = vec![MemoryStorage::new(); self.shards];
        let mut node = Node::open(setup.clone(), storages, self.start, self.seed, self.opened)?;
        let mut outputs = Outputs::default();
        outputs.drain(&mut node);
        for call in &self.calls {
            match call {
                Call::Step(now, input) => node.step(*now, input.clone()),
                // Memory doesn't fail, and if it did the node would say so.
                Call::Commit => _ = node.commit(),
            }
            outputs.drain(&mut node);
        }
        Ok(outputs.0)
    }
}

impl Outputs {
    fn drain<S: Storage>(&mut self, node: &mut Node<S>) {
        while let Some(output) = node.poll() {
            self.add(&output);
        }
    }

    fn add(&mut self, output: &Output) {
        let mut hasher = SipHasher24::new();
        hasher.write(&self.0.to_le_bytes());
        hasher.write(format!("{output:?}").as_bytes());
        // A context shows only a part of itself.
        match output {
            Output::Done(_, Reply::Get(Ok(found))) => hasher.write(&found.context.to_bytes()),
            Output::Done(_, Reply::Put(Ok(written))) => hasher.write(&written.context.to_bytes()),
            _ => {}
        }
        self.0 = hasher.finish128().as_u128();
    }
}

#[cfg(test)]
mod tests;
