//! Tokens to the tree of a query.

use super::ast::{Comparison, Filter, Query, SyntaxError, Test, TimeRange};
use super::token::{Token, Tokens};
use super::{DEPTH_MAX, QUERY_BYTES_MAX, pipes};
use crate::time;

/// Words that would be filters of the full language and are refused rather than searched for.
const UNSUPPORTED: [&str; 16] = [
    "range",
    "len_range",
    "string_range",
    "ipv4_range",
    "re",
    "seq",
    "exact",
    "contains_all",
    "contains_any",
    "contains_common_case",
    "eq_field",
    "lt_field",
    "le_field",
    "value_type",
    "day_range",
    "week_range",
];

/// Parses a query. `now_ns` is what `_time:5m` counts back from.
///
/// # Errors
/// [`SyntaxError`] at the first thing that is wrong or not supported.
pub fn parse(text: &str, now_ns: i64) -> Result<Query, SyntaxError> {
    let mut parser = Parser { tokens: Tokens::new(text), now_ns, depth: 0 };
    if text.len() > QUERY_BYTES_MAX {
        let reason = format!("the query has {} bytes; at most {QUERY_BYTES_MAX} are read", text.len());
        return Err(parser.tokens.error(reason));
    }
    if parser.tokens.peek()? == Token::End {
        return Err(parser.tokens.error("the query is empty; * means everything"));
    }
    let filter = parser.any("_msg")?;
    let mut all = Vec::new();
    while parser.tokens.eat('|')? {
        all.extend(pipes::parse(&mut parser.tokens)?);
    }
    match parser.tokens.next()? {
        Token::End => Ok(Query { filter, pipes: all }),
        Token::Sign(')') => Err(parser.tokens.error("this ')' closes nothing")),
        _ => Err(parser.tokens.error("cannot read on here; quotes make a phrase")),
    }
}

struct Parser<'a> {
    tokens: Tokens<'a>,
    now_ns: i64,
    depth: usize,
}

impl Parser<'_> {
    fn any(&mut self, field: &str) -> Result<Filter, SyntaxError> {
        let mut parts = vec![self.all(field)?];
        while self.tokens.eat_word("or")? {
            parts.push(self.all(field)?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Filter::Or(parts) })
    }

    fn all(&mut self, field: &str) -> Result<Filter, SyntaxError> {
        let mut parts = vec![self.one(field)?];
        loop {
            if self.tokens.eat_word("and")? {
                parts.push(self.one(field)?);
                continue;
            }
            match self.tokens.peek()? {
                Token::End | Token::Sign(')' | '|') => break,
                Token::Word(word) if word.eq_ignore_ascii_case("or") => break,
                _ => parts.push(self.one(field)?),
            }
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Filter::And(parts) })
    }

    fn one(&mut self, field: &str) -> Result<Filter, SyntaxError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.tokens.error(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let filter = self.one_inner(field);
        self.depth -= 1;
        filter
    }

    fn one_inner(&mut self, field: &str) -> Result<Filter, SyntaxError> {
        if self.tokens.eat('!')? || self.tokens.eat('-')? || self.tokens.eat_word("not")? {
            return Ok(Filter::Not(Box::new(self.one(field)?)));
        }
        if self.tokens.eat('(')? {
            let inner = self.any(field)?;
            self.tokens.require(')')?;
            return Ok(inner);
        }
        if self.tokens.peek()? == Token::Sign('{') {
            return self.stream();
        }
        // A name is a word or a quoted text with ':' right behind it.
        let mut ahead = self.tokens.clone();
        if let Token::Word(name) | Token::Quoted(name) = ahead.next()?
            && ahead.is_joined()
            && ahead.eat(':')?
        {
            self.tokens = ahead;
            return self.named(&name);
        }
        self.test(field)
    }

    /// What follows `name:`.
    fn named(&mut self, name: &str) -> Result<Filter, SyntaxError> {
        match name {
            "_time" => Ok(Filter::Time(self.time_range()?)),
            "_stream" if self.tokens.peek()? == Token::Sign('{') => self.stream(),
            "_stream_id" => {
                Err(self.tokens.error("_stream_id is not supported; use _stream:{label=\"value\"}"))
            }
            _ if self.tokens.eat('(')? => {
                let inner = self.any(name)?;
                self.tokens.require(')')?;
                Ok(inner)
            }
            _ if self.tokens.eat('!')? => Ok(Filter::Not(Box::new(self.test(name)?))),
            _ => self.test(name),
        }
    }

    fn test(&mut self, field: &str) -> Result<Filter, SyntaxError> {
        let test = match self.tokens.next()? {
            Token::Sign('*') if field == "_msg" => return Ok(Filter::All),
            Token::Sign('*') => Test::Present,
            Token::Quoted(text) if text.is_empty() => Test::Empty,
            Token::Word(word) if self.tokens.is_joined() && self.tokens.peek()? == Token::Sign('(') => {
                self.function(&word)?
            }
            Token::Word(text) | Token::Quoted(text) => {
                if self.eat_star()? {
                    Test::Prefix(text)
                } else {
                    Test::Phrase(text)
                }
            }
            Token::Sign('=') => {
                let text = self.text("a value after '='")?;
                if self.eat_star()? { Test::ExactPrefix(text) } else { Test::Exact(text) }
            }
            Token::Sign(sign @ ('<' | '>')) => {
                let how = if sign == '<' { Comparison::Less } else { Comparison::Greater };
                Test::Compare(how, self.number()?)
            }
            Token::OrEqual(sign) => {
                let how = if sign == '<' { Comparison::LessOrEqual } else { Comparison::GreaterOrEqual };
                Test::Compare(how, self.number()?)
            }
            Token::Sign('~') => return Err(self.tokens.error("regular expressions are not supported")),
            Token::End => return Err(self.tokens.error("the query ends where a word is missing")),
            _ => return Err(self.tokens.error("a word, a phrase in quotes, or '*' is missing here")),
        };
        Ok(Filter::Field { name: field.to_owned(), test })
    }

    fn eat_star(&mut self) -> Result<bool, SyntaxError> {
        if self.tokens.is_joined() { self.tokens.eat('*') } else { Ok(false) }
    }

    fn text(&mut self, what: &str) -> Result<String, SyntaxError> {
        match self.tokens.next()? {
            Token::Word(text) | Token::Quoted(text) => Ok(text),
            _ => Err(self.tokens.error(format!("{what} is missing here"))),
        }
    }

    fn number(&mut self) -> Result<f64, SyntaxError> {
        let minus = self.tokens.eat('-')?;
        let text = self.text("a number")?;
        let number: f64 = text
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .ok_or_else(|| self.tokens.error(format!("{text:?} is not a number")))?;
        Ok(if minus { -number } else { number })
    }

    /// `in(…)` and `i(…)`.
    fn function(&mut self, name: &str) -> Result<Test, SyntaxError> {
        let refused = self.tokens.error(match name {
            _ if UNSUPPORTED.contains(&name) => format!("the filter {name}(…) is not supported"),
            _ => format!("{name:?} is no filter; put a space before '(' or the word in quotes"),
        });
        self.tokens.require('(')?;
        match name {
            "i" => {
                let text = self.text("a word")?;
                self.tokens.require(')')?;
                Ok(Test::AnyCase(text.to_lowercase()))
            }
            "in" => {
                let mut values = Vec::new();
                while !self.tokens.eat(')')? {
                    values.push(self.text("a value")?);
                    if !self.tokens.eat(',')? {
                        self.tokens.require(')')?;
                        break;
                    }
                }
                Ok(Test::OneOf(values))
            }
            _ => Err(refused),
        }
    }

    /// `{label="value", label!="value"}`.
    fn stream(&mut self) -> Result<Filter, SyntaxError> {
        self.tokens.require('{')?;
        let mut parts = Vec::new();
        while !self.tokens.eat('}')? {
            let label = self.text("a label")?;
            let negated = self.tokens.eat('!')?;
            self.tokens.require('=')?;
            if self.tokens.eat('~')? {
                return Err(self.tokens.error("regular expressions are not supported"));
            }
            let value = self.text("a value")?.replace('\\', "\\\\").replace('"', "\\\"");
            let test = Test::StreamLabel(format!("{label}=\"{value}\""));
            let filter = Filter::Field { name: "_stream".into(), test };
            parts.push(if negated { Filter::Not(Box::new(filter)) } else { filter });
            if !self.tokens.eat(',')? {
                self.tokens.require('}')?;
                break;
            }
        }
        Ok(if parts.is_empty() { Filter::All } else { Filter::And(parts) })
    }

    /// `5m`, `2026-11-22T09`, `[a, b]`, `(a, b)` and the mixtures.
    fn time_range(&mut self) -> Result<TimeRange, SyntaxError> {
        let open = if self.tokens.eat('[')? {
            '['
        } else if self.tokens.eat('(')? {
            '('
        } else {
            let raw = self.tokens.raw_until(|c| c.is_whitespace() || matches!(c, ')' | '|'));
            if let Some(length) = time::parse_duration(raw) {
                return Ok(TimeRange { from: self.now_ns.saturating_sub(length), to: i64::MAX });
            }
            let (from, to) = self.span(raw)?;
            return Ok(TimeRange { from, to });
        };
        let first = self.tokens.raw_until(|c| matches!(c, ',' | ']' | ')')).trim();
        let first = self.span(first)?;
        self.tokens.require(',')?;
        let second = self.tokens.raw_until(|c| matches!(c, ']' | ')')).trim();
        let second = self.span(second)?;
        let closed = self.tokens.eat(']')?;
        if !closed {
            self.tokens.require(')')?;
        }
        let from = if open == '[' { first.0 } else { first.1 };
        Ok(TimeRange { from, to: if closed { second.1 } else { second.0 } })
    }

    fn span(&self, text: &str) -> Result<(i64, i64), SyntaxError> {
        let text = text.trim_matches(['"', '\'']);
        instant(text, self.now_ns).ok_or_else(|| {
            let examples = "5m, 2026-11-22, 2026-11-22T09:27:48Z or seconds since 1970";
            self.tokens.error(format!("{text:?} is no time; write {examples}"))
        })
    }
}

/// The half-open span that a time names: RFC 3339 cut off anywhere, a number since the epoch, `now`,
/// `now-5m`, or a duration back from now.
pub(super) fn instant(text: &str, now_ns: i64) -> Option<(i64, i64)> {
    if let Some(back) = text.strip_prefix("now") {
        let back_ns = match back.strip_prefix('-') {
            Some(length) => time::parse_duration(length)?,
            None if back.is_empty() => 0,
            None => return None,
        };
        return Some((now_ns.saturating_sub(back_ns), now_ns.saturating_sub(back_ns).saturating_add(1)));
    }
    if text.len() == 4 || text.contains('-') {
        return time::parse_partial(text).map(|(span, _)| span);
    }
    if let Some((time_ns, unit)) = time::parse_epoch(text) {
        return Some((time_ns, time_ns.saturating_add(unit)));
    }
    let back = now_ns.saturating_sub(time::parse_duration(text)?);
    Some((back, back.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_339_668 * time::SECOND;

    /// A short form of the tree, for reading.
    fn show(filter: &Filter) -> String {
        let list = |parts: &[Filter], sign: &str| {
            format!("({})", parts.iter().map(show).collect::<Vec<_>>().join(sign))
        };
        match filter {
            Filter::All => "all".into(),
            Filter::Nothing => "nothing".into(),
            Filter::Time(range) => {
                let to = if range.to == i64::MAX { String::new() } else { time::rfc3339(range.to) };
                format!("{}..{to}", time::rfc3339(range.from))
            }
            Filter::Field { name, test } => format!("{name}~{test:?}"),
            Filter::And(parts) => list(parts, " & "),
            Filter::Or(parts) => list(parts, " | "),
            Filter::Not(inner) => format!("!{}", show(inner)),
        }
    }

    fn check(text: &str, expected: &str) {
        let said = match parse(text, NOW) {
            Ok(query) => show(&query.filter),
            Err(error) => error.to_string(),
        };
        assert_eq!(said, expected, "{text}");
    }

    #[test]
    fn filters_are_read_as_logsql_means_them() {
        check("*", "all");
        check("error", "_msg~Phrase(\"error\")");
        check("\"not found\"", "_msg~Phrase(\"not found\")");
        check("err*", "_msg~Prefix(\"err\")");
        check("level:error", "level~Phrase(\"error\")");
        check("level:=error", "level~Exact(\"error\")");
        check("path:=\"/a b\"*", "path~ExactPrefix(\"/a b\")");
        check("a:\"\"", "a~Empty");
        check("a:*", "a~Present");
        check("a:in(x, \"y z\")", "a~OneOf([\"x\", \"y z\"])");
        check("a:i(Warn)", "a~AnyCase(\"warn\")");
        check("took:>=1.5", "took~Compare(GreaterOrEqual, 1.5)");
        check("took:<-2", "took~Compare(Less, -2.0)");
        check("\"a b\":c", "a b~Phrase(\"c\")");
        check(
            "{host=\"h\",app!=\"a\\\"b\"}",
            r#"(_stream~StreamLabel("host=\"h\"") & !_stream~StreamLabel("app=\"a\\\"b\""))"#,
        );
        check("http.status:502", "http.status~Phrase(\"502\")");
        check("path:/api/v1", "path~Phrase(\"/api/v1\")");
    }

    #[test]
    fn and_binds_tighter_than_or_and_not_tightest() {
        check(
            "a b or c and not d",
            "((_msg~Phrase(\"a\") & _msg~Phrase(\"b\")) | (_msg~Phrase(\"c\") & !_msg~Phrase(\"d\")))",
        );
        check("a (b or -c)", "(_msg~Phrase(\"a\") & (_msg~Phrase(\"b\") | !_msg~Phrase(\"c\")))");
        check("level:(error or warn)", "(level~Phrase(\"error\") | level~Phrase(\"warn\"))");
        check("level:!error", "!level~Phrase(\"error\")");
        check("x-y", "_msg~Phrase(\"x-y\")");
    }

    #[test]
    fn time_filters_name_spans() {
        check("_time:5m", "2026-11-22T09:22:48Z..");
        check("_time:2026-11-22", "2026-11-22T00:00:00Z..2026-11-23T00:00:00Z");
        check("_time:[2026-11-22, 2026-11-23T10]", "2026-11-22T00:00:00Z..2026-11-23T11:00:00Z");
        check(
            "_time:(2026-11-22T09:00:00Z, 2026-11-22T10:00:00Z)",
            "2026-11-22T09:00:01Z..2026-11-22T10:00:00Z",
        );
        check("_time:[now-1h, now]", "2026-11-22T08:27:48Z..2026-11-22T09:27:48.000000001Z");
        check("(_time:1h)", "2026-11-22T08:27:48Z..");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        check("", "query, column 1: the query is empty; * means everything");
        check("a (b", "query, column 5: the query ends where ')' is missing");
        check("a)", "query, column 2: this ')' closes nothing");
        check("\"open", "query, column 1: the quote \" is not closed");
        check("a:~\"x\"", "query, column 3: regular expressions are not supported");
        check("ä or", "query, column 5: the query ends where a word is missing");
        check("a:re(x)", "query, column 3: the filter re(…) is not supported");
        check(
            "foo(x)",
            "query, column 1: \"foo\" is no filter; put a space before '(' or the word in quotes",
        );
        check("a:>x", "query, column 4: \"x\" is not a number");
        check(
            "_time:soon",
            "query, column 7: \"soon\" is no time; write 5m, 2026-11-22, 2026-11-22T09:27:48Z or seconds since 1970",
        );
        check("a & b", "query, column 3: '&' means nothing here; put text in quotes");
        check(&"(".repeat(70), "query, column 64: nested deeper than 64 levels");
        check(
            "\"\\d\"",
            "query, column 1: \\d is no escape; known are \\\\ \\\" \\' \\n \\t; or use backquotes",
        );
    }

    #[test]
    fn no_text_makes_the_parser_panic() {
        let mut seed = 1_u64;
        let pieces = [
            "a", ":", "(", ")", "\"", "*", "_time:", "|", "in(", "ü", " ", "-", "=", "{", "limit", ">=", "1",
        ];
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..8 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text.push_str(pieces[(seed >> 33) as usize % pieces.len()]);
            }
            let _ = parse(&text, NOW);
        }
    }
}
