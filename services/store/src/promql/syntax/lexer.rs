//! Text to tokens. Words stay words: whether one is a keyword or a metric's name is the parser's to say.

use super::ast::Span;
use super::error::SyntaxError;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A name or a keyword.
    Word,
    /// `12`, `0x1f`, `1e3`.
    Number,
    /// `5m`.
    Duration,
    /// A text with its quotes.
    Text,
    /// An operator or a bracket.
    Sign,
    /// After the last token.
    End,
}

/// A piece of the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind,
    pub(super) text: &'a str,
    pub(super) span: Span,
}

/// Signs of two bytes; they go before those of one.
const PAIRS: [&str; 8] = ["==", "!=", "=~", "!~", "<=", ">=", "</", ">/"];

const SINGLES: &str = "+-*/%^=<>(){}[],:@";

/// Splits `text` into tokens, the last of which is [`TokenKind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, SyntaxError> {
    let mut lexer = Lexer { text, at: 0, braces: false, brackets: false, depth: 0 };
    let mut all = Vec::new();
    loop {
        let token = lexer.next()?;
        all.push(token);
        if token.kind == TokenKind::End {
            return Ok(all);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    braces: bool,
    brackets: bool,
    depth: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn fail<T>(&self, start: usize, reason: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError::new(self.text, Span { start, end: self.text.len() }, reason))
    }

    fn take(&mut self, bytes: usize, kind: TokenKind) -> Token<'a> {
        let span = Span { start: self.at, end: self.at + bytes };
        self.at = span.end;
        Token { kind, text: &self.text[span.start..span.end], span }
    }

    fn next(&mut self) -> Result<Token<'a>, SyntaxError> {
        self.skip();
        let Some(first) = self.rest().chars().next() else { return self.end() };
        let second = self.rest().chars().nth(1).unwrap_or(' ');
        if matches!(first, '"' | '\'' | '`') {
            return self.quoted(first);
        }
        if first.is_ascii_digit() || (first == '.' && second.is_ascii_digit()) {
            return self.number();
        }
        if first.is_ascii_alphabetic() || first == '_' || (first == ':' && !self.brackets && !self.braces) {
            let part = |c: char| {
                c.is_ascii_alphanumeric() || c == '_' || (c == ':' && !self.brackets && !self.braces)
            };
            let length = self.rest().find(|c| !part(c)).unwrap_or(self.rest().len());
            return Ok(self.take(length, TokenKind::Word));
        }
        self.sign(first, second)
    }

    /// Passes over spaces and comments.
    fn skip(&mut self) {
        loop {
            self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t', '\n', '\r']).len();
            if !self.rest().starts_with('#') {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn end(&mut self) -> Result<Token<'a>, SyntaxError> {
        let at = self.at;
        if self.braces {
            return self.fail(at, "unexpected end of input inside braces");
        }
        if self.depth > 0 {
            return self.fail(at, "unclosed left parenthesis");
        }
        if self.brackets {
            return self.fail(at, "unclosed left bracket");
        }
        Ok(self.take(0, TokenKind::End))
    }

    fn quoted(&mut self, quote: char) -> Result<Token<'a>, SyntaxError> {
        let start = self.at;
        let mut escaped = false;
        for (offset, c) in self.rest().char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' if quote != '`' => escaped = true,
                '\n' if quote != '`' => break,
                _ if c == quote => return Ok(self.take(offset + 1, TokenKind::Text)),
                _ => {}
            }
        }
        let what = if quote == '`' { "unterminated raw string" } else { "unterminated quoted string" };
        self.fail(start, what)
    }

    fn number(&mut self) -> Result<Token<'a>, SyntaxError> {
        let bytes = self.rest().as_bytes();
        let run = |from: usize, fits: fn(u8) -> bool| {
            bytes[from..].iter().position(|&byte| !fits(byte)).map_or(bytes.len(), |n| from + n)
        };
        let digit = |byte: u8| byte.is_ascii_digit() || byte == b'_';
        let mut end;
        if bytes.len() > 2 && bytes[0] == b'0' && matches!(bytes[1], b'x' | b'X') {
            end = run(2, |byte| byte.is_ascii_hexdigit() || byte == b'_');
        } else {
            end = run(0, digit);
            if bytes.get(end) == Some(&b'.') {
                end = run(end + 1, digit);
            }
            if matches!(bytes.get(end), Some(b'e' | b'E')) {
                let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
                if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
                    end = run(end + 1 + sign, digit);
                }
            }
        }
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if bytes.get(end).is_none_or(|&byte| !word(byte)) {
            return Ok(self.take(end, TokenKind::Number));
        }
        let all = run(end, word);
        if super::literal::duration_ms(&self.rest()[..all]).is_ok()
            || self.rest()[..all].ends_with(['s', 'm', 'h', 'd', 'w', 'y'])
        {
            return Ok(self.take(all, TokenKind::Duration));
        }
        let (start, text) = (self.at, &self.rest()[..(end + 1).min(all)]);
        self.fail(start, format!("bad number or duration syntax: {text:?}"))
    }

    fn sign(&mut self, first: char, second: char) -> Result<Token<'a>, SyntaxError> {
        let start = self.at;
        let pair = PAIRS.iter().find(|pair| self.rest().starts_with(**pair));
        if let Some(pair) = pair.filter(|pair| self.braces == matches!(**pair, "=~" | "!~") || **pair == "!=")
        {
            return Ok(self.take(pair.len(), TokenKind::Sign));
        }
        if !self.braces && matches!(first, '=' | '!') && (first == '!' || second == '~') {
            return self.fail(start, format!("unexpected character after '{first}': {second:?}"));
        }
        if !SINGLES.contains(first) {
            let inside = if self.braces { " inside braces" } else { "" };
            return self.fail(start, format!("unexpected character{inside}: {first:?}"));
        }
        match first {
            '{' if self.braces => return self.fail(start, "unexpected left brace '{'"),
            '{' => self.braces = true,
            '}' if !self.braces => return self.fail(start, "unexpected right brace '}'"),
            '}' => self.braces = false,
            '[' if self.brackets => return self.fail(start, "unexpected left bracket '['"),
            '[' => self.brackets = true,
            ']' if !self.brackets => return self.fail(start, "unexpected right bracket ']'"),
            ']' => self.brackets = false,
            '(' => self.depth += 1,
            ')' if self.depth == 0 => return self.fail(start, "unexpected right parenthesis ')'"),
            ')' => self.depth -= 1,
            _ => {}
        }
        Ok(self.take(1, TokenKind::Sign))
    }
}
