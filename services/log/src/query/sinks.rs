//! What a scan leaves behind: the newest rows, counts by group, counts by time.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::bits::Bits;
use super::scan::QueryError;
use super::{ANSWER_BYTES_MAX, GROUPS_MAX, LIMIT_MAX};
use crate::block::{Block, BlockError};
use crate::row::Row;
use crate::time;

/// A row of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Nanoseconds since the epoch.
    pub time_ns: i64,
    /// Is the time part of the answer?
    pub has_time: bool,
    /// The other fields; no empty values.
    pub fields: Vec<(String, String)>,
}

impl Hit {
    /// The value of a stored field, or the empty text.
    pub fn get(&self, name: &str) -> &str {
        self.fields.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// The value of any field, the time included.
    pub fn value(&self, name: &str) -> Cow<'_, str> {
        match name {
            "_time" if self.has_time => time::rfc3339(self.time_ns).into(),
            _ => self.get(name).into(),
        }
    }

    /// Drops every field that is not named.
    pub fn keep(&mut self, names: &[String]) {
        self.has_time &= names.iter().any(|name| name == "_time");
        self.fields.retain(|(name, _)| names.contains(name));
    }

    fn weight(&self) -> usize {
        self.fields.iter().map(|(name, value)| name.len() + value.len() + 48).sum::<usize>() + 40
    }
}

/// Takes what a scan finds.
pub trait Sink {
    /// Could rows from `min` to `max` still change the outcome?
    fn wants(&self, min_ns: i64, max_ns: i64) -> bool;

    /// A row that is in no block yet.
    ///
    /// # Errors
    /// When a bound is exceeded.
    fn row(&mut self, row: &Row<'_>) -> Result<(), QueryError>;

    /// The selected rows of a block.
    ///
    /// # Errors
    /// When a bound is exceeded or the block is damaged.
    fn block(&mut self, block: &mut Block, times: &[i64], rows: &Bits) -> Result<(), SinkError>;
}

/// Why a sink stopped.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The query must end.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The block must be skipped.
    #[error(transparent)]
    Block(#[from] BlockError),
}

/// Keeps the newest (or oldest) rows, or all up to a bound.
#[derive(Debug)]
pub struct Rows {
    /// The row that would leave first is on top.
    heap: BinaryHeap<Reverse<Ranked>>,
    rows_max: usize,
    oldest: bool,
    /// More rows than fit are an error, not a choice.
    strict: bool,
    fields: Option<Vec<String>>,
    bytes: usize,
    seen: u64,
}

/// Ordered by rank alone: higher ranks stay.
#[derive(Debug)]
struct Ranked {
    rank: (i64, Reverse<u64>),
    hit: Hit,
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Ranked) -> bool {
        self.rank == other.rank
    }
}
impl Eq for Ranked {}
impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Ranked) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Ranked {
    fn cmp(&self, other: &Ranked) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}

impl Rows {
    /// Keeps `rows_max` rows with those `fields` (all for `None`).
    pub fn new(rows_max: usize, oldest: bool, strict: bool, fields: Option<Vec<String>>) -> Rows {
        let rows_max = rows_max.min(LIMIT_MAX);
        Rows { heap: BinaryHeap::new(), rows_max, oldest, strict, fields, bytes: 0, seen: 0 }
    }

    fn rank_of(&self, time_ns: i64) -> i64 {
        if self.oldest { time_ns.saturating_neg() } else { time_ns }
    }

    /// Would a row of this time stay?
    fn would_stay(&self, time_ns: i64) -> bool {
        if self.heap.len() < self.rows_max || self.strict {
            return self.rows_max > 0;
        }
        self.heap.peek().is_some_and(|Reverse(worst)| self.rank_of(time_ns) > worst.rank.0)
    }

    fn add(&mut self, hit: Hit) -> Result<(), QueryError> {
        if self.strict && self.heap.len() >= self.rows_max {
            return Err(QueryError::TooManyRows);
        }
        self.bytes += hit.weight();
        self.seen += 1;
        let rank = (self.rank_of(hit.time_ns), Reverse(self.seen));
        self.heap.push(Reverse(Ranked { rank, hit }));
        if self.heap.len() > self.rows_max
            && let Some(Reverse(worst)) = self.heap.pop()
        {
            self.bytes -= worst.hit.weight();
        }
        if self.bytes > ANSWER_BYTES_MAX { Err(QueryError::TooLarge) } else { Ok(()) }
    }

    /// The rows, newest (or oldest) first.
    pub fn finish(self) -> Vec<Hit> {
        // Sorted by what would leave last.
        self.heap.into_sorted_vec().into_iter().map(|Reverse(ranked)| ranked.hit).collect()
    }

    fn wants_field(&self, name: &str) -> bool {
        self.fields.as_ref().is_none_or(|fields| fields.iter().any(|field| field == name))
    }
}

impl Sink for Rows {
    fn wants(&self, min_ns: i64, max_ns: i64) -> bool {
        self.would_stay(if self.oldest { min_ns } else { max_ns })
    }

    fn row(&mut self, row: &Row<'_>) -> Result<(), QueryError> {
        if !self.would_stay(row.time_ns) {
            return Ok(());
        }
        let fields = row.fields.iter().filter(|(name, _)| self.wants_field(name));
        let fields = fields.map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        self.add(Hit { time_ns: row.time_ns, has_time: true, fields })
    }

    fn block(&mut self, block: &mut Block, times: &[i64], rows: &Bits) -> Result<(), SinkError> {
        // From the end that stays: once one row would not stay, none of the others would.
        let order: Vec<usize> = if self.oldest { rows.iter().collect() } else { rows.iter().rev().collect() };
        let mut columns = None;
        for row in order {
            if !self.would_stay(times[row]) {
                break;
            }
            if columns.is_none() {
                let names: Vec<String> = block.footer().columns.iter().map(|c| c.name.clone()).collect();
                let mut loaded = Vec::new();
                for name in names.into_iter().filter(|name| self.wants_field(name)) {
                    let column = block.column(&name)?;
                    loaded.push((name, column));
                }
                columns = Some(loaded);
            }
            let cells = columns.iter().flatten().map(|(name, column)| (name, column.value(row)));
            let fields = cells.filter(|(_, value)| !value.is_empty());
            let fields = fields.map(|(name, value)| (name.clone(), value.to_owned())).collect();
            self.add(Hit { time_ns: times[row], has_time: true, fields })?;
        }
        Ok(())
    }
}

/// Counts rows by the values of fields, and by time when `step_ns` says so.
#[derive(Debug)]
pub struct Counts {
    by: Vec<String>,
    step_ns: Option<i64>,
    /// (bucket's first time, values) to rows; the bucket is 0 without a step.
    pub groups: BTreeMap<(i64, Vec<String>), u64>,
}

impl Counts {
    /// Counts by `by`, within buckets of `step_ns` when given.
    pub fn new(by: Vec<String>, step_ns: Option<i64>) -> Counts {
        Counts { by, step_ns, groups: BTreeMap::new() }
    }

    fn bucket(&self, time_ns: i64) -> i64 {
        self.step_ns.map_or(0, |step| time_ns - time_ns.rem_euclid(step))
    }

    fn count(&mut self, time_ns: i64, key: Vec<String>, rows: u64) -> Result<(), QueryError> {
        *self.groups.entry((self.bucket(time_ns), key)).or_default() += rows;
        if self.groups.len() > GROUPS_MAX { Err(QueryError::TooManyGroups) } else { Ok(()) }
    }
}

impl Sink for Counts {
    fn wants(&self, _: i64, _: i64) -> bool {
        true
    }

    fn row(&mut self, row: &Row<'_>) -> Result<(), QueryError> {
        let key = self.by.iter().map(|name| match name.as_str() {
            "_time" => time::rfc3339(row.time_ns),
            _ => row.get(name).to_owned(),
        });
        let key = key.collect();
        self.count(row.time_ns, key, 1)
    }

    fn block(&mut self, block: &mut Block, times: &[i64], rows: &Bits) -> Result<(), SinkError> {
        let columns: Vec<_> = self.by.iter().map(|name| block.column(name)).collect::<Result<_, _>>()?;
        let by_time = self.by.iter().position(|name| name == "_time");
        let mut run: Option<(i64, Vec<&str>, u64)> = None;
        for row in rows.iter() {
            let bucket = self.bucket(times[row]);
            if let Some((first, key, count)) = &mut run
                && self.bucket(*first) == bucket
                && by_time.is_none()
                && key.iter().zip(&columns).all(|(value, column)| *value == column.value(row))
            {
                *count += 1;
                continue;
            }
            if let Some((first, key, count)) = run.take() {
                self.count(first, owned(&key, by_time, first), count)?;
            }
            run = Some((times[row], columns.iter().map(|column| column.value(row)).collect(), 1));
        }
        if let Some((first, key, count)) = run {
            self.count(first, owned(&key, by_time, first), count)?;
        }
        Ok(())
    }
}

fn owned(key: &[&str], by_time: Option<usize>, time_ns: i64) -> Vec<String> {
    let value = |(index, value): (usize, &&str)| match by_time == Some(index) {
        true => time::rfc3339(time_ns),
        false => (*value).to_owned(),
    };
    key.iter().enumerate().map(value).collect()
}
