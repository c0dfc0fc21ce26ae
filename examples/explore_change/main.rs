//! Walks through every order in which one partition's layout can change, on the shipped machines.
//!
//! ```text
//! cargo run --release --example explore_change                 # all scenarios, some minutes
//! cargo run --release --example explore_change -- --quick      # those that take seconds
//! cargo run --release --example explore_change -- --only TEXT  # those whose name has the text in it
//! cargo run --release --example explore_change -- --clocks     # with records and clocks, and what spoils them
//! cargo run --release --features mutants --example explore_change -- --mutants   # each rule left out, in turn
//! cargo run --release --features mutants --example explore_change -- --quorums   # are the quorums too large?
//! ```
//! Each line tells how many different states there are, and whether something is wrong with any. With `--mutants` each
//! must be: the shortest way to it is printed.
#![allow(clippy::disallowed_methods, reason = "the search is deterministic; how fast it runs is not")]

mod clocks;
#[cfg(feature = "mutants")]
mod mutants;

use std::process::ExitCode;
use std::time::Instant;

use quorate::sim::change::{Found, Scenario, explore};

/// So many states are looked at where there are too many to see all.
const MOST: usize = 12_000_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let only = arguments.iter().position(|argument| argument == "--only").and_then(|at| arguments.get(at + 1));
    let text = only.map_or("", |only| only);
    let right = if has("--mutants") || has("--quorums") {
        mutants(has("--quorums"), text)
    } else if has("--clocks") {
        clocks::explore(text)
    } else {
        clean(has("--quick"), only)
    };
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn clean(quick: bool, only: Option<&String>) -> bool {
    let mut clean = true;
    for (name, is_quick, scenario) in scenarios() {
        let wanted = only.map_or(is_quick || !quick, |only| name.contains(only.as_str()));
        if wanted {
            let start = Instant::now();
            let found = explore(&scenario, MOST);
            tell(name, &found, start);
            clean &= found.wrong.is_none();
        }
    }
    clean
}

fn tell(name: &str, found: &Found, start: Instant) {
    let how = match (&found.wrong, found.all) {
        (None, true) => "clean, all".to_string(),
        (None, false) => "clean so far".to_string(),
        (Some(_), _) => format!("WRONG, {} steps", found.steps()),
    };
    println!("{name:<80} {:>10} states  {how:<16} {:>6.1} s", found.states, start.elapsed().as_secs_f32());
    if let Some((wrong, steps)) = &found.wrong {
        println!("    {wrong}");
        for (number, step) in (1..).zip(steps) {
            println!("    {number:>2}. {step}");
        }
    }
}

/// A name, whether it takes seconds only, and what is to be looked at. Nodes are bits, from the right.
fn scenarios() -> Vec<(&'static str, bool, Scenario)> {
    let new = Scenario::new;
    let confirms = |scenario: Scenario| Scenario { confirms: true, ..scenario };
    let gone = Scenario { gone: 0b00011, ..new(&[0b00111, 0b11100], 2, 2) };
    vec![
        ("N=3 R=2 W=2, one owner moves", true, new(&[0b0111, 0b1110], 2, 2).silent(&[0, 1, 2, 4, 8])),
        ("N=3 R=2 W=2, one moves, confirmed one by one", true, confirms(new(&[0b0111, 0b1110], 2, 2))),
        ("N=3 R=2 W=2, two owners move", true, new(&[0b00111, 0b11100], 2, 2).silent(&[0, 1, 2, 4, 8, 16])),
        ("N=3 R=1 W=3, one owner moves", true, new(&[0b0111, 0b1110], 1, 3).silent(&[0, 1, 2, 4, 8])),
        ("N=3 R=3 W=1, one owner moves", true, new(&[0b0111, 0b1110], 3, 1).silent(&[0, 1, 2, 4, 8])),
        ("growth from 2 to 3 owners, R=2 W=2", true, new(&[0b011, 0b111], 2, 2).silent(&[0, 1, 2, 4])),
        ("N=3 R=2 W=2, two of three declared gone", true, gone),
        ("N=3 R=2 W=2, one moves, sloppy", true, Scenario { sloppy: true, ..new(&[0b0111, 0b1110], 2, 2) }),
        ("N=1, two rivals", true, new(&[1, 2, 4], 1, 1).silent(&[0])),
        ("N=1, two rivals, confirmed one by one", true, confirms(new(&[1, 2, 4], 1, 1))),
        ("N=2 R=2 W=2, back to the first owners", true, new(&[0b0011, 0b0110, 0b0011], 2, 2).silent(&[0])),
        ("N=2 R=1 W=2, two rivals", false, new(&[0b0011, 0b0110, 0b1001], 1, 2).silent(&[0])),
        ("N=2 R=2 W=2, two rivals", false, new(&[0b0011, 0b0110, 0b1001], 2, 2).silent(&[0])),
        (
            "N=2 R=2 W=2, back, the rival's owners silent",
            false,
            new(&[0b0011, 0b1100, 0b0011], 2, 2).silent(&[0, 0b1100]),
        ),
        ("N=1, three layouts, the last is the first owner's", false, new(&[1, 2, 4, 1], 1, 1).silent(&[0])),
        (
            "from two owners to one, three layouts, no copy dropped",
            false,
            Scenario { deletes: false, ..new(&[0b011, 0b100, 0b100, 0b010], 1, 2) },
        ),
        ("N=3 R=2 W=2, two rivals, four nodes", false, new(&[0b0111, 0b1110, 0b1101], 2, 2)),
    ]
}

#[cfg(feature = "mutants")]
fn mutants(quorums: bool, only: &str) -> bool {
    if quorums { mutants::quorums(tell) } else { mutants::hunt(only, tell) }
}

#[cfg(not(feature = "mutants"))]
fn mutants(_: bool, _: &str) -> bool {
    eprintln!("--mutants and --quorums need --features mutants");
    false
}
