//! Which functions there are, what they take and what they give.

use super::ast::Kind;

/// A function's name and types.
#[derive(Debug)]
pub struct Signature {
    /// Its name.
    pub name: &'static str,
    /// Its arguments; the last may be left out when there are variadic ones.
    pub args: &'static [Kind],
    /// How often the last may be left out or repeated: 0 for exactly the arguments, -1 for any number.
    pub variadic: i32,
    /// What it gives.
    pub returns: Kind,
}

const S: Kind = Kind::Scalar;
const V: Kind = Kind::Vector;
const M: Kind = Kind::Matrix;
const T: Kind = Kind::Text;

/// Functions of one instant vector that give one.
const OF_VECTOR: &[&str] = &[
    "abs",
    "absent",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "cos",
    "cosh",
    "deg",
    "exp",
    "floor",
    "histogram_avg",
    "histogram_count",
    "histogram_stddev",
    "histogram_stdvar",
    "histogram_sum",
    "ln",
    "log10",
    "log2",
    "rad",
    "sgn",
    "sin",
    "sinh",
    "sort",
    "sort_desc",
    "sqrt",
    "start_timestamp",
    "tan",
    "tanh",
    "timestamp",
];

/// Functions of one range vector that give an instant one.
const OF_RANGE: &[&str] = &[
    "absent_over_time",
    "avg_over_time",
    "changes",
    "count_over_time",
    "delta",
    "deriv",
    "first_over_time",
    "idelta",
    "increase",
    "irate",
    "last_over_time",
    "mad_over_time",
    "max_over_time",
    "min_over_time",
    "present_over_time",
    "rate",
    "resets",
    "stddev_over_time",
    "stdvar_over_time",
    "sum_over_time",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
];

/// Functions of the calendar; without an argument they are of the step's time.
const OF_TIME: &[&str] =
    &["day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year"];

/// Numbers that need no argument.
const CONSTANTS: &[&str] = &["end", "pi", "range", "start", "step", "time"];

const fn of(name: &'static str, args: &'static [Kind], variadic: i32, returns: Kind) -> Signature {
    Signature { name, args, variadic, returns }
}

const OTHERS: &[Signature] = &[
    of("clamp", &[V, S, S], 0, V),
    of("clamp_max", &[V, S], 0, V),
    of("clamp_min", &[V, S], 0, V),
    of("double_exponential_smoothing", &[M, S, S], 0, V),
    of("histogram_fraction", &[S, S, V], 0, V),
    of("histogram_quantile", &[S, V], 0, V),
    of("histogram_quantiles", &[V, T, S, S], 9, V),
    of("info", &[V, V], 1, V),
    of("label_join", &[V, T, T, T], -1, V),
    of("label_replace", &[V, T, T, T, T], 0, V),
    of("max_of", &[S, S], 0, S),
    of("min_of", &[S, S], 0, S),
    of("predict_linear", &[M, S], 0, V),
    of("quantile_over_time", &[S, M], 0, V),
    of("round", &[V, S], 1, V),
    of("scalar", &[V], 0, S),
    of("sort_by_label", &[V, T], -1, V),
    of("sort_by_label_desc", &[V, T], -1, V),
    of("vector", &[S], 0, V),
];

/// The signature of a function, if there is one of that name.
pub fn signature(name: &str) -> Option<Signature> {
    let find = |names: &'static [&'static str]| names.iter().find(|n| **n == name).copied();
    if let Some(name) = find(OF_VECTOR) {
        return Some(of(name, &[V], 0, V));
    }
    if let Some(name) = find(OF_RANGE) {
        return Some(of(name, &[M], 0, V));
    }
    if let Some(name) = find(OF_TIME) {
        return Some(of(name, &[V], 1, V));
    }
    if let Some(name) = find(CONSTANTS) {
        return Some(of(name, &[], 0, S));
    }
    OTHERS.iter().find(|s| s.name == name).map(|s| of(s.name, s.args, s.variadic, s.returns))
}
