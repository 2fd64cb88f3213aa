//! The histogram that all programs fill: programs/common.h has its other half.

/// Buckets with a bound: 1 µs, 2 µs, 4 µs and so on to 2^24 µs, some 17 s.
pub const BOUNDS: usize = 25;

/// The map's value: the buckets, the one above all bounds, and the sum in nanoseconds.
pub(crate) type Raw = [u64; BOUNDS + 2];

/// Times counted since the programs were attached, over all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many were in each bucket (not cumulative); the last one is for those above all bounds.
    pub buckets: [u64; BOUNDS + 1],
    /// All together, in nanoseconds.
    pub sum_ns: u64,
}

impl Histogram {
    /// The upper bound of bucket `index` in seconds; infinite for the last.
    pub fn bound_seconds(index: usize) -> f64 {
        if index < BOUNDS { (1u64 << index) as f64 / 1e6 } else { f64::INFINITY }
    }

    /// What is in all buckets.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub(crate) fn add(mut self, raw: &Raw) -> Histogram {
        for (bucket, more) in self.buckets.iter_mut().zip(raw) {
            *bucket = bucket.wrapping_add(*more);
        }
        self.sum_ns = self.sum_ns.wrapping_add(raw[BOUNDS + 1]);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_powers_of_two_in_microseconds() {
        assert_eq!(Histogram::bound_seconds(0), 1e-6);
        assert_eq!(Histogram::bound_seconds(10), 0.001024);
        assert_eq!(Histogram::bound_seconds(BOUNDS - 1), 16.777216);
        assert_eq!(Histogram::bound_seconds(BOUNDS), f64::INFINITY);
    }

    #[test]
    fn cpus_are_added_up() {
        let mut raw: Raw = [0; BOUNDS + 2];
        (raw[3], raw[BOUNDS], raw[BOUNDS + 1]) = (2, 1, 500);
        let both = Histogram::default().add(&raw).add(&raw);
        assert_eq!((both.buckets[3], both.buckets[BOUNDS], both.sum_ns, both.count()), (4, 2, 1000, 6));
    }
}
