//! Aggregations that choose series: topk, bottomk, limitk, limit_ratio.

use std::cmp::Ordering;

use super::super::eval::Context;
use super::super::limits::QueryError;
use super::super::notes::ignored_in;
use super::super::syntax::{Aggregate, Aggregation};
use super::super::value::{ABSENT, Column, is_absent, short_number};
use super::super::xxhash::xxhash64;
use super::{Group, groups};
use crate::series::Labels;

/// Evaluates a choice with a parameter for each step. The series keep their labels.
pub(super) fn eval(
    context: &Context<'_>,
    expr: &Aggregate,
    numbers: &[f64],
) -> Result<Vec<Column>, QueryError> {
    let columns = context.vector(&expr.inner)?;
    let (least, most) = bounds(numbers);
    let ratio = expr.operator == Aggregation::LimitRatio;
    if numbers.iter().any(|number| number.is_nan()) {
        let what = if ratio { "Ratio value" } else { "Parameter value" };
        return Err(QueryError::execution(format!("{what} is NaN")));
    }
    let none = if ratio { least == 0.0 && most == 0.0 } else { most < 1.0 };
    if none {
        return Ok(Vec::new());
    }
    if ratio {
        let at = expr.parameter.as_ref().map_or(expr.span, |parameter| parameter.span());
        for (number, cap) in [(most, 1.0), (least, -1.0)] {
            if (number - cap) * cap > 0.0 {
                let number = short_number(number);
                let text = format!("ratio value should be between -1 and 1, got {number}, capping to {cap}");
                context.notes.warn(at, text);
            }
        }
    } else if most >= i64::MAX as f64 || least <= i64::MIN as f64 {
        let (which, number) = if most >= i64::MAX as f64 { ("over", most) } else { ("under", least) };
        return Err(QueryError::execution(format!(
            "Scalar value {} {which}flows int64",
            short_number(number)
        )));
    }
    let groups = groups(&columns, &expr.grouping);
    Ok(match expr.operator {
        Aggregation::Topk | Aggregation::Bottomk => {
            let name = expr.operator.name();
            if columns.iter().any(|column| column.histograms.iter().any(Option::is_some)) {
                context.notes.info(expr.span, ignored_in(name));
            }
            best(columns, &groups, numbers, expr.operator == Aggregation::Topk)
        }
        Aggregation::Limitk => first(columns, &groups, numbers),
        _ => sampled(columns, numbers),
    })
}

fn bounds(numbers: &[f64]) -> (f64, f64) {
    numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &n| (low.min(n), high.max(n)))
}

/// Keeps the `k` best of each group at each step. The columns come back best first by their first step.
fn best(mut columns: Vec<Column>, groups: &[Group], k: &[f64], top: bool) -> Vec<Column> {
    let mut order: Vec<usize> = Vec::new();
    columns.iter_mut().for_each(|column| column.histograms = Vec::new());
    let mut members: Vec<usize> = Vec::new();
    for group in groups {
        for (step, &k) in k.iter().enumerate() {
            members.clear();
            members.extend(group.members.iter().filter(|&&member| !is_absent(columns[member].values[step])));
            let kept = if k >= 1.0 { (k as usize).min(members.len()) } else { 0 };
            let by_value = |&a: &usize, &b: &usize| {
                // Of equal ones the first stays.
                compare(columns[a].values[step], columns[b].values[step], top).then(a.cmp(&b))
            };
            if kept > 0 && kept < members.len() {
                members.select_nth_unstable_by(kept - 1, by_value);
            }
            if step == 0 {
                members[..kept].sort_by(by_value);
                order.extend(&members[..kept]);
            }
            for &member in &members[kept..] {
                columns[member].values[step] = ABSENT;
            }
        }
    }
    let mut ranks = vec![usize::MAX; columns.len()];
    for (rank, member) in order.into_iter().enumerate() {
        ranks[member] = rank;
    }
    let mut ranked: Vec<_> = ranks.into_iter().zip(columns).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, column)| column).filter(|column| !column.is_empty()).collect()
}

/// Orders values with the best first; NaN is the worst either way.
pub(in super::super) fn compare(a: f64, b: f64, descending: bool) -> Ordering {
    a.is_nan().cmp(&b.is_nan()).then_with(|| {
        let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
        if descending { order.reverse() } else { order }
    })
}

/// Keeps the first `k` of each group at each step.
fn first(mut columns: Vec<Column>, groups: &[Group], k: &[f64]) -> Vec<Column> {
    for group in groups {
        for (step, &k) in k.iter().enumerate() {
            let mut left = if k >= 1.0 { k as usize } else { 0 };
            for &member in &group.members {
                if !columns[member].has(step) {
                    continue;
                }
                if left == 0 {
                    columns[member].set(step, None);
                } else {
                    left -= 1;
                }
            }
        }
    }
    columns.retain(|column| !column.is_empty());
    columns
}

/// Keeps a part of the series, chosen by their labels alone: a ratio and its complement together choose all.
fn sampled(mut columns: Vec<Column>, ratios: &[f64]) -> Vec<Column> {
    for column in &mut columns {
        let place = place_of(&column.labels);
        for (step, ratio) in ratios.iter().map(|ratio| ratio.clamp(-1.0, 1.0)).enumerate() {
            let chosen = if ratio >= 0.0 { place < ratio } else { place >= 1.0 + ratio };
            if !chosen {
                column.set(step, None);
            }
        }
    }
    columns.retain(|column| !column.is_empty());
    columns
}

/// A number from 0 to 1 that depends on the labels alone, the one that Prometheus has: the hash of its labels in their
/// default encoding (stringlabels), over the largest there is.
fn place_of(labels: &Labels) -> f64 {
    let mut bytes = Vec::with_capacity(256);
    for text in labels.into_iter().flat_map(|(name, value)| [name, value]) {
        match u8::try_from(text.len()) {
            Ok(length @ 0..=254) => bytes.push(length),
            _ => {
                bytes.push(255);
                bytes.extend_from_slice(&text.len().to_le_bytes()[..3]);
            }
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    xxhash64(&bytes) as f64 / u64::MAX as f64
}
