//! Matching two vectors: one to one, many to one, and the set operators.

use hashbrown::HashMap;
use promql_parser::parser::{BinModifier, LabelModifier, VectorMatchCardinality};

use super::binary::Operator;
use super::eval::distinct;
use super::limits::QueryError;
use super::value::{ABSENT, Column, is_absent};
use crate::series::{Labels, METRIC_NAME};

/// The labels by which two series match.
fn signature(labels: &Labels, modifier: &BinModifier) -> Labels {
    match &modifier.matching {
        Some(LabelModifier::Include(names)) => labels.without(|name| !names.labels.iter().any(|n| n == name)),
        Some(LabelModifier::Exclude(names)) => {
            labels.without(|name| name == METRIC_NAME || names.labels.iter().any(|n| n == name))
        }
        None => labels.nameless(),
    }
}

fn by_signature(columns: &[Column], modifier: &BinModifier) -> HashMap<Labels, Vec<usize>> {
    let mut places: HashMap<Labels, Vec<usize>> = HashMap::new();
    for (index, column) in columns.iter().enumerate() {
        places.entry(signature(&column.labels, modifier)).or_default().push(index);
    }
    places
}

/// `left op right` with PromQL's matching rules.
///
/// # Errors
/// In Prometheus' words when a series has several partners at a step and no grouping allows it.
pub(super) fn arithmetic(
    operator: Operator,
    left: Vec<Column>,
    right: Vec<Column>,
    modifier: &BinModifier,
) -> Result<Vec<Column>, QueryError> {
    // The "many" side is the left one, unless group_right says otherwise.
    let (many, one, swapped, grouped) = match &modifier.card {
        VectorMatchCardinality::OneToMany(_) => (right, left, true, true),
        VectorMatchCardinality::ManyToOne(_) => (left, right, false, true),
        _ => (left, right, false, false),
    };
    let ones = by_signature(&one, modifier);
    let mut taken: HashMap<Labels, Vec<bool>> = HashMap::new();
    let mut results = Vec::with_capacity(many.len());
    for column in many {
        let key = signature(&column.labels, modifier);
        let Some(partners) = ones.get(&key) else { continue };
        let steps = column.values.len();
        let mut values = vec![ABSENT; steps];
        // With group_left(label) the result's labels depend on the partner, which may change.
        let mut by_partner: Vec<(usize, Vec<f64>)> = Vec::new();
        for step in 0..steps {
            let value = column.values[step];
            let mut present = partners.iter().filter(|&&partner| !is_absent(one[partner].values[step]));
            let Some(&partner) = present.next() else { continue };
            if present.next().is_some() {
                return Err(duplicate(if swapped { "left" } else { "right" }, &key));
            }
            if is_absent(value) {
                continue;
            }
            let other = one[partner].values[step];
            let (a, b) = if swapped { (other, value) } else { (value, other) };
            values[step] = operator.apply(a, b, modifier.return_bool, a);
            if !grouped {
                let seen = taken.entry(key.clone()).or_insert_with(|| vec![false; steps]);
                if std::mem::replace(&mut seen[step], true) {
                    return Err(QueryError::execution(format!(
                        "multiple matches for labels {key}: many-to-one matching must be explicit \
                         (group_left/group_right)"
                    )));
                }
            }
            match by_partner.iter_mut().find(|(index, _)| *index == partner) {
                Some((_, part)) => part[step] = values[step],
                None => {
                    let mut part = vec![ABSENT; steps];
                    part[step] = values[step];
                    by_partner.push((partner, part));
                }
            }
        }
        for (partner, values) in by_partner {
            let labels = result_labels(&column.labels, &one[partner].labels, operator, modifier);
            results.push(Column { labels, values });
        }
    }
    results.retain(|column| !column.is_empty());
    distinct(results).map_err(|_| {
        QueryError::execution("multiple matches for labels: grouping labels must ensure unique matches")
    })
}

fn duplicate(side: &str, key: &Labels) -> QueryError {
    QueryError::execution(format!(
        "found duplicate series for the match group {key} on the {side} hand-side of the operation; many-to-many \
         matching not allowed: matching labels must be unique on one side"
    ))
}

fn result_labels(many: &Labels, one: &Labels, operator: Operator, modifier: &BinModifier) -> Labels {
    let keeps_name = operator.compares() && !modifier.return_bool;
    let mut labels = if keeps_name { many.clone() } else { many.nameless() };
    match &modifier.card {
        VectorMatchCardinality::ManyToOne(include) | VectorMatchCardinality::OneToMany(include) => {
            for name in &include.labels {
                labels = labels.with(name, one.get(name));
            }
        }
        _ => match &modifier.matching {
            Some(LabelModifier::Include(names)) => {
                labels = labels.without(|name| !names.labels.iter().any(|n| n == name));
            }
            Some(LabelModifier::Exclude(names)) => {
                labels = labels.without(|name| names.labels.iter().any(|n| n == name));
            }
            None => {}
        },
    }
    labels
}

/// `and`, `or`, `unless`.
///
/// # Errors
/// For another operator.
pub(super) fn set(
    operator: &str,
    mut left: Vec<Column>,
    mut right: Vec<Column>,
    modifier: &BinModifier,
) -> Result<Vec<Column>, QueryError> {
    let (filtered, judge, present_stays) = match operator {
        "and" => (&mut left, &right, true),
        "unless" => (&mut left, &right, false),
        "or" => (&mut right, &left, false),
        other => return Err(QueryError::execution(format!("operator {other} is not supported"))),
    };
    let judges = by_signature(judge, modifier);
    for column in filtered.iter_mut() {
        let partners = judges.get(&signature(&column.labels, modifier)).map_or(&[][..], Vec::as_slice);
        for (step, value) in column.values.iter_mut().enumerate() {
            let present = partners.iter().any(|&partner| !is_absent(judge[partner].values[step]));
            if present != present_stays {
                *value = ABSENT;
            }
        }
    }
    if operator == "or" {
        left.append(&mut right);
    }
    left.retain(|column| !column.is_empty());
    distinct(left)
}
