//! Where buckets may stand for samples: only where nobody can tell the difference.
//!
//! A question is about windows (start, end]. When start and end of each lie on the ends of buckets, every bucket is in a window as a
//! whole or not at all, and what its samples amount to is all that sum, count, least, greatest and last need. A single
//! window may lie anywhere: its edges are read as samples, what is between them as buckets.

use super::Tier;

/// Buckets that a single window must hold between its edges, which are up to two buckets of samples.
const WINDOW_BUCKETS_MIN: i64 = 48;

/// Where the windows of a question lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// All their bounds are multiples of this many milliseconds.
    Multiples(i64),
    /// There is one, after the first time and up to the second.
    Window(i64, i64),
}

impl Grain {
    /// Of windows whose ends are `first`, `first + step` and so on, each `range` long.
    pub fn of(first: i64, step: i64, range: i64) -> Grain {
        Grain::Multiples(divisor(divisor(first, step), range))
    }

    /// After which time and up to which a tier's buckets may be taken; `None` for nowhere.
    pub fn allows(self, tier: Tier) -> Option<(i64, i64)> {
        let width = tier.width_ms();
        match self {
            Grain::Multiples(of) => (of % width == 0).then_some((i64::MIN, i64::MAX)),
            Grain::Window(start, end) => {
                // Far from where rounding overflows; nothing lies out there.
                let (start, end) = (start.max(i64::MIN / 4), end.min(i64::MAX / 4));
                let (after, up_to) = (tier.end_of(start), end.div_euclid(width) * width);
                let worth = up_to.saturating_sub(after) >= width * WINDOW_BUCKETS_MIN;
                worth.then_some((after, up_to))
            }
        }
    }
}

/// The greatest common divisor; 0 has every divisor.
fn divisor(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.saturating_abs(), b.saturating_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_taken_where_all_bounds_lie_on_their_ends() {
        let check = |first, step, range, minute, hour| {
            let grain = Grain::of(first, step, range);
            let found = Tier::ALL.map(|tier| grain.allows(tier).is_some());
            assert_eq!(found, [minute, hour], "{first} {step} {range}");
        };
        check(0, 60_000, 300_000, true, false);
        check(7_200_000, 3_600_000, 86_400_000, true, true);
        check(-7_200_000, 3_600_000, 3_600_000, true, true);
        check(60_001, 60_000, 300_000, false, false);
        check(60_000, 15_000, 300_000, false, false);
        check(60_000, 60_000, 90_000, false, false);
    }

    #[test]
    fn a_single_window_has_buckets_between_its_edges() {
        let check = |start, end, tier, expected| assert_eq!(Grain::Window(start, end).allows(tier), expected);
        let hour = 3_600_000;
        check(30_000, hour + 20_000, Tier::Minute, Some((60_000, hour)));
        check(60_000, hour, Tier::Minute, Some((60_000, hour)));
        check(-hour - 1, -1, Tier::Minute, Some((-hour, -60_000)));
        check(30_000, 47 * 60_000, Tier::Minute, None);
        check(30_000, 24 * hour, Tier::Hour, None);
        check(30_000, 50 * hour, Tier::Hour, Some((hour, 50 * hour)));
        assert!(Grain::Window(i64::MIN, i64::MAX).allows(Tier::Hour).is_some());
    }
}
