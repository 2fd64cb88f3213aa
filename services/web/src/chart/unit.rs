//! Numbers as people read them.

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// 0 to 100.
    Percent,
    /// Bytes, in powers of 1024.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
    /// Seconds, shown down to microseconds.
    Seconds,
    /// A plain number.
    Number,
}

impl Unit {
    /// The base of its round numbers.
    pub fn base(self) -> f64 {
        match self {
            Unit::Bytes | Unit::BytesPerSecond => 1024.0,
            _ => 10.0,
        }
    }

    /// A value with its unit; `–` for none.
    pub fn show(self, value: f64) -> String {
        if !value.is_finite() {
            return "–".into();
        }
        match self {
            Unit::Percent => format!("{} %", rounded(value)),
            Unit::Bytes => bytes(value, ""),
            Unit::BytesPerSecond => bytes(value, "/s"),
            Unit::Seconds => seconds(value),
            Unit::Number => rounded(value),
        }
    }
}

/// Three digits at most, but for whole numbers beyond them.
fn rounded(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        s if !(0.0005..99.95).contains(&s) => 0,
        s if s >= 9.995 => 1,
        s if s >= 0.0995 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".into() } else { text.to_owned() }
}

fn bytes(value: f64, per: &str) -> String {
    const NAMES: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut name) = (value, 0);
    while value.abs() >= 1023.95 && name + 1 < NAMES.len() {
        value /= 1024.0;
        name += 1;
    }
    format!("{} {}{per}", rounded(value), NAMES[name])
}

fn seconds(value: f64) -> String {
    match value.abs() {
        0.0 => "0 s".into(),
        s if s < 0.000_999_5 => format!("{} µs", rounded(value * 1e6)),
        s if s < 0.999_5 => format!("{} ms", rounded(value * 1e3)),
        _ => format!("{} s", rounded(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_their_unit() {
        for (unit, value, expected) in [
            (Unit::Percent, 12.345, "12.3 %"),
            (Unit::Percent, 100.0, "100 %"),
            (Unit::Percent, 0.0, "0 %"),
            (Unit::Bytes, 1536.0, "1.5 KiB"),
            (Unit::Bytes, 1023.99, "1 KiB"),
            (Unit::BytesPerSecond, 5e9, "4.66 GiB/s"),
            (Unit::Seconds, 0.000_042, "42 µs"),
            (Unit::Seconds, 0.25, "250 ms"),
            (Unit::Seconds, 12.0, "12 s"),
            (Unit::Number, 0.05, "0.05"),
            (Unit::Number, -0.000_01, "0"),
            (Unit::Number, 1234.5, "1234"),
            (Unit::Number, f64::NAN, "–"),
        ] {
            assert_eq!(unit.show(value), expected, "{unit:?} {value}");
        }
    }
}
