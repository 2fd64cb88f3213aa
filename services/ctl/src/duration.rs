//! `90`, `90s`, `5m`, `1h`: lengths of time as operators write them.

/// Seconds of a text.
///
/// # Errors
/// When it is no number with an optional unit of s, m or h, or no u32 of seconds.
pub fn seconds(text: &str) -> Result<u32, String> {
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(end) => text.split_at(end),
        None => (text, "s"),
    };
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("{text:?} is no length of time; example: 5m")),
    };
    let number: u32 = digits.parse().map_err(|_| format!("{text:?} is no length of time; example: 5m"))?;
    number.checked_mul(factor).ok_or_else(|| format!("{text:?} is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read() {
        for (text, expected) in [("90", 90), ("90s", 90), ("5m", 300), ("1h", 3600), ("0", 0)] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "m", "5 m", "1d", "-1", "99999999h", "5mm"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
