//! Functions of one number, rounding and bounds.

use super::super::eval::Context;
use super::super::limits::QueryError;
use super::super::syntax::Expr;
use super::super::value::{ABSENT, Column, is_absent};

/// The function of this name, or `None` when it is none of one number.
pub(in super::super) fn named(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sgn" => sign,
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
        "deg" => |v| v * 180.0 / std::f64::consts::PI,
        "rad" => |v| v * std::f64::consts::PI / 180.0,
        _ => return None,
    })
}

fn sign(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        value
    }
}

/// The value of the only number at each step, else NaN.
pub(in super::super) fn scalar(columns: &[Column], steps: usize) -> Vec<f64> {
    let at = |step: usize| {
        let mut present = columns.iter().map(|column| column.values[step]).filter(|&value| !is_absent(value));
        match (present.next(), present.next()) {
            (Some(value), None) => value,
            _ => f64::NAN,
        }
    };
    (0..steps).map(at).collect()
}

/// round(v, nearest).
pub(in super::super) fn round(context: &Context<'_>, args: &[Expr]) -> Result<Vec<Column>, QueryError> {
    let columns = context.vector(&args[0])?;
    let nearest = match args.get(1) {
        Some(arg) => context.scalar(arg)?,
        None => vec![1.0; context.grid.len()],
    };
    // Prometheus divides by the inverse, so that 0.1 rounds without noise.
    let one = |step: usize, value: f64| {
        let inverse = 1.0 / nearest[step];
        (value * inverse + 0.5).floor() / inverse
    };
    Ok(columns.into_iter().map(|column| column.map(one)).collect())
}

/// clamp, clamp_min and clamp_max.
pub(in super::super) fn clamp(
    context: &Context<'_>,
    name: &str,
    args: &[Expr],
) -> Result<Vec<Column>, QueryError> {
    let columns = context.vector(&args[0])?;
    let endless = |value| vec![value; context.grid.len()];
    let (low, high) = match name {
        "clamp_min" => (context.scalar(&args[1])?, endless(f64::INFINITY)),
        "clamp_max" => (endless(f64::NEG_INFINITY), context.scalar(&args[1])?),
        _ => (context.scalar(&args[1])?, context.scalar(&args[2])?),
    };
    let one = |step: usize, value: f64| {
        let (low, high) = (low[step], high[step]);
        if high < low {
            ABSENT
        } else if value.is_nan() || low.is_nan() || high.is_nan() {
            f64::NAN
        } else {
            value.min(high).max(low)
        }
    };
    Ok(columns.into_iter().map(|column| column.map(one)).collect())
}
