//! Five nodes as processes on one machine, and what may befall them.
//!
//! ```text
//! cargo build --release --features redb,tls --examples
//! cargo run --release --features redb,tls --example cluster                       # put, get, kill, return
//! cargo run --release --features redb,tls --example cluster -- --faults 60        # killed, stopped, cut off for a minute
//! cargo run --release --features redb,tls --example cluster -- --bench            # three nodes: how many a second
//! cargo run --release --features redb,tls --example cluster -- --timings          # until a lost replica isn't felt
//! cargo run --release --features redb,tls --example cluster -- --soak 10000000    # is memory flat?
//!     --seed N           of the faults (default 1)
//!     --clients N        that add under faults (default 10)
//!     --namespaces       each node in a network namespace, with packet filters as faults (takes root and iptables)
//!     --sloppy           sloppy quorums (default strict)
//!     --durability D     where puts must be on disk before they are acknowledged: quorum (the default), coordinator,
//!                        one or memory
//!     --tls DIRECTORY    certificates that examples/node/certificates.sh has made
//!     --seconds N        of each measurement (default 5)
//!     --redis HOST:PORT  the loops of --bench against Redis with a replica, whose writes WAIT for it
//!     --etcd HOST:PORT,… the same against etcd (`peers.sh` starts both)
//!     --processes PID,…  whose processor time is counted then
//!     --directory PATH   where they keep their data (default target/cluster)
//!     --keep             leave it there
//! ```
//! It needs the example `node`, built with the same profile. Without `--namespaces` it takes no privileges: between nodes
//! stand links that can be cut and held up.

#![allow(clippy::disallowed_methods, reason = "a program that starts processes and looks at the clock")]

mod client;
mod demo;
mod faults;
mod ground;
mod load;
mod process;
mod proxy;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use faults::Plan;
use ground::Kind;
use load::Peer;
use process::Shape;

const USAGE: &str = "cluster [--faults SECONDS | --bench | --timings | --soak OPERATIONS | --redis HOST:PORT | --etcd HOST:PORT,...] [--processes PID,...] [--seed N] \
[--clients N] [--namespaces] [--sloppy] [--durability D] [--tls DIRECTORY] [--seconds N] [--directory PATH] [--keep]";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cluster: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> io::Result<bool> {
    let is_given = |name: &str| arguments.iter().any(|argument| argument == name);
    let text = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1);
    let number = |name: &str, default: u64| match text(name) {
        Some(text) => text.parse().map_err(|_| io::Error::other(format!("{name} takes a number; {USAGE}"))),
        None if is_given(name) => Err(io::Error::other(format!("{name} takes a number; {USAGE}"))),
        None => Ok(default),
    };
    if is_given("--help") {
        println!("{USAGE}");
        return Ok(true);
    }
    let shape = Shape {
        nodes: if is_given("--bench") || is_given("--soak") { 3 } else { 5 },
        mode: if is_given("--sloppy") { "sloppy" } else { "strict" },
        durability: text("--durability").cloned().unwrap_or_else(|| String::from("quorum")),
        ground: match () {
            () if is_given("--namespaces") => Kind::Namespaces,
            () if is_given("--faults") => Kind::Links,
            () => Kind::Bare,
        },
        tls: text("--tls").map(PathBuf::from),
    };
    let directory = text("--directory").map_or_else(|| PathBuf::from("target/cluster"), PathBuf::from);
    let (keep, seconds) = (is_given("--keep"), number("--seconds", 5)?);
    let others = [("--redis", Peer::RedisWaiting), ("--etcd", Peer::Etcd)];
    let other = others.into_iter().find_map(|(name, peer)| text(name).map(|addresses| (addresses, peer)));
    if let Some((addresses, peer)) = other {
        let addresses: Result<Vec<_>, _> = addresses.split(',').map(str::parse).collect();
        let processes: Vec<_> =
            text("--processes").iter().flat_map(|pids| pids.split(',')).map(str::to_owned).collect();
        load::closed(&addresses.map_err(io::Error::other)?, peer, seconds, || process::processor_times(&processes));
    } else if is_given("--faults") {
        let plan = Plan {
            duration: Duration::from_secs(number("--faults", 60)?),
            clients: number("--clients", 10)? as u32,
            seed: number("--seed", 1)?,
            pause: Duration::from_millis(5),
            regular: shape.mode == "strict",
        };
        return faults::run(&shape, &plan, &directory, keep);
    } else if is_given("--bench") {
        load::bench(&shape, seconds, &directory, keep)?;
    } else if is_given("--timings") {
        load::timings(&shape, &directory, keep)?;
    } else if is_given("--soak") {
        return load::soak(&shape, number("--soak", 10_000_000)?, &directory, keep);
    } else {
        demo::run(&shape, &directory, keep)?;
    }
    Ok(true)
}
