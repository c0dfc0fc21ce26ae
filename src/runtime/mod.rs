//! Threads, clocks and handles around a node: for programs that don't bring their own loop.
//!
//! A client's call steps the node in the caller's own thread when it is free; else the request is queued, and whoever
//! holds the node takes it along. In one process the transport does the same with the peers, so that a put wakes no
//! thread at all: waking one costs tens of microseconds, the put itself about one. A [`Server`] has one thread, for
//! timers.

#![allow(clippy::disallowed_methods, reason = "this is where clocks, threads and the system's randomness live")]

mod client;
mod clock;
mod cluster;
mod door;
#[cfg(feature = "tracing")]
mod emit;
mod inbound;
mod local;
mod membership;
mod pending;
#[cfg(feature = "metrics")]
mod publish;
mod server;
mod status;
mod sync;

pub use client::{Bucket, Client, Keys};
pub use cluster::{Cluster, ClusterBuilder};
pub use inbound::Inbound;
pub use local::LocalNetwork;
pub use pending::{Pending, PendingAll};
pub use server::{Server, Stopped};
