//! Whole operations on an in-process cluster: put, get, read-modify-write, and puts in batches.
//!
//! ```text
//! cargo bench --bench ops                              everything, about two minutes
//! cargo bench --bench ops -- '^put/100 B/2000 keys'    what a filter selects
//! ```
//! Three nodes, N = 3, R = W = 2; one thread keeps so many requests in flight, through one node. Each put carries the
//! context of its key's last put and a fresh value. A hot set of 2,000 keys stays in the processor's cache; 100,000
//! keys measure memory.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[allow(dead_code, reason = "each benchmark uses its part of it")]
mod support {
    pub(crate) mod cluster;
    pub(crate) mod keys;
}
use support::cluster::Load;

/// An operation, its name, and the windows that make sense for it.
type Operation = (&'static str, fn(&mut Load, usize, usize), &'static [usize]);

const OPERATIONS: [Operation; 4] = [
    ("put", Load::put, &[1, 16, 64, 1_024]),
    ("get", |load, times, window| _ = std::hint::black_box(load.get(times, window)), &[1, 16, 64, 1_024]),
    ("rmw", Load::read_modify_write, &[1, 16, 64, 1_024]),
    ("put_many", Load::put_many, &[16, 64, 1_024]),
];

#[allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn whole_operations(criterion: &mut Criterion) {
    for keys in [2_000, 100_000] {
        for (value, size) in [(100, "100 B"), (1_024, "1 KiB")] {
            // Started when the first benchmark that was selected needs it, and stopped after the last.
            let mut load: Option<Load> = None;
            for (name, run, windows) in OPERATIONS {
                let mut group = criterion.benchmark_group(name);
                group.throughput(Throughput::Elements(1));
                for &window in windows {
                    group.bench_function(format!("{size}/{keys} keys/{window} in flight"), |bencher| {
                        let load = load.get_or_insert_with(|| Load::start(keys, value));
                        bencher.iter_custom(|times| {
                            let start = Instant::now();
                            run(load, times as usize, window);
                            start.elapsed()
                        });
                    });
                }
                group.finish();
            }
        }
    }
}

fn settings() -> Criterion {
    let (warm_up, measure) = (Duration::from_millis(200), Duration::from_millis(500));
    Criterion::default().sample_size(10).warm_up_time(warm_up).measurement_time(measure).without_plots()
}

criterion_group! { name = benches; config = settings(); targets = whole_operations }
criterion_main!(benches);
