//! Failures, told in a few lines each: who puts, what breaks, what is expected.
#![cfg(feature = "sim")]

mod acknowledged;
mod peers;
mod siblings;
