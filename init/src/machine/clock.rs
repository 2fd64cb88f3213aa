//! The clock on the wall: never before this build, never before it was last seen. A dead battery would make
//! certificates not valid yet, and updates seem to come from the future.

use std::path::Path;

use super::identity;

/// No box with this code runs earlier: 2026-11-01. It is moved with each release, and not taken from the
/// build, which has to be reproducible.
const FLOOR_S: i64 = 1_793_491_200;

/// A time last seen that is further than this from the floor was wrong itself: 30 years.
const SEEN_AHEAD_S_MAX: i64 = 30 * 365 * 86_400;

/// The time last seen is written this often. It bounds how far a dead clock falls behind at a power cut.
pub const REMEMBER_EVERY_MS: u64 = 10 * 60 * 1000;

/// The time that the clock has to be set to, or `None` when it may be right.
fn better(now_s: i64, seen_s: Option<i64>) -> Option<i64> {
    let seen = seen_s.filter(|seen| (FLOOR_S..=FLOOR_S + SEEN_AHEAD_S_MAX).contains(seen));
    let least = seen.unwrap_or(FLOOR_S);
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
            (0, None, Some(FLOOR_S)),
            (FLOOR_S, None, None),
            (FLOOR_S + day, Some(FLOOR_S), None),
            (FLOOR_S, Some(FLOOR_S + day), Some(FLOOR_S + day)),
            (0, Some(5), Some(FLOOR_S)),
            (FLOOR_S + day, Some(i64::MAX), None),
            (0, Some(i64::MAX), Some(FLOOR_S)),
        ] {
            assert_eq!(better(now, seen), expected, "{now} {seen:?}");
        }
    }

    #[test]
    fn what_was_remembered_is_where_a_dead_clock_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("clock");
        remember(&path, FLOOR_S + 77);
        let mut set = 0;
        let said = settle(&path, 0, |time| {
            set = time;
            Ok(())
        });
        assert_eq!(set, FLOOR_S + 77);
        assert_eq!(
            said.unwrap(),
            "the clock stood at 1970-01-01T00:00:00Z; it goes on from 2026-11-01T00:01:17Z"
        );
        assert_eq!(settle(&path, FLOOR_S + 78, |_| panic!("the clock is right")), None);
    }
}
