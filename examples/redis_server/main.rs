//! A server that Redis' clients talk to: five nodes in one process, N = 3, behind version 2 of Redis' protocol.
//!
//! `cargo run --release --example redis_server -- [--port 6379] [--smoke]`
//!
//! `--smoke` is a client of its own: a few commands, and the end. Which commands there are and what they promise:
//! `docs/CLIENTS.md`.

#![allow(clippy::disallowed_methods, reason = "an example may look at the clock and start threads")]

mod batch;
mod commands;
mod session;
mod smoke;
mod value;

#[path = "../support/counter.rs"]
mod counter;
#[path = "../support/nodes.rs"]
mod nodes;
#[path = "../support/random.rs"]
mod random;
#[path = "../support/resp.rs"]
mod resp;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use quorate::config::Timing;
use quorate::{Cluster, Error, Keyspace};

use counter::Tallies;
use nodes::Nodes;
use session::{Session, Shared};
use value::ReconcileValues;

const NODES: u64 = 5;
const PORT: u16 = 6_379;

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("usage: redis_server [--port PORT] [--smoke]; {0}")]
    Usage(String),
    #[error(transparent)]
    Library(#[from] Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

struct Arguments {
    port: u16,
    smoke: bool,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut arguments = Self { port: PORT, smoke: false };
        while let Some(word) = words.next() {
            let bad = || Failure::Usage(format!("what is {word}?"));
            match &word[..] {
                "--port" => arguments.port = words.next().and_then(|port| port.parse().ok()).ok_or_else(bad)?,
                "--smoke" => arguments.smoke = true,
                // The examples that take long have this; here it is the smoke test.
                "--quick" => (arguments.smoke, arguments.port) = (true, 0),
                _ => return Err(bad()),
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
    println!("redis_server: {NODES} nodes, N = 3, on {address}");
    if arguments.smoke {
        std::thread::spawn(move || serve(&listener, &shared));
        smoke::run(address)?;
        println!("redis_server: the smoke test passed");
        return Ok(());
    }
    serve(&listener, &shared);
    Ok(())
}

/// The cluster, and what connections share.
///
/// A SET knows nothing of what is there, and would stand beside it. With room for one version only, the owner that takes
/// it asks the reconciler at once, and what was there is superseded.
fn start() -> Result<Shared, Failure> {
    let keyspace = Keyspace::new(batch::KEYSPACE).reconciler(ReconcileValues).max_siblings(1);
    // A pipeline of many commands waits in the queue of its own node: it is slow then, and no failure.
    let timing = Timing { deadline: Duration::from_secs(10), ..Timing::default() };
    let cluster = Cluster::builder(NODES).keyspace(keyspace).timing(timing).start().map_err(Error::from)?;
    Ok(Shared { cluster: Arc::new(cluster), tallies: Tallies::new() })
}

/// A thread for each connection.
fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    for (connection, stream) in listener.incoming().enumerate() {
        match stream {
            Ok(stream) => {
                let nodes = Nodes::new(Arc::clone(&shared.cluster), connection);
                let session = Session { shared: Arc::clone(shared), nodes };
                std::thread::spawn(move || {
                    // A client that breaks off is its own affair.
                    let _ = attend(stream, session);
                });
            }
            Err(error) => eprintln!("redis_server: a connection was not taken: {error}"),
        }
    }
}

fn attend(stream: TcpStream, mut session: Session) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    session.run(stream.try_clone()?, stream)
}

#[cfg(test)]
mod tests;
