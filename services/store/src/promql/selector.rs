//! Selectors: instant vectors with look-back, and windows over ranges and subqueries.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use promql_parser::parser::{AtModifier, Expr, Offset, SubqueryExpr, VectorSelector};

use super::eval::Context;
use super::limits::QueryError;
use super::value::{ABSENT, Column, Grid, is_absent};
use super::{LOOKBACK_MS, Selection};
use crate::samples::Samples;
use crate::series::{Labels, Matcher};

/// A subquery without a step takes this one: Prometheus' default evaluation interval.
const SUBQUERY_STEP_MS: i64 = 60_000;

/// Steps that one subquery may have.
const SUBQUERY_STEPS_MAX: usize = 1_000_000;

/// The samples that a range function sees at one step: those in (start, end].
pub(super) struct Window<'a> {
    pub(super) times: &'a [i64],
    pub(super) values: &'a [f64],
    pub(super) start: i64,
    pub(super) end: i64,
    /// The time of the step; it differs from `end` by offset and `@`.
    pub(super) at: i64,
}

/// When a selector looks, for each step: at `step - offset`, or always at one time.
struct Shift {
    offset: i64,
    fixed: Option<i64>,
}

impl Shift {
    fn new(offset: Option<&Offset>, at: Option<&AtModifier>, query: Grid) -> Shift {
        let millis = |duration: &Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4);
        let offset = match offset {
            None => 0,
            Some(Offset::Pos(duration)) => millis(duration),
            Some(Offset::Neg(duration)) => -millis(duration),
        };
        let fixed = at.map(|at| match at {
            AtModifier::Start => query.start,
            AtModifier::End => query.end,
            AtModifier::At(time) => signed_millis(*time),
        });
        Shift { offset, fixed }
    }

    fn look(&self, step: i64) -> i64 {
        self.fixed.unwrap_or(step).saturating_sub(self.offset)
    }

    /// The first and the last time that is looked at.
    fn span(&self, grid: Grid) -> (i64, i64) {
        (self.look(grid.start), self.look(grid.end))
    }
}

fn signed_millis(time: SystemTime) -> i64 {
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => millis(after),
        Err(before) => -millis(before.duration()),
    }
}

/// The matchers of a selector, its name among them.
///
/// # Errors
/// For `or` between matchers, which is not PromQL.
pub fn matchers(selected: &VectorSelector) -> Result<Vec<Matcher>, QueryError> {
    if !selected.matchers.or_matchers.is_empty() {
        return Err(QueryError::BadData("\"or\" between matchers is not supported".into()));
    }
    let mut all = selected.matchers.matchers.clone();
    if let Some(name) = &selected.name {
        all.push(Matcher::new_metric_name_matcher(name.clone()).map_err(QueryError::BadData)?);
    }
    Ok(all)
}

fn open<'s>(
    context: &'s Context<'_>,
    selected: &VectorSelector,
    from: i64,
    to: i64,
) -> Result<Box<dyn Selection + 's>, QueryError> {
    let selection = context.source.select(&matchers(selected)?, from, to);
    context.usage.hold(selection.count(), 1)?;
    Ok(selection)
}

/// The instant vector of a selector.
///
/// # Errors
/// What reading or the limits say.
pub(super) fn instant(context: &Context<'_>, selected: &VectorSelector) -> Result<Vec<Column>, QueryError> {
    instant_by(context, selected, |_, value| value)
}

/// The instant vector of a selector, each value made from the sample's time and value.
pub(super) fn instant_by(
    context: &Context<'_>,
    selected: &VectorSelector,
    value_of: impl Fn(i64, f64) -> f64,
) -> Result<Vec<Column>, QueryError> {
    let shift = Shift::new(selected.offset.as_ref(), selected.at.as_ref(), context.query);
    let (first, last) = shift.span(context.grid);
    // Left-open: a sample exactly LOOKBACK_MS old is not seen.
    let mut selection = open(context, selected, first.saturating_sub(LOOKBACK_MS - 1), last)?;
    let mut columns = Vec::new();
    for index in 0..selection.count() {
        let samples = selection.read(index, first.saturating_sub(LOOKBACK_MS - 1), last)?;
        context.usage.read(samples.len())?;
        let mut next = 0;
        let mut values = Vec::with_capacity(context.grid.len());
        for step in context.grid.times() {
            let look = shift.look(step);
            while next < samples.times.len() && samples.times[next] <= look {
                next += 1;
            }
            let seen = next.checked_sub(1).filter(|&at| samples.times[at] > look.saturating_sub(LOOKBACK_MS));
            values.push(match seen {
                Some(at) if !is_absent(samples.values[at]) => value_of(samples.times[at], samples.values[at]),
                _ => ABSENT,
            });
        }
        let column = Column { labels: selection.labels(index), values };
        if !column.is_empty() {
            context.usage.hold(columns.len() + 1, context.grid.len())?;
            columns.push(column);
        }
    }
    Ok(columns)
}

/// Applies `function` to each series' window at each step of a range vector. Labels are kept.
///
/// # Errors
/// What reading or the limits say, and an expression that is no range vector.
pub(super) fn windows(
    context: &Context<'_>,
    expr: &Expr,
    function: &mut dyn FnMut(usize, &Window<'_>) -> Option<f64>,
) -> Result<Vec<Column>, QueryError> {
    let millis = |range: Duration| i64::try_from(range.as_millis()).unwrap_or(i64::MAX / 4);
    let mut columns = Vec::new();
    let mut push = |labels: Labels, samples: &Samples, shift: &Shift, range: i64| {
        let values = slide(context.grid, samples, shift, range, function);
        let column = Column { labels, values };
        if !column.is_empty() {
            context.usage.hold(columns.len() + 1, context.grid.len())?;
            columns.push(column);
        }
        Ok::<_, QueryError>(())
    };
    match expr {
        Expr::Paren(paren) => return windows(context, &paren.expr, function),
        Expr::MatrixSelector(matrix) => {
            let range = millis(matrix.range);
            let shift = Shift::new(matrix.vs.offset.as_ref(), matrix.vs.at.as_ref(), context.query);
            let (first, last) = shift.span(context.grid);
            let from = first.saturating_sub(range).saturating_add(1);
            let mut selection = open(context, &matrix.vs, from, last)?;
            for index in 0..selection.count() {
                let mut samples = selection.read(index, from, last)?;
                context.usage.read(samples.len())?;
                drop_stale(&mut samples);
                push(selection.labels(index), &samples, &shift, range)?;
            }
        }
        Expr::Subquery(subquery) => {
            let range = millis(subquery.range);
            let shift = Shift::new(subquery.offset.as_ref(), subquery.at.as_ref(), context.query);
            let grid = subquery_grid(context.grid, subquery, &shift, range)?;
            let inner = Context { grid, depth: context.depth + 1, ..*context };
            for column in inner.vector(&subquery.expr)? {
                context.usage.read(column.values.len())?;
                let times = grid.times().collect();
                let mut samples = Samples { times, values: column.values, ..Samples::default() };
                drop_stale(&mut samples);
                push(column.labels, &samples, &shift, range)?;
            }
        }
        _ => return Err(QueryError::BadData("expected a range vector".into())),
    }
    Ok(columns)
}

/// The inner steps of a subquery: the multiples of its step in the left-open range before each outer step.
fn subquery_grid(
    outer: Grid,
    subquery: &SubqueryExpr,
    shift: &Shift,
    range: i64,
) -> Result<Grid, QueryError> {
    let step = subquery.step.map_or(SUBQUERY_STEP_MS, |step| (step.as_millis() as i64).max(1));
    let (first, last) = shift.span(outer);
    let after = first.saturating_sub(range);
    let start = (after.div_euclid(step) + 1).saturating_mul(step);
    let grid = Grid { start, end: last, step };
    if grid.len() > SUBQUERY_STEPS_MAX {
        return Err(QueryError::execution(format!(
            "subquery has {} steps; at most {SUBQUERY_STEPS_MAX} are evaluated",
            grid.len()
        )));
    }
    Ok(grid)
}

/// Range vectors do not see staleness markers.
fn drop_stale(samples: &mut Samples) {
    if samples.values.iter().any(|&value| is_absent(value)) {
        let kept = samples.values.iter().map(|&value| !is_absent(value)).collect::<Vec<_>>();
        let mut flags = kept.iter();
        samples.times.retain(|_| *flags.next().unwrap_or(&false));
        samples.values.retain(|&value| !is_absent(value));
    }
}

fn slide(
    grid: Grid,
    samples: &Samples,
    shift: &Shift,
    range: i64,
    function: &mut dyn FnMut(usize, &Window<'_>) -> Option<f64>,
) -> Vec<f64> {
    let (mut low, mut high) = (0, 0);
    let mut values = Vec::with_capacity(grid.len());
    for (index, step) in grid.times().enumerate() {
        let end = shift.look(step);
        let start = end.saturating_sub(range);
        while high < samples.times.len() && samples.times[high] <= end {
            high += 1;
        }
        while low < high && samples.times[low] <= start {
            low += 1;
        }
        let window = Window {
            times: &samples.times[low..high],
            values: &samples.values[low..high],
            start,
            end,
            at: step,
        };
        let value = if low == high { None } else { function(index, &window) };
        values.push(value.unwrap_or(ABSENT));
    }
    values
}
