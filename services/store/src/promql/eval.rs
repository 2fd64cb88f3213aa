//! Walks the expression and hands each kind to its room.

use promql_parser::parser::{Expr, VectorSelector};

use super::limits::{QUERY_BYTES_MAX, QueryError, Usage};
use super::value::{Column, Grid, Value, is_absent};
use super::{Source, aggregate, binary, call, selector};
use crate::samples::Samples;
use crate::series::Labels;

/// Parses a query.
///
/// # Errors
/// [`QueryError::BadData`] with the parser's words.
pub fn parse(query: &str) -> Result<Expr, QueryError> {
    if query.len() > QUERY_BYTES_MAX {
        return Err(QueryError::BadData(format!(
            "query has {} bytes; at most {QUERY_BYTES_MAX} are read",
            query.len()
        )));
    }
    promql_parser::parser::parse(query).map_err(|error| QueryError::BadData(format!("parse error: {error}")))
}

/// Evaluates an expression at every step of `grid`. A vector's columns are sorted by labels, those of
/// `topk`, `bottomk`, `sort` and `sort_desc` at a single step by their value; empty columns are left out.
///
/// # Errors
/// [`QueryError`] of the first part that cannot be evaluated.
pub fn evaluate(source: &dyn Source, expr: &Expr, grid: Grid) -> Result<Value, QueryError> {
    let usage = Usage::start();
    let context = Context { source, grid, query: grid, usage: &usage, depth: 0 };
    match context.eval(expr)? {
        Value::Vector(mut columns) => {
            columns.retain(|column| !column.is_empty());
            if grid.len() > 1 || !orders(expr) {
                columns.sort_by(|a, b| a.labels.cmp(&b.labels));
            }
            Ok(Value::Vector(columns))
        }
        other => Ok(other),
    }
}

/// Whether the expression's result has an order of its own.
fn orders(expr: &Expr) -> bool {
    match expr {
        Expr::Paren(paren) => orders(&paren.expr),
        Expr::Call(call) => matches!(call.func.name, "sort" | "sort_desc"),
        Expr::Aggregate(aggregate) => matches!(aggregate.op.to_string().as_str(), "topk" | "bottomk"),
        _ => false,
    }
}

/// Where an expression is evaluated.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) source: &'a dyn Source,
    /// The steps of this part; a subquery has its own.
    pub(super) grid: Grid,
    /// The steps of the whole query, which `@ start()` and `@ end()` mean.
    pub(super) query: Grid,
    pub(super) usage: &'a Usage,
    pub(super) depth: usize,
}

impl Context<'_> {
    pub(super) fn eval(&self, expr: &Expr) -> Result<Value, QueryError> {
        self.usage.nest(self.depth)?;
        let inner = Context { depth: self.depth + 1, ..*self };
        let value = match expr {
            Expr::NumberLiteral(number) => Value::Scalar(vec![number.val; self.grid.len()]),
            Expr::StringLiteral(text) => Value::Text(text.val.clone()),
            Expr::Paren(paren) => inner.eval(&paren.expr)?,
            Expr::VectorSelector(selected) => Value::Vector(selector::instant(self, selected)?),
            Expr::Unary(unary) => match inner.eval(&unary.expr)? {
                Value::Scalar(values) => Value::Scalar(values.into_iter().map(|value| -value).collect()),
                Value::Vector(columns) => {
                    Value::Vector(distinct(columns.into_iter().map(|column| column.map(|v| -v)).collect())?)
                }
                Value::Text(_) => return Err(QueryError::BadData("a text has no sign".into())),
            },
            Expr::Binary(expr) => binary::eval(&inner, expr)?,
            Expr::Aggregate(expr) => Value::Vector(aggregate::eval(&inner, expr)?),
            Expr::Call(expr) => call::eval(&inner, expr)?,
            Expr::MatrixSelector(_) | Expr::Subquery(_) => {
                return Err(QueryError::BadData(
                    "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector"
                        .into(),
                ));
            }
            Expr::Extension(_) => return Err(QueryError::BadData("unknown kind of expression".into())),
        };
        if let Value::Vector(columns) = &value {
            self.usage.hold(columns.len(), self.grid.len())?;
        }
        Ok(value)
    }

    /// An instant vector argument.
    pub(super) fn vector(&self, expr: &Expr) -> Result<Vec<Column>, QueryError> {
        match self.eval(expr)? {
            Value::Vector(columns) => Ok(columns),
            _ => Err(QueryError::BadData("expected an instant vector".into())),
        }
    }

    /// A scalar argument, one value a step.
    pub(super) fn scalar(&self, expr: &Expr) -> Result<Vec<f64>, QueryError> {
        match self.eval(expr)? {
            Value::Scalar(values) => Ok(values),
            _ => Err(QueryError::BadData("expected a scalar".into())),
        }
    }

    /// A text argument.
    pub(super) fn text(&self, expr: &Expr) -> Result<String, QueryError> {
        match self.eval(expr)? {
            Value::Text(text) => Ok(text),
            _ => Err(QueryError::BadData("expected a string".into())),
        }
    }
}

/// The instant selector that an expression is, through parentheses, if it is one.
pub(super) fn as_selector(expr: &Expr) -> Option<&VectorSelector> {
    match expr {
        Expr::Paren(paren) => as_selector(&paren.expr),
        Expr::VectorSelector(selected) => Some(selected),
        _ => None,
    }
}

/// Joins columns that have come to have the same labels, as long as no step has a value of both.
///
/// # Errors
/// Prometheus' own words when one has.
pub(super) fn distinct(mut columns: Vec<Column>) -> Result<Vec<Column>, QueryError> {
    let mut places = hashbrown::HashMap::with_capacity(columns.len());
    let mut kept: Vec<Column> = Vec::with_capacity(columns.len());
    for column in columns.drain(..) {
        let place = *places.entry(column.labels.clone()).or_insert(kept.len());
        let Some(first) = kept.get_mut(place) else {
            kept.push(column);
            continue;
        };
        for (value, other) in first.values.iter_mut().zip(column.values) {
            if is_absent(*value) {
                *value = other;
            } else if !is_absent(other) {
                return Err(QueryError::execution("vector cannot contain metrics with the same labelset"));
            }
        }
    }
    Ok(kept)
}

/// The samples themselves of a range selector (`up[5m]`) at one time, staleness markers left out; `None`
/// when the expression is none. Sorted by labels.
///
/// # Errors
/// What reading or the limits say.
pub fn raw(
    source: &dyn Source,
    expr: &Expr,
    time: i64,
) -> Result<Option<Vec<(Labels, Samples)>>, QueryError> {
    match expr {
        Expr::Paren(paren) => return raw(source, &paren.expr, time),
        Expr::MatrixSelector(_) | Expr::Subquery(_) => {}
        _ => return Ok(None),
    }
    let (usage, grid) = (Usage::start(), Grid::instant(time));
    let context = Context { source, grid, query: grid, usage: &usage, depth: 0 };
    let mut all = Vec::new();
    let columns = selector::windows(&context, expr, &mut |_, window| {
        let (times, values) = (window.times.to_vec(), window.values.to_vec());
        all.push(Samples { times, values, ..Samples::default() });
        Some(1.0)
    })?;
    let mut series: Vec<_> = columns.into_iter().map(|column| column.labels).zip(all).collect();
    series.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Some(series))
}
