//! A server that Riak's own clients talk to: five nodes in one process, N = 3, behind Riak's protocol buffers.
//!
//! `cargo run --release --example riak_server -- [--port 8087] [--chaos SECONDS] [--smoke]`
//!
//! With `--chaos` one node after another is crashed, with the loss of what it had not synced, and comes back after so
//! many seconds, while clients go on. `--smoke` is a client of its own: a few requests, and the end. What works and what
//! doesn't: `docs/CLIENTS.md`.

#![allow(clippy::disallowed_methods, reason = "an example may look at the clock and start threads")]

mod messages;
mod object;
mod options;
mod properties;
mod refusal;
mod session;
mod smoke;
mod store;
mod wire;

#[path = "../support/chaos.rs"]
mod chaos;
#[path = "../support/counter.rs"]
mod counter;
#[path = "../support/nodes.rs"]
mod nodes;
#[path = "../support/random.rs"]
mod random;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use quorate::reconcile::LastWriteWins;
use quorate::sim::SimDisk;
use quorate::{Cluster, Error, Keyspace};

use counter::Tallies;
use nodes::Nodes;
use object::ReconcileObjects;
use properties::Properties;
use session::Session;
use store::{Shared, Store};

const NODES: u64 = 5;
const PORT: u16 = 8_087;

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("usage: riak_server [--port PORT] [--chaos SECONDS] [--smoke]; {0}")]
    Usage(String),
    #[error(transparent)]
    Library(#[from] Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

struct Arguments {
    port: u16,
    chaos: Option<Duration>,
    smoke: bool,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut arguments = Self { port: PORT, chaos: None, smoke: false };
        while let Some(word) = words.next() {
            let bad = |()| Failure::Usage(format!("what is {word}?"));
            let mut value = || words.next().ok_or_else(|| Failure::Usage(format!("{word} of what?")));
            match &word[..] {
                "--port" => arguments.port = value()?.parse().map_err(|_| bad(()))?,
                "--chaos" => {
                    let seconds = value()?.parse().map_err(|_| bad(()))?;
                    arguments.chaos = Some(Duration::try_from_secs_f64(seconds).map_err(|_| bad(()))?);
                }
                "--smoke" => arguments.smoke = true,
                // The examples that take long have this; here it is the smoke test.
                "--quick" => (arguments.smoke, arguments.port) = (true, 0),
                _ => return Err(bad(())),
            }
        }
        Ok(arguments)
    }
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let shared = Arc::new(start()?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, arguments.port))?;
    let address = listener.local_addr()?;
    println!("riak_server: {NODES} nodes, N = 3, on {address}");
    let _chaos = arguments.chaos.map(|pause| chaos::start(Arc::clone(&shared.cluster), pause));
    if arguments.smoke {
        std::thread::spawn(move || serve(&listener, &shared));
        smoke::run(address)?;
        println!("riak_server: the smoke test passed");
        return Ok(());
    }
    serve(&listener, &shared);
    Ok(())
}

/// The cluster, and what connections share.
fn start() -> Result<Shared, Failure> {
    let objects = Keyspace::new(store::KEYSPACE).reconciler(ReconcileObjects);
    let properties = Keyspace::new(properties::KEYSPACE).reconciler(LastWriteWins);
    let cluster = Cluster::builder(NODES).keyspace(objects).keyspace(properties);
    let cluster = cluster.start_with(|_, _| SimDisk::new()).map_err(Error::from)?;
    Ok(Shared { cluster: Arc::new(cluster), properties: Properties::default(), tallies: Tallies::new() })
}

/// A thread for each connection.
fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    for (connection, stream) in listener.incoming().enumerate() {
        match stream {
            Ok(stream) => {
                let nodes = Nodes::new(Arc::clone(&shared.cluster), connection);
                let store = Store { shared: Arc::clone(shared), nodes };
                std::thread::spawn(move || {
                    // A client that breaks off is its own affair.
                    let _ = attend(stream, store);
                });
            }
            Err(error) => eprintln!("riak_server: a connection was not taken: {error}"),
        }
    }
}

fn attend(stream: TcpStream, store: Store) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    Session::new(store, stream.try_clone()?).run(stream)
}

#[cfg(test)]
mod tests;
