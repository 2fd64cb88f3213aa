//! Samples of one series, in columns.

/// Times (milliseconds since the epoch, ascending and unique) and their values. Both have the same
/// length.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Milliseconds since the epoch.
    pub times: Vec<i64>,
    /// One value for each time; staleness markers are still in it.
    pub values: Vec<f64>,
}

impl Samples {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Appends a sample; its time must be greater than the last one's.
    pub fn push(&mut self, time: i64, value: f64) {
        self.times.push(time);
        self.values.push(value);
    }

    /// From samples in the order they arrived: sorted, and of one time the last to arrive.
    pub fn from_arrivals(arrivals: &[(i64, f64)]) -> Samples {
        let mut sorted = arrivals.to_vec();
        // Stable, so that among equal times the order of arrival stays.
        sorted.sort_by_key(|&(time, _)| time);
        let mut samples = Samples::default();
        for (time, value) in sorted {
            match samples.times.last() {
                Some(&last) if last == time => *samples.values.last_mut().unwrap_or(&mut 0.0) = value,
                _ => samples.push(time, value),
            }
        }
        samples
    }

    /// Lays `newer` over these samples: where both have a time, the newer value stays.
    pub fn overlay(&mut self, newer: &Samples) {
        let (Some(&last), Some(&first)) = (self.times.last(), newer.times.first()) else {
            if self.is_empty() {
                self.clone_from(newer);
            }
            return;
        };
        if first > last {
            self.times.extend_from_slice(&newer.times);
            self.values.extend_from_slice(&newer.values);
            return;
        }
        let older = std::mem::take(self);
        let (mut a, mut b) = (0, 0);
        while a < older.len() || b < newer.len() {
            let take_older = b == newer.len() || (a < older.len() && older.times[a] < newer.times[b]);
            if take_older {
                self.push(older.times[a], older.values[a]);
                a += 1;
            } else {
                a += usize::from(a < older.len() && older.times[a] == newer.times[b]);
                self.push(newer.times[b], newer.values[b]);
                b += 1;
            }
        }
    }

    /// Keeps the samples from `from` to `to`, both included.
    pub fn clip(&mut self, from: i64, to: i64) {
        let end = self.times.partition_point(|&time| time <= to);
        let start = self.times.partition_point(|&time| time < from).min(end);
        self.times.truncate(end);
        self.values.truncate(end);
        self.times.drain(..start);
        self.values.drain(..start);
    }

    /// Removes everything and keeps the memory.
    pub fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn pairs(samples: &Samples) -> Vec<(i64, f64)> {
        samples.times.iter().copied().zip(samples.values.iter().copied()).collect()
    }

    proptest! {
        #[test]
        fn the_last_to_arrive_wins_however_samples_are_laid_over_each_other(
            layers in prop::collection::vec(prop::collection::vec((0i64..50, 0u32..1000), 0..30), 0..5),
            from in -5i64..60, to in -5i64..60,
        ) {
            let (mut model, mut samples) = (BTreeMap::new(), Samples::default());
            for layer in layers {
                let layer: Vec<_> = layer.into_iter().map(|(t, v)| (t, f64::from(v))).collect();
                model.extend(layer.iter().copied());
                samples.overlay(&Samples::from_arrivals(&layer));
            }
            prop_assert_eq!(pairs(&samples), model.clone().into_iter().collect::<Vec<_>>());
            samples.clip(from, to);
            let clipped: Vec<_> = model.into_iter().filter(|(t, _)| (from..=to).contains(t)).collect();
            prop_assert_eq!(pairs(&samples), clipped);
        }
    }
}
