//! Binary operators between scalars and vectors. Matching of two vectors is in [`super::matching`].

use promql_parser::parser::{BinaryExpr, VectorMatchFillValues};

use super::eval::{Context, distinct};
use super::limits::QueryError;
use super::matching;
use super::value::{ABSENT, Column, Value, is_absent};

/// An operator that makes a value of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
}

impl Operator {
    fn parse(text: &str) -> Option<Operator> {
        Some(match text {
            "+" => Operator::Add,
            "-" => Operator::Subtract,
            "*" => Operator::Multiply,
            "/" => Operator::Divide,
            "%" => Operator::Modulo,
            "^" => Operator::Power,
            "atan2" => Operator::Atan2,
            "==" => Operator::Equal,
            "!=" => Operator::NotEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterEqual,
            "<" => Operator::Less,
            "<=" => Operator::LessEqual,
            _ => return None,
        })
    }

    /// Whether it filters, unless `bool` asks for 0 and 1.
    pub(super) fn compares(self) -> bool {
        self.holds(0.0, 0.0).is_some()
    }

    fn holds(self, a: f64, b: f64) -> Option<bool> {
        Some(match self {
            Operator::Equal => a == b,
            Operator::NotEqual => a != b,
            Operator::Greater => a > b,
            Operator::GreaterEqual => a >= b,
            Operator::Less => a < b,
            Operator::LessEqual => a <= b,
            _ => return None,
        })
    }

    /// The value of `a op b`. A comparison that fails has none, unless `as_bool`; one that holds is 1 with
    /// `as_bool` and else `keep`.
    pub(super) fn apply(self, a: f64, b: f64, as_bool: bool, keep: f64) -> f64 {
        match self {
            Operator::Add => a + b,
            Operator::Subtract => a - b,
            Operator::Multiply => a * b,
            Operator::Divide => a / b,
            // Rust's % is C's fmod, as Go's math.Mod is.
            Operator::Modulo => a % b,
            Operator::Power => a.powf(b),
            Operator::Atan2 => a.atan2(b),
            _ => match (self.holds(a, b).unwrap_or(false), as_bool) {
                (holds, true) => f64::from(u8::from(holds)),
                (true, false) => keep,
                (false, false) => ABSENT,
            },
        }
    }
}

/// Evaluates a binary expression.
///
/// # Errors
/// What the operands, the matching or the limits say.
pub(super) fn eval(context: &Context<'_>, expr: &BinaryExpr) -> Result<Value, QueryError> {
    let operator_text = expr.op.to_string();
    let modifier = expr.modifier.clone().unwrap_or_default();
    if modifier.fill_values != VectorMatchFillValues::default() {
        return Err(QueryError::execution("fill modifiers are not supported"));
    }
    let (left, right) = (context.eval(&expr.lhs)?, context.eval(&expr.rhs)?);
    let Some(operator) = Operator::parse(&operator_text) else {
        return match (left, right) {
            (Value::Vector(left), Value::Vector(right)) => {
                matching::set(&operator_text, left, right, &modifier).map(Value::Vector)
            }
            _ => Err(QueryError::BadData(format!("operator {operator_text} needs two vectors"))),
        };
    };
    let as_bool = modifier.return_bool;
    match (left, right) {
        (Value::Scalar(left), Value::Scalar(right)) => {
            let pairs = left.into_iter().zip(right);
            Ok(Value::Scalar(pairs.map(|(a, b)| operator.apply(a, b, true, a)).collect()))
        }
        (Value::Vector(columns), Value::Scalar(scalar)) => {
            with_scalar(columns, &scalar, operator, as_bool, |v, s| operator.apply(v, s, as_bool, v))
        }
        (Value::Scalar(scalar), Value::Vector(columns)) => {
            with_scalar(columns, &scalar, operator, as_bool, |v, s| operator.apply(s, v, as_bool, v))
        }
        (Value::Vector(left), Value::Vector(right)) => {
            matching::arithmetic(operator, left, right, &modifier).map(Value::Vector)
        }
        _ => Err(QueryError::BadData("binary operators take no strings".into())),
    }
}

fn with_scalar(
    columns: Vec<Column>,
    scalar: &[f64],
    operator: Operator,
    as_bool: bool,
    apply: impl Fn(f64, f64) -> f64,
) -> Result<Value, QueryError> {
    let keeps_name = operator.compares() && !as_bool;
    let one = |mut column: Column| {
        if !keeps_name {
            column.labels = column.labels.nameless();
        }
        for (value, &scalar) in column.values.iter_mut().zip(scalar).filter(|(v, _)| !is_absent(**v)) {
            *value = apply(*value, scalar);
        }
        column
    };
    distinct(columns.into_iter().map(one).filter(|column| !column.is_empty()).collect()).map(Value::Vector)
}
