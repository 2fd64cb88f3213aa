//! What is said about metrics and not measured: their descriptions, in memory alone, since senders repeat them every
//! minute; and exemplars, which are kept through a restart ([`crate::wal::exemplars`]).

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::{HashMap, HashSet};

use crate::ingest::Metadata;
use crate::series::SeriesId;

/// Metric families that are described; further ones are not. Large fleets have some 10,000.
pub const FAMILIES_MAX: usize = 20_000;

/// Bytes of a description or unit that are kept.
const TEXT_BYTES_MAX: usize = 1024;

/// Exemplars that are kept, the newest ones: at some 200 bytes each 4 MiB. (Prometheus: 100,000, when it is switched on.)
pub const EXEMPLARS_MAX: usize = 20_000;

/// Bytes of an exemplar's labels; OpenMetrics allows 128 characters.
const EXEMPLAR_BYTES_MAX: usize = 512;

/// What a metric family is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Prometheus' word for its type.
    pub kind: &'static str,
    /// Its description.
    pub help: String,
    /// Its unit.
    pub unit: String,
}

/// One observation that a sample stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Whose it is.
    pub series: SeriesId,
    /// Milliseconds since the epoch.
    pub time: i64,
    /// What was observed.
    pub value: f64,
    /// Mostly the id of a trace.
    pub labels: Vec<(String, String)>,
}

/// The notes of a running store.
#[derive(Debug, Default)]
pub struct Notes {
    families: Mutex<HashMap<String, About>>,
    exemplars: Mutex<VecDeque<Exemplar>>,
    /// Exemplars came or went since they were kept last.
    changed: AtomicBool,
}

impl Exemplar {
    /// Whether it is small enough to be kept.
    pub fn fits(&self) -> bool {
        let bytes: usize = self.labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        bytes <= EXEMPLAR_BYTES_MAX
    }
}

impl Notes {
    /// Takes what a request says about metrics; the newest description stays.
    pub fn describe(&self, all: &[Metadata]) {
        if all.is_empty() {
            return;
        }
        let mut families = self.families.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for one in all.iter().filter(|one| one.name.len() <= TEXT_BYTES_MAX) {
            let about = About { kind: one.kind, help: cut(&one.help), unit: cut(&one.unit) };
            if families.len() < FAMILIES_MAX || families.contains_key(&one.name) {
                families.insert(one.name.clone(), about);
            }
        }
    }

    /// The descriptions of all families, or of one, in no order.
    pub fn families(&self, name: Option<&str>) -> Vec<(String, About)> {
        let families = self.families.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let wanted = families.iter().filter(|(other, _)| name.is_none_or(|name| name == other.as_str()));
        wanted.map(|(name, about)| (name.clone(), about.clone())).collect()
    }

    /// Takes exemplars; returns how many are kept. One that the series has already is not taken twice, which is what a
    /// sender that tries again does.
    pub fn observe(&self, all: impl IntoIterator<Item = Exemplar>) -> u64 {
        let mut kept = self.exemplars.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut taken = 0;
        for one in all {
            if !one.fits() {
                continue;
            }
            taken += 1;
            // Only the neighbourhood is searched: what is sent again was sent just now.
            if kept.iter().rev().take(64).any(|other| *other == one) {
                continue;
            }
            if kept.len() >= EXEMPLARS_MAX {
                kept.pop_front();
            }
            kept.push_back(one);
            self.changed.store(true, Ordering::Relaxed);
        }
        taken
    }

    /// Takes back what was kept through a restart, oldest first; what is there twice is taken once.
    pub fn restore(&self, all: Vec<Exemplar>) {
        let mut seen = HashSet::new();
        let mut kept: VecDeque<Exemplar> = VecDeque::new();
        // The file with all of them holds what the segments after it hold, too.
        for one in all.into_iter().rev() {
            let what = (one.series, one.time, one.value.to_bits(), one.labels.clone());
            if kept.len() < EXEMPLARS_MAX && seen.insert(what) {
                kept.push_front(one);
            }
        }
        self.changed.store(!kept.is_empty(), Ordering::Relaxed);
        *self.exemplars.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = kept;
    }

    /// All exemplars, oldest first, when any came or went since the last call.
    pub fn take_changed(&self) -> Option<Vec<Exemplar>> {
        let changed = self.changed.swap(false, Ordering::Relaxed);
        let kept = self.exemplars.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        changed.then(|| kept.iter().cloned().collect())
    }

    /// What [`Notes::take_changed`] gave could not be kept.
    pub fn still_changed(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    /// Forgets the exemplars of these series (ascending) from `from` to `to`, both included.
    pub fn forget(&self, series: &[SeriesId], from: i64, to: i64) {
        let mut kept = self.exemplars.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = kept.len();
        kept.retain(|one| !(from..=to).contains(&one.time) || series.binary_search(&one.series).is_err());
        self.changed.fetch_or(kept.len() < before, Ordering::Relaxed);
    }

    /// The exemplars of these series (ascending) from `from` to `to`, both included, in the order of their arrival.
    pub fn exemplars(&self, series: &[SeriesId], from: i64, to: i64) -> Vec<Exemplar> {
        let kept = self.exemplars.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let wanted =
            |one: &&Exemplar| (from..=to).contains(&one.time) && series.binary_search(&one.series).is_ok();
        kept.iter().filter(wanted).cloned().collect()
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_description_stays_and_their_number_is_bounded() {
        let notes = Notes::default();
        let about = |name: String, help: &str| Metadata {
            name,
            kind: "gauge",
            help: help.into(),
            unit: String::new(),
        };
        let many: Vec<_> = (0..=FAMILIES_MAX).map(|n| about(n.to_string(), "old")).collect();
        notes.describe(&many);
        notes.describe(&[about("0".into(), &"é".repeat(1000))]);
        assert_eq!(notes.families(None).len(), FAMILIES_MAX);
        let (_, about) = notes.families(Some("0")).remove(0);
        assert_eq!(about.help.len(), TEXT_BYTES_MAX);
        assert_eq!(notes.families(Some("none")), []);
    }

    #[test]
    fn the_newest_exemplars_stay_and_none_is_there_twice() {
        let notes = Notes::default();
        let one = |time| Exemplar {
            series: SeriesId(1),
            time,
            value: 1.0,
            labels: vec![("id".into(), "x".into())],
        };
        assert_eq!(notes.observe([one(5), one(5), one(6)]), 3);
        assert_eq!(notes.exemplars(&[SeriesId(1)], 5, 5), [one(5)]);
        assert_eq!(notes.exemplars(&[SeriesId(0), SeriesId(2)], 0, 10), []);
        notes.observe((10..10 + EXEMPLARS_MAX as i64).map(one));
        assert_eq!(notes.exemplars(&[SeriesId(1)], 0, 9), []);
        let long = Exemplar { labels: vec![("id".into(), "x".repeat(600))], ..one(7) };
        assert_eq!(notes.observe([long]), 0);
    }
}
