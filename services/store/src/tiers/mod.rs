//! Down-sampling: what a minute or an hour of a series amounts to.
//!
//! A bucket of width w with the time t stands for the samples in (t - w, t], as PromQL's windows do. Sums and extremes leave
//! staleness markers out; the last sample may be one. Native histograms are not summed: the last one of a bucket stays, which
//! is what a cumulative histogram needs.

mod fold;
mod grain;

pub use fold::fold;
pub use grain::Grain;

/// How wide the buckets of a tier are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

impl Tier {
    /// All, the finest first.
    pub const ALL: [Tier; 2] = [Tier::Minute, Tier::Hour];

    /// Milliseconds of a bucket.
    pub fn width_ms(self) -> i64 {
        match self {
            Tier::Minute => 60_000,
            Tier::Hour => 3_600_000,
        }
    }

    /// The tier with buckets of this width.
    pub fn of_width(width_ms: i64) -> Option<Tier> {
        Tier::ALL.into_iter().find(|tier| tier.width_ms() == width_ms)
    }

    /// The end of the bucket that a time lies in: the first multiple of the width that is not before it.
    pub fn end_of(self, time: i64) -> i64 {
        let width = self.width_ms();
        time.saturating_add(width - 1).div_euclid(width) * width
    }
}

/// Which number of a bucket is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Aspect {
    /// The last sample: for instant selectors and counters.
    #[default]
    Last,
    /// The sum of all.
    Sum,
    /// How many there are.
    Count,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

/// What the samples of a bucket amount to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aggregate {
    /// The end of the bucket: milliseconds since the epoch.
    pub time: i64,
    /// Sum, count, smallest, largest, last; see [`Aggregate::get`].
    pub numbers: [f64; 5],
}

impl Aggregate {
    /// One of its numbers; `None` where only a staleness marker was in the bucket and something else is asked for.
    pub fn get(&self, aspect: Aspect) -> Option<f64> {
        let [sum, count, min, max, last] = self.numbers;
        match aspect {
            Aspect::Last => Some(last),
            Aspect::Count => Some(count).filter(|count| *count > 0.0),
            _ if count == 0.0 => None,
            Aspect::Sum => Some(sum),
            Aspect::Min => Some(min),
            Aspect::Max => Some(max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_open_on_the_left() {
        let check = |time, end| assert_eq!(Tier::Minute.end_of(time), end, "{time}");
        check(0, 0);
        check(1, 60_000);
        check(60_000, 60_000);
        check(60_001, 120_000);
        check(-1, 0);
        check(-60_000, -60_000);
        check(-60_001, -60_000);
    }
}
