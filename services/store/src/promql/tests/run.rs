//! Runs a script and compares.

use std::sync::Arc;

use super::memory::Memory;
use super::nhcb;
use super::script::{Command, Eval, Loaded, Words, parse};
use super::sequence::Item;
use crate::histogram::Histogram;
use crate::promql::{self, Grid, Level, Outcome, Point, QueryError, Track, Value};
use crate::series::Labels;

/// Relative difference that numbers may have.
const EPSILON: f64 = 1e-6;

/// How a script went.
pub(super) struct Ran {
    pub(super) evaluations: usize,
    pub(super) failures: Vec<String>,
}

/// Runs a script to its end, whatever fails on the way.
pub(super) fn script(text: &str) -> Ran {
    let mut ran = Ran { evaluations: 0, failures: Vec::new() };
    let commands = match parse(text) {
        Ok(commands) => commands,
        Err(error) => {
            ran.failures.push(error);
            ran.evaluations = 1;
            return ran;
        }
    };
    let mut memory = Memory::default();
    for command in commands {
        match command {
            Command::Clear => memory = Memory::default(),
            Command::Load { step, series, native } => load(&mut memory, step, &series, native),
            Command::Eval(eval) => {
                ran.evaluations += 1;
                if let Err(reason) = evaluate(&memory, &eval) {
                    ran.failures.push(format!("line {}: {}: {reason}", eval.line, eval.query));
                }
            }
        }
    }
    ran
}

fn load(memory: &mut Memory, step: i64, series: &[Loaded], native: bool) {
    for loaded in series {
        let track = memory.track(&loaded.labels);
        for (place, item) in loaded.items.iter().enumerate() {
            let time = place as i64 * step;
            let start = loaded.starts.get(place).copied().flatten().map_or(0, |offset| time + offset);
            match item {
                Item::Nothing => {}
                Item::Float(value) => {
                    track.times.push(time);
                    track.values.push(*value);
                    track.starts.push(start);
                }
                Item::Histogram(histogram, _) => {
                    track.histograms.push((time, Arc::new((**histogram).clone())));
                    track.histogram_starts.push(start);
                }
            }
        }
    }
    if native {
        nhcb::load(memory, step, series);
    }
    memory.sort();
}

fn evaluate(memory: &Memory, eval: &Eval) -> Result<(), String> {
    let grid = match eval.step {
        Some(step) => Grid { start: eval.start, end: eval.end, step },
        None => Grid::instant(eval.start),
    };
    let outcome = promql::parse(&eval.query).and_then(|expr| promql::evaluate(memory, &expr, grid));
    let outcome = match (outcome, &eval.fail) {
        (Err(error), Some(words)) => return failed(&error, words),
        (Err(error), None) => return Err(format!("failed: {error}")),
        (Ok(_), Some(_)) => return Err("did not fail".into()),
        (Ok(outcome), None) => outcome,
    };
    notes(eval, &outcome)?;
    compare(eval, &outcome.value, grid)
}

fn failed(error: &QueryError, words: &Words) -> Result<(), String> {
    let said = error.to_string();
    if words.fit(&said) { Ok(()) } else { Err(format!("failed in other words: {said}")) }
}

fn notes(eval: &Eval, outcome: &Outcome) -> Result<(), String> {
    let sides = [
        (Level::Warning, &eval.warnings, eval.no_warnings, "warnings"),
        (Level::Info, &eval.infos, eval.no_infos, "infos"),
    ];
    for (level, expected, none, name) in sides {
        let said = outcome.notes.texts(level, &eval.query);
        if none && !said.is_empty() {
            return Err(format!("has {name}: {said:?}"));
        }
        if expected.is_empty() {
            continue;
        }
        let fits = |words: &Words| said.iter().any(|text| words.fit(text));
        let known = |text: &String| expected.iter().any(|words| words.fit(text));
        if !expected.iter().all(fits) || !said.iter().all(known) {
            return Err(format!("has other {name}: {said:?}"));
        }
    }
    Ok(())
}

fn compare(eval: &Eval, value: &Value, grid: Grid) -> Result<(), String> {
    match value {
        Value::Text(text) => {
            if eval.text.as_ref() == Some(text) {
                Ok(())
            } else {
                Err(format!("is the text {text:?}"))
            }
        }
        Value::Scalar(values) => scalar(eval, values),
        Value::Matrix(series) => {
            let (start, _, step) = eval.range_vector.ok_or("is a range vector")?;
            let found = series.iter().map(|(labels, track)| (labels, track.clone())).collect();
            each(eval, found, start, step)
        }
        Value::Vector(columns) => {
            let found: Vec<(&Labels, Track)> = columns
                .iter()
                .map(|column| {
                    let mut track = Track::default();
                    for (step, time) in grid.times().enumerate() {
                        match column.point(step) {
                            Some(Point::Float(value)) => {
                                track.times.push(time);
                                track.values.push(value);
                            }
                            Some(Point::Histogram(histogram)) => track.histograms.push((time, histogram)),
                            None => {}
                        }
                    }
                    (&column.labels, track)
                })
                .collect();
            if eval.ordered {
                let order: Vec<_> = found.iter().map(|(labels, _)| (*labels).clone()).collect();
                let expected: Vec<_> = eval.series.iter().map(|(labels, _)| labels.clone()).collect();
                if order != expected {
                    return Err(format!("is in another order: {order:?}"));
                }
            }
            each(eval, found, grid.start, eval.step.unwrap_or(1))
        }
    }
}

fn scalar(eval: &Eval, values: &[f64]) -> Result<(), String> {
    let expected: Vec<f64> = match (eval.scalar, eval.series.as_slice()) {
        (Some(value), _) => vec![value],
        (None, [(labels, items)]) if *labels == Labels::empty() => items
            .iter()
            .filter_map(|item| if let Item::Float(value) = item { Some(*value) } else { None })
            .collect(),
        _ => return Err(format!("is the scalar {values:?}")),
    };
    let same = values.len() == expected.len() && values.iter().zip(&expected).all(|(a, b)| nearly(*a, *b));
    if same { Ok(()) } else { Err(format!("is the scalar {values:?}")) }
}

/// Compares series, whatever their order.
fn each(eval: &Eval, found: Vec<(&Labels, Track)>, start: i64, step: i64) -> Result<(), String> {
    for (labels, track) in &found {
        let Some((_, items)) = eval.series.iter().find(|(expected, _)| expected == *labels) else {
            return Err(format!("has {labels:?} {}", show(track)));
        };
        let wrong = || format!("has {labels:?} with other samples: {}", show(track));
        let (mut floats, mut histograms) = (0, 0);
        for (place, item) in items.iter().enumerate() {
            let time = start + place as i64 * step;
            match item {
                Item::Nothing => {}
                Item::Float(expected) => {
                    let same =
                        track.times.get(floats) == Some(&time) && nearly(track.values[floats], *expected);
                    if !same {
                        return Err(wrong());
                    }
                    floats += 1;
                }
                Item::Histogram(expected, hinted) => {
                    let (at, seen) = track.histograms.get(histograms).ok_or_else(wrong)?;
                    if *at != time || !same_histogram(seen, expected, *hinted) {
                        return Err(wrong());
                    }
                    histograms += 1;
                }
            }
        }
        if floats != track.times.len() || histograms != track.histograms.len() {
            return Err(wrong());
        }
    }
    let missing = eval
        .series
        .iter()
        .find(|(expected, items)| !found.iter().any(|(labels, _)| *labels == expected) && !items.is_empty());
    match missing {
        Some((labels, _)) => Err(format!("has not {labels:?}")),
        None if eval.scalar.is_some() => Err("is no scalar".into()),
        None => Ok(()),
    }
}

fn show(track: &Track) -> String {
    let mut samples: Vec<(i64, String)> =
        track.times.iter().zip(&track.values).map(|(time, value)| (*time, value.to_string())).collect();
    let text = |h: &Histogram| {
        format!(
            "{} schema {} hint {:?} bounds {:?}",
            promql::histogram_text(h),
            h.schema,
            h.reset_hint,
            h.custom_bounds
        )
    };
    samples.extend(track.histograms.iter().map(|(time, histogram)| (*time, text(histogram))));
    samples.sort_by_key(|(time, _)| *time);
    samples.iter().map(|(time, text)| format!("{text}@{time}")).collect::<Vec<_>>().join(" ")
}

/// Whether two numbers are the same but for rounding; NaN is the same as NaN.
fn nearly(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    if a == b {
        return true;
    }
    let (difference, sum) = ((a - b).abs(), a.abs() + b.abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < EPSILON
}

fn same_histogram(a: &Histogram, b: &Histogram, hinted: bool) -> bool {
    let full = |h: &Histogram| {
        let side = |buckets: &crate::histogram::Buckets| -> Vec<(i32, f64)> {
            buckets.iter().filter(|(_, count)| *count != 0.0).collect()
        };
        (side(&h.positive), side(&h.negative))
    };
    let sides = |a: &[(i32, f64)], b: &[(i32, f64)]| {
        a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.0 == y.0 && nearly(x.1, y.1))
    };
    let ((a_up, a_down), (b_up, b_down)) = (full(a), full(b));
    a.schema == b.schema
        && nearly(a.count, b.count)
        && nearly(a.sum, b.sum)
        && a.zero_threshold == b.zero_threshold
        && nearly(a.zero_count, b.zero_count)
        && a.custom_bounds == b.custom_bounds
        && sides(&a_up, &b_up)
        && sides(&a_down, &b_down)
        && (!hinted || a.reset_hint == b.reset_hint)
}
