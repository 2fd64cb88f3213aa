//! Whether a counter histogram began anew.

use super::parts::Parts;
use crate::histogram::{Histogram, ResetHint, bound};

/// Whether `new` cannot have grown out of `old`. Hints are believed; a gauge is treated as a counter here.
pub(crate) fn is_reset(new: &Histogram, old: &Histogram) -> bool {
    match new.reset_hint {
        ResetHint::Reset => return true,
        ResetHint::NotReset => return false,
        ResetHint::Unknown | ResetHint::Gauge => {}
    }
    if new.count < old.count || new.is_custom() != old.is_custom() {
        return true;
    }
    if new.is_custom() {
        return if new.custom_bounds == old.custom_bounds {
            fell(&Parts::new(new), &Parts::new(old))
        } else {
            fell_between_shared_bounds(new, old)
        };
    }
    if new.schema > old.schema || new.zero_threshold < old.zero_threshold {
        return true;
    }
    let mut before = Parts::new(old);
    before.widen(new.zero_threshold);
    if before.zero_threshold != new.zero_threshold || new.zero_count < before.zero.total() {
        return true;
    }
    before.reduce(new.schema);
    // What the new zero bucket covers was counted in it.
    let mut now = Parts::new(new);
    let covered = |index: i32| bound(index, new.schema, &[]) <= new.zero_threshold;
    for side in [&mut now.positive, &mut now.negative, &mut before.positive, &mut before.negative] {
        side.retain(|(index, _)| !covered(*index));
    }
    fell(&now, &before)
}

/// Whether a bucket has fewer observations than before, or a full one is gone.
fn fell(now: &Parts, before: &Parts) -> bool {
    let sides = [(&now.positive, &before.positive), (&now.negative, &before.negative)];
    sides.into_iter().any(|(now, before)| {
        let mut now = now.iter().peekable();
        before.iter().any(|(index, old)| {
            while now.next_if(|(i, _)| i < index).is_some() {}
            match now.peek() {
                Some((i, new)) if i == index => new.total() < old.total(),
                _ => old.total() != 0.0,
            }
        })
    })
}

/// As [`fell`], over the buckets between the bounds that both have.
fn fell_between_shared_bounds(new: &Histogram, old: &Histogram) -> bool {
    let shared: Vec<f64> =
        new.custom_bounds.iter().copied().filter(|bound| old.custom_bounds.contains(bound)).collect();
    let (mut now, mut before) = (Parts::new(new), Parts::new(old));
    now.rebound(&shared);
    before.rebound(&shared);
    fell(&now, &before)
}
