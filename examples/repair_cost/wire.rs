//! What goes between the replicas, counted.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::world::{Side, World};

/// Around every message: magic, version, cluster, sender, lengths and checksum of a frame; kind of the message, request,
/// layout and partition.
pub(crate) const FRAME: usize = 36 + 28;
/// A message takes no more than about so many bytes: what is longer goes in several, one behind the other.
pub(crate) const MESSAGE: usize = 128 << 10;

/// A way of repairing two replicas.
pub(crate) trait Method {
    fn name(&self) -> &'static str;

    /// One repair, both ways.
    fn cost(&mut self, world: &World) -> Cost;
}

/// The shape of a way: a small program over the keys.
pub(crate) trait Model {
    fn name(&self) -> &'static str;

    /// Makes what the method keeps current with every write. Not counted: the replicas have it when a repair begins.
    fn keep(&mut self, world: &World);

    /// One repair, both ways.
    fn repair(&self, world: &World, wire: &mut Wire);
}

/// So many times a model is run: the least time counts, for all else is what the machine was busy with besides.
pub(crate) const TIMES: usize = 3;

impl<M: Model> Method for M {
    fn name(&self) -> &'static str {
        Model::name(self)
    }

    fn cost(&mut self, world: &World) -> Cost {
        self.keep(world);
        let repair = || {
            let mut wire = Wire::default();
            let start = Instant::now();
            self.repair(world, &mut wire);
            let time = start.elapsed();
            wire.cost(world, time)
        };
        (0..TIMES).map(|_| repair()).min_by_key(|cost| cost.time).expect("it was repaired")
    }
}

/// What a repair took.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Cost {
    pub(crate) bytes: usize,
    /// Of these, all that is no record.
    pub(crate) finding: usize,
    pub(crate) messages: usize,
    /// Times that one side waited for the other, halved.
    pub(crate) round_trips: usize,
    pub(crate) records: usize,
    /// Keys that were read from the two storages.
    pub(crate) reads: usize,
    pub(crate) time: Duration,
    /// Whether each side got what it lacked.
    pub(crate) healed: bool,
}

/// Counts what a method sends; the method has really made it.
#[derive(Default)]
pub(crate) struct Wire {
    cost: Cost,
    /// Who is speaking, and the bytes of the message that is being filled.
    open: Option<(Side, usize)>,
    turns: usize,
    /// Rows of which a side was sent the other's record.
    delivered: [Vec<usize>; 2],
}

impl Wire {
    /// A part of a message from `from`: of the one that is being filled, or of the next.
    pub(crate) fn put(&mut self, from: Side, bytes: usize) {
        self.cost.finding += bytes;
        self.fill(from, bytes);
    }

    /// As [`Wire::put`], of something as it is encoded.
    pub(crate) fn put_encoded(&mut self, from: Side, what: &impl Serialize) {
        self.put(from, encoded(what));
    }

    /// The record that `from` has of a key, if it has one.
    pub(crate) fn put_record(&mut self, world: &World, from: Side, row: usize) {
        if let Some(bytes) = world.record(row, from) {
            self.cost.records += 1;
            self.cost.reads += 1;
            self.fill(from, bytes);
            self.delivered[from.other() as usize].push(row);
        }
    }

    /// So many keys were read from a storage.
    pub(crate) fn read(&mut self, keys: usize) {
        self.cost.reads += keys;
    }

    fn fill(&mut self, from: Side, bytes: usize) {
        match &mut self.open {
            Some((side, filled)) if *side == from && *filled + bytes <= MESSAGE => *filled += bytes,
            open => {
                self.turns += usize::from(open.is_none_or(|(side, _)| side != from));
                *open = Some((from, bytes));
                self.cost.messages += 1;
                self.cost.finding += FRAME;
            }
        }
        self.cost.bytes += bytes;
    }

    /// The sum, if the repair took so long.
    pub(crate) fn cost(mut self, world: &World, time: Duration) -> Cost {
        self.delivered.iter_mut().for_each(|rows| rows.sort_unstable());
        let healed = world.differing.iter().all(|&row| {
            let behind = world.ahead(row).expect("it differs").other();
            self.delivered[behind as usize].binary_search(&row).is_ok()
        });
        let bytes = self.cost.bytes + self.cost.messages * FRAME;
        Cost { bytes, round_trips: self.turns.div_ceil(2), time, healed, ..self.cost }
    }
}

/// How many bytes it takes in a message.
pub(crate) fn encoded(what: &impl Serialize) -> usize {
    bincode::serde::encode_to_vec(what, bincode::config::standard()).expect("it can be encoded").len()
}
