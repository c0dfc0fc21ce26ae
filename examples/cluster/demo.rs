//! What a newcomer sees: put, get, kill, return.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::client::{Answer, Client};
use crate::process::{Cluster, Shape};

const KEYS: usize = 200;

pub(crate) fn run(shape: &Shape, directory: &Path, keep: bool) -> io::Result<()> {
    let begun = Instant::now();
    let mut cluster = Cluster::start(shape, directory, keep)?;
    println!(
        "five nodes, N = 3, R = W = 2, each a process with a directory of its own: up after {:.1?}",
        begun.elapsed()
    );

    let mut first = Client::connect(cluster.nodes[0].clients)?;
    for at in 0..KEYS {
        expect(first.ask(&[b"SET", key(at).as_bytes(), b"one"])?, &Answer::Text("OK".into()))?;
    }
    println!("n1 was given {KEYS} keys");
    let mut fifth = Client::connect(cluster.nodes[4].clients)?;
    for at in 0..KEYS {
        expect(fifth.ask(&[b"GET", key(at).as_bytes()])?, &Answer::Bytes(b"one".to_vec()))?;
    }
    println!("n5 shows all of them");

    cluster.nodes[2].kill();
    println!("n3 was killed");
    let begun = Instant::now();
    for at in 0..KEYS {
        expect(first.ask(&[b"SET", key(at).as_bytes(), b"two"])?, &Answer::Text("OK".into()))?;
        expect(fifth.ask(&[b"GET", key(at).as_bytes()])?, &Answer::Bytes(b"two".to_vec()))?;
    }
    println!("n1 took new values for all, and n5 shows them: no error, {:.1?}", begun.elapsed());

    cluster.nodes[2].start()?;
    cluster.nodes[2].wait_until_there()?;
    println!("n3 is back");
    let begun = Instant::now();
    wait_until(Duration::from_secs(60), || cluster.debt() == Some(0))?;
    println!("nothing is owed to anybody any more after {:.1?}", begun.elapsed());
    let mut third = Client::connect(cluster.nodes[2].clients)?;
    for at in 0..KEYS {
        expect(third.ask(&[b"GET", key(at).as_bytes()])?, &Answer::Bytes(b"two".to_vec()))?;
    }
    println!("n3 shows what was written while it was away");
    drop((first, third, fifth));
    for node in &mut cluster.nodes {
        let status = node.terminate()?;
        if !status.success() {
            return Err(io::Error::other(format!("n{} ended with {status}", node.number)));
        }
    }
    println!("all have stopped in good order");
    Ok(())
}

fn key(at: usize) -> String {
    format!("key-{at}")
}

fn expect(answer: Answer, expected: &Answer) -> io::Result<()> {
    if answer == *expected { Ok(()) } else { Err(io::Error::other(format!("{answer:?} instead of {expected:?}"))) }
}

pub(crate) fn wait_until(limit: Duration, mut is_so: impl FnMut() -> bool) -> io::Result<()> {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > limit {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("not within {limit:?}")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
