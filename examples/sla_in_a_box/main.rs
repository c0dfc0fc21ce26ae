//! What does a service need, and which N, R and W give it? "The storage service in the box, driven by an SLA."
//!
//! Asks for the need, predicts what every setting with up to five copies does, marks those that meet it and the cheapest,
//! and draws latency beside freshness. Then it runs a simulated cluster whose network is known, and prints what was
//! predicted beside what its clients saw.
//!
//! ```text
//! cargo run --release --example sla_in_a_box                         # asks, if there is somebody to ask
//! cargo run --release --example sla_in_a_box -- --read-ms 5 --fresh 99.9 --after-ms 100
//! cargo run --release --example sla_in_a_box -- --quick              # fewer trials, for a need that it knows
//! cargo run --release --example sla_in_a_box -- --help               # all that can be said
//! ```
//! It fails if what clients saw is not what was predicted, within what chance allows.
#![allow(clippy::disallowed_methods, reason = "an example reads its arguments")]

mod figure;
mod need;
mod observe;
#[allow(dead_code, reason = "shared with examples that draw over time")]
#[path = "../support/svg.rs"]
mod svg;
mod table;

use std::process::ExitCode;

use need::{HELP, Wanted};
use quorate::sla::{SlaError, Trials, advise};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let wanted = match Wanted::of(&arguments) {
        Ok(wanted) => wanted,
        Err(error) => {
            eprintln!("{error}\n\n{HELP}");
            return ExitCode::FAILURE;
        }
    };
    match run(&wanted) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the simulated cluster did as was predicted.
fn run(wanted: &Wanted) -> Result<bool, SlaError> {
    let trials = Trials { count: if wanted.quick { 10_000 } else { 100_000 }, seed: wanted.seed };
    let advice = advise(&wanted.sla, &wanted.model, 1..=wanted.copies, trials)?;
    table::print(wanted, &advice);
    let drawn = wanted.svg.parent().map_or(Ok(()), std::fs::create_dir_all);
    match drawn.and_then(|()| std::fs::write(&wanted.svg, figure::draw(wanted, &advice))) {
        Ok(()) => println!("\ndrawn: {}", wanted.svg.display()),
        Err(error) => println!("\nnot drawn: {}: {error}", wanted.svg.display()),
    }
    observe::compare(wanted.quick, wanted.seed)
}
