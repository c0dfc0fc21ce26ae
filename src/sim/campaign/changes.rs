//! Changes of the layout in a story. They come from a generator of their own, behind everything else: seeds without them
//! stay what they were.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::action::Action;
use super::story::Settings;
use crate::time::micros;

/// The most nodes that come in one story.
const NEW: u64 = 8;

/// Adds changes to a story; some of its requests and faults go to the nodes that come.
pub(super) fn add(seed: u64, settings: &Settings, actions: &mut Vec<(Duration, Action)>) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0xc4a6e5);
    // A change takes seconds where messages are lost, and most stories are shorter.
    let stretch = [1, 3, 8][rng.random_range(0..3)];
    actions.iter_mut().for_each(|(at, _)| *at *= stretch);
    let end = actions.last().map_or(Duration::ZERO, |(at, _)| *at);
    let mut draw =
        Draw { rng, first: settings.nodes, newest: settings.nodes, members: (1..=settings.nodes).collect(), end };
    let count = draw.rng.random_range(1..=7);
    let mut times: Vec<Duration> = (0..count).map(|_| draw.within(Duration::ZERO, end)).collect();
    times.sort_unstable();
    let mut changes = Vec::new();
    for at in times {
        draw.change(at, &mut changes);
    }
    for (at, action) in actions.iter() {
        if let Action::LoseData { node } = action
            && draw.rng.random_range(0..3) > 0
        {
            let at = *at + Duration::from_micros(draw.rng.random_range(0..3_000_000));
            changes.push((at.min(end), Action::Renew { node: *node, told: draw.told() }));
        }
    }
    for (at, action) in actions.iter_mut() {
        let come: Vec<u64> =
            changes.iter().filter(|(since, _)| since <= at).flat_map(|(_, it)| new_nodes(it)).collect();
        let goes = draw.rng.random_range(0..3) == 0;
        if let Some(node) = action.anybody().filter(|_| goes && !come.is_empty()) {
            *node = come[draw.rng.random_range(0..come.len())];
        }
    }
    actions.extend(changes);
    actions.sort_by_key(|(at, _)| *at);
}

fn new_nodes(action: &Action) -> Vec<u64> {
    match *action {
        Action::Join { node, other, .. } => vec![node, other],
        Action::Replace { by: node, .. } | Action::Rivals { node, .. } => vec![node],
        _ => Vec::new(),
    }
}

struct Draw {
    rng: Xoshiro256PlusPlus,
    first: u64,
    newest: u64,
    /// More or less: which of two rivals wins is not for the story to say.
    members: Vec<u64>,
    end: Duration,
}

impl Draw {
    fn within(&mut self, from: Duration, to: Duration) -> Duration {
        Duration::from_micros(self.rng.random_range(micros(from)..=micros(to)))
    }

    fn soon(&mut self, after: Duration, within: u64) -> Duration {
        (after + Duration::from_micros(self.rng.random_range(0..within))).min(self.end)
    }

    /// Who hears of a layout at once: all, mostly.
    fn told(&mut self) -> u64 {
        let all = (1 << (self.first + NEW)) - 1;
        if self.rng.random_range(0..3) > 0 { all } else { self.rng.random_range(0..=all) }
    }

    fn fresh(&mut self) -> u64 {
        self.newest += 1;
        self.newest
    }

    fn has_room(&self, for_nodes: u64) -> bool {
        self.newest + for_nodes <= self.first + NEW
    }

    fn leaver(&mut self) -> u64 {
        self.members[self.rng.random_range(0..self.members.len())]
    }

    fn gone(&mut self, node: u64) {
        if self.members.len() > 1 {
            self.members.retain(|member| *member != node);
        }
    }

    fn change(&mut self, at: Duration, changes: &mut Vec<(Duration, Action)>) {
        let told = self.told();
        match self.rng.random_range(0..9) {
            0..3 if self.has_room(2) => {
                let (node, other) = (self.fresh(), self.fresh());
                self.members.extend([node, other]);
                changes.push((at, Action::Join { node, other, told }));
                // One of the old ones, or of those that have just come.
                if self.rng.random_range(0..3) == 0 {
                    let node = self.leaver();
                    let leave = Action::Leave { node, told: self.told() };
                    self.gone(node);
                    changes.push((self.soon(at, 1_500_000), leave));
                }
            }
            3 if self.has_room(1) => {
                let (node, by) = (self.leaver(), self.fresh());
                self.gone(node);
                self.members.push(by);
                changes.push((at, Action::Replace { node, by, told }));
            }
            4 => changes.push((at, Action::Abort { told })),
            5 | 6 if self.has_room(1) => {
                let (node, leaver) = (self.fresh(), self.leaver());
                let nodes = self.rng.random_range(1..(1 << self.first) - 1) | 1 << (node - 1);
                if self.rng.random_range(0..3) > 0 {
                    changes.push((at, Action::Split { nodes }));
                    changes.push((self.soon(at, 4_000_000), Action::Heal {}));
                }
                self.members.push(node);
                changes.push((at, Action::Rivals { nodes, node, leaver }));
                if self.rng.random_range(0..3) == 0 {
                    let told = self.told();
                    changes.push((self.soon(at, 3_000_000), Action::Abort { told }));
                }
            }
            _ => {
                let node = self.leaver();
                self.gone(node);
                changes.push((at, Action::Leave { node, told }));
            }
        }
        if self.rng.random_range(0..3) > 0 {
            changes.push((self.soon(at, 5_000_000), Action::Spread {}));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::campaign::Story;

    #[test]
    fn seeds_of_a_range_of_their_own_have_changes_of_every_kind_and_the_others_have_none() {
        let mut words = std::collections::BTreeSet::new();
        for story in (0..200).flat_map(|seed| [seed, Settings::ELASTIC + seed]).map(Story::draw) {
            let changes = story.actions.iter().filter(|(_, action)| action.is_change());
            words.extend(changes.map(|(_, action)| action.word()));
            assert!(story.settings.elastic == 1 || story.actions.iter().all(|(_, action)| !action.is_change()));
        }
        assert_eq!(words.into_iter().collect::<Vec<_>>(), ["abort", "join", "leave", "renew", "replace", "rivals"]);
    }
}
