//! Runs campaigns on the simulator: whole clusters of the shipped code, their clients, and whatever befalls them.
//!
//! ```text
//! cargo run --release --example simulate -- --seeds 10000            # seeds 0 to 9999; in every third the layout changes
//! cargo run --release --example simulate -- --seeds 10000 --from S   # others
//! cargo run --release --example simulate -- --only pause             # requests, and no other fault than this
//! cargo run --release --example simulate -- --small                  # three nodes, few clients and keys: many seeds
//! cargo run --release --example simulate -- --trace SEED             # one seed: its story, and how it went
//! cargo run --release --example simulate -- --trace SEED --save FILE # and keep the story
//! cargo run --release --example simulate -- --replay FILE            # play a story that was kept
//! cargo run --release --features mutants --example simulate -- --mutants   # are the checks any good?
//! cargo run --release --features mutants --example simulate -- --mutants --changes [--mutant NAME]   # of a layout change
//! ```
//! A seed that breaks a property is shortened and printed as a test. A fault or a rare branch that a long run never
//! met is a failure too: what was not met was not tested. With `--mutants` deliberate faults are switched on, one after
//! the other: each must be found within a thousand seeds.
#![allow(clippy::disallowed_methods, reason = "the campaign is deterministic; how fast it runs is not")]

#[cfg(feature = "mutants")]
mod mutants;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quorate::sim::campaign::{Action, Coverage, Run, Settings, Story, Violation, play, shrink};

/// So many runs may be spent on making a failing story short.
const TRIES: usize = 3_000;
/// After so many seeds everything must have been met.
const LONG: u64 = 2_000;

struct Options {
    seeds: u64,
    from: u64,
    only: Option<String>,
    small: bool,
    trace: Option<u64>,
    save: Option<String>,
    replay: Option<String>,
    threads: usize,
    mutants: bool,
    changes: bool,
    mutant: Option<String>,
}

#[derive(Default)]
struct Sum {
    operations: u64,
    acknowledged: u64,
    events: u64,
    time: Duration,
    forgetful: u64,
    coverage: Coverage,
    bad: Vec<(u64, Violation)>,
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        seeds: 1_000,
        from: 0,
        only: None,
        small: false,
        trace: None,
        save: None,
        replay: None,
        threads: threads(),
        mutants: false,
        changes: false,
        mutant: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--mutants" {
            options.mutants = true;
            continue;
        }
        if argument == "--changes" {
            options.changes = true;
            continue;
        }
        if argument == "--small" {
            options.small = true;
            continue;
        }
        if argument == "--quick" {
            options.seeds = 300;
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{argument} takes a value"))?;
        match argument.as_str() {
            "--seeds" => options.seeds = value.parse()?,
            "--from" => options.from = value.parse()?,
            "--mutant" => options.mutant = Some(value),
            "--threads" => options.threads = value.parse()?,
            "--trace" => options.trace = Some(value.parse()?),
            "--save" => options.save = Some(value),
            "--replay" => options.replay = Some(value),
            "--only" if Action::WORDS.contains(&value.as_str()) => options.only = Some(value),
            "--only" => {
                return Err(format!("no fault is called {value}; there are {}", Action::WORDS.join(", ")).into());
            }
            _ => return Err(format!("no option is called {argument}").into()),
        }
    }
    Ok(options)
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    if let Some(file) = &options.replay {
        let story: Story = std::fs::read_to_string(file)?.parse()?;
        return Ok(tell(&story));
    }
    if options.mutants {
        #[cfg(feature = "mutants")]
        if options.changes {
            return Ok(mutants::hunt_changes(options.from, options.seeds, options.threads, options.mutant.as_deref()));
        }
        #[cfg(feature = "mutants")]
        return Ok(mutants::hunt(options.seeds, options.threads));
        #[cfg(not(feature = "mutants"))]
        return Err("there are no mutants in this program: build it with --features mutants".into());
    }
    if let Some(seed) = options.trace {
        let story = draw(seed, options);
        if let Some(file) = &options.save {
            std::fs::write(file, story.to_string())?;
        }
        return Ok(tell(&story));
    }
    Ok(campaign(options))
}

/// Every third story of a run is one whose layout changes, and in every fourth not all writes are synced at once.
const fn kind_of(number: u64, options: &Options) -> u64 {
    let buffered = if number % 4 < 3 { 0 } else { Settings::BUFFERED };
    let elastic = if options.small || number % 3 < 2 { 0 } else { Settings::ELASTIC };
    number | buffered | elastic
}

fn draw(seed: u64, options: &Options) -> Story {
    let wanted = |action: &Action| {
        let wanted = |only: &String| action.word() == only || action.is_relief();
        options.only.as_ref().is_none_or(wanted)
    };
    let settings = Settings::draw(seed);
    let settings = if options.small { shrunk(settings) } else { settings };
    Story::draw_with(seed, settings, &wanted)
}

/// The same on three nodes, with few clients and keys: in such a cluster most of what can go wrong can, and a seed takes
/// a fraction of the time.
fn shrunk(mut settings: Settings) -> Settings {
    settings.n = settings.n.min(3);
    (settings.r, settings.w) = (settings.r.min(settings.n), settings.w.min(settings.n));
    (settings.nodes, settings.partitions, settings.shards) = (3, 4, 1);
    (settings.clients, settings.keys) = (settings.clients.min(3), settings.keys.min(2));
    settings.core &= 0b111;
    // A change takes ten times as long as such a story.
    settings.elastic = 0;
    settings
}

/// Plays one story, and says what it was and how it went.
fn tell(story: &Story) -> bool {
    println!("{story}");
    let run = play(story);
    for (name, count) in run.coverage.iter().filter(|(_, count)| *count > 0) {
        println!("{count:>8} {name}");
    }
    println!("trace {:032x} · {} things happened in {:?} of virtual time", run.trace, run.events, run.time);
    match &run.result {
        Ok(()) => println!("every property held"),
        Err(violation) => println!("{violation}"),
    }
    run.result.is_ok()
}

fn campaign(options: &Options) -> bool {
    let (next, sum) = (AtomicU64::new(options.from), Mutex::new(Sum::default()));
    let (end, began) = (options.from + options.seeds, Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        break;
                    }
                    let seed = kind_of(number, options);
                    let run = play(&draw(seed, options));
                    let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    sum.add(seed, run);
                    let done = number - options.from + 1;
                    if done.is_multiple_of((options.seeds / 10).max(1)) {
                        let rate = done as f64 / began.elapsed().as_secs_f64();
                        println!("seed {seed} · {rate:.0} seeds/s · {} violations", sum.bad.len());
                    }
                }
            });
        }
    });
    let mut sum = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    sum.bad.sort_by_key(|(seed, _)| *seed);
    report(options, &sum, began.elapsed())
}

impl Sum {
    fn add(&mut self, seed: u64, run: Run) {
        self.operations += run.operations() as u64;
        self.acknowledged += run.acknowledged() as u64;
        self.events += run.events;
        self.time += run.time;
        self.forgetful += u64::from(run.amnesia);
        self.coverage.add(&run.coverage);
        if let Err(violation) = run.result {
            println!("seed {seed}: {violation}");
            self.bad.push((seed, violation));
        }
    }
}

fn report(options: &Options, sum: &Sum, took: Duration) -> bool {
    println!("\nmet:");
    for (name, count) in sum.coverage.iter().filter(|(_, count)| *count > 0) {
        println!("{count:>12} {name}");
    }
    if let Some((seed, violation)) = sum.bad.first() {
        let short = shrink(&draw(*seed, options), violation.property, TRIES);
        println!("\n{}", as_test(*seed, &short));
    }
    // The small mix has one shard a node, and its layout stays.
    let expected =
        |name: &&str| !options.small || !(*name == "nodes had several shards" || Coverage::is_of_changes(name));
    let missing: Vec<_> = sum.coverage.missing().filter(expected).collect();
    let complete = missing.is_empty() || options.only.is_some() || options.seeds < LONG;
    if !complete {
        println!("\nnever met: {}", missing.join(", "));
    }
    let rate = options.seeds as f64 / took.as_secs_f64();
    println!(
        "\n{:.1} simulated hours · {} events · {} seeds in which a node lost durable data · {rate:.0} seeds/s on {} threads",
        sum.time.as_secs_f64() / 3_600.0,
        sum.events,
        sum.forgetful,
        options.threads,
    );
    println!(
        "seeds {} · operations {} · acknowledged {} · violations {}",
        options.seeds,
        sum.operations,
        sum.acknowledged,
        sum.bad.len()
    );
    sum.bad.is_empty() && complete
}

/// A short story as a test that can be pasted.
fn as_test(seed: u64, story: &Story) -> String {
    let lines = story.to_string().trim_end().replace('\n', "\n        ");
    format!(
        "#[test]\nfn seed_{seed}() {{\n    let story: quorate::sim::campaign::Story = \"\n        {lines}\n    \".parse().unwrap();\n    \
         assert_eq!(quorate::sim::campaign::play(&story).result, Ok(()));\n}}"
    )
}
