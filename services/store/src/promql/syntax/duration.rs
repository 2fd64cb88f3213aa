//! Duration expressions: `[5m]`, `[2 * step()]`, `offset -(1h / 2)`.

use super::ast::{Duration, DurationOperator, Span};
use super::error::SyntaxError;
use super::lexer::TokenKind;
use super::parser::Parser;

/// Go's longest duration, in seconds.
const SECONDS_MAX: f64 = i64::MAX as f64 / 1e9;

/// How strongly a sign binds to the duration behind it: as a product, so that `-2^2` is `-(2^2)`.
const SIGN_STRENGTH: u8 = 2;

fn operator(text: &str) -> Option<(DurationOperator, u8)> {
    Some(match text {
        "+" => (DurationOperator::Add, 1),
        "-" => (DurationOperator::Subtract, 1),
        "*" => (DurationOperator::Multiply, 2),
        "/" => (DurationOperator::Divide, 2),
        "%" => (DurationOperator::Modulo, 2),
        "^" => (DurationOperator::Power, 3),
        _ => return None,
    })
}

impl Parser<'_> {
    /// The duration of a range, which is greater than 0 as far as that can be known now.
    pub(super) fn positive_duration(
        &mut self,
        context: &str,
        expected: &str,
    ) -> Result<Duration, SyntaxError> {
        let begins = |text: &str| matches!(text, "+" | "-" | "(");
        let token = self.peek();
        let words = ["step", "range", "min_of", "max_of"];
        let fits = matches!(token.kind, TokenKind::Number | TokenKind::Duration)
            || begins(token.text)
            || words.iter().any(|word| token.text.eq_ignore_ascii_case(word));
        if !fits {
            return self.unexpected(context, expected);
        }
        let duration = self.duration(1, 0)?;
        match duration {
            Duration::Literal(value, span) if value <= 0.0 => {
                self.fail(span, "duration must be greater than 0")
            }
            other => Ok(other),
        }
    }

    /// The duration behind `offset`: one operand with its sign, as what follows belongs to the expression around.
    pub(super) fn offset_duration(&mut self) -> Result<Duration, SyntaxError> {
        let sign = self.peek();
        if sign.text == "+" || sign.text == "-" {
            self.advance();
            let operand = self.duration_operand(0)?;
            return self.signed(sign.text == "-", operand, sign.span);
        }
        self.duration_operand(0)
    }

    fn duration(&mut self, strength_min: u8, depth: usize) -> Result<Duration, SyntaxError> {
        self.nest(depth)?;
        let sign = self.peek();
        let mut left = if sign.text == "+" || sign.text == "-" {
            self.advance();
            let operand = self.duration(SIGN_STRENGTH + 1, depth + 1)?;
            self.signed(sign.text == "-", operand, sign.span)?
        } else {
            self.duration_operand(depth)?
        };
        while let Some((operator, strength)) = operator(self.peek().text).filter(|(_, s)| *s >= strength_min)
        {
            let sign = self.advance();
            let right = self.duration(strength + u8::from(operator != DurationOperator::Power), depth + 1)?;
            if matches!(right, Duration::Literal(value, _) if value == 0.0) {
                match operator {
                    DurationOperator::Divide => return self.fail(sign.span, "division by zero"),
                    DurationOperator::Modulo => return self.fail(sign.span, "modulo by zero"),
                    _ => {}
                }
            }
            let span = Span { start: left.span().start, end: right.span().end };
            left = Duration::Binary(operator, Box::new(left), Box::new(right), span);
        }
        Ok(left)
    }

    fn signed(&self, negative: bool, operand: Duration, sign: Span) -> Result<Duration, SyntaxError> {
        let span = Span { start: sign.start, end: operand.span().end };
        Ok(match operand {
            Duration::Literal(value, _) => Duration::Literal(if negative { -value } else { value }, span),
            other if negative => Duration::Negative(Box::new(other), span),
            other => other,
        })
    }

    fn duration_operand(&mut self, depth: usize) -> Result<Duration, SyntaxError> {
        self.nest(depth)?;
        let token = self.advance();
        match token.kind {
            TokenKind::Number | TokenKind::Duration => {
                let value = self.literal(token)?;
                if value.is_nan() || value.abs() >= SECONDS_MAX {
                    return self.fail(token.span, "duration out of range");
                }
                Ok(Duration::Literal(value, token.span))
            }
            TokenKind::Word => {
                let word = token.text.to_ascii_lowercase();
                match word.as_str() {
                    "step" | "range" => {
                        self.expect("(", "duration")?;
                        let span =
                            Span { start: token.span.start, end: self.expect(")", "duration")?.span.end };
                        Ok(if word == "step" { Duration::Step(span) } else { Duration::Range(span) })
                    }
                    "min_of" | "max_of" => {
                        self.expect("(", "duration")?;
                        let left = self.duration(1, depth + 1)?;
                        self.expect(",", "duration")?;
                        let right = self.duration(1, depth + 1)?;
                        let span =
                            Span { start: token.span.start, end: self.expect(")", "duration")?.span.end };
                        let least = word == "min_of";
                        let operator =
                            if least { DurationOperator::Least } else { DurationOperator::Greatest };
                        Ok(Duration::Binary(operator, Box::new(left), Box::new(right), span))
                    }
                    _ => self.unexpected_token(token, "offset", "number, duration, step(), or range()"),
                }
            }
            _ if token.text == "(" => {
                let inner = self.duration(1, depth + 1)?;
                let span = Span { start: token.span.start, end: self.expect(")", "duration")?.span.end };
                Ok(Duration::Paren(Box::new(inner), span))
            }
            _ => self.unexpected_token(token, "offset", "number, duration, step(), or range()"),
        }
    }
}
