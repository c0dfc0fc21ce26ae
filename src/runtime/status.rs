//! What a running node says of itself.

use super::clock;
use super::server::Server;
use crate::latencies::Latencies;
use crate::node::Node;
use crate::sla::{Advice, Model, Sla, SlaError, Trials, advise};
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

    /// Which R and W, with as many copies as the layout has, meet a need, by what this node has measured since it was
    /// opened ([`Model::measured`], whose assumptions hold for the rest), with puts that all W sync; `None` when the node
    /// has ended. What others would do, [`advise`] says of a [`Model`] that is made so and then changed.
    ///
    /// It takes [`Trials::default`], a good part of a second, in the thread that calls; the node goes on meanwhile. What was
    /// measured is of the requests that were made: where these were few, or of another kind than those to come, so is what
    /// is predicted.
    ///
    /// # Errors
    /// [`SlaError::Unmeasured`] before a peer has answered often enough, [`SlaError::Copies`] while too few have, and
    /// what is wrong with the need.
    #[must_use]
    pub fn predict(&self, sla: &Sla) -> Option<Result<Advice, SlaError>> {
        let measured = |node: &Node<S>| (node.latencies(), node.layout().members().len(), node.layout().n());
        let (latencies, members, copies) = self.with_node(measured)?;
        let nodes = u16::try_from(members).unwrap_or(u16::MAX);
        let model = Model::measured(&latencies, nodes);
        Some(model.and_then(|model| advise(sla, &model, copies..=copies, Trials::default())))
    }
}

#[cfg(test)]
mod tests {
    use crate::causality::Context;
    use crate::ids::NodeId;
    use crate::latencies::Phase;
    use crate::runtime::Cluster;
    use crate::sla::{Freshness, Sla, SlaError};

    #[test]
    fn a_server_predicts_from_what_its_node_has_measured() {
        let cluster = Cluster::builder(5).start().unwrap();
        let predict = |sla: &Sla| cluster.with_server(NodeId(1), |server| server.predict(sla).unwrap()).unwrap();
        let sla = Sla::default();
        assert_eq!(predict(&sla).unwrap_err(), SlaError::Unmeasured { least: 100 });
        let bucket = cluster.client(NodeId(1)).unwrap().bucket("default").unwrap();
        for key in 0..1_000 {
            let written = bucket.put(format!("k{key}"), "v", &Context::empty()).wait().unwrap();
            drop((written, bucket.get(format!("k{key}")).wait().unwrap()));
        }
        let all = predict(&sla).unwrap();
        assert_eq!(all.settings().len(), 9);
        // Nothing is needed: any setting will do, so it is the one with the fewest messages.
        let cheapest = all.best().unwrap().setting.prediction.quorum;
        assert_eq!(cheapest.r(), 1);
        let always = Some(Freshness { share: 1.0, after: std::time::Duration::ZERO });
        let advice = predict(&Sla { fresh: always, ..sla }).unwrap();
        assert!(advice.best().unwrap().setting.prediction.quorum.overlaps());
    }

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
