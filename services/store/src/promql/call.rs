//! Function calls: who answers which.

use super::calendar;
use super::eval::{Context, distinct};
use super::functions::{absent, arithmetic, histograms, info, labels, sorting};
use super::limits::QueryError;
use super::range::{self, Help, RangeFunction, Sliding};
use super::select;
use super::syntax::{Call, Expr, Extension, Span};
use super::value::{Column, Point, Value, is_absent};
use crate::series::{Labels, METRIC_NAME};

/// Range functions that know what to do with `anchored`, in the order in which the error names them.
const ANCHORED: [&str; 5] = ["changes", "delta", "increase", "rate", "resets"];

/// Those that know `smoothed`.
const SMOOTHED: [&str; 3] = ["delta", "increase", "rate"];

/// Endings of counters' names.
const COUNTER_ENDINGS: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];

/// Evaluates a call.
///
/// # Errors
/// What the arguments or the function say.
pub(super) fn eval(context: &Context<'_>, call: &Call) -> Result<Value, QueryError> {
    let (name, args) = (call.name, call.args.as_slice());
    if let Some(function) = range::named(name) {
        let columns = over_range(context, call, function)?;
        return Ok(Value::Vector(match name {
            "absent_over_time" => vec![absent::of(&columns, &args[0], context.grid.len())],
            _ => columns,
        }));
    }
    if let Some(function) = arithmetic::named(name) {
        let columns = context.vector(&args[0])?;
        return Ok(Value::Vector(columns.into_iter().map(|column| column.map(|_, v| function(v))).collect()));
    }
    if let Some(function) = calendar::named(name) {
        let columns = match args.first() {
            Some(arg) => context.vector(arg)?,
            None => vec![Column::floats(Labels::empty(), context.seconds())],
        };
        return Ok(Value::Vector(columns.into_iter().map(|column| column.map(|_, v| function(v))).collect()));
    }
    if let Some(values) = number(context, name, args)? {
        return Ok(Value::Scalar(values));
    }
    vector(context, call).map(Value::Vector)
}

/// The functions that give a number.
fn number(context: &Context<'_>, name: &str, args: &[Expr]) -> Result<Option<Vec<f64>>, QueryError> {
    let query = context.query;
    let same = |value: f64| vec![value; context.grid.len()];
    let both = |choose: fn(f64, f64) -> f64| -> Result<Vec<f64>, QueryError> {
        let (a, b) = (context.scalar(&args[0])?, context.scalar(&args[1])?);
        Ok(a.into_iter()
            .zip(b)
            .map(|(a, b)| if a.is_nan() || b.is_nan() { f64::NAN } else { choose(a, b) })
            .collect())
    };
    Ok(Some(match name {
        "time" => context.seconds(),
        "pi" => same(std::f64::consts::PI),
        "start" => same(query.start as f64 / 1000.0),
        "end" => same(query.end as f64 / 1000.0),
        "range" => same((query.end - query.start) as f64 / 1000.0),
        "step" => same(if query.start == query.end { 0.0 } else { query.step as f64 / 1000.0 }),
        "max_of" => both(f64::max)?,
        "min_of" => both(f64::min)?,
        "scalar" => arithmetic::scalar(&context.vector(&args[0])?, context.grid.len()),
        _ => return Ok(None),
    }))
}

/// The functions that give an instant vector.
fn vector(context: &Context<'_>, call: &Call) -> Result<Vec<Column>, QueryError> {
    let args = call.args.as_slice();
    match call.name {
        "vector" => Ok(vec![Column::floats(Labels::empty(), context.scalar(&args[0])?)]),
        "timestamp" | "start_timestamp" => timestamp(context, &args[0], call.name == "timestamp"),
        "absent" => {
            let columns = context.vector(&args[0])?;
            Ok(vec![absent::of(&columns, &args[0], context.grid.len())])
        }
        "round" => arithmetic::round(context, args),
        "clamp" | "clamp_min" | "clamp_max" => arithmetic::clamp(context, call.name, args),
        "histogram_count" => histograms::each(context, &args[0], |h| h.count),
        "histogram_sum" => histograms::each(context, &args[0], |h| h.sum),
        "histogram_avg" => histograms::each(context, &args[0], |h| h.sum / h.count),
        "histogram_stdvar" => histograms::each(context, &args[0], super::native::variance),
        "histogram_stddev" => histograms::each(context, &args[0], |h| super::native::variance(h).sqrt()),
        "histogram_quantile" => histograms::quantile(context, args),
        "histogram_quantiles" => histograms::quantiles(context, args),
        "histogram_fraction" => histograms::fraction(context, args),
        "label_replace" => labels::replace(context, args),
        "label_join" => labels::join(context, args),
        "info" => info::eval(context, args),
        name => sorting::eval(context, name, call),
    }
}

fn over_range(
    context: &Context<'_>,
    call: &Call,
    function: RangeFunction,
) -> Result<Vec<Column>, QueryError> {
    let (name, args) = (call.name, &call.args);
    let is_range = |arg: &&Expr| matches!(arg.bare(), Expr::Matrix(_) | Expr::Subquery(_));
    let Some(vector) = args.iter().find(is_range) else {
        return Err(QueryError::BadData(format!("{name}() needs a range vector")));
    };
    check_extension(vector.bare(), name)?;
    let scalars = args.iter().filter(|arg| !is_range(arg)).map(|arg| context.scalar(arg));
    let scalars = scalars.collect::<Result<Vec<_>, _>>()?;
    let mut numbers = vec![0.0; scalars.len()];
    let span = args[0].span();
    let sliding = Sliding::named(name);
    let mut columns = select::windows(context, vector, sliding, &mut |step, window| {
        numbers.iter_mut().zip(&scalars).for_each(|(number, all)| *number = all[step]);
        range::check(name, &numbers)?;
        Ok(function(window, &Help { numbers: &numbers, notes: context.notes, span }))
    })?;
    if matches!(name, "rate" | "increase") {
        columns.iter().for_each(|column| doubt_counter(context, span, column));
    }
    if !matches!(name, "last_over_time" | "first_over_time") {
        columns.iter_mut().for_each(|column| column.drop_name = true);
    }
    Ok(columns)
}

/// Tells when something is counted whose name is not a counter's.
fn doubt_counter(context: &Context<'_>, span: Span, column: &Column) {
    let name = column.labels.get(METRIC_NAME);
    if name.is_empty() || COUNTER_ENDINGS.iter().any(|end| name.ends_with(end)) {
        return;
    }
    if column.values.iter().any(|value| !is_absent(*value)) {
        let text = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket:";
        context.notes.info(span, format!("{text} {name:?}"));
    }
}

fn check_extension(vector: &Expr, name: &str) -> Result<(), QueryError> {
    let Expr::Matrix(matrix) = vector else { return Ok(()) };
    let (word, known): (_, &[&str]) = match matrix.selector.extension {
        Extension::None => return Ok(()),
        Extension::Anchored => ("anchored", &ANCHORED),
        Extension::Smoothed => ("smoothed", &SMOOTHED),
    };
    if known.contains(&name) {
        return Ok(());
    }
    let known = known.join(", ");
    Err(QueryError::execution(format!("{word} modifier can only be used with: {known} - not with {name}")))
}

/// The time of each sample, or that of its counter's start; of anything but a selector the time of the step.
fn timestamp(context: &Context<'_>, arg: &Expr, of_sample: bool) -> Result<Vec<Column>, QueryError> {
    if let Expr::Vector(selected) = arg.bare() {
        let see = |time, _, began: Option<i64>| {
            let time = if of_sample { time } else { began.unwrap_or_default() };
            Some(Point::Float(time as f64 / 1000.0))
        };
        let mut columns = select::instant_by(context, selected, Some(&see))?;
        columns.iter_mut().for_each(|column| column.drop_name = true);
        return Ok(columns);
    }
    let (times, columns) = (context.seconds(), context.vector(arg)?);
    if !of_sample {
        // What an expression gives has no start.
        return Ok(Vec::new());
    }
    let columns = columns.into_iter().map(|column| {
        let present: Vec<bool> = (0..times.len()).map(|step| column.has(step)).collect();
        let mut timed = Column::absent(column.labels, times.len());
        timed.drop_name = true;
        for step in present.iter().enumerate().filter(|(_, present)| **present).map(|(step, _)| step) {
            timed.values[step] = times[step];
        }
        timed
    });
    Ok(columns.collect())
}

/// Whether a label is the metric's name: a function that sets it keeps it.
pub(super) fn sets_name(label: &str, columns: Vec<Column>) -> Result<Vec<Column>, QueryError> {
    let one = |mut column: Column| {
        if label == METRIC_NAME {
            column.drop_name = false;
        }
        column
    };
    distinct(columns.into_iter().map(one).collect())
}
