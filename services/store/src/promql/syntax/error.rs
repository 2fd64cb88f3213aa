//! What is wrong with a query's text, and where.

use super::ast::Span;

/// A query that is none. Displayed as Prometheus does: `line:column: parse error: reason`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: parse error: {reason}")]
pub struct SyntaxError {
    /// `line:column` of the place, counted from 1.
    pub place: String,
    /// What is wrong there.
    pub reason: String,
}

impl SyntaxError {
    pub(super) fn new(text: &str, span: Span, reason: impl Into<String>) -> SyntaxError {
        SyntaxError { place: place(text, span.start), reason: reason.into() }
    }
}

/// `line:column` of a byte offset, both counted from 1.
pub(super) fn place(text: &str, offset: usize) -> String {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    format!("{line}:{}", before.len() - line_start + 1)
}

impl Span {
    /// `line:column` of where it starts in the query's text, both counted from 1.
    pub fn place(self, text: &str) -> String {
        place(text, self.start)
    }
}
