//! How soon a dead peer is noticed and how often a living one is taken for dead, by the failure detector: under loss,
//! jitter, quiet times and pauses of the observer's own.
//!
//! ```text
//! cargo run --release --example detector               # 20 hours each
//! cargo run --release --example detector -- --quick    # 2 hours each
//! ```
//! One node observes one peer. The detector of this library and a fixed silence judge by what is asked of the peer; the
//! two accrual detectors are models of the shapes that chitchat and Akka ship, with their default settings, and judge by
//! the peer's heartbeats, one a second.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::process::ExitCode;

use quorate::Time;
use quorate::detector::{Detector, DetectorSettings};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600 * SECOND;
const HEARTBEAT: u64 = SECOND;

fn main() -> ExitCode {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (hours, deaths) = if quick { (2, 40) } else { (20, 400) };
    println!(
        "\
wrong/h    how often an hour a living peer is suspected, over {hours} hours
noticed    milliseconds from a peer's end until it is suspected: median and the longest of {deaths}
msg/s      probes and heartbeats that the detector needs, without answers
latency    1 ms and an exponential part of mean 4 ms each way; one message of a hundred takes up to 100 ms more
paused     the observer stands still for 3 s each minute, and then reads what has come"
    );
    let mut wrong = Vec::new();
    for (name, every, paused) in [
        ("a request each 10 ms", Some(10_000), false),
        ("a request each 2 s", Some(2 * SECOND), false),
        ("no requests", None, false),
        ("a request each 50 ms, paused", Some(50_000), true),
    ] {
        println!(
            "\n{name}\n{:<28} {:>5} {:>9} {:>9} {:>9} {:>7}",
            "", "loss", "wrong/h", "noticed", "longest", "msg/s"
        );
        for loss in [0, 1, 5, 10, 20, 30] {
            let setting = Setting { every, loss, paused };
            let rules: [fn() -> Box<dyn Rule>; 4] = [
                || Box::new(Tries::new()),
                || Box::new(Fixed::default()),
                || Box::new(Accrual::new(false)),
                || Box::new(Accrual::new(true)),
            ];
            let results = rules.map(|rule| measure(&setting, rule, hours, deaths));
            for result in &results {
                println!(
                    "{:<28} {loss:>3} % {:>9.2} {:>9} {:>9} {:>7.2}",
                    result.name,
                    result.wrong_per_hour,
                    result.noticed.map_or("-".to_owned(), |micros| (micros / 1_000).to_string()),
                    result.longest.map_or("never".to_owned(), |micros| (micros / 1_000).to_string()),
                    result.messages
                );
            }
            let own = &results[0];
            if own.longest.is_none() {
                wrong.push(format!("{name}, {loss} %: a dead peer is not noticed"));
            }
            if loss <= 1 && own.wrong_per_hour > 0.5 {
                wrong.push(format!(
                    "{name}, {loss} %: {:.2} times an hour a living peer is suspected",
                    own.wrong_per_hour
                ));
            }
        }
    }
    wrong.iter().for_each(|wrong| println!("\nWRONG: {wrong}"));
    println!("\nwrong {}", wrong.len());
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Setting {
    /// A client's request each so many microseconds.
    every: Option<u64>,
    /// Of a hundred messages so many are lost.
    loss: u32,
    paused: bool,
}

struct Measured {
    name: &'static str,
    wrong_per_hour: f64,
    noticed: Option<u64>,
    longest: Option<u64>,
    messages: f64,
}

fn measure(setting: &Setting, rule: fn() -> Box<dyn Rule>, hours: u64, deaths: u64) -> Measured {
    let mut alive = World::new(setting, rule(), 1);
    alive.run(hours * HOUR);
    let mut noticed: Vec<Option<u64>> = (0..deaths)
        .map(|seed| {
            let mut world = World::new(setting, rule(), seed);
            // Ten minutes to learn, and then at any moment.
            let death = 600 * SECOND + world.rng.random_range(0..60 * SECOND);
            world.run(death);
            world.die()
        })
        .collect();
    noticed.sort_unstable_by_key(|at| at.unwrap_or(u64::MAX));
    Measured {
        name: alive.rule.name(),
        wrong_per_hour: alive.suspected as f64 / hours as f64,
        noticed: noticed[noticed.len() / 2],
        longest: noticed[noticed.len() - 1],
        messages: alive.messages as f64 / (hours * 3_600) as f64,
    }
}

/// A way to judge a peer.
trait Rule {
    fn name(&self) -> &'static str;
    fn heartbeats(&self) -> bool;
    fn asked(&mut self, now: u64);
    fn heard(&mut self, sent: Option<u64>, now: u64);
    /// True if a probe is to be sent.
    fn wake(&mut self, now: u64) -> bool;
    fn due(&self) -> Option<u64>;
    fn suspected(&self) -> bool;
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// What the peer sent: an answer to what went out then, or a heartbeat.
    Arrives(Option<u64>),
    Request,
    Heartbeat,
    /// A suspect is probed, and after so many microseconds again.
    Probe(u64),
    Pause,
}

struct World<'a> {
    setting: &'a Setting,
    rule: Box<dyn Rule>,
    rng: Xoshiro256PlusPlus,
    now: u64,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    alive: bool,
    is_suspected: bool,
    suspected: u64,
    messages: u64,
}

impl<'a> World<'a> {
    fn new(setting: &'a Setting, rule: Box<dyn Rule>, seed: u64) -> Self {
        let mut events = BinaryHeap::new();
        events.extend(setting.every.map(|every| Reverse((every, Event::Request))));
        events.extend(rule.heartbeats().then_some(Reverse((HEARTBEAT, Event::Heartbeat))));
        events.extend(setting.paused.then_some(Reverse((60 * SECOND, Event::Pause))));
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self { setting, rule, rng, now: 0, events, alive: true, is_suspected: false, suspected: 0, messages: 0 }
    }

    /// When a message that leaves at `now` arrives, if it does.
    fn arrival(&mut self, now: u64) -> Option<u64> {
        if self.rng.random_range(0..100) < self.setting.loss {
            return None;
        }
        let exponential = -(self.rng.random_range(f64::EPSILON..1.0)).ln() * 4_000.0;
        let slow = if self.rng.random_range(0..100) == 0 { self.rng.random_range(0..100_000) } else { 0 };
        Some(now + 1_000 + exponential as u64 + slow)
    }

    fn ask(&mut self) {
        self.rule.asked(self.now);
        let there = self.arrival(self.now);
        if let Some(back) = there.filter(|_| self.alive).and_then(|there| self.arrival(there)) {
            self.events.push(Reverse((back, Event::Arrives(Some(self.now)))));
        }
    }

    fn run(&mut self, end: u64) {
        while self.step(end) {}
    }

    /// The next thing that happens before `end`.
    fn step(&mut self, end: u64) -> bool {
        let event = self.events.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
        let due = self.rule.due().map_or(u64::MAX, |due| due.max(self.now));
        if event.min(due) > end {
            self.now = self.now.max(end);
            return false;
        }
        self.now = self.now.max(event.min(due));
        if due < event {
            self.wake();
        } else if let Some(Reverse((at, event))) = self.events.pop() {
            self.happens(at, event);
        }
        true
    }

    fn happens(&mut self, at: u64, event: Event) {
        match event {
            Event::Arrives(sent) => {
                self.rule.heard(sent, self.now);
                self.look();
            }
            Event::Request => {
                // What clients don't ask while the node stands still they don't ask later all at once.
                let every = self.setting.every.unwrap_or(SECOND);
                self.events.push(Reverse((self.now.max(at) + every, Event::Request)));
                if !self.rule.suspected() {
                    self.ask();
                }
            }
            Event::Heartbeat => {
                self.events.push(Reverse((at + HEARTBEAT, Event::Heartbeat)));
                self.messages += 1;
                if let Some(arrival) = self.arrival(at).filter(|_| self.alive) {
                    self.events.push(Reverse((arrival, Event::Arrives(None))));
                }
            }
            Event::Probe(pause) => {
                if self.rule.suspected() && !self.rule.heartbeats() {
                    self.ask();
                    self.events.push(Reverse((self.now + pause, Event::Probe((pause * 2).min(1_600_000)))));
                }
            }
            // It goes on with what is due by the clock, and reads what has come after that.
            Event::Pause => {
                self.events.push(Reverse((at + 60 * SECOND, Event::Pause)));
                self.now += 3 * SECOND;
                if self.rule.due().is_some_and(|due| due <= self.now) {
                    self.wake();
                }
            }
        }
    }

    fn wake(&mut self) {
        if self.rule.wake(self.now) {
            self.messages += 1;
            self.ask();
        }
        self.look();
    }

    fn look(&mut self) {
        let suspected = self.rule.suspected();
        if suspected && !self.is_suspected {
            self.suspected += 1;
            self.events.push(Reverse((self.now, Event::Probe(100_000))));
        }
        self.is_suspected = suspected;
    }

    /// The peer dies. After how long it is suspected and stays so.
    fn die(&mut self) -> Option<u64> {
        self.alive = false;
        self.events.retain(|Reverse((_, event))| !matches!(event, Event::Arrives(_)));
        let death = self.now;
        while self.now < death + 120 * SECOND && !self.rule.suspected() {
            self.step(death + 120 * SECOND);
        }
        self.rule.suspected().then_some(self.now - death)
    }
}

// ---- the rules

/// This library's detector.
struct Tries(Detector);

impl Tries {
    fn new() -> Self {
        Self(Detector::new(1, DetectorSettings::default(), Time(0)))
    }
}

impl Rule for Tries {
    fn name(&self) -> &'static str {
        "detector"
    }
    fn heartbeats(&self) -> bool {
        false
    }
    fn asked(&mut self, now: u64) {
        self.0.asked(0, Time(now));
    }
    fn heard(&mut self, sent: Option<u64>, now: u64) {
        self.0.step(Time(now));
        self.0.heard(0, Time(now));
        if let Some(sent) = sent {
            self.0.answered(0, Time(sent), Time(now));
        }
    }
    fn wake(&mut self, now: u64) -> bool {
        !self.0.wake(Time(now)).probe.is_empty()
    }
    fn due(&self) -> Option<u64> {
        self.0.deadline().map(|due| due.0)
    }
    fn suspected(&self) -> bool {
        self.0.is_suspected(0)
    }
}

/// A fixed silence: suspects who was asked and is silent for 250 ms, and probes nobody before.
#[derive(Default)]
struct Fixed {
    waiting: Option<u64>,
    suspected: bool,
}

impl Fixed {
    const LIMIT: u64 = 250_000;
}

impl Rule for Fixed {
    fn name(&self) -> &'static str {
        "250 ms after a request"
    }
    fn heartbeats(&self) -> bool {
        false
    }
    fn asked(&mut self, now: u64) {
        self.waiting.get_or_insert(now);
    }
    fn heard(&mut self, _: Option<u64>, _: u64) {
        (self.waiting, self.suspected) = (None, false);
    }
    fn wake(&mut self, now: u64) -> bool {
        self.suspected |= self.waiting.is_some_and(|since| now >= since + Self::LIMIT);
        false
    }
    fn due(&self) -> Option<u64> {
        self.waiting.filter(|_| !self.suspected).map(|since| since + Self::LIMIT)
    }
    fn suspected(&self) -> bool {
        self.suspected
    }
}

/// Accrual on heartbeats: elapsed over the mean (chitchat: window of 1,000, first interval 5 s, threshold 8), or by the
/// tail of a normal distribution (Akka: deviation at least 100 ms, pause of 3 s accepted, threshold 8).
struct Accrual {
    normal: bool,
    intervals: VecDeque<f64>,
    sum: f64,
    squares: f64,
    last: Option<u64>,
    looked: u64,
    suspected: bool,
}

impl Accrual {
    const THRESHOLD: f64 = 8.0;
    const LOOK: u64 = 100_000;

    fn new(normal: bool) -> Self {
        let intervals = VecDeque::new();
        Self { normal, intervals, sum: 0.0, squares: 0.0, last: None, looked: 0, suspected: false }
    }

    fn record(&mut self, seconds: f64) {
        self.intervals.push_back(seconds);
        (self.sum, self.squares) = (self.sum + seconds, self.squares + seconds * seconds);
        if self.intervals.len() > 1_000 {
            let oldest = self.intervals.pop_front().unwrap_or_default();
            (self.sum, self.squares) = (self.sum - oldest, self.squares - oldest * oldest);
        }
    }

    fn phi(&self, now: u64) -> f64 {
        let Some(last) = self.last else { return 0.0 };
        let elapsed = (now - last) as f64 / SECOND as f64;
        let count = self.intervals.len() as f64;
        let mean = self.sum / count;
        if !self.normal {
            return elapsed / mean;
        }
        let deviation = (self.squares / count - mean * mean).max(0.0).sqrt().max(0.1);
        let y = (elapsed - mean - 3.0) / deviation;
        let e = (-y * (1.597_6 + 0.070_566 * y * y)).exp();
        if y > 0.0 { -(e / (1.0 + e)).log10() } else { -(1.0 - 1.0 / (1.0 + e)).log10() }
    }
}

impl Rule for Accrual {
    fn name(&self) -> &'static str {
        if self.normal { "accrual, normal (Akka)" } else { "accrual, mean (chitchat)" }
    }
    fn heartbeats(&self) -> bool {
        true
    }
    fn asked(&mut self, _: u64) {}
    fn heard(&mut self, sent: Option<u64>, now: u64) {
        if sent.is_none() {
            let first = if self.normal { 1.0 } else { 5.0 };
            self.record(self.last.map_or(first, |last| (now - last) as f64 / SECOND as f64).min(10.0));
            self.last = Some(now);
            self.suspected = false;
        }
    }
    fn wake(&mut self, now: u64) -> bool {
        self.looked = now;
        self.suspected = self.phi(now) > Self::THRESHOLD;
        false
    }
    fn due(&self) -> Option<u64> {
        Some(self.looked + Self::LOOK)
    }
    fn suspected(&self) -> bool {
        self.suspected
    }
}
