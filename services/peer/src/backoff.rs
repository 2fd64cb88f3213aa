//! How long to wait before the next try to connect.

use std::time::Duration;

/// Wait before the first retry.
pub const DELAY_MIN: Duration = Duration::from_secs(1);

/// Longest wait, before jitter: an unreachable machine costs one SYN a minute, and one that comes
/// back is seen within about a minute.
pub const DELAY_MAX: Duration = Duration::from_secs(60);

/// The wait after `failures` tries failed in a row (1 for the first): doubles from [`DELAY_MIN`] to
/// [`DELAY_MAX`], then spread by `noise` (any number, better a random one) over -25 % to +25 %, so that
/// a fleet that vanished together is not called back together.
pub fn delay(failures: u32, noise: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let base = DELAY_MIN.saturating_mul(1 << doublings).min(DELAY_MAX);
    let spread = f64::from(noise) / f64::from(u32::MAX);
    base.mul_f64(0.75 + spread / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(failures: u32, noise: u32, expected_ms: u64) {
        assert_eq!(delay(failures, noise).as_millis() as u64, expected_ms, "{failures} failures, {noise}");
    }

    #[test]
    fn waits_double_up_to_a_minute_and_spread_by_a_quarter() {
        check(0, 0, 750);
        check(1, 0, 750);
        check(1, u32::MAX, 1_250);
        check(2, u32::MAX, 2_500);
        check(4, 0, 6_000);
        check(7, 0, 45_000);
        check(u32::MAX, u32::MAX, 75_000);
    }
}
