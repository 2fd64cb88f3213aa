//! info(v, {labels}): adds the labels of info series, such as `target_info`, to the series of the same target.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};

use super::super::LOOKBACK_MS;
use super::super::eval::{Context, distinct};
use super::super::limits::QueryError;
use super::super::placement::{Shift, milliseconds};
use super::super::select;
use super::super::syntax::{Expr, Extension, Placement, Span, VectorSelector};
use super::super::value::{Column, Point};
use crate::series::{Labels, METRIC_NAME, MatchOp, Matcher};

/// The labels that tell a target.
const IDENTITY: [&str; 2] = ["instance", "job"];

/// The info metric that is asked when none is named.
const TARGET_INFO: &str = "target_info";

/// Evaluates info().
pub(in super::super) fn eval(context: &Context<'_>, args: &[Expr]) -> Result<Vec<Column>, QueryError> {
    let base = context.vector(&args[0])?;
    let asked: &[Matcher] = match args.get(1) {
        Some(Expr::Vector(selected)) => &selected.matchers,
        _ => &[],
    };
    let (names, data): (Vec<Matcher>, Vec<Matcher>) =
        asked.iter().cloned().partition(|matcher| matcher.name == METRIC_NAME);
    let names = name_matchers(names)?;
    // Info series themselves get nothing.
    let is_info = |labels: &Labels| names.iter().all(|matcher| matcher.is_match(labels.get(METRIC_NAME)));
    let infos = info_series(context, &args[0], &base, &is_info, &names, &data)?;
    let mut out = Enriched { columns: Vec::new(), places: HashMap::new() };
    for step in 0..context.grid.len() {
        let newest = newest(&infos, step)?;
        for (index, column) in base.iter().enumerate() {
            let Some(point) = column.point(step) else { continue };
            let labels = if is_info(&column.labels) {
                Some(column.labels.clone())
            } else {
                enriched(&column.labels, &newest, &data)?
            };
            if let Some(labels) = labels {
                out.put(index, column, labels, step, point);
            }
        }
    }
    distinct(out.columns)
}

/// The matchers that select info series: with only negative ones, those that end as info metrics do.
fn name_matchers(mut names: Vec<Matcher>) -> Result<Vec<Matcher>, QueryError> {
    if names.is_empty() {
        return Ok(vec![Matcher::equal(METRIC_NAME, TARGET_INFO)]);
    }
    if !names.iter().any(|matcher| matches!(matcher.op, MatchOp::Equal | MatchOp::Regex)) {
        names.insert(0, Matcher::new(MatchOp::Regex, METRIC_NAME, ".+_info").map_err(QueryError::Internal)?);
    }
    Ok(names)
}

/// The info series of the targets in `base`, their values the times of their samples in seconds.
fn info_series(
    context: &Context<'_>,
    arg: &Expr,
    base: &[Column],
    is_info: &dyn Fn(&Labels) -> bool,
    names: &[Matcher],
    data: &[Matcher],
) -> Result<Vec<Column>, QueryError> {
    let mut matchers = names.to_vec();
    matchers.extend_from_slice(data);
    let mut targets = 0;
    for label in IDENTITY {
        let values: HashSet<&str> = base
            .iter()
            .filter(|column| !is_info(&column.labels))
            .map(|column| column.labels.get(label))
            .filter(|value| !value.is_empty())
            .collect();
        if !values.is_empty() {
            targets += 1;
            let any: Vec<String> = values.into_iter().map(regex::escape).collect();
            matchers
                .push(Matcher::new(MatchOp::Regex, label, &any.join("|")).map_err(QueryError::execution)?);
        }
    }
    if targets == 0 {
        return Ok(Vec::new());
    }
    let placement = placement_of(context, arg, Vec::new())?.unwrap_or_default();
    let selected =
        VectorSelector { name: None, matchers, placement, extension: Extension::None, span: Span::default() };
    select::instant_by(
        context,
        &selected,
        Some(&|time, point, _| match point {
            Point::Float(_) => Some(Point::Float(time as f64 / 1000.0)),
            histogram => Some(histogram),
        }),
    )
}

/// When the first selector inside of an expression looks: the innermost `@`, and the offsets up to it.
fn placement_of(
    context: &Context<'_>,
    expr: &Expr,
    mut around: Vec<Placement>,
) -> Result<Option<Placement>, QueryError> {
    let children: Vec<&Expr> = match expr {
        Expr::Vector(selected) => return merged(context, &selected.placement, &around).map(Some),
        Expr::Matrix(matrix) => return merged(context, &matrix.selector.placement, &around).map(Some),
        Expr::Subquery(subquery) => {
            around.push(subquery.placement.clone());
            vec![&subquery.inner]
        }
        Expr::Paren { inner, .. } | Expr::Unary { inner, .. } => vec![inner],
        Expr::Binary(binary) => vec![&binary.left, &binary.right],
        Expr::Aggregate(aggregate) => vec![&aggregate.inner],
        Expr::Call(call) => call.args.iter().collect(),
        Expr::Number { .. } | Expr::Text { .. } => Vec::new(),
    };
    for child in children {
        if let Some(found) = placement_of(context, child, around.clone())? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn merged(context: &Context<'_>, inner: &Placement, around: &[Placement]) -> Result<Placement, QueryError> {
    let (mut at, mut offset) = (inner.at, 0);
    let offset_of = |placement: &Placement| match &placement.offset {
        Some(duration) => milliseconds(context, duration, true),
        None => Ok(0),
    };
    offset += offset_of(inner)?;
    for outer in around.iter().rev() {
        if at.is_some() {
            break;
        }
        offset += offset_of(outer)?;
        at = outer.at;
    }
    let duration = super::super::syntax::Duration::Literal(offset as f64 / 1000.0, Span::default());
    let placement = Placement { offset: Some(duration), at };
    Shift::new(context, &placement)?;
    Ok(placement)
}

/// An info metric's name and its target.
type Key<'a> = (&'a str, [&'a str; 2]);

fn target(labels: &Labels) -> [&str; 2] {
    IDENTITY.map(|label| labels.get(label))
}

/// The newest info series of each metric and target at a step.
fn newest(infos: &[Column], step: usize) -> Result<BTreeMap<Key<'_>, &Labels>, QueryError> {
    let mut newest: BTreeMap<Key<'_>, (f64, &Labels)> = BTreeMap::new();
    for column in infos.iter().filter(|column| column.has(step)) {
        if column.histogram(step).is_some() {
            return Err(QueryError::execution("info sample should be float"));
        }
        let (time, labels) = (column.values[step], &column.labels);
        let key = (labels.get(METRIC_NAME), target(labels));
        match newest.get(&key) {
            Some((other, known)) if *other == time => {
                let ms = (time * 1000.0).round();
                return Err(QueryError::execution(format!(
                    "found duplicate series for info metric: existing {} @ {ms}, new {} @ {ms}; look-back is {LOOKBACK_MS} ms",
                    known.quoted(),
                    labels.quoted(),
                )));
            }
            Some((other, _)) if *other > time => {}
            _ => {
                newest.insert(key, (time, labels));
            }
        }
    }
    Ok(newest.into_iter().map(|(key, (_, labels))| (key, labels)).collect())
}

/// A series' labels with those of its info series; `None` when it must have some and has none.
fn enriched(
    base: &Labels,
    newest: &BTreeMap<Key<'_>, &Labels>,
    data: &[Matcher],
) -> Result<Option<Labels>, QueryError> {
    let own = target(base);
    let mut added: Vec<(&str, &str)> = Vec::new();
    let mut found = false;
    for (_, info) in newest.iter().filter(|((_, target), _)| *target == own) {
        found = true;
        for (name, value) in info.iter().filter(|(name, _)| &**name != METRIC_NAME) {
            if !data.is_empty() && !data.iter().any(|matcher| matcher.name == **name) {
                continue;
            }
            match added.iter().find(|(other, _)| *other == &**name) {
                Some((_, other)) if *other != &**value => {
                    return Err(QueryError::execution(format!("conflicting label: {name}")));
                }
                Some(_) => {}
                None if base.get(name).is_empty() => added.push((name, value)),
                None => {}
            }
        }
    }
    if !found && !data.iter().all(|matcher| matcher.is_match("")) {
        return Ok(None);
    }
    let labels = base.iter().map(|(name, value)| (&**name, &**value)).chain(added);
    Ok(Some(labels.collect()))
}

/// The result: for each base series a column for each set of labels that it had.
struct Enriched {
    columns: Vec<Column>,
    places: HashMap<(usize, Labels), usize>,
}

impl Enriched {
    fn put(&mut self, base: usize, column: &Column, labels: Labels, step: usize, point: Point) {
        let place = *self.places.entry((base, labels.clone())).or_insert(self.columns.len());
        if place == self.columns.len() {
            let mut empty = Column::absent(labels, column.values.len());
            empty.drop_name = column.drop_name;
            self.columns.push(empty);
        }
        self.columns[place].set(step, Some(point));
    }
}
