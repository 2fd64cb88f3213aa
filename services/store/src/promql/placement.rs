//! When a selector looks: offsets, `@` and durations that depend on the query.

use super::eval::Context;
use super::limits::QueryError;
use super::syntax::{At, Duration, DurationOperator, Placement};
use super::value::Grid;

/// Durations are cut here, so that no sum of some of them overflows: 29 million years.
const DURATION_MS_MAX: f64 = (i64::MAX / 10_000) as f64;

/// When a selector looks, for each step: at `step - offset`, or always at one time.
pub(super) struct Shift {
    offset: i64,
    fixed: Option<i64>,
}

impl Shift {
    pub(super) fn new(context: &Context<'_>, placement: &Placement) -> Result<Shift, QueryError> {
        let offset = match &placement.offset {
            None => 0,
            Some(offset) => milliseconds(context, offset, true)?,
        };
        let fixed = placement.at.map(|at| match at {
            At::Start => context.query.start,
            At::End => context.query.end,
            At::Time(time) => time.clamp(-DURATION_MS_MAX as i64, DURATION_MS_MAX as i64),
        });
        Ok(Shift { offset, fixed })
    }

    pub(super) fn look(&self, step: i64) -> i64 {
        self.fixed.unwrap_or(step).saturating_sub(self.offset)
    }

    pub(super) fn is_fixed(&self) -> bool {
        self.fixed.is_some()
    }

    /// The first and the last time that is looked at.
    pub(super) fn span(&self, grid: Grid) -> (i64, i64) {
        (self.look(grid.start), self.look(grid.last()))
    }
}

/// The milliseconds that a duration means in this query.
pub(super) fn milliseconds(
    context: &Context<'_>,
    duration: &Duration,
    may_be_negative: bool,
) -> Result<i64, QueryError> {
    let span = duration.span();
    let fail = |reason: &str| Err(QueryError::BadData(format!("{}:{}: {reason}", span.start, span.end)));
    let Some(seconds) = seconds(context, duration) else { return fail("division by zero") };
    if !seconds.is_finite() {
        return fail("duration is NaN or infinite");
    }
    if seconds <= 0.0 && !may_be_negative {
        return fail("duration must be greater than 0");
    }
    if seconds.abs() * 1000.0 > DURATION_MS_MAX {
        return fail("duration is out of range");
    }
    // A literal is rounded, a calculated one cut, as in Prometheus.
    Ok(match duration {
        Duration::Literal(..) => (seconds * 1000.0).round() as i64,
        _ => (seconds * 1000.0) as i64,
    })
}

fn seconds(context: &Context<'_>, duration: &Duration) -> Option<f64> {
    let query = context.query;
    Some(match duration {
        Duration::Literal(value, _) => *value,
        Duration::Step(_) => {
            if query.start == query.end {
                0.0
            } else {
                query.step as f64 / 1000.0
            }
        }
        Duration::Range(_) => (query.end - query.start) as f64 / 1000.0,
        Duration::Negative(inner, _) => -seconds(context, inner)?,
        Duration::Paren(inner, _) => seconds(context, inner)?,
        Duration::Binary(operator, left, right, _) => {
            let (left, right) = (seconds(context, left)?, seconds(context, right)?);
            match operator {
                DurationOperator::Add => left + right,
                DurationOperator::Subtract => left - right,
                DurationOperator::Multiply => left * right,
                DurationOperator::Divide | DurationOperator::Modulo if right == 0.0 => return None,
                DurationOperator::Divide => left / right,
                DurationOperator::Modulo => left % right,
                DurationOperator::Power => left.powf(right),
                DurationOperator::Least => left.min(right),
                DurationOperator::Greatest => left.max(right),
            }
        }
    })
}
