//! The wall clock, and times as people read them. Everything is UTC: the box has no zone of its own.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the epoch.
pub fn now_s() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
        .unwrap_or(i64::MAX)
}

/// (year, month, day) of a number of days since the epoch (Hinnant, "chrono-compatible low-level date
/// algorithms").
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
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

/// Nanoseconds since the epoch of a time as the log service writes it (`2026-11-22T09:27:48.5Z`, always
/// UTC), or `None` for anything else.
pub fn parse_rfc3339_ns(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parts: Vec<i64> = whole.split(['-', 'T', ':']).map(str::parse).collect::<Result<_, _>>().ok()?;
    let [year, month, day, hour, minute, second] = parts.as_slice() else { return None };
    let days = days_from_civil(*year, *month, *day);
    let digits = fraction.get(..fraction.len().min(9))?;
    let nanoseconds: i64 = format!("{digits:0<9}").parse().ok()?;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
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
    fn times_of_the_log_service_are_read_to_the_nanosecond() {
        let t = 1_795_339_668_000_000_000;
        assert_eq!(parse_rfc3339_ns("2026-11-22T09:27:48Z"), Some(t));
        assert_eq!(parse_rfc3339_ns("2026-11-22T09:27:48.000000001Z"), Some(t + 1));
        assert_eq!(parse_rfc3339_ns("2026-11-22T09:27:48.5Z"), Some(t + 500_000_000));
        for bad in
            ["", "Z", "2026-11-22", "2026-11-22T09:27:48", "2026-11-22T09:27:xxZ", "99999-01-01T00:00:00Z"]
        {
            assert_eq!(parse_rfc3339_ns(bad), None, "{bad}");
        }
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
