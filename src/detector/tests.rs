use proptest::prelude::*;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::*;

const MILLI: u64 = 1_000;
const SECOND: u64 = 1_000_000;

/// One node and its peers: who is asked answers after a while, if neither way is lost.
struct World {
    detector: Detector,
    rng: Xoshiro256PlusPlus,
    now: u64,
    /// On their way: when they arrive, from whom, and when the question went out.
    answers: Vec<(u64, usize, u64)>,
    /// Of a thousand messages so many are lost.
    loss: u32,
    latency: std::ops::Range<u64>,
    dead: Option<usize>,
    /// Who was suspected, and when.
    suspected: Vec<(usize, u64)>,
    probes: usize,
}

impl World {
    fn new(peers: usize, loss: u32, latency: std::ops::Range<u64>) -> Self {
        let now = 10 * SECOND;
        Self {
            detector: Detector::new(peers, DetectorSettings::default(), Time(now)),
            rng: Xoshiro256PlusPlus::seed_from_u64(3),
            now,
            answers: Vec::new(),
            loss,
            latency,
            dead: None,
            suspected: Vec::new(),
            probes: 0,
        }
    }

    fn ask(&mut self, peer: usize) {
        self.detector.asked(peer, Time(self.now));
        let mut arrives = || self.rng.random_range(0..1_000) >= self.loss;
        if arrives() && arrives() && self.dead != Some(peer) {
            let arrival = self.now + self.rng.random_range(self.latency.clone());
            self.answers.push((arrival, peer, self.now));
        }
    }

    /// What arrives before `end`, and the wake-ups that are due.
    fn run(&mut self, end: u64) {
        loop {
            let answer = self.answers.iter().map(|answer| answer.0).min().unwrap_or(u64::MAX);
            let due = self.detector.deadline().map_or(u64::MAX, |due| due.0.max(self.now));
            let next = answer.min(due);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            self.read();
            if due == next {
                self.wake();
            }
        }
    }

    fn read(&mut self) {
        let now = Time(self.now);
        self.detector.step(now);
        let (come, left) = self.answers.drain(..).partition(|answer| answer.0 <= self.now);
        self.answers = left;
        for (_, peer, sent) in come {
            self.detector.heard(peer, now);
            self.detector.answered(peer, Time(sent), now);
        }
    }

    fn wake(&mut self) {
        let woken = self.detector.wake(Time(self.now));
        self.suspected.extend(woken.suspected.iter().map(|&peer| (peer, self.now)));
        self.probes += woken.probe.len();
        woken.probe.into_iter().for_each(|peer| self.ask(peer));
    }
}

#[test]
fn silence_is_suspected_once_and_a_word_clears_it() {
    let mut world = World::new(2, 0, 1_000..2_000);
    world.dead = Some(0);
    world.ask(0);
    world.run(world.now + 200 * MILLI);
    assert!(world.suspected.is_empty(), "not before the silence is long enough");
    assert!(world.detector.phi(0, Time(world.now)) >= 3_000, "though enough speaks against it");
    world.run(world.now + 5 * SECOND);
    let [(0, at)] = world.suspected[..] else { panic!("{:?}", world.suspected) };
    assert_eq!(at - 10 * SECOND, 250 * MILLI);
    assert!(world.detector.is_suspected(0) && !world.detector.is_suspected(1));
    let now = Time(world.now);
    assert!(world.detector.heard(0, now) && !world.detector.heard(0, now));
    assert_eq!((world.detector.is_suspected(0), world.detector.phi(0, now)), (false, 0));
}

#[test]
fn what_speaks_against_a_peer_grows_with_time_and_tries() {
    let mut world = World::new(1, 0, 1_000..2_000);
    world.dead = Some(0);
    world.ask(0);
    let mut last = 0;
    for _ in 0..25 {
        world.run(world.now + 10 * MILLI);
        let phi = world.detector.phi(0, Time(world.now));
        assert!(phi > last, "{phi} after {last}");
        last = phi;
    }
}

#[test]
fn many_requests_that_go_out_together_are_one_try() {
    let mut world = World::new(1, 0, 1_000..2_000);
    world.dead = Some(0);
    (0..100).for_each(|_| world.ask(0));
    assert_eq!(world.detector.phi(0, Time(world.now) + Duration::from_millis(50)), 1_000);
}

#[test]
fn a_slow_peer_is_not_a_silent_one() {
    let mut world = World::new(1, 0, 180 * MILLI..240 * MILLI);
    for _ in 0..200 {
        world.ask(0);
        world.run(world.now + 500 * MILLI);
    }
    assert_eq!(world.suspected, []);
    assert!(
        world.detector.is_slow(0, Duration::from_millis(100)) && !world.detector.is_slow(0, Duration::from_millis(300))
    );
    assert!(world.detector.p95(0).unwrap() > world.detector.typical(0));
}

#[test]
fn where_much_is_lost_more_tries_are_made_before_anybody_is_suspected() {
    let mut world = World::new(1, 300, 1_000..20_000);
    // It learns how much is lost.
    for _ in 0..3_000 {
        world.ask(0);
        world.run(world.now + 100 * MILLI);
    }
    let wrong = world.suspected.len();
    // The one it's sure of costs a detour; five minutes of a third of all messages lost may cost a few.
    assert!(wrong <= 6, "{wrong} times in five minutes");
    world.detector.heard(0, Time(world.now));
    (world.dead, world.now) = (Some(0), world.now + 1);
    (world.suspected, world.answers) = (Vec::new(), Vec::new());
    let start = world.now;
    world.ask(0);
    world.run(start + 10 * SECOND);
    let [(0, at)] = world.suspected[..] else { panic!("{:?}", world.suspected) };
    assert!((300 * MILLI..800 * MILLI).contains(&(at - start)), "after {} ms", (at - start) / MILLI);
}

#[test]
fn the_own_pause_is_nobodys_silence() {
    let mut world = World::new(5, 0, 1_000..3_000);
    for pause in 0..20 {
        // Requests are out, and probes.
        (0..5).for_each(|peer| world.ask(peer));
        world.run(world.now + pause * 17 * MILLI);
        (0..5).for_each(|peer| world.ask(peer));
        // It stands still; what arrives is not read. Then the wake-up that was due comes first.
        world.now += 3 * SECOND;
        world.wake();
        assert_eq!(world.suspected, [], "pause {pause}");
        world.run(world.now + 400 * MILLI);
        assert_eq!(world.suspected, [], "pause {pause}");
    }
    // Whoever is really gone is found nevertheless.
    world.dead = Some(2);
    world.ask(2);
    world.now += 3 * SECOND;
    let woken = world.now;
    world.run(world.now + 5 * SECOND);
    assert!(matches!(world.suspected[..], [(2, at)] if at - woken <= 500 * MILLI), "{:?}", world.suspected);
}

/// Where one try is enough, and so the time that it is waited for is all that counts.
fn hasty(latency: std::ops::Range<u64>) -> World {
    let settings = DetectorSettings { threshold: 1_000, ..DetectorSettings::default() };
    let mut world = World::new(1, 0, latency);
    world.detector = Detector::new(1, settings, Time(world.now));
    world
}

#[test]
fn time_in_which_the_node_stood_still_is_no_silence() {
    for before in [10, 60, 140] {
        let mut world = hasty(150 * MILLI..160 * MILLI);
        world.ask(0);
        world.run(world.now + before * MILLI);
        // The answer comes a while after the node goes on, as if the network had stood still with it.
        world.answers.iter_mut().for_each(|answer| answer.0 += 3 * SECOND);
        world.now += 3 * SECOND;
        world.wake();
        world.run(world.now + SECOND);
        assert_eq!(world.suspected, [], "{before} ms");
    }
}

#[test]
fn what_came_while_the_node_stood_still_is_read_before_anybody_is_judged() {
    let mut world = hasty(240 * MILLI..241 * MILLI);
    world.ask(0);
    world.run(world.now + 235 * MILLI);
    // The answer arrives while it stands still, and what is due is looked at before it is read.
    world.now += 3 * SECOND;
    world.wake();
    assert_eq!(world.suspected, []);
    world.run(world.now + SECOND);
    assert_eq!(world.suspected, []);
    assert!(!world.answers.iter().any(|answer| answer.0 <= world.now));
}

#[test]
fn a_host_that_wakes_it_too_seldom_finds_the_dead_nevertheless() {
    let mut world = World::new(1, 0, 1_000..3_000);
    world.dead = Some(0);
    world.ask(0);
    for _ in 0..30 {
        world.now += SECOND;
        world.wake();
    }
    assert_eq!(world.suspected.len(), 1, "{:?}", world.suspected);
}

#[test]
fn the_probes_of_quiet_peers_are_as_many_in_a_large_cluster() {
    for (peers, most) in [(3, 3 * 60), (8, 8 * 60), (100, 8 * 60), (1_000, 8 * 60)] {
        let mut world = World::new(peers, 0, 1_000..2_000);
        world.run(world.now + 60 * SECOND);
        assert!((most * 9 / 10..=most).contains(&world.probes), "{} of {peers} peers in a minute", world.probes);
    }
}

#[test]
fn who_is_not_to_be_probed_is_not() {
    let settings = DetectorSettings { quiet: Duration::MAX, ..DetectorSettings::default() };
    let mut detector = Detector::new(3, settings, Time(0));
    assert_eq!(detector.deadline(), None);
    assert_eq!(detector.wake(Time(u64::MAX)), Woken::default());
}

#[test]
fn at_the_end_of_the_clock_nothing_overflows() {
    for start in [0, u64::MAX - 10_000_000, u64::MAX] {
        let mut detector = Detector::new(2, DetectorSettings::default(), Time(start));
        for now in [start, start.saturating_add(100), u64::MAX - 1, u64::MAX, u64::MAX] {
            let now = Time(now);
            detector.step(now);
            detector.asked(0, now);
            let woken = detector.wake(now);
            woken.probe.iter().for_each(|&peer| detector.asked(peer, now));
            detector.answered(1, Time(0), now);
            detector.heard(1, now);
            assert!(detector.phi(0, now) <= 10_000);
            assert!(detector.deadline().is_some());
        }
    }
    // A host's clock that goes backwards is nobody's silence either.
    let mut detector = Detector::new(1, DetectorSettings::default(), Time(u64::MAX));
    detector.asked(0, Time(u64::MAX));
    assert_eq!(detector.wake(Time(5)).suspected, [] as [usize; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn in_steady_traffic_nobody_is_suspected(
        every in 1..400_u64,
        latency in 1..150_u64,
        jitter in 1..90_u64,
        peers in 1..6_usize,
    ) {
        let mut world = World::new(peers, 0, latency * MILLI..(latency + jitter) * MILLI);
        for _ in 0..300 {
            (0..peers).for_each(|peer| world.ask(peer));
            world.run(world.now + every * MILLI);
        }
        prop_assert_eq!(&world.suspected, &[]);
    }

    #[test]
    fn who_is_gone_is_suspected_within_the_bound(
        peers in 1..40_usize,
        loss in 0..300_u32,
        latency in 1..120_u64,
        before in 0..20_000_u64,
        traffic in any::<bool>(),
    ) {
        let mut world = World::new(peers, loss, latency * MILLI..(latency * 2) * MILLI);
        let mut turn = 0;
        while world.now < 10 * SECOND + before * MILLI {
            if traffic {
                world.ask(turn % peers);
            }
            turn += 1;
            world.run(world.now + 30 * MILLI);
        }
        let gone = turn % peers;
        world.dead = Some(gone);
        world.answers.retain(|answer| answer.1 != gone);
        let (start, longest) = (world.now, micros(world.detector.longest()));
        if !world.detector.is_suspected(gone) {
            world.suspected.clear();
            world.run(start + longest + 1);
            prop_assert!(world.detector.is_suspected(gone), "after {longest} µs");
        }
    }
}

#[test]
fn a_node_that_suspected_all_looks_at_them_again_when_they_are_heard() {
    let mut detector = Detector::new(1, DetectorSettings::default(), Time(0));
    let mut wake = |detector: &mut Detector| {
        let due = detector.deadline().expect("something is due");
        for peer in detector.wake(due).probe {
            detector.asked(peer, due);
        }
        due
    };
    let ends = |detector: &mut Detector, wake: &mut dyn FnMut(&mut Detector) -> Time| {
        let mut now = Time(0);
        while !detector.is_suspected(0) {
            now = wake(detector);
        }
        now
    };
    let first = ends(&mut detector, &mut wake);
    assert_eq!(detector.deadline(), None, "suspects are probed by another");
    assert!(detector.heard(0, first + Duration::from_secs(1)));
    let second = ends(&mut detector, &mut wake);
    assert!(second > first + Duration::from_secs(1));
}
