//! Durations as a policy writes them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longest span that a policy may name.
pub const SPAN_MAX: Duration = Duration::from_secs(24 * 3600);

/// A whole number with a unit: `500ms`, `10s`, `5m`, `2h`; at most 24 h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(Duration);

impl Span {
    /// `seconds` seconds.
    pub const fn seconds(seconds: u64) -> Span {
        Span(Duration::from_secs(seconds))
    }

    /// As a duration.
    pub fn duration(self) -> Duration {
        self.0
    }

    /// In milliseconds.
    pub fn millis(self) -> u64 {
        // 24 h are 86,400,000 ms.
        self.0.as_millis() as u64
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Span, String> {
        let refuse = || format!("{text:?} is no duration; examples: 500ms, 10s, 5m, 2h (at most 24h)");
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..digits].parse().map_err(|_| refuse())?;
        let unit_ms = match &text[digits..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(refuse()),
        };
        let span = number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(refuse)?;
        if span > SPAN_MAX { Err(refuse()) } else { Ok(Span(span)) }
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.millis();
        match ms {
            0 => f.write_str("0s"),
            _ if ms.is_multiple_of(3_600_000) => write!(f, "{}h", ms / 3_600_000),
            _ if ms.is_multiple_of(60_000) => write!(f, "{}m", ms / 60_000),
            _ if ms.is_multiple_of(1_000) => write!(f, "{}s", ms / 1_000),
            _ => write!(f, "{ms}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, millis: Option<u64>) {
        assert_eq!(Span::try_from(text.to_owned()).ok().map(Span::millis), millis, "{text:?}");
    }

    #[test]
    fn spans_are_a_number_and_a_unit() {
        for (text, millis) in
            [("0s", 0), ("500ms", 500), ("90s", 90_000), ("5m", 300_000), ("24h", 86_400_000)]
        {
            check(text, Some(millis));
        }
        for bad in ["", "10", "s", "-1s", "1.5s", "25h", "10 s", "99999999999999999999s", "1d"] {
            check(bad, None);
        }
    }

    #[test]
    fn spans_are_written_as_they_are_read() {
        for text in ["0s", "500ms", "90s", "5m", "24h"] {
            assert_eq!(Span::try_from(text.to_owned()).unwrap().to_string(), text);
        }
    }
}
