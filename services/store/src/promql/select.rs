//! Selectors: instant vectors with look-back, and windows over ranges and subqueries.

use std::sync::Arc;

use super::coarse::{self, Coarse};
use super::eval::Context;
use super::limits::QueryError;
use super::placement::{Shift, milliseconds};
use super::range::{Reach, Sliding};
use super::syntax::{Expr, Extension, Matrix, Subquery, VectorSelector};
use super::value::{Column, Grid, Point, Track, is_absent};
use super::{LOOKBACK_MS, Selection, extend};
use crate::histogram::{Histogram, ResetHint};
use crate::series::{Labels, METRIC_NAME};
use crate::tiers::Grain;

/// A subquery without a step takes this one: Prometheus' default evaluation interval.
const SUBQUERY_STEP_MS: i64 = 60_000;

/// Steps that one subquery may have.
const SUBQUERY_STEPS_MAX: usize = 1_000_000;

/// The samples that a range function sees at one step: those in (start, end], and with an extension some around.
#[derive(Debug)]
pub(super) struct Window<'a> {
    pub(super) times: &'a [i64],
    pub(super) values: &'a [f64],
    pub(super) starts: &'a [i64],
    pub(super) histograms: &'a [(i64, Arc<Histogram>)],
    pub(super) histogram_starts: &'a [i64],
    pub(super) start: i64,
    pub(super) end: i64,
    /// The time of the step; it differs from `end` by offset and `@`.
    pub(super) at: i64,
    pub(super) extension: Extension,
    /// The metric's name.
    pub(super) name: &'a str,
}

/// Reads the series of a selector one after the other.
pub(super) fn each_series(
    context: &Context<'_>,
    selected: &VectorSelector,
    from: i64,
    to: i64,
    mut take: impl FnMut(Labels, Track) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    let mut selection = context.source.select(&selected.matchers, from, to);
    context.usage.hold(selection.count(), 1)?;
    for index in 0..selection.count() {
        if let Some(track) = one_series(context, &mut *selection, index, (from, to))? {
            take(selection.labels(index), track)?;
        }
    }
    Ok(())
}

/// The samples of one series, if there are any.
fn one_series(
    context: &Context<'_>,
    selection: &mut dyn Selection,
    index: usize,
    (from, to): (i64, i64),
) -> Result<Option<Track>, QueryError> {
    let mut track = selection.read(index, from, to)?;
    context.usage.read(track.len())?;
    if context.statistics {
        find_resets(&mut track);
    }
    Ok(Some(track).filter(|track| !track.is_empty()))
}

/// Says of each histogram whether the counter began anew with it, where nothing is said yet.
fn find_resets(track: &mut Track) {
    let mut before: Option<Arc<Histogram>> = None;
    for (_, histogram) in &mut track.histograms {
        let now = histogram.clone();
        if let (Some(before), ResetHint::Unknown) = (&before, now.reset_hint) {
            let reset = super::native::is_reset(&now, before);
            Arc::make_mut(histogram).reset_hint = if reset { ResetHint::Reset } else { ResetHint::NotReset };
        }
        before = Some(now);
    }
}

/// The samples that an instant selector sees.
///
/// # Errors
/// What reading or the limits say.
pub(super) fn instant(context: &Context<'_>, selected: &VectorSelector) -> Result<Vec<Column>, QueryError> {
    if selected.extension == Extension::Smoothed {
        return extend::smoothed_instant(context, selected);
    }
    instant_by(context, selected, None)
}

/// What becomes of a sample, by its time and its counter's start.
pub(super) type See<'a> = &'a dyn Fn(i64, Point, Option<i64>) -> Option<Point>;

/// The values that a plain series has at the steps.
fn looked_up(grid: Grid, shift: &Shift, track: &Track, values: &mut [f64]) {
    let mut next = 0;
    for (place, time) in values.iter_mut().zip(grid.times()) {
        let look = shift.look(time);
        while next < track.times.len() && track.times[next] <= look {
            next += 1;
        }
        // A marker of staleness is what stands where nothing is.
        if next > 0 && track.times[next - 1] > look.saturating_sub(LOOKBACK_MS) {
            *place = track.values[next - 1];
        }
    }
}

/// As [`instant`], each sample by way of a function, if there is one.
pub(super) fn instant_by(
    context: &Context<'_>,
    selected: &VectorSelector,
    see: Option<See<'_>>,
) -> Result<Vec<Column>, QueryError> {
    let grid = context.grid;
    if grid.is_empty() {
        return Ok(Vec::new());
    }
    let shift = Shift::new(context, &selected.placement)?;
    let (first, last) = shift.span(grid);
    let mut columns = Vec::new();
    let span = (first.saturating_sub(LOOKBACK_MS) + 1, last);
    let mut selection = context.source.select(&selected.matchers, span.0, span.1);
    context.usage.hold(selection.count(), 1)?;
    let by_buckets =
        see.is_none() && first < last && selection.coarsen(Grain::of(first, grid.step, LOOKBACK_MS));
    for index in 0..selection.count() {
        let mut track = None;
        if by_buckets {
            track = coarse::last(context, &mut *selection, index, span)?;
        }
        if track.is_none() {
            track = one_series(context, &mut *selection, index, span)?;
        }
        let Some(track) = track.filter(|track| !track.is_empty()) else { continue };
        let labels = selection.labels(index);
        let mut column = Column::absent(labels, grid.len());
        let (mut floats, mut histograms) = (0, 0);
        let plain = see.is_none() && track.is_plain();
        if plain {
            looked_up(grid, &shift, &track, &mut column.values);
        }
        let see = |time, point, began| match see {
            Some(see) => see(time, point, began),
            None => Some(point),
        };
        for (step, time) in grid.times().enumerate().filter(|_| !plain) {
            if shift.is_fixed() && step > 0 {
                column.set(step, column.point(0));
                continue;
            }
            let look = shift.look(time);
            while floats < track.times.len() && track.times[floats] <= look {
                floats += 1;
            }
            while histograms < track.histograms.len() && track.histograms[histograms].0 <= look {
                histograms += 1;
            }
            let oldest = look.saturating_sub(LOOKBACK_MS);
            let float = floats.checked_sub(1).filter(|&at| track.times[at] > oldest);
            let histogram = histograms.checked_sub(1).filter(|&at| track.histograms[at].0 > oldest);
            let newer = |at: usize| float.is_none_or(|float| track.times[float] < track.histograms[at].0);
            if let Some(at) = histogram.filter(|&at| newer(at)) {
                let (time, seen) = &track.histograms[at];
                if !seen.is_stale() {
                    let began = track.histogram_starts.get(at).copied();
                    column.set(step, see(*time, Point::Histogram(seen.clone()), began));
                }
            } else if let Some(at) = float.filter(|&at| !is_absent(track.values[at])) {
                let point =
                    see(track.times[at], Point::Float(track.values[at]), track.starts.get(at).copied());
                match point {
                    Some(Point::Float(value)) => column.values[step] = value,
                    other => column.set(step, other),
                }
            }
        }
        if !column.is_empty() {
            columns.push(column);
            context.usage.hold(columns.len(), grid.len())?;
        }
    }
    Ok(columns)
}

/// What a window function gives at a step.
pub(super) type Seen = Result<Option<Point>, QueryError>;

/// Calls `function` with the window of every step of every series of a range vector (inside of all parentheses).
/// The columns keep their names; those of a subquery keep what it says of them. `sliding` is the same function for all windows of
/// plain numbers at once, where there is one.
///
/// # Errors
/// What reading, the limits or the function says.
pub(super) fn windows(
    context: &Context<'_>,
    expr: &Expr,
    sliding: Option<Sliding>,
    function: &mut dyn FnMut(usize, &Window<'_>) -> Seen,
) -> Result<Vec<Column>, QueryError> {
    let mut columns = Vec::new();
    let grid = context.grid;
    if grid.is_empty() {
        return Ok(columns);
    }
    let mut keep = |mut column: Column, drop_name: bool| -> Result<(), QueryError> {
        if !column.is_empty() {
            column.drop_name = drop_name;
            columns.push(column);
            context.usage.hold(columns.len(), grid.len())?;
        }
        Ok(())
    };
    let mut shared = Shared::default();
    let mut see = |labels: Labels, track: &Track, frame: &Frame| {
        let values = sliding
            .filter(|_| track.is_plain())
            .and_then(|all| at_once(grid, track, frame, all, &mut shared));
        match values {
            Some(values) => Ok(Column::floats(labels, values)),
            None => slide(grid, labels, track, frame, function),
        }
    };
    match expr.bare() {
        Expr::Matrix(matrix) => {
            let frame = Frame::new(context, matrix)?;
            let span = frame.span(grid);
            let mut selection = context.source.select(&matrix.selector.matchers, span.0, span.1);
            context.usage.hold(selection.count(), 1)?;
            let windows = |times: &[i64]| frame.reach(grid, times);
            let coarse = sliding
                .filter(|function| coarse::knows(*function) && frame.extension == Extension::None)
                .map(|function| Coarse { grain: frame.grain(grid), function, windows: &windows })
                .filter(|coarse| selection.coarsen(coarse.grain));
            for index in 0..selection.count() {
                if let Some(coarse) = &coarse
                    && let Some(values) = coarse.values(context, &mut *selection, index, span)?
                {
                    keep(Column::floats(selection.labels(index), values), false)?;
                } else if let Some(mut track) = one_series(context, &mut *selection, index, span)? {
                    track.drop_stale();
                    keep(see(selection.labels(index), &track, &frame)?, false)?;
                }
            }
        }
        Expr::Subquery(subquery) => {
            let shift = Shift::new(context, &subquery.placement)?;
            let range = milliseconds(context, &subquery.range, false)?;
            let columns = subquery_columns(context, subquery, &shift, range)?;
            let frame = Frame { shift, range, extension: Extension::None };
            for (labels, drop_name, track) in columns {
                context.usage.read(track.len())?;
                keep(see(labels, &track, &frame)?, drop_name)?;
            }
        }
        _ => return Err(QueryError::BadData("expected a range vector".into())),
    }
    Ok(columns)
}

/// Where windows lie.
struct Frame {
    shift: Shift,
    range: i64,
    extension: Extension,
}

impl Frame {
    fn new(context: &Context<'_>, matrix: &Matrix) -> Result<Frame, QueryError> {
        Ok(Frame {
            shift: Shift::new(context, &matrix.selector.placement)?,
            range: milliseconds(context, &matrix.range, false)?,
            extension: matrix.selector.extension,
        })
    }

    /// How far before the window's start and after its end samples count.
    fn margins(&self) -> (i64, i64) {
        match self.extension {
            Extension::None => (0, 0),
            Extension::Anchored => (LOOKBACK_MS, 0),
            Extension::Smoothed => (LOOKBACK_MS, LOOKBACK_MS),
        }
    }

    /// Where the windows lie, for choosing between samples and buckets.
    fn grain(&self, grid: Grid) -> Grain {
        let (first, last) = self.shift.span(grid);
        if first == last {
            return Grain::Window(first.saturating_sub(self.range), first);
        }
        Grain::of(first, grid.step, self.range)
    }

    /// The windows of a grid over samples with these times.
    fn reach(&self, grid: Grid, times: &[i64]) -> Vec<Reach> {
        let mut bounds = Bounds::default();
        let reach = |at: i64| {
            let end = self.shift.look(at);
            let start = end.saturating_sub(self.range);
            let span = bounds.slide(times, |time| *time, start, end);
            Reach::of(times, span, (start, end))
        };
        grid.times().map(reach).collect()
    }

    /// The first and the last time that samples are needed of.
    fn span(&self, grid: Grid) -> (i64, i64) {
        let (first, last) = self.shift.span(grid);
        let (before, after) = self.margins();
        (first.saturating_sub(self.range + before) + 1, last.saturating_add(after))
    }
}

/// A subquery's series over its own steps, without staleness markers.
fn subquery_columns(
    context: &Context<'_>,
    subquery: &Subquery,
    shift: &Shift,
    range: i64,
) -> Result<Vec<(Labels, bool, Track)>, QueryError> {
    let step = match &subquery.step {
        None => SUBQUERY_STEP_MS,
        Some(step) => milliseconds(context, step, false)?.max(1),
    };
    let (first, last) = shift.span(context.grid);
    let oldest = first.saturating_sub(range);
    // Steps are multiples of the step's length since the epoch, the first one after the start.
    let start = (oldest.div_euclid(step) + 1) * step;
    let grid = Grid { start, end: last, step };
    if grid.len() > SUBQUERY_STEPS_MAX {
        return Err(QueryError::execution(format!(
            "subquery has {} steps; at most {SUBQUERY_STEPS_MAX} are evaluated",
            grid.len()
        )));
    }
    let inner = Context { grid, depth: context.depth + 1, statistics: false, ..*context };
    let columns = inner.vector(&subquery.inner)?;
    Ok(columns
        .into_iter()
        .map(|column| (column.labels.clone(), column.drop_name, track_of(column, grid)))
        .collect())
}

fn track_of(column: Column, grid: Grid) -> Track {
    let mut track = Track::default();
    for (step, time) in grid.times().enumerate() {
        match column.point(step) {
            Some(Point::Float(value)) => {
                track.times.push(time);
                track.values.push(value);
            }
            Some(Point::Histogram(mut histogram)) => {
                // Samples between the steps are not seen, so what the hint says of the one before does not hold.
                if matches!(histogram.reset_hint, ResetHint::Reset | ResetHint::NotReset) {
                    Arc::make_mut(&mut histogram).reset_hint = ResetHint::Unknown;
                }
                track.histograms.push((time, histogram));
            }
            None => {}
        }
    }
    track
}

/// Indexes that follow a window's bounds as it slides: those of times after `start` and not after `end`.
#[derive(Default)]
struct Bounds {
    low: usize,
    high: usize,
}

impl Bounds {
    fn slide<T>(
        &mut self,
        list: &[T],
        time: impl Fn(&T) -> i64,
        start: i64,
        end: i64,
    ) -> std::ops::Range<usize> {
        while self.high < list.len() && time(&list[self.high]) <= end {
            self.high += 1;
        }
        while self.low < self.high && time(&list[self.low]) <= start {
            self.low += 1;
        }
        self.low..self.high
    }
}

/// The windows of the series before: mostly those of the next one too.
#[derive(Default)]
struct Shared {
    times: Vec<i64>,
    windows: Vec<Reach>,
}

/// All windows at once; `None` when they must be looked at one by one.
fn at_once(
    grid: Grid,
    track: &Track,
    frame: &Frame,
    function: Sliding,
    shared: &mut Shared,
) -> Option<Vec<f64>> {
    if frame.extension != Extension::None {
        return None;
    }
    if shared.times != track.times || shared.windows.is_empty() {
        shared.windows = frame.reach(grid, &track.times);
        shared.times.clone_from(&track.times);
    }
    function.over(&track.values, &shared.windows)
}

fn slide(
    grid: Grid,
    labels: Labels,
    track: &Track,
    frame: &Frame,
    function: &mut dyn FnMut(usize, &Window<'_>) -> Seen,
) -> Result<Column, QueryError> {
    let mut column = Column::absent(labels.clone(), grid.len());
    let (mut floats, mut histograms) = (Bounds::default(), Bounds::default());
    let (before, after) = frame.margins();
    let name = labels.get(METRIC_NAME);
    for (step, at) in grid.times().enumerate() {
        let end = frame.shift.look(at);
        let start = end.saturating_sub(frame.range);
        let (oldest, newest) = (start.saturating_sub(before), end.saturating_add(after));
        let floats = floats.slide(&track.times, |time| *time, oldest, newest);
        let histograms = histograms.slide(&track.histograms, |(time, _)| *time, oldest, newest);
        if floats.is_empty() && histograms.is_empty() {
            continue;
        }
        let window = Window {
            times: &track.times[floats.clone()],
            values: &track.values[floats.clone()],
            starts: track.starts.get(floats).unwrap_or_default(),
            histograms: &track.histograms[histograms.clone()],
            histogram_starts: track.histogram_starts.get(histograms).unwrap_or_default(),
            start,
            end,
            at,
            extension: frame.extension,
            name,
        };
        match function(step, &window)? {
            Some(Point::Float(value)) => column.values[step] = value,
            None => {}
            some => column.set(step, some),
        }
    }
    Ok(column)
}

/// The samples themselves of a range vector at a single step, sorted by labels.
///
/// # Errors
/// What reading or the limits say.
pub(super) fn raw(context: &Context<'_>, expr: &Expr) -> Result<Vec<(Labels, Track)>, QueryError> {
    let mut all = Vec::new();
    match expr {
        Expr::Matrix(matrix) => {
            let frame = Frame::new(context, matrix)?;
            let (from, to) = frame.span(context.grid);
            let end = frame.shift.look(context.grid.start);
            each_series(context, &matrix.selector, from, to, |labels, mut track| {
                track.drop_stale();
                if frame.extension != Extension::None {
                    track = extend::raw(track, end - frame.range, end, frame.extension);
                }
                if !track.is_empty() {
                    all.push((labels, track));
                }
                Ok(())
            })?;
        }
        Expr::Subquery(subquery) => {
            let shift = Shift::new(context, &subquery.placement)?;
            let range = milliseconds(context, &subquery.range, false)?;
            for (labels, drop_name, track) in subquery_columns(context, subquery, &shift, range)? {
                let labels = if drop_name { super::value::nameless(&labels) } else { labels };
                if !track.is_empty() {
                    all.push((labels, track));
                }
            }
        }
        _ => return Err(QueryError::BadData("expected a range vector".into())),
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(all)
}
