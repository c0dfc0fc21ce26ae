//! Evens out who owns partitions together, by places that move anyway.
//!
//! Those who own partitions together with a lost member rebuild it, and serve in its stead. A move that was chosen
//! when the others weren't known yet can be exchanged for another that is just as short.

use super::placing::{NOBODY, Placing};
use super::tally::mix;

/// How often all moves are looked at.
const ROUNDS: u64 = 2;
/// How many exchanges are tried for each of them.
const TRIES: u64 = 24;

/// Exchanges moves as long as the spread gets better by it. Shares, zones and the number of moves stay as they are.
pub(super) fn even_out(placing: &mut Placing<'_>) {
    for round in 0..ROUNDS {
        let moved: Vec<usize> = (0..placing.owners.len()).filter(|&place| placing.is_moved(place)).collect();
        for (number, &place) in moved.iter().enumerate() {
            if !placing.is_moved(place) {
                continue;
            }
            for turn in 0..TRIES {
                let drawn = mix(number as u64, (round * TRIES) + turn);
                if turn % 2 == 0 {
                    let other = moved[(drawn % moved.len() as u64) as usize];
                    swap(placing, place, other);
                } else {
                    give_another(placing, place, drawn);
                }
                if !placing.is_moved(place) {
                    break;
                }
            }
        }
    }
}

/// Two new owners change places.
fn swap(placing: &mut Placing<'_>, a: usize, b: usize) {
    let (in_a, in_b) = (placing.owners[a], placing.owners[b]);
    let idle = in_a == in_b || placing.places(a) == placing.places(b) || !placing.is_moved(b);
    if idle || !placing.fits(a, in_b) || !placing.fits(b, in_a) {
        return;
    }
    if placing.was_owner(a, in_b) || placing.was_owner(b, in_a) {
        return;
    }
    exchange(placing, a, b);
}

/// The one who gave the partition of `place` gives another of its partitions to the same new owner instead.
fn give_another(placing: &mut Placing<'_>, place: usize, drawn: u64) {
    let (taker, giver) = (placing.owners[place], placing.task.before[place]);
    if giver == NOBODY || placing.row(place).contains(&giver) || placing.held[giver as usize].is_empty() {
        return;
    }
    let held = &placing.held[giver as usize];
    let other = held[(drawn % held.len() as u64) as usize] as usize;
    let idle = placing.is_moved(other) || placing.was_owner(other, taker);
    if !idle && placing.fits(place, giver) && placing.fits(other, taker) {
        exchange(placing, place, other);
    }
}

/// Exchanges the owners in two places of different partitions, if that is better than what was.
fn exchange(placing: &mut Placing<'_>, a: usize, b: usize) {
    // A look first, as most exchanges are no good. It only errs where the two partitions have an owner in common.
    let go = placing.cost(a, placing.owners[b]) + placing.cost(b, placing.owners[a]);
    if go >= placing.cost_there(a) + placing.cost_there(b) {
        return;
    }
    let (in_a, in_b) = (placing.take(a), placing.take(b));
    let stay = placing.cost(a, in_a) + placing.cost(b, in_b);
    let go = placing.cost(a, in_b) + placing.cost(b, in_a);
    let (first, second) = if go < stay { (in_b, in_a) } else { (in_a, in_b) };
    placing.put(a, first);
    placing.put(b, second);
}
