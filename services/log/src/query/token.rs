//! The text of a query, token by token.

use super::ast::SyntaxError;

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A bare word: letters, digits and `_ . - / @ + % $ #` and what is not ASCII.
    Word(String),
    /// A text in double quotes, single quotes or backquotes.
    Quoted(String),
    /// One of the signs of the language.
    Sign(char),
    /// `>=` and `<=` as their first character.
    OrEqual(char),
    /// The text ended.
    End,
}

/// Reads tokens; keeps the place for error messages.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    text: &'a str,
    at: usize,
    /// Where the token that was read last begins.
    start: usize,
}

fn is_bare(c: char) -> bool {
    c.is_alphanumeric() || "_.-/@+%$#".contains(c) || !c.is_ascii() && !c.is_whitespace()
}

impl<'a> Tokens<'a> {
    /// Begins at the start of `text`.
    pub fn new(text: &'a str) -> Tokens<'a> {
        Tokens { text, at: 0, start: 0 }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// An error at the token that was read last.
    pub fn error(&self, reason: impl Into<String>) -> SyntaxError {
        let column = self.text[..self.start].chars().count() + 1;
        SyntaxError { column, reason: reason.into() }
    }

    /// Does the next token follow without a space?
    pub fn is_joined(&self) -> bool {
        !self.rest().is_empty() && !self.rest().starts_with(char::is_whitespace)
    }

    /// The next token; the place moves behind it.
    ///
    /// # Errors
    /// An open quote, a wrong escape, or a character that means nothing.
    pub fn next(&mut self) -> Result<Token, SyntaxError> {
        self.at += self.rest().len() - self.rest().trim_start().len();
        self.start = self.at;
        let Some(first) = self.rest().chars().next() else { return Ok(Token::End) };
        if matches!(first, '"' | '\'' | '`') {
            return self.quoted(first).map(Token::Quoted);
        }
        if is_bare(first) && first != '-' {
            let length = self.rest().find(|c| !is_bare(c)).unwrap_or(self.rest().len());
            let word = &self.rest()[..length];
            self.at += length;
            return Ok(Token::Word(word.to_owned()));
        }
        self.at += first.len_utf8();
        match first {
            '<' | '>' if self.rest().starts_with('=') => {
                self.at += 1;
                Ok(Token::OrEqual(first))
            }
            ':' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | ',' | '=' | '!' | '-' | '*' | '<' | '>' | '~' => {
                Ok(Token::Sign(first))
            }
            _ => Err(self.error(format!("{first:?} means nothing here; put text in quotes"))),
        }
    }

    /// The next token, without moving.
    ///
    /// # Errors
    /// As [`Tokens::next`].
    pub fn peek(&self) -> Result<Token, SyntaxError> {
        self.clone().next()
    }

    /// Moves behind the next token if it is `sign`.
    ///
    /// # Errors
    /// As [`Tokens::next`].
    pub fn eat(&mut self, sign: char) -> Result<bool, SyntaxError> {
        let mut ahead = self.clone();
        let found = ahead.next()? == Token::Sign(sign);
        if found {
            *self = ahead;
        }
        Ok(found)
    }

    /// Moves behind the next token if it is the word `word`, whatever its case.
    ///
    /// # Errors
    /// As [`Tokens::next`].
    pub fn eat_word(&mut self, word: &str) -> Result<bool, SyntaxError> {
        let mut ahead = self.clone();
        let found = matches!(ahead.next()?, Token::Word(found) if found.eq_ignore_ascii_case(word));
        if found {
            *self = ahead;
        }
        Ok(found)
    }

    /// The next token must be `sign`.
    ///
    /// # Errors
    /// When it is another.
    pub fn require(&mut self, sign: char) -> Result<(), SyntaxError> {
        match self.next()? {
            Token::Sign(found) if found == sign => Ok(()),
            Token::End => Err(self.error(format!("the query ends where {sign:?} is missing"))),
            _ => Err(self.error(format!("{sign:?} is missing here"))),
        }
    }

    /// Everything up to the first character for which `ends` holds, as it stands; for times, whose
    /// colons are no signs.
    pub fn raw_until(&mut self, ends: impl Fn(char) -> bool) -> &'a str {
        self.start = self.at;
        let length = self.rest().find(ends).unwrap_or(self.rest().len());
        let raw = &self.rest()[..length];
        self.at += length;
        raw
    }

    fn quoted(&mut self, quote: char) -> Result<String, SyntaxError> {
        let mut value = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.at += at + c.len_utf8();
                return Ok(value);
            }
            if c != '\\' || quote == '`' {
                value.push(c);
                continue;
            }
            match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, escaped @ ('\\' | '"' | '\'' | '`'))) => value.push(escaped),
                Some((_, other)) => {
                    let advice = r#"known are \\ \" \' \n \t; or use backquotes"#;
                    return Err(self.error(format!("\\{other} is no escape; {advice}")));
                }
                None => break,
            }
        }
        Err(self.error(format!("the quote {quote} is not closed")))
    }
}
