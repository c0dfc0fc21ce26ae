//! A cluster in one thread, on a virtual clock: the shipped code, a network and disks that misbehave by a seed.
//!
//! A story reads like one:
//!
//! ```
//! use quorate::sim::Sim;
//!
//! let mut sim = Sim::new(5, 42);                        // five nodes, seed 42; N = 3, R = W = 2
//! let [a, ..] = sim.owners("cart")[..] else { unreachable!() };
//! let bystander = sim.bystanders("cart")[0];
//! sim.crash(a);
//! sim.put(bystander, "cart", "book").unwrap();          // always writeable
//! assert!(sim.holders("cart").len() >= 2);
//! sim.restart(a);
//! sim.settle();                                         // the hint goes home
//! assert_eq!(sim.stored(a, "cart"), ["book"]);
//! ```
//! The same seed and the same calls give the same run, byte for byte: [`Sim::trace`] is its fingerprint.

pub mod campaign;
pub mod change;
mod disk;
pub mod linear;
mod network;
mod recording;
mod world;

pub use disk::{DiskFault, DiskFaults, SimDisk};
pub use network::Network;
pub use recording::Recording;
pub use world::{Clock, DiskTime, ServiceTime, Sim, SimBuilder, Traffic};
