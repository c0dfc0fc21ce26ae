//! The evaluation of the Dynamo paper (SOSP 2007, §6), with the shipped code on the simulator.
//!
//! ```text
//! cargo run --release --example evaluation                     # some minutes; writes docs/EVALUATION.md and its pictures
//! cargo run --release --example evaluation -- --quick          # small runs; writes below target/evaluation
//! cargo run --release --example evaluation -- --only figure_6  # one part alone, below target/evaluation
//! ```
//! The seed is fixed: the same build writes the same pages.

#![allow(clippy::disallowed_methods, reason = "the page is deterministic; how fast it is made is not")]

mod admission;
mod availability;
mod figure_4;
mod figure_5;
mod figure_6;
mod figure_8;
mod load;
#[path = "../placement/models.rs"]
mod models;
mod pbs;
mod plot;
mod report;
mod table_2;
mod truncation;
mod versions;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use report::{Part, Scale};

/// All parts, in the order of the page.
const PARTS: &[Part] = &[
    figure_4::PART,
    figure_5::PART,
    figure_6::PART,
    figure_8::PART,
    versions::PART,
    table_2::PART,
    admission::PART,
    truncation::PART,
    availability::PART,
    pbs::PART,
];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut scale = Scale { quick: false };
    let mut only = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => scale.quick = true,
            "--only" => only.push(arguments.next().ok_or("--only needs the name of a part")?),
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    if let Some(unknown) = only.iter().find(|name| PARTS.iter().all(|part| part.name != name.as_str())) {
        let names: Vec<_> = PARTS.iter().map(|part| part.name).collect();
        return Err(format!("no part is called {unknown}: there are {}", names.join(", ")).into());
    }
    let is_whole = only.is_empty() && !scale.quick;
    let directory = Path::new(if is_whole { "docs" } else { "target/evaluation" });
    let parts = PARTS.iter().filter(|part| only.is_empty() || only.iter().any(|name| name == part.name));
    let wrong = report::write(directory, parts, &scale)?;
    wrong.iter().for_each(|wrong| println!("WRONG: {wrong}"));
    println!("wrong      {}", wrong.len());
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
