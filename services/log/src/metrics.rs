//! What the service counts about itself, and its text for Prometheus.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `number`.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $field:ident),* $(,)?) => {
        /// Every counter; its doc is its help text.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[doc = $doc])+ pub $field: Counter,)*
        }

        impl Metrics {
            fn each(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($field), concat!($($doc),+), self.$field.get()),)*]
            }
        }
    };
}

counters! {
    /// Messages received by UDP.
    received_udp,
    /// Messages received by TCP.
    received_tcp,
    /// Messages received on the unix datagram socket.
    received_unix,
    /// Records read from the kernel's log.
    received_kmsg,
    /// JSON lines received.
    received_jsonline,
    /// Messages dropped on receipt because the intake was full or closed.
    shed,
    /// Kernel records that were overwritten before they were read.
    kmsg_overrun,
    /// Messages cut at the size bound.
    truncated,
    /// Messages that did not parse and went to the quarantine stream.
    quarantined,
    /// Blocks removed because they were older than the retention.
    blocks_expired,
    /// Blocks removed, oldest first, because all together were larger than the retention by size.
    blocks_dropped_size,
    /// Blocks removed, oldest first, because the disk was full.
    blocks_dropped_full,
    /// Rows appended to the append log.
    rows_appended,
    /// Rows lost because the disk refused them.
    rows_failed,
    /// Bytes appended to the append log.
    append_bytes,
    /// Calls of fdatasync on the append log.
    syncs,
    /// Microseconds spent in fdatasync on the append log.
    sync_us,
    /// Blocks written.
    blocks_written,
    /// Bytes of blocks written.
    block_bytes,
    /// Rows in blocks written.
    block_rows,
    /// Blocks and segments set aside because they were damaged.
    set_aside,
    /// Bytes dropped from torn ends of the append log at start.
    torn_bytes,
    /// Partitions removed by retention.
    partitions_removed,
    /// Queries answered.
    queries,
    /// Queries refused or broken off.
    queries_failed,
    /// Blocks that queries skipped by time range or token filter.
    blocks_skipped,
    /// Blocks that queries read.
    blocks_read,
}

/// Values that go up and down, read when asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    /// Messages in the lanes before the parser.
    pub receive_slots: usize,
    /// Rows in the ring before the writer.
    pub write_slots: usize,
    /// Bytes received and not yet durable, as [`crate::gate`] counts them.
    pub in_flight_bytes: usize,
    /// Rows that are not in a block yet.
    pub hot_rows: usize,
    /// Blocks at rest.
    pub blocks: usize,
    /// Their bytes.
    pub blocks_bytes: u64,
}

impl Metrics {
    /// The text form of Prometheus (version 0.0.4).
    pub fn text(&self, gauges: Gauges) -> String {
        let mut out = String::new();
        for (name, help, value) in self.each() {
            let help = help.trim();
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "# HELP vakt_log_{name}_total {help}\n# TYPE vakt_log_{name}_total counter\nvakt_log_{name}_total {value}"
            );
        }
        let gauges = [
            ("receive_ring_slots", gauges.receive_slots as u64),
            ("write_ring_slots", gauges.write_slots as u64),
            ("in_flight_bytes", gauges.in_flight_bytes as u64),
            ("hot_rows", gauges.hot_rows as u64),
            ("blocks", gauges.blocks as u64),
            ("blocks_bytes", gauges.blocks_bytes),
        ];
        for (name, value) in gauges {
            let _ = writeln!(out, "# TYPE vakt_log_{name} gauge\nvakt_log_{name} {value}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_help_line_and_a_value() {
        let metrics = Metrics::default();
        metrics.shed.add(3);
        let text = metrics.text(Gauges { hot_rows: 7, ..Gauges::default() });
        assert!(text.contains("\nvakt_log_shed_total 3\n"), "{text}");
        assert!(text.contains("\nvakt_log_hot_rows 7\n"), "{text}");
        assert!(text.contains("# HELP vakt_log_shed_total Messages dropped"), "{text}");
    }
}
