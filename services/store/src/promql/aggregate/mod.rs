//! Aggregations.

mod best;
mod counted;
mod reduced;

use hashbrown::HashMap;

pub(super) use best::compare;

use super::eval::Context;
use super::limits::QueryError;
use super::syntax::{Aggregate, Aggregation, Grouping};
use super::value::{Column, nameless};
use crate::series::Labels;

/// Columns of one group, in the order that the groups first appeared.
struct Group {
    labels: Labels,
    members: Vec<usize>,
    /// Whether the name of a member goes.
    drop_name: bool,
}

/// Evaluates an aggregation.
///
/// # Errors
/// What the arguments say.
pub(super) fn eval(context: &Context<'_>, expr: &Aggregate) -> Result<Vec<Column>, QueryError> {
    let parameter = || match &expr.parameter {
        Some(parameter) => context.scalar(parameter),
        None => Err(QueryError::BadData(format!("{} needs a parameter", expr.operator.name()))),
    };
    match expr.operator {
        Aggregation::CountValues => counted::eval(context, expr),
        Aggregation::Topk | Aggregation::Bottomk | Aggregation::Limitk | Aggregation::LimitRatio => {
            let parameter = parameter()?;
            best::eval(context, expr, &parameter)
        }
        Aggregation::Quantile => reduced::quantile(context, expr, &parameter()?),
        _ => reduced::eval(context, expr),
    }
}

/// The labels of the group that a series is in.
fn group_labels(labels: &Labels, grouping: &Grouping) -> Labels {
    let named = |name: &str| grouping.labels.iter().any(|label| label == name);
    if grouping.without {
        return nameless(labels).without(named);
    }
    if grouping.labels.is_empty() { Labels::empty() } else { labels.without(|name| !named(name)) }
}

fn groups(columns: &[Column], grouping: &Grouping) -> Vec<Group> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let labels = group_labels(&column.labels, grouping);
        let place = *places.entry(labels.clone()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => {
                group.members.push(index);
                group.drop_name |= column.drop_name;
            }
            None => groups.push(Group { labels, members: vec![index], drop_name: column.drop_name }),
        }
    }
    groups
}
