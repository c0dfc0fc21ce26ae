//! What a running node says of itself.

use super::clock;
use super::server::Server;
use crate::latencies::Latencies;
use crate::node::Node;
use crate::status::Status;
use crate::storage::Storage;

/// What it says of itself.
impl<S: Storage + 'static> Server<S> {
    /// The node's [`Status`], and the length of the queue before it; `None` when it has ended. The node stands still while
    /// it is made: a walk over its partitions and all that is in progress.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        let mut status = self.with_node(|node| node.status(clock::now()))?;
        status.queues.inbox = Some(self.inbox_length() as u64);
        Some(status)
    }

    /// How long what it did took; `None` when it has ended.
    #[must_use]
    pub fn latencies(&self) -> Option<Latencies> {
        self.with_node(Node::latencies)
    }
}

#[cfg(test)]
mod tests {
    use crate::causality::Context;
    use crate::ids::NodeId;
    use crate::latencies::Phase;
    use crate::runtime::Cluster;

    #[test]
    fn a_server_times_what_its_node_is_not_told_the_time_of() {
        let cluster = Cluster::builder(3).start().unwrap();
        let bucket = cluster.client(NodeId(1)).unwrap().bucket("default").unwrap();
        for key in 0..10 {
            let _ = bucket.put(format!("k{key}"), "v", &Context::empty()).wait().unwrap();
        }
        let many = (0..10).map(|key| (format!("m{key}"), "v", Context::empty()));
        bucket.put_many(many).wait().into_iter().for_each(|written| drop(written.unwrap()));
        let (status, latencies) =
            cluster.with_server(NodeId(1), |server| (server.status().unwrap(), server.latencies().unwrap())).unwrap();
        assert_eq!((status.counters.puts, status.latencies["put"].count), (20, 20));
        assert_eq!(latencies.of(Phase::Queued).count(), 20);
        assert_eq!(latencies.of(Phase::Sync).count(), status.counters.commits);
        assert_eq!((status.identity.node, status.queues.inbox), (1, Some(0)));
    }
}
