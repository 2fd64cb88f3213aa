//! The samples of the current window, in memory.
//!
//! Every series has one Gorilla chunk that only grows at its end, and a list of late arrivals: samples
//! whose time is not after the chunk's last. A late arrival was written after whatever the chunk holds
//! for its time, so late ones win. A series with a native histogram goes on in a third form, which holds both kinds
//! in the order of their arrival.

use crate::codec::gorilla::HotChunk;
use crate::histogram::Histogram;
use crate::samples::Samples;
use crate::series::SeriesId;

mod mixed;

use mixed::Mixed;

/// No slot.
const NONE: u32 = u32::MAX;

/// Memory of a series' slot besides its samples, for the accounting.
const SLOT_BYTES: usize = size_of::<HotSeries>() + size_of::<u32>();

/// Memory of one late arrival.
const LATE_BYTES: usize = size_of::<(i64, f64)>();

/// The samples of one series.
#[derive(Clone, Debug)]
pub struct HotSeries {
    /// Whose they are.
    pub id: SeriesId,
    chunk: HotChunk,
    late: Vec<(i64, f64)>,
    /// From the first histogram of the window on.
    mixed: Option<Box<Mixed>>,
}

impl HotSeries {
    /// All samples, in order.
    pub fn samples(&self) -> Samples {
        let mut samples = Samples::default();
        let count = self.chunk.count();
        samples.times.reserve(count);
        samples.values.reserve(count);
        if let Err(error) = self.chunk.decode(&mut samples.times, &mut samples.values) {
            // What `append` coded decodes; a bit flip in memory is the only way here.
            tracing::error!(%error, "hot chunk is broken, its later samples are left out");
        }
        if !self.late.is_empty() {
            samples.overlay(&Samples::from_arrivals(&self.late));
        }
        if let Some(mixed) = &self.mixed {
            samples.overlay(&mixed.samples());
        }
        samples
    }
}

/// The window: the series that had samples since it began.
#[derive(Debug)]
pub struct Hot {
    slots: Vec<u32>,
    series: Vec<HotSeries>,
    samples: u64,
    bytes: usize,
    oldest: i64,
    newest: i64,
}

impl Default for Hot {
    fn default() -> Hot {
        Hot {
            slots: Vec::new(),
            series: Vec::new(),
            samples: 0,
            bytes: 0,
            oldest: i64::MAX,
            newest: i64::MIN,
        }
    }
}

impl Hot {
    /// Takes one sample.
    #[inline]
    pub fn append(&mut self, id: SeriesId, time: i64, value: f64) {
        let slot = self.slot(id);
        let series = &mut self.series[slot];
        if let Some(mixed) = &mut series.mixed {
            self.bytes += mixed.float(time, value);
            return self.count(time);
        }
        let before = series.chunk.memory();
        if series.chunk.last_time().is_none_or(|last| time > last) {
            series.chunk.append(time, value);
            self.bytes += series.chunk.memory() - before;
        } else {
            series.late.push((time, value));
            self.bytes += LATE_BYTES;
        }
        self.count(time);
    }

    /// Takes one native histogram.
    pub fn append_histogram(&mut self, id: SeriesId, time: i64, histogram: &Histogram) {
        let slot = self.slot(id);
        if self.series[slot].mixed.is_none() {
            self.bytes += size_of::<Mixed>();
        }
        self.bytes += self.series[slot].mixed.get_or_insert_default().histogram(time, histogram);
        self.count(time);
    }

    #[inline]
    fn count(&mut self, time: i64) {
        self.samples += 1;
        self.oldest = self.oldest.min(time);
        self.newest = self.newest.max(time);
    }

    #[inline]
    fn slot(&mut self, id: SeriesId) -> usize {
        let index = id.0 as usize;
        if index >= self.slots.len() {
            self.slots.resize(index + 1, NONE);
        }
        if self.slots[index] == NONE {
            self.slots[index] = self.series.len() as u32;
            self.series.push(HotSeries { id, chunk: HotChunk::default(), late: Vec::new(), mixed: None });
            self.bytes += SLOT_BYTES;
        }
        self.slots[index] as usize
    }

    /// The samples of one series, or `None` when it had none in this window.
    pub fn get(&self, id: SeriesId) -> Option<&HotSeries> {
        let slot = *self.slots.get(id.0 as usize)?;
        self.series.get(slot as usize)
    }

    /// Every series of the window, in order of arrival.
    pub fn series(&self) -> &[HotSeries] {
        &self.series
    }

    /// Samples taken, those that replaced another included.
    pub fn len(&self) -> u64 {
        self.samples
    }

    /// Whether nothing was taken.
    pub fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// Bytes of memory, as counted.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The oldest and the newest time, or `None` when it is empty.
    pub fn span(&self) -> Option<(i64, i64)> {
        (self.samples > 0).then_some((self.oldest, self.newest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_and_repeated_samples_are_sorted_in_and_the_last_written_stays() {
        let mut hot = Hot::default();
        for (time, value) in [(10, 1.0), (20, 2.0), (10, 3.0), (5, 4.0), (20, 5.0), (30, 6.0), (5, 7.0)] {
            hot.append(SeriesId(3), time, value);
        }
        let samples = hot.get(SeriesId(3)).unwrap().samples();
        assert_eq!(samples.times, [5, 10, 20, 30]);
        assert_eq!(samples.values, [7.0, 3.0, 5.0, 6.0]);
        assert_eq!((hot.len(), hot.span()), (7, Some((5, 30))));
        assert!(hot.get(SeriesId(2)).is_none());
    }

    #[test]
    fn of_one_time_the_last_written_stays_whatever_its_kind() {
        let (mut hot, mut bytes) = (Hot::default(), 0);
        let histogram = |sum| Histogram { sum, ..Histogram::default() };
        hot.append(SeriesId(0), 10, 1.0);
        hot.append(SeriesId(0), 20, 2.0);
        for (time, sum) in [(20, 3.0), (40, 4.0), (30, 5.0)] {
            hot.append_histogram(SeriesId(0), time, &histogram(sum));
            assert!(hot.bytes() >= bytes);
            bytes = hot.bytes();
        }
        hot.append(SeriesId(0), 40, 6.0);
        hot.append(SeriesId(0), 50, 7.0);
        let samples = hot.get(SeriesId(0)).unwrap().samples();
        assert_eq!((samples.times, samples.values), (vec![10, 40, 50], vec![1.0, 6.0, 7.0]));
        assert_eq!(samples.histograms, [(20, histogram(3.0)), (30, histogram(5.0))]);
        assert_eq!((hot.len(), hot.span()), (7, Some((10, 50))));
    }
}
