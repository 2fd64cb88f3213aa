//! What an answer of the receiver means. Nothing is done here.

use std::time::Duration;

use hyper::StatusCode;

/// A receiver that asks for a longer wait is asked again after this all the same.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// The first wait; it doubles up to [`WAIT_MAX`].
const WAIT_MIN: Duration = Duration::from_millis(500);

/// The longest wait that the receiver did not ask for.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has arrived.
    Done,
    /// It will never be taken: what is wrong is in it.
    Refused,
    /// Once more, after this time at least.
    Later(Option<Duration>),
}

/// Judges an answer's status and its `Retry-After` in seconds.
///
/// The remote-write specification has senders drop what is answered with 4xx. That would lose everything for as long
/// as a password is wrong, so only what is said of the body itself (400, 413, 415, 422) is dropped.
pub fn verdict(status: StatusCode, retry_after: Option<&str>) -> Verdict {
    let after = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    match status.as_u16() {
        200..=299 => Verdict::Done,
        400 | 413 | 415 | 422 => Verdict::Refused,
        _ => Verdict::Later(after.map(|after| after.min(RETRY_AFTER_MAX))),
    }
}

/// The wait after `failures` in a row (1 for the first), spread by `noise` over -25 % to +25 %.
pub fn wait(failures: u32, noise: u32) -> Duration {
    let base = WAIT_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(WAIT_MAX);
    base.mul_f64(0.75 + f64::from(noise) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_of_the_body_drops_it() {
        let later = |seconds| Verdict::Later(Some(Duration::from_secs(seconds)));
        for (status, after, expected) in [
            (200, None, Verdict::Done),
            (204, None, Verdict::Done),
            (400, None, Verdict::Refused),
            (413, None, Verdict::Refused),
            (422, None, Verdict::Refused),
            (401, None, Verdict::Later(None)),
            (404, None, Verdict::Later(None)),
            (301, None, Verdict::Later(None)),
            (429, Some("7"), later(7)),
            (429, Some("soon"), Verdict::Later(None)),
            (503, Some("86400"), later(300)),
            (500, None, Verdict::Later(None)),
        ] {
            assert_eq!(verdict(StatusCode::from_u16(status).unwrap(), after), expected, "{status}");
        }
    }

    #[test]
    fn waits_double_up_to_half_a_minute_and_spread_by_a_quarter() {
        for (failures, noise, expected_ms) in
            [(1, 0, 375), (1, u32::MAX, 625), (4, 0, 3_000), (9, 0, 22_500), (u32::MAX, u32::MAX, 37_500)]
        {
            assert_eq!(wait(failures, noise).as_millis(), expected_ms, "{failures} {noise}");
        }
    }
}
