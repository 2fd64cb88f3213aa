//! What a label must be.

use regex::Regex;

/// Memory that one compiled expression may take.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`: the whole value.
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// How it is written.
    pub fn text(self) -> &'static str {
        match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        }
    }
}

/// One label matcher. An absent label is the same as an empty one.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The label's name.
    pub name: String,
    /// How it is compared.
    pub op: MatchOp,
    /// With what.
    pub value: String,
    pattern: Pattern,
}

#[derive(Clone, Debug)]
enum Pattern {
    /// The value itself.
    Text,
    /// One of these: what `a|b|c` means, without an automaton.
    Any(Vec<String>),
    Regex(Regex),
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Matcher) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Matcher {
    /// `name="value"`.
    pub fn equal(name: &str, value: &str) -> Matcher {
        Matcher { name: name.into(), op: MatchOp::Equal, value: value.into(), pattern: Pattern::Text }
    }

    /// A matcher.
    ///
    /// # Errors
    /// When the value is no regular expression, or one that takes more than 1 MiB.
    pub fn new(op: MatchOp, name: &str, value: &str) -> Result<Matcher, String> {
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => Pattern::Text,
            MatchOp::Regex | MatchOp::NotRegex if value.contains(|c| r"\.+*?()[]{}^$".contains(c)) => {
                Pattern::Regex(anchored(value)?)
            }
            MatchOp::Regex | MatchOp::NotRegex => Pattern::Any(value.split('|').map(str::to_owned).collect()),
        };
        Ok(Matcher { name: name.into(), op, value: value.into(), pattern })
    }

    /// Whether a label's value satisfies it.
    pub fn is_match(&self, value: &str) -> bool {
        let same = match &self.pattern {
            Pattern::Text => self.value == value,
            Pattern::Any(values) => values.iter().any(|v| v == value),
            Pattern::Regex(regex) => regex.is_match(value),
        };
        same == matches!(self.op, MatchOp::Equal | MatchOp::Regex)
    }

    /// The values that it accepts, when they can be listed.
    pub(super) fn accepted(&self) -> Option<&[String]> {
        match (&self.pattern, self.op) {
            (Pattern::Text, MatchOp::Equal) => Some(std::slice::from_ref(&self.value)),
            (Pattern::Any(values), MatchOp::Regex) => Some(values),
            _ => None,
        }
    }
}

/// Compiles an expression that must match the whole text, a dot matching line ends too, as Prometheus does.
///
/// # Errors
/// When it is none, or too large.
pub fn anchored(expression: &str) -> Result<Regex, String> {
    let build = |expression: &str| {
        regex::RegexBuilder::new(&format!("^(?s:{expression})$")).size_limit(REGEX_BYTES_MAX).build()
    };
    // Go takes a brace that is no repetition literally.
    let built = build(expression).or_else(|error| build(&literal_braces(expression)).map_err(|_| error));
    built.map_err(|error| format!("error parsing regexp: {error}"))
}

fn literal_braces(expression: &str) -> String {
    let mut out = String::with_capacity(expression.len() + 8);
    let (mut escaped, mut rest) = (false, expression);
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let inside = rest.split('}').next().unwrap_or_default();
        let counts = !inside.is_empty() && inside.bytes().all(|b| b.is_ascii_digit() || b == b',');
        if c == '{' && !escaped && !counts {
            out.push('\\');
        }
        escaped = c == '\\' && !escaped;
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_the_whole_value() {
        let check = |op, pattern, value, expected| {
            assert_eq!(
                Matcher::new(op, "l", pattern).unwrap().is_match(value),
                expected,
                "{pattern} {value}"
            );
        };
        check(MatchOp::Regex, "a|b", "b", true);
        check(MatchOp::Regex, "a|b", "ab", false);
        check(MatchOp::Regex, "a.*|b", "ab", true);
        check(MatchOp::Regex, "a.b", "a\nb", true);
        check(MatchOp::NotRegex, "a.+", "a", true);
        check(MatchOp::NotRegex, "a|", "", false);
        check(MatchOp::Regex, "x{y}", "x{y}", true);
        check(MatchOp::Regex, "x{2}", "xx", true);
        check(MatchOp::NotEqual, "x", "", true);
        assert!(Matcher::new(MatchOp::Regex, "l", "(").is_err());
    }
}
