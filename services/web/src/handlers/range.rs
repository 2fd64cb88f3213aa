//! The time ranges that pages offer.

/// A range that ends now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// As it stands in the URL.
    pub key: &'static str,
    /// As it stands on the page.
    pub label: &'static str,
    /// Its length in seconds.
    pub seconds: i64,
}

/// Every range, shortest first.
pub const RANGES: [Range; 6] = [
    Range { key: "15m", label: "15 minutes", seconds: 900 },
    Range { key: "1h", label: "1 hour", seconds: 3600 },
    Range { key: "6h", label: "6 hours", seconds: 6 * 3600 },
    Range { key: "24h", label: "24 hours", seconds: 86_400 },
    Range { key: "7d", label: "7 days", seconds: 7 * 86_400 },
    Range { key: "30d", label: "30 days", seconds: 30 * 86_400 },
];

impl Range {
    /// The range of a URL; one hour when it names none of them.
    pub fn of(key: &str) -> Range {
        RANGES.into_iter().find(|range| range.key == key).unwrap_or(RANGES[1])
    }

    /// Seconds between two points, so that there are about `points`.
    pub fn step_s(self, points: i64) -> i64 {
        (self.seconds / points).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_range_is_an_hour() {
        assert_eq!(Range::of("24h").seconds, 86_400);
        assert_eq!(Range::of("<script>").key, "1h");
        assert_eq!(Range::of("1h").step_s(120), 30);
    }
}
