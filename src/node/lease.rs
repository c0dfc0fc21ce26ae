//! One at a time: who of those that keep hints for this node may send them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::ids::{NodeId, RequestId};
use crate::mutant::{self, Mutant};
use crate::time::Time;

/// Who may fill this shard now, and who comes next.
///
/// A node that comes back is missed by many: all of them at once would keep it from its clients. Nothing depends on the
/// lease but load, so it is in memory, and runs out by itself.
#[derive(Debug, Default)]
pub(super) struct Lease {
    holder: Option<Holder>,
    /// In order, each node once; with what it asked last, by which it is called.
    waiting: VecDeque<(NodeId, RequestId)>,
    /// Since when and until when this shard is filled, by one after the other.
    filled: Option<(Time, Time)>,
}

#[derive(Debug)]
struct Holder {
    node: NodeId,
    since: Time,
    until: Time,
}

/// A holder that has more and more to send goes to the end of the line after so many times the length of a lease.
const TURN: u32 = 16;

impl Lease {
    /// Whether a batch of `from` may be stored; if not, when the lease of another ends unless that goes on.
    pub(super) fn ask(
        &mut self,
        from: NodeId,
        request: RequestId,
        now: Time,
        length: Duration,
    ) -> Result<(), Duration> {
        if mutant::is(Mutant::TwoLeases) {
            return Ok(());
        }
        let until = now + length;
        match &mut self.holder {
            Some(holder) if holder.node != from && now < holder.until => {
                let left = holder.until.since(now);
                match self.waiting.iter_mut().find(|(node, _)| *node == from) {
                    Some((_, latest)) => *latest = request,
                    None => self.waiting.push_back((from, request)),
                }
                return Err(left);
            }
            Some(holder) if holder.node == from => holder.until = until,
            _ => self.holder = Some(Holder { node: from, since: now, until }),
        }
        self.waiting.retain(|(node, _)| *node != from);
        self.filled = Some((self.filled_since(now).unwrap_or(now), until));
        Ok(())
    }

    /// Since when hints have come in without a pause, if they do.
    pub(super) fn filled_since(&self, now: Time) -> Option<Time> {
        self.filled.filter(|&(_, until)| now < until).map(|(since, _)| since)
    }

    /// A batch of `from` is stored. Whom to call, if it was the last, or others have waited for long enough: the lease is
    /// kept for that one.
    pub(super) fn stored(
        &mut self,
        from: NodeId,
        last: bool,
        now: Time,
        length: Duration,
    ) -> Option<(NodeId, RequestId)> {
        let holder = self.holder.as_ref().filter(|holder| holder.node == from)?;
        if !last && (self.waiting.is_empty() || now.since(holder.since) < length * TURN) {
            return None;
        }
        let next = self.waiting.pop_front();
        self.holder = next.map(|(node, _)| Holder { node, since: now, until: now + length });
        if next.is_none() {
            self.filled = None;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Start;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);
    const LENGTH: Duration = Duration::from_micros(100);

    fn request(number: u64) -> RequestId {
        RequestId { start: Start(1), number }
    }

    fn ask(lease: &mut Lease, from: NodeId, number: u64, now: u64) -> Result<(), Duration> {
        lease.ask(from, request(number), Time(now), LENGTH)
    }

    #[test]
    fn others_wait_in_line_until_the_last_batch_and_are_called_then() {
        let mut lease = Lease::default();
        assert_eq!(ask(&mut lease, A, 1, 0), Ok(()));
        assert_eq!(ask(&mut lease, B, 2, 30), Err(Duration::from_micros(70)));
        assert_eq!(ask(&mut lease, C, 3, 40), Err(Duration::from_micros(60)));
        assert_eq!(ask(&mut lease, B, 4, 50), Err(Duration::from_micros(50)));
        assert_eq!(lease.stored(A, false, Time(60), LENGTH), None);
        assert_eq!(ask(&mut lease, A, 5, 60), Ok(()), "it goes on");
        assert_eq!(lease.stored(C, true, Time(61), LENGTH), None, "that is not the holder");
        assert_eq!(lease.stored(A, true, Time(70), LENGTH), Some((B, request(4))));
        // It is kept for the one that was called.
        assert_eq!(ask(&mut lease, A, 6, 80), Err(Duration::from_micros(90)));
        assert_eq!(ask(&mut lease, B, 4, 90), Ok(()));
        assert_eq!(lease.stored(B, true, Time(90), LENGTH), Some((C, request(3))));
        assert_eq!(lease.stored(C, true, Time(91), LENGTH), Some((A, request(6))));
        assert_eq!(lease.stored(A, true, Time(92), LENGTH), None);
        assert_eq!(ask(&mut lease, C, 7, 93), Ok(()));
    }

    #[test]
    fn a_holder_that_falls_silent_keeps_nobody_waiting_and_one_that_never_ends_does_not_either() {
        let mut lease = Lease::default();
        assert_eq!(ask(&mut lease, A, 1, 0), Ok(()));
        assert!(ask(&mut lease, B, 2, 99).is_err());
        assert_eq!(ask(&mut lease, B, 2, 100), Ok(()));
        // Nobody waits: it may go on for as long as it likes. Then somebody does.
        let mut now = 100;
        for _ in 0..100 {
            now += 50;
            assert_eq!(ask(&mut lease, B, 3, now), Ok(()));
            assert_eq!(lease.stored(B, false, Time(now), LENGTH), None);
        }
        assert!(ask(&mut lease, A, 4, now).is_err());
        assert_eq!(lease.stored(B, false, Time(now), LENGTH), Some((A, request(4))));
        assert!(ask(&mut lease, B, 5, now).is_err());
    }

    #[test]
    fn it_is_filled_from_the_first_batch_to_the_last_of_all_that_wait_or_until_they_fall_silent() {
        let mut lease = Lease::default();
        assert_eq!(lease.filled_since(Time(0)), None);
        assert_eq!(ask(&mut lease, A, 1, 10), Ok(()));
        assert_eq!(lease.filled_since(Time(10)), Some(Time(10)));
        assert!(ask(&mut lease, B, 2, 50).is_err());
        assert_eq!(ask(&mut lease, A, 3, 90), Ok(()));
        assert_eq!(lease.stored(A, true, Time(95), LENGTH), Some((B, request(2))));
        assert_eq!(ask(&mut lease, B, 2, 180), Ok(()));
        assert_eq!(lease.filled_since(Time(200)), Some(Time(10)));
        assert_eq!(lease.stored(B, true, Time(200), LENGTH), None);
        assert_eq!(lease.filled_since(Time(200)), None);
        assert_eq!(ask(&mut lease, B, 4, 210), Ok(()));
        assert_eq!([309, 310].map(|now| lease.filled_since(Time(now))), [Some(Time(210)), None]);
        assert_eq!(ask(&mut lease, A, 5, 400), Ok(()));
        assert_eq!(lease.filled_since(Time(401)), Some(Time(400)));
    }
}
