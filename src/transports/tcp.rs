//! The transport itself: what all its threads share, and what its host calls.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex, RwLock};
use rand::TryRng;
use rand::rngs::SysRng;

use super::accept::{Connections, accept};
use super::config::{NetworkConfig, NetworkLimits, NetworkTiming};
use super::handshake::{Introduction, PeerRefusal};
use super::outbound::Peer;
use super::status::{NetworkEvent, NetworkStatus};
#[cfg(feature = "tls")]
use super::tls::Tls;
use crate::causality::Identity;
use crate::codec::Codec;
use crate::ids::{ClusterId, NodeId, Start, StoreId};
use crate::message::Message;
use crate::time::micros;
use crate::transport::Transport;

/// Peers over TCP, plain or under TLS. See [the module](super) for what goes over the wire.
///
/// Bound, it listens, and keeps what is sent; started, it dials and takes connections. Dropping it stops it without
/// waiting for its threads.
pub struct TcpTransport {
    inner: Arc<Inner>,
    address: SocketAddr,
    listener: Mutex<Option<TcpListener>>,
}

/// Why no transport came about, or no longer is. Nothing is listening.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The address can't be listened at.
    #[error("{address:?} can't be listened at: {error}")]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        error: io::Error,
    },
    /// The system has no thread for it.
    #[error("no thread can be started")]
    NoThread,
    /// It has been started before, or stopped.
    #[error("the transport has been started before")]
    Started,
    /// The certificate is not one for this node of this cluster.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] super::tls::TlsError),
}

/// What all threads of a transport share.
pub(super) struct Inner {
    pub(super) node: NodeId,
    pub(super) cluster: ClusterId,
    pub(super) codec: Codec,
    pub(super) limits: NetworkLimits,
    pub(super) timing: NetworkTiming,
    pub(super) inbound: Connections,
    incarnation: u64,
    started: OnceLock<Started>,
    stopped: AtomicBool,
    addresses: RwLock<BTreeMap<NodeId, String>>,
    lookup: OnceLock<Box<Lookup>>,
    peers: RwLock<BTreeMap<NodeId, Arc<Peer>>>,
    refused: Mutex<BTreeMap<PeerRefusal, u64>>,
    dropped: AtomicU64,
    threads: Arc<Threads>,
    on_event: Box<dyn Fn(NetworkEvent) + Send + Sync>,
    #[cfg(feature = "tls")]
    tls: RwLock<Option<Tls>>,
}

type Lookup = dyn Fn(NodeId) -> Option<String> + Send + Sync;
type Deliver = dyn Fn(NodeId, Vec<Message>) + Send + Sync;

struct Started {
    start: Start,
    store: StoreId,
    deliver: Box<Deliver>,
}

/// How many threads run, to know when all have ended.
#[derive(Default)]
struct Threads {
    running: Mutex<usize>,
    ended: Condvar,
}

impl TcpTransport {
    /// Listens for the node `node` of a cluster, with frames of at most `frame` bytes
    /// ([`Limits::frame`](crate::config::Limits::frame)), and reports to `on_event`. Nobody is answered and nobody is
    /// dialled before [`TcpTransport::start`].
    ///
    /// # Errors
    /// [`NetworkError::Listen`] if the address can't be listened at, [`NetworkError::Tls`] if the certificate is not the
    /// node's.
    pub fn bind(
        identity: Identity,
        node: NodeId,
        frame: usize,
        config: NetworkConfig,
        on_event: impl Fn(NetworkEvent) + Send + Sync + 'static,
    ) -> Result<Self, NetworkError> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &config.tls {
            tls.check(identity.cluster, node)?;
        }
        let failed = |error| NetworkError::Listen { address: config.listen.clone(), error };
        let listener = TcpListener::bind(&config.listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let inner = Inner {
            node,
            cluster: identity.cluster,
            codec: Codec::new(identity, frame),
            limits: config.limits,
            timing: config.timing.at_least_a_millisecond(),
            inbound: Connections::default(),
            incarnation: config.incarnation.unwrap_or_else(wall),
            started: OnceLock::new(),
            stopped: AtomicBool::new(false),
            addresses: RwLock::new(config.addresses),
            lookup: OnceLock::new(),
            peers: RwLock::default(),
            refused: Mutex::default(),
            dropped: AtomicU64::new(0),
            threads: Arc::default(),
            on_event: Box::new(on_event),
            #[cfg(feature = "tls")]
            tls: RwLock::new(config.tls),
        };
        Ok(Self { inner: Arc::new(inner), address, listener: Mutex::new(Some(listener)) })
    }

    /// Takes connections from now on, and dials. `start` and `store` are those of the node that sends through it: they
    /// go into each handshake, and into the peers' [`super::PeerStatus`]. `deliver` takes what peers say, each peer's in a
    /// thread of its own; while it does not return, nothing more is read from that peer, who is held up.
    ///
    /// # Errors
    /// [`NetworkError::Started`] if it has been started before, [`NetworkError::NoThread`].
    pub fn start(
        &self,
        start: Start,
        store: Option<StoreId>,
        deliver: impl Fn(NodeId, Vec<Message>) + Send + Sync + 'static,
    ) -> Result<(), NetworkError> {
        let listener = self.listener.lock().take().ok_or(NetworkError::Started)?;
        let started = Started { start, store: store.unwrap_or(StoreId(0)), deliver: Box::new(deliver) };
        if self.inner.started.set(started).is_err() {
            return Err(NetworkError::Started);
        }
        let inner = Arc::clone(&self.inner);
        if !self.inner.spawn(move || accept(&inner, &listener)) {
            return Err(NetworkError::NoThread);
        }
        // What was sent before waits.
        let peers: Vec<_> = self.inner.peers.read().values().cloned().collect();
        peers.iter().for_each(|peer| peer.begin(&self.inner));
        Ok(())
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Says where a peer listens, or that the host does not know any more. A connection to another address ends; what
    /// waits goes to the new one. Without a new one a connection that stands, stands.
    pub fn set_address(&self, node: NodeId, address: Option<String>) {
        let changed = {
            let mut addresses = self.inner.addresses.write();
            let former = match &address {
                Some(address) => addresses.insert(node, address.clone()),
                None => addresses.remove(&node),
            };
            former != address
        };
        // Gossip is not asked here: whoever calls may hold the node that knows it.
        if changed
            && let Some(address) = &address
            && let Some(peer) = self.inner.known(node)
        {
            peer.moved(&self.inner, address);
        }
    }

    /// Asks `lookup` for the addresses of peers that it wasn't told, at each dial, in a thread of its own: gossip may
    /// know them. The first such call counts.
    pub fn look_up(&self, lookup: impl Fn(NodeId) -> Option<String> + Send + Sync + 'static) {
        let _ = self.inner.lookup.set(Box::new(lookup));
    }

    /// Other certificates, for connections that are made from now on. Those that stand, stand.
    ///
    /// # Errors
    /// [`super::TlsError`] if the certificate is not this node's; nothing was changed.
    #[cfg(feature = "tls")]
    pub fn set_tls(&self, tls: Tls) -> Result<(), super::TlsError> {
        tls.check(self.inner.cluster, self.inner.node)?;
        *self.inner.tls.write() = Some(tls);
        Ok(())
    }

    /// Its figures.
    #[must_use]
    pub fn status(&self) -> NetworkStatus {
        let (inbound, shaking, accept_errors) = self.inner.inbound.counts();
        // One lock at a time: each of these is taken by threads that hold another.
        let refused = self.inner.refused.lock().clone();
        let peers: Vec<_> = self.inner.peers.read().values().cloned().collect();
        NetworkStatus {
            listening: self.address.to_string(),
            inbound,
            shaking,
            refused,
            accept_errors,
            dropped: self.inner.dropped.load(Ordering::Relaxed),
            peers: peers.iter().map(|peer| peer.status()).collect(),
        }
    }

    /// Ends all connections, and waits until its threads have ended, no longer than `within`. False if some have not:
    /// one that resolves a name, dials, or hands on what it read, ends when that returns.
    ///
    /// What was written is on its way; what waited is dropped and counted.
    pub fn stop(&self, within: Duration) -> bool {
        self.end();
        self.inner.threads.wait(within)
    }

    fn end(&self) {
        if self.inner.stopped.swap(true, Ordering::SeqCst) {
            return;
        }
        self.inner.inbound.stop();
        let peers: Vec<_> = self.inner.peers.read().values().cloned().collect();
        peers.iter().for_each(|peer| peer.stop());
        if self.listener.lock().take().is_none() {
            // The thread that accepts waits in the system, and can only be woken by a connection.
            let mut address = self.address;
            if address.ip().is_unspecified() {
                address.set_ip(match address {
                    SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                    SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
                });
            }
            let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
        }
    }
}

impl Transport for TcpTransport {
    fn send(&self, to: NodeId, messages: &mut Vec<Message>) {
        if messages.is_empty() || self.inner.stopped.load(Ordering::Relaxed) {
            return;
        }
        match self.inner.peer(to) {
            Some(peer) => peer.send(&self.inner, messages),
            None => {
                self.inner.dropped.fetch_add(messages.len() as u64, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for TcpTransport {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpTransport({} at {})", self.inner.node, self.address)
    }
}

impl Inner {
    /// Started and not stopped.
    pub(super) fn is_running(&self) -> bool {
        self.started.get().is_some() && !self.stopped.load(Ordering::SeqCst)
    }

    pub(super) fn introduction(&self) -> Introduction {
        let (start, store) = self.started.get().map_or((Start(0), StoreId(0)), |own| (own.start, own.store));
        Introduction { node: self.node, incarnation: self.incarnation, start, store }
    }

    pub(super) fn deliver(&self, from: NodeId, messages: Vec<Message>) {
        if let Some(started) = self.started.get() {
            (started.deliver)(from, messages);
        }
    }

    pub(super) fn address_of(&self, node: NodeId) -> Option<String> {
        let told = self.addresses.read().get(&node).cloned();
        told.or_else(|| self.lookup.get()?(node))
    }

    /// The way to a peer, if it is known.
    pub(super) fn known(&self, node: NodeId) -> Option<Arc<Peer>> {
        self.peers.read().get(&node).cloned()
    }

    /// The way to a peer, unless there are too many.
    pub(super) fn peer(&self, node: NodeId) -> Option<Arc<Peer>> {
        if let Some(peer) = self.known(node) {
            return Some(peer);
        }
        let mut peers = self.peers.write();
        if peers.len() >= self.limits.peers && !peers.contains_key(&node) {
            return None;
        }
        Some(Arc::clone(peers.entry(node).or_insert_with(|| Arc::new(Peer::new(node)))))
    }

    pub(super) fn report(&self, event: NetworkEvent) {
        (self.on_event)(event);
    }

    /// Counts and reports that somebody was turned away.
    pub(super) fn refuse(&self, node: Option<NodeId>, address: SocketAddr, refusal: PeerRefusal) {
        self.count(refusal);
        self.report(NetworkEvent::Refused { node, address: address.to_string(), refusal });
    }

    pub(super) fn count(&self, refusal: PeerRefusal) {
        *self.refused.lock().entry(refusal).or_default() += 1;
    }

    #[cfg(feature = "tls")]
    pub(super) fn tls(&self) -> Option<Tls> {
        self.tls.read().clone()
    }

    #[cfg(feature = "tls")]
    pub(super) fn is_secure(&self) -> bool {
        self.tls.read().is_some()
    }

    /// Starts a thread that `stop` waits for. False if the system has none.
    pub(super) fn spawn(&self, work: impl FnOnce() + Send + 'static) -> bool {
        let running = Running(Arc::clone(&self.threads));
        *running.0.running.lock() += 1;
        let named = thread::Builder::new().name(format!("quorate {}", self.node));
        named
            .spawn(move || {
                let _running = running;
                work();
            })
            .is_ok()
    }
}

/// A thread that counts, until it is dropped.
struct Running(Arc<Threads>);

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.running.lock() -= 1;
        self.0.ended.notify_all();
    }
}

impl Threads {
    fn wait(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        let mut running = self.running.lock();
        while *running > 0 {
            if self.ended.wait_until(&mut running, until).timed_out() {
                return *running == 0;
            }
        }
        true
    }
}

/// Between half of it and all, so that many who wait for the same don't come at once.
pub(super) fn jitter(pause: Duration) -> Duration {
    let half = pause / 2;
    let parts = SysRng.try_next_u64().unwrap_or(0) % 1_000;
    half + half * (parts as u32) / 1_000
}

/// Microseconds since 1970.
pub(super) fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, micros)
}
