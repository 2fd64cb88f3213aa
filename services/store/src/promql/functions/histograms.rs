//! Functions of histograms, native and classic.

use hashbrown::HashMap;

use super::super::eval::Context;
use super::super::limits::QueryError;
use super::super::native::{self, Asked};
use super::super::notes::{for_metric, invalid_quantile};
use super::super::syntax::{Expr, Span};
use super::super::value::{Column, Point, is_absent, plain_number, short_number};
use super::classic;
use crate::histogram::Histogram;
use crate::series::{Labels, METRIC_NAME};

/// The label that holds a classic bucket's bound.
const BOUND: &str = "le";

/// A number of each native histogram; floats are left out.
pub(in super::super) fn each(
    context: &Context<'_>,
    arg: &Expr,
    number: impl Fn(&Histogram) -> f64,
) -> Result<Vec<Column>, QueryError> {
    let columns = context.vector(arg)?;
    let of = |column: Column| {
        let mut result = Column::absent(column.labels.clone(), column.values.len());
        result.drop_name = true;
        for step in 0..column.values.len() {
            if let Some(histogram) = column.histogram(step) {
                result.values[step] = number(histogram);
            }
        }
        result
    };
    Ok(columns.into_iter().map(of).filter(|column| !column.is_empty()).collect())
}

/// A histogram over the steps: a native series, or the buckets of a classic one.
struct Family {
    labels: Labels,
    /// Bound and index of its column.
    buckets: Vec<(f64, usize)>,
    native: Option<usize>,
}

/// Finds the histograms of a vector and calls `number` for each at each step.
fn families(
    context: &Context<'_>,
    arg: &Expr,
    number: &mut dyn FnMut(usize, &Labels, Shape) -> f64,
) -> Result<Vec<Column>, QueryError> {
    let (columns, span) = (context.vector(arg)?, arg.span());
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut families: Vec<Family> = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let mut place = |labels: Labels| {
            let place = *places.entry(labels.clone()).or_insert(families.len());
            if place == families.len() {
                families.push(Family { labels, buckets: Vec::new(), native: None });
            }
            place
        };
        if column.values.iter().any(|&value| !is_absent(value)) {
            match bound(column.labels.get(BOUND)) {
                Some(bound) => {
                    let place = place(column.labels.without(|name| name == BOUND));
                    families[place].buckets.push((bound, index));
                }
                None => context.notes.warn(span, bad_bound(&column.labels)),
            }
        }
        if !column.histograms.is_empty() {
            let place = places.entry(column.labels.clone()).or_insert(families.len());
            match families.get_mut(*place) {
                Some(family) => family.native = Some(index),
                None => families.push(Family {
                    labels: column.labels.clone(),
                    buckets: Vec::new(),
                    native: Some(index),
                }),
            }
        }
    }
    let mut results = Vec::with_capacity(families.len());
    for family in families {
        let mut result = Column::absent(family.labels.clone(), context.grid.len());
        result.drop_name = true;
        for step in 0..context.grid.len() {
            let buckets: Vec<classic::Bucket> = family
                .buckets
                .iter()
                .map(|(bound, index)| (*bound, columns[*index].values[step]))
                .filter(|(_, count)| !is_absent(*count))
                .collect();
            let native = family.native.and_then(|index| columns[index].histogram(step));
            result.values[step] = match (native, buckets.is_empty()) {
                (None, true) => continue,
                (Some(_), false) => {
                    let text = "vector contains a mix of classic and native histograms";
                    context.notes.warn(span, for_metric(text, family.labels.get(METRIC_NAME)));
                    continue;
                }
                (Some(histogram), true) => number(step, &family.labels, Shape::Native(histogram)),
                (None, false) => number(step, &family.labels, Shape::Classic(buckets)),
            };
        }
        if !result.is_empty() {
            results.push(result);
        }
    }
    Ok(results)
}

/// A histogram at one step.
enum Shape<'a> {
    Native(&'a Histogram),
    Classic(Vec<classic::Bucket>),
}

/// A bound as Go's parser reads it.
fn bound(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "+inf" | "inf" | "infinity" | "+infinity" => Some(f64::INFINITY),
        _ => text.parse().ok(),
    }
}

fn bad_bound(labels: &Labels) -> String {
    let text = format!("bucket label \"le\" is missing or has a malformed value of {:?}", labels.get(BOUND));
    for_metric(&text, labels.get(METRIC_NAME))
}

fn check_quantile(context: &Context<'_>, phi: &[f64], span: Span) {
    for &phi in phi.iter().filter(|phi| !(0.0..=1.0).contains(*phi)) {
        context.notes.warn(span, invalid_quantile(phi));
    }
}

/// histogram_quantile(φ, v).
pub(in super::super) fn quantile(context: &Context<'_>, args: &[Expr]) -> Result<Vec<Column>, QueryError> {
    let phi = context.scalar(&args[0])?;
    check_quantile(context, &phi, args[0].span());
    quantile_of(context, &args[1], &phi)
}

fn quantile_of(context: &Context<'_>, arg: &Expr, phi: &[f64]) -> Result<Vec<Column>, QueryError> {
    let (times, span): (Vec<i64>, _) = (context.grid.times().collect(), arg.span());
    families(context, arg, &mut |step, labels, shape| {
        let name = labels.get(METRIC_NAME);
        match shape {
            Shape::Native(histogram) => {
                native::quantile(phi[step], histogram, &Asked { notes: context.notes, span, name })
            }
            Shape::Classic(buckets) => {
                let (value, mended) = classic::quantile(phi[step], buckets, times[step]);
                if let Some(mended) = mended {
                    context.notes.mended(span, "", mended);
                }
                value
            }
        }
    })
}

/// histogram_quantiles(v, label, φ, …): each in a series of its own.
pub(in super::super) fn quantiles(context: &Context<'_>, args: &[Expr]) -> Result<Vec<Column>, QueryError> {
    let label = context.text(&args[1])?;
    let mut all = Vec::new();
    for arg in &args[2..] {
        let phi = context.scalar(arg)?;
        check_quantile(context, &phi, arg.span());
        for column in quantile_of(context, &args[0], &phi)? {
            // The number may differ at each step, and its label with it.
            let mut by_label: Vec<(f64, Column)> = Vec::new();
            for (step, &phi) in phi.iter().enumerate().filter(|(step, _)| column.has(*step)) {
                let same = |(other, _): &(f64, Column)| other.to_bits() == phi.to_bits();
                let place = by_label.iter().position(same).unwrap_or_else(|| {
                    let labels = column.labels.with(&label, &with_point(phi));
                    let mut empty = Column::absent(labels, context.grid.len());
                    empty.drop_name = true;
                    by_label.push((phi, empty));
                    by_label.len() - 1
                });
                by_label[place].1.set(step, Some(Point::Float(column.values[step])));
            }
            all.extend(by_label.into_iter().map(|(_, column)| column));
        }
    }
    super::super::eval::distinct(all)
}

/// A number as OpenMetrics writes it in a label: whole ones with `.0`.
fn with_point(value: f64) -> String {
    let text = short_number(value);
    if value.is_finite() && !text.contains(['.', 'e']) { format!("{}.0", plain_number(value)) } else { text }
}

/// histogram_fraction(lower, upper, v).
pub(in super::super) fn fraction(context: &Context<'_>, args: &[Expr]) -> Result<Vec<Column>, QueryError> {
    let (lower, upper) = (context.scalar(&args[0])?, context.scalar(&args[1])?);
    let span = args[2].span();
    families(context, &args[2], &mut |step, labels, shape| match shape {
        Shape::Native(histogram) => {
            let asked = Asked { notes: context.notes, span, name: labels.get(METRIC_NAME) };
            native::fraction(lower[step], upper[step], histogram, &asked)
        }
        Shape::Classic(buckets) => classic::fraction(lower[step], upper[step], buckets),
    })
}
