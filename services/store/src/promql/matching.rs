//! Matching two vectors: one to one, many to one, and the set operators.

use hashbrown::{HashMap, HashSet};

use super::binary::{Made, Work};
use super::eval::distinct;
use super::limits::QueryError;
use super::syntax::{Cardinality, Matching, Operator};
use super::value::{Column, Point, nameless};
use crate::series::{Labels, METRIC_NAME};

/// The labels by which two series match.
fn signature(labels: &Labels, matching: &Matching) -> Labels {
    let named = |name: &str| matching.labels.iter().any(|label| label == name);
    if matching.on {
        labels.without(|name| !named(name))
    } else {
        labels.without(|name| name == METRIC_NAME || named(name))
    }
}

/// The series of both sides by the group in which they match.
struct Groups {
    /// For each group its signature.
    signatures: Vec<Labels>,
    left: Vec<usize>,
    right: Vec<usize>,
}

impl Groups {
    fn new(left: &[Column], right: &[Column], matching: &Matching) -> Groups {
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut signatures = Vec::new();
        let mut of = |column: &Column| {
            let signature = signature(&column.labels, matching);
            *places.entry(signature.clone()).or_insert_with(|| {
                signatures.push(signature);
                signatures.len() - 1
            })
        };
        let left = left.iter().map(&mut of).collect();
        let right = right.iter().map(&mut of).collect();
        Groups { signatures, left, right }
    }
}

/// `left op right` with PromQL's matching rules.
///
/// # Errors
/// In Prometheus' words when a series has several partners at a step and no grouping allows it.
pub(super) fn arithmetic(
    work: Work<'_>,
    left: Vec<Column>,
    right: Vec<Column>,
    matching: &Matching,
) -> Result<Vec<Column>, QueryError> {
    // The "many" side is the left one, unless group_right says otherwise.
    let swapped = matching.cardinality == Cardinality::OneToMany;
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let groups = Groups::new(&many, &one, matching);
    let mut match_up = MatchUp {
        work,
        matching,
        swapped,
        many: &many,
        one: &one,
        groups: &groups,
        results: Vec::new(),
        places: HashMap::new(),
    };
    for step in 0..work.context.grid.len() {
        match_up.at(step)?;
        work.context.usage.hold(match_up.results.len(), work.context.grid.len())?;
    }
    distinct(match_up.results)
}

/// Two vectors on their way to one. After a swap the fill of the left side is that of `one`.
struct MatchUp<'a> {
    work: Work<'a>,
    matching: &'a Matching,
    swapped: bool,
    many: &'a [Column],
    one: &'a [Column],
    groups: &'a Groups,
    results: Vec<Column>,
    /// The result's column for a pair of series; none stands for a filled one.
    places: HashMap<(Option<usize>, Option<usize>), usize>,
}

/// A series at a step: its index, or none for a filled value.
type Side = (Option<usize>, Point);

impl MatchUp<'_> {
    fn at(&mut self, step: usize) -> Result<(), QueryError> {
        let mut partners: Vec<Option<usize>> = vec![None; self.groups.signatures.len()];
        for (index, &group) in self.groups.right.iter().enumerate() {
            if !self.one[index].has(step) {
                continue;
            }
            if let Some(other) = partners[group].replace(index) {
                return Err(self.duplicate(group, index, other));
            }
        }
        let mut taken: Vec<bool> = vec![false; partners.len()];
        let mut inserted: HashSet<(usize, Labels)> = HashSet::new();
        for (index, &group) in self.groups.left.iter().enumerate() {
            let Some(point) = self.many[index].point(step) else { continue };
            let partner = match (partners[group], self.matching.fill_right) {
                (Some(partner), _) => self.one[partner].point(step).map(|point| (Some(partner), point)),
                (None, fill) => fill.map(|fill| (None, Point::Float(fill))),
            };
            if let Some(partner) = partner {
                self.pair(step, group, (Some(index), point), partner, &mut taken, &mut inserted)?;
            }
        }
        let Some(fill) = self.matching.fill_left else { return Ok(()) };
        for (index, &group) in self.groups.right.iter().enumerate() {
            if taken[group] {
                continue;
            }
            let Some(point) = self.one[index].point(step) else { continue };
            let filled = (None, Point::Float(fill));
            self.pair(step, group, filled, (Some(index), point), &mut taken, &mut inserted)?;
        }
        Ok(())
    }

    fn pair(
        &mut self,
        step: usize,
        group: usize,
        many: Side,
        one: Side,
        taken: &mut [bool],
        inserted: &mut HashSet<(usize, Labels)>,
    ) -> Result<(), QueryError> {
        let (left, right) = if self.swapped { (&one.1, &many.1) } else { (&many.1, &one.1) };
        let made = self.work.apply(left, right);
        if matches!(made, Made::Impossible) {
            return Ok(());
        }
        let place = self.place(group, many.0, one.0);
        if self.matching.cardinality == Cardinality::OneToOne {
            if taken[group] {
                return Err(QueryError::execution(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                ));
            }
        } else if !inserted.insert((group, self.results[place].labels.clone())) {
            return Err(QueryError::execution(
                "multiple matches for labels: grouping labels must ensure unique matches",
            ));
        }
        taken[group] = true;
        if let Made::Point(point) = made {
            self.results[place].set(step, Some(point));
        }
        Ok(())
    }

    /// The column of a pair's results.
    fn place(&mut self, group: usize, many: Option<usize>, one: Option<usize>) -> usize {
        if let Some(&place) = self.places.get(&(many, one)) {
            return place;
        }
        let signature = &self.groups.signatures[group];
        let many_labels = many.map_or(signature, |index| &self.many[index].labels);
        let one_labels = one.map_or(signature, |index| &self.one[index].labels);
        let mut labels = if self.work.keeps_name() { many_labels.clone() } else { nameless(many_labels) };
        if self.matching.cardinality == Cardinality::OneToOne {
            let named = |name: &str| self.matching.labels.iter().any(|label| label == name);
            labels = labels.without(|name| named(name) != self.matching.on);
        }
        for name in &self.matching.include {
            labels = labels.with(name, one_labels.get(name));
        }
        let mut column = Column::absent(labels, self.work.context.grid.len());
        column.drop_name = self.work.as_bool;
        self.results.push(column);
        self.places.insert((many, one), self.results.len() - 1);
        self.results.len() - 1
    }

    fn duplicate(&self, group: usize, a: usize, b: usize) -> QueryError {
        let side = if self.swapped { "left" } else { "right" };
        let mut both = [a, b].map(|index| self.one[index].labels.quoted());
        both.sort();
        QueryError::execution(format!(
            "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];\
             many-to-many matching not allowed: matching labels must be unique on one side",
            self.groups.signatures[group].quoted(),
            both[0],
            both[1]
        ))
    }
}

/// `and`, `or` and `unless`.
pub(super) fn set(
    operator: Operator,
    mut left: Vec<Column>,
    mut right: Vec<Column>,
    matching: &Matching,
) -> Vec<Column> {
    let groups = Groups::new(&left, &right, matching);
    let steps = left.first().or(right.first()).map_or(0, |column| column.values.len());
    let mut present = vec![false; groups.signatures.len()];
    for step in 0..steps {
        present.fill(false);
        // `or` looks for who is on the left, the others for who is on the right.
        let (known, known_groups) =
            if operator == Operator::Or { (&left, &groups.left) } else { (&right, &groups.right) };
        for (column, &group) in known.iter().zip(known_groups) {
            present[group] |= column.has(step);
        }
        let (judged, judged_groups) =
            if operator == Operator::Or { (&mut right, &groups.right) } else { (&mut left, &groups.left) };
        for (column, &group) in judged.iter_mut().zip(judged_groups) {
            if present[group] != (operator == Operator::And) && column.has(step) {
                column.set(step, None);
            }
        }
    }
    if operator == Operator::Or {
        left.append(&mut right);
    }
    left.retain(|column| !column.is_empty());
    left
}
