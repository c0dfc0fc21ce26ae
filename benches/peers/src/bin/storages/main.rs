//! Durable storages side by side, under quorate's own trait: what ships, the other shapes that it could have, and fjall.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml --bin storages
//! cargo run --release --manifest-path benches/peers/Cargo.toml --bin storages -- --quick
//! ```
//!
//! A put is what a node makes of one: the record is read, then a batch of the record, its clock line and the
//! partition's sum is written; so many puts, then a sync. It runs over a directory of the disk, and over one in memory,
//! where a sync costs no more than its system calls: the difference is the disk's. The sides take turns in each row.
//! CPU time is that of all threads, user and system; it survives a loaded machine better than wall time does.
//!
//! `redb-open` keeps one write transaction open until the sync and reads through it; `redb-each` commits each batch
//! without durability. Both are here to be measured: they don't handle errors, and neither could take back one batch of
//! several that a full disk refuses.

mod engines;

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use quorate::storage::{Batch, Space, Storage};

use engines::{ENGINES, Engine};

/// Spread over 256 partitions like positions of the ring.
fn position(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// As `docs/STORAGE_FORMAT.md` has them, for keys of 16 bytes.
fn names(number: u64) -> ([u8; 36], [u8; 25], [u8; 9]) {
    let position = position(number);
    let (mut record, mut line, mut sum) = ([7; 36], [1; 25], [4; 9]);
    let partition = ((position >> 56) as u32).to_be_bytes();
    for name in [&mut record[..], &mut line[..], &mut sum[..]] {
        name[..4].copy_from_slice(&partition);
        name[4..8].copy_from_slice(&1_u32.to_be_bytes());
    }
    record[8..16].copy_from_slice(&position.to_be_bytes());
    record[20..28].copy_from_slice(&number.to_be_bytes());
    (record, line, sum)
}

fn put(storage: &mut dyn Storage, batch: &mut Batch, number: u64, value: &[u8]) {
    let (record, line, sum) = names(number);
    std::hint::black_box(storage.get(Space::Objects, &record).unwrap());
    batch.clear();
    batch.put(Space::Objects, &record, value);
    batch.put(Space::Dots, &line, &[5; 24]);
    batch.put(Space::Dots, &sum, &[9; 28]);
    storage.write(batch).unwrap();
}

/// A place for one side, empty, and removed at its end.
struct Place(PathBuf);

impl Place {
    fn new(root: &Path) -> Self {
        let path = root.join(format!("quorate-storages-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn load(storage: &mut dyn Storage, keys: u64, value: &[u8]) {
    let mut batch = Batch::new();
    for number in 0..keys {
        put(storage, &mut batch, number, value);
        if number % 1_000 == 999 {
            storage.sync().unwrap();
        }
    }
    storage.sync().unwrap();
}

/// Microseconds per put, so many of them between two syncs: of the clock, and of the CPU in all threads.
fn puts(engine: &Engine, root: &Path, keys: u64, value: usize, per: u64, time: Duration) -> (f64, f64) {
    let place = Place::new(root);
    let mut storage = (engine.open)(&place.0);
    let (value, mut batch, mut done) = (vec![3; value], Batch::new(), 0);
    load(&mut *storage, keys, &value);
    let (begun, cpu) = (Instant::now(), ProcessTime::now());
    while begun.elapsed() < time {
        for _ in 0..per {
            done += 1;
            put(&mut *storage, &mut batch, position(done) % keys, &value);
        }
        storage.sync().unwrap();
    }
    let per_put = |time: Duration| time.as_secs_f64() * 1e6 / done as f64;
    (per_put(begun.elapsed()), per_put(cpu.elapsed()))
}

/// Microseconds of a write of 4 KiB and `fdatasync`: the median, and the 99th percentile.
fn fdatasync(root: &Path, count: usize) -> (f64, f64) {
    let place = Place::new(root);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(place.0.join("file"))
        .unwrap();
    file.write_all(&vec![1; 4 << 20]).unwrap();
    file.sync_all().unwrap();
    let mut times: Vec<f64> = (0..count)
        .map(|at| {
            let begun = Instant::now();
            file.seek(SeekFrom::Start(position(at as u64) % 1_024 * 4096)).unwrap();
            file.write_all(&[at as u8; 4096]).unwrap();
            file.sync_data().unwrap();
            begun.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[count / 2], times[count * 99 / 100])
}

fn size(path: &Path) -> u64 {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| {
            if path.is_dir() {
                size(&path)
            } else {
                path.metadata().unwrap().len()
            }
        })
        .sum()
}

/// Opens, reads and scans what was loaded, and says how much room it takes.
fn at_rest(engine: &Engine, root: &Path, keys: u64) {
    let place = Place::new(root);
    let mut storage = (engine.open)(&place.0);
    let begun = Instant::now();
    load(&mut *storage, keys, &[3; 100]);
    let loaded = begun.elapsed();
    drop(storage);
    let bytes = size(&place.0);
    let begun = Instant::now();
    let storage = (engine.open)(&place.0);
    let opened = begun.elapsed();
    let gets = 200_000;
    let begun = Instant::now();
    for number in 0..gets {
        let (record, ..) = names(position(number) % keys);
        assert!(storage.get(Space::Objects, &record).unwrap().is_some());
    }
    let got = begun.elapsed().as_secs_f64() * 1e6 / gets as f64;
    let (begun, mut pairs) = (Instant::now(), 0_u64);
    let all = storage.scan(Space::Objects, &[], &mut |_, value| {
        pairs += u64::from(!value.is_empty());
        ControlFlow::Continue(())
    });
    all.unwrap();
    assert_eq!(pairs, keys);
    let scanned = begun.elapsed().as_secs_f64() * 1e6 / pairs as f64;
    println!(
        "| {} | {:.1} | {:.2} | {got:.2} | {scanned:.2} | {} |",
        engine.name,
        loaded.as_secs_f64(),
        opened.as_secs_f64(),
        bytes >> 20
    );
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (keys, time, many) = if quick {
        (10_000, 200, 50_000)
    } else {
        (20_000, 1_000, 1_000_000)
    };
    let (time, disk) = (Duration::from_millis(time), std::env::temp_dir());
    let memory = Some(PathBuf::from("/dev/shm")).filter(|path| path.is_dir());
    let (median, tail) = fdatasync(&disk, if quick { 50 } else { 300 });
    println!("write of 4 KiB and fdatasync: median {median:.0} µs, 99th percentile {tail:.0} µs\n");
    println!("µs per put and CPU µs per put, {keys} keys\n");
    print!("| where | value | puts per sync |");
    ENGINES.iter().for_each(|engine| print!(" {} |", engine.name));
    println!("\n|---|--:|--:|{}", "--:|".repeat(ENGINES.len()));
    for (root, name) in memory.iter().map(|path| (path, "memory")).chain([(&disk, "disk")]) {
        for value in [100, 1_024] {
            for per in [1, 16, 100] {
                print!("| {name} | {value} B | {per} |");
                for engine in ENGINES {
                    let (wall, cpu) = puts(engine, root, keys, value, per, time);
                    print!(" {wall:.1} · {cpu:.1} |");
                }
                println!();
            }
        }
    }
    let (median, tail) = fdatasync(&disk, if quick { 50 } else { 300 });
    println!("\nwrite of 4 KiB and fdatasync: median {median:.0} µs, 99th percentile {tail:.0} µs\n");
    println!("{many} keys, values of 100 B, on the disk\n");
    println!(
        "| | load, 1,000 puts per sync, s | open, s | get, µs | scan, µs per pair | MiB |\n|---|--:|--:|--:|--:|--:|"
    );
    for engine in ENGINES.iter().filter(|engine| engine.ships) {
        at_rest(engine, &disk, many);
    }
}
