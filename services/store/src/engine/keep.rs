//! Retention of single series: how long those that match a selector are kept.

use crate::series::{Labels, Matcher};

/// Rules that a store may have: each is tried for each series of a query.
pub const RULES_MAX: usize = 64;

/// Series that match are kept this long.
#[derive(Clone, Debug)]
pub struct KeepRule {
    /// All of them must match.
    pub matchers: Vec<Matcher>,
    /// Milliseconds.
    pub keep_ms: i64,
}

/// How long series are kept.
#[derive(Clone, Debug, Default)]
pub struct Keep {
    /// The first that matches holds.
    pub rules: Vec<KeepRule>,
    /// Milliseconds for all others.
    pub otherwise_ms: i64,
}

impl Keep {
    /// How long a series is kept, when a rule says so.
    pub fn rule_of(&self, labels: &Labels) -> Option<i64> {
        let matches = |rule: &&KeepRule| {
            rule.matchers.iter().all(|matcher| matcher.is_match(labels.get(&matcher.name)))
        };
        self.rules.iter().find(matches).map(|rule| rule.keep_ms)
    }

    /// How long a series is kept.
    pub fn of(&self, labels: &Labels) -> i64 {
        self.rule_of(labels).unwrap_or(self.otherwise_ms)
    }

    /// How long the series that is kept longest is.
    pub fn longest_ms(&self) -> i64 {
        self.rules.iter().map(|rule| rule.keep_ms).fold(self.otherwise_ms, i64::max)
    }

    /// How long the series that is kept shortest is.
    pub fn shortest_ms(&self) -> i64 {
        self.rules.iter().map(|rule| rule.keep_ms).fold(self.otherwise_ms, i64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_holds() {
        let rule = |name: &str, value: &str, keep_ms| KeepRule {
            matchers: vec![Matcher::equal(name, value)],
            keep_ms,
        };
        let keep = Keep {
            rules: vec![rule("job", "debug", 10), rule("zone", "", 1_000), rule("job", "debug", 20)],
            otherwise_ms: 100,
        };
        let check = |pairs: &[(&str, &str)], expected| {
            assert_eq!(keep.of(&pairs.iter().copied().collect()), expected, "{pairs:?}");
        };
        check(&[("job", "debug"), ("zone", "a")], 10);
        check(&[("job", "x"), ("zone", "a")], 100);
        check(&[("job", "x")], 1_000);
        assert_eq!((keep.longest_ms(), keep.shortest_ms()), (1_000, 10));
    }
}
