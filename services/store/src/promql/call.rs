//! Function calls.

use promql_parser::label::MatchOp;
use promql_parser::parser::{Call, Expr};

use super::aggregate::compare;
use super::eval::{Context, as_selector, distinct};
use super::limits::QueryError;
use super::value::{ABSENT, Column, Value, is_absent};
use super::{calendar, histogram, label_functions, selector, windows};
use crate::series::{Labels, METRIC_NAME};

/// Evaluates a call.
///
/// # Errors
/// For a function that is not supported, by its name, and what the arguments say.
pub(super) fn eval(context: &Context<'_>, call: &Call) -> Result<Value, QueryError> {
    let (name, args) = (call.func.name, &call.args.args);
    if let Some(function) = windows::named(name) {
        return over_range(context, name, args, function).map(Value::Vector);
    }
    if let Some(function) = mathematical(name) {
        let columns = context.vector(&args[0])?;
        return distinct(columns.into_iter().map(|column| column.map(function)).collect()).map(Value::Vector);
    }
    if let Some(function) = calendar::named(name) {
        let columns = match args.first() {
            Some(arg) => context.vector(arg)?,
            None => vec![Column { labels: Labels::empty(), values: seconds(context) }],
        };
        return distinct(columns.into_iter().map(|column| column.map(function)).collect()).map(Value::Vector);
    }
    match name {
        "time" => Ok(Value::Scalar(seconds(context))),
        "pi" => Ok(Value::Scalar(vec![std::f64::consts::PI; context.grid.len()])),
        "scalar" => Ok(Value::Scalar(scalar(context.vector(&args[0])?, context.grid.len()))),
        _ => vector_function(context, name, call).map(Value::Vector),
    }
}

fn vector_function(context: &Context<'_>, name: &str, call: &Call) -> Result<Vec<Column>, QueryError> {
    let args = &call.args.args;
    match name {
        "vector" => Ok(vec![Column { labels: Labels::empty(), values: context.scalar(&args[0])? }]),
        "timestamp" => timestamp(context, &args[0]),
        "absent" => {
            let columns = context.vector(&args[0])?;
            Ok(vec![absent(&columns, &args[0], context.grid.len())])
        }
        "absent_over_time" => {
            let columns = selector::windows(context, &args[0], &mut |_, _| Some(1.0))?;
            Ok(vec![absent(&columns, &args[0], context.grid.len())])
        }
        "round" => {
            let nearest = match args.get(1) {
                Some(arg) => context.scalar(arg)?,
                None => vec![1.0; context.grid.len()],
            };
            // Prometheus divides by the inverse, so that 0.1 rounds without noise.
            by_step(context.vector(&args[0])?, |step, v| {
                let inverse = 1.0 / nearest[step];
                (v * inverse + 0.5).floor() / inverse
            })
        }
        "clamp" => {
            let (low, high) = (context.scalar(&args[1])?, context.scalar(&args[2])?);
            by_step(context.vector(&args[0])?, |step, v| {
                if high[step] < low[step] { ABSENT } else { clamp(v, low[step], high[step]) }
            })
        }
        "clamp_min" => {
            let low = context.scalar(&args[1])?;
            by_step(context.vector(&args[0])?, |step, v| clamp(v, low[step], f64::INFINITY))
        }
        "clamp_max" => {
            let high = context.scalar(&args[1])?;
            by_step(context.vector(&args[0])?, |step, v| clamp(v, f64::NEG_INFINITY, high[step]))
        }
        "histogram_quantile" => {
            let phi = context.scalar(&args[0])?;
            histogram::quantiles(&context.vector(&args[1])?, &phi)
        }
        "label_replace" => label_functions::replace(context, &call.args),
        "label_join" => label_functions::join(context, &call.args),
        "sort" => Ok(sorted(context.vector(&args[0])?, false)),
        "sort_desc" => Ok(sorted(context.vector(&args[0])?, true)),
        other => Err(QueryError::execution(format!("function {other}() is not supported by this version"))),
    }
}

fn over_range(
    context: &Context<'_>,
    name: &str,
    args: &[Box<Expr>],
    function: windows::WindowFunction,
) -> Result<Vec<Column>, QueryError> {
    // quantile_over_time has its number first, predict_linear second.
    let (range, number) = match (name, args) {
        ("quantile_over_time", [number, range]) => (range, Some(number)),
        (_, [range, number]) => (range, Some(number)),
        (_, [range]) => (range, None),
        _ => return Err(QueryError::BadData(format!("{name}() has the wrong number of arguments"))),
    };
    let numbers = match number {
        Some(number) => context.scalar(number)?,
        None => vec![0.0; context.grid.len()],
    };
    let mut columns = selector::windows(context, range, &mut |step, window| function(window, numbers[step]))?;
    if name != "last_over_time" {
        for column in &mut columns {
            column.labels = column.labels.nameless();
        }
    }
    distinct(columns)
}

fn mathematical(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sgn" => |v| {
            if v > 0.0 {
                1.0
            } else if v < 0.0 {
                -1.0
            } else {
                v
            }
        },
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "deg" => f64::to_degrees,
        "rad" => f64::to_radians,
        _ => return None,
    })
}

fn seconds(context: &Context<'_>) -> Vec<f64> {
    context.grid.times().map(|time| time as f64 / 1000.0).collect()
}

/// NaN stays NaN, as with Go's math.Max and math.Min.
fn clamp(value: f64, low: f64, high: f64) -> f64 {
    if value.is_nan() || low.is_nan() || high.is_nan() { f64::NAN } else { value.max(low).min(high) }
}

fn by_step(columns: Vec<Column>, function: impl Fn(usize, f64) -> f64) -> Result<Vec<Column>, QueryError> {
    let one = |mut column: Column| {
        column.labels = column.labels.nameless();
        for (step, value) in column.values.iter_mut().enumerate().filter(|(_, value)| !is_absent(**value)) {
            *value = function(step, *value);
        }
        column
    };
    distinct(columns.into_iter().map(one).collect())
}

fn scalar(columns: Vec<Column>, steps: usize) -> Vec<f64> {
    let at = |step: usize| {
        let mut present = columns.iter().map(|column| column.values[step]).filter(|&value| !is_absent(value));
        match (present.next(), present.next()) {
            (Some(value), None) => value,
            _ => f64::NAN,
        }
    };
    (0..steps).map(at).collect()
}

/// The time of each sample; of anything but a selector the time of the step.
fn timestamp(context: &Context<'_>, arg: &Expr) -> Result<Vec<Column>, QueryError> {
    if let Some(selected) = as_selector(arg) {
        let mut columns = selector::instant_by(context, selected, |time, _| time as f64 / 1000.0)?;
        columns.iter_mut().for_each(|column| column.labels = column.labels.nameless());
        return distinct(columns);
    }
    let times = seconds(context);
    by_step(context.vector(arg)?, |step, _| times[step])
}

/// 1 at the steps where no column has a value, with the labels that the selector asks to be equal.
fn absent(columns: &[Column], arg: &Expr, steps: usize) -> Column {
    let at = |step: usize| {
        let any = columns.iter().any(|column| !is_absent(column.values[step]));
        if any { ABSENT } else { 1.0 }
    };
    let selected = match arg {
        Expr::MatrixSelector(matrix) => Some(&matrix.vs),
        other => as_selector(other),
    };
    let mut labels = Vec::new();
    for matcher in selected.iter().flat_map(|selected| &selected.matchers.matchers) {
        let same = |other: &(String, String)| other.0 == matcher.name;
        if matches!(matcher.op, MatchOp::Equal) && !labels.iter().any(same) && matcher.name != METRIC_NAME {
            labels.push((matcher.name.clone(), matcher.value.clone()));
        } else {
            labels.retain(|other| !same(other));
        }
    }
    Column { labels: labels.into_iter().collect(), values: (0..steps).map(at).collect() }
}

/// By the value at the first step, as `sort` is of use to instant queries only.
fn sorted(mut columns: Vec<Column>, descending: bool) -> Vec<Column> {
    let first =
        |column: &Column| column.values.first().copied().filter(|&v| !is_absent(v)).unwrap_or(f64::NAN);
    columns.sort_by(|a, b| compare(first(a), first(b), descending));
    columns
}
