//! absent and absent_over_time.

use super::super::syntax::Expr;
use super::super::value::{ABSENT, Column};
use crate::series::{Labels, METRIC_NAME, MatchOp};

/// 1 at the steps where no column has a sample, with the labels that the selector asks to be equal.
pub(in super::super) fn of(columns: &[Column], arg: &Expr, steps: usize) -> Column {
    let at = |step: usize| if columns.iter().any(|column| column.has(step)) { ABSENT } else { 1.0 };
    let mut column = Column::floats(labels(arg), (0..steps).map(at).collect());
    column.drop_name = true;
    column
}

fn labels(arg: &Expr) -> Labels {
    let matchers = match arg.bare() {
        Expr::Matrix(matrix) => &matrix.selector.matchers,
        Expr::Vector(selected) => &selected.matchers,
        _ => return Labels::empty(),
    };
    let mut labels: Vec<(&str, &str)> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|matcher| matcher.name != METRIC_NAME) {
        // A label that is asked for twice tells nothing.
        if matcher.op == MatchOp::Equal && !seen.contains(&matcher.name.as_str()) {
            labels.push((&matcher.name, &matcher.value));
            seen.push(&matcher.name);
        } else {
            labels.retain(|(name, _)| *name != matcher.name);
        }
    }
    labels.into_iter().collect()
}
