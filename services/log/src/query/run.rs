//! A query from its text to its answer.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::ast::{Filter, Query, SyntaxError, TimeRange};
use super::parse::{instant, parse};
use super::plan::{Keep, Plan, plan};
use super::scan::{QUERY_WITHIN, QueryError, scan};
use super::sinks::{Counts, Hit, Rows};
use super::{GROUPS_MAX, pipes};
use crate::shelf::Shelf;
use crate::time;

/// Why there is no answer: the query's fault, or a bound.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The text.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// An argument.
    #[error("argument {name}: {reason}")]
    Argument {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A bound.
    #[error(transparent)]
    Bound(#[from] QueryError),
}

/// The arguments of a request, by name.
#[derive(Clone, Debug, Default)]
pub struct Arguments(BTreeMap<String, String>);

impl Arguments {
    /// Takes decoded names and values; the last of a name counts.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Arguments {
        Arguments(pairs.into_iter().collect())
    }

    /// The value of an argument, unless it is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn number(&self, name: &'static str) -> Result<Option<usize>, RunError> {
        let parse = |text: &str| {
            text.parse().map_err(|_| RunError::Argument { name, reason: format!("{text:?} is not a number") })
        };
        self.get(name).map(parse).transpose()
    }

    fn duration(&self, name: &'static str) -> Result<Option<i64>, RunError> {
        let parse = |text: &str| {
            // Prometheus' clients send seconds without a unit.
            let seconds =
                text.parse::<i64>().ok().filter(|s| *s > 0).and_then(|s| s.checked_mul(time::SECOND));
            time::parse_duration(text).or(seconds).ok_or_else(|| RunError::Argument {
                name,
                reason: format!("{text:?} is no duration such as 5m"),
            })
        };
        self.get(name).map(parse).transpose()
    }

    /// `start` and `end`; both included, each to its own precision.
    fn range(&self, now_ns: i64) -> Result<TimeRange, RunError> {
        let one = |name: &'static str| {
            let parse = |text: &str| {
                instant(text, now_ns)
                    .ok_or_else(|| RunError::Argument { name, reason: format!("{text:?} is no time") })
            };
            self.get(name).map(parse).transpose()
        };
        let from = one("start")?.map_or(i64::MIN, |span| span.0);
        let to = one("end")?.map_or(i64::MAX, |span| span.1);
        Ok(TimeRange { from, to })
    }

    fn query(&self, now_ns: i64) -> Result<Query, RunError> {
        let text = self
            .get("query")
            .ok_or(RunError::Argument { name: "query", reason: "missing; * means everything".into() })?;
        Ok(parse(text, now_ns)?)
    }

    fn within(&self) -> Result<Duration, RunError> {
        let asked = self.duration("timeout")?.map(|ns| Duration::from_nanos(ns.unsigned_abs()));
        Ok(asked.map_or(QUERY_WITHIN, |asked| asked.min(QUERY_WITHIN)))
    }
}

/// Rows of an answer.
#[derive(Debug)]
pub struct Answer {
    rows: Vec<Hit>,
}

impl Answer {
    /// One JSON object a line: `_time`, then `_stream` and `_msg` where they are, then the rest in the
    /// order of their names.
    pub fn ndjson(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for row in &self.rows {
            let mut object = Map::new();
            if row.has_time {
                object.insert("_time".into(), time::rfc3339(row.time_ns).into());
            }
            for (name, value) in &row.fields {
                object.insert(name.clone(), Value::String(value.clone()));
            }
            out.extend_from_slice(Value::Object(object).to_string().as_bytes());
            out.push(b'\n');
        }
        out
    }

    /// The values of a field, row by row; empty where a row has none.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.rows.iter().map(move |row| row.get(name))
    }
}

/// Runs `/select/logsql/query` with its arguments `query`, `start`, `end`, `limit`, `timeout`.
///
/// # Errors
/// [`RunError`].
pub fn query(shelf: &Shelf, arguments: &Arguments, now_ns: i64) -> Result<Answer, RunError> {
    let parsed = arguments.query(now_ns)?;
    let plan = plan(parsed, arguments.range(now_ns)?, arguments.number("limit")?);
    Ok(Answer { rows: rows(shelf, &plan, arguments.within()?)? })
}

fn rows(shelf: &Shelf, plan: &Plan, within: Duration) -> Result<Vec<Hit>, QueryError> {
    let kept = match &plan.keep {
        Keep::Counts { by, name } => {
            let mut counts = Counts::new(by.clone(), None);
            scan(shelf, plan, &mut counts, within)?;
            let groups = counts.groups.into_iter().map(|((_, key), count)| (key, count)).collect();
            pipes::counted(groups, by, name)
        }
        keep => {
            let (rows_max, oldest) = match keep {
                Keep::Newest(rows) => (*rows, false),
                Keep::Oldest(rows) => (*rows, true),
                _ => (super::LIMIT_MAX, false),
            };
            let mut rows = Rows::new(rows_max, oldest, *keep == Keep::All, plan.fields.clone());
            scan(shelf, plan, &mut rows, within)?;
            rows.finish()
        }
    };
    let mut rows = pipes::apply(kept, &plan.pipes);
    rows.truncate(plan.limit);
    Ok(rows)
}

/// The answer of `/select/logsql/hits`.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct HitsAnswer {
    /// One a group.
    pub hits: Vec<HitsGroup>,
}

/// Counts by time of one group.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct HitsGroup {
    /// What makes the group: the fields asked for by `field`.
    pub fields: BTreeMap<String, String>,
    /// Each bucket's first time, RFC 3339; buckets without rows are left out.
    pub timestamps: Vec<String>,
    /// Each bucket's number of rows.
    pub values: Vec<u64>,
    /// Their sum.
    pub total: u64,
}

/// Runs `/select/logsql/hits` with its arguments `query`, `start`, `end`, `step`, `field`, `timeout`:
/// how many rows match in each step (default 1 h), grouped by a field when one is named.
///
/// # Errors
/// [`RunError`]; pipes make no sense here and are refused.
pub fn hits(shelf: &Shelf, arguments: &Arguments, now_ns: i64) -> Result<HitsAnswer, RunError> {
    let parsed = arguments.query(now_ns)?;
    if !parsed.pipes.is_empty() {
        return Err(RunError::Argument { name: "query", reason: "hits takes a query without pipes".into() });
    }
    let step_ns = arguments.duration("step")?.unwrap_or(3600 * time::SECOND);
    let by: Vec<String> = arguments.get("field").map(str::to_owned).into_iter().collect();
    let plan = plan(parsed, arguments.range(now_ns)?, None);
    let mut counts = Counts::new(by.clone(), Some(step_ns));
    if plan.filter != Filter::Nothing {
        scan(shelf, &plan, &mut counts, arguments.within()?)?;
    }
    let mut groups = BTreeMap::<Vec<String>, HitsGroup>::new();
    for ((bucket_ns, key), count) in counts.groups.into_iter().take(GROUPS_MAX) {
        let group = groups.entry(key.clone()).or_insert_with(|| HitsGroup {
            fields: by.iter().cloned().zip(key).collect(),
            timestamps: Vec::new(),
            values: Vec::new(),
            total: 0,
        });
        group.timestamps.push(time::rfc3339(bucket_ns));
        group.values.push(count);
        group.total += count;
    }
    Ok(HitsAnswer { hits: groups.into_values().collect() })
}
