//! What the store counts about itself; `/metrics` prints it.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows, or a level that is set.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters, each with the name that `/metrics` gives it.
#[derive(Debug, Default)]
pub struct Counters {
    /// Floats accepted.
    pub samples: Count,
    /// Native histograms accepted.
    pub histograms: Count,
    /// Samples dropped because they are older than the retention or outside the calendar.
    pub dropped_time: Count,
    /// Samples dropped because the store holds its limit of series.
    pub dropped_series: Count,
    /// Samples dropped because their source is at a limit of its own.
    pub dropped_source: Count,
    /// Samples dropped because their labels break a rule.
    pub dropped_labels: Count,
    /// Native histograms that break a rule, and OTLP points that no series can hold.
    pub dropped_histograms: Count,
    /// Write requests that were refused as malformed.
    pub bad_requests: Count,
    /// Write requests that were told to come again: the disk had no room, or the log was behind.
    pub put_off: Count,
    /// Records of exemplars that are in memory alone until the next flush.
    pub exemplars_unlogged: Count,
    /// Bytes written to the log.
    pub wal_bytes: Count,
    /// Syncs of the log.
    pub wal_syncs: Count,
    /// Segments given up after an error.
    pub wal_errors: Count,
    /// Blocks written from memory.
    pub flushes: Count,
    /// Flushes that failed and are tried again.
    pub flush_errors: Count,
    /// Blocks written by merging others.
    pub merges: Count,
    /// Blocks written anew without what was too old.
    pub trimmed: Count,
    /// Deletions that were asked for.
    pub deletions: Count,
    /// Blocks written anew without what was deleted.
    pub cleaned: Count,
    /// Times that the tiers of a partition were made.
    pub tiers: Count,
    /// Blocks set aside because they were corrupt.
    pub blocks_bad: Count,
    /// Blocks deleted because they were older than the retention.
    pub blocks_expired: Count,
    /// Blocks deleted, oldest first, because all together were larger than the retention by size.
    pub blocks_dropped_size: Count,
    /// Blocks deleted, oldest first, because a write found no room on the disk.
    pub blocks_dropped_full: Count,
    /// Queries answered.
    pub queries: Count,
    /// Samples decoded for queries.
    pub query_samples: Count,
}

impl Counters {
    /// Every counter's name, help and value, in the order that they are printed.
    pub fn all(&self) -> [(&'static str, &'static str, u64); 26] {
        [
            ("samples_ingested", "Samples accepted.", self.samples.get()),
            ("histograms_ingested", "Native histograms accepted.", self.histograms.get()),
            ("samples_dropped_time", "Samples older than the retention.", self.dropped_time.get()),
            ("samples_dropped_series_limit", "Samples of series past the limit.", self.dropped_series.get()),
            ("samples_dropped_source_limit", "Samples of sources at their limit.", self.dropped_source.get()),
            ("samples_dropped_labels", "Samples with labels that break a rule.", self.dropped_labels.get()),
            (
                "samples_dropped_histogram",
                "Native histograms and OTLP points that break a rule.",
                self.dropped_histograms.get(),
            ),
            ("write_requests_malformed", "Write requests refused.", self.bad_requests.get()),
            ("write_requests_put_off", "Write requests put off: no room, or too fast.", self.put_off.get()),
            (
                "exemplar_records_unlogged",
                "Records of exemplars in memory alone until the next flush.",
                self.exemplars_unlogged.get(),
            ),
            ("wal_bytes_written", "Bytes written to the write-ahead log.", self.wal_bytes.get()),
            ("wal_syncs", "Syncs of the write-ahead log.", self.wal_syncs.get()),
            ("wal_errors", "Log segments given up after an error.", self.wal_errors.get()),
            ("flushes", "Flushes from memory to blocks.", self.flushes.get()),
            ("flush_errors", "Flushes that failed.", self.flush_errors.get()),
            ("merges", "Merges of blocks.", self.merges.get()),
            ("blocks_trimmed", "Blocks written anew by retention of series.", self.trimmed.get()),
            ("deletions", "Deletions that were asked for.", self.deletions.get()),
            ("blocks_cleaned", "Blocks written anew without what was deleted.", self.cleaned.get()),
            ("tiers_made", "Times that the tiers of a partition were made.", self.tiers.get()),
            ("blocks_bad", "Blocks set aside as corrupt.", self.blocks_bad.get()),
            ("blocks_expired", "Blocks deleted by retention.", self.blocks_expired.get()),
            ("blocks_dropped_size", "Oldest blocks deleted by size.", self.blocks_dropped_size.get()),
            ("blocks_dropped_full", "Oldest blocks deleted on a full disk.", self.blocks_dropped_full.get()),
            ("queries", "Queries answered.", self.queries.get()),
            ("query_samples_read", "Samples decoded for queries.", self.query_samples.get()),
        ]
    }
}
