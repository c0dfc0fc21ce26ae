//! One node as a program: data on disk, peers over TCP or TLS, clients by Redis' protocol.
//!
//! ```text
//! cargo run --release --features redb,tls --example node -- --config FILE [--KEY VALUE ...] [--found] [--renew SHARD]
//! ```
//! Settings come from a TOML file, from flags of the same names, or from both; flags win. `settings.rs` lists them, and
//! `examples/cluster.rs` starts five of them. It stops in good order on SIGINT and SIGTERM: requests in progress come to
//! their end, and everything is synced.
//!
//! What clients may say is in `commands.rs`: GET, SET and DEL of a keyspace whose last writer wins, VGET, VPUT and VDEL of
//! one that keeps siblings, with contexts; STATUS, MEMBERS, LEAVE, COMMIT for whoever operates it.

#![allow(clippy::disallowed_methods, reason = "a program reads its arguments, looks at the clock and starts threads")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its log")]

mod commands;
mod log;
#[path = "../support/resp.rs"]
mod resp;
mod service;
mod settings;

use std::process::ExitCode;
use std::sync::Arc;

use quorate::durable::{DataDirectory, Options};
use quorate::transports::NetworkServer;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use log::log;
use service::Service;
use settings::Settings;

fn main() -> ExitCode {
    let settings = match Settings::read(std::env::args().skip(1)) {
        Ok(Some(settings)) => settings,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("node: {error}; --help tells what there is");
            return ExitCode::from(2);
        }
    };
    match run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&format!("ended: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(settings: &Settings) -> Result<(), Box<dyn std::error::Error>> {
    // Before anything is open: what comes earlier is not missed.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let options = Options { cache: settings.cache << 20, ..Options::default() };
    let directory = DataDirectory::open(&settings.data, settings.id(), settings.shards, &options)?;
    for &shard in &settings.renew {
        if let Some(old) = directory.set_aside(shard)? {
            log(&format!("shard {shard} begins anew; the old file is {}", old.display()));
        }
    }
    let founding = settings.found && directory.is_new();
    let storages = directory.storages()?;
    let server = NetworkServer::open(
        settings.setup(founding)?,
        storages,
        settings.network()?,
        |event| log(&event.to_string()),
        |event| log(&event.to_string()),
    )?;
    log(&format!("{} listens to peers at {}", settings.id(), server.transport().local_address()));
    let server = Arc::new(server);
    let service = Service::start(&settings.clients, &server, settings.durability()?)?;
    log(&format!("{} listens to clients at {}", settings.id(), service.address()));
    let signal = signals.forever().next();
    log(&format!("stops (signal {})", signal.unwrap_or_default()));
    service.stop();
    let server = Arc::into_inner(server).ok_or("a client is still being served")?;
    let stopped = server.stop();
    if let Some(error) = stopped.error {
        return Err(format!("what was written last is not synced: {error}").into());
    }
    log("stopped, and everything is synced");
    Ok(())
}
