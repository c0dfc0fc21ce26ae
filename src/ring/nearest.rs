//! The owners of each partition, as near as can be to those that there were.
//!
//! Shares are filled along paths, as water finds its way: whoever has too little takes from whoever has too much,
//! directly where that goes, else by way of members who take one partition and give another. A general minimum-cost
//! flow would do this too, in hours for a thousand members; here nearly every path is one step long.
//!
//! Each member must get at least what it lacks, so that a placement with no more moves than that is known to be the
//! nearest. Only the zone rule can ask for more; then moves that undo one another are looked for in the end.

use std::cmp::Ordering;
use std::collections::VecDeque;

use super::placing::{NOBODY, Placing, Task};
use super::tally::mix;

/// Those who take a partition from a member are looked for among so many first.
const RECEIVERS: usize = 4;
/// So many pairs of one of them and one of its partitions are looked at.
const PAIRS: usize = 160;
/// How many steps searches may take in all; as many again may those for moves that undo one another. It is enough for
/// what the zone rule drives out of some thousand partitions of a hundred members; beyond, the first way that is found
/// is taken.
const EFFORT: u64 = 50_000_000;

/// The owners of each partition, `n` for each: different members, by the zone rule, each exactly its share, and as
/// few as can be that weren't owners before. Those who stay keep their places.
pub(super) fn assign<'a>(task: &'a Task<'a>) -> Placing<'a> {
    let mut filling = Filling { placing: Placing::new(task), effort: EFFORT };
    filling.keep();
    filling.fill();
    filling.level();
    filling.chains();
    filling.effort = EFFORT;
    filling.undo();
    filling.placing.put_back();
    filling.placing
}

struct Filling<'a> {
    placing: Placing<'a>,
    effort: u64,
}

impl Filling<'_> {
    /// Puts everybody where they were, as far as the zone rule allows; where too many stand in a zone, those go who
    /// have most to give.
    fn keep(&mut self) {
        let placing = &mut self.placing;
        for place in 0..placing.task.before.len() {
            if placing.task.before[place] != NOBODY {
                placing.put(place, placing.task.before[place]);
            }
        }
        for first in (0..placing.task.before.len()).step_by(placing.task.n) {
            loop {
                let surplus = placing
                    .places(first)
                    .filter(|&place| placing.owners[place] != NOBODY && placing.is_surplus(place))
                    .min_by_key(|&place| {
                        let owner = placing.owners[place];
                        (placing.need(owner), Placing::scatter(place, owner))
                    });
                let Some(place) = surplus else { break };
                placing.take(place);
            }
        }
    }

    /// Fills empty places with members who lack partitions.
    fn fill(&mut self) {
        let mut needy = self.needy();
        for place in 0..self.placing.owners.len() {
            if self.placing.owners[place] != NOBODY {
                continue;
            }
            let Some(best) = self.best(place, &needy) else { continue };
            self.placing.put(place, best.member);
            if self.placing.need(best.member) == 0 {
                needy.retain(|&member| member != best.member);
            }
        }
    }

    fn needy(&self) -> Vec<u32> {
        (0..self.placing.held.len() as u32).filter(|&member| self.placing.need(member) > 0).collect()
    }

    /// Who of `members` is best put in `place`: whoever was there before, else whoever was least together with the
    /// others.
    fn best(&self, place: usize, members: &[u32]) -> Option<Choice> {
        let fitting = members.iter().copied().filter(|&member| self.placing.fits(place, member));
        fitting.map(|member| self.choice(place, member)).min_by(|a, b| self.compare(a, b))
    }

    fn choice(&self, place: usize, member: u32) -> Choice {
        let new = !self.placing.was_owner(place, member);
        Choice { place, member, cost: (new, self.placing.cost(place, member)) }
    }

    fn compare(&self, a: &Choice, b: &Choice) -> Ordering {
        a.cost.cmp(&b.cost).then_with(|| self.placing.break_tie((a.place, a.member), (b.place, b.member)))
    }

    /// Lets those who have too much give to those who have too little.
    fn level(&mut self) {
        let mut givers: Vec<u32> =
            (0..self.placing.held.len() as u32).filter(|&member| self.placing.need(member) < 0).collect();
        let mut turn = 0;
        while !givers.is_empty() {
            turn += 1;
            let most = |&at: &usize| (self.placing.need(givers[at]), mix(turn, u64::from(givers[at])));
            let at = (0..givers.len()).min_by_key(most).expect("there are givers");
            let giver = givers[at];
            let Some((place, taker)) = self.gift(giver, turn) else {
                givers.swap_remove(at);
                continue;
            };
            self.placing.take(place);
            self.placing.put(place, taker);
            if self.placing.need(giver) == 0 {
                givers.swap_remove(at);
            }
        }
    }

    /// What `giver` gives to whom.
    fn gift(&self, giver: u32, turn: u64) -> Option<(usize, u32)> {
        let zone = |member: u32| self.placing.task.zone_of[member as usize];
        let held = &self.placing.held[giver as usize];
        let start = (mix(turn, u64::from(giver)) % held.len() as u64) as usize;
        let some = |count: usize| (0..count).map(move |step| held[(start + step) % held.len()] as usize);
        // The partition stays in its zone where it can: other zones may have no room for it.
        for same in [true, false] {
            let mut takers = self.needy();
            takers.retain(|&member| (zone(member) == zone(giver)) == same);
            if takers.len() > RECEIVERS {
                let neediest = |&member: &u32| (-self.placing.need(member), mix(turn, u64::from(member)));
                takers.select_nth_unstable_by_key(RECEIVERS, neediest);
            }
            let neediest = &takers[..takers.len().min(RECEIVERS)];
            let few = held.len().min(PAIRS / neediest.len().max(1));
            let best = some(few).filter_map(|place| self.best(place, neediest)).min_by(|a, b| self.compare(a, b));
            if let Some(gift) = best {
                return Some((gift.place, gift.member));
            }
            let any = some(held.len()).find_map(|place| {
                let taker = takers.iter().find(|&&taker| self.placing.fits(place, taker))?;
                Some((place, *taker))
            });
            if any.is_some() {
                return any;
            }
        }
        None
    }

    /// What couldn't be done in one step.
    fn chains(&mut self) {
        for place in 0..self.placing.owners.len() {
            if self.placing.owners[place] == NOBODY {
                self.chain(Source::Empty(place));
            }
        }
        for member in 0..self.placing.held.len() as u32 {
            while self.placing.need(member) < 0 {
                self.chain(Source::Giver(member));
            }
        }
    }

    fn chain(&mut self, source: Source) {
        let done = [false, true].into_iter().any(|by_steps| {
            let chain = self.search(source, Sink::Needy, by_steps);
            chain.is_some_and(|chain| self.apply(&chain))
        });
        assert!(done, "fractions of partitions can be owned just so, and what fractions can, whole ones can");
    }

    /// Looks for moves of which one was for nothing: an owner of before could come back, and what it gives up for
    /// that goes, by way of places that move anyway, to the one who stands there.
    fn undo(&mut self) {
        let placing = &self.placing;
        let lacking = |member: usize, held: u32| u64::from(placing.task.shares[member].saturating_sub(held));
        let mut had = vec![0_u32; placing.held.len()];
        for &owner in placing.task.before.iter().filter(|&&owner| owner != NOBODY) {
            had[owner as usize] += 1;
        }
        let least: u64 = had.iter().enumerate().map(|(member, &held)| lacking(member, held)).sum();
        let mut spare = placing.moved() - least;
        for place in 0..self.placing.owners.len() {
            if spare == 0 || self.effort == 0 {
                return;
            }
            if !self.placing.is_moved(place) {
                continue;
            }
            let back: Vec<u32> = self.placing.missing(place).filter(|&m| self.placing.fits(place, m)).collect();
            for member in back {
                let there = self.placing.owners[place];
                let Some(mut chain) = self.search(Source::Giver(member), Sink::Member(there), false) else { continue };
                chain.push((place, member));
                let before = self.gained(&chain);
                if self.apply(&chain) {
                    spare -= before;
                    break;
                }
            }
        }
    }

    /// How many moves fewer there are after a chain.
    fn gained(&self, chain: &[(usize, u32)]) -> u64 {
        let old = chain.iter().filter(|&&(place, _)| self.placing.is_moved(place)).count();
        let new = chain.iter().filter(|&&(place, member)| !self.placing.was_owner(place, member)).count();
        old.saturating_sub(new) as u64
    }

    /// The cheapest chain from `source` to `sink`, as places and whom to put there. If not `by_steps`, a step costs
    /// one if it moves what didn't move yet, and nothing if not; a chain to one member must then cost nothing.
    fn search(&mut self, source: Source, sink: Sink, by_steps: bool) -> Option<Vec<(usize, u32)>> {
        let members = self.placing.held.len() as u32;
        self.effort = self.effort.saturating_sub(u64::from(members));
        let mut search =
            Search { reached: vec![None; members as usize], unreached: (0..members).collect(), queue: VecDeque::new() };
        match source {
            Source::Empty(place) => {
                // Always the same ones first would soon have nothing more to give.
                let start = mix(place as u64, 0) % u64::from(members);
                for step in 0..members {
                    let member = (start as u32 + step) % members;
                    if self.placing.fits(place, member) {
                        let cost = u32::from(by_steps || !self.placing.was_owner(place, member));
                        search.reach(member, cost, place, NOBODY, cost > 0);
                    }
                }
            }
            Source::Giver(member) => search.reach(member, 0, 0, NOBODY, false),
        }
        let mut settled = vec![false; members as usize];
        // Whether the zone rule lets a zone into the place that is looked at.
        let mut zones: Vec<Option<bool>> = vec![None; self.placing.task.bounds.len()];
        while let Some(at) = search.queue.pop_front() {
            if std::mem::replace(&mut settled[at as usize], true) {
                continue;
            }
            let cost = search.cost(at);
            if self.is_end(sink, at) {
                return Some(search.chain(source, at));
            }
            let to_one = matches!(sink, Sink::Member(_));
            if to_one && cost > 0 {
                return None;
            }
            search.unreached.retain(|&member| search.reached[member as usize].is_none());
            for &place in &self.placing.held[at as usize] {
                let placing = &self.placing;
                let place = place as usize;
                let moved = placing.is_moved(place);
                let changed = moved || placing.missing(place).next().is_some();
                zones.fill(None);
                let mut fits = |member: u32| {
                    let zone = placing.zone(member);
                    !placing.row(place).contains(&member)
                        && *zones[zone].get_or_insert_with(|| placing.zone_fits(place, zone))
                };
                self.effort = self.effort.saturating_sub(1);
                if by_steps || !changed || self.effort == 0 {
                    // Everybody else was reached at no more than this would cost.
                    let unreached = if to_one { Vec::new() } else { std::mem::take(&mut search.unreached) };
                    self.effort = self.effort.saturating_sub(unreached.len() as u64);
                    for member in unreached {
                        if !fits(member) {
                            search.unreached.push(member);
                        } else if search.reached[member as usize].is_none() {
                            search.reach(member, cost + 1, place, at, true);
                            if self.effort == 0 && self.is_end(sink, member) {
                                return Some(search.chain(source, member));
                            }
                        }
                    }
                    continue;
                }
                self.effort = self.effort.saturating_sub(u64::from(members));
                for member in 0..members {
                    let price = cost + u32::from(!moved && !placing.was_owner(place, member));
                    if search.cost(member) > price && fits(member) {
                        search.reach(member, price, place, at, price > cost);
                    }
                }
            }
        }
        None
    }

    fn is_end(&self, sink: Sink, member: u32) -> bool {
        match sink {
            Sink::Needy => self.placing.need(member) > 0,
            Sink::Member(end) => member == end,
        }
    }

    /// Carries a chain out; if that would break a rule, since two of its steps meet in a partition, nothing happens.
    fn apply(&mut self, chain: &[(usize, u32)]) -> bool {
        let taken: Vec<(usize, u32)> = chain
            .iter()
            .filter(|&&(place, _)| self.placing.owners[place] != NOBODY)
            .map(|&(place, _)| (place, self.placing.owners[place]))
            .collect();
        for &(place, _) in &taken {
            self.placing.take(place);
        }
        for (done, &(place, member)) in chain.iter().enumerate() {
            if !self.placing.fits(place, member) {
                for &(place, _) in &chain[..done] {
                    self.placing.take(place);
                }
                for (place, owner) in taken {
                    self.placing.put(place, owner);
                }
                return false;
            }
            self.placing.put(place, member);
        }
        true
    }
}

/// Somebody for a place.
struct Choice {
    place: usize,
    member: u32,
    /// Whether the member is new there, and what it costs the spread.
    cost: (bool, u128),
}

#[derive(Clone, Copy)]
enum Source {
    /// An empty place.
    Empty(usize),
    /// A member who gives a partition.
    Giver(u32),
}

#[derive(Clone, Copy)]
enum Sink {
    /// Anybody who lacks a partition.
    Needy,
    Member(u32),
}

/// A search outward from a source, cheapest first.
struct Search {
    /// At which cost each member was reached, by which place, and who gives that.
    reached: Vec<Option<(u32, usize, u32)>>,
    /// Those who weren't, and perhaps some who were.
    unreached: Vec<u32>,
    queue: VecDeque<u32>,
}

impl Search {
    fn cost(&self, member: u32) -> u32 {
        self.reached[member as usize].map_or(u32::MAX, |(cost, ..)| cost)
    }

    fn reach(&mut self, member: u32, cost: u32, place: usize, from: u32, later: bool) {
        self.reached[member as usize] = Some((cost, place, from));
        if later {
            self.queue.push_back(member);
        } else {
            self.queue.push_front(member);
        }
    }

    fn chain(&self, source: Source, end: u32) -> Vec<(usize, u32)> {
        let mut chain = Vec::new();
        let mut at = end;
        loop {
            let (_, place, from) = self.reached[at as usize].expect("the chain was walked from the other end");
            if from == NOBODY {
                if let Source::Empty(place) = source {
                    chain.push((place, at));
                }
                return chain;
            }
            chain.push((place, at));
            at = from;
        }
    }
}
