//! The wall clock, and times as people read them. Everything is UTC: the box has no zone of its own.

use std::time::{SystemTime, UNIX_EPOCH};

use vakt_wire::time::civil_from_days;

/// Seconds since the epoch.
pub fn now_s() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
        .unwrap_or(i64::MAX)
}

/// `2026-11-22 09:27:48`.
pub fn date_time(seconds: i64) -> String {
    let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
    format!("{year:04}-{month:02}-{day:02} {}", clock_time(seconds))
}

/// `09:27:48`.
pub fn clock_time(seconds: i64) -> String {
    let of_day = seconds.rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// `2026-11-22T09:27:48Z`, for `<time datetime>` and queries.
pub fn rfc3339(seconds: i64) -> String {
    format!("{}Z", date_time(seconds).replace(' ', "T"))
}

/// A label for a tick of an axis that spans `span_s` seconds: `09:27`, or `22 Nov` beyond two days.
pub fn tick(seconds: i64, span_s: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    if span_s <= 2 * 86_400 {
        return clock_time(seconds)[..5].to_owned();
    }
    let (_, month, day) = civil_from_days(seconds.div_euclid(86_400));
    // Months are from 1 to 12.
    format!("{day} {}", MONTHS[(month - 1) as usize])
}

/// How long ago, in one unit: `12 s`, `5 min`, `3 h`, `9 days`.
pub fn span(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..=119 => format!("{s} s"),
        s @ 120..=7199 => format!("{} min", s / 60),
        s @ 7200..=172_799 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(date_time(1_795_339_668), "2026-11-22 09:27:48");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(tick(1_795_339_668, 3600), "09:27");
        assert_eq!(tick(1_795_339_668, 7 * 86_400), "22 Nov");
    }

    #[test]
    fn spans_are_told_in_one_unit() {
        for (seconds, expected) in
            [(-5, "0 s"), (119, "119 s"), (600, "10 min"), (7200, "2 h"), (864_000, "10 days")]
        {
            assert_eq!(span(seconds), expected);
        }
    }
}
