//! `/metrics`: the store about itself, in Prometheus' text format.

use std::fmt::Write;
use std::sync::PoisonError;

use hyper::StatusCode;
use vakt_wire::http::{Response, text};

use super::Api;
use crate::engine::Source;

impl Api {
    pub(super) fn metrics(&self) -> Response {
        let mut out = String::with_capacity(4096);
        for (name, help, value) in self.engine.counters().all() {
            one(&mut out, &format!("vakt_store_{name}_total"), "counter", help, value);
        }
        let levels = self.engine.levels();
        let deltas = {
            let deltas = self.deltas.lock().unwrap_or_else(PoisonError::into_inner);
            (deltas.len() as u64, deltas.bytes() as u64)
        };
        for (name, help, value) in [
            ("series", "Series known.", levels.series),
            ("label_pairs", "Different label pairs.", levels.label_pairs),
            ("hot_samples", "Samples in memory.", levels.hot_samples),
            ("hot_bytes", "Bytes of memory for them.", levels.hot_bytes),
            ("blocks", "Blocks on disk.", levels.blocks),
            ("block_bytes", "Bytes of all blocks.", levels.block_bytes),
            ("block_samples", "Samples in all blocks.", levels.block_samples),
            ("tier_bytes", "Bytes of all tiers.", levels.tier_bytes),
            ("deletions_waiting", "Deletions that may have samples in blocks.", levels.deletions),
            ("wal_waiting_bytes", "Bytes that wait for the log.", levels.wal_waiting),
            ("forward_missed_samples", "Samples that egress was away for.", self.missed()),
            ("delta_streams", "Series whose delta points are added up.", deltas.0),
            ("delta_stream_bytes", "Bytes of memory for them.", deltas.1),
            ("catalog_up", "Whether the catalog is open.", u64::from(self.catalog.is_ok())),
        ] {
            one(&mut out, &format!("vakt_store_{name}"), "gauge", help, value);
        }
        self.sources(&mut out);
        text(StatusCode::OK, out)
    }

    fn missed(&self) -> u64 {
        self.forwarder.as_ref().map_or(0, |forwarder| forwarder.missed())
    }

    /// Who sends, and what was dropped of it.
    fn sources(&self, out: &mut String) {
        let sources = self.engine.sources();
        let mut family = |name: &str, kind: &str, help: &str, of: &dyn Fn(&Source) -> u64| {
            // Writing to a string does not fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (source, counts) in &sources {
                let _ = writeln!(out, "{name}{{source=\"{source}\"}} {}", of(counts));
            }
        };
        let dropped = "vakt_store_source_samples_dropped";
        family("vakt_store_source_series", "gauge", "Series that a source has added.", &|source| {
            source.series
        });
        let help = "Samples dropped at the source's limit of series.";
        family(&format!("{dropped}_series_total"), "counter", help, &|source| source.dropped_series);
        let help = "Samples dropped at the source's limit of samples a second.";
        family(&format!("{dropped}_rate_total"), "counter", help, &|source| source.dropped_rate);
    }
}

fn one(out: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
}
