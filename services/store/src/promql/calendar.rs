//! The calendar functions: UTC fields of a time in seconds since the epoch.

use vakt_wire::time::civil_from_days;

/// A day in UTC.
struct Day {
    year: i64,
    month: i64,
    day: i64,
}

fn civil(days: i64) -> Day {
    let (year, month, day) = civil_from_days(days);
    Day { year, month, day }
}

fn leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The function of this name, or `None` when it is none of the calendar's. NaN stays NaN.
pub(super) fn named(name: &str) -> Option<fn(f64) -> f64> {
    fn field(seconds: f64, get: fn(i64, &Day) -> i64) -> f64 {
        if !seconds.is_finite() {
            return f64::NAN;
        }
        let seconds = seconds as i64;
        get(seconds, &civil(seconds.div_euclid(86_400))) as f64
    }
    Some(match name {
        "minute" => |t| field(t, |s, _| s.rem_euclid(3600) / 60),
        "hour" => |t| field(t, |s, _| s.rem_euclid(86_400) / 3600),
        "day_of_week" => |t| field(t, |s, _| (s.div_euclid(86_400) + 4).rem_euclid(7)),
        "day_of_month" => |t| field(t, |_, d| d.day),
        "day_of_year" => {
            |t| field(t, |_, d| (1..d.month).map(|month| days_in_month(d.year, month)).sum::<i64>() + d.day)
        }
        "days_in_month" => |t| field(t, |_, d| days_in_month(d.year, d.month)),
        "month" => |t| field(t, |_, d| d.month),
        "year" => |t| field(t, |_, d| d.year),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn fields_are_those_of_utc() {
        let check = |name, seconds, expected| assert_eq!(named(name).unwrap()(seconds), expected, "{name}");
        // 2024-02-29 23:59:59 UTC, a Thursday.
        let leap_day = 1_709_251_199.0;
        check("year", leap_day, 2024.0);
        check("month", leap_day, 2.0);
        check("day_of_month", leap_day, 29.0);
        check("day_of_week", leap_day, 4.0);
        check("day_of_year", leap_day, 60.0);
        check("days_in_month", leap_day, 29.0);
        check("hour", leap_day, 23.0);
        check("minute", leap_day, 59.0);
        check("year", -1.0, 1969.0);
        check("day_of_week", 0.0, 4.0);
    }
}
