//! Time is cut into partitions, so that blocks of different ages stay apart and whole ones expire.

/// Width of a partition: 30 days. A century is then 1,218 of them, each at least one file; and what
/// expires is late by 30 days at most.
const WIDTH_MS: i64 = 30 * 86_400_000;

/// The cutting of time into partitions.
#[derive(Clone, Copy, Debug)]
pub struct Partitions;

impl Partitions {
    /// The partition of a time in milliseconds since the epoch.
    pub fn of(time: i64) -> i64 {
        time.div_euclid(WIDTH_MS)
    }

    /// The first and the last millisecond of a partition.
    pub fn span(partition: i64) -> (i64, i64) {
        let start = partition.saturating_mul(WIDTH_MS);
        (start, start.saturating_add(WIDTH_MS - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_its_partition() {
        for time in [-1, 0, 1, WIDTH_MS - 1, WIDTH_MS, -WIDTH_MS, 253_402_300_799_999] {
            let (start, end) = Partitions::span(Partitions::of(time));
            assert!((start..=end).contains(&time), "{time}");
        }
    }
}
