//! Aggregations that make one sample of many: sum, avg, min, max, count, group, stddev, stdvar, quantile.

use std::sync::Arc;

use super::super::eval::Context;
use super::super::kahan::{self, Kahan, Mean};
use super::super::limits::QueryError;
use super::super::native;
use super::super::notes::{ignored_in, invalid_quantile, mixed_schemas, reconciled, reset_collision};
use super::super::syntax::{Aggregate, Aggregation, Span};
use super::super::value::{ABSENT, Column, Point, is_absent};
use super::{Group, groups};
use crate::histogram::Histogram;
use crate::series::METRIC_NAME;

/// What a group has at one step.
struct Members<'a> {
    floats: Vec<f64>,
    histograms: Vec<(&'a Arc<Histogram>, &'a Column)>,
}

/// sum, avg, min, max, count, group, stddev and stdvar.
pub(super) fn eval(context: &Context<'_>, expr: &Aggregate) -> Result<Vec<Column>, QueryError> {
    let columns = context.vector(&expr.inner)?;
    let (operator, span) = (expr.operator, expr.inner.span());
    if columns.iter().all(|column| column.histograms.is_empty()) {
        let groups = groups(&columns, &expr.grouping);
        let steps = context.grid.len();
        let done = match operator {
            Aggregation::Sum => Some(of_floats::<Kahan>(&columns, &groups, steps)),
            Aggregation::Avg => Some(of_floats::<Mean>(&columns, &groups, steps)),
            Aggregation::Min => Some(of_floats::<Extreme<true>>(&columns, &groups, steps)),
            Aggregation::Max => Some(of_floats::<Extreme<false>>(&columns, &groups, steps)),
            Aggregation::Count => Some(of_floats::<Count>(&columns, &groups, steps)),
            _ => None,
        };
        if let Some(done) = done {
            return Ok(done);
        }
    }
    let one = |members: &Members<'_>, _: usize| reduce(context, operator, span, members);
    Ok(each(&columns, groups(&columns, &expr.grouping), context.grid.len(), one))
}

/// quantile(φ, v), with a φ for each step.
pub(super) fn quantile(
    context: &Context<'_>,
    expr: &Aggregate,
    phi: &[f64],
) -> Result<Vec<Column>, QueryError> {
    let columns = context.vector(&expr.inner)?;
    let wrong = phi.iter().copied().filter(|phi| !(0.0..=1.0).contains(phi));
    let (low, high) =
        wrong.clone().fold((f64::NAN, f64::NAN), |(low, high), phi| (low.min(phi), high.max(phi)));
    let at = expr.parameter.as_ref().map_or(expr.span, |parameter| parameter.span());
    let nan = wrong.clone().find(|phi| phi.is_nan());
    for wrong in nan.into_iter().chain([low, high].into_iter().filter(|phi| *phi < 0.0 || *phi > 1.0)) {
        context.notes.warn(at, invalid_quantile(wrong));
    }
    let span = expr.inner.span();
    let one = |members: &Members<'_>, step: usize| {
        ignore(context, span, "quantile", members);
        (!members.floats.is_empty()).then(|| Point::Float(kahan::quantile(phi[step], &members.floats)))
    };
    Ok(each(&columns, groups(&columns, &expr.grouping), context.grid.len(), one))
}

/// What is made of numbers one after the other.
trait Running: Copy + Default {
    fn take(&mut self, value: f64);
    fn result(self) -> f64;
}

impl Running for Kahan {
    #[inline]
    fn take(&mut self, value: f64) {
        self.add(value);
    }

    fn result(self) -> f64 {
        self.total()
    }
}

impl Running for Mean {
    #[inline]
    fn take(&mut self, value: f64) {
        self.add(value);
    }

    fn result(self) -> f64 {
        self.total()
    }
}

#[derive(Clone, Copy, Default)]
struct Count(f64);

impl Running for Count {
    #[inline]
    fn take(&mut self, _: f64) {
        self.0 += 1.0;
    }

    fn result(self) -> f64 {
        self.0
    }
}

/// The least or the greatest so far; a number beats NaN.
#[derive(Clone, Copy)]
struct Extreme<const LEAST: bool>(f64);

impl<const LEAST: bool> Default for Extreme<LEAST> {
    fn default() -> Self {
        Extreme(f64::NAN)
    }
}

impl<const LEAST: bool> Running for Extreme<LEAST> {
    #[inline]
    fn take(&mut self, value: f64) {
        if if LEAST { value < self.0 } else { value > self.0 } || self.0.is_nan() {
            self.0 = value;
        }
    }

    fn result(self) -> f64 {
        self.0
    }
}

/// Column by column, as they lie in memory: each step takes its members' values in the order of the members all the same.
fn of_floats<R: Running>(columns: &[Column], groups: &[Group], steps: usize) -> Vec<Column> {
    let mut running: Vec<(R, bool)> = Vec::new();
    let one = |group: &Group| {
        running.clear();
        running.resize(steps, (R::default(), false));
        for &member in &group.members {
            for ((running, any), &value) in running.iter_mut().zip(&columns[member].values) {
                if !is_absent(value) {
                    running.take(value);
                    *any = true;
                }
            }
        }
        let values = running.iter().map(|(running, any)| if *any { running.result() } else { ABSENT });
        let mut result = Column::floats(group.labels.clone(), values.collect());
        result.drop_name = group.drop_name;
        result
    };
    groups.iter().map(one).collect()
}

fn each(
    columns: &[Column],
    groups: Vec<Group>,
    steps: usize,
    reduce: impl Fn(&Members<'_>, usize) -> Option<Point>,
) -> Vec<Column> {
    let has_histograms = columns.iter().any(|column| !column.histograms.is_empty());
    let mut members = Members { floats: Vec::new(), histograms: Vec::new() };
    let mut results = Vec::with_capacity(groups.len());
    for group in groups {
        let mut result = Column::absent(group.labels.clone(), steps);
        result.drop_name = group.drop_name;
        for step in 0..steps {
            members.floats.clear();
            members.histograms.clear();
            let all = group.members.iter().map(|&member| &columns[member]);
            members
                .floats
                .extend(all.clone().map(|column| column.values[step]).filter(|&value| !is_absent(value)));
            if has_histograms {
                let histograms = all.filter_map(|column| Some((column.histogram(step)?, column)));
                members.histograms.extend(histograms);
            }
            if members.floats.is_empty() && members.histograms.is_empty() {
                continue;
            }
            match reduce(&members, step) {
                Some(Point::Float(value)) => result.values[step] = value,
                None => {}
                some => result.set(step, some),
            }
        }
        results.push(result);
    }
    results
}

fn ignore(context: &Context<'_>, span: Span, name: &str, members: &Members<'_>) {
    if !members.histograms.is_empty() {
        context.notes.info(span, ignored_in(name));
    }
}

fn reduce(context: &Context<'_>, operator: Aggregation, span: Span, members: &Members<'_>) -> Option<Point> {
    let floats = members.floats.as_slice();
    let of_floats = |function: &dyn Fn(&[f64]) -> f64| {
        ignore(context, span, operator.name(), members);
        (!floats.is_empty()).then(|| Point::Float(function(floats)))
    };
    match operator {
        Aggregation::Count => Some(Point::Float((floats.len() + members.histograms.len()) as f64)),
        Aggregation::Group => Some(Point::Float(1.0)),
        Aggregation::Min => of_floats(&|values| extreme(values, |new, old| new < old)),
        Aggregation::Max => of_floats(&|values| extreme(values, |new, old| new > old)),
        Aggregation::Stddev => of_floats(&|values| variance(values).sqrt()),
        Aggregation::Stdvar => of_floats(&variance),
        _ if members.histograms.is_empty() => Some(Point::Float(match operator {
            Aggregation::Sum => kahan::sum(floats),
            _ => kahan::mean(floats),
        })),
        _ if !floats.is_empty() => {
            context.notes.warn(span, "encountered a mix of histograms and floats for aggregation");
            None
        }
        _ => of_histograms(context, operator, span, members),
    }
}

fn of_histograms(
    context: &Context<'_>,
    operator: Aggregation,
    span: Span,
    members: &Members<'_>,
) -> Option<Point> {
    let mut all = members.histograms.iter().map(|(histogram, _)| &***histogram);
    let total = if operator == Aggregation::Sum { native::sum(&mut all) } else { native::mean(&mut all) };
    match total {
        Ok(mut total) => {
            if total.collision {
                context.notes.warn(span, reset_collision("aggregation"));
            }
            if total.reconciled {
                context.notes.info(span, reconciled("aggregation"));
            }
            native::compact(&mut total.histogram);
            Some(Point::calculated(total.histogram))
        }
        Err(native::Incompatible) => {
            // The first one whose buckets are of the other kind is told.
            let custom = members.histograms[0].0.is_custom();
            let other = members.histograms.iter().find(|(histogram, _)| histogram.is_custom() != custom);
            let name = other.map_or("", |(_, column)| column.labels.get(METRIC_NAME));
            context.notes.warn(span, mixed_schemas(name));
            None
        }
    }
}

/// The extreme by `beats`; a number beats NaN.
fn extreme(values: &[f64], beats: fn(f64, f64) -> bool) -> f64 {
    values.iter().copied().fold(f64::NAN, |old, new| if beats(new, old) || old.is_nan() { new } else { old })
}

/// The population variance; anything that is not finite makes it NaN.
fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares, mut count) = (values[0], 0.0, 1.0);
    if !mean.is_finite() {
        squares = f64::NAN;
    }
    for value in &values[1..] {
        count += 1.0;
        let delta = value - mean;
        mean += delta / count;
        squares += delta * (value - mean);
    }
    squares / count
}
