//! What stands behind an expression: ranges, `offset`, `@`, `anchored` and `smoothed`.

use super::ast::{At, Expr, Extension, Matrix, Placement, Span, Subquery};
use super::error::SyntaxError;
use super::lexer::TokenKind;
use super::literal::number;
use super::parser::Parser;

impl Parser<'_> {
    /// Ranges, `offset`, `@`, `anchored` and `smoothed` behind an expression, in any order.
    pub(super) fn postfix(&mut self, mut expr: Expr) -> Result<Expr, SyntaxError> {
        let mut chain = 0;
        loop {
            chain += 1;
            self.nest(chain)?;
            let token = self.peek();
            expr = match token.text {
                "[" => self.range(expr)?,
                "@" => {
                    self.advance();
                    let at = self.at_time()?;
                    self.place(expr, |placement| (placement.at.replace(at).is_some(), "@ <timestamp>"))?
                }
                _ if self.take_word("offset") => {
                    let offset = self.offset_duration()?;
                    self.place(expr, |placement| (placement.offset.replace(offset).is_some(), "offset"))?
                }
                _ if self.is_word("anchored") => self.extend(expr, Extension::Anchored, "anchored")?,
                _ if self.is_word("smoothed") => self.extend(expr, Extension::Smoothed, "smoothed")?,
                _ => return Ok(expr),
            };
        }
    }

    fn range(&mut self, expr: Expr) -> Result<Expr, SyntaxError> {
        let open = self.advance();
        let range =
            self.positive_duration("subquery or range selector", "number, duration, step(), or range()")?;
        if self.peek().text == "]" {
            let end = self.advance().span.end;
            let span = Span { start: open.span.start, end };
            let Expr::Vector(selector) = expr else {
                return self.fail(span, "ranges only allowed for vector selectors");
            };
            if selector.placement.offset.is_some() {
                return self.fail(span, "no offset modifiers allowed before range");
            }
            if selector.placement.at.is_some() {
                return self.fail(span, "no @ modifiers allowed before range");
            }
            return Ok(Expr::Matrix(Box::new(Matrix { selector, range, end })));
        }
        if self.peek().text != ":" {
            return self.unexpected("subquery or range", "\":\" or \"]\"");
        }
        self.advance();
        let step = match self.peek().text {
            "]" => None,
            _ => Some(
                self.positive_duration("subquery selector", "number, duration, step(), range(), or \"]\"")?,
            ),
        };
        if self.peek().text != "]" {
            return self.unexpected("subquery selector", "\"]\"");
        }
        let end = self.advance().span.end;
        let placement = Placement::default();
        Ok(Expr::Subquery(Box::new(Subquery { inner: expr, range, step, placement, end })))
    }

    fn at_time(&mut self) -> Result<At, SyntaxError> {
        let token = self.peek();
        let preset =
            [("start", At::Start), ("end", At::End)].into_iter().find(|(word, _)| self.is_word(word));
        if let Some((_, at)) = preset {
            self.advance();
            self.expect("(", "@")?;
            self.expect(")", "@")?;
            return Ok(at);
        }
        let sign = if matches!(token.text, "+" | "-") { self.advance().text } else { "+" };
        let token = self.advance();
        let word = token.kind == TokenKind::Word && number(token.text).is_some();
        if !word && !matches!(token.kind, TokenKind::Number | TokenKind::Duration) {
            return self.unexpected_token(token, "@", "timestamp");
        }
        let seconds = self.literal(token)?;
        let milliseconds = (if sign == "-" { -seconds } else { seconds } * 1000.0).round();
        if milliseconds.is_nan() || milliseconds.abs() >= i64::MAX as f64 {
            return self.fail(token.span, format!("timestamp out of bounds for @ modifier: {seconds}"));
        }
        Ok(At::Time(milliseconds as i64))
    }

    /// Sets a part of the placement of a selector or subquery; `set` tells whether it was set before, and its name.
    fn place(
        &self,
        mut expr: Expr,
        set: impl FnOnce(&mut Placement) -> (bool, &'static str),
    ) -> Result<Expr, SyntaxError> {
        let end = self.tokens[self.at - 1].span.end;
        let span = expr.span();
        let placement = match &mut expr {
            Expr::Vector(selector) => {
                selector.span.end = end;
                Some(&mut selector.placement)
            }
            Expr::Matrix(matrix) => {
                matrix.end = end;
                Some(&mut matrix.selector.placement)
            }
            Expr::Subquery(subquery) => {
                subquery.end = end;
                Some(&mut subquery.placement)
            }
            _ => None,
        };
        let Some(placement) = placement else {
            let (_, what) = set(&mut Placement::default());
            let what = if what == "offset" { "offset modifier" } else { "@ modifier" };
            return self.fail(
                span,
                format!(
                    "{what} must be preceded by an instant vector selector or range vector selector or a subquery"
                ),
            );
        };
        match set(placement) {
            (true, what) => self.fail(span, format!("{what} may not be set multiple times")),
            (false, _) => Ok(expr),
        }
    }

    fn extend(&mut self, mut expr: Expr, extension: Extension, word: &str) -> Result<Expr, SyntaxError> {
        let end = self.advance().span.end;
        let span = expr.span();
        let selector = match &mut expr {
            Expr::Vector(selector) if extension == Extension::Smoothed => {
                selector.span.end = end;
                selector
            }
            Expr::Matrix(matrix) => {
                matrix.end = end;
                &mut matrix.selector
            }
            _ => return self.fail(span, format!("{word} modifier not implemented")),
        };
        if selector.extension != Extension::None {
            return self
                .fail(span, format!("{word} modifier may not be set with another of anchored and smoothed"));
        }
        selector.extension = extension;
        Ok(expr)
    }
}
