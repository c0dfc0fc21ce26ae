//! No tree at all: one side lists every key with its digest.

use quorate::merkle::{KeyDigest, differing_keys};

use super::{exchange_records, rows_at};
use crate::wire::{Model, Wire, encoded};
use crate::world::{Side, World};

pub(crate) struct WholeList;

impl Model for WholeList {
    fn name(&self) -> &'static str {
        "whole list"
    }

    /// Nothing is kept between repairs.
    fn keep(&mut self, _: &World) {}

    fn repair(&self, world: &World, wire: &mut Wire) {
        let [own, theirs] = Side::BOTH.map(|side| {
            let keys = world.listed(0..=u64::MAX, side);
            keys.map(|(position, digest)| KeyDigest::new(position, digest)).collect::<Vec<_>>()
        });
        wire.read(own.len() + theirs.len());
        wire.put(Side::A, 1);
        theirs.iter().for_each(|key| wire.put(Side::B, encoded(key)));
        let differing = differing_keys(&own, &theirs);
        exchange_records(world, wire, Side::A, &rows_at(world, &differing));
    }
}
