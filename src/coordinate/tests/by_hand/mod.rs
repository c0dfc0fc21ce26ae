//! Each promise of the coordinators by hand: six nodes, one partition, and a clock that the test turns.

#![allow(
    clippy::unnecessary_wraps,
    clippy::struct_field_names,
    reason = "answers are built as they arrive, and read as told"
)]

mod get;
mod put;

use std::sync::Arc;
use std::time::Duration;

use crate::coordinate::{Directory, Patience, Roster, Wait};
use crate::detector::{Detector, DetectorSettings};
use crate::ids::{NodeId, PartitionId, ZoneId};
use crate::ring::{Layout, Member};
use crate::time::Time;

const PARTITION: PartitionId = PartitionId(0);
const PATIENCE: Patience = Patience { fallback: Duration::from_millis(20), suspect: Duration::from_millis(100) };
const START: Time = Time(7_000_000);

/// A cluster as one node sees it. Nodes 1 to 3 own the only partition.
struct World {
    layout: Arc<Layout>,
    directory: Directory,
    peers: Detector,
    me: NodeId,
}

const fn node(name: u64) -> NodeId {
    NodeId(name)
}

fn after(millis: u64) -> Time {
    START + Duration::from_millis(millis)
}

impl World {
    /// As node `me` sees so many nodes of one zone.
    fn new(me: u64, count: usize) -> Self {
        Self::in_zones(me, &vec![0; count])
    }

    fn in_zones(me: u64, zones: &[u8]) -> Self {
        let member = |(name, &zone): (u64, &u8)| Member::new(NodeId(name)).zone(ZoneId(zone.into()));
        let members: Vec<_> = (1..).zip(zones).map(member).collect();
        let layout = Layout::from_owners(3, members, vec![[1, 2, 3].map(NodeId).to_vec()]).unwrap();
        let layout = Arc::new(layout);
        let directory = Directory::new(Arc::clone(&layout));
        Self {
            layout,
            directory,
            peers: Detector::new(zones.len(), DetectorSettings::default(), Time(0)),
            me: NodeId(me),
        }
    }

    fn roster(&self) -> Roster<'_> {
        let slow = Duration::from_millis(50);
        let layouts = std::slice::from_ref(&self.layout);
        Roster { layouts, directory: &self.directory, peers: &self.peers, me: self.me, slow }
    }

    fn suspect(mut self, names: &[u64]) -> Self {
        for &name in names {
            self.peers.suspect(name as usize - 1);
        }
        self
    }

    /// Node `name` has always taken so long.
    fn takes(mut self, name: u64, millis: u64) -> Self {
        for _ in 0..40 {
            self.peers.answered(name as usize - 1, START, after(millis));
        }
        self
    }

    /// Those who stand in for owners, in order.
    fn stand_ins(&self) -> Vec<NodeId> {
        self.layout.preference_list(PARTITION).skip(3).collect()
    }
}

#[test]
fn a_node_is_looked_at_when_it_is_late_and_when_it_is_silent() {
    let due = |wait: Wait| wait.due(START, PATIENCE);
    assert_eq!((due(Wait::Fresh), due(Wait::Late), due(Wait::Silent)), (Some(after(20)), Some(after(100)), None));
    let at = |wait: Wait, millis| wait.at(START, after(millis), PATIENCE);
    assert_eq!((at(Wait::Fresh, 19), at(Wait::Fresh, 20)), (Wait::Fresh, Wait::Late));
    assert_eq!((at(Wait::Late, 99), at(Wait::Fresh, 100)), (Wait::Late, Wait::Silent));
    assert_eq!(at(Wait::Silent, 0), Wait::Silent, "a clock that stands does not make it fresh again");
}

#[test]
fn fallbacks_are_the_healthy_nodes_behind_the_owners() {
    let world = World::new(5, 8);
    let all = world.stand_ins();
    assert_eq!(all.len(), 5);
    let without = |names: &[u64]| all.iter().copied().filter(|node| !names.contains(&node.0)).collect::<Vec<_>>();
    assert_eq!(world.roster().fallbacks(PARTITION).collect::<Vec<_>>(), without(&[5]));
    let world = world.suspect(&[4, 5, 8]);
    assert_eq!(world.roster().fallbacks(PARTITION).collect::<Vec<_>>(), without(&[4, 5, 8]));
}

#[test]
fn a_write_is_sent_to_the_owner_that_the_context_names_or_to_the_fastest() {
    let best = |world: &World, route, tried: &[NodeId]| world.roster().best_owner(PARTITION, route, tried);
    let world = World::new(5, 6).takes(1, 3).takes(2, 9).takes(3, 5);
    assert_eq!(best(&world, None, &[]), Some(node(1)));
    assert_eq!(best(&world, Some(node(2)), &[]), Some(node(2)));
    assert_eq!(best(&world, Some(node(2)), &[node(2)]), Some(node(1)), "tried already");
    assert_eq!(best(&world, Some(node(6)), &[]), Some(node(1)), "no owner");
    assert_eq!(best(&world, None, &[node(1)]), Some(node(3)));
    assert_eq!(best(&world, None, &[1, 2, 3].map(NodeId)), None);
    let world = world.suspect(&[1, 2]);
    assert_eq!(best(&world, Some(node(2)), &[]), Some(node(3)), "suspected");

    // A node knows no latency of itself, and is nearer than one of whom it knows nothing either.
    let world = World::new(3, 6).takes(3, 900).takes(2, 1);
    assert_eq!(best(&world, None, &[]), Some(node(3)), "itself, before one that it never asked");
    assert_eq!(best(&world, None, &[node(3)]), Some(node(1)), "of whom nothing is known");
}

#[test]
fn a_node_does_not_suspect_itself_or_find_itself_slow() {
    let world = World::new(2, 6).takes(2, 900).takes(3, 51).takes(4, 49).suspect(&[2, 3]);
    let roster = world.roster();
    assert_eq!([1, 2, 3].map(|name| roster.is_suspected(node(name))), [false, false, true]);
    assert_eq!([1, 2, 3, 4].map(|name| roster.is_slow(node(name))), [false, false, true, false]);
    assert_eq!([1, 2, 3].map(|name| roster.typical(node(name))), [0, 0, 51].map(Duration::from_millis));
}

#[test]
fn a_hedge_waits_for_the_95th_percentile_and_for_a_millisecond() {
    let world = World::new(1, 6).takes(2, 30).takes(3, 0);
    let after = [1, 2, 3].map(|name| world.roster().hedge_after(node(name)));
    assert_eq!(after[0], None, "nothing is known");
    assert!(after[1] >= Some(Duration::from_millis(25)) && after[1] <= Some(Duration::from_millis(35)), "{after:?}");
    assert_eq!(after[2], Some(Duration::from_millis(1)));
}
