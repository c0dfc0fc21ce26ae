//! What the covered set of one key must hold (N7).

use crate::dots::DotSet;
use crate::ids::Dot;

/// More dots than this are not looked up: the whole set is the answer.
const LOOKED_UP: u64 = 1024;

/// What a set that speaks for one key alone must say of `covered` beside `head`: its `own` dots (live ones and
/// residual), and those that `is_of_key` knows for the key's.
///
/// A join of the key looks at the key's dots and no others. Less than all of them is not enough: with the live dots
/// alone a version stands beside the one that it had superseded, at an owner that lags. Therefore one dot of which the
/// log knows nothing (its lines are a cache and may be gone) makes all of them stay, and so do more than are looked up.
/// Of a single actor all stay if they are shorter to write: without a gap they are one number.
pub(crate) fn cut(
    covered: &DotSet,
    head: &DotSet,
    own: &DotSet,
    mut is_of_key: impl FnMut(Dot) -> Option<bool>,
) -> DotSet {
    let rest = covered.minus(head);
    if rest.count() > LOOKED_UP {
        return rest;
    }
    let mut rows = Vec::new();
    for row in rest.by_actor() {
        let mut kept = DotSet::new();
        for dot in row.iter() {
            match own.contains(dot).then_some(true).or_else(|| is_of_key(dot)) {
                Some(true) => _ = kept.insert(dot),
                Some(false) => {}
                None => return rest.clone(),
            }
        }
        if !kept.is_empty() {
            rows.push(if length(&kept) < length(&row) { kept } else { row });
        }
    }
    DotSet::union_of(rows)
}

fn length(set: &DotSet) -> usize {
    let mut bytes = Vec::new();
    set.encode(&mut bytes);
    bytes.len()
}
