#![doc = include_str!("../README.md")]
#![deny(unreachable_pub)]
#![deny(clippy::print_stdout, clippy::print_stderr, reason = "a library reports by events and returns")]

mod admission;
mod ballot;
mod bytes;
pub mod causality;
pub mod change;
mod codec;
pub mod config;
mod coordinate;
pub mod detector;
mod dots;
#[cfg(feature = "redb")]
pub mod durable;
pub mod error;
mod exchange;
pub mod gossip;
mod hash;
mod hint;
pub mod histogram;
pub mod ids;
mod key;
pub mod latencies;
pub mod members;
pub mod merkle;
mod message;
#[cfg(feature = "mutants")]
pub mod mutant;
#[cfg(not(feature = "mutants"))]
mod mutant;
mod names;
mod naming;
mod node;
pub mod reconcile;
mod replica;
pub mod request;
pub mod ring;
pub mod router;
#[cfg(feature = "runtime")]
pub mod runtime;
#[cfg(feature = "sim")]
pub mod sim;
pub mod sla;
pub mod status;
pub mod storage;
#[cfg(feature = "sim")]
pub mod testing;
mod time;
pub mod trace;
mod transport;
#[cfg(feature = "tcp")]
pub mod transports;
pub mod verdict;
pub mod views;
mod wire;

/// The guide's code is compiled and run like the README's.
#[cfg(doctest)]
#[doc = include_str!("../docs/GUIDE.md")]
mod guide {}

pub use bytes::Bytes;
pub use causality::{Context, Identity};
pub use codec::Codec;
pub use config::{Mode, Quorum};
pub use error::Error;
pub use ids::{ClusterId, NodeId, Start, Ticket};
pub use message::Message;
pub use node::{Counters, Event, Input, Keyspace, Node, Output, Setup};
pub use request::{GetOptions, PutOptions, Reply, Request, Versions, Written};
pub use ring::{Layout, Member};
#[cfg(feature = "runtime")]
pub use runtime::{Client, Cluster, Pending, Server};
pub use time::{Now, Time, WallTime};
pub use transport::Transport;
