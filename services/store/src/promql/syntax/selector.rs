//! Selectors and the labels in braces.

use super::ast::{Expr, Extension, Placement, Span, VectorSelector};
use super::error::SyntaxError;
use super::lexer::{Token, TokenKind};
use super::literal::unquote;
use super::parser::Parser;
use crate::series::{Labels, METRIC_NAME, MatchOp, Matcher};

/// Words that are no metric's name.
const RESERVED: [&str; 6] = ["bool", "on", "ignoring", "group_left", "group_right", "atan2"];

/// Whether a word may be a metric's name.
pub(super) fn names_metric(word: &str) -> bool {
    !RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(word))
}

/// Parses a text that is a vector selector and nothing else, as `match[]` takes it.
///
/// # Errors
/// [`SyntaxError`] with the place.
pub fn selector(text: &str) -> Result<VectorSelector, SyntaxError> {
    let mut parser = Parser::new(text)?;
    let token = parser.peek();
    let starts = token.text == "{" || (token.kind == TokenKind::Word && names_metric(token.text));
    if !starts {
        return parser.unexpected("", "");
    }
    let selected = parser.vector_selector()?;
    parser.finish()?;
    super::check::selector(text, &selected)?;
    Ok(selected)
}

/// Parses the labels of one series, `name{label="value"}`, up to where they end; gives what is behind them too.
///
/// # Errors
/// [`SyntaxError`] with the place.
pub fn metric(text: &str) -> Result<Labels, SyntaxError> {
    let mut parser = Parser::new(text)?;
    let mut labels: Vec<(String, String)> = Vec::new();
    if parser.peek().kind == TokenKind::Word {
        labels.push((METRIC_NAME.to_owned(), parser.advance().text.to_owned()));
    }
    if parser.peek().text == "{" {
        for matcher in parser.matchers()?.0 {
            if matcher.op != MatchOp::Equal {
                return parser.fail(Span::default(), "a series has labels with \"=\" only");
            }
            labels.push((matcher.name, matcher.value));
        }
    }
    parser.finish()?;
    Ok(labels.into_iter().collect())
}

impl Parser<'_> {
    pub(super) fn selector_expr(&mut self) -> Result<Expr, SyntaxError> {
        self.vector_selector().map(Expr::Vector)
    }

    fn vector_selector(&mut self) -> Result<VectorSelector, SyntaxError> {
        let mut span = self.peek().span;
        let mut name = None;
        if self.peek().kind == TokenKind::Word {
            name = Some(self.advance().text.to_owned());
        }
        let mut matchers = Vec::new();
        if self.peek().text == "{" {
            let (inside, end) = self.matchers()?;
            matchers = inside;
            span.end = end;
        }
        if let Some(name) = &name {
            matchers.push(Matcher::equal(METRIC_NAME, name));
        }
        Ok(VectorSelector {
            name,
            matchers,
            placement: Placement::default(),
            extension: Extension::None,
            span,
        })
    }

    /// `{…}` and where it ends.
    fn matchers(&mut self) -> Result<(Vec<Matcher>, usize), SyntaxError> {
        self.expect("{", "label matching")?;
        let mut all = Vec::new();
        loop {
            if self.peek().text == "}" {
                return Ok((all, self.advance().span.end));
            }
            all.push(self.matcher()?);
            match self.peek().text {
                "," => {
                    self.advance();
                }
                "}" => {}
                _ => return self.unexpected("label matching", "\",\" or \"}\""),
            }
        }
    }

    fn matcher(&mut self) -> Result<Matcher, SyntaxError> {
        let label = self.advance();
        let name = match label.kind {
            TokenKind::Word => label.text.to_owned(),
            TokenKind::Text => self.unquoted(label)?,
            _ => return self.unexpected_token(label, "label matching", "identifier or \"}\""),
        };
        let operator = match self.peek().text {
            "=" => MatchOp::Equal,
            "!=" => MatchOp::NotEqual,
            "=~" => MatchOp::Regex,
            "!~" => MatchOp::NotRegex,
            _ if label.kind == TokenKind::Text => return Ok(Matcher::equal(METRIC_NAME, &name)),
            _ => return self.unexpected("label matching", "label matching operator"),
        };
        self.advance();
        let value = self.advance();
        if value.kind != TokenKind::Text {
            return self.unexpected_token(value, "label matching", "string");
        }
        let span = Span { start: label.span.start, end: value.span.end };
        let text = self.unquoted(value)?;
        Matcher::new(operator, &name, &text).or_else(|error| self.fail(span, error))
    }

    pub(super) fn unquoted(&self, token: Token<'_>) -> Result<String, SyntaxError> {
        unquote(token.text).or_else(|error| self.fail(token.span, error))
    }
}
