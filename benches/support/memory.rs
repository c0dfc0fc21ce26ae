//! Memory per key and per partition: each figure from a process of its own, so that nothing freed is counted.

use std::process::Command;

use quorate::{Cluster, Context};

use super::cluster::bucket;
use super::keys::keys;
use super::process;

const VALUE: usize = 100;
const KEYS: [u32; 3] = [0, 100_000, 200_000];
const PARTITIONS: [u32; 3] = [256, 4_096, 65_536];

/// Starts a process for each figure, and prints differences.
pub(crate) fn report() {
    println!("resident memory of a process with three nodes in memory, keys of 16 bytes, values of {VALUE}");
    let of_keys = KEYS.map(|keys| show(PARTITIONS[0], keys));
    let of_partitions = PARTITIONS.map(|partitions| show(partitions, 0));
    let [_, few, many] = of_keys;
    if let (Some(few), Some(many)) = (few, many) {
        let each = per(few, many, KEYS[2] - KEYS[1]);
        println!(
            "a key takes {each:.0} bytes at three replicas, {:.0} at each; its own are {}",
            each / 3.0,
            16 + VALUE
        );
    }
    let [_, few, many] = of_partitions;
    if let (Some(few), Some(many)) = (few, many) {
        let each = per(few, many, PARTITIONS[2] - PARTITIONS[1]);
        println!("an idle partition takes {each:.0} bytes at three replicas, {:.0} at each", each / 3.0);
    }
}

fn show(partitions: u32, keys: u32) -> Option<u64> {
    let this = std::env::current_exe().ok()?;
    let output = Command::new(this).args(["--memory-of", &partitions.to_string(), &keys.to_string()]).output().ok()?;
    let bytes: Option<u64> = String::from_utf8(output.stdout).ok()?.trim().parse().ok();
    let text = bytes.map_or_else(|| "unknown".to_owned(), |bytes| format!("{:.2}", bytes as f64 / f64::from(1 << 20)));
    println!("{partitions:>7} partitions {keys:>7} keys {text:>9} MiB");
    bytes
}

fn per(few: u64, many: u64, count: u32) -> f64 {
    (many as f64 - few as f64) / f64::from(count)
}

/// Prints the resident bytes of a cluster with so many partitions and keys.
pub(crate) fn measure(partitions: &str, count: &str) -> Option<()> {
    let (partitions, count) = (partitions.parse().ok()?, count.parse().ok()?);
    let cluster = Cluster::builder(3).partitions(partitions).start().ok()?;
    let bucket = bucket(&cluster);
    for key in keys(count) {
        bucket.put(&key, &[7; VALUE], &Context::empty()).wait().ok()?;
    }
    println!("{}", process::resident()?);
    Some(())
}
