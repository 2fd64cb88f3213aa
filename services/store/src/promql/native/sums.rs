//! Sums, differences and means of histograms.

use super::parts::Parts;
use crate::histogram::{Histogram, ResetHint};

/// Exponential and custom buckets do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incompatible;

/// Plus or minus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Sum {
    Add,
    Subtract,
}

/// A sum and what had to be done for it.
#[derive(Debug)]
pub(in super::super) struct Total {
    pub(in super::super) histogram: Histogram,
    /// Reset hints contradicted each other.
    pub(in super::super) collision: bool,
    /// Custom bounds differed; those that both have are left.
    pub(in super::super) reconciled: bool,
}

/// `a + b` or `a - b`, empty buckets left in.
pub(in super::super) fn combined(a: &Histogram, b: &Histogram, sum: Sum) -> Result<Total, Incompatible> {
    let mut parts = Parts::new(a);
    let collision = hint_collides(a.reset_hint, b.reset_hint);
    let sign = if sum == Sum::Add { 1.0 } else { -1.0 };
    let reconciled = join(&mut parts, Parts::new(b), sign)?;
    Ok(Total { histogram: parts.finish(), collision, reconciled })
}

fn hint_collides(a: ResetHint, b: ResetHint) -> bool {
    matches!((a, b), (ResetHint::Reset, ResetHint::NotReset) | (ResetHint::NotReset, ResetHint::Reset))
}

/// What is known of a sum's resets.
fn joined_hint(a: ResetHint, b: ResetHint) -> ResetHint {
    match (a, b) {
        (ResetHint::Gauge, _) | (_, ResetHint::Gauge) => ResetHint::Gauge,
        (a, b) if a == b => a,
        _ => ResetHint::Unknown,
    }
}

/// Adds `other` with a sign, after bringing both to the same layout. Tells whether custom bounds had to be reconciled.
fn join(parts: &mut Parts, mut other: Parts, sign: f64) -> Result<bool, Incompatible> {
    let custom = |parts: &Parts| parts.schema == crate::histogram::SCHEMA_CUSTOM;
    if custom(parts) != custom(&other) {
        return Err(Incompatible);
    }
    parts.reset_hint = joined_hint(parts.reset_hint, other.reset_hint);
    if custom(parts) {
        let differ = parts.custom_bounds != other.custom_bounds;
        if differ {
            let shared: Vec<f64> = parts
                .custom_bounds
                .iter()
                .copied()
                .filter(|bound| other.custom_bounds.contains(bound))
                .collect();
            parts.rebound(&shared);
            other.rebound(&shared);
        }
        parts.add(&other, sign);
        return Ok(differ);
    }
    // Each round widens one of them by a bucket at least, as far as there are any.
    while parts.zero_threshold != other.zero_threshold {
        let threshold = parts.zero_threshold.max(other.zero_threshold);
        parts.widen(threshold);
        other.widen(threshold);
        if threshold.is_nan() {
            break;
        }
    }
    let schema = parts.schema.min(other.schema);
    parts.reduce(schema);
    other.reduce(schema);
    parts.add(&other, sign);
    Ok(false)
}

/// The sum of at least one histogram.
pub(in super::super) fn sum(histograms: &mut dyn Iterator<Item = &Histogram>) -> Result<Total, Incompatible> {
    let (mut seen, mut reconciled) = (Hints::default(), false);
    let mut parts: Option<Parts> = None;
    for histogram in histograms {
        seen.add(histogram.reset_hint);
        match &mut parts {
            None => parts = Some(Parts::new(histogram)),
            Some(parts) => reconciled |= join(parts, Parts::new(histogram), 1.0)?,
        }
    }
    let histogram = parts.map(|parts| parts.finish()).unwrap_or_default();
    Ok(Total { histogram, collision: seen.collide(), reconciled })
}

/// The mean of at least one histogram; where the sum would overflow it is worked out step by step.
pub(in super::super) fn mean(
    histograms: &mut dyn Iterator<Item = &Histogram>,
) -> Result<Total, Incompatible> {
    let (mut seen, mut reconciled, mut incremental) = (Hints::default(), false, false);
    let mut parts: Option<Parts> = None;
    let mut count = 0.0;
    for histogram in histograms {
        seen.add(histogram.reset_hint);
        count += 1.0;
        let Some(sum) = &mut parts else {
            parts = Some(Parts::new(histogram));
            continue;
        };
        if !incremental {
            let mut next = sum.clone();
            reconciled |= join(&mut next, Parts::new(histogram), 1.0)?;
            if !next.overflows() {
                *sum = next;
                continue;
            }
            incremental = true;
            sum.divide(count - 1.0);
        }
        sum.scale((count - 1.0) / count);
        let mut term = Parts::new(histogram);
        term.divide(count);
        reconciled |= join(sum, term, 1.0)?;
    }
    let mut parts = parts.unwrap_or_else(|| Parts::new(&Histogram::default()));
    if !incremental {
        parts.divide(count);
    }
    Ok(Total { histogram: parts.finish(), collision: seen.collide(), reconciled })
}

#[derive(Default)]
struct Hints {
    reset: bool,
    not_reset: bool,
}

impl Hints {
    fn add(&mut self, hint: ResetHint) {
        self.reset |= hint == ResetHint::Reset;
        self.not_reset |= hint == ResetHint::NotReset;
    }

    fn collide(&self) -> bool {
        self.reset && self.not_reset
    }
}
