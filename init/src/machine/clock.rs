//! The clock on the wall: never before this build, never before it was last seen. A dead battery would make
//! certificates not valid yet, and updates seem to come from the future.

use std::path::Path;

use vakt_wire::clock::{AHEAD_S_MAX, EARLIEST_S};

use super::identity;

/// The time last seen is written this often. It bounds how far a dead clock falls behind at a power cut.
pub const REMEMBER_EVERY_MS: u64 = 10 * 60 * 1000;

/// The time that the clock has to be set to, or `None` when it may be right.
fn better(now_s: i64, seen_s: Option<i64>) -> Option<i64> {
    let seen = seen_s.filter(|seen| (EARLIEST_S..=EARLIEST_S + AHEAD_S_MAX).contains(seen));
    let least = seen.unwrap_or(EARLIEST_S);
    (now_s < least).then_some(least)
}

/// Sets the clock forward when it is certainly wrong, and says so. `path` holds the time last seen.
pub fn settle(path: &Path, now_s: i64, set: impl FnOnce(i64) -> std::io::Result<()>) -> Option<String> {
    let seen = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
    let time = better(now_s, seen)?;
    let shown = |time_s: i64| vakt_wire::time::rfc3339(time_s.saturating_mul(1_000_000_000));
    match set(time) {
        Ok(()) => Some(format!("the clock stood at {}; it goes on from {}", shown(now_s), shown(time))),
        Err(error) => Some(format!("the clock stands at {} and cannot be set: {error}", shown(now_s))),
    }
}

/// Keeps the time for the next boot. That it cannot be written is no reason to do anything else.
pub fn remember(path: &Path, now_s: i64) {
    let _ = identity::write_whole(path, format!("{now_s}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_set_forward_only_and_only_when_it_is_certainly_wrong() {
        let day = 86_400;
        for (now, seen, expected) in [
            (0, None, Some(EARLIEST_S)),
            (EARLIEST_S, None, None),
            (EARLIEST_S + day, Some(EARLIEST_S), None),
            (EARLIEST_S, Some(EARLIEST_S + day), Some(EARLIEST_S + day)),
            (0, Some(5), Some(EARLIEST_S)),
            (EARLIEST_S + day, Some(i64::MAX), None),
            (0, Some(i64::MAX), Some(EARLIEST_S)),
        ] {
            assert_eq!(better(now, seen), expected, "{now} {seen:?}");
        }
    }

    #[test]
    fn what_was_remembered_is_where_a_dead_clock_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("clock");
        remember(&path, EARLIEST_S + 77);
        let mut set = 0;
        let said = settle(&path, 0, |time| {
            set = time;
            Ok(())
        });
        assert_eq!(set, EARLIEST_S + 77);
        assert_eq!(
            said.unwrap(),
            "the clock stood at 1970-01-01T00:00:00Z; it goes on from 2026-11-01T00:01:17Z"
        );
        assert_eq!(settle(&path, EARLIEST_S + 78, |_| panic!("the clock is right")), None);
    }
}
