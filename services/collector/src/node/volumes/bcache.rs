//! bcache: a fast disk before slow ones.

use crate::family::{Families, Family, Kind, Label, label};
use crate::inputs::{Device, Files, Inputs, SourceError};

/// What bcache reads. `priority_stats` is left out as in node_exporter's default: reading it is expensive.
pub const CACHES: &[Files] = &[
    Files {
        folder: "/sys/fs/bcache/*",
        names: &[
            "average_key_size",
            "btree_cache_size",
            "cache_available_percent",
            "congested",
            "internal/active_journal_entries",
            "internal/btree_nodes",
            "internal/btree_read_average_duration_us",
            "internal/cache_read_races",
            "root_usage_percent",
            "tree_depth",
            "cache*/io_errors",
            "cache*/metadata_written",
            "cache*/written",
        ],
    },
    Files {
        folder: "/sys/fs/bcache/*/bdev*",
        names: &[
            "dirty_data",
            "stats_total/bypassed",
            "stats_total/cache_bypass_hits",
            "stats_total/cache_bypass_misses",
            "stats_total/cache_hits",
            "stats_total/cache_miss_collisions",
            "stats_total/cache_misses",
            "stats_total/cache_readaheads",
            "writeback_rate_debug",
        ],
    },
];

/// Metric, file, kind, help (Documentation/admin-guide/bcache.rst).
type Metric = (&'static str, &'static str, Kind, &'static str);

const OF_SET: [Metric; 10] = [
    (
        "average_key_size_sectors",
        "average_key_size",
        Kind::Gauge,
        "Average data per key in the btree (sectors).",
    ),
    (
        "btree_cache_size_bytes",
        "btree_cache_size",
        Kind::Gauge,
        "Amount of memory currently used by the btree cache.",
    ),
    (
        "cache_available_percent",
        "cache_available_percent",
        Kind::Gauge,
        "Percentage of cache device without dirty data, usable for writeback (may contain clean cached data).",
    ),
    ("congested", "congested", Kind::Gauge, "Congestion."),
    (
        "root_usage_percent",
        "root_usage_percent",
        Kind::Gauge,
        "Percentage of the root btree node in use (tree depth increases if too high).",
    ),
    ("tree_depth", "tree_depth", Kind::Gauge, "Depth of the btree."),
    (
        "active_journal_entries",
        "internal/active_journal_entries",
        Kind::Gauge,
        "Number of journal entries that are newer than the index.",
    ),
    ("btree_nodes", "internal/btree_nodes", Kind::Gauge, "Total nodes in the btree."),
    (
        "btree_read_average_duration_seconds",
        "internal/btree_read_average_duration_us",
        Kind::Gauge,
        "Average btree read duration.",
    ),
    (
        "cache_read_races_total",
        "internal/cache_read_races",
        Kind::Counter,
        "Counts instances where while data was being read from the cache, the bucket was reused and invalidated.",
    ),
];

const OF_BACKING: [Metric; 8] = [
    (
        "bypassed_bytes_total",
        "stats_total/bypassed",
        Kind::Counter,
        "Amount of IO (both reads and writes) that has bypassed the cache.",
    ),
    (
        "cache_bypass_hits_total",
        "stats_total/cache_bypass_hits",
        Kind::Counter,
        "Hits for IO intended to skip the cache.",
    ),
    (
        "cache_bypass_misses_total",
        "stats_total/cache_bypass_misses",
        Kind::Counter,
        "Misses for IO intended to skip the cache.",
    ),
    (
        "cache_hits_total",
        "stats_total/cache_hits",
        Kind::Counter,
        "Hits counted per individual IO as bcache sees them.",
    ),
    (
        "cache_miss_collisions_total",
        "stats_total/cache_miss_collisions",
        Kind::Counter,
        "Instances where data insertion from cache miss raced with write (data already present).",
    ),
    (
        "cache_misses_total",
        "stats_total/cache_misses",
        Kind::Counter,
        "Misses counted per individual IO as bcache sees them.",
    ),
    ("cache_readaheads_total", READAHEADS, Kind::Counter, "Count of times readahead occurred."),
    (
        "dirty_data_bytes",
        "dirty_data",
        Kind::Gauge,
        "Amount of dirty data for this backing device in the cache.",
    ),
];

/// Kernels since 5.13 do not count these; 0 is not shown.
const READAHEADS: &str = "stats_total/cache_readaheads";

const OF_CACHE: [Metric; 3] = [
    (
        "io_errors",
        "io_errors",
        Kind::Gauge,
        "Number of errors that have occurred, decayed by io_error_halflife.",
    ),
    (
        "metadata_written_bytes_total",
        "metadata_written",
        Kind::Counter,
        "Sum of all non data writes (btree writes and all other metadata).",
    ),
    ("written_bytes_total", "written", Kind::Counter, "Sum of all data that has been written to the cache."),
];

/// Metric, line of `writeback_rate_debug`, help.
const OF_WRITEBACK: [(&str, &str, &str); 5] = [
    (
        "dirty_target_bytes",
        "target:",
        "Current dirty data target threshold for this backing device in bytes.",
    ),
    ("writeback_change", "change:", "Last writeback rate change step for this backing device."),
    ("writeback_rate", "rate:", "Current writeback rate for this backing device in bytes."),
    (
        "writeback_rate_integral_term",
        "integral:",
        "Current result of integral controller, part of writeback rate",
    ),
    (
        "writeback_rate_proportional_term",
        "proportional:",
        "Current result of proportional controller, part of writeback rate",
    ),
];

/// `node_bcache_*`. Without caches there are none, and that is a success.
///
/// # Errors
/// None.
pub fn bcache(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Families::default();
    // What is no UUID is of the module itself.
    for set in inputs.devices("/sys/fs/bcache/", "").into_iter().filter(|set| set.name.contains('-')) {
        let uuid = label("uuid", set.name);
        add(&mut families, &set, &OF_SET, std::slice::from_ref(&uuid));
        for backing in numbered(&set, "bdev") {
            let labels = [label("backing_device", backing.name), uuid.clone()];
            add(&mut families, &backing, &OF_BACKING, &labels);
            let text = backing.text("writeback_rate_debug").unwrap_or_default();
            for (name, start, help) in OF_WRITEBACK {
                let line = text.lines().find_map(|line| line.strip_prefix(start));
                let value = line.and_then(|rest| signed(rest.trim().trim_end_matches("/sec")));
                let value = value.unwrap_or_default();
                families.gauge(format!("node_bcache_{name}"), help, labels.to_vec(), value);
            }
        }
        for cache in numbered(&set, "cache") {
            add(&mut families, &cache, &OF_CACHE, &[label("cache_device", cache.name), uuid.clone()]);
        }
    }
    Ok(families.done())
}

/// The folders `cache0`, `cache1` … of a set, and not `cache_available_percent`, which is a file.
fn numbered<'a>(set: &Device<'a>, kind: &'static str) -> impl Iterator<Item = Device<'a>> {
    let parts = set.parts(kind).into_iter();
    parts.filter(move |part| part.name[kind.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

fn add(families: &mut Families, device: &Device, metrics: &[Metric], labels: &[Label]) {
    for (name, file, kind, help) in metrics {
        let mut value = device.text(file).and_then(human).unwrap_or_default();
        if *file == READAHEADS && value == 0.0 {
            continue;
        }
        if name.ends_with("_duration_seconds") {
            // The file's name says microseconds; node_exporter takes its number for nanoseconds.
            value *= 1e-9;
        }
        families.add(format!("node_bcache_{name}"), *kind, help, labels.to_vec(), value);
    }
}

fn signed(text: &str) -> Option<f64> {
    match text.strip_prefix('-') {
        Some(rest) => human(rest).map(|value| -value),
        None => human(text),
    }
}

/// A number as bch_hprint (drivers/md/bcache/util.c) writes it: what is behind the point is not decimal but a hundredth
/// of 0 to 1023. Truncated to whole units.
fn human(text: &str) -> Option<f64> {
    let power = text.chars().next_back().and_then(|unit| "kMGTPEZY".find(unit)).map_or(0, |at| at as i32 + 1);
    if power == 0 {
        return text.parse::<f64>().ok().filter(|value| value.is_finite()).map(f64::trunc);
    }
    let digits = &text[..text.len() - 1];
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let (whole, part): (u64, u64) = (whole.parse().ok()?, part.parse().ok()?);
    Some(((whole as f64 + part as f64 / 10.24) * 1024_f64.powi(power)).trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_bcache_have_a_part_that_is_not_decimal() {
        assert_eq!(
            [human("512"), human("1.5k"), human("2M")],
            [Some(512.0), Some(1524.0), Some(2_097_152.0)]
        );
        assert_eq!([human(""), human("k"), human("x"), human("inf"), human("-1k")], [None; 5]);
        assert_eq!([signed("-4.8M"), signed("8.3k")], [signed("4.8M").map(|value| -value), human("8.3k")]);
    }
}
