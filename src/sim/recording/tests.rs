//! Recordings of nodes of whole campaign stories.

use super::*;
use crate::error::DecodeError;
use crate::sim::Sim;
use crate::sim::campaign::{Action, Settings, Story, play_recorded};

/// A story in which no process ends and no disk fails.
fn story(seed: u64) -> Story {
    let ends = ["crash", "stop", "bounce", "lose-data", "restore", "clone", "fail-reads", "fill-disk", "fail-sync"];
    let wanted = |action: &Action| !ends.contains(&action.word());
    // A recording knows nothing of layouts that are made meanwhile.
    let settings = Settings { core: 0, elastic: 0, ..Settings::draw(seed) };
    Story::draw_with(seed, settings, &wanted)
}

fn recorded(seed: u64, node: u64) -> (Recording, Setup) {
    let (run, recording, setup) = play_recorded(&story(seed), NodeId(node));
    assert_eq!(run.result, Ok(()));
    (recording, setup)
}

#[test]
fn a_node_alone_says_again_what_it_said_in_its_cluster() {
    let mut calls = 0;
    for seed in 0..12 {
        let (recording, setup) = recorded(seed, 1 + seed % 3);
        calls += recording.calls();
        assert_eq!(recording.replay(&setup), Ok(recording.outputs()), "seed {seed}");
    }
    assert!(calls > 12 * 100, "{calls} calls");
}

#[test]
fn a_recording_reads_as_it_was_written_and_plays_the_same() {
    for seed in 0..12 {
        let (recording, setup) = recorded(seed, 2);
        let bytes = recording.to_bytes(&setup);
        let read = Recording::from_bytes(&bytes, &setup).unwrap();
        assert_eq!(read.to_bytes(&setup), bytes);
        assert_eq!((read.calls(), read.outputs()), (recording.calls(), recording.outputs()));
        assert_eq!(read.replay(&setup), Ok(recording.outputs()));
    }
}

#[test]
fn recording_changes_nothing_of_a_run() {
    let story = story(5);
    assert_eq!(play_recorded(&story, NodeId(1)).0.trace, crate::sim::campaign::play(&story).trace);
}

#[test]
fn another_input_and_another_order_say_something_else() {
    let (recording, setup) = recorded(3, 1);
    let requests = |call: &Call| matches!(call, Call::Step(_, Input::Request(..)));
    let at = recording.calls.iter().position(requests).expect("a client asks this node");
    let mut other = recording.clone();
    let Call::Step(_, Input::Request(ticket, _)) = &mut other.calls[at] else { unreachable!("a request") };
    ticket.0 += 1_000;
    assert_ne!(other.replay(&setup), Ok(recording.outputs()), "another ticket");
    let mut other = recording.clone();
    other.calls.remove(at);
    assert_ne!(other.replay(&setup), Ok(recording.outputs()), "a request less");
    let mut other = recording.clone();
    other.start = Start(other.start.0 + 1);
    assert_ne!(other.replay(&setup), Ok(recording.outputs()), "another start");
}

#[test]
fn damaged_bytes_are_refused() {
    let mut sim = Sim::builder(3, 7).record(NodeId(1)).build();
    sim.put(NodeId(1), "k", "v").unwrap();
    let (setup, recording) = (sim.setup(NodeId(1)), sim.recording().unwrap());
    let bytes = recording.to_bytes(&setup);
    for at in 0..bytes.len() {
        let mut garbled = bytes.clone();
        garbled[at] ^= 0x10;
        assert!(Recording::from_bytes(&garbled, &setup).is_err());
        assert!(Recording::from_bytes(&bytes[..at], &setup).is_err());
    }
    assert_eq!(Recording::from_bytes(b"QRT", &setup).unwrap_err(), DecodeError::NotAFrame);
}

#[test]
fn it_ends_with_the_process() {
    let mut sim = Sim::builder(3, 7).record(NodeId(1)).build();
    sim.put(NodeId(1), "k", "v").unwrap();
    sim.crash(NodeId(1));
    let calls = sim.recording().unwrap().calls();
    sim.restart(NodeId(1));
    sim.put(NodeId(1), "k", "w").unwrap();
    let recording = sim.recording().unwrap();
    assert_eq!(recording.calls(), calls);
    assert_eq!(recording.replay(&sim.setup(NodeId(1))), Ok(recording.outputs()));
}
