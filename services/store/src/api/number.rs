//! Numbers and times as Prometheus' JSON has them, written without a text of their own in between.

use std::io::Write as _;

use crate::promql::{exponent, plain_number};

/// Powers of ten that are tried for a short decimal.
const POWERS: [f64; 7] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];

/// Two decimals of at most 15 digits are never the same double (DBL_DIG), so one that reads back as the value is the shortest.
const SHORT_MAX: f64 = 1e15;

/// A value as Prometheus' `MarshalFloat` writes it: as Go's shortest `f` form, with an exponent below 1e-6 and from
/// 1e21 on.
pub fn number(value: f64, out: &mut Vec<u8>) {
    let magnitude = value.abs();
    if let Some((digits, places)) = short(magnitude) {
        if value.is_sign_negative() {
            out.push(b'-');
        }
        return decimal(digits, places, out);
    }
    if magnitude == 0.0 || (1e-6..1e21).contains(&magnitude) {
        // Not serde_json's writer: of two shortest decimals that are equally near it takes the other one.
        // Writing to memory does not fail.
        let _ = write!(out, "{value}");
        return;
    }
    let text = if value.is_finite() { exponent(value) } else { plain_number(value) };
    out.extend_from_slice(text.as_bytes());
}

/// [`number`] as a text.
pub fn text(value: f64) -> String {
    let mut out = Vec::with_capacity(24);
    number(value, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Seconds; the fraction, when there is one, with three digits (Prometheus' `MarshalTimestamp`).
pub fn timestamp(time: i64, out: &mut Vec<u8>) {
    if time < 0 {
        out.push(b'-');
    }
    let (seconds, millis) = (time.unsigned_abs() / 1000, time.unsigned_abs() % 1000);
    if millis == 0 { decimal(seconds, 0, out) } else { decimal(seconds * 1000 + millis, 3, out) }
}

/// The digits of a value that is a decimal of a few places, and how many of them stand behind the point.
fn short(magnitude: f64) -> Option<(u64, usize)> {
    for (places, power) in POWERS.iter().enumerate() {
        let scaled = magnitude * power;
        if scaled.is_nan() || scaled >= SHORT_MAX {
            return None;
        }
        let digits = (scaled + 0.5) as u64;
        if digits as f64 / power == magnitude {
            return Some((digits, places));
        }
    }
    None
}

/// Writes digits of which the last `places` stand behind a point.
fn decimal(mut digits: u64, places: usize, out: &mut Vec<u8>) {
    let mut text = [b'0'; 24];
    let mut at = text.len();
    let mut written = 0;
    loop {
        if written == places && places > 0 {
            at -= 1;
            text[at] = b'.';
        }
        at -= 1;
        text[at] = b'0' + (digits % 10) as u8;
        digits /= 10;
        written += 1;
        if digits == 0 && written > places {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let check = |value: f64, expected| assert_eq!(text(value), expected);
        check(0.0, "0");
        check(-0.0, "-0");
        check(1.0, "1");
        check(-12.25, "-12.25");
        check(0.05, "0.05");
        check(1200.0, "1200");
        check(0.1 + 0.2, "0.30000000000000004");
        check(999_999_999_999_999.0, "999999999999999");
        check(9_007_199_254_740_993.0, "9007199254740992");
        check(852_516_528_735_743.3, "852516528735743.3");
        check(1e20, "100000000000000000000");
        check(1e21, "1e+21");
        check(1.5e-7, "1.5e-07");
        check(1e-6, "0.000001");
        check(1.25e-5, "0.0000125");
        check(1e300, "1e+300");
        check(f64::NAN, "NaN");
        check(f64::INFINITY, "+Inf");
        check(f64::NEG_INFINITY, "-Inf");
    }

    #[test]
    fn times_have_three_digits_behind_the_point_or_none() {
        let check = |time, expected: &str| {
            let mut out = Vec::new();
            timestamp(time, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(1_700_000_000_000, "1700000000");
        check(1_700_000_000_050, "1700000000.050");
        check(7, "0.007");
        check(0, "0");
        check(-2_050, "-2.050");
        check(i64::MIN, "-9223372036854775.808");
    }

    proptest! {
        #[test]
        fn every_number_is_written_as_the_standard_library_writes_it(
            value in prop_oneof![any::<f64>(), (any::<i32>(), 0usize..7).prop_map(|(n, p)| f64::from(n) / POWERS[p]), -1e16f64..1e16, -2.0f64..2.0],
        ) {
            let magnitude = value.abs();
            if magnitude == 0.0 || (1e-6..1e21).contains(&magnitude) {
                prop_assert_eq!(text(value), value.to_string());
            } else if value.is_finite() {
                prop_assert_eq!(text(value), exponent(value));
            }
        }
    }
}
