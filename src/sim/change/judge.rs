//! What must be true in every state.

use super::model::Model;
use super::world::{Fault, LAYOUTS, Lost, State, bits, highest, id, owner};
use crate::ballot::Owner;
use crate::change::{Attempt, Ballots, Collected, Drive, Move};

impl Model<'_> {
    /// Whether the last layout can be decided, and written and read then, with these silent: by doing it.
    pub(super) fn completes(&self, state: &State, silent: u8) -> Result<(), &'static str> {
        let (scenario, top) = (self.scenario, self.layouts() - 1);
        let decided = highest(state.decided);
        // What must be collected from, or written to, needs its quorums. A rival for which nobody has sealed does not.
        let sealed = state.nodes.iter().fold(0, |set, node| set | node.votes.sealed);
        let counts =
            |layout: &usize| *layout == top || *layout == decided || (*layout > decided && sealed & 1 << layout != 0);
        let promised = (0..self.layouts()).filter(counts).all(|layout| {
            let owners = scenario.owners[layout];
            let Some(group) = self.groups.get(id(layout)) else { return false };
            let least = self.groups.needed(group).answers.max(group.writes(scenario.w)).max(group.reads(scenario.r));
            (owners & !silent & !scenario.gone).count_ones() as usize >= least
        });
        if !promised {
            return Ok(());
        }
        let alive: Vec<usize> = self.nodes().filter(|node| (silent | scenario.gone) & 1 << node == 0).collect();
        let mut ballots: Vec<Ballots> = state.nodes.iter().map(|node| node.votes.ballots()).collect();
        for &node in &alive {
            ballots[node].decided(id(decided)).at_once(&mut ballots[node]);
        }
        if decided != top && !(self.is(Fault::UnchangedIsNoBallot) && self.is_unchanged(top)) {
            let mut collecting = Move::new(id(top), id(decided));
            for &node in &alive {
                let fenced = ballots[node].fence(id(top)).map_err(|_| "a fence is refused")?;
                collecting.joined(owner(node), fenced.at_once(&mut ballots[node]));
            }
            let Collected::All { closure, .. } = collecting.collected(&self.groups) else {
                return Err("what counts can't be collected");
            };
            let mut drive = Drive::new(id(top));
            for &node in alive.iter().filter(|node| scenario.owners[top] & 1 << **node != 0) {
                let held = ballots[node].hold(id(top), &closure).map_err(|_| "a holder is refused")?;
                drive.held(owner(node), &held.at_once(&mut ballots[node]));
            }
            for who in drive.missing(&self.groups) {
                let node = who.node.0 as usize;
                if alive.contains(&node) {
                    ballots[node].seal(id(top)).map_err(|_| "a seal is refused")?.at_once(&mut ballots[node]);
                    drive.sealed(who);
                }
            }
            if !drive.is_decided(&self.groups) {
                return Err("the last layout can't be decided");
            }
            for &node in &alive {
                ballots[node].decided(id(top)).at_once(&mut ballots[node]);
            }
        }
        // A coordinator that has slept through everything finds its way by what it is told.
        let mut attempt = Attempt::new(id(0));
        for _ in 0..=LAYOUTS {
            for who in attempt.missing(&self.before) {
                let node = who.node.0 as usize;
                if alive.contains(&node) {
                    match ballots[node].admit_write(attempt.sets()) {
                        Ok(step) => {
                            step.at_once(&mut ballots[node]);
                            attempt.stored(who, attempt.round());
                        }
                        Err(refused) => {
                            attempt.refused(&refused);
                        }
                    }
                }
            }
        }
        if !attempt.is_reached(scenario.w, &self.groups) {
            return Err("a write finds no end");
        }
        if self.is(Fault::UnchangedIsNoBallot) {
            return Ok(());
        }
        let group = self.groups.get(id(top)).expect("all contents are known");
        let answers = self.groups.count(group, |who| {
            let node = who.node.0 as usize;
            alive.contains(&node) && ballots[node].admit_read(id(top)).is_ok()
        });
        if answers < group.reads(scenario.r) { Err("a read finds no answers") } else { Ok(()) }
    }

    /// What an acknowledged write is owed.
    pub(super) fn owed(&self, state: &State) -> Option<String> {
        if self.scenario.sloppy {
            let is_lost = state.nodes.iter().all(|node| !node.has);
            return is_lost.then(|| "nobody has an acknowledged write".into());
        }
        if self.scenario.gone != 0 && state.acks & !self.scenario.gone == 0 {
            return None;
        }
        for floor in bits(self.believed(state, Fault::ReaderTrustsHolders)) {
            let group = self.groups.get(id(floor))?;
            let misses = |who: Owner| {
                let node = &state.nodes[who.node.0 as usize];
                let fills = state.lost == Lost::Refilling(who.node.0 as u8);
                !node.has && !fills && node.votes.ballots().admit_read(id(floor)).is_ok()
            };
            if self.groups.count(group, misses) >= group.reads(self.scenario.r) {
                return Some(format!("a strict read of the owners of layout {floor} misses an acknowledged write"));
            }
        }
        let last = highest(state.decided);
        let group = self.groups.get(id(last))?;
        let copies = self.groups.count(group, |who| state.nodes[who.node.0 as usize].has);
        let counted = self.scenario.gone == 0 && !self.is(Fault::RefilledInPlace);
        if counted && copies < group.writes(self.scenario.w) {
            return Some(format!("{copies} of the owners of layout {last} have an acknowledged write"));
        }
        None
    }
}
