//! Peers over TCP, and under TLS with the feature `tls`.
//!
//! [`NetworkServer`] is a node that is reached over the network; [`TcpTransport`] is its transport, for hosts that put
//! the two together themselves:
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//!
//! use quorate::storage::MemoryStorage;
//! use quorate::transports::{NetworkConfig, NetworkServer};
//! use quorate::{ClusterId, Context, Identity, Keyspace, Member, NodeId, Setup, causality::Secret, ring::plan_first};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The same on every node: the cluster's random id and secret, and its layout.
//! let identity = Identity { cluster: ClusterId(0x5a17), secret: Secret::new([7; 16]) };
//! let layout = Arc::new(plan_first(&[Member::new(NodeId(1))], 1, 16)?.layout);
//! let keyspace = Keyspace::new("carts").quorum(quorate::Quorum::new(1, 1, 1)?);
//!
//! let setup = Setup { founding: true, ..Setup::new(identity, NodeId(1), layout, vec![keyspace]) };
//! let addresses = BTreeMap::from([(NodeId(2), String::from("two.example:7000"))]);
//! let config = NetworkConfig { addresses, ..NetworkConfig::new("127.0.0.1:0") };
//! let node = NetworkServer::open(setup, vec![MemoryStorage::new()], config, |_| {}, |_| {})?;
//!
//! let carts = node.client().bucket("carts").expect("it is there");
//! carts.put("alice", "book", &Context::empty()).wait()?;
//! assert_eq!(node.transport().status().listening, node.transport().local_address().to_string());
//! node.stop();
//! # Ok(())
//! # }
//! ```
//!
//! # On the wire
//!
//! Each node dials the peers that it has something to say to, and a connection carries messages one way: from who dials.
//! So whoever writes to a connection is never who reads from it, and under TLS no session is shared. Both say who they
//! are before anything is decoded, in numbers that are little-endian:
//!
//! ```text
//! dials   → "QRTH" · length (2) · versions spoken: lowest (2), highest (2) · cluster (16) · to whom (8)
//!           · own node (8) · incarnation (8) · start (8) · store (16) · CRC-32 (4)
//! answers ← "QRTA" · length (2) · code (1) · version (2) · own node (8) · incarnation (8) · start (8) · store (16) · CRC-32 (4)
//! dials   → length (4) · frame of [`Codec`](crate::Codec), again and again; a length of zero is a pulse
//! answers ← one byte 0 for a pulse; any other byte is the code of a refusal, and the connection ends
//! ```
//!
//! The code is 0 for welcome, else that of a [`PeerRefusal`], and all that follows it is zero. `docs/PROTOCOL.md` says
//! what is refused when, what is lost when, and how certificates are made.
//!
//! # Threads, not tasks
//!
//! One thread for each connection that comes in, one for each peer that is spoken to, one that accepts. A sender writes
//! by itself, in the thread that steps the node, as long as the system takes it at once; the peer's thread dials, and
//! waits for whoever does not read. So a message costs one wake-up, of the thread that reads it at the other end, which
//! steps the node there.
//!
//! Embedders have threads, whatever else they have; a runtime for tasks would be one more for those who have none, and
//! two for those who have another. A cluster has tens of peers, seldom hundreds: their threads sleep, and take address
//! space. And tasks cost as much: `benches/network` measures round trips over loopback beside two minimal transports
//! without bounds or handshake:
//!
//! ```text
//! in flight      p50 us: tcp  tls  tokio  handed     CPU us/message: tcp   tls  tokio  handed
//!         1             26.3 30.7   25.9    48.3                    15.7  19.4   16.2    28.3
//!        16             67.6 75.3   67.8    92.4                     2.6   2.9    2.6     3.6
//!        64              196  227    195     220                     1.6   1.9    1.6     1.8
//! ```
//!
//! `tokio` is two workers, a task each way and end; `handed` is threads that hand what is sent to one that writes. Two
//! cores, medians of five runs of 40,000 trips, without link-time optimization. Others kept the machine busy (load 9 to
//! 11), so that p99 is mostly the scheduler's: with one in flight 1.8 ms here and 0.1 ms for tokio, whose worker finds the
//! other end's work itself where a thread of its own waits for a core; with 64 in flight 4.8 and 4.5 ms.

#![allow(clippy::disallowed_methods, reason = "sockets, threads and clocks are what this is made of")]

mod accept;
mod config;
mod dial;
mod handshake;
mod outbound;
mod server;
mod status;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod wire;

pub use config::{NetworkConfig, NetworkLimits, NetworkTiming};
pub use handshake::PeerRefusal;
pub use server::{NetworkOpenError, NetworkServer};
pub use status::{NetworkEvent, NetworkStatus, PeerStatus};
pub use tcp::{NetworkError, TcpTransport};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError};
