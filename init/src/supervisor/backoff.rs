//! How long a service that died waits for its next life.

/// First delay: long enough that a service which dies at once costs no processor, short enough that
/// a single crash is hardly seen.
const RESTART_DELAY_MS_MIN: u64 = 200;

/// The ceiling: a service that keeps dying is tried twice a minute for ever, and shown as such.
pub const RESTART_DELAY_MS_MAX: u64 = 30_000;

/// A life that was ready this long clears the record of failures.
pub const STABLE_AFTER_MS: u64 = 60_000;

/// The delay before the restart after `failures` failures in a row (1 for the first): doubling from
/// 200 ms to 30 s. There is no jitter: one box has no herd.
pub fn restart_delay_ms(failures: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(16);
    (RESTART_DELAY_MS_MIN << doublings).min(RESTART_DELAY_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_ceiling() {
        let delays: Vec<u64> = [1, 2, 3, 8, 9, 1000, u32::MAX].map(restart_delay_ms).into();
        assert_eq!(delays, [200, 400, 800, 25_600, 30_000, 30_000, 30_000]);
    }
}
