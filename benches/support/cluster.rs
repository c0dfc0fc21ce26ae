//! Whole operations: an in-process cluster of three nodes, N = 3 and R = W = 2, storages in memory.
//!
//! One thread keeps a window of requests in flight: it issues until the window is full, then waits for the oldest.

use std::collections::VecDeque;

use quorate::error::{GetError, PutError};
use quorate::runtime::Bucket;
use quorate::{Cluster, Context, NodeId, Pending, Versions, Written};

use super::keys::{Bytes16, Walk, keys};

type Put = Pending<Result<Written, PutError>>;
type Get = Pending<Result<Versions, GetError>>;

/// A running cluster whose keys all have a value, and a client at its first node.
pub(crate) struct Load {
    /// Held so that the nodes live as long as their client.
    _cluster: Cluster,
    bucket: Bucket,
    keys: Vec<Bytes16>,
    /// What the last put of each key answered.
    contexts: Vec<Context>,
    walk: Walk,
}

impl Load {
    /// So many keys, and values of so many bytes.
    pub(crate) fn start(count: usize, value: usize) -> Self {
        let cluster = Cluster::builder(3).start().expect("three nodes start");
        let bucket = bucket(&cluster);
        let contexts = vec![Context::empty(); count];
        let mut load = Self { _cluster: cluster, bucket, keys: keys(count), contexts, walk: Walk::new(count, value) };
        load.put(count, 1);
        load
    }

    /// Puts, each with the context of the last put of its key.
    pub(crate) fn put(&mut self, times: usize, window: usize) {
        let mut flying: VecDeque<(usize, Put)> = VecDeque::with_capacity(window);
        for _ in 0..times {
            if flying.len() == window {
                self.land(flying.pop_front());
            }
            let at = self.walk.step();
            flying.push_back((at, self.bucket.put(&self.keys[at], self.walk.value(), &self.contexts[at])));
        }
        while !flying.is_empty() {
            self.land(flying.pop_front());
        }
    }

    fn land(&mut self, put: Option<(usize, Put)>) {
        if let Some((at, put)) = put {
            self.contexts[at] = put.wait().expect("healthy nodes answer").context;
        }
    }

    /// Gets. Tells how many bytes came back.
    pub(crate) fn get(&mut self, times: usize, window: usize) -> usize {
        let mut flying: VecDeque<Get> = VecDeque::with_capacity(window);
        let mut bytes = 0;
        for _ in 0..times {
            if flying.len() == window {
                bytes += flying.pop_front().map_or(0, length);
            }
            let at = self.walk.step();
            flying.push_back(self.bucket.get(&self.keys[at]));
        }
        bytes + flying.into_iter().map(length).sum::<usize>()
    }

    /// Gets, each followed by a put with what it read. A get and its put are one operation.
    pub(crate) fn read_modify_write(&mut self, times: usize, window: usize) {
        enum Stage {
            Reading(usize, Get),
            Writing(usize, Put),
        }
        let mut flying = VecDeque::with_capacity(window);
        let mut begun = 0;
        loop {
            while begun < times && flying.len() < window {
                let at = self.walk.step();
                flying.push_back(Stage::Reading(at, self.bucket.get(&self.keys[at])));
                begun += 1;
            }
            match flying.pop_front() {
                Some(Stage::Reading(at, get)) => {
                    let seen = get.wait().expect("healthy nodes answer");
                    let put = self.bucket.put(&self.keys[at], self.walk.value(), &seen.context);
                    flying.push_back(Stage::Writing(at, put));
                }
                Some(Stage::Writing(at, put)) => self.land(Some((at, put))),
                None => break,
            }
        }
    }

    /// Puts in batches of `window`: one step of the node each.
    pub(crate) fn put_many(&mut self, times: usize, window: usize) {
        let mut left = times;
        while left > 0 {
            let batch: Vec<usize> = (0..window.min(left)).map(|_| self.walk.step()).collect();
            left -= batch.len();
            let puts = batch.iter().map(|&at| (&self.keys[at], self.walk.value().to_vec(), self.contexts[at].clone()));
            let answers = self.bucket.put_many(puts.collect::<Vec<_>>()).wait();
            for (at, answer) in batch.into_iter().zip(answers) {
                self.contexts[at] = answer.expect("healthy nodes answer").context;
            }
        }
    }
}

fn length(get: Get) -> usize {
    get.wait().expect("healthy nodes answer").values.iter().map(|value| value.len()).sum()
}

/// The default keyspace, through the first node.
pub(crate) fn bucket(cluster: &Cluster) -> Bucket {
    cluster.client(NodeId(1)).and_then(|client| client.bucket("default")).expect("the node is up")
}
