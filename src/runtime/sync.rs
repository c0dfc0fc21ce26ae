//! What threads meet at, by one name: `tests/interleavings` compiles the runtime with a model checker's types instead.

pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
pub(super) use std::{thread, thread_local};

pub(super) use crossbeam::queue::SegQueue;
pub(super) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
