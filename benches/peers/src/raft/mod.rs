//! openraft: three nodes in this process, as its own benchmark sets them up.
//!
//! The set-up favours openraft wherever there was a choice: requests and responses are empty, the state machine
//! stores nothing but the last applied log id, the log is a `VecDeque` in memory, and the network is a function call.
//! What is measured is the engine alone: propose, replicate, commit, apply, answer.

mod network;
mod store;

use std::{
    collections::BTreeSet,
    error::Error,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use openraft::{
    AnyError, Config, Raft, RaftTypeConfig, ServerState,
    impls::{Entry, EntryPayload, InlineBatch, OneshotResponder, TokioRuntime, Vote, leader_id_adv::LeaderId},
    vote::RaftLeaderId,
};
use tokio::runtime::{Builder, Runtime};

use self::{
    network::Router,
    store::{LogStore, Machine},
};
use crate::side::{Entrant, Side};

/// What a put of any of the peers here promises.
pub(crate) const ABOUT: &str = "\
openraft 0.10.0-alpha.37: consensus. A put is committed by a majority of 3 nodes in one total order and applied by
the leader before it is answered; writes are linearizable. The log is in memory; request and response are empty, so
no value is stored. Clients are tasks that call client_write in a loop.
  raft-bench   laid out as in openraft's benchmark: a server thread per core, and one for the clients
  raft-split   a server thread per core but one, and one for the clients
  raft-single  nodes and clients all in one thread: no wake-ups, but no second core";

/// Every layout, since none is the best at every number of clients.
pub(crate) const PEERS: [Entrant; 3] = [
    Entrant {
        name: "raft-bench",
        start: || Cluster::start(Layout::Bench),
    },
    Entrant {
        name: "raft-split",
        start: || Cluster::start(Layout::Split),
    },
    Entrant {
        name: "raft-single",
        start: || Cluster::start(Layout::Single),
    },
];

const NODES: u64 = 3;
/// How long to wait for an election, or for a node to stop.
const PATIENCE: Duration = Duration::from_secs(10);

type Node = Raft<Types, Machine>;

/// The request: nothing.
#[derive(Clone, Debug)]
struct Request;

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("request")
    }
}

/// The response: nothing.
struct Response;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Types;

impl RaftTypeConfig for Types {
    type D = Request;
    type R = Response;
    type NodeId = u64;
    type Node = ();
    type Term = u64;
    type LeaderId = LeaderId<u64, u64>;
    type Vote = Vote<Self::LeaderId>;
    type Payload = EntryPayload<Request, u64, ()>;
    type Entry = Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = TokioRuntime;
    type Responder<T>
        = OneshotResponder<Self, T>
    where
        T: Send + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = AnyError;
}

/// Who runs in which thread.
enum Layout {
    Bench,
    Split,
    Single,
}

/// Three nodes on a runtime, and the clients on another or on the same.
struct Cluster {
    nodes: Vec<Node>,
    /// The clients', where they have one of their own.
    clients: Option<Runtime>,
    servers: Runtime,
}

impl Cluster {
    fn start(layout: Layout) -> Box<dyn Side> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let (servers, clients) = match layout {
            Layout::Bench => (threads(cores), Some(threads(1))),
            Layout::Split => (threads(cores.max(2) - 1), Some(threads(1))),
            Layout::Single => (Builder::new_current_thread(), None),
        };
        let servers = running(servers);
        let nodes = servers
            .block_on(start_nodes())
            .expect("three openraft nodes start and elect node 0");
        Box::new(Self {
            nodes,
            clients: clients.map(running),
            servers,
        })
    }
}

impl Side for Cluster {
    fn run(&mut self, clients: usize, puts: u64) -> Duration {
        let each = puts / clients as u64;
        let leader = &self.nodes[0];
        self.clients.as_ref().unwrap_or(&self.servers).block_on(async {
            let start = Instant::now();
            let tasks: Vec<_> = (0..clients)
                .map(|_| {
                    let leader = leader.clone();
                    tokio::spawn(async move {
                        for _ in 0..each {
                            leader.client_write(Request).await.expect("node 0 leads throughout");
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("a client does not panic");
            }
            start.elapsed()
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.servers.block_on(async {
            for node in &self.nodes {
                // The run is over: a node that stopped early has already failed its clients.
                let _ = tokio::time::timeout(PATIENCE, node.shutdown()).await;
            }
        });
    }
}

/// A runtime of that many threads, beside the caller's.
fn threads(n: usize) -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(n);
    builder
}

fn running(mut builder: Builder) -> Runtime {
    builder.enable_time().build().expect("a tokio runtime starts")
}

async fn start_nodes() -> Result<Vec<Node>, Box<dyn Error>> {
    // Batch sizes as in openraft's benchmark; longer election timeouts, so that a loaded machine costs no election.
    let config = Config {
        election_timeout_min: 2_000,
        election_timeout_max: 4_000,
        purge_batch_size: 1_024,
        max_payload_entries: 1_024,
        ..Config::default()
    };
    let config = Arc::new(config.validate()?);
    let router = Router::default();
    let mut nodes = Vec::new();
    for id in 0..NODES {
        nodes.push(
            Raft::new(
                id,
                config.clone(),
                router.clone(),
                LogStore::default(),
                Machine::default(),
            )
            .await?,
        );
    }
    router.connect(nodes.clone());

    let leader = &nodes[0];
    leader.initialize((0..NODES).collect::<BTreeSet<_>>()).await?;
    leader
        .wait(Some(PATIENCE))
        .state(ServerState::Leader, "node 0 leads")
        .await?;
    for node in &nodes {
        node.wait(Some(PATIENCE))
            .applied_index_at_least(Some(1), "the first entries are applied")
            .await?;
    }
    Ok(nodes)
}
