//! Which peers don't answer: an accrual failure detector over tries, local to the node that runs it (Dynamo §4.8.3).
//!
//! Accrual detectors (Hayashibara 2004) judge the time since the last heartbeat by how regularly heartbeats came. Here
//! there are none: what is heard of a peer is what it was asked for, at the pace of the clients. So it is tries that
//! count. A try is something that wants an answer; one that has none after the peer's patience (twice its 95th percentile
//! of latency) has failed. How often tries at this peer fail while it is alive is learned, and each failed one in a row
//! adds that much: φ = −log₁₀ of the chance that a peer that is alive answers none of them. Where nothing is lost a few
//! tries tell, where a third of all messages is lost it takes ten.
//!
//! A peer that is waited for is probed again when a try has failed, and one that has been quiet is probed now and then,
//! so that the time to notice has a bound; the probes of quiet peers are as many a second in a large cluster as in a
//! small one. While the node itself stands still nothing counts: time beyond a wake-up that came late is taken out, and
//! what arrived meanwhile is read before anybody is judged.
//!
//! What comes of it stays here: it is never told to others, and never changes a layout.

use std::time::Duration;

use crate::mutant::{self, Mutant};
use crate::time::{Time, micros};

mod latency;

use latency::Latency;

/// What a node knows of its peers' health, by their index. Told the time, owns no timer.
#[derive(Clone, Debug)]
pub struct Detector {
    settings: DetectorSettings,
    peers: Vec<Peer>,
    /// When [`wake`](Self::wake) is due.
    due: Option<Time>,
    /// For how long this node stood still, in total.
    stood: Duration,
    /// Nobody is judged before: what came while this node stood still is to be read first.
    hold: Time,
    /// The last wake-up came late, and the next one after it has not come in time.
    late: bool,
    /// When the last probe of a quiet peer was given out, in running time.
    last_quiet: Time,
}

/// When a peer is probed and suspected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DetectorSettings {
    /// The least silence after a try before a peer is suspected, and the most that a try is waited for. Default 250 ms.
    pub silence: Duration,
    /// The least that a try is waited for. Default 50 ms.
    pub retry: Duration,
    /// Suspects at this φ, in thousandths. Default 3,000: of a thousand silences of a peer that is alive one is taken
    /// for its end, which costs a detour and a probe.
    pub threshold: u32,
    /// A peer that was not heard for so long is probed. Default 1 s, as often as gossip. [`Duration::MAX`]: never.
    pub quiet: Duration,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        Self {
            silence: Duration::from_millis(250),
            retry: Duration::from_millis(50),
            threshold: 3_000,
            quiet: Duration::from_secs(1),
        }
    }
}

/// What a wake-up came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Woken {
    /// Peers that are suspected from now on.
    pub suspected: Vec<usize>,
    /// Peers to send a probe to. Each is to be told with [`Detector::asked`] when it has left.
    pub probe: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Peer {
    suspected: bool,
    /// Neither probed nor judged.
    ignored: bool,
    /// The first try since anything was heard, and the last, in running time.
    waiting: Option<(Time, Time)>,
    /// Tries since anything was heard.
    tries: u32,
    /// When it was heard last, or asked for, in running time.
    quiet_since: Time,
    /// How many tries in 1,024 fail while the peer is alive.
    failing: u32,
    latency: Latency,
}

/// At most this many quiet peers are probed in the time after which one is quiet.
const QUIET_PROBES: u32 = 8;
/// A wake-up that comes so much too late shows that this node stood still.
const LATE: Duration = Duration::from_millis(10);
/// How much a failed try says at least: of a peer at which half of all tries fail.
const LEAST: u32 = 301;

impl Peer {
    /// A tenth of all tries may fail, until more is known.
    fn new(now: Time) -> Self {
        Self {
            suspected: false,
            ignored: false,
            waiting: None,
            tries: 0,
            quiet_since: now,
            failing: 102,
            latency: Latency::default(),
        }
    }

    /// What a failed try says, in thousandths of φ: −log₁₀ of how many fail anyway, rounded to the careful side.
    const fn weight(&self) -> u32 {
        match self.failing {
            0..=51 => 1_301,
            52..=102 => 1_000,
            103..=154 => 824,
            155..=205 => 699,
            206..=307 => 523,
            308..=410 => 398,
            _ => LEAST,
        }
    }

    /// A try that failed, or didn't, while the peer was alive.
    fn learn(&mut self, failed: bool) {
        let seen = if failed { 1_024 } else { 0 };
        // Between a twentieth, lest one lost message be taken for an end, and a half, lest an end be taken for loss.
        self.failing = ((self.failing * 31 + seen) / 32).clamp(51, 512);
    }

    fn patience(&self, settings: &DetectorSettings) -> Duration {
        let usual = self.latency.p95().unwrap_or_else(|| self.latency.typical().saturating_mul(2));
        usual.saturating_mul(2).max(settings.retry).min(settings.silence.max(settings.retry))
    }

    /// How many tries have failed by now.
    fn failed(&self, settings: &DetectorSettings, running: Time) -> u32 {
        let Some((_, last)) = self.waiting else { return 0 };
        self.tries - u32::from(running.since(last) < self.patience(settings))
    }

    const fn is_watched(&self) -> bool {
        !self.suspected && !self.ignored
    }

    fn is_gone(&self, settings: &DetectorSettings, running: Time) -> bool {
        let silent = self.waiting.is_some_and(|(first, _)| running.since(first) >= settings.silence);
        silent && !self.ignored && self.failed(settings, running).saturating_mul(self.weight()) >= settings.threshold
    }
}

impl Detector {
    /// Nothing is known of any of `count` peers: they are taken to be well.
    #[must_use]
    pub fn new(count: usize, settings: DetectorSettings, now: Time) -> Self {
        let mut own = Self {
            settings,
            peers: vec![Peer::new(now); count],
            due: None,
            stood: Duration::ZERO,
            hold: now,
            late: false,
            last_quiet: now,
        };
        own.due = own.next_due(now);
        own
    }

    /// How many peers there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// One peer more, by the next index.
    pub fn add(&mut self, now: Time) {
        self.step(now);
        self.peers.push(Peer::new(self.running(now)));
        self.due = self.next_due(now);
    }

    /// This one is the node itself, or nobody whose end would matter: it is never probed and never suspected.
    pub fn ignore(&mut self, peer: usize) {
        let peer = &mut self.peers[peer];
        // Whoever is not probed would be suspected for ever.
        (peer.ignored, peer.suspected, peer.waiting, peer.tries) = (true, false, None, 0);
        self.due = self.next_due(self.last_quiet);
    }

    /// This one's end matters, though it was [ignored](Self::ignore) before. Nothing else changes.
    pub fn attend(&mut self, peer: usize) {
        self.peers[peer].ignored = false;
        self.due = self.next_due(self.last_quiet);
    }

    /// Time has passed: to be called first, before what arrived is read.
    pub fn step(&mut self, now: Time) {
        let Some(due) = self.due.filter(|&due| due <= now) else { return };
        let late = now.since(due);
        if late < LATE {
            self.late = false;
            return;
        }
        self.stood = self.stood.saturating_add(late);
        // A host that is always late would judge nobody ever: every other time is enough to read what came.
        if !self.late {
            self.hold = now + self.settings.retry;
        }
        self.late = !self.late;
        self.due = Some(now);
    }

    #[cfg(test)]
    pub(crate) fn suspect(&mut self, peer: usize) {
        self.peers[peer].suspected = true;
    }

    /// Something that wants an answer goes out to a peer.
    pub fn asked(&mut self, peer: usize, now: Time) {
        let running = self.running(now);
        let peer = &mut self.peers[peer];
        let patience = peer.patience(&self.settings);
        match &mut peer.waiting {
            None => (peer.waiting, peer.tries) = (Some((running, running)), 1),
            // What goes out at about the same time is lost together, too: it counts as one try.
            Some((_, last)) if running.since(*last) < patience => return,
            Some((_, last)) => {
                *last = running;
                peer.tries = peer.tries.saturating_add(1);
            }
        }
        peer.quiet_since = running;
        let due = now + patience;
        self.due = Some(self.due.map_or(due, |other| other.min(due)));
    }

    /// Something arrived from the peer. True if it was suspected and is no more.
    pub fn heard(&mut self, peer: usize, now: Time) -> bool {
        let running = self.running(now);
        let failed = self.peers[peer].failed(&self.settings, running);
        let peer = &mut self.peers[peer];
        // What failed while it was suspected says nothing of how it is when it is there.
        if peer.waiting.take().is_some() && !peer.suspected {
            (0..failed.min(16)).for_each(|_| peer.learn(true));
            peer.learn(false);
        }
        peer.tries = 0;
        peer.quiet_since = running;
        if mutant::is(Mutant::SuspectForEver) {
            return false;
        }
        let recovered = std::mem::take(&mut peer.suspected);
        if recovered {
            // Where all are suspected nothing is due any more.
            self.due = self.next_due(running);
        }
        recovered
    }

    /// An answer arrived to something that went out at `sent`.
    pub fn answered(&mut self, peer: usize, sent: Time, now: Time) {
        self.peers[peer].latency.record(now.since(sent));
    }

    /// Looks at one peer that keeps somebody waiting. True if it is suspected from now on.
    pub fn judge(&mut self, peer: usize, now: Time) -> bool {
        let running = self.running(now);
        let peer = &mut self.peers[peer];
        let gone = !peer.suspected && now >= self.hold && peer.is_gone(&self.settings, running);
        peer.suspected |= gone;
        gone
    }

    /// Looks at everybody: whom to suspect, and whom to probe. Suspects aren't probed here, who doesn't answer is asked
    /// less and less often by whoever keeps their list.
    pub fn wake(&mut self, now: Time) -> Woken {
        self.step(now);
        let running = self.running(now);
        let mut woken = Woken::default();
        let judge = now >= self.hold;
        for (index, peer) in self.peers.iter_mut().enumerate().filter(|(_, peer)| peer.is_watched()) {
            let Some((_, last)) = peer.waiting else { continue };
            if judge && peer.is_gone(&self.settings, running) {
                peer.suspected = true;
                woken.suspected.push(index);
            } else if running.since(last) >= peer.patience(&self.settings) {
                woken.probe.push(index);
            }
        }
        if let Some(index) = self.quietest(running) {
            self.last_quiet = running;
            woken.probe.push(index);
        }
        // Those who are to be probed are looked at when the caller says that they were; if it never does, a little later.
        let again = now + self.settings.retry;
        self.due = self.next_due(running).map(|due| if due <= now { again } else { due });
        woken
    }

    /// When the next wake-up is due.
    #[must_use]
    pub const fn deadline(&self) -> Option<Time> {
        self.due
    }

    /// How much speaks against the peer, in thousandths of φ; from [`DetectorSettings::threshold`] on it is suspected, once it has
    /// been silent long enough.
    #[must_use]
    pub fn phi(&self, peer: usize, now: Time) -> u32 {
        let (running, peer) = (self.running(now), &self.peers[peer]);
        let failed = peer.failed(&self.settings, running);
        let Some((_, last)) = peer.waiting else { return 0 };
        let whole = failed.saturating_mul(peer.weight());
        if failed == peer.tries {
            return whole;
        }
        // The try that is still waited for counts by how long.
        let patience = micros(peer.patience(&self.settings)).max(1);
        let share = u64::from(peer.weight()) * micros(running.since(last)).min(patience) / patience;
        whole.saturating_add(share as u32)
    }

    /// How long an answer of the peer has been waited for since anything was heard of it; zero while none is. Without the
    /// time in which this node itself stood still.
    #[must_use]
    pub fn silent(&self, peer: usize, now: Time) -> Duration {
        self.peers[peer].waiting.map_or(Duration::ZERO, |(first, _)| self.running(now).since(first))
    }

    /// Whether the peer is suspected to be down.
    #[must_use]
    pub fn is_suspected(&self, peer: usize) -> bool {
        self.peers[peer].suspected
    }

    /// Whether the peer answers, but usually later than `limit`.
    #[must_use]
    pub fn is_slow(&self, peer: usize, limit: Duration) -> bool {
        self.peers[peer].latency.typical() > limit
    }

    /// The peer's typical latency: what reads order replicas by. Zero while nothing is known.
    #[must_use]
    pub fn typical(&self, peer: usize) -> Duration {
        self.peers[peer].latency.typical()
    }

    /// The peer's 95th percentile of latency. None until enough is known.
    #[must_use]
    pub fn p95(&self, peer: usize) -> Option<Duration> {
        self.peers[peer].latency.p95()
    }

    /// The longest that a peer of which nothing is heard any more can go unsuspected, while this node runs and does what
    /// it is told when it is due.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let tries = self.settings.threshold.div_ceil(LEAST);
        let turns = (self.peers.len() as u32).div_ceil(QUIET_PROBES).max(1);
        let patience = self.settings.silence.max(self.settings.retry) + LATE;
        // One wake-up may fall just before what it would have seen, and the hold of a late one may come to it.
        let judged = patience.saturating_mul(tries + 1).saturating_add(self.settings.retry);
        self.settings.quiet.saturating_mul(turns + 1).saturating_add(judged)
    }

    /// The time without that in which this node stood still.
    fn running(&self, now: Time) -> Time {
        now - self.stood
    }

    /// The peer that has been quiet longest, if it has been so too long and it is its turn.
    fn quietest(&self, running: Time) -> Option<usize> {
        if self.settings.quiet == Duration::MAX || running.since(self.last_quiet) < self.settings.quiet / QUIET_PROBES {
            return None;
        }
        let quiet = self.peers.iter().enumerate().filter(|(_, peer)| peer.is_watched() && peer.waiting.is_none());
        let (index, peer) = quiet.min_by_key(|(_, peer)| peer.quiet_since)?;
        (running.since(peer.quiet_since) >= self.settings.quiet).then_some(index)
    }

    /// When something may have to be done, by the clock.
    fn next_due(&self, running: Time) -> Option<Time> {
        let alive = || self.peers.iter().filter(|peer| peer.is_watched());
        let tries = alive().filter_map(|peer| {
            let (first, last) = peer.waiting?;
            let silent = first + self.settings.silence;
            let failed = last + peer.patience(&self.settings);
            Some(if silent > running { failed.min(silent) } else { failed })
        });
        let quiet = alive().filter(|peer| peer.waiting.is_none()).map(|peer| peer.quiet_since).min();
        let quiet = quiet
            .filter(|_| self.settings.quiet != Duration::MAX)
            .map(|since| (since + self.settings.quiet).max(self.last_quiet + self.settings.quiet / QUIET_PROBES));
        tries.chain(quiet).min().map(|due| (due + self.stood).max(self.hold))
    }
}

#[cfg(test)]
mod tests;
