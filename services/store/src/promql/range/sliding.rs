//! The most used functions of windows, for all windows of a series of plain numbers at once.
//!
//! What they give is to the last bit what the function of a single window gives: a sum of whole numbers below 2^53 is exact, so a
//! difference of two running sums is the window's; any other sum is made sample by sample as Kahan's method wants it,
//! four windows side by side. A series with native histograms, with start times, or with NaN where that matters, goes the
//! other way, and so does whatever has `anchored` or `smoothed`.

use std::collections::VecDeque;

use super::super::kahan;
use super::super::value::ABSENT;
use super::rates::Spread;

/// A function that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Sliding {
    Increase { counter: bool, rate: bool },
    Average,
    Sum,
    Least,
    Greatest,
    Count,
    Last,
}

/// A window: which samples are in it, and how they lie. Series that were scraped together share their windows.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Reach {
    low: usize,
    high: usize,
    spread: Spread,
    /// By what an increase is multiplied that zero does not bound, without and with a division by the window's length.
    factors: [Option<f64>; 2],
}

impl Reach {
    /// Of the samples in `span` between the window's start and its end.
    pub(in super::super) fn of(times: &[i64], span: std::ops::Range<usize>, bounds: (i64, i64)) -> Reach {
        let spread = match times.get(span.clone()) {
            Some([first, .., last]) => Spread::of(bounds, (*first, *last), span.len()),
            Some([only]) => Spread::of(bounds, (*only, *only), 1),
            _ => Spread::default(),
        };
        let factors = [false, true].map(|rate| spread.factor(None, None, rate));
        Reach { low: span.start, high: span.end, spread, factors }
    }
}

impl Sliding {
    /// The function of this name.
    pub(in super::super) fn named(name: &str) -> Option<Sliding> {
        Some(match name {
            "rate" => Sliding::Increase { counter: true, rate: true },
            "increase" => Sliding::Increase { counter: true, rate: false },
            "delta" => Sliding::Increase { counter: false, rate: false },
            "avg_over_time" => Sliding::Average,
            "sum_over_time" => Sliding::Sum,
            "min_over_time" => Sliding::Least,
            "max_over_time" => Sliding::Greatest,
            "count_over_time" => Sliding::Count,
            "last_over_time" => Sliding::Last,
            _ => return None,
        })
    }

    /// The result for each window, [`ABSENT`] where there is none. Windows ascend. `None` when these samples need the other way.
    pub(in super::super) fn over(self, values: &[f64], windows: &[Reach]) -> Option<Vec<f64>> {
        let each = |of: &dyn Fn(&Reach) -> f64| {
            windows.iter().map(|window| if window.low < window.high { of(window) } else { ABSENT }).collect()
        };
        match self {
            Sliding::Count => Some(each(&|window| (window.high - window.low) as f64)),
            Sliding::Last => Some(each(&|window| values[window.high - 1])),
            Sliding::Increase { counter, rate } => Some(increases(values, windows, counter, rate)),
            Sliding::Average | Sliding::Sum => {
                let mean = self == Sliding::Average;
                match running_sums(values) {
                    Some(sums) => Some(each(&|window| {
                        let sum = sums[window.high] - sums[window.low];
                        if mean { sum / (window.high - window.low) as f64 } else { sum }
                    })),
                    None => sums(values, windows, mean),
                }
            }
            Sliding::Least => extremes(values, windows, |new, old| new < old),
            Sliding::Greatest => extremes(values, windows, |new, old| new > old),
        }
    }
}

fn increases(values: &[f64], windows: &[Reach], counter: bool, rate: bool) -> Vec<f64> {
    // Where the counter fell: mostly nowhere.
    let falls: Vec<usize> = match counter {
        true => (1..values.len()).filter(|&at| values[at] < values[at - 1]).collect(),
        false => Vec::new(),
    };
    let mut results = Vec::with_capacity(windows.len());
    for window in windows {
        let span = window.low..window.high;
        if span.is_empty() {
            results.push(ABSENT);
            continue;
        }
        let (first, last) = (values[window.low], values[window.high - 1]);
        let mut result = last - first;
        if !falls.is_empty() {
            let inside = falls.iter().filter(|at| **at > window.low && **at < window.high);
            result += inside.map(|at| values[at - 1]).sum::<f64>();
        }
        let is_bound = counter && result > 0.0 && first >= 0.0;
        let factor = if is_bound && !window.spread.is_above_zero(first, result) {
            window.spread.factor(None, Some(first / result), rate)
        } else {
            window.factors[usize::from(rate)]
        };
        results.push(factor.map_or(ABSENT, |factor| result * factor));
    }
    results
}

/// Sums up to each sample, where all of them are exact: of whole numbers that stay below 2^53.
fn running_sums(values: &[f64]) -> Option<Vec<f64>> {
    const EXACT: f64 = (1u64 << 53) as f64;
    let (mut sum, mut size) = (0.0, 0.0);
    let mut sums = Vec::with_capacity(values.len() + 1);
    sums.push(0.0);
    for value in values {
        // NaN and infinities fail this too.
        if value.trunc() != *value {
            return None;
        }
        sum += value;
        size += value.abs();
        sums.push(sum);
    }
    (size < EXACT).then_some(sums)
}

/// Windows that are summed side by side: as many as hide how long one addition takes.
const ABREAST: usize = 4;

/// Sums or means by Kahan's method. `None` when a sum might overflow, or a value is not finite.
fn sums(values: &[f64], windows: &[Reach], mean: bool) -> Option<Vec<f64>> {
    let largest = values.iter().map(|value| value.abs()).fold(0.0, f64::max);
    let finite = values.iter().all(|value| value.is_finite());
    if !finite || largest * values.len() as f64 > f64::MAX / 4.0 {
        return None;
    }
    let mut results = Vec::with_capacity(windows.len());
    for group in windows.chunks(ABREAST) {
        // Where a group is not full, its last window is summed again.
        let windows: [&Reach; ABREAST] = std::array::from_fn(|at| &group[at.min(group.len() - 1)]);
        let samples = windows.map(|window| &values[window.low..window.high]);
        let totals = kahan::totals(samples);
        for (samples, total) in samples.iter().zip(totals).take(group.len()) {
            let count = samples.len() as f64;
            results.push(match samples.len() {
                0 => ABSENT,
                _ if mean => total.sum / count + total.correction / count,
                _ => total.total(),
            });
        }
    }
    Some(results)
}

/// The first of the extreme values of each window; `None` when one is NaN.
fn extremes(values: &[f64], windows: &[Reach], beats: fn(f64, f64) -> bool) -> Option<Vec<f64>> {
    if values.iter().any(|value| value.is_nan()) {
        return None;
    }
    let (mut results, mut candidates, mut next) = (Vec::with_capacity(windows.len()), VecDeque::new(), 0);
    for window in windows {
        next = next.max(window.low);
        for at in next..window.high {
            while candidates.back().is_some_and(|&last| beats(values[at], values[last])) {
                candidates.pop_back();
            }
            candidates.push_back(at);
        }
        next = next.max(window.high);
        while candidates.front().is_some_and(|first| *first < window.low) {
            candidates.pop_front();
        }
        results.push(candidates.front().map_or(ABSENT, |&best: &usize| values[best]));
    }
    Some(results)
}

#[cfg(test)]
mod tests {
    use super::super::super::notes::Notes;
    use super::super::super::select::Window;
    use super::super::super::syntax::{Extension, Span};
    use super::super::super::value::Point;
    use super::super::{Help, named};
    use super::*;
    use proptest::prelude::*;

    const NAMES: [&str; 9] = [
        "rate",
        "increase",
        "delta",
        "avg_over_time",
        "sum_over_time",
        "min_over_time",
        "max_over_time",
        "count_over_time",
        "last_over_time",
    ];

    fn check(times: &[i64], values: &[f64], step: i64, range: i64) {
        let place = |bound| times.partition_point(|time| *time <= bound);
        let windows: Vec<(Reach, i64, i64)> = (0..50)
            .map(|n| (n * step - range, n * step))
            .map(|(start, end)| (Reach::of(times, place(start)..place(end), (start, end)), start, end))
            .collect();
        let notes = Notes::default();
        let help = Help { numbers: &[], notes: &notes, span: Span::default() };
        for name in NAMES {
            let reaches: Vec<Reach> = windows.iter().map(|window| window.0).collect();
            let Some(found) = Sliding::named(name).unwrap().over(values, &reaches) else { continue };
            let alone = named(name).unwrap();
            for ((reach, start, end), found) in windows.iter().zip(found) {
                let window = Window {
                    times: &times[reach.low..reach.high],
                    values: &values[reach.low..reach.high],
                    starts: &[],
                    histograms: &[],
                    histogram_starts: &[],
                    start: *start,
                    end: *end,
                    at: *end,
                    extension: Extension::None,
                    name: "",
                };
                let alone = if window.times.is_empty() { None } else { alone(&window, &help) };
                let expected = match alone {
                    Some(Point::Float(value)) => value,
                    _ => ABSENT,
                };
                assert_eq!(found.to_bits(), expected.to_bits(), "{name} {found} {expected}: {window:?}");
            }
        }
    }

    #[test]
    fn zeros_of_both_signs_and_falls_are_those_of_one_window() {
        let times: Vec<i64> = (0..8).map(|n| n * 10).collect();
        check(&times, &[-0.0, 0.0, -0.0, -0.0, 5.0, 0.0, 3.0, -0.0], 7, 30);
        check(&times, &[1e16, 1.0, -1e16, 0.1, 1e300, f64::MAX, f64::MAX, -1.0], 10, 40);
        check(&times, &[1.0, f64::NAN, 2.0, f64::INFINITY, 1.0, 0.5, f64::NEG_INFINITY, 2.0], 5, 25);
    }

    proptest! {
        #[test]
        fn all_windows_at_once_give_what_each_gives_alone(
            samples in prop::collection::vec((1i64..40, prop_oneof![
                4 => (0i32..1000).prop_map(f64::from), 4 => (-1000i32..1000).prop_map(|n| f64::from(n) / 7.0),
                1 => any::<f64>(), 1 => Just(9e15),
            ]), 0..150),
            whole: bool, step in 1i64..60, range in 1i64..500,
        ) {
            let mut time = 0;
            let times: Vec<i64> = samples.iter().map(|(gap, _)| { time += gap; time }).collect();
            let values: Vec<f64> = samples.iter().map(|(_, v)| if whole { (v % 1e6).trunc() } else { *v }).collect();
            check(&times, &values, step, range);
        }
    }
}
