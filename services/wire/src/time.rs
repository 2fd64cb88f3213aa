//! Points in time as nanoseconds since the Unix epoch, and the forms in which they are written.
//!
//! Years 1970 to 2261: what fits an `i64` of nanoseconds. Civil dates are computed, not looked up
//! (Howard Hinnant, "chrono-compatible low-level date algorithms").

/// Nanoseconds of a second.
pub const SECOND: i64 = 1_000_000_000;
/// Nanoseconds of a day.
pub const DAY: i64 = 86_400 * SECOND;

/// The wall clock now, in nanoseconds since the epoch.
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Days since the epoch of a civil date (proleptic Gregorian).
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

/// (year, month, day) of a number of days since the epoch.
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

/// The UTC day that `time_ns` lies in, as `2026-11-22`.
pub fn day_name(day: i64) -> String {
    let (year, month, date) = civil_from_days(day);
    format!("{year:04}-{month:02}-{date:02}")
}

/// The day number of a name made by [`day_name`], or `None`.
pub fn day_of_name(name: &str) -> Option<i64> {
    let (span, exact) = parse_partial(name)?;
    (name.len() == 10 && exact == Precision::Day).then_some(span.0 / DAY)
}

/// RFC 3339 in UTC with up to nine fraction digits, trailing zeros left out.
pub fn rfc3339(time_ns: i64) -> String {
    let (day, of_day) = (time_ns.div_euclid(DAY), time_ns.rem_euclid(DAY));
    let (second, fraction) = (of_day / SECOND, of_day % SECOND);
    let mut text =
        format!("{}T{:02}:{:02}:{:02}", day_name(day), second / 3600, second / 60 % 60, second % 60);
    if fraction > 0 {
        let digits = format!(".{fraction:09}");
        text.push_str(digits.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// How exactly a time was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// `2026`
    Year,
    /// `2026-11`
    Month,
    /// `2026-11-22`
    Day,
    /// `2026-11-22T09`
    Hour,
    /// `2026-11-22T09:27`
    Minute,
    /// `2026-11-22T09:27:48`
    Second,
    /// With a fraction.
    Fraction,
}

/// An RFC 3339 time with its zone, as RFC 5424 and JSON lines carry it: `None` when it is anything
/// less than a whole second, or has no zone.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let zoned = text.ends_with(['Z', 'z']) || text.get(19..).is_some_and(|rest| rest.contains(['+', '-']));
    if !zoned {
        return None;
    }
    let (span, precision) = parse_partial(text)?;
    matches!(precision, Precision::Second | Precision::Fraction).then_some(span.0)
}

/// A time that may be cut off after any part (`2026`, `2026-11-22T09:27`, …) as the half-open span
/// that it names, with its precision. Without a zone it is UTC. `None` for anything else.
pub fn parse_partial(text: &str) -> Option<((i64, i64), Precision)> {
    let mut parser = Digits { rest: text };
    let year = parser.number(4)?;
    if !(1970..=2261).contains(&year) {
        return None;
    }
    let mut parts = [1, 1, 0, 0, 0];
    let mut precision = Precision::Year;
    let steps: [(&[char], Precision, i64, i64); 5] = [
        (&['-'], Precision::Month, 1, 12),
        (&['-'], Precision::Day, 1, 31),
        (&['T', 't', ' '], Precision::Hour, 0, 23),
        (&[':'], Precision::Minute, 0, 59),
        (&[':'], Precision::Second, 0, 60),
    ];
    for (index, (separators, level, min, max)) in steps.into_iter().enumerate() {
        if !parser.eat(separators) {
            break;
        }
        parts[index] = parser.number(2).filter(|n| (min..=max).contains(n))?;
        precision = level;
    }
    let mut fraction = 0;
    if precision == Precision::Second && parser.eat(&['.', ',']) {
        fraction = parser.fraction()?;
        precision = Precision::Fraction;
    }
    let offset = parser.zone()?;
    if !parser.rest.is_empty() {
        return None;
    }
    let [month, day, hour, minute, second] = parts;
    let days = days_from_civil(year, month, day);
    if civil_from_days(days) != (year, month, day) {
        return None;
    }
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset;
    let start = seconds.checked_mul(SECOND)?.checked_add(fraction)?;
    let next_month = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    let length = match precision {
        Precision::Year => (days_from_civil(year + 1, 1, 1) - days) * DAY,
        Precision::Month => (days_from_civil(next_month.0, next_month.1, 1) - days) * DAY,
        Precision::Day => DAY,
        Precision::Hour => 3600 * SECOND,
        Precision::Minute => 60 * SECOND,
        Precision::Second => SECOND,
        Precision::Fraction => 1,
    };
    (start >= 0).then_some(((start, start.saturating_add(length)), precision))
}

struct Digits<'a> {
    rest: &'a str,
}

impl Digits<'_> {
    fn eat(&mut self, any: &[char]) -> bool {
        let Some(rest) = self.rest.strip_prefix(any) else { return false };
        self.rest = rest;
        true
    }

    fn number(&mut self, digits: usize) -> Option<i64> {
        let text = self.rest.get(..digits)?;
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        self.rest = &self.rest[digits..];
        text.parse().ok()
    }

    /// Digits after the point, as nanoseconds; what is finer is cut.
    fn fraction(&mut self) -> Option<i64> {
        let count = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        let kept = &digits[..count.min(9)];
        let scale = 10_i64.pow(9 - u32::try_from(kept.len()).ok()?);
        kept.parse::<i64>().ok().map(|number| number * scale)
    }

    /// Seconds east of UTC; 0 when no zone is written.
    fn zone(&mut self) -> Option<i64> {
        if self.rest.is_empty() || self.eat(&['Z', 'z']) {
            return Some(0);
        }
        let sign = if self.eat(&['+']) {
            1
        } else if self.eat(&['-']) {
            -1
        } else {
            return None;
        };
        let hours = self.number(2).filter(|h| *h <= 23)?;
        self.eat(&[':']);
        let minutes = self.number(2).filter(|m| *m <= 59)?;
        Some(sign * (hours * 3600 + minutes * 60))
    }
}

/// A number since the epoch whose unit is told by its size, as VictoriaLogs reads it: seconds below
/// 2^32, then milliseconds, microseconds, nanoseconds. Returns the time and its unit in nanoseconds.
pub fn parse_epoch(text: &str) -> Option<(i64, i64)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: i64 = whole.parse().ok()?;
    let unit = match number {
        0..=0xffff_ffff => SECOND,
        0x1_0000_0000..=0x3e7_ffff_fc18 => 1_000_000,
        0x3e7_ffff_fc19..=0xf_423f_fff0_bdc0 => 1000,
        _ => 1,
    };
    let mut digits = Digits { rest: fraction };
    let extra = if fraction.is_empty() { 0 } else { digits.fraction()? };
    if !digits.rest.is_empty() {
        return None;
    }
    let time = number.checked_mul(unit)?.checked_add(extra / (SECOND / unit))?;
    Some((time, if fraction.is_empty() { unit } else { 1 }))
}

/// A length of time such as `5m`, `1h30m`, `250ms`, `30d`, `2w`, `1y` (365 days), in nanoseconds.
pub fn parse_duration(text: &str) -> Option<i64> {
    let mut total = 0_i64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit()).count();
        let number: i64 = rest.get(..digits)?.parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(|b| b.is_ascii_alphabetic()).count();
        let unit = match &rest[..letters] {
            "ns" => 1,
            "us" => 1000,
            "ms" => 1_000_000,
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3600 * SECOND,
            "d" => DAY,
            "w" => 7 * DAY,
            "y" => 365 * DAY,
            _ => return None,
        };
        rest = &rest[letters..];
        total = total.checked_add(number.checked_mul(unit)?)?;
    }
    (total > 0).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_of_several_bytes_where_a_zone_would_begin_is_no_time() {
        // Found by fuzzing CSV: byte 19 lies within the letter.
        assert_eq!(parse_rfc3339("2025-01-01T00:00:0Э+0"), None);
        assert_eq!(parse_rfc3339("2025-01-01T00:0000Э-"), None);
    }

    #[test]
    fn days_and_dates_convert_both_ways() {
        for day in (-1000..140_000).step_by(37) {
            let (y, m, d) = civil_from_days(day);
            assert_eq!(days_from_civil(y, m, d), day);
        }
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(civil_from_days(19_782), (2024, 2, 29));
    }

    #[test]
    fn times_are_read_with_zone_and_fraction() {
        let t = 1_795_339_668 * SECOND;
        for (text, expected) in [
            ("2026-11-22T09:27:48Z", Some(t)),
            ("2026-11-22T10:27:48+01:00", Some(t)),
            ("2026-11-22T09:27:48.000000001Z", Some(t + 1)),
            ("2026-11-22T09:27:48.1234567899Z", Some(t + 123_456_789)),
            ("2026-11-22T09:27:48", None),
            ("2026-11-22", None),
            ("2026-02-30T00:00:00Z", None),
            ("2026-11-22T25:00:00Z", None),
            ("1969-12-31T23:59:59Z", None),
            ("", None),
        ] {
            assert_eq!(parse_rfc3339(text), expected, "{text}");
        }
        assert_eq!(rfc3339(t), "2026-11-22T09:27:48Z");
        assert_eq!(rfc3339(t + 120_000_000), "2026-11-22T09:27:48.12Z");
    }

    #[test]
    fn a_partial_time_names_its_whole_span() {
        let span = |text| parse_partial(text).map(|((a, b), _)| (rfc3339(a), rfc3339(b)));
        let of = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(span("2026"), of("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"));
        assert_eq!(span("2024-02"), of("2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"));
        assert_eq!(span("2026-12-31"), of("2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z"));
        assert_eq!(span("2026-11-22T09:27"), of("2026-11-22T09:27:00Z", "2026-11-22T09:28:00Z"));
        assert_eq!(span("2026-1"), None);
        assert_eq!(day_of_name("2026-11-22").map(day_name).as_deref(), Some("2026-11-22"));
        assert_eq!(day_of_name("2026-11"), None);
    }

    #[test]
    fn epoch_numbers_tell_their_unit_by_size() {
        for text in ["1795339668", "1795339668000", "1795339668000000", "1795339668000000000"] {
            assert_eq!(parse_epoch(text).map(|(t, _)| t), Some(1_795_339_668 * SECOND), "{text}");
        }
        assert_eq!(parse_epoch("1795339668.5"), Some((1_795_339_668_500_000_000, 1)));
        assert_eq!(parse_epoch("-1"), None);
        assert_eq!(parse_epoch("9999999999999999999999"), None);
    }

    #[test]
    fn durations_add_up() {
        assert_eq!(parse_duration("1h30m"), Some(5400 * SECOND));
        assert_eq!(parse_duration("250ms"), Some(250_000_000));
        assert_eq!(parse_duration("30d"), Some(30 * DAY));
        for bad in ["", "5", "m", "5x", "0s", "99999999999y"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
