//! A story: settings, and what happens when. Drawn from a seed, shortened, written down, read back.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::action::{Action, field, numbers};
use super::changes;

/// Everything that a run depends on: the same story runs the same way, byte for byte.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Story {
    /// What decides the fates of messages.
    pub seed: u64,
    /// The cluster and its clients.
    pub settings: Settings,
    /// What happens, and when, from the start of the run; in order.
    pub actions: Vec<(Duration, Action)>,
}

/// How siblings become one value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reconciling {
    /// All are shown.
    Keep,
    /// The latest is shown.
    Latest,
    /// Values are sets; their union is shown.
    Union,
}

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident),* ; $($(#[$later:meta])* $added:ident),*) => {
        /// A cluster and its clients, in numbers.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub struct Settings {
            $($(#[$doc])* pub $name: u64,)*
            $($(#[$later])* pub $added: u64,)*
        }

        impl fmt::Display for Settings {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("settings")?;
                $(write!(f, concat!(" ", stringify!($name), "={}"), self.$name)?;)*
                // Stories that were written down before these were thought of read as they did.
                $(if self.$added > 0 {
                    write!(f, concat!(" ", stringify!($added), "={}"), self.$added)?;
                })*
                Ok(())
            }
        }

        impl FromStr for Settings {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let numbers = numbers(text.split_whitespace().skip(1))?;
                Ok(Self {
                    $($name: field(&numbers, stringify!($name))?,)*
                    $($added: field(&numbers, stringify!($added)).unwrap_or(0),)*
                })
            }
        }
    };
}

settings! {
    /// Nodes.
    nodes,
    /// Partitions.
    partitions,
    /// Shards in each node.
    shards,
    /// Replicas of each key.
    n,
    /// Replicas that a read waits for.
    r,
    /// Replicas that a write waits for.
    w,
    /// 1: only owners count; 0: fallbacks stand in.
    strict,
    /// 0: all siblings are shown; 1: the latest; 2: the union.
    reconciling,
    /// The sibling cap.
    siblings,
    /// The most bytes of hints for one target.
    hint_bytes,
    /// Clients.
    clients,
    /// Keys.
    keys,
    /// 1: every put follows a read of its own.
    polite,
    /// 1: every message goes through its bytes, corrupted or not.
    encode,
    /// Microseconds between two comparisons of the owners of a partition; 0 until the end of the story.
    exchange,
    /// Latest writes of each partition whose keys are remembered.
    dot_log,
    /// The nodes that stay when the rest has died for good, as bits; 0 for all.
    core,
    /// Zones that the nodes stand in, by turns; with more than one, every other client wants its answers from different
    /// ones.
    zones,
    /// 1: for every third write its coordinator's disk is enough; 2: for such a write that, or one other's, or none.
    relaxed,
    /// 1: values reach up to their bound, and few of them fill an object.
    large;
    /// 1: layouts change.
    elastic
}

impl Settings {
    /// Stories from this seed on change layouts. Which they are is no matter of chance, so that the others stay what they
    /// were.
    pub const ELASTIC: u64 = 1 << 40;

    /// Stories of seeds with this bit have writes that nobody syncs at once.
    pub const BUFFERED: u64 = 1 << 41;

    /// How siblings become one value.
    #[must_use]
    pub const fn reconciling(&self) -> Reconciling {
        match self.reconciling {
            0 => Reconciling::Keep,
            1 => Reconciling::Latest,
            _ => Reconciling::Union,
        }
    }

    /// Whether every read quorum meets every write quorum, and nothing but owners counts.
    #[must_use]
    pub const fn is_register(&self) -> bool {
        self.strict == 1 && self.r + self.w > self.n
    }

    /// Draws a cluster: 3 to 12 nodes, N from 1 to 5, every R and W, sloppy and strict, 1 to 16 clients, few hot keys
    /// or many, each way of reconciling. Three in four are small, since most mistakes show in small ones. In one of three
    /// layouts change.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x5e77);
        let small = rng.random_range(0..4) > 0;
        let nodes = rng.random_range(if small { 3..=6 } else { 3..=12 });
        let n = if rng.random_range(0..3) > 0 { 3 } else { rng.random_range(1..=nodes.min(5)) };
        let all = (1 << nodes) - 1;
        Self {
            nodes,
            partitions: 8,
            shards: rng.random_range(1..=3),
            n,
            r: rng.random_range(1..=n),
            w: rng.random_range(1..=n),
            strict: rng.random_range(0..=1),
            reconciling: [0, 0, 0, 1, 2][rng.random_range(0..5)],
            siblings: if rng.random_range(0..4) == 0 { 3 } else { 100 },
            hint_bytes: if rng.random_range(0..8) == 0 { 400 } else { 1 << 20 },
            clients: rng.random_range(if small { 1..=6 } else { 1..=16 }),
            keys: if small { rng.random_range(1..=3) } else { rng.random_range(1..=24) },
            polite: u64::from(rng.random_range(0..3) == 0),
            encode: u64::from(rng.random_range(0..8) == 0),
            exchange: [0, 0, 1_000_000, 5_000_000][rng.random_range(0..4)],
            dot_log: [1, 8, 1_024][rng.random_range(0..3)],
            core: if rng.random() { rng.random_range(1..=all) } else { 0 },
            zones: [1, 1, 2, 3][rng.random_range(0..4)],
            relaxed: match rng.random_range(0..4) {
                _ if seed & Self::BUFFERED > 0 => 2,
                0 => 1,
                _ => 0,
            },
            large: u64::from(rng.random_range(0..8) == 0),
            elastic: u64::from(seed & Self::ELASTIC > 0),
        }
    }
}

impl Story {
    /// Draws the settings, and what happens, from a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        Self::draw_with(seed, Settings::draw(seed), &|_| true)
    }

    /// Draws what happens to a given cluster. Faults that are not `wanted` are left out; which others are drawn does
    /// not depend on it.
    #[must_use]
    pub fn draw_with(seed: u64, settings: Settings, wanted: &dyn Fn(&Action) -> bool) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut draw = Draw::new(settings, &mut rng);
        let count = draw.rng.random_range(60..200);
        let mut at = Duration::ZERO;
        let mut actions = Vec::new();
        for _ in 0..count {
            if draw.rng.random_range(0..3) == 0 {
                actions.extend(draw.fault().map(|fault| (at, fault)));
            }
            actions.push((at, draw.request()));
            let pause = draw.rng.random_range(0..40_u64).pow(3);
            // Now and then long enough that deadlines pass and suspects are probed.
            let long = if draw.rng.random_range(0..100) == 0 { 2_000_000 } else { 0 };
            at += Duration::from_micros(pause + long);
        }
        if settings.elastic == 1 {
            changes::add(seed, &settings, &mut actions);
        }
        actions.retain(|(_, action)| action.is_request() || wanted(action));
        Self { seed, settings, actions }
    }
}

/// Which faults a seed brings at all: a run with everything on shows less than many with a few each.
struct Draw<'a> {
    rng: &'a mut Xoshiro256PlusPlus,
    settings: Settings,
    network: bool,
    processes: bool,
    disks: bool,
    clocks: bool,
    /// The one node whose data may be lost.
    forgetful: Option<u64>,
}

impl<'a> Draw<'a> {
    fn new(settings: Settings, rng: &'a mut Xoshiro256PlusPlus) -> Self {
        let mut one_in = |n: u32| rng.random_range(0..n) == 0;
        let (network, processes, disks, clocks) = (!one_in(8), !one_in(4), one_in(3), one_in(3));
        let amnesia = one_in(4) && settings.w >= 2;
        let forgetful = rng.random_range(1..=settings.nodes);
        let forgetful = amnesia.then_some(forgetful);
        Self { rng, settings, network, processes, disks, clocks, forgetful }
    }

    fn node(&mut self) -> u64 {
        self.rng.random_range(1..=self.settings.nodes)
    }

    /// Some nodes, but not all.
    fn side(&mut self) -> u64 {
        self.rng.random_range(1..(1 << self.settings.nodes) - 1)
    }

    fn fault(&mut self) -> Option<Action> {
        let (node, other, nodes) = (self.node(), self.node(), self.side());
        let time = self.rng.random_range(0..1_000_u64).pow(2);
        let percent = self.rng.random_range(0..=30);
        let kept = self.rng.random_range(0..6);
        let shard = self.rng.random_range(0..self.settings.shards);
        let seconds = self.rng.random_range(0..=3_600);
        match self.rng.random_range(0..21) {
            0..4 => Some(match self.rng.random_range(0..10) {
                0 => Action::Crash { node, kept },
                1 => Action::Stop { node },
                2 | 3 => Action::Bounce { node, kept },
                // Up to a minute, most of them short.
                4 => Action::Pause { node, time: time * self.rng.random_range(1..=60) },
                _ => Action::Start { node },
            })
            .filter(|_| self.processes),
            4..12 => Some(match self.rng.random_range(0..18) {
                0 => Action::Loss { percent },
                1 => Action::Duplication { percent: percent * 5 / 3 },
                2 => Action::Corruption { percent: percent / 3 },
                3 => Action::Reorder { time: time / 50 },
                4 => Action::Tail { time: time / 10 },
                5 => Action::Slow { node, time: time / 6 },
                6 => Action::Clog { node, time: time * 5 },
                7 => Action::Swizzle { nodes, time: time * 5 },
                8 => Action::Cut { node, other },
                9 => Action::Isolate { node },
                10 => Action::Split { nodes },
                11 => Action::OneWay { nodes },
                12 => Action::Bridge { nodes, bridge: node },
                _ => Action::Heal {},
            })
            .filter(|_| self.network),
            12..14 => Some(match self.rng.random_range(0..6) {
                0 => Action::FailReads { node, shard },
                1 => Action::FillDisk { node, shard },
                2 => Action::FailSync { node, shard },
                _ => Action::Mend { node },
            })
            .filter(|_| self.disks),
            14..16 => Some(match self.rng.random_range(0..8) {
                0 => Action::Ahead { node, seconds },
                1 => Action::Behind { node, seconds },
                2 => Action::Freeze { node },
                3 => Action::Latest { node },
                _ => Action::RightTime { node },
            })
            .filter(|_| self.clocks),
            16 => {
                let choice = self.rng.random_range(0..6);
                self.forgetful.map(|node| match choice {
                    0 => Action::LoseData { node },
                    1 => Action::Restore { node },
                    2 => Action::Clone { node },
                    3 => Action::EndClone { node },
                    _ => Action::Backup { node },
                })
            }
            17 => {
                let (rot, nth) = (self.rng.random_range(0..2) == 0, self.rng.random());
                self.forgetful.map(|node| {
                    if rot { Action::Rot { node, shard, nth } } else { Action::Misdirect { node, shard, nth } }
                })
            }
            _ => None,
        }
    }

    fn request(&mut self) -> Action {
        let Settings { clients, keys, polite, reconciling, .. } = self.settings;
        let (client, node) = (self.rng.random_range(0..clients), self.node());
        // The smaller of two: some keys are hot.
        let key = self.rng.random_range(0..keys).min(self.rng.random_range(0..keys));
        // A set only grows.
        let delete = u64::from(self.rng.random_range(0..10) == 0 && reconciling != 2);
        let (all, again) = (u64::from(self.rng.random_range(0..4) == 0), self.rng.random_range(0..8) == 0);
        let conditional = u64::from(self.rng.random_range(0..10) == 0);
        let choice = self.rng.random_range(0..10);
        let (lists, partition) =
            (self.rng.random_range(0..30) == 0, self.rng.random_range(0..self.settings.partitions));
        match choice {
            _ if lists => Action::List { client, node, partition },
            _ if again => Action::Repeat { client, node },
            0..4 if polite == 1 => Action::Get { client, node, key, all },
            _ if polite == 1 => Action::Update { client, node, key, delete },
            0..3 => Action::Get { client, node, key, all },
            3 | 4 => Action::Update { client, node, key, delete },
            9 if reconciling != 2 => Action::Delete { client, node, key, knows: 2 - 2 * all },
            _ => Action::Put { client, node, key, knows: [2, 2, 1, 0][choice as usize % 4], conditional },
        }
    }
}

/// One line each for the seed, the settings, and every action behind its time in microseconds.
impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "{}", self.settings)?;
        for (at, action) in &self.actions {
            writeln!(f, "{} {action}", at.as_micros())?;
        }
        Ok(())
    }
}

impl FromStr for Story {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let seed = lines.next().and_then(|line| line.strip_prefix("seed ")).ok_or("the first line is no seed")?;
        let seed = seed.parse().map_err(|error| format!("seed {seed:?}: {error}"))?;
        let settings = lines.next().filter(|line| line.starts_with("settings ")).ok_or("the second line: settings")?;
        let action = |line: &str| {
            let (at, action) = line.split_once(' ').ok_or_else(|| format!("{line:?}: a time and an action"))?;
            let at = at.parse().map_err(|error| format!("{line:?}: {error}"))?;
            Ok((Duration::from_micros(at), action.parse().map_err(|error| format!("{line:?}: {error}"))?))
        };
        let actions: Vec<_> = lines.map(action).collect::<Result<_, String>>()?;
        if !actions.is_sorted_by_key(|(at, _)| *at) {
            return Err("the actions are not in order of time".into());
        }
        Ok(Self { seed, settings: settings.parse()?, actions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_reads_as_it_is_written() {
        for seed in 0..50 {
            let story = Story::draw(seed);
            assert_eq!(story.to_string().parse(), Ok(story));
        }
    }

    #[test]
    fn leaving_a_fault_out_changes_nothing_else() {
        let mut left_out = 0;
        for seed in 0..20 {
            let wanted = |action: &Action| action.word() != "heal";
            let (all, fewer) = (Story::draw(seed), Story::draw_with(seed, Settings::draw(seed), &wanted));
            let kept: Vec<_> = all.actions.iter().filter(|(_, action)| wanted(action)).copied().collect();
            left_out += all.actions.len() - kept.len();
            assert_eq!(kept, fewer.actions);
        }
        assert!(left_out > 20);
    }

    #[test]
    fn what_is_no_story_is_refused_with_the_reason() {
        let error = |text: &str| text.parse::<Story>().unwrap_err();
        assert_eq!(error("x"), "the first line is no seed");
        assert_eq!(error("seed 1"), "the second line: settings");
        let settings = Settings::draw(1);
        assert!(error(&format!("seed 1\n{settings}\n5 explode")).contains("no action is called"));
        assert!(error(&format!("seed 1\n{settings}\n5 heal\n4 heal")).contains("not in order"));
    }
}
