//! Expressions by precedence climbing.

use super::NESTING_MAX;
use super::ast::{Aggregate, Binary, Call, Cardinality, Expr, Grouping, Matching, Span};
use super::check;
use super::error::SyntaxError;
use super::functions::signature;
use super::lexer::{Token, TokenKind, tokens};
use super::literal::{duration_ms, number};
use super::operator::{Aggregation, Operator};
use super::selector::names_metric;

/// How strongly a sign binds: as a product, so that `-2^2` is `-(2^2)`.
const SIGN_STRENGTH: u8 = 5;

/// Parses a query and checks its types.
///
/// # Errors
/// [`SyntaxError`] with the place.
pub fn parse(text: &str) -> Result<Expr, SyntaxError> {
    let mut parser = Parser::new(text)?;
    if parser.peek().kind == TokenKind::End {
        return parser.fail(Span::default(), "no expression found in input");
    }
    let expr = parser.expression(1)?;
    parser.finish()?;
    check::expression(text, &expr)?;
    Ok(expr)
}

/// A cursor over the tokens.
pub(super) struct Parser<'a> {
    text: &'a str,
    pub(super) tokens: Vec<Token<'a>>,
    pub(super) at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Result<Parser<'a>, SyntaxError> {
        Ok(Parser { text, tokens: tokens(text)?, at: 0, depth: 0 })
    }

    pub(super) fn peek(&self) -> Token<'a> {
        self.tokens[self.at]
    }

    fn peek_second(&self) -> Token<'a> {
        self.tokens[(self.at + 1).min(self.tokens.len() - 1)]
    }

    /// The next token; the last one again and again.
    pub(super) fn advance(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    pub(super) fn fail<T>(&self, span: Span, reason: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError::new(self.text, span, reason))
    }

    pub(super) fn unexpected<T>(&self, context: &str, expected: &str) -> Result<T, SyntaxError> {
        self.unexpected_token(self.peek(), context, expected)
    }

    pub(super) fn unexpected_token<T>(
        &self,
        token: Token<'_>,
        context: &str,
        expected: &str,
    ) -> Result<T, SyntaxError> {
        let mut reason = format!("unexpected {}", describe(token));
        if !context.is_empty() {
            reason += &format!(" in {context}");
        }
        if !expected.is_empty() {
            reason += &format!(", expected {expected}");
        }
        self.fail(token.span, reason)
    }

    pub(super) fn expect(&mut self, sign: &str, context: &str) -> Result<Token<'a>, SyntaxError> {
        if self.peek().text != sign || self.peek().kind != TokenKind::Sign {
            return self.unexpected(context, &format!("{sign:?}"));
        }
        Ok(self.advance())
    }

    pub(super) fn finish(&self) -> Result<(), SyntaxError> {
        if self.peek().kind == TokenKind::End { Ok(()) } else { self.unexpected("", "") }
    }

    pub(super) fn nest(&self, depth: usize) -> Result<(), SyntaxError> {
        if depth + self.depth > NESTING_MAX {
            return self.fail(self.peek().span, format!("query nests deeper than {NESTING_MAX} levels"));
        }
        Ok(())
    }

    /// The value of a number or a duration (in seconds).
    pub(super) fn literal(&self, token: Token<'_>) -> Result<f64, SyntaxError> {
        if token.kind == TokenKind::Duration {
            let ms = duration_ms(token.text).or_else(|reason| self.fail(token.span, reason))?;
            return Ok(ms as f64 / 1000.0);
        }
        match number(token.text) {
            Some(value) => Ok(value),
            None => self.fail(token.span, format!("error parsing number: {:?}: invalid syntax", token.text)),
        }
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        self.peek().kind == TokenKind::Word && self.peek().text.eq_ignore_ascii_case(word)
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    /// An expression of operators that bind at least as strongly as `strength_min`.
    fn expression(&mut self, strength_min: u8) -> Result<Expr, SyntaxError> {
        self.depth += 1;
        self.nest(0)?;
        let mut left = self.operand()?;
        // A chain of operators nests on its left, though nothing here recurses.
        let mut chain = 0;
        while let Some(operator) = self.operator().filter(|operator| operator.strength() >= strength_min) {
            chain += 1;
            self.nest(chain)?;
            self.advance();
            let as_bool = self.take_word("bool");
            let matching = self.matching()?;
            let right = self.expression(operator.strength() + u8::from(operator != Operator::Power))?;
            left = Expr::Binary(Box::new(Binary { operator, left, right, as_bool, matching }));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operator(&self) -> Option<Operator> {
        let token = self.peek();
        matches!(token.kind, TokenKind::Sign | TokenKind::Word).then(|| Operator::parse(token.text)).flatten()
    }

    /// `on (…) group_left (…) fill_right (…)`.
    fn matching(&mut self) -> Result<Matching, SyntaxError> {
        let mut matching = Matching::default();
        if self.is_word("on") || self.is_word("ignoring") {
            matching.on = self.advance().text.eq_ignore_ascii_case("on");
            matching.labels = self.grouping_labels()?;
            if self.is_word("group_left") || self.is_word("group_right") {
                let left = self.advance().text.eq_ignore_ascii_case("group_left");
                matching.cardinality = if left { Cardinality::ManyToOne } else { Cardinality::OneToMany };
                // A parenthesis here is the list, as in Prometheus' grammar.
                if self.peek().text == "(" {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        let is_fill =
            |parser: &Parser<'_>| ["fill", "fill_left", "fill_right"].iter().any(|w| parser.is_word(w));
        let mut fills = 0;
        while is_fill(self) && self.peek_second().text == "(" && fills < 2 {
            fills += 1;
            let word = self.advance().text.to_ascii_lowercase();
            self.expect("(", "fill")?;
            let sign = if matches!(self.peek().text, "+" | "-") { self.advance().text } else { "+" };
            let token = self.advance();
            if !matches!(token.kind, TokenKind::Number | TokenKind::Duration | TokenKind::Word) {
                return self.unexpected_token(token, "fill", "number");
            }
            let value = self.literal(token)?;
            let value = if sign == "-" { -value } else { value };
            self.expect(")", "fill")?;
            if word != "fill_right" {
                matching.fill_left = Some(value);
            }
            if word != "fill_left" {
                matching.fill_right = Some(value);
            }
        }
        Ok(matching)
    }

    fn grouping_labels(&mut self) -> Result<Vec<String>, SyntaxError> {
        self.expect("(", "grouping opts")?;
        let mut labels = Vec::new();
        loop {
            let token = self.advance();
            match token.kind {
                TokenKind::Word => labels.push(token.text.to_owned()),
                TokenKind::Text => labels.push(self.unquoted(token)?),
                _ if token.text == ")" => return Ok(labels),
                _ => return self.unexpected_token(token, "grouping opts", "label"),
            }
            if labels
                .last()
                .is_some_and(|label| label.is_empty() || label.contains(':') && token.kind == TokenKind::Word)
            {
                return self.fail(token.span, format!("invalid label name for grouping: {:?}", token.text));
            }
            match self.peek().text {
                "," => {
                    self.advance();
                }
                ")" => {}
                _ => return self.unexpected("grouping opts", "\",\" or \")\""),
            }
        }
    }

    /// A sign and what it stands before, or a primary with what follows it.
    fn operand(&mut self) -> Result<Expr, SyntaxError> {
        let token = self.peek();
        if token.kind != TokenKind::Sign || !matches!(token.text, "+" | "-") {
            let primary = self.primary()?;
            return self.postfix(primary);
        }
        self.advance();
        let negative = token.text == "-";
        let inner = self.expression(SIGN_STRENGTH + 1)?;
        let span = Span { start: token.span.start, end: inner.span().end };
        Ok(match inner {
            Expr::Number { value, duration, .. } => {
                Expr::Number { value: if negative { -value } else { value }, duration, span }
            }
            inner => Expr::Unary { negative, inner: Box::new(inner), span },
        })
    }

    fn primary(&mut self) -> Result<Expr, SyntaxError> {
        let token = self.peek();
        match token.kind {
            TokenKind::Number | TokenKind::Duration => {
                self.advance();
                let value = self.literal(token)?;
                Ok(Expr::Number { value, duration: token.kind == TokenKind::Duration, span: token.span })
            }
            TokenKind::Text => {
                self.advance();
                Ok(Expr::Text {
                    value: self.unquoted(token)?,
                    written: token.text.to_owned(),
                    span: token.span,
                })
            }
            TokenKind::Word => self.word(token),
            _ if token.text == "(" => {
                self.advance();
                let inner = Box::new(self.expression(1)?);
                let end = self.expect(")", "paren expression")?.span.end;
                Ok(Expr::Paren { inner, span: Span { start: token.span.start, end } })
            }
            _ if token.text == "{" => self.selector_expr(),
            _ => self.unexpected("", ""),
        }
    }

    fn word(&mut self, token: Token<'a>) -> Result<Expr, SyntaxError> {
        let next = self.peek_second();
        if let Some(operator) = Aggregation::parse(token.text) {
            let modified = next.kind == TokenKind::Word
                && ["by", "without"].iter().any(|w| next.text.eq_ignore_ascii_case(w));
            if next.text == "(" || modified {
                return self.aggregate(operator);
            }
        }
        if next.text == "(" && next.kind == TokenKind::Sign {
            return self.call(token);
        }
        if ["inf", "nan"].iter().any(|word| token.text.eq_ignore_ascii_case(word)) {
            self.advance();
            return Ok(Expr::Number { value: self.literal(token)?, duration: false, span: token.span });
        }
        if names_metric(token.text) { self.selector_expr() } else { self.unexpected("", "") }
    }

    fn aggregate(&mut self, operator: Aggregation) -> Result<Expr, SyntaxError> {
        let start = self.advance().span.start;
        let mut grouping = self.grouping()?;
        let (mut args, mut end) = self.arguments()?;
        if grouping.is_none() {
            grouping = self.grouping()?;
            end = if grouping.is_some() { self.tokens[self.at - 1].span.end } else { end };
        }
        let span = Span { start, end };
        if args.is_empty() {
            return self.fail(span, "no arguments for aggregate expression provided");
        }
        let expected = 1 + usize::from(operator.has_parameter());
        if args.len() != expected {
            return self.fail(
                span,
                format!(
                    "wrong number of arguments for aggregate expression provided, expected {expected}, got {}",
                    args.len()
                ),
            );
        }
        let parameter = operator.has_parameter().then(|| args.remove(0));
        let inner = args.remove(0);
        let grouping = grouping.unwrap_or_default();
        Ok(Expr::Aggregate(Box::new(Aggregate { operator, inner, parameter, grouping, span })))
    }

    fn grouping(&mut self) -> Result<Option<Grouping>, SyntaxError> {
        let without = self.is_word("without");
        if !without && !self.is_word("by") {
            return Ok(None);
        }
        self.advance();
        Ok(Some(Grouping { labels: self.grouping_labels()?, without }))
    }

    fn call(&mut self, token: Token<'_>) -> Result<Expr, SyntaxError> {
        self.advance();
        let Some(function) = signature(token.text) else {
            return self.fail(token.span, format!("unknown function with name {:?}", token.text));
        };
        let (args, end) = self.arguments()?;
        Ok(Expr::Call(Call { name: function.name, args, span: Span { start: token.span.start, end } }))
    }

    /// `(…, …)` and where it ends.
    fn arguments(&mut self) -> Result<(Vec<Expr>, usize), SyntaxError> {
        self.expect("(", "aggregation")?;
        let mut args = Vec::new();
        if self.peek().text == ")" {
            return Ok((args, self.advance().span.end));
        }
        loop {
            args.push(self.expression(1)?);
            match self.peek().text {
                "," => {
                    let comma = self.advance();
                    if self.peek().text == ")" {
                        return self.fail(comma.span, "trailing commas not allowed in function call args");
                    }
                }
                ")" => return Ok((args, self.advance().span.end)),
                _ => return self.unexpected("function call", "\",\" or \")\""),
            }
        }
    }
}

fn describe(token: Token<'_>) -> String {
    match token.kind {
        TokenKind::End => "end of input".into(),
        TokenKind::Number => format!("number {:?}", token.text),
        TokenKind::Duration => format!("duration {:?}", token.text),
        TokenKind::Text => format!("string {}", token.text),
        TokenKind::Word => {
            let keyword = Operator::parse(token.text).is_some()
                || ["by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset"]
                    .iter()
                    .any(|word| word.eq_ignore_ascii_case(token.text));
            match (Aggregation::parse(token.text), keyword) {
                (Some(_), _) => format!("aggregator {:?}", token.text),
                (None, true) => format!("<{}>", token.text.to_ascii_lowercase()),
                (None, false) => format!("identifier {:?}", token.text),
            }
        }
        TokenKind::Sign if Operator::parse(token.text).is_some() => format!("<op:{}>", token.text),
        TokenKind::Sign => format!("{:?}", token.text),
    }
}
