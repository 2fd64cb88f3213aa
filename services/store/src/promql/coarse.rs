//! Values by the buckets of tiers instead of samples, where both give the same ([`Grain`]).
//!
//! Sums, counts, averages, the least, the greatest and the last of windows, and what an instant selector looks up. Rates and all
//! else read samples: between the last samples of two buckets a counter may have fallen and risen again, and nobody would see it. A
//! series with histograms is read as samples, since their buckets keep only the last one, and so is one whose
//! last_over_time meets a staleness marker, since the sample before it is not kept.
//!
//! A sum of buckets' sums may differ from Kahan's sum of the samples in its last digits; of whole numbers it does not.

use super::Selection;
use super::eval::Context;
use super::limits::QueryError;
use super::range::{Reach, Sliding};
use super::value::{ABSENT, Track, is_absent};
use crate::tiers::{Aspect, Grain};

/// What is wanted of the series of a selector.
pub(super) struct Coarse<'a> {
    /// Where its windows lie.
    pub(super) grain: Grain,
    /// What each of them gives, and where they are when buckets have these times.
    pub(super) function: Sliding,
    pub(super) windows: &'a dyn Fn(&[i64]) -> Vec<Reach>,
}

/// Which numbers of buckets a function is made of, and by which function of theirs; two are divided.
fn parts(function: Sliding) -> Option<&'static [(Aspect, Sliding)]> {
    Some(match function {
        Sliding::Sum => &[(Aspect::Sum, Sliding::Sum)],
        Sliding::Count => &[(Aspect::Count, Sliding::Sum)],
        Sliding::Average => &[(Aspect::Sum, Sliding::Sum), (Aspect::Count, Sliding::Sum)],
        Sliding::Least => &[(Aspect::Min, Sliding::Least)],
        Sliding::Greatest => &[(Aspect::Max, Sliding::Greatest)],
        Sliding::Last => &[(Aspect::Last, Sliding::Last)],
        Sliding::Increase { .. } => return None,
    })
}

/// Whether a function can be made of buckets.
pub(super) fn knows(function: Sliding) -> bool {
    parts(function).is_some()
}

impl Coarse<'_> {
    /// The values of a series at each window; `None` when it must be read as samples.
    ///
    /// # Errors
    /// What reading or the limits say.
    pub(super) fn values(
        &self,
        context: &Context<'_>,
        selection: &mut dyn Selection,
        index: usize,
        (from, to): (i64, i64),
    ) -> Result<Option<Vec<f64>>, QueryError> {
        let mut result: Option<Vec<f64>> = None;
        for &(aspect, function) in parts(self.function).unwrap_or_default() {
            let mut track = selection.read_buckets(index, from, to, aspect)?;
            context.usage.read(track.len())?;
            let stale = track.values.iter().any(|value| is_absent(*value));
            if !track.is_plain() || (stale && aspect == Aspect::Last) {
                return Ok(None);
            }
            track.drop_stale();
            let windows = (self.windows)(&track.times);
            let Some(values) = function.over(&track.values, &windows) else { return Ok(None) };
            result = Some(match result {
                None => values,
                Some(sums) => sums.into_iter().zip(values).map(|(sum, count)| quotient(sum, count)).collect(),
            });
        }
        Ok(result)
    }
}

fn quotient(sum: f64, count: f64) -> f64 {
    if is_absent(sum) || is_absent(count) { ABSENT } else { sum / count }
}

/// A series as an instant selector sees it by the last samples of buckets; `None` when it must be read as samples.
///
/// # Errors
/// What reading or the limits say.
pub(super) fn last(
    context: &Context<'_>,
    selection: &mut dyn Selection,
    index: usize,
    (from, to): (i64, i64),
) -> Result<Option<Track>, QueryError> {
    let track = selection.read_buckets(index, from, to, Aspect::Last)?;
    context.usage.read(track.len())?;
    Ok(Some(track).filter(Track::is_plain))
}
