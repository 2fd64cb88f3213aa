//! The values of a series in a script: `1 2+3x4 _ stale {{schema:1 count:2}}`.

use crate::histogram::{Buckets, Histogram, ResetHint, Span};
use crate::promql::syntax::{duration_ms, metric, number};
use crate::samples::STALE_NAN;
use crate::series::Labels;

/// Samples that one item of a sequence may repeat to.
const REPEATS_MAX: usize = 100_000;

/// One place of a sequence.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Nothing,
    Float(f64),
    /// A histogram, and whether its hint was written.
    Histogram(Box<Histogram>, bool),
}

/// Splits a line into the series' labels and the text of its values.
pub(super) fn series(line: &str) -> Result<(Labels, &str), String> {
    let (mut quote, mut braces) = (None, false);
    let mut end = line.len();
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(_), '\\') if !escaped => {
                escaped = true;
                continue;
            }
            (Some(open), c) if c == open && !escaped => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '{') => braces = true,
            (None, '}') => braces = false,
            (None, ' ' | '\t') if !braces => {
                // A space may stand between the name and its braces.
                if line[at..].trim_start().starts_with('{') && !line[at..].trim_start().starts_with("{{") {
                    continue;
                }
                end = at;
                break;
            }
            _ => {}
        }
        escaped = false;
    }
    let labels = metric(&line[..end]).map_err(|error| format!("{}: {error}", &line[..end]))?;
    Ok((labels, line[end..].trim()))
}

/// Reads the values of a series.
pub(super) fn items(text: &str) -> Result<Vec<Item>, String> {
    let mut all = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let length = if rest.starts_with("{{") {
            histograms_end(rest)?
        } else {
            rest.find([' ', '\t']).unwrap_or(rest.len())
        };
        let (item, more) = rest.split_at(length);
        if item.starts_with("{{") {
            histograms(item, &mut all)?
        } else {
            floats(item, &mut all)?
        }
        rest = more.trim_start();
    }
    Ok(all)
}

fn repeat(text: &str) -> Result<usize, String> {
    let count: usize = text.parse().map_err(|_| format!("{text:?} is no number of repeats"))?;
    if count > REPEATS_MAX { Err(format!("{count} repeats are too many")) } else { Ok(count) }
}

fn floats(item: &str, out: &mut Vec<Item>) -> Result<(), String> {
    if let Some(rest) = item.strip_prefix('_') {
        let count = rest.strip_prefix('x').map_or(Ok(1), repeat)?;
        out.extend((0..count).map(|_| Item::Nothing));
        return Ok(());
    }
    let wrong = || format!("{item:?} is no value");
    let (values, count) = match item.rsplit_once('x') {
        Some((values, count)) => (values, Some(repeat(count)?)),
        None => (item, None),
    };
    let (first, step) = match count.and_then(|_| sign_after_number(values)) {
        Some(at) => (&values[..at], Some(&values[at..])),
        None => (values, None),
    };
    let value = |text: &str| match text {
        "stale" => Some(f64::from_bits(STALE_NAN)),
        _ => {
            let (sign, digits) = match text.strip_prefix('-') {
                Some(digits) => (-1.0, digits),
                None => (1.0, text.strip_prefix('+').unwrap_or(text)),
            };
            let duration = || duration_ms(digits).ok().map(|ms| ms as f64 / 1000.0);
            number(digits).or_else(duration).map(|value| sign * value)
        }
    };
    let mut current = value(first).ok_or_else(wrong)?;
    let step = step.map_or(Some(0.0), value).ok_or_else(wrong)?;
    for index in 0..=count.unwrap_or(0) {
        if index > 0 && step != 0.0 {
            current += step;
        }
        out.push(Item::Float(current));
    }
    Ok(())
}

/// Where the sign of a step stands: the first one after the number's own and not behind its exponent's `e`.
fn sign_after_number(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    (1..bytes.len()).find(|&at| {
        let exponent = matches!(bytes[at - 1], b'e' | b'E') && at > 1;
        matches!(bytes[at], b'+' | b'-') && !exponent
    })
}

fn histograms_end(text: &str) -> Result<usize, String> {
    let mut at = 0;
    loop {
        at += text[at..].find("}}").ok_or("histogram has no end")? + 2;
        let rest = &text[at..];
        if rest.starts_with("+{{") || rest.starts_with("-{{") {
            continue;
        }
        return Ok(at + rest.find([' ', '\t']).unwrap_or(rest.len()));
    }
}

fn histograms(item: &str, out: &mut Vec<Item>) -> Result<(), String> {
    let end = item.find("}}").ok_or("histogram has no end")?;
    let (first, hinted) = histogram(&item[2..end])?;
    let rest = &item[end + 2..];
    if rest.is_empty() {
        out.push(Item::Histogram(Box::new(first), hinted));
        return Ok(());
    }
    if let Some(count) = rest.strip_prefix('x') {
        let repeated = (0..=repeat(count)?).map(|_| Item::Histogram(Box::new(first.clone()), hinted));
        out.extend(repeated);
        return Ok(());
    }
    let (sign, rest) = rest.split_at(1);
    let end = rest.find("}}").ok_or("histogram has no end")?;
    let (step, _) = histogram(rest.get(2..end).ok_or("histogram has no begin")?)?;
    let count = repeat(rest[end + 2..].strip_prefix('x').ok_or("a step needs a number of repeats")?)?;
    let sum = if sign == "-" { super::super::native::Sum::Subtract } else { super::super::native::Sum::Add };
    let mut current = first;
    for index in 0..=count {
        if index > 0 {
            let total = super::super::native::combined(&current, &step, sum);
            current = total.map_err(|_| "histograms do not go together")?.histogram;
        }
        out.push(Item::Histogram(Box::new(current.clone()), hinted));
    }
    Ok(())
}

/// The inside of `{{…}}`, and whether it has a hint.
fn histogram(text: &str) -> Result<(Histogram, bool), String> {
    let mut result = Histogram::default();
    let (mut hinted, mut offset, mut negative_offset) = (false, 0, 0);
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, more) =
            rest.split_once(':').ok_or_else(|| format!("{rest:?} is no part of a histogram"))?;
        let end = match more.starts_with('[') {
            true => more.find(']').ok_or("a list has no end")? + 1,
            false => more.find([' ', '\t']).unwrap_or(more.len()),
        };
        let (value, next) = more.split_at(end);
        rest = next.trim_start();
        let float = || number_of(value).ok_or_else(|| format!("{value:?} is no number"));
        let whole = || value.parse::<i32>().map_err(|_| format!("{value:?} is no whole number"));
        match key {
            "schema" => result.schema = whole()? as i8,
            "sum" => result.sum = float()?,
            "count" => result.count = float()?,
            "z_bucket" => result.zero_count = float()?,
            "z_bucket_w" => result.zero_threshold = float()?,
            "offset" => offset = whole()?,
            "n_offset" => negative_offset = whole()?,
            "buckets" => result.positive.counts = list(value)?,
            "n_buckets" => result.negative.counts = list(value)?,
            "custom_values" => result.custom_bounds = list(value)?,
            "counter_reset_hint" => {
                hinted = true;
                result.reset_hint = match value {
                    "unknown" => ResetHint::Unknown,
                    "reset" => ResetHint::Reset,
                    "not_reset" => ResetHint::NotReset,
                    "gauge" => ResetHint::Gauge,
                    other => return Err(format!("{other:?} is no hint")),
                };
            }
            other => return Err(format!("{other:?} is no part of a histogram")),
        }
    }
    for (side, offset) in [(&mut result.positive, offset), (&mut result.negative, negative_offset)] {
        let Buckets { spans, counts } = side;
        if !counts.is_empty() {
            spans.push(Span { offset, length: counts.len() as u32 });
        }
    }
    Ok((result, hinted))
}

fn number_of(text: &str) -> Option<f64> {
    match text.strip_prefix('-') {
        Some(digits) => number(digits).map(|value| -value),
        None => number(text.strip_prefix('+').unwrap_or(text)),
    }
}

fn list(text: &str) -> Result<Vec<f64>, String> {
    let inside = text.trim_start_matches('[').trim_end_matches(']');
    inside
        .split_whitespace()
        .map(|item| number_of(item).ok_or_else(|| format!("{item:?} is no number")))
        .collect()
}

/// The starts of counters, in milliseconds before or after each sample.
pub(super) fn starts(text: &str) -> Result<Vec<Option<i64>>, String> {
    let mut all = Vec::new();
    for item in text.split_whitespace() {
        if let Some(rest) = item.strip_prefix('_') {
            let count = rest.strip_prefix('x').map_or(Ok(1), repeat)?;
            all.extend((0..count).map(|_| None));
            continue;
        }
        let (values, count) = match item.split_once('x') {
            Some((values, count)) => (values, repeat(count)?),
            None => (item, 0),
        };
        let split = sign_after_number(values);
        let signed = |text: &str| {
            let ms = duration_ms(text.trim_start_matches(['+', '-']))?;
            Ok::<_, String>(if text.starts_with('-') { -ms } else { ms })
        };
        let mut current = signed(&values[..split.unwrap_or(values.len())])?;
        let step = split.map_or(Ok(0), |at| signed(&values[at..]))?;
        for index in 0..=count {
            current += if index > 0 { step } else { 0 };
            all.push(Some(current));
        }
    }
    Ok(all)
}
