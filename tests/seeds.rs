//! Campaigns on the simulator: a fixed set of seeds, a fresh one, and the proof that the checks can fail.
//!
//! `QUORATE_SEED` decides the fresh set (any text: a commit, a number); without it, the day does. `QUORATE_SEEDS` says
//! how many of each are run.
#![cfg(feature = "sim")]

use std::collections::BTreeSet;
use std::hash::Hasher;

use quorate::sim::campaign::{History, Outcome, Run, Settings, Story, Violation, play};
use siphasher::sip::SipHasher13;

fn count() -> u64 {
    std::env::var("QUORATE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

/// Where the fresh seeds begin: far from those that are always run.
fn fresh() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "another set every day; a failure names its seed")]
    let now = std::time::SystemTime::now();
    let day = now.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400);
    let text = std::env::var("QUORATE_SEED").unwrap_or_else(|_| day.to_string());
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    1_000_000_000 + hasher.finish() % 1_000_000_000_000
}

fn all_hold(from: u64) {
    these_hold(from, count());
}

fn these_hold(from: u64, count: u64) {
    let broken = |seed: u64| play(&Story::draw(seed)).result.err().map(|violation| (seed, violation));
    let bad: Vec<_> = (from..from + count).filter_map(broken).collect();
    assert!(bad.is_empty(), "{} seeds; `simulate --trace SEED` tells more of each: {bad:#?}", bad.len());
}

#[test]
fn the_same_seeds_as_ever_keep_every_promise() {
    all_hold(0);
}

#[test]
fn seeds_that_nobody_has_run_keep_every_promise() {
    all_hold(fresh());
}

#[test]
fn seeds_that_change_layouts_keep_every_promise() {
    all_hold(Settings::ELASTIC);
    all_hold(Settings::ELASTIC + fresh());
}

#[test]
fn seeds_whose_writes_are_not_all_synced_keep_every_promise() {
    these_hold(Settings::BUFFERED, count() / 2);
    these_hold(Settings::BUFFERED + fresh(), count() / 2);
    these_hold(Settings::BUFFERED + Settings::ELASTIC + fresh(), count() / 4);
}

/// Each of these broke a property once, most of them that a change comes to its end.
const BROKEN_ONCE: &[u64] = &[
    1_100, 1_107, 1_294, 1_305, 1_461, 1_500, 1_691, 1_855, 1_866, 1_910, 1_923, 2_044, 2_049, 2_063, 2_230, 2_235,
    2_352, 2_386, 2_475, 2_477, 2_501, 2_566, 2_623, 2_628, 2_668, 2_840, 3_046, 3_058, 3_179, 3_241, 3_441, 3_495,
    3_563, 3_726, 3_796, 3_880, 4_106, 4_314, 4_510, 4_698, 5_030, 5_257, 5_380, 5_428, 5_484, 5_509, 5_578, 5_586,
    5_612, 5_720, 5_899, 5_912, 5_944, 6_012, 6_018, 6_114, 6_120, 6_260, 6_369, 6_515, 6_543, 6_625, 6_645, 6_684,
    6_767, 6_970, 22_133,
];
/// Fresh seeds among them.
const BROKEN_LATE: [u64; 2] = [828_953_604_895, 977_068_116_066];

#[test]
fn seeds_whose_changes_broke_a_promise_once_keep_it() {
    let broken = |seed: &u64| play(&Story::draw(Settings::ELASTIC + seed)).result.err();
    let bad: Vec<_> = BROKEN_ONCE.iter().chain(&BROKEN_LATE).filter_map(|seed| Some((seed, broken(seed)?))).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn the_same_story_is_the_same_run() {
    for seed in (0..40).chain(Settings::ELASTIC..Settings::ELASTIC + 20) {
        let (one, two) = (play(&Story::draw(seed)), play(&Story::draw(seed)));
        assert_eq!((one.trace, one.events), (two.trace, two.events), "seed {seed}");
    }
}

#[test]
fn a_story_that_was_written_down_runs_as_it_did() {
    let story = Story::draw(17);
    let again: Story = story.to_string().parse().unwrap();
    assert_eq!(play(&again).trace, play(&story).trace);
}

// ---- the checks are checked

/// In how many of the first seeds a check fails, if the settings are bent so.
fn failures(seeds: u64, bend: impl Fn(&mut Settings), check: impl Fn(&mut History) -> Result<(), Violation>) -> usize {
    let fails = |seed: &u64| {
        let mut settings = Settings::draw(*seed);
        bend(&mut settings);
        let Run { mut history, result, .. } = play(&Story::draw_with(*seed, settings, &|_| true));
        // A story that ended early has nothing to say about its end.
        result.is_ok() && check(&mut history).is_err()
    };
    (0..seeds).filter(fails).count()
}

#[test]
fn last_write_wins_is_seen_to_lose_concurrent_writes() {
    let bend = |settings: &mut Settings| (settings.reconciling, settings.clients) = (1, 6);
    let lost = failures(40, bend, |history| history.no_lost_write());
    assert!(lost >= 20, "{lost} of 40");
}

#[test]
fn small_sloppy_quorums_are_seen_to_read_stale_values() {
    let bend = |settings: &mut Settings| {
        (settings.strict, settings.n, settings.r, settings.w, settings.reconciling) = (0, 3, 1, 1, 0);
    };
    let stale = failures(40, bend, |history| history.register());
    assert!(stale >= 20, "{stale} of 40");
    let back = failures(40, bend, |history| history.sessions());
    assert!(back >= 5, "{back} of 40");
}

#[test]
fn a_client_that_claims_to_have_read_what_it_has_not_is_seen() {
    let boast = |history: &mut History| {
        for number in 0..history.writes.len() {
            let key = history.writes[number].key;
            let others: BTreeSet<_> = (0..number).filter(|&other| history.writes[other].key == key).collect();
            history.writes[number].seen.extend(&others);
            history.writes[number].past.extend(&others);
        }
    };
    let keep = |settings: &mut Settings| settings.reconciling = 0;
    let concurrent = failures(40, keep, |history| {
        boast(history);
        history.true_concurrency()
    });
    let back = failures(40, keep, |history| {
        boast(history);
        history.superseded_for_good()
    });
    // What a core does in the end leaves one version of most keys.
    assert!(concurrent >= 20 && back >= 1, "{concurrent}, {back} of 40");
}

#[test]
fn an_unknown_outcome_taken_for_an_acknowledgement_is_seen() {
    let lost = failures(
        100,
        |settings| settings.reconciling = 2,
        |history| {
            history.writes.iter_mut().for_each(|write| write.outcome = Outcome::Acked);
            history.no_lost_write()
        },
    );
    assert!(lost >= 5, "{lost} of 100");
}

#[test]
fn a_value_from_nowhere_is_seen() {
    let refused = failures(
        20,
        |settings| settings.reconciling = 0,
        |history| {
            history.writes.iter_mut().for_each(|write| write.outcome = Outcome::Refused);
            history.no_phantom()
        },
    );
    assert!(refused >= 15, "{refused} of 20");
}
