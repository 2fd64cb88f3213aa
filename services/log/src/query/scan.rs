//! The scan: hot rows one by one, blocks column by column, newest block first.

use std::time::{Duration, Instant};

use thiserror::Error;

use super::bits::Bits;
use super::matcher::{FieldMatcher, Matcher};
use super::plan::{Keep, Plan};
use super::sinks::{Sink, SinkError};
use super::{ANSWER_BYTES_MAX, GROUPS_MAX, LIMIT_MAX};
use crate::block::{Block, BlockError, Column};
use crate::row;
use crate::shelf::{BlockRef, Shelf, Snapshot};

/// Longest that one query may take, unless it asks for less.
pub const QUERY_WITHIN: Duration = Duration::from_secs(30);

/// Why a query that is well formed has no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum QueryError {
    /// It took too long.
    #[error("query took longer than {0:?}; narrow the time range or add a word")]
    Late(Duration),
    /// A pipe needs every row and there are too many.
    #[error("sort needs more than {LIMIT_MAX} rows; narrow the query or sort by (_time)")]
    TooManyRows,
    /// The rows are too big together.
    #[error("answer needs more than {} MiB; lower the limit or name fewer fields", ANSWER_BYTES_MAX >> 20)]
    TooLarge,
    /// A count has too many groups.
    #[error("count has more than {GROUPS_MAX} groups; group by another field or use a longer step")]
    TooManyGroups,
}

/// Runs a plan's filter over everything on the shelf and gives the sink what passes. A damaged block
/// is set aside on the way, one that retention removed meanwhile is skipped.
///
/// # Errors
/// [`QueryError`] when a bound is exceeded.
pub fn scan(shelf: &Shelf, plan: &Plan, sink: &mut dyn Sink, within: Duration) -> Result<(), QueryError> {
    let snapshot = shelf.snapshot();
    let until = Instant::now() + within;
    let matcher = Matcher::new(&plan.filter);
    if matches!(matcher, Matcher::Nothing) {
        return Ok(());
    }
    scan_hot(&snapshot, plan, &matcher, sink, until, within)?;
    let mut blocks: Vec<&BlockRef> =
        snapshot.blocks.iter().filter(|b| plan.range.overlaps(b.min_ns, b.max_ns)).collect();
    match plan.keep {
        Keep::Oldest(_) => blocks.sort_by_key(|block| block.min_ns),
        _ => blocks.sort_by_key(|block| std::cmp::Reverse(block.max_ns)),
    }
    shelf.metrics().blocks_skipped.add((snapshot.blocks.len() - blocks.len()) as u64);
    for block in blocks {
        if Instant::now() > until {
            return Err(QueryError::Late(within));
        }
        if !sink.wants(block.min_ns, block.max_ns) {
            continue;
        }
        match scan_block(shelf, block, plan, &matcher, sink) {
            Ok(()) => {}
            Err(SinkError::Query(error)) => return Err(error),
            Err(SinkError::Block(error)) if error.is_gone() => {}
            Err(SinkError::Block(error)) => shelf.set_aside(block, &error),
        }
    }
    Ok(())
}

fn scan_hot(
    snapshot: &Snapshot,
    plan: &Plan,
    matcher: &Matcher,
    sink: &mut dyn Sink,
    until: Instant,
    within: Duration,
) -> Result<(), QueryError> {
    for frame in &snapshot.hot {
        if Instant::now() > until {
            return Err(QueryError::Late(within));
        }
        // Frames hold rows that this process encoded or replay verified: they always decode.
        for row in row::rows(&frame.bytes).flatten() {
            if plan.range.contains(row.time_ns) && matcher.matches(&row) {
                sink.row(&row)?;
            }
        }
    }
    Ok(())
}

fn scan_block(
    shelf: &Shelf,
    at: &BlockRef,
    plan: &Plan,
    matcher: &Matcher,
    sink: &mut dyn Sink,
) -> Result<(), SinkError> {
    let mut block = Block::open(&shelf.path_of(at))?;
    if matcher.has_words() && !matcher.may_match(&block.filter()?) {
        shelf.metrics().blocks_skipped.add(1);
        return Ok(());
    }
    shelf.metrics().blocks_read.add(1);
    let times = block.times()?;
    let mut selected = if plan.range.contains(at.min_ns) && plan.range.contains(at.max_ns) {
        Bits::all(times.len(), true)
    } else {
        Bits::of(times.len(), |row| plan.range.contains(times[row]))
    };
    select(matcher, &mut block, &times, &mut selected)?;
    if !selected.is_empty() {
        sink.block(&mut block, &times, &selected)?;
    }
    Ok(())
}

/// Removes from `selected` what does not pass.
fn select(
    matcher: &Matcher,
    block: &mut Block,
    times: &[i64],
    selected: &mut Bits,
) -> Result<(), BlockError> {
    match matcher {
        Matcher::All => {}
        Matcher::Nothing => *selected = Bits::all(times.len(), false),
        Matcher::Time(range) => selected.retain(|row| range.contains(times[row])),
        Matcher::Field(field) => select_field(field, block, selected)?,
        Matcher::And(parts) => {
            for part in parts {
                if selected.is_empty() {
                    break;
                }
                select(part, block, times, selected)?;
            }
        }
        Matcher::Or(parts) => {
            let mut union = Bits::all(times.len(), false);
            for part in parts {
                let mut passed = selected.clone();
                select(part, block, times, &mut passed)?;
                union.or(&passed);
            }
            *selected = union;
        }
        Matcher::Not(inner) => {
            let mut passed = selected.clone();
            select(inner, block, times, &mut passed)?;
            passed.invert();
            selected.and(&passed);
        }
    }
    Ok(())
}

fn select_field(field: &FieldMatcher, block: &mut Block, selected: &mut Bits) -> Result<(), BlockError> {
    let column = block.column(&field.name)?;
    match column.as_ref() {
        Column::Missing | Column::Const(_) => {
            if !field.test(column.value(0)) {
                selected.retain(|_| false);
            }
        }
        Column::Dict { values, places } => {
            let passes: Vec<bool> = values.iter().map(|value| field.test(value)).collect();
            selected.retain(|row| passes[usize::from(places[row])]);
        }
        Column::Raw { .. } => selected.retain(|row| field.test(column.value(row))),
    }
    Ok(())
}
