//! node_exporter's metrics: names, labels and units of its collectors that are on by default.
//!
//! Each source is a pure function from [`Inputs`] to families, so the same code serves the local machine and a peer's
//! files that came over SSH. The procfs crate parses where it keeps every number exactly; where it does not (loads
//! as f32, CPU numbers lost, fields of meminfo and vmstat that it does not know) or panics on what a peer may send
//! (pressure) the file is read here.

mod cpu;
mod disk;
pub mod filesystem;
mod load;
mod machine;
mod memory;
mod network;
#[cfg(test)]
mod tests;

use crate::family::{Family, Kind};
use crate::inputs::{Inputs, SourceError};

/// A source: node_exporter calls it a collector.
#[derive(Clone, Copy)]
pub struct Source {
    /// Its name, as in `node_scrape_collector_success{collector="…"}`.
    pub name: &'static str,
    /// The files below /proc that it reads.
    pub files: &'static [&'static str],
    /// Files to the metrics.
    pub parse: fn(&Inputs) -> Result<Vec<Family>, SourceError>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Every source, in the order of their names.
pub const SOURCES: [Source; 12] = [
    Source { name: "cpu", files: &["stat"], parse: cpu::cpu },
    Source { name: "diskstats", files: &["diskstats"], parse: disk::diskstats },
    Source { name: "filesystem", files: &[filesystem::MOUNTS], parse: filesystem::filesystem },
    Source { name: "loadavg", files: &["loadavg"], parse: load::loadavg },
    Source { name: "meminfo", files: &["meminfo"], parse: memory::meminfo },
    Source { name: "netdev", files: &["net/dev"], parse: network::netdev },
    Source {
        name: "pressure",
        files: &["pressure/cpu", "pressure/io", "pressure/memory"],
        parse: load::pressure,
    },
    Source { name: "sockstat", files: &["net/sockstat"], parse: network::sockstat },
    Source { name: "stat", files: &["stat"], parse: cpu::stat },
    Source { name: "time", files: &[], parse: machine::time },
    Source { name: "uname", files: &[], parse: machine::uname },
    Source { name: "vmstat", files: &["vmstat"], parse: memory::vmstat },
];

/// How one source fared.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The source.
    pub name: &'static str,
    /// Seconds it took.
    pub seconds: f64,
    /// Why it gave nothing.
    pub error: Option<SourceError>,
}

/// node_exporter's metrics about a scrape.
pub fn outcomes(outcomes: &[Outcome]) -> [Family; 2] {
    let mut duration =
        Family::new("node_scrape_collector_duration_seconds", Kind::Gauge, "Duration of a collector scrape.");
    let mut success =
        Family::new("node_scrape_collector_success", Kind::Gauge, "Whether a collector succeeded.");
    for outcome in outcomes {
        let label = || vec![("collector", outcome.name.to_owned())];
        duration.push(label(), outcome.seconds);
        success.push(label(), f64::from(u8::from(outcome.error.is_none())));
    }
    [duration, success]
}
