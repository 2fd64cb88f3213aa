//! Taking a write request: registry, log record and hot window under one short lock.

use super::sources::{Allowance, OverLimit};
use super::{Engine, State};
use crate::histogram::Histogram;
use crate::ingest::{Frame, Observed, WriteRequest};
use crate::notes::Exemplar;
use crate::series::{LabelError, RegistryFull, SeriesId, canonical};
use crate::wal::{Done, RecordBuilder, WalError, exemplars};

/// The first millisecond of the year 1: what RFC 3339 can write. Times before it are nonsense.
const TIME_MIN: i64 = -62_135_596_800_000;

/// The last millisecond of the year 9999.
const TIME_MAX: i64 = 253_402_300_799_999;

/// Log bytes of a sample, for the record's first size: 2 to 3 of time and 8 of value, and its share of
/// the series' head.
const RECORD_BYTES_PER_SAMPLE: usize = 14;

/// Why nothing of a request was taken; the sender should try again later.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The log is behind or closed.
    #[error(transparent)]
    Log(#[from] WalError),
    /// The hot window is at twice its bound, because blocks cannot be written.
    #[error("memory holds {bytes} bytes of samples that wait to be written to blocks")]
    Full {
        /// Bytes in memory.
        bytes: usize,
    },
}

/// What became of a request's samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Floats that are stored; durable when `done` says so.
    pub accepted: u64,
    /// Native histograms that are stored, likewise.
    pub histograms: u64,
    /// Exemplars that are kept, and durable when `done` says so as far as there was room for them.
    pub exemplars: u64,
    /// Not stored.
    pub dropped: u64,
    /// Why the first of them was dropped.
    pub reason: Option<String>,
    /// Indexes of the series of which nothing is stored, ascending.
    pub(crate) refused: Vec<usize>,
    /// The oldest time that is stored.
    pub(crate) oldest: i64,
}

impl Report {
    /// Samples of both kinds that are stored.
    pub fn stored(&self) -> u64 {
        self.accepted + self.histograms
    }

    /// Whether the series of this index in the request is stored, as far as its times are.
    pub fn has_series(&self, index: usize) -> bool {
        self.refused.binary_search(&index).is_err()
    }

    /// Whether samples of this time are stored, as far as their series are.
    pub fn has_time(&self, time: i64) -> bool {
        (self.oldest..=TIME_MAX).contains(&time)
    }

    fn drop(&mut self, samples: usize, reason: impl std::fmt::Display) {
        self.dropped += samples as u64;
        if self.reason.is_none() {
            self.reason = Some(reason.to_string());
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum SeriesError {
    #[error(transparent)]
    Labels(#[from] LabelError),
    #[error(transparent)]
    Full(#[from] RegistryFull),
    #[error(transparent)]
    Source(#[from] OverLimit),
}

impl Engine {
    /// Whether a write would be taken at this moment.
    ///
    /// # Errors
    /// As [`Engine::write`].
    pub fn admits(&self) -> Result<(), WriteError> {
        let bytes = self.lock().hot.bytes();
        let full = bytes > 2 * self.settings.window_bytes_max;
        let admitted =
            if full { Err(WriteError::Full { bytes }) } else { self.wal.room().map_err(Into::into) };
        if admitted.is_err() {
            self.counters.put_off.add(1);
        }
        if full {
            self.room.bell.ring();
        }
        admitted
    }

    /// Takes the samples of a request; they are seen by queries at once. `done` is called, on another
    /// thread or on this one, when they are durable or the log has failed.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was taken; `done` is not called then. Samples that break a rule are
    /// no error: the [`Report`] counts them and the rest is stored. `source` is who sends, for its limits.
    pub fn write(&self, request: &WriteRequest, source: &str, done: Done) -> Result<Report, WriteError> {
        self.admits()?;
        let oldest = self.now().saturating_sub(self.keep.longest_ms()).max(TIME_MIN);
        let mut report = Report { oldest, ..Report::default() };
        let mut record = RecordBuilder::with_capacity(request.samples.len() * RECORD_BYTES_PER_SAMPLE);
        let mut state = self.lock();
        state.segment = state.segment.max(self.wal.usable_from());
        let mut allowance = state.sources.enter(source, self.started.elapsed());
        let mut noted = request.exemplars.iter().peekable();
        let mut observed = Vec::new();
        for (index, frame) in request.frames.iter().enumerate() {
            let samples = &request.samples[frame.samples.clone()];
            let histograms = &request.histograms[frame.histograms.clone()];
            let count = (samples.len() + histograms.len()) as u64;
            match state.admit(request, frame, &mut allowance, count) {
                Ok(id) => {
                    let mut expired = state.take(id, samples, oldest, &mut record, &mut report);
                    if !histograms.is_empty() {
                        expired += state.take_histograms(id, histograms, oldest, &mut record, &mut report);
                    }
                    self.counters.dropped_time.add(expired as u64);
                    while let Some(one) = noted.next_if(|one| one.frame <= index) {
                        observed.extend((one.frame == index).then(|| exemplar(id, one)));
                    }
                }
                Err(error) => {
                    let counter = match &error {
                        SeriesError::Labels(_) => &self.counters.dropped_labels,
                        SeriesError::Full(_) => &self.counters.dropped_series,
                        SeriesError::Source(_) => &self.counters.dropped_source,
                    };
                    counter.add(count);
                    report.refused.push(index);
                    report.drop(count as usize, error);
                }
            }
        }
        state.sources.leave(source, allowance);
        if record.is_empty() {
            drop(state);
            done(Ok(()));
        } else {
            // Under the lock: the log must see records in the order in which they name series.
            let fitting = observed.iter().filter(|one| one.fits());
            let noted = exemplars::record(fitting.map(|one| (state.registry.key(one.series), one)));
            self.wal.append(state.segment, record.finish(), noted, done);
            if self.window_due(&state) {
                self.room.bell.ring();
            }
        }
        report.exemplars = self.notes.observe(observed);
        self.notes.describe(&request.metadata);
        self.counters.samples.add(report.accepted);
        self.counters.histograms.add(report.histograms);
        if let (refused @ 1.., Some(reason)) = &request.refused {
            self.counters.dropped_histograms.add(*refused);
            report.drop(*refused as usize, reason);
        }
        Ok(report)
    }

    /// Whether memory should become blocks now: a window is due or on its way, or the disk has little room.
    pub(super) fn is_due(&self) -> bool {
        let state = self.lock();
        let pressed = self.room.is_pressed() && !state.hot.is_empty();
        pressed || state.frozen.is_some() || self.window_due(&state)
    }

    pub(super) fn window_due(&self, state: &State) -> bool {
        state.hot.len() >= self.settings.window_samples_max
            || state.hot.bytes() >= self.settings.window_bytes_max
            || (!state.hot.is_empty() && state.hot_since.elapsed() >= self.settings.window)
    }
}

fn exemplar(series: SeriesId, one: &Observed) -> Exemplar {
    Exemplar { series, time: one.time, value: one.value, labels: one.labels.clone() }
}

impl State {
    /// The series of a frame with `count` samples, when its source may send them and, if it is new, add it.
    #[inline]
    fn admit(
        &mut self,
        request: &WriteRequest,
        frame: &Frame,
        allowance: &mut Allowance,
        count: u64,
    ) -> Result<SeriesId, SeriesError> {
        allowance.samples(count)?;
        if let Some(id) = request.key(frame).and_then(|key| self.registry.find(key)) {
            return Ok(id);
        }
        let pairs = request.labels(frame).map_err(LabelError::from)?;
        let labels = canonical(&pairs)?;
        if let Some(id) = self.registry.find_labels(&labels) {
            return Ok(id);
        }
        allowance.new_series(count)?;
        let id = self.registry.intern(&labels)?;
        allowance.added();
        Ok(id)
    }

    /// Stores the samples that are inside the retention; returns how many are not.
    #[inline]
    fn take(
        &mut self,
        id: SeriesId,
        samples: &[(i64, f64)],
        oldest: i64,
        record: &mut RecordBuilder,
        report: &mut Report,
    ) -> usize {
        let fits = |time: i64| (oldest..=TIME_MAX).contains(&time);
        let count = samples.iter().filter(|&&(time, _)| fits(time)).count();
        if count < samples.len() {
            let outside = samples.iter().find(|&&(time, _)| !fits(time)).map_or(0, |&(time, _)| time);
            report
                .drop(samples.len() - count, format_args!("sample at {outside} ms is outside the retention"));
        }
        if count == 0 {
            return samples.len();
        }
        self.name(id, record);
        record.begin(id, count);
        for &(time, value) in samples.iter().filter(|&&(time, _)| fits(time)) {
            record.sample(time, value);
            self.hot.append(id, time, value);
        }
        report.accepted += count as u64;
        samples.len() - count
    }

    /// As [`State::take`], for native histograms.
    fn take_histograms(
        &mut self,
        id: SeriesId,
        histograms: &[(i64, Histogram)],
        oldest: i64,
        record: &mut RecordBuilder,
        report: &mut Report,
    ) -> usize {
        let fits = |time: i64| (oldest..=TIME_MAX).contains(&time);
        let (kept, outside): (Vec<_>, Vec<_>) = histograms.iter().partition(|(time, _)| fits(*time));
        if let Some((time, _)) = outside.first() {
            report.drop(outside.len(), format_args!("histogram at {time} ms is outside the retention"));
        }
        if !kept.is_empty() {
            self.name(id, record);
            record.begin_histograms(id, kept.len());
            for (time, histogram) in &kept {
                record.histogram(*time, histogram);
                self.hot.append_histogram(id, *time, histogram);
            }
            report.histograms += kept.len() as u64;
        }
        outside.len()
    }

    /// Names the series in the record when the current log segment does not know it yet.
    #[inline]
    fn name(&mut self, id: SeriesId, record: &mut RecordBuilder) {
        let index = id.0 as usize;
        if index >= self.named_in.len() {
            self.named_in.resize(self.registry.len(), 0);
        }
        if self.named_in[index] != self.segment {
            self.named_in[index] = self.segment;
            record.define(id, self.registry.key(id));
        }
    }
}
