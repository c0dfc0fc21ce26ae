//! A session store: "timestamp based reconciliation" (Dynamo §6), while nodes crash, restart and are cut off.
//!
//! Every user has one session; each click reads it and writes it back with the context of what was read. The keyspace
//! reconciles with `LastWriteWins`: where a click's outcome stayed unknown and the next one could not know of it,
//! the later timestamp is shown. Expiry is the application's, for its minutes pass faster than those of any wall clock
//! (by that, `PutOptions::expires_after` does all of it): a session says until when it holds, a read ignores one that has
//! expired, and a sweeper deletes exactly what it saw, so that a session renewed meanwhile stays.
//!
//! `cargo run --release --example session_store` (`-- --quick` for a short run)

#![allow(clippy::disallowed_methods, reason = "an example may start threads and measure time")]

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use quorate::config::Timing;
use quorate::error::{self, GetError};
use quorate::runtime::Bucket;
use quorate::sim::SimDisk;
use quorate::{Cluster, Context, GetOptions, Keyspace, Mode, NodeId, Versions};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

const NODES: u64 = 5;
const THREADS: usize = 3;
/// A session that was not touched for so many minutes of the application's clock has expired.
const MINUTES: u64 = 3;

/// A user's browser: the only writer of its session.
struct User {
    key: String,
    clicks: u64,
    /// The newest click that the store has acknowledged, and until which minute its session holds.
    acknowledged: (u64, u64),
    context: Context,
}

static UNKNOWN: AtomicU64 = AtomicU64::new(0);
static SWEPT: AtomicU64 = AtomicU64::new(0);

/// What a session says: which click wrote it, and until which minute it holds.
fn session(read: &Versions) -> Option<(u64, u64)> {
    let (click, until) = std::str::from_utf8(read.value()?).ok()?.split_once(" until ")?;
    Some((click.parse().ok()?, until.parse().ok()?))
}

/// A node that is up, at random, but not the one that let the caller down.
fn any(cluster: &Cluster<SimDisk>, rng: &mut impl RngExt, avoid: Option<NodeId>) -> (NodeId, Bucket) {
    loop {
        let node = NodeId(rng.random_range(1..=NODES));
        let client = cluster.client(node).filter(|_| avoid != Some(node));
        if let Some(bucket) = client.and_then(|client| client.bucket("sessions")) {
            return (node, bucket);
        }
    }
}

/// One click; false if its outcome is unknown. It is not repeated at once: the next one, in a later millisecond, is
/// the later one by every clock.
fn click(user: &mut User, minute: u64, bucket: &Bucket) -> bool {
    let read = bucket.get(user.key.as_str()).wait().ok();
    let found = read.as_ref().and_then(session).filter(|(_, until)| *until >= minute);
    // Nothing, an expired session (whoever comes back logs in anew), or, for a sloppy read may miss the last write,
    // an older one: then the user goes on from what it knows itself.
    if let (Some(read), Some((click, _))) = (read, found)
        && click >= user.acknowledged.0
    {
        user.context = read.context;
    }
    user.clicks += 1;
    let new = (user.clicks, minute + MINUTES);
    match bucket.put(user.key.as_str(), format!("{} until {}", new.0, new.1), &user.context).wait() {
        Ok(written) => (user.acknowledged, user.context) = (new, written.context),
        Err(_) => _ = UNKNOWN.fetch_add(1, Relaxed),
    }
    user.acknowledged == new
}

fn read_strictly(bucket: &Bucket, key: &[u8]) -> Result<Versions, GetError> {
    bucket.get_with(key, GetOptions { mode: Some(Mode::Strict), ..GetOptions::default() }).wait()
}

/// Deletes the sessions that it sees expired. Where it meets an error it stops, and tries again a minute later.
fn sweep(bucket: &Bucket, minute: u64) -> Result<(), error::Error> {
    for key in bucket.keys() {
        let key = key?;
        let read = read_strictly(bucket, &key)?;
        if session(&read).is_some_and(|(_, until)| until < minute) {
            bucket.delete(key, &read.context).wait()?;
            SWEPT.fetch_add(1, Relaxed);
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (count, rounds) = if quick { (600, 6) } else { (6_000, 15) };
    let [deadline, fallback, suspect] = [100, 15, 40].map(Duration::from_millis);
    let cluster = Cluster::builder(NODES)
        .keyspace(Keyspace::timestamps("sessions"))
        .timing(Timing { deadline, fallback, suspect, ..Timing::default() })
        .start_with(|_, _| SimDisk::new())?;
    let new = |id| User { key: format!("user-{id}"), clicks: 0, acknowledged: (0, 0), context: Context::empty() };
    let mut users: Vec<User> = (0..count).map(new).collect();
    // Every fourth user leaves after a third of the time; half of these come back in the last minute.
    let away =
        |at: usize, minute| at.is_multiple_of(4) && minute > rounds / 3 && (at.is_multiple_of(8) || minute < rounds);
    for minute in 1..=rounds {
        let (crashed, cut) = (NodeId(minute % NODES + 1), NodeId((minute + 2) % NODES + 1));
        std::thread::scope(|scope| {
            let cluster = &cluster;
            let rng = move |thread| Xoshiro256PlusPlus::seed_from_u64(minute * 10 + thread);
            for (thread, part) in (0..).zip(users.chunks_mut(count / THREADS)) {
                scope.spawn(move || {
                    let (mut rng, mut avoid, eighth) = (rng(thread), None, part.len() / 8);
                    for (at, user) in part.iter_mut().enumerate() {
                        // The first thread breaks things in the middle of everybody's work.
                        match at / eighth {
                            1 if thread == 0 => cluster.crash(crashed, SimDisk::crash),
                            4 if thread == 0 => cluster.restart(crashed).expect("a crash damages nothing"),
                            5 if thread == 0 => cluster.isolate(cut, true),
                            7 if thread == 0 => cluster.isolate(cut, false),
                            _ => {}
                        }
                        let (node, bucket) = any(cluster, &mut rng, avoid);
                        if !away(at, minute) && !click(user, minute, &bucket) {
                            avoid = Some(node);
                        }
                    }
                });
            }
            scope.spawn(move || sweep(&any(cluster, &mut rng(9), None).1, minute));
        });
    }
    let (clicks, unknown) = (users.iter().map(|user| user.clicks).sum::<u64>(), UNKNOWN.load(Relaxed));
    println!(
        "{clicks} clicks of {count} users amid {rounds} crashes and {rounds} partitions, {unknown} of unknown outcome"
    );

    // Everybody is back. When the last hint is home the sweeper goes round once more.
    if !cluster.settle(Duration::from_secs(10)) {
        return Err("hints that don't come home".into());
    }
    let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
    sweep(&any(&cluster, rng, None).1, rounds)?;
    println!("{} expired sessions deleted, {} hints home", SWEPT.load(Relaxed), cluster.counters().hints_delivered);
    let mut alive = 0;
    for User { key, acknowledged: (click, until), .. } in &users {
        let read = read_strictly(&any(&cluster, rng, None).1, key.as_bytes())?;
        // What still holds must be there, as acknowledged or newer; what has expired must be gone.
        let right = match session(&read) {
            Some((found, holds)) => found >= *click && holds >= rounds,
            None => *until < rounds && read.values.is_empty(),
        };
        if !right {
            return Err(format!("{key} reads {:?}, acknowledged is click {click}", read.values).into());
        }
        alive += read.values.len();
    }
    println!(
        "checked: {alive} sessions show their newest acknowledged click or a newer one, {} are gone",
        count - alive
    );
    Ok(())
}
