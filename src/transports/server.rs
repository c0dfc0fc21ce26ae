//! A node that runs and is reached over the network: a server and its transport, put together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::config::NetworkConfig;
use super::status::NetworkEvent;
use super::tcp::{NetworkError, TcpTransport};
use crate::bytes::Bytes;
use crate::error::OpenError;
use crate::ids::NodeId;
use crate::members::MemberRecord;
use crate::node::{Event, Node, Setup};
use crate::runtime::{Client, Server, Stopped};
use crate::storage::Storage;
use crate::transport::Transport;

/// A [`Server`] over a [`TcpTransport`].
///
/// Where peers are it learns from [`NetworkConfig::addresses`], and for those that aren't there from gossip, if the node
/// takes part in it: members say there where they are reached, as `host:port`. Dropping it stops both without waiting.
pub struct NetworkServer<S: Storage + 'static> {
    server: Server<S>,
    transport: Arc<TcpTransport>,
}

/// Why no node came about. Nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkOpenError {
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The node.
    #[error(transparent)]
    Node(#[from] OpenError),
}

/// How long a stop waits for the transport's threads.
const STOP: Duration = Duration::from_secs(5);

impl<S: Storage + 'static> NetworkServer<S> {
    /// Listens, opens the node over `storages`, one per shard, and starts. The node reports to `on_event`, the transport
    /// to `on_network_event`.
    ///
    /// A node that takes part in gossip and doesn't say where it is reached says where it listens, unless that is at all
    /// addresses that the machine has.
    ///
    /// # Errors
    /// [`NetworkOpenError`]. Nothing was started.
    pub fn open(
        mut setup: Setup,
        storages: Vec<S>,
        config: NetworkConfig,
        on_event: impl Fn(Event) + Send + Sync + 'static,
        on_network_event: impl Fn(NetworkEvent) + Send + Sync + 'static,
    ) -> Result<Self, NetworkOpenError> {
        let frame = setup.limits.frame;
        let transport = Arc::new(TcpTransport::bind(setup.identity, setup.node, frame, config, on_network_event)?);
        let address = transport.local_address();
        if let Some(introduce) = setup.membership.as_mut().filter(|introduce| introduce.address.is_empty())
            && !address.ip().is_unspecified()
        {
            introduce.address = Bytes::from(address.to_string());
        }
        let server = Server::open(setup, storages, Arc::clone(&transport) as Arc<dyn Transport>, on_event)?;
        let inbound = server.inbound();
        transport.look_up(move |node| inbound.with_node(|own| said_by(own, node)).flatten());
        let own = server.with_node(|node| (node.start(), node.store()));
        let (start, store) = own.expect("it is there until the server has ended");
        let inbound = server.inbound();
        transport.start(start, store, move |from, messages| inbound.deliver(from, messages))?;
        Ok(Self { server, transport })
    }

    /// The node.
    #[must_use]
    pub const fn server(&self) -> &Server<S> {
        &self.server
    }

    /// A handle for requests through this node.
    #[must_use]
    pub fn client(&self) -> Client {
        self.server.client()
    }

    /// The transport.
    #[must_use]
    pub const fn transport(&self) -> &Arc<TcpTransport> {
        &self.transport
    }

    /// Stops in good order: the node as [`Server::stop`] does, then the transport, whose threads are waited for, up to
    /// five seconds.
    #[must_use]
    pub fn stop(self) -> Stopped<S> {
        // While requests come to their end the peers must be heard.
        let stopped = self.server.stop();
        self.transport.stop(STOP);
        stopped
    }

    /// Stops at once, as a crash would: nothing is synced, and what waits is not sent.
    #[must_use]
    pub fn kill(self) -> Stopped<S> {
        self.transport.stop(STOP);
        self.server.kill()
    }
}

/// Where a node says that it is reached.
fn said_by<S: Storage>(own: &Node<S>, node: NodeId) -> Option<String> {
    let address = own.membership()?.record(node).and_then(MemberRecord::presence)?.address.to_vec();
    String::from_utf8(address).ok().filter(|address| !address.is_empty())
}

impl<S: Storage + 'static> fmt::Debug for NetworkServer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetworkServer({:?}, {:?})", self.server, self.transport)
    }
}
