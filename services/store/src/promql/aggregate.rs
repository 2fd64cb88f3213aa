//! Aggregations: sum, avg, min, max, count, group, stddev, stdvar, quantile, topk, bottomk, count_values.

use std::cmp::Ordering;

use hashbrown::HashMap;
use promql_parser::parser::{AggregateExpr, LabelModifier};

use super::eval::Context;
use super::kahan::{mean, quantile, sum, variance};
use super::limits::QueryError;
use super::value::{ABSENT, Column, is_absent, plain_number};
use crate::series::{Labels, METRIC_NAME};

/// Columns of one group, in the order that the groups first appeared.
struct Group {
    labels: Labels,
    members: Vec<usize>,
}

/// Evaluates an aggregation.
///
/// # Errors
/// For operators that are not supported, by name, and what the arguments say.
pub(super) fn eval(context: &Context<'_>, expr: &AggregateExpr) -> Result<Vec<Column>, QueryError> {
    let operator = expr.op.to_string();
    let columns = context.vector(&expr.expr)?;
    let steps = context.grid.len();
    let parameter = || match &expr.param {
        Some(param) => context.scalar(param),
        None => Err(QueryError::BadData(format!("{operator} needs a parameter"))),
    };
    let groups = group(&columns, expr.modifier.as_ref());
    let reduce: fn(&[f64]) -> f64 = match operator.as_str() {
        "sum" => sum,
        "avg" => mean,
        "min" => |values| extreme(values, |new, old| new < old),
        "max" => |values| extreme(values, |new, old| new > old),
        "count" => |values| values.len() as f64,
        "group" => |_| 1.0,
        "stddev" => |values| variance(values).sqrt(),
        "stdvar" => variance,
        "quantile" => {
            let phi = parameter()?;
            return Ok(reduced(&columns, groups, steps, |step, values| quantile(phi[step], values)));
        }
        "topk" | "bottomk" => return Ok(best(columns, &groups, &parameter()?, operator == "topk")),
        "count_values" => {
            let Some(param) = &expr.param else {
                return Err(QueryError::BadData("count_values needs a label".into()));
            };
            return count_values(&columns, &groups, &context.text(param)?, steps);
        }
        other => return Err(QueryError::execution(format!("aggregation {other} is not supported"))),
    };
    Ok(reduced(&columns, groups, steps, |_, values| reduce(values)))
}

fn group(columns: &[Column], modifier: Option<&LabelModifier>) -> Vec<Group> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let labels = match modifier {
            None => Labels::empty(),
            Some(LabelModifier::Include(names)) => {
                column.labels.without(|name| !names.labels.iter().any(|n| n == name))
            }
            Some(LabelModifier::Exclude(names)) => {
                column.labels.without(|name| name == METRIC_NAME || names.labels.iter().any(|n| n == name))
            }
        };
        let place = *places.entry(labels.clone()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.members.push(index),
            None => groups.push(Group { labels, members: vec![index] }),
        }
    }
    groups
}

fn reduced(
    columns: &[Column],
    groups: Vec<Group>,
    steps: usize,
    reduce: impl Fn(usize, &[f64]) -> f64,
) -> Vec<Column> {
    let mut present = Vec::new();
    let one = |group: Group| {
        let mut values = Vec::with_capacity(steps);
        for step in 0..steps {
            present.clear();
            let members = group.members.iter().map(|&member| columns[member].values[step]);
            present.extend(members.filter(|&value| !is_absent(value)));
            values.push(if present.is_empty() { ABSENT } else { reduce(step, &present) });
        }
        Column { labels: group.labels, values }
    };
    groups.into_iter().map(one).collect()
}

fn extreme(values: &[f64], beats: fn(f64, f64) -> bool) -> f64 {
    values.iter().copied().fold(f64::NAN, |old, new| if beats(new, old) || old.is_nan() { new } else { old })
}

/// Keeps the `k` best of each group at each step; the series keep their labels. The columns come back best
/// first by their first step.
fn best(mut columns: Vec<Column>, groups: &[Group], k: &[f64], top: bool) -> Vec<Column> {
    let mut order: Vec<(usize, usize)> = Vec::new();
    for (number, group) in groups.iter().enumerate() {
        for (step, &k) in k.iter().enumerate() {
            let mut members: Vec<usize> = group.members.clone();
            members.retain(|&member| !is_absent(columns[member].values[step]));
            // Stable: of equal ones the first stays.
            members.sort_by(|&a, &b| compare(columns[a].values[step], columns[b].values[step], top));
            let kept = if k >= 1.0 { (k as usize).min(members.len()) } else { 0 };
            for &member in &members[kept..] {
                columns[member].values[step] = ABSENT;
            }
            if step == 0 {
                order.extend(members[..kept].iter().map(|&member| (number, member)));
            }
        }
    }
    let mut ranks = vec![usize::MAX; columns.len()];
    for (rank, (_, member)) in order.into_iter().enumerate() {
        ranks[member] = rank;
    }
    let mut ranked: Vec<_> = ranks.into_iter().zip(columns).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, column)| column).filter(|column| !column.is_empty()).collect()
}

/// Orders values with the best first; NaN is the worst either way.
pub(super) fn compare(a: f64, b: f64, descending: bool) -> Ordering {
    a.is_nan().cmp(&b.is_nan()).then_with(|| {
        let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
        if descending { order.reverse() } else { order }
    })
}

fn count_values(
    columns: &[Column],
    groups: &[Group],
    label: &str,
    steps: usize,
) -> Result<Vec<Column>, QueryError> {
    if label.is_empty() {
        return Err(QueryError::execution("invalid label name \"\" in count_values"));
    }
    let mut counted: Vec<Column> = Vec::new();
    let mut places: HashMap<Labels, usize> = HashMap::new();
    for group in groups {
        for &member in &group.members {
            for (step, &value) in columns[member].values.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
                let labels = group.labels.with(label, &plain_number(value));
                let place = *places.entry(labels.clone()).or_insert(counted.len());
                if place == counted.len() {
                    counted.push(Column { labels, values: vec![ABSENT; steps] });
                }
                let count = &mut counted[place].values[step];
                *count = if is_absent(*count) { 1.0 } else { *count + 1.0 };
            }
        }
    }
    Ok(counted)
}
