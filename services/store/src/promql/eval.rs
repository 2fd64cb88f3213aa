//! Walks the expression and hands each kind to its room.

use super::limits::{QUERY_BYTES_MAX, QueryError, Usage};
use super::notes::Notes;
use super::syntax::{self, Aggregation, Expr, Kind, Operator, kind_of, type_name};
use super::value::{Column, Grid, Value, nameless};
use super::{Source, aggregate, binary, call, select};
use crate::series::Labels;

/// Parses a query.
///
/// # Errors
/// [`QueryError::BadData`] with the place and Prometheus' words.
pub fn parse(query: &str) -> Result<Expr, QueryError> {
    if query.len() > QUERY_BYTES_MAX {
        return Err(QueryError::BadData(format!(
            "query has {} bytes; at most {QUERY_BYTES_MAX} are read",
            query.len()
        )));
    }
    syntax::parse(query).map_err(|error| QueryError::BadData(error.to_string()))
}

/// A query's result and what it told besides.
#[derive(Debug)]
pub struct Outcome {
    /// The result.
    pub value: Value,
    /// Warnings and infos.
    pub notes: Notes,
}

/// Evaluates an expression at every step of `grid`. A vector's columns are sorted by labels, those of
/// `topk`, `sort` and the like at a single step by their own order; empty columns are left out. A range vector is
/// given at a single step.
///
/// # Errors
/// [`QueryError`] of the first part that cannot be evaluated.
pub fn evaluate(source: &dyn Source, expr: &Expr, grid: Grid) -> Result<Outcome, QueryError> {
    let usage = Usage::start();
    let notes = Notes::default();
    let context =
        Context { source, grid, query: grid, usage: &usage, notes: &notes, depth: 0, statistics: false };
    let value = match kind_of(expr) {
        Kind::Matrix if grid.len() == 1 => Value::Matrix(select::raw(&context, expr.bare())?),
        kind @ (Kind::Matrix | Kind::Text) if grid.start != grid.end => {
            return Err(QueryError::BadData(format!(
                "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                type_name(kind)
            )));
        }
        _ => context.eval(expr)?,
    };
    let value = match value {
        Value::Vector(columns) => {
            let mut columns = finished(columns)?;
            columns.retain(|column| !column.is_empty());
            if grid.len() > 1 || !orders(expr) {
                columns.sort_by(|a, b| a.labels.cmp(&b.labels));
            }
            Value::Vector(columns)
        }
        other => other,
    };
    Ok(Outcome { value, notes })
}

/// Whether the expression's result has an order of its own.
fn orders(expr: &Expr) -> bool {
    match expr.bare() {
        Expr::Call(call) => call.name.starts_with("sort"),
        Expr::Aggregate(aggregate) => matches!(aggregate.operator, Aggregation::Topk | Aggregation::Bottomk),
        _ => false,
    }
}

/// Takes the names that are to go, and joins what has the same labels then.
fn finished(mut columns: Vec<Column>) -> Result<Vec<Column>, QueryError> {
    for column in columns.iter_mut().filter(|column| column.drop_name) {
        column.labels = nameless(&column.labels);
        column.drop_name = false;
    }
    distinct(columns)
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
    pub(super) notes: &'a Notes,
    pub(super) depth: usize,
    /// Whether only counts and sums of histograms are asked for: resets are found while reading then.
    pub(super) statistics: bool,
}

impl Context<'_> {
    pub(super) fn eval(&self, expr: &Expr) -> Result<Value, QueryError> {
        self.usage.nest(self.depth)?;
        let inner = Context { depth: self.depth + 1, statistics: self.reads_statistics(expr), ..*self };
        let value = match expr {
            Expr::Number { value, .. } => Value::Scalar(vec![*value; self.grid.len()]),
            Expr::Text { value, .. } => Value::Text(value.clone()),
            Expr::Paren { inner: expr, .. } => inner.eval(expr)?,
            Expr::Vector(selected) => Value::Vector(select::instant(self, selected)?),
            Expr::Unary { negative, inner: expr, .. } => match (inner.eval(expr)?, negative) {
                (value, false) => value,
                (Value::Scalar(values), _) => Value::Scalar(values.into_iter().map(|value| -value).collect()),
                (Value::Vector(columns), _) => Value::Vector(columns.into_iter().map(negated).collect()),
                _ => return Err(QueryError::BadData("a text has no sign".into())),
            },
            Expr::Binary(expr) => binary::eval(&inner, expr)?,
            Expr::Aggregate(expr) => Value::Vector(aggregate::eval(&inner, expr)?),
            Expr::Call(expr) => call::eval(&inner, expr)?,
            Expr::Matrix(_) | Expr::Subquery(_) => {
                return Err(QueryError::BadData("a range vector stands where none can be".into()));
            }
        };
        if let Value::Vector(columns) = &value {
            self.usage.hold(columns.len(), self.grid.len())?;
        }
        Ok(value)
    }

    /// Whether the selectors below an expression are read for the counts and sums of their histograms alone.
    fn reads_statistics(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Call(call) => match call.name {
                "histogram_count" | "histogram_sum" | "histogram_avg" => true,
                "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => false,
                _ => self.statistics,
            },
            Expr::Binary(binary) => {
                self.statistics && !matches!(binary.operator, Operator::TrimUpper | Operator::TrimLower)
            }
            _ => self.statistics,
        }
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

    /// The time of each step in seconds.
    pub(super) fn seconds(&self) -> Vec<f64> {
        self.grid.times().map(|time| time as f64 / 1000.0).collect()
    }
}

fn negated(mut column: Column) -> Column {
    let histograms = std::mem::take(&mut column.histograms);
    let mut column = column.map(|_, value| -value);
    let scaled = |histogram: std::sync::Arc<_>| std::sync::Arc::new(super::native::scaled(&histogram, -1.0));
    column.histograms = histograms.into_iter().map(|place| place.map(scaled)).collect();
    column
}

/// Joins columns that have come to have the same labels, as long as no step has a sample of both.
///
/// # Errors
/// Prometheus' own words when one has.
pub(super) fn distinct(columns: Vec<Column>) -> Result<Vec<Column>, QueryError> {
    let mut places: hashbrown::HashMap<Labels, usize> = hashbrown::HashMap::with_capacity(columns.len());
    let mut kept: Vec<Column> = Vec::with_capacity(columns.len());
    for column in columns {
        let place = *places.entry(column.labels.clone()).or_insert(kept.len());
        let Some(first) = kept.get_mut(place) else {
            kept.push(column);
            continue;
        };
        for step in 0..column.values.len() {
            let Some(point) = column.point(step) else { continue };
            if first.has(step) {
                return Err(QueryError::execution("vector cannot contain metrics with the same labelset"));
            }
            first.set(step, Some(point));
        }
        first.drop_name |= column.drop_name;
    }
    Ok(kept)
}
