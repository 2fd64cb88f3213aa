//! The tree to a plan: constants folded, the time range pulled out, and how many rows must be kept.

use super::ast::{Filter, Pipe, Query, TimeRange};
use super::{LIMIT_DEFAULT, LIMIT_MAX};

/// Which rows a scan must keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The newest ones.
    Newest(usize),
    /// The oldest ones.
    Oldest(usize),
    /// All of them; more than [`LIMIT_MAX`] is an error, since a pipe needs every row.
    All,
    /// None: only how many there are in each group.
    Counts {
        /// Fields that make the groups.
        by: Vec<String>,
        /// Name of the result.
        name: String,
    },
}

/// What a scan does.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Times outside are not looked at.
    pub range: TimeRange,
    /// The folded filter, without the times that are in `range`.
    pub filter: Filter,
    /// What the scan keeps, newest first but for [`Keep::Oldest`].
    pub keep: Keep,
    /// Pipes that are still to be applied to what the scan kept.
    pub pipes: Vec<Pipe>,
    /// Most rows of the answer, after the pipes.
    pub limit: usize,
    /// The only fields that are needed, or `None` for all.
    pub fields: Option<Vec<String>>,
}

/// Plans a query within `range` (the `start` and `end` arguments) with the `limit` argument.
pub fn plan(query: Query, range: TimeRange, limit: Option<usize>) -> Plan {
    let mut range = range;
    let filter = take_times(fold(query.filter), &mut range);
    let filter = if range.from >= range.to { Filter::Nothing } else { filter };
    let mut pipes = query.pipes;
    // A limit that the query states itself takes the place of the default.
    let stated = pipes.iter().any(|pipe| matches!(pipe, Pipe::Limit(_)));
    let limit = limit.unwrap_or(if stated { LIMIT_MAX } else { LIMIT_DEFAULT }).min(LIMIT_MAX);
    let keep = match pipes.first() {
        Some(Pipe::Count { by, name }) => {
            let keep = Keep::Counts { by: by.clone(), name: name.clone() };
            pipes.remove(0);
            keep
        }
        Some(Pipe::Sort { by }) if matches!(by.as_slice(), [(name, _)] if name == "_time") => {
            let newest = by[0].1;
            let wanted = wanted(&pipes[1..], limit);
            if newest { Keep::Newest(wanted) } else { Keep::Oldest(wanted) }
        }
        _ if pipes.iter().any(|pipe| matches!(pipe, Pipe::Sort { .. } | Pipe::Count { .. })) => {
            needs_all(&pipes).unwrap_or(Keep::All)
        }
        _ => Keep::Newest(wanted(&pipes, limit)),
    };
    let fields = needed_fields(&pipes);
    Plan { range, filter, keep, pipes, limit, fields }
}

/// A pipe that needs every row is behind a limit in `… | limit 5 | sort by (a)`: then five are enough.
fn needs_all(pipes: &[Pipe]) -> Option<Keep> {
    let before: Vec<_> =
        pipes.iter().take_while(|p| !matches!(p, Pipe::Sort { .. } | Pipe::Count { .. })).collect();
    let limited = before.iter().any(|pipe| matches!(pipe, Pipe::Limit(_)));
    let owned: Vec<Pipe> = before.into_iter().cloned().collect();
    limited.then(|| Keep::Newest(wanted(&owned, LIMIT_MAX)))
}

/// Rows that must come in so that `limit` rows can come out of pipes that only pass rows on.
fn wanted(pipes: &[Pipe], limit: usize) -> usize {
    let wanted = pipes.iter().rev().fold(limit, |wanted, pipe| match pipe {
        Pipe::Limit(count) => wanted.min(*count),
        Pipe::Offset(count) => wanted.saturating_add(*count),
        _ => wanted,
    });
    wanted.min(LIMIT_MAX)
}

/// When a `fields` pipe comes before anything that reads other fields, only those are needed.
fn needed_fields(pipes: &[Pipe]) -> Option<Vec<String>> {
    for pipe in pipes {
        match pipe {
            Pipe::Fields(names) => return Some(names.clone()),
            Pipe::Count { by, .. } => return Some(by.clone()),
            Pipe::Sort { by } if by.iter().all(|(name, _)| name == "_time") => {}
            Pipe::Sort { .. } => return None,
            Pipe::Limit(_) | Pipe::Offset(_) => {}
        }
    }
    None
}

/// Folds constants, flattens nested AND and OR, and removes double negations.
fn fold(filter: Filter) -> Filter {
    match filter {
        Filter::Not(inner) => match fold(*inner) {
            Filter::All => Filter::Nothing,
            Filter::Nothing => Filter::All,
            Filter::Not(twice) => *twice,
            other => Filter::Not(Box::new(other)),
        },
        Filter::And(parts) => {
            let mut kept = Vec::new();
            for part in parts.into_iter().map(fold) {
                match part {
                    Filter::All => {}
                    Filter::Nothing => return Filter::Nothing,
                    Filter::And(inner) => kept.extend(inner),
                    other => kept.push(other),
                }
            }
            one_or(kept, Filter::All, Filter::And)
        }
        Filter::Or(parts) => {
            let mut kept = Vec::new();
            for part in parts.into_iter().map(fold) {
                match part {
                    Filter::Nothing => {}
                    Filter::All => return Filter::All,
                    Filter::Or(inner) => kept.extend(inner),
                    other => kept.push(other),
                }
            }
            one_or(kept, Filter::Nothing, Filter::Or)
        }
        other => other,
    }
}

fn one_or(mut parts: Vec<Filter>, none: Filter, many: fn(Vec<Filter>) -> Filter) -> Filter {
    match parts.len() {
        0 => none,
        1 => parts.swap_remove(0),
        _ => many(parts),
    }
}

/// Moves the times that every row must satisfy from the filter into `range`.
fn take_times(filter: Filter, range: &mut TimeRange) -> Filter {
    match filter {
        Filter::Time(time) => {
            *range = range.and(time);
            Filter::All
        }
        Filter::And(parts) => {
            let mut kept = Vec::new();
            for part in parts {
                match part {
                    Filter::Time(time) => *range = range.and(time),
                    other => kept.push(other),
                }
            }
            one_or(kept, Filter::All, Filter::And)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::ast::Test;
    use super::super::parse::parse;
    use super::*;

    fn planned(text: &str) -> Plan {
        plan(parse(text, 1000).unwrap(), TimeRange { from: 100, to: 900 }, None)
    }

    #[test]
    fn times_become_the_range_and_constants_go() {
        let word = |text: &str| Filter::Field { name: "_msg".into(), test: Test::Phrase(text.into()) };
        let one = planned("* a _time:[now-500ns, now-300ns]");
        assert_eq!((one.filter, one.range), (word("a"), TimeRange { from: 500, to: 701 }));
        assert_eq!(planned("a or *").filter, Filter::All);
        assert_eq!(planned("a !*").filter, Filter::Nothing);
        assert_eq!(planned("!(!a)").filter, word("a"));
        assert_eq!(planned("a (b c)").filter, Filter::And(vec![word("a"), word("b"), word("c")]));
        assert_eq!(planned("_time:[now-2000ns, now-1500ns]").filter, Filter::Nothing);
        assert!(matches!(planned("a or _time:5m").filter, Filter::Or(_)));
    }

    #[test]
    fn only_the_rows_that_can_be_asked_for_are_kept() {
        let keep = |text| planned(text).keep;
        assert_eq!(keep("*"), Keep::Newest(LIMIT_DEFAULT));
        assert_eq!(keep("* | offset 20 | limit 5"), Keep::Newest(25));
        assert_eq!(keep("* | sort by (_time) | limit 7"), Keep::Oldest(7));
        assert_eq!(keep("* | sort by (_time desc) | limit 7"), Keep::Newest(7));
        assert_eq!(keep("* | sort by (a)"), Keep::All);
        assert_eq!(keep("* | limit 5 | sort by (a)"), Keep::Newest(5));
        assert_eq!(
            keep("* | stats by (a) count() n"),
            Keep::Counts { by: vec!["a".into()], name: "n".into() }
        );
        assert_eq!(keep("* | limit 99999999"), Keep::Newest(LIMIT_MAX));
        assert_eq!(planned("* | fields a").fields, Some(vec!["a".to_owned()]));
    }
}
