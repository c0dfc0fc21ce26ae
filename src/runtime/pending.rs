//! An answer that is on its way.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::request::Reply;

/// An answer that is on its way: wait for it, wait until a deadline, or await it on any executor.
///
/// Dropping it does not cancel the request.
#[must_use = "the request runs, but its outcome is not looked at"]
pub struct Pending<T> {
    slot: Arc<Slot>,
    read: fn(Reply) -> T,
}

/// Answers that are on their way, in the order of their requests.
#[must_use = "the requests run, but their outcomes are not looked at"]
pub struct PendingAll<T>(Vec<Pending<T>>);

/// Where an answer is put.
#[derive(Default)]
pub(super) struct Slot {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
enum State {
    #[default]
    Open,
    Awaited(Waker),
    /// A thread waits: only then is there anybody to wake.
    WaitedFor,
    Done(Reply),
    Taken,
}

impl Slot {
    pub(super) fn fill(&self, reply: Reply) {
        let old = std::mem::replace(&mut *self.state.lock(), State::Done(reply));
        match old {
            State::Awaited(waker) => waker.wake(),
            State::WaitedFor => {
                self.arrived.notify_all();
            }
            State::Open | State::Done(_) | State::Taken => {}
        }
    }
}

impl<T> Pending<T> {
    pub(super) fn new(slot: Arc<Slot>, read: fn(Reply) -> T) -> Self {
        Self { slot, read }
    }

    /// Blocks until the answer is there. It comes: every request has a deadline, and a server that stops says so.
    #[allow(clippy::must_use_candidate, reason = "what it returns says for itself whether it must be used")]
    pub fn wait(self) -> T {
        let mut state = self.slot.state.lock();
        loop {
            match std::mem::replace(&mut *state, State::WaitedFor) {
                State::Done(reply) => {
                    *state = State::Taken;
                    return (self.read)(reply);
                }
                State::Open | State::Awaited(_) | State::WaitedFor => self.slot.arrived.wait(&mut state),
                State::Taken => unreachable!("waiting takes the answer and the handle with it"),
            }
        }
    }

    /// Blocks until the answer is there, or for `timeout`.
    ///
    /// # Errors
    /// The handle itself, if the answer is not there yet; the request goes on.
    pub fn wait_for(self, timeout: Duration) -> Result<T, Self> {
        let until = Instant::now() + timeout;
        let mut state = self.slot.state.lock();
        loop {
            match std::mem::replace(&mut *state, State::WaitedFor) {
                State::Done(reply) => {
                    *state = State::Taken;
                    return Ok((self.read)(reply));
                }
                State::Open | State::Awaited(_) | State::WaitedFor => {
                    if self.slot.arrived.wait_until(&mut state, until).timed_out() && !matches!(*state, State::Done(_))
                    {
                        *state = State::Open;
                        drop(state);
                        return Err(self);
                    }
                }
                State::Taken => unreachable!("waiting takes the answer and the handle with it"),
            }
        }
    }

    /// Whether the answer is there.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(*self.slot.state.lock(), State::Done(_))
    }
}

impl<T> Future for Pending<T> {
    type Output = T;

    /// # Panics
    /// If it is polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = self.slot.state.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Done(reply) => Poll::Ready((self.read)(reply)),
            State::Open | State::Awaited(_) | State::WaitedFor => {
                *state = State::Awaited(context.waker().clone());
                Poll::Pending
            }
            State::Taken => panic!("polled after it was ready"),
        }
    }
}

impl<T> PendingAll<T> {
    pub(super) const fn new(list: Vec<Pending<T>>) -> Self {
        Self(list)
    }

    /// Blocks until all answers are there.
    pub fn wait(self) -> Vec<T> {
        self.0.into_iter().map(Pending::wait).collect()
    }

    /// The answers one by one.
    #[must_use]
    pub fn into_pendings(self) -> Vec<Pending<T>> {
        self.0
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_done() { "Pending(done)" } else { "Pending" })
    }
}

impl<T> fmt::Debug for PendingAll<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PendingAll({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    fn pending() -> (Arc<Slot>, Pending<bool>) {
        let slot = Arc::new(Slot::default());
        (Arc::clone(&slot), Pending::new(slot, |reply| matches!(reply, Reply::Get(Ok(_)))))
    }

    fn reply() -> Reply {
        Reply::Get(Ok(crate::request::Versions::default()))
    }

    #[test]
    fn an_answer_is_waited_for_across_threads() {
        let (slot, pending) = pending();
        let waiter = std::thread::spawn(move || pending.wait());
        slot.fill(reply());
        assert!(waiter.join().unwrap());
    }

    #[test]
    fn a_timeout_gives_the_handle_back() {
        let (slot, pending) = pending();
        let pending = pending.wait_for(Duration::from_millis(1)).unwrap_err();
        assert!(!pending.is_done());
        slot.fill(reply());
        assert!(pending.wait_for(Duration::ZERO).unwrap());
    }

    #[test]
    fn an_executor_is_woken_once() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let mut context = Context::from_waker(&waker);
        let (slot, mut pending) = pending();
        assert!(Pin::new(&mut pending).poll(&mut context).is_pending());
        slot.fill(reply());
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(Pin::new(&mut pending).poll(&mut context), Poll::Ready(true));
    }
}
