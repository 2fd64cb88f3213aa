//! Warnings and infos that an answer carries, in Prometheus' words.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::syntax::Span;
use super::value::short_number;

/// Different notes that a query may gather; more are dropped, as one reader never reads them.
const NOTES_MAX: usize = 1_000;

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The result may be wrong.
    Warning,
    /// The result is right; something was left out or assumed.
    Info,
}

/// What a query told besides its result.
#[derive(Debug, Default)]
pub struct Notes {
    all: RefCell<BTreeMap<(Level, String, Span), Option<Monotonicity>>>,
}

/// What had to be mended of buckets whose counts fell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Monotonicity {
    pub(super) times: (i64, i64),
    pub(super) bounds: (f64, f64),
    pub(super) difference: f64,
    pub(super) count: u64,
}

impl Notes {
    /// Adds a warning about the expression at `span`; the same one once.
    pub(super) fn warn(&self, span: Span, text: impl Into<String>) {
        self.add(Level::Warning, span, text.into());
    }

    /// Adds an info.
    pub(super) fn info(&self, span: Span, text: impl Into<String>) {
        self.add(Level::Info, span, text.into());
    }

    fn add(&self, level: Level, span: Span, text: String) {
        let mut all = self.all.borrow_mut();
        if all.len() < NOTES_MAX {
            all.entry((level, text, span)).or_insert(None);
        }
    }

    /// Adds to what is told of mended buckets.
    pub(super) fn mended(&self, span: Span, name: &str, new: Monotonicity) {
        let text = for_metric(
            "input to histogram_quantile needed to be fixed for monotonicity (see \
             https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)",
            name,
        );
        let mut all = self.all.borrow_mut();
        if all.len() >= NOTES_MAX {
            return;
        }
        let known = all.entry((Level::Info, text, span)).or_insert(None);
        *known = Some(match *known {
            None => new,
            Some(old) => Monotonicity {
                times: (old.times.0.min(new.times.0), old.times.1.max(new.times.1)),
                bounds: (old.bounds.0.min(new.bounds.0), old.bounds.1.max(new.bounds.1)),
                difference: old.difference.max(new.difference),
                count: old.count + new.count,
            },
        });
    }

    /// The notes of one level as the API gives them, each with its place in `query`.
    pub fn texts(&self, level: Level, query: &str) -> Vec<String> {
        let prefix = match level {
            Level::Warning => "PromQL warning",
            Level::Info => "PromQL info",
        };
        let all = self.all.borrow();
        let of_level = all.iter().filter(|((l, ..), _)| *l == level);
        let text = |((_, text, span), mended): (&(Level, String, Span), &Option<Monotonicity>)| {
            let more = mended.map(|m| told(&m)).unwrap_or_default();
            format!("{prefix}: {text}{more} ({})", span.place(query))
        };
        of_level.map(text).collect()
    }
}

fn told(mended: &Monotonicity) -> String {
    let time = |ms: i64| vakt_wire::time::rfc3339(ms.div_euclid(1000).saturating_mul(1_000_000_000));
    let Monotonicity { times, bounds, difference, count } = mended;
    // Go's %.2g: two digits that count.
    let rounded: f64 = format!("{difference:.1e}").parse().unwrap_or(*difference);
    format!(
        ", from buckets {} to {}, with a max diff of {}, over {count} samples from {} to {}",
        short_number(bounds.0),
        short_number(bounds.1),
        short_number(rounded),
        time(times.0),
        time(times.1)
    )
}

/// `text` with the metric's name, when there is one.
pub(super) fn for_metric(text: &str, name: &str) -> String {
    if name.is_empty() { text.to_owned() } else { format!("{text} for metric name {name:?}") }
}

/// The words of a mix of histograms and floats in one range.
pub(super) fn mixed_samples(name: &str) -> String {
    format!("encountered a mix of histograms and floats for metric name {name:?}")
}

/// The words of a mix of schemas that cannot be added.
pub(super) fn mixed_schemas(name: &str) -> String {
    format!(
        "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {name:?}"
    )
}

/// The words of histograms that a function of numbers has left out.
pub(super) fn ignored_in_range(name: &str) -> String {
    format!("ignored histograms in a range containing both floats and histograms for metric name {name:?}")
}

/// The words of histograms that an aggregation has left out.
pub(super) fn ignored_in(aggregation: &str) -> String {
    format!("ignored histogram in {aggregation} aggregation")
}

/// The words of custom bounds that did not fit each other; `operation` is `addition`, `subtraction` or `aggregation`.
pub(super) fn reconciled(operation: &str) -> String {
    format!("mismatched custom buckets were reconciled during {operation}")
}

/// The words of contrary reset hints.
pub(super) fn reset_collision(operation: &str) -> String {
    format!("conflicting counter resets during histogram {operation}")
}

/// The words of a quantile out of [0, 1].
pub(super) fn invalid_quantile(value: f64) -> String {
    format!("quantile value should be between 0 and 1, got {}", short_number(value))
}
