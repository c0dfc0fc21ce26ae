//! The exchange of clocks: each side tells what it has seen, and gets exactly the records whose dots it lacks.
//!
//! It finds what was missed, and never what a clock can't see: lost or garbled records are for the trees.

use crate::wire::{Method, Wire};
use crate::world::{Side, World};

/// A dot beside the record that holds its effect: node, start, counter.
const DOT: usize = 1 + 8 + 4;

pub(crate) struct Frontier;

impl Method for Frontier {
    fn name(&self) -> &'static str {
        "exchange of clocks"
    }

    /// Clocks, and the log from dots to keys, are kept by the replicas whoever repairs them.
    fn keep(&mut self, _: &World) {}

    fn repair(&self, world: &World, wire: &mut Wire) {
        wire.put_encoded(Side::B, world.clock(Side::B));
        // A answers with what B lacks, and with its own clock at the end: by it, B finds what A lacks.
        for side in [Side::A, Side::B] {
            let lacking = world.clock(side).minus(world.clock(side.other()));
            for row in world.log(side, &lacking) {
                wire.put(side, DOT);
                wire.put_record(world, side, row);
            }
            if side == Side::A || !lacking.is_empty() {
                wire.put_encoded(side, world.clock(side));
            }
        }
    }
}
