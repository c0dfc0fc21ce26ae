//! Random campaigns on the simulator, judged by what clients know, and by nothing that a node says of itself.
//!
//! `QUORATE_SEEDS` says how many seeds are run, `QUORATE_SEED` with which the first begins.
#![cfg(feature = "sim")]

mod campaign;
mod history;

use campaign::{Settings, run};
use history::History;
use quorate::{Mode, Quorum};

fn number_from(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn check(history: &History, settings: &Settings) -> Result<(), String> {
    history.no_acknowledged_write_is_lost()?;
    history.nothing_appears_from_nowhere()?;
    history.siblings_are_concurrent()?;
    history.nothing_superseded_comes_back()?;
    if settings.polite {
        history.nobody_races_against_oneself()?;
    }
    if settings.mode == Mode::Strict && settings.quorum.overlaps() {
        history.reads_see_acknowledged_writes()?;
        if settings.polite {
            history.siblings_are_bounded(settings.clients)?;
        }
    }
    Ok(())
}

/// In how many of the first seeds a check fails when the settings are bent.
fn failures(seeds: u64, bend: impl Fn(&mut Settings), check: impl Fn(&History) -> Result<(), String>) -> usize {
    let bad = |seed: &u64| {
        let mut settings = Settings::of(*seed);
        bend(&mut settings);
        run(*seed, &settings).and_then(|history| check(&history)).is_err()
    };
    (0..seeds).filter(bad).count()
}

#[test]
fn random_campaigns_keep_every_promise() {
    let (first, count) = (number_from("QUORATE_SEED", 0), number_from("QUORATE_SEEDS", 300));
    let mut bad = Vec::new();
    let (mut writes, mut reads) = (0, 0);
    for seed in first..first + count {
        let settings = Settings::of(seed);
        let result = run(seed, &settings).and_then(|history| {
            (writes, reads) = (writes + history.writes.len(), reads + history.reads.len());
            check(&history, &settings)
        });
        if let Err(error) = result {
            bad.push(format!("seed {seed}: {error}\n  {settings:?}"));
        }
    }
    assert!(bad.is_empty(), "{} of {count} seeds:\n{}", bad.len(), bad.join("\n"));
    assert!(count < 100 || (writes > 20 * count as usize && reads > 10 * count as usize), "{writes}, {reads}: idle");
}

#[test]
fn the_checks_see_that_last_write_wins_loses_concurrent_writes() {
    let bend = |settings: &mut Settings| {
        settings.last_write_wins = true;
        settings.clients = settings.clients.max(3);
    };
    let lost = failures(30, bend, History::no_acknowledged_write_is_lost);
    assert!(lost >= 10, "{lost} of 30");
}

#[test]
fn the_checks_see_that_small_sloppy_quorums_read_stale_values() {
    let bend = |settings: &mut Settings| {
        settings.mode = Mode::Sloppy;
        settings.quorum = Quorum::new(3, 1, 1).expect("exists");
    };
    let stale = failures(30, bend, History::reads_see_acknowledged_writes);
    assert!(stale >= 10, "{stale} of 30");
}

#[test]
fn the_checks_see_a_client_that_claims_to_have_read_what_it_has_not() {
    let caught = failures(
        30,
        |settings| settings.boasting = true,
        |history| history.siblings_are_concurrent().and_then(|()| history.nothing_superseded_comes_back()),
    );
    assert!(caught >= 15, "{caught} of 30");
}

#[test]
fn the_checks_see_a_client_that_forgets_its_context() {
    let forget = |settings: &mut Settings| {
        settings.forgetful = true;
        settings.polite = true;
    };
    let caught = failures(30, forget, History::siblings_are_concurrent);
    assert!(caught >= 15, "{caught} of 30");
}

#[test]
fn the_checks_see_an_unknown_outcome_taken_for_an_acknowledgement() {
    let caught = failures(
        60,
        |_| {},
        |history| {
            let mut history = history.clone();
            history.writes.iter_mut().for_each(|write| write.outcome = history::Outcome::Acked);
            history.no_acknowledged_write_is_lost()
        },
    );
    assert!(caught >= 3, "{caught} of 60");
}
