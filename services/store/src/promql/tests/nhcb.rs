//! Classic histograms as native ones with custom bounds, as `load_with_nhcb` asks for.

use std::collections::BTreeMap;

use super::memory::Memory;
use super::script::Loaded;
use super::sequence::Item;
use crate::histogram::{Histogram, SCHEMA_CUSTOM};
use crate::samples::STALE_NAN;
use crate::series::{Labels, METRIC_NAME};

/// What is known of one histogram at one place of the sequences.
#[derive(Default)]
struct Parts {
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: Option<f64>,
}

/// Loads a native histogram for each classic one among `series`.
pub(super) fn load(memory: &mut Memory, step: i64, series: &[Loaded]) {
    let mut all: BTreeMap<Labels, BTreeMap<usize, Parts>> = BTreeMap::new();
    for loaded in series {
        let name = loaded.labels.get(METRIC_NAME).to_owned();
        let Some((base, kind)) = name.rsplit_once('_') else { continue };
        let bound = loaded.labels.get("le").parse::<f64>();
        if !matches!((kind, &bound), ("bucket", Ok(_)) | ("count" | "sum", _)) {
            continue;
        }
        let labels = loaded.labels.without(|name| name == "le").with(METRIC_NAME, base);
        for (place, item) in loaded.items.iter().enumerate() {
            let Item::Float(value) = item else { continue };
            if value.to_bits() == STALE_NAN {
                continue;
            }
            let parts = all.entry(labels.clone()).or_default().entry(place).or_default();
            match kind {
                "bucket" => parts.buckets.push((bound.clone().unwrap_or(f64::INFINITY), *value)),
                "count" => parts.count = Some(*value),
                _ => parts.sum = Some(*value),
            }
        }
    }
    for (labels, places) in all {
        if places.values().all(|parts| parts.buckets.is_empty()) {
            continue;
        }
        let track = memory.track(&labels);
        for (place, parts) in places {
            track.histograms.push((place as i64 * step, std::sync::Arc::new(native(parts))));
        }
    }
}

fn native(mut parts: Parts) -> Histogram {
    parts.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut histogram = Histogram { schema: SCHEMA_CUSTOM, ..Histogram::default() };
    let mut before = 0.0;
    for (index, (bound, up_to)) in parts.buckets.iter().enumerate() {
        if *bound != f64::INFINITY {
            histogram.custom_bounds.push(*bound);
        }
        if *up_to != before {
            histogram.positive.push(index as i32, up_to - before);
        }
        before = *up_to;
    }
    histogram.count = parts.count.unwrap_or(before);
    if histogram.count > before {
        histogram.positive.push(histogram.custom_bounds.len() as i32, histogram.count - before);
    }
    histogram.sum = parts.sum.unwrap_or_default();
    histogram
}
