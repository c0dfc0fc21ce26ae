//! Which partitions each member owns, given how many, and in which place.

use std::collections::VecDeque;

use super::tally::{Tally, mix};

/// What is to be assigned.
pub(super) struct Task<'a> {
    /// The zone of each member: numbers from 0 without gaps.
    pub(super) zone_of: &'a [usize],
    /// How many partitions each member owns; the sum is `n` times `q`.
    pub(super) shares: &'a [u32],
    pub(super) n: usize,
    pub(super) q: u32,
}

/// The owners of each partition, `n` indices of members each, in order.
pub(super) fn owners(task: &Task<'_>) -> Vec<u32> {
    let mut owners = sets(task);
    let order = Order::new(task, &owners);
    order.first(&mut owners, |_| true);
    for place in 1..task.n {
        order.next(&mut owners, place, |_| true);
    }
    owners
}

/// Puts the owners of those partitions in order again that are `changed`, and of others as far as first owners can't
/// be as many of each as they should be without.
pub(super) fn reorder(task: &Task<'_>, owners: &mut [u32], changed: &[bool]) {
    let order = Order::new(task, owners);
    order.first(owners, |partition| changed[partition]);
    for place in 1..task.n {
        order.next(owners, place, |partition| changed[partition]);
    }
}

/// The owners of each partition, in no particular order.
fn sets(task: &Task<'_>) -> Vec<u32> {
    let mut filling = Filling::new(task);
    for partition in 0..task.q {
        filling.fill(partition);
    }
    filling.owners
}

/// Fills partition after partition. With r partitions to go, a zone that has X copies left to place takes X/r,
/// rounded down or up, and a member that has r left takes part: so the rest can always be filled the same way (the
/// quotas are nested, and nested quotas round). Which members: those that owned least together with the ones
/// already in, among those that aren't ahead of their share.
struct Filling<'a> {
    task: &'a Task<'a>,
    /// How many partitions each member has still to get, and the members of each zone together.
    left: Vec<u32>,
    zone_left: Vec<u64>,
    /// What each member weighs in the costs of others: the less, the more partitions it owns.
    rarity: Vec<u64>,
    /// How often two members own a partition together.
    tally: Tally,
    owners: Vec<u32>,
    // For the partition being filled:
    /// Where its owners start.
    first: usize,
    /// How many more each zone must take, and whether it may take one above that.
    room: Vec<(u64, bool)>,
    /// How many zones must take one above what they must.
    extras: u64,
    /// How often each member is already together with the owners so far.
    cost: Vec<u64>,
}

/// Pairs of members that are counted one by one however few partitions there are: sharing counters costs time, and a
/// planner, unlike a reader of bytes, can take the memory.
const PAIRS: usize = 1 << 21;

impl<'a> Filling<'a> {
    fn new(task: &'a Task<'a>) -> Self {
        let zones = task.zone_of.iter().max().map_or(0, |last| last + 1);
        let mut zone_left = vec![0; zones];
        for (&zone, &share) in task.zone_of.iter().zip(task.shares) {
            zone_left[zone] += u64::from(share);
        }
        let copies = task.q as usize * task.n;
        Self {
            task,
            left: task.shares.to_vec(),
            zone_left,
            rarity: task.shares.iter().map(|&share| (1 << 32) / u64::from(share.max(1))).collect(),
            tally: Tally::new(task.shares.len(), copies.saturating_mul(task.n).max(PAIRS)),
            owners: Vec::with_capacity(copies),
            first: 0,
            room: vec![(0, false); zones],
            extras: 0,
            cost: vec![0; task.shares.len()],
        }
    }

    fn fill(&mut self, partition: u32) {
        let to_go = self.task.q - partition;
        self.first = self.owners.len();
        self.extras = self.task.n as u64;
        for (room, &left) in self.room.iter_mut().zip(&self.zone_left) {
            *room = (left / u64::from(to_go), left % u64::from(to_go) != 0);
            self.extras -= room.0;
        }
        self.cost.fill(0);
        for member in 0..self.left.len() {
            if self.left[member] == to_go {
                self.take(member);
            }
        }
        while self.owners.len() < self.first + self.task.n {
            let member = self.best(partition, to_go);
            self.take(member);
        }
    }

    fn best(&self, partition: u32, to_go: u32) -> usize {
        let mut best: Option<(Rank, usize)> = None;
        for member in 0..self.left.len() {
            let room = self.room[self.task.zone_of[member]];
            let open = room.0 > 0 || (room.1 && self.extras > 0);
            if self.left[member] == 0 || !open || self.owners[self.first..].contains(&(member as u32)) {
                continue;
            }
            let ahead = i64::from(self.task.shares[member]) * i64::from(to_go)
                - i64::from(self.left[member]) * i64::from(self.task.q);
            let rank = Rank {
                ahead: ahead.max(0) / i64::from(self.task.q),
                cost: u128::from(self.cost[member]) * u128::from(self.rarity[member]),
                ahead_exactly: ahead,
            };
            let better = best.as_ref().is_none_or(|(other, holder)| {
                rank.cmp(other).then_with(|| scatter(partition, member).cmp(&scatter(partition, *holder))).is_lt()
            });
            if better {
                best = Some((rank, member));
            }
        }
        best.expect("nested quotas always round").1
    }

    fn take(&mut self, member: usize) {
        let zone = self.task.zone_of[member];
        if self.room[zone].0 > 0 {
            self.room[zone].0 -= 1;
        } else {
            self.room[zone].1 = false;
            self.extras -= 1;
        }
        self.zone_left[zone] -= 1;
        self.left[member] -= 1;
        for &other in &self.owners[self.first..] {
            self.tally.add(other as usize, member);
            self.tally.add(member, other as usize);
        }
        self.owners.push(member as u32);
        let rare = self.rarity[member];
        if let Some(row) = self.tally.row(member) {
            self.cost.iter_mut().zip(row).for_each(|(cost, &count)| *cost += u64::from(count) * rare);
        } else {
            for (other, cost) in self.cost.iter_mut().enumerate() {
                *cost += u64::from(self.tally.get(member, other)) * rare;
            }
        }
    }
}

/// Who is taken first: the smallest.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// By how many whole partitions a member is ahead of its share so far.
    ahead: i64,
    cost: u128,
    ahead_exactly: i64,
}

fn scatter(partition: u32, member: usize) -> u64 {
    mix(u64::from(partition), member as u64)
}

/// Puts the owners of each partition in order: first who comes first, evenly to one partition, then who comes next,
/// so that those who come after any one member are as many of each as can be. They serve first when it is down.
struct Order<'a> {
    n: usize,
    /// How many partitions each member owns, and which.
    shares: &'a [u32],
    of_member: Vec<Vec<u32>>,
}

impl<'a> Order<'a> {
    fn new(task: &Task<'a>, owners: &[u32]) -> Self {
        let mut of_member: Vec<_> = task.shares.iter().map(|&share| Vec::with_capacity(share as usize)).collect();
        for (at, &member) in owners.iter().enumerate() {
            of_member[member as usize].push((at / task.n) as u32);
        }
        Self { n: task.n, shares: task.shares, of_member }
    }

    /// Decides the first owners, of partitions that are open and where it must be of others: each member is it in its
    /// share divided by `n`, rounded down or up.
    fn first(&self, owners: &mut [u32], is_open: impl Fn(usize) -> bool) {
        let n = self.n as u32;
        let mut held = vec![0_u32; self.shares.len()];
        owners
            .chunks(self.n)
            .enumerate()
            .filter(|&(at, _)| !is_open(at))
            .for_each(|(_, row)| held[row[0] as usize] += 1);
        for (partition, row) in owners.chunks_mut(self.n).enumerate().filter(|&(partition, _)| is_open(partition)) {
            let least_filled = |&at: &usize| {
                let member = row[at] as usize;
                // What part of its share, in 2³² parts.
                let filled = (u64::from(held[member]) << 32) / u64::from(self.shares[member]);
                (filled, scatter(partition as u32, member))
            };
            let best = (0..row.len()).min_by_key(least_filled).expect("a row has owners");
            row.swap(0, best);
            held[row[0] as usize] += 1;
        }
        // What came out wrong for looking at one partition at a time is put right along chains of exchanges.
        let (least, most) = (|at: usize| self.shares[at] / n, |at: usize| self.shares[at].div_ceil(n));
        for member in 0..held.len() {
            while held[member] > most(member) {
                self.shift(owners, member, true, &mut held, |at, held| held < most(at));
            }
        }
        for member in 0..held.len() {
            while held[member] < least(member) {
                self.shift(owners, member, false, &mut held, |at, held| held > least(at));
            }
        }
    }

    /// Decides the owners in `place`, not the first, of partitions that are open, those before it being decided.
    fn next(&self, owners: &mut [u32], place: usize, is_open: impl Fn(usize) -> bool) {
        let mut held = vec![0_u32; self.shares.len()];
        let mut follows = Tally::new(self.shares.len(), owners.len() / self.n);
        for (_, row) in owners.chunks(self.n).enumerate().filter(|&(partition, _)| !is_open(partition)) {
            held[row[place] as usize] += 1;
            follows.add(row[place - 1] as usize, row[place] as usize);
        }
        // Each round but the first sees the choices of the one before.
        for round in 0..3 {
            for (partition, row) in owners.chunks_mut(self.n).enumerate().filter(|&(partition, _)| is_open(partition)) {
                let (before, open) = row.split_at_mut(place);
                let previous = before[place - 1] as usize;
                if round > 0 {
                    held[open[0] as usize] -= 1;
                    follows.remove(previous, open[0] as usize);
                }
                let rarest = |&at: &usize| {
                    let member = open[at] as usize;
                    let share = u64::from(self.shares[member]);
                    let part = |count: u32| (u64::from(count) << 32) / share;
                    (part(follows.get(previous, member)), part(held[member]), scatter(partition as u32, member))
                };
                let best = (0..open.len()).min_by_key(rarest).expect("a row has an owner for each place");
                open.swap(0, best);
                held[open[0] as usize] += 1;
                follows.add(previous, open[0] as usize);
            }
        }
    }

    /// Moves one first place from `member` (or, if not `away`, to it) along the shortest chain of partitions to a member that
    /// is `good` to take (or give) it.
    fn shift(
        &self,
        owners: &mut [u32],
        member: usize,
        away: bool,
        held: &mut [u32],
        good: impl Fn(usize, u32) -> bool,
    ) {
        let n = self.n;
        // By which partition, from which member, each member was reached.
        let mut reached: Vec<Option<(u32, u32)>> = vec![None; held.len()];
        let mut queue = VecDeque::from([member]);
        reached[member] = Some((0, member as u32));
        let mut end = None;
        'search: while let Some(at) = queue.pop_front() {
            for &partition in &self.of_member[at] {
                let row = &owners[partition as usize * n..][..n];
                if (row[0] as usize == at) != away {
                    continue;
                }
                let others = if away { &row[1..] } else { &row[..1] };
                for &other in others {
                    if reached[other as usize].is_some() {
                        continue;
                    }
                    reached[other as usize] = Some((partition, at as u32));
                    if good(other as usize, held[other as usize]) {
                        end = Some(other as usize);
                        break 'search;
                    }
                    queue.push_back(other as usize);
                }
            }
        }
        let end = end
            .expect("places can always be shared out evenly: each owner of a partition counts for an equal part of it");
        let mut at = end;
        while at != member {
            let (partition, from) = reached[at].expect("the chain was walked from the other end");
            let row = &mut owners[partition as usize * n..][..n];
            let (gives, takes) = if away { (from, at as u32) } else { (at as u32, from) };
            let taker = row.iter().position(|&owner| owner == takes).expect("both own the partition");
            debug_assert_eq!(row[0], gives);
            row.swap(0, taker);
            at = from as usize;
        }
        let (loses, wins) = if away { (member, end) } else { (end, member) };
        held[loses] -= 1;
        held[wins] += 1;
    }
}
