//! Round numbers along an axis.

/// About `wanted` round ticks (1, 2, 2.5 or 5 times a power of `base`) from 0 to at least `max`.
/// `base` is 10, or 1024 for bytes. The last tick is the axis' end.
pub fn ticks(max: f64, wanted: usize, base: f64) -> Vec<f64> {
    let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
    let rough = max / wanted.max(1) as f64;
    let power = base.powf(rough.log(base).floor());
    let steps: &[f64] = if base == 10.0 {
        &[1.0, 2.0, 2.5, 5.0, 10.0]
    } else {
        &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0]
    };
    let step =
        steps.iter().map(|step| step * power).find(|step| *step >= rough * 0.999).unwrap_or(base * power);
    let count = (max / step - 0.001).ceil().max(1.0) as usize;
    (0..=count).map(|n| n as f64 * step).collect()
}

/// Round times (seconds since the epoch) inside `from..=to`, at most `wanted` + 1 of them.
pub fn times(from_s: i64, to_s: i64, wanted: i64) -> Vec<i64> {
    const STEPS_S: [i64; 14] =
        [60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800];
    let rough = (to_s - from_s).max(1) / wanted.max(1);
    let step = STEPS_S.into_iter().find(|step| *step >= rough).unwrap_or(rough.max(1));
    let first = (from_s + step - 1).div_euclid(step) * step;
    (0..=wanted).map(|n| first + n * step).take_while(|at| *at <= to_s).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_maximum() {
        assert_eq!(ticks(100.0, 4, 10.0), [0.0, 25.0, 50.0, 75.0, 100.0]);
        assert_eq!(ticks(7.3, 4, 10.0), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(ticks(0.0, 4, 10.0).last(), Some(&1.0));
        assert_eq!(ticks(f64::NAN, 4, 10.0).last(), Some(&1.0));
        assert_eq!(ticks(3.0 * 1024.0, 3, 1024.0), [0.0, 1024.0, 2048.0, 3072.0]);
        for max in [1e-9, 0.013, 5.0, 999.0, 1e12] {
            let ticks = ticks(max, 4, 10.0);
            assert!(
                ticks.len() <= 7 && ticks.last().is_some_and(|last| *last >= max * 0.999),
                "{max}: {ticks:?}"
            );
        }
    }

    #[test]
    fn times_are_round_and_inside() {
        assert_eq!(times(100, 3700, 4), [900, 1800, 2700, 3600]);
        assert_eq!(times(0, 7 * 86_400, 4), [0, 172_800, 345_600, 518_400]);
        assert!(times(5, 6, 4).len() <= 1);
    }
}
