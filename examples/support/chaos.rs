//! One node after another is crashed, and comes back.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use quorate::Cluster;
use quorate::sim::SimDisk;

/// Ends it when dropped.
pub(crate) struct Chaos {
    _until: Sender<()>,
}

/// Every `pause` a node is crashed, with the loss of what it had not synced; after as long it is started again, and the
/// next one is crashed at once.
pub(crate) fn start(cluster: Arc<Cluster<SimDisk>>, pause: Duration) -> Chaos {
    let (until, is_over) = channel();
    std::thread::spawn(move || {
        for (crashes, node) in (1_u64..).zip(cluster.members().into_iter().cycle()) {
            cluster.crash(node, SimDisk::crash);
            if crashes.is_power_of_two() {
                println!("chaos: {crashes} crashes");
            }
            let waited = is_over.recv_timeout(pause);
            if let Err(error) = cluster.restart(node) {
                eprintln!("chaos: {node} can't be started again: {error}");
                return;
            }
            if waited != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    });
    Chaos { _until: until }
}
