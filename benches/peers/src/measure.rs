//! Clocks, and a few statistics.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use cpu_time::ProcessTime;

use crate::side::Entrant;

/// What one run of one side took.
pub(crate) struct Sample {
    puts: u64,
    wall: Duration,
    /// User and system time of the whole process.
    cpu: Duration,
}

impl Sample {
    pub(crate) fn puts_per_second(&self) -> f64 {
        self.puts as f64 / self.wall.as_secs_f64()
    }

    pub(crate) fn cpu_micros_per_put(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.puts as f64
    }

    pub(crate) fn cores_busy(&self) -> f64 {
        self.cpu.as_secs_f64() / self.wall.as_secs_f64()
    }
}

/// Starts a side afresh, warms it up, measures it, and stops it: while one side runs, the other has not a thread.
pub(crate) fn sample(entrant: &Entrant, clients: usize, puts: u64) -> Sample {
    let mut side = (entrant.start)();
    side.run(clients, whole(puts as f64 / 8.0, clients));
    let cpu = ProcessTime::now();
    let wall = side.run(clients, puts);
    Sample {
        puts,
        wall,
        cpu: cpu.elapsed(),
    }
}

/// How many puts take about `target`. Also the warm-up before the rounds.
pub(crate) fn calibrate(entrant: &Entrant, clients: usize, target: Duration) -> u64 {
    let mut side = (entrant.start)();
    let mut puts = whole(1_000.0, clients);
    loop {
        let wall = side.run(clients, puts);
        if wall >= target / 3 {
            return whole(puts as f64 * target.as_secs_f64() / wall.as_secs_f64(), clients);
        }
        puts *= 3;
    }
}

/// The nearest multiple of `clients` above zero.
fn whole(puts: f64, clients: usize) -> u64 {
    (puts / clients as f64).round().max(1.0) as u64 * clients as u64
}

/// Microseconds that two threads need to wake each other once, there and back: the price of a hand-off here.
pub(crate) fn wake_up_round_trip(trips: u32) -> f64 {
    fn wait_until(flag: &AtomicBool, value: bool) {
        while flag.load(SeqCst) != value {
            thread::park();
        }
    }

    let ball = Arc::new(AtomicBool::new(false));
    let (theirs, main) = (ball.clone(), thread::current());
    let other = thread::spawn(move || {
        for _ in 0..trips {
            wait_until(&theirs, true);
            theirs.store(false, SeqCst);
            main.unpark();
        }
    });
    let start = Instant::now();
    for _ in 0..trips {
        ball.store(true, SeqCst);
        other.thread().unpark();
        wait_until(&ball, false);
    }
    let took = start.elapsed();
    other.join().expect("the other thread does not panic");
    took.as_secs_f64() * 1e6 / f64::from(trips)
}

/// The machine's load averages, where it tells them.
pub(crate) fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let averages: Vec<_> = text.split_whitespace().take(3).collect();
    if averages.is_empty() {
        "unknown".to_owned()
    } else {
        averages.join(" ")
    }
}

/// Median, least and greatest.
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<_> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        Self {
            median: (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0,
            min: sorted[0],
            max: sorted[n - 1],
        }
    }
}
