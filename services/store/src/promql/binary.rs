//! Binary operators between scalars and vectors. Matching of two vectors is in [`super::matching`].

use super::eval::Context;
use super::limits::QueryError;
use super::matching;
use super::native::{self, Sum};
use super::notes::{reconciled, reset_collision};
use super::syntax::{Binary, Operator, Span};
use super::value::{ABSENT, Column, Point, Value, is_absent};
use crate::histogram::ResetHint;

/// Whether a comparison of two numbers holds; `None` for what is no comparison.
fn holds(operator: Operator, a: f64, b: f64) -> Option<bool> {
    Some(match operator {
        Operator::Equal => a == b,
        Operator::NotEqual => a != b,
        Operator::Greater => a > b,
        Operator::GreaterEqual => a >= b,
        Operator::Less => a < b,
        Operator::LessEqual => a <= b,
        _ => return None,
    })
}

/// The result of two numbers; a comparison gives 0 or 1.
fn of_numbers(operator: Operator, a: f64, b: f64) -> f64 {
    match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / b,
        // Rust's % is C's fmod, as Go's math.Mod is.
        Operator::Modulo => a % b,
        Operator::Power => a.powf(b),
        Operator::Atan2 => a.atan2(b),
        _ => holds(operator, a, b).map_or(f64::NAN, |holds| f64::from(u8::from(holds))),
    }
}

/// An operator at work: where its notes go, and how it compares.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) operator: Operator,
    pub(super) as_bool: bool,
    pub(super) span: Span,
}

/// What an operator gives of two samples.
pub(super) enum Made {
    /// A sample.
    Point(Point),
    /// Nothing, as a comparison does not hold.
    Filtered,
    /// Nothing, as the operator is not for these.
    Impossible,
}

impl Work<'_> {
    /// Whether the result is still of the same metric.
    pub(super) fn keeps_name(&self) -> bool {
        self.operator.compares() || matches!(self.operator, Operator::TrimUpper | Operator::TrimLower)
    }

    /// The result of two samples. A comparison that holds gives the left one, or 0 and 1 when asked for.
    pub(super) fn apply(&self, left: &Point, right: &Point) -> Made {
        match (left, right) {
            (Point::Float(a), Point::Float(b)) => match (holds(self.operator, *a, *b), self.as_bool) {
                (Some(holds), true) => Made::Point(Point::Float(f64::from(u8::from(holds)))),
                (Some(true), false) => Made::Point(Point::Float(*a)),
                (Some(false), false) => Made::Filtered,
                (None, _) if matches!(self.operator, Operator::TrimUpper | Operator::TrimLower) => {
                    self.impossible("float", "float")
                }
                (None, _) => Made::Point(Point::Float(of_numbers(self.operator, *a, *b))),
            },
            (Point::Float(a), Point::Histogram(b)) => match self.operator {
                Operator::Multiply => compacted(native::scaled(b, *a)),
                _ => self.impossible("float", "histogram"),
            },
            (Point::Histogram(a), Point::Float(b)) => match self.operator {
                Operator::Multiply => compacted(native::scaled(a, *b)),
                Operator::Divide => compacted(native::divided(a, *b)),
                Operator::TrimUpper => Made::Point(Point::calculated(native::trimmed(a, *b, true))),
                Operator::TrimLower => Made::Point(Point::calculated(native::trimmed(a, *b, false))),
                _ => self.impossible("histogram", "float"),
            },
            (Point::Histogram(a), Point::Histogram(b)) => match self.operator {
                Operator::Equal | Operator::NotEqual => {
                    let holds = native::same(a, b) == (self.operator == Operator::Equal);
                    match (holds, self.as_bool) {
                        (holds, true) => Made::Point(Point::Float(f64::from(u8::from(holds)))),
                        (true, false) => Made::Point(left.clone()),
                        (false, false) => Made::Filtered,
                    }
                }
                Operator::Add => self.sum(a, b, Sum::Add),
                Operator::Subtract => self.sum(a, b, Sum::Subtract),
                _ => self.impossible("histogram", "histogram"),
            },
        }
    }

    fn sum(&self, a: &crate::histogram::Histogram, b: &crate::histogram::Histogram, sum: Sum) -> Made {
        let (notes, word) = (self.context.notes, if sum == Sum::Add { "addition" } else { "subtraction" });
        match native::combined(a, b, sum) {
            Ok(mut total) => {
                if total.collision {
                    notes.warn(self.span, reset_collision(word));
                }
                if total.reconciled {
                    notes.info(self.span, reconciled(word));
                }
                if sum == Sum::Subtract {
                    total.histogram.reset_hint = ResetHint::Gauge;
                }
                compacted(total.histogram)
            }
            Err(native::Incompatible) => {
                let text = "incompatible bucket layout encountered for binary operator";
                notes.warn(self.span, format!("{text} {}", self.operator.text()));
                Made::Impossible
            }
        }
    }

    fn impossible(&self, left: &str, right: &str) -> Made {
        let operator = self.operator.text();
        let text = "incompatible sample types encountered for binary operator";
        self.context.notes.info(self.span, format!("{text} {operator:?}: {left} {operator} {right}"));
        Made::Impossible
    }
}

fn compacted(mut histogram: crate::histogram::Histogram) -> Made {
    native::compact(&mut histogram);
    Made::Point(Point::calculated(histogram))
}

/// Evaluates a binary expression.
///
/// # Errors
/// What the operands, the matching or the limits say.
pub(super) fn eval(context: &Context<'_>, expr: &Binary) -> Result<Value, QueryError> {
    let (left, right) = (context.eval(&expr.left)?, context.eval(&expr.right)?);
    let span = Span { start: expr.left.span().start, end: expr.right.span().end };
    let work = Work { context, operator: expr.operator, as_bool: expr.as_bool, span };
    match (left, right) {
        (Value::Scalar(left), Value::Scalar(right)) => {
            let pairs = left.into_iter().zip(right);
            Ok(Value::Scalar(pairs.map(|(a, b)| of_numbers(expr.operator, a, b)).collect()))
        }
        (Value::Vector(columns), Value::Scalar(scalar)) => Ok(with_scalar(work, columns, &scalar, false)),
        (Value::Scalar(scalar), Value::Vector(columns)) => Ok(with_scalar(work, columns, &scalar, true)),
        (Value::Vector(left), Value::Vector(right)) if expr.operator.is_set() => {
            Ok(Value::Vector(matching::set(expr.operator, left, right, &expr.matching)))
        }
        (Value::Vector(left), Value::Vector(right)) => {
            matching::arithmetic(work, left, right, &expr.matching).map(Value::Vector)
        }
        _ => Err(QueryError::BadData("binary operators take no strings".into())),
    }
}

/// A vector and a scalar; `swapped` tells that the scalar is on the left. A comparison keeps the vector's sample.
fn with_scalar(work: Work<'_>, columns: Vec<Column>, scalar: &[f64], swapped: bool) -> Value {
    let filters = work.operator.compares() && !work.as_bool;
    let one = |mut column: Column| {
        column.drop_name |= !work.keeps_name() || work.as_bool;
        for (step, &scalar) in scalar.iter().enumerate() {
            if column.histograms.is_empty() {
                let value = column.values[step];
                if !is_absent(value) {
                    column.values[step] = float(work, value, scalar, swapped);
                }
                continue;
            }
            let Some(point) = column.point(step) else { continue };
            let scalar = Point::Float(scalar);
            let made = if swapped { work.apply(&scalar, &point) } else { work.apply(&point, &scalar) };
            column.set(
                step,
                match made {
                    Made::Point(_) if filters => Some(point),
                    Made::Point(made) => Some(made),
                    _ => None,
                },
            );
        }
        column
    };
    Value::Vector(columns.into_iter().map(one).filter(|column| !column.is_empty()).collect())
}

/// The result of a number of a vector and a scalar, or [`ABSENT`].
#[inline]
fn float(work: Work<'_>, value: f64, scalar: f64, swapped: bool) -> f64 {
    let (a, b) = if swapped { (scalar, value) } else { (value, scalar) };
    match holds(work.operator, a, b) {
        Some(holds) if work.as_bool => f64::from(u8::from(holds)),
        Some(true) => value,
        Some(false) => ABSENT,
        None => match work.operator {
            Operator::TrimUpper | Operator::TrimLower => {
                let _ = work.impossible("float", "float");
                ABSENT
            }
            operator => of_numbers(operator, a, b),
        },
    }
}
