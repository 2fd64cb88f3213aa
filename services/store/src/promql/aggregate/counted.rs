//! count_values: a series for each different value.

use hashbrown::HashMap;

use super::super::eval::Context;
use super::super::limits::QueryError;
use super::super::native;
use super::super::syntax::{Aggregate, Expr};
use super::super::value::{Column, Point, plain_number};
use super::group_labels;
use crate::series::Labels;

pub(super) fn eval(context: &Context<'_>, expr: &Aggregate) -> Result<Vec<Column>, QueryError> {
    let label = match &expr.parameter {
        Some(parameter) => context.text(parameter)?,
        None => String::new(),
    };
    if label.is_empty() || label.contains(char::REPLACEMENT_CHARACTER) {
        // As it was written: its bytes may be no text at all.
        let written = match expr.parameter.as_ref().map(Expr::bare) {
            Some(Expr::Text { written, .. }) => written.as_str(),
            _ => "\"\"",
        };
        return Err(QueryError::execution(format!("invalid label name {written}")));
    }
    let columns = context.vector(&expr.inner)?;
    let mut grouping = expr.grouping.clone();
    if !grouping.without {
        grouping.labels.push(label.clone());
    }
    let mut counted: Vec<Column> = Vec::new();
    let mut places: HashMap<Labels, usize> = HashMap::new();
    for column in &columns {
        for step in 0..context.grid.len() {
            let text = match column.point(step) {
                Some(Point::Float(value)) => plain_number(value),
                Some(Point::Histogram(histogram)) => native::text(&histogram),
                None => continue,
            };
            let labels = group_labels(&column.labels.with(&label, &text), &grouping);
            let place = *places.entry(labels.clone()).or_insert(counted.len());
            if place == counted.len() {
                context.usage.hold(counted.len() + 1, context.grid.len())?;
                counted.push(Column::absent(labels, context.grid.len()));
            }
            let before = if counted[place].has(step) { counted[place].values[step] } else { 0.0 };
            counted[place].values[step] = before + 1.0;
        }
    }
    Ok(counted)
}
