//! `/metrics`: the store about itself, in Prometheus' text format.

use std::fmt::Write;

use hyper::StatusCode;
use vakt_wire::http::{Response, text};

use super::Api;
use crate::forward::Forwarder;

impl Api {
    pub(super) fn metrics(&self) -> Response {
        let mut out = String::with_capacity(4096);
        for (name, help, value) in self.engine.counters().all() {
            one(&mut out, &format!("vakt_store_{name}_total"), "counter", help, value);
        }
        let levels = self.engine.levels();
        for (name, help, value) in [
            ("series", "Series known.", levels.series),
            ("label_pairs", "Different label pairs.", levels.label_pairs),
            ("hot_samples", "Samples in memory.", levels.hot_samples),
            ("hot_bytes", "Bytes of memory for them.", levels.hot_bytes),
            ("blocks", "Blocks on disk.", levels.blocks),
            ("block_bytes", "Bytes of all blocks.", levels.block_bytes),
            ("block_samples", "Samples in all blocks.", levels.block_samples),
            ("wal_waiting_bytes", "Bytes that wait for the log.", levels.wal_waiting),
            ("forward_missed_samples", "Samples that egress was away for.", self.missed()),
            ("catalog_up", "Whether the catalog is open.", u64::from(self.catalog.is_ok())),
        ] {
            one(&mut out, &format!("vakt_store_{name}"), "gauge", help, value);
        }
        text(StatusCode::OK, out)
    }

    fn missed(&self) -> u64 {
        self.forwarder.as_ref().map_or(0, Forwarder::missed)
    }
}

fn one(out: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
}
