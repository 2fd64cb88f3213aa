//! LogsQL: text to tokens ([`token`]) to a tree ([`ast`], [`parse`]) to a plan ([`plan`]) to a scan of
//! hot rows and blocks ([`scan`]) whose result the pipes finish ([`pipes`]).
//!
//! The core of the language is here (README of VictoriaLogs, "LogsQL"): words, phrases, prefixes,
//! `field:…`, exact and empty values, lists, comparisons, streams, time ranges, `AND`, `OR`, `NOT`,
//! parentheses; the pipes `limit`, `offset`, `sort`, `fields`, `count`, `stats count()`. What is not
//! here is refused with its place in the text.
//!
//! Limits: [`LIMIT_MAX`] rows and [`ANSWER_BYTES_MAX`] bytes an answer, [`QUERY_BYTES_MAX`] of text,
//! [`DEPTH_MAX`] nested parentheses, [`GROUPS_MAX`] groups of a count.

pub mod ast;
mod bits;
mod matcher;
mod parse;
mod pipes;
mod plan;
mod run;
mod scan;
mod sinks;
mod token;

pub use parse::parse;
pub use plan::{Plan, plan};
pub use run::{Answer, Arguments, HitsAnswer, HitsGroup, RunError, hits, query};
pub use scan::QueryError;

/// Rows that are returned when neither the `limit` argument nor a pipe says otherwise.
pub const LIMIT_DEFAULT: usize = 1000;
/// Most rows that one query returns or sorts.
pub const LIMIT_MAX: usize = 10_000;
/// Most bytes of fields that one query holds: the box has 256 MB.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Longest query text.
pub const QUERY_BYTES_MAX: usize = 16 << 10;
/// Deepest nesting of parentheses and NOT.
pub const DEPTH_MAX: usize = 64;
/// Most groups of `stats by` and most buckets of a histogram.
pub const GROUPS_MAX: usize = 10_000;
