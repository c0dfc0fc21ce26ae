//! Failures, told in a few lines each: who puts, what breaks, what is expected.
#![cfg(feature = "sim")]

mod acknowledged;
mod admission;
mod clients;
mod damage;
mod deletes;
mod durability;
mod elastic;
mod exchange;
mod expiry;
mod failure;
mod handoff;
mod jepsen;
mod keyspaces;
mod names;
mod peers;
mod riak;
mod siblings;
mod writes;
