//! What it takes to tell every member of a change, and what gossip costs while nothing changes: beside the schemes of
//! two well-known libraries.
//!
//! ```text
//! cargo run --release --example gossip               # 10, 100 and 1,000 nodes
//! cargo run --release --example gossip -- --quick    # 10 and 100
//! ```
//! All nodes run in one thread, in rounds of a second, and every message that follows from a round arrives within it.
//! This library's messages are the real ones, with the frame that its codec puts around them. The others' are models of
//! their schemes, with the default settings and the field sizes of their sources: they tell their members by the same
//! rules, over the same network.

mod models;
mod world;

use std::process::ExitCode;

use models::{DigestOfAll, Swim};
use world::{Cost, Quorate, Scheme, World};

/// So many changes are followed, each from a cluster at rest.
const TIMES: usize = 5;
/// Seconds over which a cluster at rest is watched.
const REST: usize = 60;

fn main() -> ExitCode {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let sizes: &[usize] = if quick { &[10, 100] } else { &[10, 100, 1_000] };
    assumptions();
    let mut checks = Checks::default();
    for &loss in &[0, 10] {
        println!("\n{loss} % of all messages lost");
        println!(
            "{:<6} {:<22} {:>6} {:>8} {:>8} {:>12} {:>7} {:>11} {:>13}",
            "nodes", "", "start", "seconds", "at most", "B/s at rest", "msg/s", "B a change", "msg a change"
        );
        for &nodes in sizes {
            let quorate = row(nodes, "quorate", || World::new(Quorate::new(nodes), loss));
            let chitchat = row(nodes, "digest of all versions", || World::new(DigestOfAll::new(nodes), loss));
            let swim = row(nodes, "SWIM, push-pull", || World::new(Swim::new(nodes), loss));
            checks.look_at(nodes, loss, quorate, chitchat, swim);
        }
    }
    checks.end()
}

fn assumptions() {
    println!(
        "\
start      seconds until all know all, when all nodes start at once; the models begin when that is done
change     one node takes another weight; seconds until everybody knows it: the mean of {TIMES}, and the
           most; this library's nodes open three rounds a second while they have news, else one
at rest    bytes and messages that each node sends a second while nothing changes, over {REST} s
a change   what each node sends beyond that until all know it, and in the ten seconds after
digest     chitchat's scheme: each second three members are told the heartbeat and version of every node, and answer with
of all     the same and what is newer
SWIM       memberlist's scheme: a probe a second, changes ride on these and on gossip to three members each 200 ms, and
           whole states are exchanged each 30 s, more seldom in large clusters; no member fails
bytes      payload of datagrams, without IP and UDP or TCP; SWIM's exchange of states goes by TCP"
    );
}

/// Measures a scheme and prints what it took.
fn row<S: Scheme>(nodes: usize, name: &str, world: impl Fn() -> World<S>) -> Cost {
    let mut world = world();
    // All have just started, which is as many changes as there are nodes.
    let start = (1..1_000).find(|_| {
        world.round();
        world.all_know()
    });
    let start = start.expect("they agree in the end");
    (0..10).for_each(|_| world.round());
    world.reset();
    (0..REST).for_each(|_| world.round());
    let (bytes, messages) = world.sent();
    let seconds = (REST * nodes) as f64;
    let mut cost = Cost { rest_bytes: bytes / seconds, rest_messages: messages / seconds, ..Cost::default() };
    for time in 0..TIMES {
        world.reset();
        world.change(time * 7 % nodes);
        let mut rounds = 0;
        while !world.all_know() {
            world.round();
            rounds += 1;
            assert!(rounds < 1_000, "{name} does not converge");
        }
        (0..10).for_each(|_| world.round());
        let (bytes, messages) = world.sent();
        let seconds = (rounds + 10) as f64;
        let beyond = |sent: f64, rest: f64| (sent / nodes as f64 - rest * seconds).max(0.0) / TIMES as f64;
        cost.rounds += rounds as f64 / TIMES as f64;
        cost.most = cost.most.max(rounds);
        cost.change_bytes += beyond(bytes, cost.rest_bytes);
        cost.change_messages += beyond(messages, cost.rest_messages);
    }
    println!(
        "{nodes:<6} {name:<22} {start:>6} {:>8.1} {:>8} {:>12.0} {:>7.2} {:>11.0} {:>13.2}",
        cost.rounds, cost.most, cost.rest_bytes, cost.rest_messages, cost.change_bytes, cost.change_messages
    );
    cost
}

/// What must hold of the table.
#[derive(Default)]
struct Checks {
    rows: usize,
    wrong: Vec<String>,
    /// What a node of the smallest cluster sends at rest.
    least: Option<f64>,
}

impl Checks {
    fn look_at(&mut self, nodes: usize, loss: u32, quorate: Cost, chitchat: Cost, swim: Cost) {
        self.rows += 3;
        let mut must = |holds: bool, what: &str| {
            if !holds {
                self.wrong.push(format!("{nodes} nodes, {loss} % lost: {what}"));
            }
        };
        let least = *self.least.get_or_insert(quorate.rest_bytes);
        must((quorate.rest_bytes - least).abs() < 2.0, "a node at rest sends as much as in the smallest cluster");
        must(quorate.most <= 4 + 2 * nodes.ilog2() as usize, "all know within 4 + 2 log₂ n rounds");
        must(quorate.rest_bytes < chitchat.rest_bytes, "less is sent at rest than with a digest of all versions");
        must(quorate.rest_bytes < swim.rest_bytes, "less is sent at rest than by SWIM");
    }

    fn end(self) -> ExitCode {
        self.wrong.iter().for_each(|wrong| println!("\nWRONG: {wrong}"));
        println!("\nrows {} · wrong {}", self.rows, self.wrong.len());
        if self.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
