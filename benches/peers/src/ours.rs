//! quorate: an in-process cluster of three nodes, N = 3 and W = 2, memory storage.
//!
//! Nothing is spared on this side: each put carries a fresh 100-byte value and the context of the last put to its key,
//! is coordinated, stored by all three replicas and acknowledged by two of them before it counts. A key is not in
//! flight twice (but at more clients than keys), so no siblings arise.

use std::{
    collections::VecDeque,
    thread,
    time::{Duration, Instant},
};

use quorate::{Cluster, Context, NodeId, Pending, Written, error::PutError, runtime::Bucket};

use crate::side::{Entrant, Side};

/// What a put promises here.
pub(crate) const ABOUT: &str = "\
quorate: a quorum, N=3 W=2. A put is stored at 2 of its 3 replicas before it is answered, and sent to the third.
This is weaker than consensus: always writeable, no total order, concurrent puts become siblings, and R+W>N of a
strict quorum is what a reader gets. 100-byte values are really stored, at 3 replicas, over 2,000 hot keys; within
one process the nodes hand each other values, not encoded messages. Clients are puts in flight.
  quorate      all from one thread
  quorate-all  from a thread per core, each with its share of the clients and of the keys";

/// From one thread, and from as many as there are cores.
pub(crate) const ENTRANTS: [Entrant; 2] = [
    Entrant {
        name: "quorate",
        start: || Three::start(1),
    },
    Entrant {
        name: "quorate-all",
        start: || Three::start(thread::available_parallelism().map_or(2, usize::from)),
    },
];

const KEYS: usize = 2_000;
const VALUE: usize = 100;
/// Walks the keys in an order that is not theirs; coprime to every lane's number of keys.
const STRIDE: usize = 997;

struct Three {
    /// Held so that the nodes live as long as their clients.
    _cluster: Cluster,
    lanes: Vec<Lane>,
}

/// A put whose answer nobody has looked at yet.
type Flying = Pending<Result<Written, PutError>>;

/// One thread's clients, and the keys that only they write.
struct Lane {
    bucket: Bucket,
    keys: Vec<[u8; 16]>,
    /// What the last put of each key answered.
    contexts: Vec<Context>,
    /// Puts made so far, by which keys and values are chosen.
    made: usize,
}

impl Three {
    fn start(lanes: usize) -> Box<dyn Side> {
        let cluster = Cluster::builder(3).start().expect("three nodes start");
        let lanes = (0..lanes)
            .map(|lane| {
                let keys: Vec<_> = (lane..KEYS).step_by(lanes).map(key).collect();
                let client = cluster.client(NodeId(lane as u64 % 3 + 1)).expect("the node is up");
                Lane {
                    bucket: client.bucket("default").expect("the keyspace is there"),
                    contexts: vec![Context::default(); keys.len()],
                    keys,
                    made: 0,
                }
            })
            .collect();
        Box::new(Self {
            _cluster: cluster,
            lanes,
        })
    }
}

impl Side for Three {
    fn run(&mut self, clients: usize, puts: u64) -> Duration {
        let puts = usize::try_from(puts).expect("the puts fit into memory's numbers");
        let lanes = self.lanes.len().min(clients);
        let start = Instant::now();
        if lanes == 1 {
            self.lanes[0].run(clients, puts);
        } else {
            thread::scope(|scope| {
                for (i, lane) in self.lanes[..lanes].iter_mut().enumerate() {
                    scope.spawn(move || lane.run(share(clients, lanes, i), share(puts, lanes, i)));
                }
            });
        }
        start.elapsed()
    }
}

impl Lane {
    /// Makes `puts` puts, `window` of them in flight.
    fn run(&mut self, window: usize, puts: usize) {
        let mut flying: VecDeque<(usize, Flying)> = VecDeque::with_capacity(window);
        for _ in 0..puts {
            if flying.len() == window {
                self.land(flying.pop_front());
            }
            let at = self.made.wrapping_mul(STRIDE) % self.keys.len();
            let value = [self.made as u8; VALUE];
            let put = self.bucket.put(&self.keys[at], &value, &self.contexts[at]);
            flying.push_back((at, put));
            self.made += 1;
        }
        while !flying.is_empty() {
            self.land(flying.pop_front());
        }
    }

    fn land(&mut self, put: Option<(usize, Flying)>) {
        if let Some((at, put)) = put {
            self.contexts[at] = put.wait().expect("two of three healthy nodes answer").context;
        }
    }
}

/// 16 bytes that look random.
fn key(i: usize) -> [u8; 16] {
    (i as u128 + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        .to_be_bytes()
}

/// The `i`th of `parts` shares of `whole`; all together give the whole.
fn share(whole: usize, parts: usize, i: usize) -> usize {
    whole * (i + 1) / parts - whole * i / parts
}
