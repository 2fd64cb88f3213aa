//! The language: text to tokens, tokens to a tree, the tree's types, and the tree as text again.
//!
//! A parser of our own, by precedence climbing: duration expressions, `anchored` and `smoothed`, fill modifiers and
//! quoted names are in the test files of Prometheus 3.14, and errors have their position, as its API gives them.
//!
//! Limits: [`NESTING_MAX`] levels. The text's length is bounded by whoever calls [`parse`].

mod ast;
mod check;
mod duration;
mod error;
mod functions;
mod lexer;
mod literal;
mod operator;
mod parser;
mod postfix;
mod print;
mod selector;
#[cfg(test)]
mod tests;

pub use ast::{
    Aggregate, At, Binary, Call, Cardinality, Duration, DurationOperator, Expr, Extension, Grouping, Kind,
    Matching, Matrix, Placement, Span, Subquery, VectorSelector,
};
pub use check::{kind_of, type_name};
pub use error::SyntaxError;
pub use functions::{Signature, signature};
pub use literal::{duration_ms, number, unquote};
pub use operator::{Aggregation, Operator};
pub use parser::parse;
pub use print::{pretty, quoted};
pub use selector::{metric, selector};

/// Deepest nesting of an expression. Parsing and evaluating a level take less than a kilobyte of the thread's stack
/// of 2 MiB each; deeper ones are refused.
pub const NESTING_MAX: usize = 200;
