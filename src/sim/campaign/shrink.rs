//! Makes a failing story short.

use super::property::Property;
use super::story::Story;
use super::{Run, play};

type Simplify = fn(&mut Story);

/// Leaves out of a story whatever it doesn't take to break the same property; then simplifies its cluster. The result
/// is a story from which no single action can be left out, or what was found within `tries` runs.
#[must_use]
pub fn shrink(story: &Story, property: Property, mut tries: usize) -> Story {
    let mut still_breaks = |story: &Story| {
        tries = tries.saturating_sub(1);
        tries > 0 && is_broken(&play(story), property)
    };
    let mut best = story.clone();
    let mut length = best.actions.len().div_ceil(2).max(1);
    loop {
        let before = best.actions.len();
        let mut from = 0;
        while from < best.actions.len() {
            let mut shorter = best.clone();
            shorter.actions.drain(from..(from + length).min(best.actions.len()));
            if still_breaks(&shorter) {
                best = shorter;
            } else {
                from += length;
            }
        }
        if length == 1 && best.actions.len() == before {
            break;
        }
        length = length.div_ceil(2).max(1);
    }
    let simpler: [Simplify; 7] = [
        |story| story.settings.elastic = 0,
        |story| story.settings.core = 0,
        |story| story.settings.shards = 1,
        |story| story.settings.encode = 0,
        |story| story.settings.zones = 1,
        |story| story.settings.relaxed = 0,
        |story| story.settings.large = 0,
    ];
    for simplify in simpler {
        let mut simpler = best.clone();
        simplify(&mut simpler);
        if simpler != best && still_breaks(&simpler) {
            best = simpler;
        }
    }
    best
}

fn is_broken(run: &Run, property: Property) -> bool {
    run.result.as_ref().is_err_and(|violation| violation.property == property)
}
