//! How fast background work may go: as fast as those who wait for answers don't feel it (Dynamo §6.5).
//!
//! Work goes by slices. While a high percentile of the foreground's latency stays below a threshold, the pause between
//! two slices of a kind shrinks to nothing; above it the pause doubles, up to a bound: every kind gets on however busy
//! the node is.

use std::time::Duration;

use crate::histogram::{class, upper};
use crate::time::{Time, micros};

/// A kind of background work. Each has slices of its own: one that has much to do keeps no other waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// Batches of hints on their way home.
    Hints,
    /// Questions of exchanges.
    Exchange,
    /// Reading what is stored: for digest trees, scrubs, and what is left of a lost partition.
    Build,
    /// Settling residuals.
    Sweep,
}

/// What decides when the next slice may go. Fed with times, owns no timer.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    /// In microseconds, as all numbers here.
    threshold: u64,
    /// Of what was answered since the last judgement.
    latencies: Histogram,
    judged: Time,
    /// By what it was judged last.
    p99: Option<u64>,
    /// Between two slices of a kind. Zero is full speed.
    pause: u64,
    /// When the last slice of each kind went, and that of any.
    last: [Time; 4],
    latest: Time,
}

/// The longest pause: one slice of each kind a second, or nearly, is what a node can always afford.
const LONGEST: u64 = 1_000_000;
/// Shorter pauses are none: at full speed a slice follows the last within a round trip.
const SHORTEST: u64 = 4_000;
/// A judgement comes after so many answers: one slow one of a hundred is allowed for.
const ENOUGH: u64 = 100;
/// But no sooner than this: what was slowed down must show first.
const SOONEST: u64 = 250_000;
/// And no later: where little is asked, every slow answer counts.
const LATEST: u64 = 1_000_000;

impl Admission {
    /// At full speed. With a threshold of [`Duration::MAX`] it stays there.
    pub(crate) fn new(threshold: Duration, now: Time) -> Self {
        let (latencies, last) = (Histogram::default(), [Time::default(); 4]);
        Self {
            threshold: micros(threshold).max(1),
            latencies,
            judged: now,
            p99: None,
            pause: 0,
            last,
            latest: Time::default(),
        }
    }

    /// A request of a client, or one that a peer had forwarded, has been answered or has failed.
    pub(crate) fn answered(&mut self, began: Time, now: Time) {
        self.latencies.record(micros(now.since(began)));
        self.judge(now);
    }

    /// Whether a slice may go now; if not, when it is worth asking again. A slice that may go counts as gone.
    pub(crate) fn grant(&mut self, work: Work, now: Time) -> Result<(), Time> {
        self.judge(now);
        let last = &mut self.last[work as usize];
        // Kinds that wait for the same pause would all go at its end, and a request behind them waits for all.
        let apart = self.latest + Duration::from_micros(self.pause / 4);
        let due = apart.max(*last + Duration::from_micros(self.pause));
        if self.pause > 0 && now < due {
            return Err(due);
        }
        (*last, self.latest) = (now, now);
        Ok(())
    }

    /// The pause between two slices of a kind, the threshold, and the percentile by which it was judged last.
    pub(crate) const fn state(&self) -> (u64, u64, Option<u64>) {
        (self.pause, self.threshold, self.p99)
    }

    /// Begins anew with every judgement. What was answered at another pace says nothing of this one: the percentile of a
    /// whole minute would go on slowing down for a minute after it had helped, and only then see that it was too much.
    fn judge(&mut self, now: Time) {
        let passed = micros(now.since(self.judged));
        if passed < SOONEST || passed < LATEST && self.latencies.count < ENOUGH {
            return;
        }
        self.judged = now;
        self.p99 = self.latencies.p99();
        let Some(p99) = self.p99 else {
            // Nobody waits: full speed within ten seconds, but not at once. It may be that nothing gets through at all.
            let halvings = (passed / LATEST).min(63);
            return self.set(self.pause >> halvings);
        };
        self.latencies.clear();
        if p99 > self.threshold {
            let factor = if p99 / 2 > self.threshold { 4 } else { 2 };
            // From full speed doubling would begin with pauses that are shorter than a slice, and help nobody.
            self.set((self.pause * factor).max(self.threshold).max(SHORTEST));
        } else {
            // The less room is left the more carefully: it would swing about the threshold otherwise.
            let room = u128::from(self.threshold - p99);
            let shorter = u128::from(self.pause) * room / u128::from(self.threshold) / 3;
            self.set(self.pause - shorter as u64);
        }
    }

    fn set(&mut self, pause: u64) {
        self.pause = if pause < SHORTEST { 0 } else { pause.min(LONGEST) };
    }
}

/// Counts of durations by their size: eight classes for each doubling, so that a percentile is at most an eighth too high.
#[derive(Clone, Debug)]
struct Histogram {
    counts: [u32; Self::CLASSES],
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; Self::CLASSES], count: 0 }
    }
}

impl Histogram {
    /// Up to an hour, beyond which no deadline is told from another.
    const CLASSES: usize = 31 << Self::BITS;
    const BITS: u32 = 3;

    fn record(&mut self, value: u64) {
        let class = class(value, Self::BITS).min(Self::CLASSES - 1);
        self.counts[class] = self.counts[class].saturating_add(1);
        self.count += 1;
    }

    /// The least class whose values, with all below, are 99 of a hundred: its upper end. Nothing if there are none.
    fn p99(&self) -> Option<u64> {
        let rank = (self.count * 99).div_ceil(100);
        let mut seen = 0;
        let class = self.counts.iter().position(|&count| {
            seen += u64::from(count);
            count > 0 && seen >= rank
        })?;
        Some(upper(class, Self::BITS))
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    const THRESHOLD: Duration = Duration::from_millis(50);
    const ALL: [Work; 4] = [Work::Hints, Work::Exchange, Work::Build, Work::Sweep];

    /// So many seconds of a hundred answers each, that take so many milliseconds.
    fn seconds(admission: &mut Admission, from: u64, count: u64, latency: u64) -> u64 {
        for at in 0..count * 100 {
            let now = Time((from * 100 + at + 1) * 10_000);
            admission.answered(now - Duration::from_millis(latency), now);
        }
        from + count
    }

    #[test]
    fn classes_hold_what_they_say_and_are_an_eighth_wide() {
        let mut last = 0;
        for value in (0..100_000).chain((17..41).map(|bits| (1 << bits) + bits)) {
            let (class, upper) = (class(value, Histogram::BITS), upper(class(value, Histogram::BITS), Histogram::BITS));
            assert!(class >= last && upper >= value && upper - value <= value / 8);
            last = class;
        }
        assert_eq!(class(upper(100, Histogram::BITS) + 1, Histogram::BITS), 101);
    }

    #[test]
    fn one_slow_answer_of_a_hundred_is_allowed_for_and_two_are_not() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.p99(), None);
        (0..99).for_each(|_| histogram.record(1_000));
        histogram.record(u64::MAX);
        assert_eq!(histogram.p99(), Some(1_023));
        histogram.record(u64::MAX);
        assert!(histogram.p99().unwrap() > 2_000_000_000);
    }

    #[test]
    fn idle_it_grants_everything_at_once() {
        let mut admission = Admission::new(THRESHOLD, Time(0));
        for now in 0..1_000 {
            assert!(ALL.iter().all(|&work| admission.grant(work, Time(now)).is_ok()));
        }
        seconds(&mut admission, 0, 10, 40);
        assert!((0..100).all(|_| admission.grant(Work::Build, Time(10_000_000)).is_ok()), "nor below the threshold");
    }

    #[test]
    fn above_the_threshold_each_kind_has_one_slice_a_second_and_keeps_it() {
        let mut admission = Admission::new(THRESHOLD, Time(0));
        let from = seconds(&mut admission, 0, 10, 60);
        let mut slices = [0; 4];
        for second in from..from + 20 {
            for at in 0..100 {
                let now = Time(second * 1_000_000 + (at + 1) * 10_000);
                admission.answered(now - Duration::from_millis(60), now);
                for work in ALL {
                    slices[work as usize] += u64::from(admission.grant(work, now).is_ok());
                }
            }
        }
        assert!(slices.iter().all(|count| (18..=20).contains(count)), "{slices:?}");
        // Who is told to wait is told until when, and may go then.
        let now = Time((from + 21) * 1_000_000);
        assert_eq!(admission.grant(Work::Hints, now), Ok(()));
        let due = admission.grant(Work::Hints, now).unwrap_err();
        assert!(now < due && due <= now + Duration::from_secs(1));
        assert_eq!(admission.grant(Work::Hints, due), Ok(()));
    }

    #[test]
    fn it_is_back_at_full_speed_ten_seconds_after_the_last_slow_answer() {
        for (latency, count) in [(5, 20), (0, 0)] {
            let mut admission = Admission::new(THRESHOLD, Time(0));
            let slow = seconds(&mut admission, 0, 10, 200);
            let end = seconds(&mut admission, slow, count, latency).max(slow + 10);
            assert!((0..100).all(|_| admission.grant(Work::Sweep, Time(end * 1_000_000)).is_ok()));
        }
    }

    #[test]
    fn without_a_threshold_nothing_slows_it_down() {
        let mut admission = Admission::new(Duration::MAX, Time(0));
        let end = seconds(&mut admission, 0, 10, 10_000);
        assert!((0..100).all(|_| admission.grant(Work::Build, Time(end * 1_000_000)).is_ok()));
    }

    /// What became of a minute of a server that has requests and background work.
    struct Outcome {
        p99: Duration,
        /// When the work was done, in seconds.
        done: f64,
    }

    /// A server with one queue. Requests come as they come, 500 a second, and take it 1 ms each. Beside them all four
    /// kinds of work have something to do: 100 slices each, of 20 ms, one of a kind at a time.
    fn serve(admission: &mut Admission, slices: u32) -> Outcome {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
        let (mut now, mut arrival, mut done) = (0_u64, 0_u64, 0);
        let mut queue: VecDeque<Option<Work>> = VecDeque::new();
        let mut arrivals = VecDeque::new();
        let mut left = [slices; 4];
        let mut busy = [false; 4];
        let mut latencies = Vec::new();
        while now < 60_000_000 {
            while arrival <= now {
                queue.push_back(None);
                arrivals.push_back(arrival);
                arrival += (-f64::ln(rng.random_range(f64::MIN_POSITIVE..1.0)) * 2_000.0) as u64 + 1;
            }
            for work in ALL {
                let at = work as usize;
                if left[at] > 0 && !busy[at] && admission.grant(work, Time(now)).is_ok() {
                    queue.push_back(Some(work));
                    (left[at], busy[at]) = (left[at] - 1, true);
                }
            }
            match queue.pop_front() {
                Some(Some(work)) => {
                    now += 20_000;
                    busy[work as usize] = false;
                    done = now;
                }
                Some(None) => {
                    now += 1_000;
                    let began = arrivals.pop_front().unwrap();
                    // What is felt while there is work, once it could be noticed.
                    if left != [0; 4] && began > 2_000_000 {
                        latencies.push(now - began);
                    }
                    admission.answered(Time(began), Time(now));
                }
                None => now += 500,
            }
        }
        assert_eq!(left, [0; 4], "all work must be done within the minute");
        latencies.sort_unstable();
        let p99 = Duration::from_micros(latencies[latencies.len() * 99 / 100]);
        Outcome { p99, done: done as f64 / 1e6 }
    }

    #[test]
    fn a_busy_server_stays_near_the_threshold_and_gets_its_work_done() {
        let free = serve(&mut Admission::new(Duration::MAX, Time(0)), 100);
        let held = serve(&mut Admission::new(THRESHOLD, Time(0)), 100);
        let shown =
            format!("p99 {:?} and {:?}, done after {:.1} s and {:.1} s", free.p99, held.p99, free.done, held.done);
        assert!(free.p99 > 3 * THRESHOLD && held.p99 < 2 * THRESHOLD && held.done < 4.0 * free.done, "{shown}");
    }
}
