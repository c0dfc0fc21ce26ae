//! The network between openraft's nodes: the call of a function.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
};

use openraft::{
    RaftNetworkFactory, RaftNetworkV2,
    alias::{SnapshotOf, VoteOf},
    error::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse},
};

use super::{Node, Types};

/// Knows every node of the cluster, once they all exist.
#[derive(Clone, Default)]
pub(super) struct Router(Arc<OnceLock<Vec<Node>>>);

impl Router {
    pub(super) fn connect(&self, nodes: Vec<Node>) {
        assert!(self.0.set(nodes).is_ok(), "the nodes are connected once");
    }
}

impl RaftNetworkFactory<Types> for Router {
    type Network = Link;

    async fn new_client(&mut self, target: u64, (): &()) -> Link {
        let nodes = self.0.get().expect("no node talks before all are connected");
        Link(nodes[target as usize].clone())
    }
}

/// The way to one node.
pub(super) struct Link(Node);

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = ();

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        self.0
            .append_entries(rpc)
            .await
            .map_err(|e| Unreachable::new(&e).into())
    }

    async fn vote(&mut self, rpc: VoteRequest<Types>, _: RPCOption) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.0.vote(rpc).await.map_err(|e| Unreachable::new(&e).into())
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Types>,
        snapshot: SnapshotOf<Types, ()>,
        _cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        self.0
            .install_full_snapshot(vote, snapshot)
            .await
            .map_err(|e| Unreachable::new(&e).into())
    }
}
