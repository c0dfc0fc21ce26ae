//! An answer that is on its way.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::clock::Instant;
use super::sync::{Condvar, Mutex};
use crate::error::{CompareError, GetError, ListError, PutError};
use crate::request::{Reply, Request};

/// An answer that is on its way: wait for it, wait until a deadline, or await it on any executor.
///
/// Dropping it does not cancel the request.
#[must_use = "the request runs, but its outcome is not looked at"]
pub struct Pending<T> {
    slot: Arc<Slot>,
    read: fn(Reply) -> T,
}

/// Answers that are on their way, in the order of their requests: wait for all, wait until a deadline, or await them.
///
/// Dropping it cancels nothing.
#[must_use = "the requests run, but their outcomes are not looked at"]
pub struct PendingAll<T> {
    list: Vec<Pending<T>>,
    /// So many of the first are known to be there, lest each look begin with them again.
    arrived: usize,
}

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
        debug_assert!(!matches!(old, State::Done(_) | State::Taken), "a request has one answer");
        match old {
            State::Awaited(waker) => waker.wake(),
            State::WaitedFor => {
                self.arrived.notify_all();
            }
            State::Open | State::Done(_) | State::Taken => {}
        }
    }

    /// Blocks until the answer is there, and leaves it; or until `until`. Tells whether it is there.
    pub(super) fn arrives(&self, until: Option<Instant>) -> bool {
        let mut state = self.state.lock();
        assert!(!matches!(*state, State::Taken), "waited for after it was ready");
        while !matches!(*state, State::Done(_)) {
            *state = State::WaitedFor;
            let timed_out = match until {
                Some(until) => self.arrived.wait_until(&mut state, until).timed_out(),
                None => {
                    self.arrived.wait(&mut state);
                    false
                }
            };
            if timed_out && !matches!(*state, State::Done(_)) {
                *state = State::Open;
                return false;
            }
        }
        true
    }
}

impl<T> Pending<T> {
    pub(super) fn new(slot: Arc<Slot>, read: fn(Reply) -> T) -> Self {
        Self { slot, read }
    }

    /// Blocks until the answer is there. It comes: every request has a deadline, and a server that stops says so.
    ///
    /// # Panics
    /// If it was polled until it was ready.
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
                State::Taken => panic!("waited for after it was ready"),
            }
        }
    }

    /// Blocks until the answer is there, or for `timeout`.
    ///
    /// # Errors
    /// The handle itself, if the answer is not there yet; the request goes on.
    ///
    /// # Panics
    /// If it was polled until it was ready.
    pub fn wait_for(self, timeout: Duration) -> Result<T, Self> {
        if self.slot.arrives(deadline(timeout)) { Ok(self.wait()) } else { Err(self) }
    }

    /// Whether the answer is there; if not, `context` is woken when it is.
    fn is_done_or_wakes(&self, context: &Context<'_>) -> bool {
        let mut state = self.slot.state.lock();
        let done = matches!(*state, State::Done(_));
        if !done {
            *state = State::Awaited(context.waker().clone());
        }
        done
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
        Self { list, arrived: 0 }
    }

    /// Blocks until all answers are there.
    pub fn wait(self) -> Vec<T> {
        self.list.into_iter().map(Pending::wait).collect()
    }

    /// Blocks until all answers are there, or for `timeout`.
    ///
    /// # Errors
    /// The handle itself with what has come so far, if answers are missing; the requests go on.
    pub fn wait_for(self, timeout: Duration) -> Result<Vec<T>, Self> {
        let until = deadline(timeout);
        if self.list.iter().all(|pending| pending.slot.arrives(until)) { Ok(self.wait()) } else { Err(self) }
    }

    /// The answers one by one.
    #[must_use]
    pub fn into_pendings(self) -> Vec<Pending<T>> {
        self.list
    }
}

// It holds answers by their handles, and never by a pinned place.
impl<T> Unpin for PendingAll<T> {}

impl<T> Future for PendingAll<T> {
    type Output = Vec<T>;

    /// All answers, in the order of their requests; none if it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Vec<T>> {
        while let Some(next) = self.list.get(self.arrived) {
            if !next.is_done_or_wakes(context) {
                return Poll::Pending;
            }
            self.arrived += 1;
        }
        self.arrived = 0;
        Poll::Ready(std::mem::take(&mut self.list).into_iter().map(Pending::wait).collect())
    }
}

/// When a wait that begins now ends; never, if that is later than any clock can tell.
fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_done() { "Pending(done)" } else { "Pending" })
    }
}

impl<T> fmt::Debug for PendingAll<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PendingAll({})", self.list.len())
    }
}

/// What is said to a request that a server does not take any more.
pub(super) fn stopped(request: &Request) -> Reply {
    match request {
        Request::Get { .. } => Reply::Get(Err(GetError::Stopped)),
        Request::Put { .. } => Reply::Put(Err(PutError::Stopped)),
        Request::List { .. } => Reply::List(Err(ListError::Stopped)),
        Request::Compare { .. } => Reply::Compared(Err(CompareError::Stopped)),
    }
}

/// What is said to a request for which there is no room.
pub(super) fn overloaded(request: &Request) -> Reply {
    match request {
        Request::Get { .. } => Reply::Get(Err(GetError::Overloaded)),
        Request::Put { .. } => Reply::Put(Err(PutError::Overloaded)),
        Request::List { .. } => Reply::List(Err(ListError::Overloaded)),
        Request::Compare { .. } => Reply::Compared(Err(CompareError::Overloaded)),
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
    fn a_timeout_beyond_all_measure_is_none() {
        let (slot, pending) = pending();
        slot.fill(reply());
        assert!(pending.wait_for(Duration::MAX).unwrap());
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

    #[test]
    #[should_panic = "waited for after it was ready"]
    fn an_answer_that_was_taken_is_not_waited_for() {
        let (slot, mut pending) = pending();
        slot.fill(reply());
        assert!(Pin::new(&mut pending).poll(&mut Context::from_waker(Waker::noop())).is_ready());
        let _ = pending.wait_for(Duration::MAX);
    }

    #[test]
    fn several_answers_are_waited_for_and_awaited_together_in_the_order_of_their_requests() {
        let (slots, list): (Vec<_>, Vec<_>) = (0..3).map(|_| pending()).unzip();
        let all = PendingAll::new(list);
        slots[2].fill(reply());
        let mut all = all.wait_for(Duration::from_millis(1)).unwrap_err();
        let mut context = Context::from_waker(Waker::noop());
        slots[0].fill(Reply::Put(Err(crate::error::PutError::Stopped)));
        assert!(Pin::new(&mut all).poll(&mut context).is_pending());
        slots[1].fill(reply());
        assert_eq!(Pin::new(&mut all).poll(&mut context), Poll::Ready(vec![false, true, true]));

        let (slots, list): (Vec<_>, Vec<_>) = (0..2).map(|_| pending()).unzip();
        slots.iter().for_each(|slot| slot.fill(reply()));
        assert_eq!(PendingAll::new(list).wait_for(Duration::ZERO).unwrap(), [true, true]);
    }
}
