//! The others' ways, by their shapes. Each is built over the keys and run; none is a formula.

mod cassandra;
mod list;
mod riak;

pub(crate) use cassandra::Cassandra;
pub(crate) use list::WholeList;
pub(crate) use riak::Riak;

use super::wire::Wire;
use super::world::{Side, World};

/// The last step wherever the differing keys are known one by one: the side that found them sends what it has of them,
/// and asks by position for what it lacks; the other sends back where it is ahead.
fn exchange_records(world: &World, wire: &mut Wire, finder: Side, rows: &[usize]) {
    for &row in rows {
        if world.dot(row, finder).is_some() {
            wire.put_record(world, finder, row);
        } else {
            wire.put(finder, 8);
        }
    }
    for &row in rows {
        if world.ahead(row) == Some(finder.other()) {
            wire.put_record(world, finder.other(), row);
        }
    }
}

/// The rows at these positions.
fn rows_at(world: &World, positions: &[u64]) -> Vec<usize> {
    positions.iter().flat_map(|&position| world.rows_in(position..=position)).collect()
}
