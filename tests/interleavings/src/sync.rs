//! The names of `src/runtime/sync.rs`, by types whose every step the model checker can put in any order.
//!
//! The checker's own mutex is not used: a thread that is about to try it waits until it is free, so that a try would
//! hardly ever fail. Here a lock is an atomic flag, as in `parking_lot`, and a failing try may rest on a stale look.

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex as Plain, MutexGuard as PlainGuard};
use std::time::Duration;

pub use loom::sync::atomic::{Ordering, fence};

use crate::clock::{self, Instant};

macro_rules! atomics {
    ($($name:ident($type:ty),)*) => {
        $(/// Not dropped in the checker's sight: it does not know that the last one to let go of an `Arc` has seen what
        /// the others did.
        pub struct $name(ManuallyDrop<loom::sync::atomic::$name>);

        impl $name {
            pub fn new(value: $type) -> Self {
                Self(ManuallyDrop::new(loom::sync::atomic::$name::new(value)))
            }
        }

        impl Deref for $name {
            type Target = loom::sync::atomic::$name;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        })*
    };
}

atomics! {
    AtomicBool(bool),
    AtomicU64(u64),
    AtomicUsize(usize),
}

/// Threads that sleep, to be woken by whoever has made a step that the checker knows.
#[derive(Default)]
struct Sleepers(Plain<Vec<loom::thread::Thread>>);

impl Sleepers {
    fn add(&self) {
        self.0.lock().unwrap().push(loom::thread::current());
    }

    fn wake(&self, most: usize) {
        let mut sleepers = self.0.lock().unwrap();
        let count = most.min(sleepers.len());
        sleepers.drain(..count).for_each(|sleeper| sleeper.unpark());
    }

    fn remove(&self) -> bool {
        let mut sleepers = self.0.lock().unwrap();
        let (before, me) = (sleepers.len(), loom::thread::current().id());
        sleepers.retain(|sleeper| sleeper.id() != me);
        sleepers.len() < before
    }

    /// Sleeps until another thread takes this one off the list.
    fn sleep(&self) {
        let me = loom::thread::current().id();
        while self.0.lock().unwrap().iter().any(|sleeper| sleeper.id() == me) {
            loom::thread::park();
        }
    }
}

pub struct Mutex<T> {
    held: AtomicBool,
    sleepers: Sleepers,
    value: Plain<T>,
}

pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    value: Option<PlainGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Self { held: AtomicBool::new(false), sleepers: Sleepers::default(), value: Plain::new(value) }
    }

    fn value(&self) -> Option<PlainGuard<'_, T>> {
        Some(self.value.try_lock().expect("the flag keeps others out"))
    }

    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        // A look that need not see the latest, and only then a step that does.
        if self.held.load(Ordering::Relaxed) || !self.take() {
            return None;
        }
        Some(MutexGuard { mutex: self, value: self.value() })
    }

    fn take(&self) -> bool {
        self.held.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    fn acquire(&self) -> Option<PlainGuard<'_, T>> {
        while !self.take() {
            // No step of another thread comes between the failure and this.
            self.sleepers.add();
            self.sleepers.sleep();
        }
        self.value()
    }

    fn release(&self) {
        self.held.store(false, Ordering::Release);
        self.sleepers.wake(usize::MAX);
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { mutex: self, value: self.acquire() }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("it is held")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("it is held")
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.value = None;
        // What is torn down after a failure is past the checker's help.
        if !std::thread::panicking() {
            self.mutex.release();
        }
    }
}

pub struct Condvar {
    /// A step that the checker knows, lest it take a wait and a notice for independent.
    steps: AtomicUsize,
    sleepers: Sleepers,
}

pub struct Waited(bool);

impl Waited {
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    pub fn new() -> Self {
        Self { steps: AtomicUsize::new(0), sleepers: Sleepers::default() }
    }

    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.sleepers.add();
        guard.value = None;
        guard.mutex.release();
        self.sleepers.sleep();
        guard.value = guard.mutex.acquire();
    }

    /// Its time is up as soon as another thread may have come between; whether one has is the checker's choice.
    pub fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, until: Instant) -> Waited {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.sleepers.add();
        guard.value = None;
        guard.mutex.release();
        loom::thread::yield_now();
        clock::advance(until);
        guard.value = guard.mutex.acquire();
        self.steps.fetch_add(1, Ordering::Relaxed);
        Waited(self.sleepers.remove())
    }

    /// A sleep of a tick or longer does not end by itself: nothing may depend on it.
    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, time: Duration) -> Waited {
        if time < clock::TICK {
            return self.wait_until(guard, Instant::now() + time);
        }
        self.wait(guard);
        Waited(false)
    }

    pub fn notify_one(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.sleepers.wake(1);
    }

    pub fn notify_all(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.sleepers.wake(usize::MAX);
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

/// Readers keep one another out, which costs nothing: nobody reads for long.
#[derive(Default)]
pub struct RwLock<T>(Mutex<T>);

impl<T> RwLock<T> {
    pub fn read(&self) -> MutexGuard<'_, T> {
        self.0.lock()
    }

    pub fn write(&self) -> MutexGuard<'_, T> {
        self.0.lock()
    }
}

/// A queue that promises less than `crossbeam`'s: who looks need not see what was pushed, unless something else says
/// that it was before.
pub struct SegQueue<T> {
    pushed: AtomicUsize,
    popped: AtomicUsize,
    values: Plain<std::collections::VecDeque<T>>,
}

impl<T> SegQueue<T> {
    pub fn new() -> Self {
        Self { pushed: AtomicUsize::new(0), popped: AtomicUsize::new(0), values: Plain::default() }
    }

    pub fn push(&self, value: T) {
        self.pushed.fetch_add(1, Ordering::Release);
        // No step of another thread comes between.
        self.values.lock().unwrap().push_back(value);
    }

    pub fn pop(&self) -> Option<T> {
        loop {
            let popped = self.popped.load(Ordering::Acquire);
            if self.pushed.load(Ordering::Acquire) <= popped {
                return None;
            }
            if self.popped.compare_exchange(popped, popped + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return self.values.lock().unwrap().pop_front();
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        let popped = self.popped.load(Ordering::Acquire);
        self.pushed.load(Ordering::Acquire) <= popped
    }
}

pub mod thread {
    use std::cell::Cell;
    use std::time::Duration;

    std::thread_local! {
        static SPAWNS: Cell<bool> = const { Cell::new(true) };
    }

    /// What `work` spawns never runs: a thread more multiplies the orders.
    pub fn without<T>(work: impl FnOnce() -> T) -> T {
        SPAWNS.set(false);
        let result = work();
        SPAWNS.set(true);
        result
    }

    pub struct JoinHandle<T>(Option<loom::thread::JoinHandle<T>>);

    #[derive(PartialEq)]
    pub struct Thread(Option<loom::thread::ThreadId>);

    pub fn spawn(work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
        JoinHandle(SPAWNS.get().then(|| loom::thread::spawn(work)))
    }

    pub fn current() -> Thread {
        Thread(Some(loom::thread::current().id()))
    }

    pub fn park_timeout(_: Duration) {
        loom::thread::yield_now();
    }

    impl JoinHandle<()> {
        pub fn thread(&self) -> Thread {
            Thread(self.0.as_ref().map(|handle| handle.thread().id()))
        }

        pub fn join(self) -> std::thread::Result<()> {
            self.0.map_or(Ok(()), loom::thread::JoinHandle::join)
        }
    }

    impl Thread {
        pub fn id(&self) -> Option<loom::thread::ThreadId> {
            self.0
        }
    }
}

/// A variable of the model's thread: all of them run in one of the system's.
pub struct LocalKey<T: 'static>(pub &'static loom::thread::LocalKey<T>);

impl<T: 'static> LocalKey<std::cell::RefCell<T>> {
    pub fn with_borrow<R>(&'static self, work: impl FnOnce(&T) -> R) -> R {
        self.0.with(|value| work(&value.borrow()))
    }

    pub fn with_borrow_mut<R>(&'static self, work: impl FnOnce(&mut T) -> R) -> R {
        self.0.with(|value| work(&mut value.borrow_mut()))
    }
}

impl<T: 'static> LocalKey<std::cell::Cell<T>> {
    pub fn set(&'static self, value: T) {
        self.0.with(|cell| cell.set(value));
    }

    pub fn replace(&'static self, value: T) -> T {
        self.0.with(|cell| cell.replace(value))
    }
}

macro_rules! local_keys {
    ($(static $name:ident: $type:ty = $value:expr;)*) => {
        $(static $name: $crate::sync::LocalKey<$type> = {
            loom::thread_local! { static INNER: $type = $value; }
            $crate::sync::LocalKey(&INNER)
        };)*
    };
}
pub(crate) use local_keys as thread_local;
