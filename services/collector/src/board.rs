//! How every source fared last, for `/v1/sources` and `/metrics`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::family::{Family, Kind};

/// A source's last outcome.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// `local/cpu`, `ebpf/runqlat`, `peer/db1`.
    pub name: String,
    /// When it last gave something, in seconds since the epoch; `null` for never.
    pub last_success: Option<f64>,
    /// Seconds that its last round took.
    pub duration_s: f64,
    /// Why its last round gave nothing; `null` when it did.
    pub error: Option<String>,
}

/// The board; shared behind an `Arc`.
#[derive(Debug, Default)]
pub struct Board(Mutex<BTreeMap<String, Entry>>);

impl Board {
    /// Notes a round of a source.
    pub fn note(&self, name: &str, now: f64, seconds: f64, error: Option<String>) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !entries.contains_key(name) {
            let entry = Entry { name: name.into(), last_success: None, duration_s: 0.0, error: None };
            entries.insert(name.into(), entry);
        }
        if let Some(entry) = entries.get_mut(name) {
            entry.last_success = if error.is_none() { Some(now) } else { entry.last_success };
            (entry.duration_s, entry.error) = (seconds, error);
        }
    }

    /// Every source, sorted by name.
    pub fn entries(&self) -> Vec<Entry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The board as metrics.
    pub fn families(&self) -> [Family; 2] {
        let mut up = Family::new(
            "vakt_collector_source_up",
            Kind::Gauge,
            "Whether the source's last round gave something.",
        );
        let mut seconds = Family::new(
            "vakt_collector_source_duration_seconds",
            Kind::Gauge,
            "Duration of the source's last round.",
        );
        for entry in self.0.lock().unwrap_or_else(PoisonError::into_inner).values() {
            up.push(vec![("source", entry.name.clone())], f64::from(u8::from(entry.error.is_none())));
            seconds.push(vec![("source", entry.name.clone())], entry.duration_s);
        }
        [seconds, up]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_the_time_of_the_last_success() {
        let board = Board::default();
        board.note("peer/a", 10.0, 0.5, None);
        board.note("peer/a", 20.0, 0.1, Some("gone".into()));
        let entry = &board.entries()[0];
        assert_eq!((entry.last_success, entry.error.as_deref()), (Some(10.0), Some("gone")));
    }
}
