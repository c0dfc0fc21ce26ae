//! Runs the runtime's threads in every order in which they can meet, and shows that the checks see what they are for.
//!
//! Without arguments: every scenario with the shipped sources, and for each fault the scenario that must see it. With
//! the name of a fault (or `shipped`) and of a scenario: that one, in this process.

mod clock;
#[allow(dead_code, reason = "what a fault changes is the build's business")]
mod faults;
#[allow(dead_code, reason = "the runtime calls more of a node than the scenarios make it")]
mod node;
mod sync;

use std::process::{Command, ExitCode, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use faults::FAULTS;

// What the runtime's sources call by `crate::`.
use quorate::{causality, config, error, ids, trace};
mod bytes {
    pub use quorate::Bytes;
}
mod time {
    pub use quorate::{Now, Time};
}
mod message {
    /// What nodes say here.
    pub enum Message {
        Ask(crate::ids::Ticket),
        Told(crate::ids::Ticket),
    }
}
mod storage {
    /// Stands where a storage does: it is told of each step that changes something.
    pub trait Storage: Send {
        fn step(&self);
    }
}
// Compiled here once more: outside of its crate nobody may rely on knowing all variants.
#[allow(dead_code, reason = "the scenarios don't use all of it")]
#[path = "../../../src/request.rs"]
mod request;
#[path = "../../../src/transport.rs"]
mod transport;

/// What is run in every order.
pub struct Scenario {
    pub name: &'static str,
    run: fn(),
    /// How often a thread may lose its turn to another without waiting for it; none is no limit.
    preemptions: Option<usize>,
}

include!(concat!(env!("OUT_DIR"), "/variants.rs"));

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let good = match &arguments[..] {
        [] => all(),
        [scenario] => explore(find(scenario), find(scenario).run),
        [_, fault] => {
            let at = FAULTS.iter().position(|known| known.name == fault).expect("a fault of this name");
            explore(find(FAULTS[at].seen_by), FAULTY[at])
        }
        _ => panic!("arguments: none, a scenario, or `fault` and its name"),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn find(scenario: &str) -> &'static Scenario {
    shipped::scenarios::ALL.iter().find(|known| known.name == scenario).expect("a scenario of this name")
}

/// Runs a scenario in every order; panics in the first that fails.
fn explore(scenario: &Scenario, run: fn()) -> bool {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(scenario.preemptions);
    model.max_branches = 10_000;
    let count = Arc::new(AtomicUsize::new(0));
    let (counter, start) = (Arc::clone(&count), Instant::now());
    model.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        run();
    });
    let bound = model.preemption_bound.map_or("all".to_string(), |most| format!("up to {most} preemptions"));
    println!("{} orders ({bound}) in {:.1} s", count.load(Ordering::Relaxed), start.elapsed().as_secs_f64());
    true
}

/// In a process of its own: a model that failed half-way cannot always be torn down.
fn child(arguments: &[&str]) -> Output {
    let this = std::env::current_exe().expect("a program has a path");
    Command::new(this).args(arguments).env("RUST_BACKTRACE", "0").output().expect("a program runs again")
}

fn all() -> bool {
    let mut good = true;
    for scenario in shipped::scenarios::ALL {
        let Output { status, stdout, stderr } = child(&[scenario.name]);
        good &= status.success();
        let said = if status.success() { stdout } else { stderr };
        println!("{:20} {}", scenario.name, String::from_utf8_lossy(&said).trim());
    }
    for fault in FAULTS {
        let why = reason(&child(&["fault", fault.name]));
        good &= why.is_some();
        let why = why.unwrap_or("NOT SEEN".into());
        println!("{:32} {} {why}", fault.name, fault.seen_by);
    }
    good
}

/// Why a scenario failed, if it did as it should: a thread waits for ever, or an assertion fails.
fn reason(output: &Output) -> Option<String> {
    let text = String::from_utf8_lossy(&output.stderr);
    let is_meant = |line: &&str| REASONS.iter().any(|reason| line.starts_with(reason));
    let line = text.lines().find(is_meant)?;
    (!output.status.success()).then(|| line.split(';').next().unwrap_or(line).to_string())
}

const REASONS: [&str; 4] = ["deadlock; ", "assertion ", "a request has one answer", "called `Result::unwrap()`"];
