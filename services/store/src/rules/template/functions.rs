//! The functions of templates.

use vakt_wire::time::rfc3339;

use super::{Data, Scope, Series, text_of, truth};
use crate::promql::{plain_number, short_number};

const KNOWN: &[&str] = &[
    "and",
    "eq",
    "first",
    "ge",
    "gt",
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "index",
    "label",
    "le",
    "len",
    "lt",
    "match",
    "ne",
    "not",
    "or",
    "print",
    "printf",
    "query",
    "reReplaceAll",
    "sortByLabel",
    "stripPort",
    "strvalue",
    "title",
    "toLower",
    "toUpper",
    "value",
];

/// Whether there is a function of this name.
pub(super) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// Calls a function.
pub(super) fn call(name: &str, args: Vec<Data>, scope: &Scope<'_>) -> Result<Data, String> {
    let text = |text: String| Ok(Data::Text(text));
    match (name, args.as_slice()) {
        ("query", [Data::Text(query)]) => (scope.query)(query).map(Data::List),
        ("first", [Data::List(list)]) => {
            let first = list.first().cloned().map(Data::Series);
            first.ok_or_else(|| "first() called on vector with no elements".into())
        }
        ("value", [Data::Series(series)]) => Ok(Data::Number(series.value)),
        ("label", [Data::Text(name), Data::Series(series)]) => text(series.labels.get(name).to_owned()),
        ("strvalue", [Data::Series(series)]) => text(series.labels.get("__value__").to_owned()),
        ("sortByLabel", [Data::Text(name), Data::List(list)]) => {
            let mut sorted: Vec<Series> = list.clone();
            sorted.sort_by(|a, b| a.labels.get(name).cmp(b.labels.get(name)));
            Ok(Data::List(sorted))
        }
        ("index", [Data::Labels(labels), Data::Text(name)]) => text(labels.get(name).to_owned()),
        ("len", [Data::List(list)]) => Ok(Data::Number(list.len() as f64)),
        ("len", [Data::Text(text)]) => Ok(Data::Number(text.len() as f64)),
        ("humanize", [value]) => text(humanize(float(value)?)),
        ("humanize1024", [value]) => text(humanize1024(float(value)?)),
        ("humanizeDuration", [value]) => text(humanize_duration(float(value)?)),
        ("humanizePercentage", [value]) => text(format!("{}%", significant(float(value)? * 100.0))),
        ("humanizeTimestamp", [value]) => text(timestamp(float(value)?)),
        ("title", [value]) => text(title(&text_of(value))),
        ("toUpper", [value]) => text(text_of(value).to_uppercase()),
        ("toLower", [value]) => text(text_of(value).to_lowercase()),
        ("stripPort", [value]) => {
            let host = text_of(value);
            let stripped = host.rsplit_once(':').map_or(host.as_str(), |(host, _)| host);
            text(stripped.trim_matches(['[', ']']).to_owned())
        }
        ("match", [Data::Text(pattern), value]) => {
            regex(pattern).map(|regex| Data::Truth(regex.is_match(&text_of(value))))
        }
        ("reReplaceAll", [Data::Text(pattern), Data::Text(replacement), value]) => {
            let regex = regex(pattern)?;
            text(regex.replace_all(&text_of(value), replacement.as_str()).into_owned())
        }
        ("print", args) => text(args.iter().map(text_of).collect::<Vec<_>>().join(" ")),
        ("printf", [Data::Text(format), args @ ..]) => printf(format, args).map(Data::Text),
        ("not", [value]) => Ok(Data::Truth(!truth(value))),
        ("and", [a, b]) => Ok(if truth(a) { b.clone() } else { a.clone() }),
        ("or", [a, b]) => Ok(if truth(a) { a.clone() } else { b.clone() }),
        ("eq" | "ne" | "lt" | "le" | "gt" | "ge", [a, b]) => compare(name, a, b),
        _ => Err(format!("{name} is not for {} such arguments", args.len())),
    }
}

fn regex(pattern: &str) -> Result<regex::Regex, String> {
    regex::RegexBuilder::new(pattern).size_limit(1 << 20).build().map_err(|error| error.to_string())
}

fn float(data: &Data) -> Result<f64, String> {
    match data {
        Data::Number(value) => Ok(*value),
        Data::Text(text) => text.parse().map_err(|_| format!("{text:?} is no number")),
        Data::Series(series) => Ok(series.value),
        _ => Err("a number is needed".into()),
    }
}

fn compare(name: &str, a: &Data, b: &Data) -> Result<Data, String> {
    let order = match (a, b) {
        (Data::Text(a), Data::Text(b)) => Some(a.cmp(b)),
        (Data::Truth(a), Data::Truth(b)) => Some(a.cmp(b)),
        _ => float(a)?.partial_cmp(&float(b)?),
    };
    Ok(Data::Truth(match name {
        "eq" => order.is_some_and(std::cmp::Ordering::is_eq),
        "ne" => !order.is_some_and(std::cmp::Ordering::is_eq),
        "lt" => order.is_some_and(std::cmp::Ordering::is_lt),
        "le" => order.is_some_and(std::cmp::Ordering::is_le),
        "gt" => order.is_some_and(std::cmp::Ordering::is_gt),
        _ => order.is_some_and(std::cmp::Ordering::is_ge),
    }))
}

/// Go's `%.4g`: four digits that count.
fn significant(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return plain_number(value);
    }
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    if (1e-4..1e4).contains(&rounded.abs()) {
        plain_number(rounded)
    } else {
        crate::promql::exponent(rounded)
    }
}

/// With a metric prefix.
fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return significant(value);
    }
    let (mut left, mut prefix) = (value, "");
    if left.abs() >= 1.0 {
        for p in ["k", "M", "G", "T", "P", "E", "Z", "Y"] {
            if left.abs() < 1000.0 {
                break;
            }
            (left, prefix) = (left / 1000.0, p);
        }
    } else {
        for p in ["m", "u", "n", "p", "f", "a", "z", "y"] {
            if left.abs() >= 1.0 {
                break;
            }
            (left, prefix) = (left * 1000.0, p);
        }
    }
    format!("{}{prefix}", significant(left))
}

/// With a binary prefix.
fn humanize1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return significant(value);
    }
    let (mut left, mut prefix) = (value, "");
    for p in ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"] {
        if left.abs() < 1024.0 {
            break;
        }
        (left, prefix) = (left / 1024.0, p);
    }
    format!("{}{prefix}", significant(left))
}

/// Days, hours, minutes and seconds; below a second with a metric prefix.
fn humanize_duration(value: f64) -> String {
    if !value.is_finite() {
        return significant(value);
    }
    if value == 0.0 {
        return "0s".into();
    }
    if value.abs() < 1.0 {
        return format!("{}s", humanize(value));
    }
    let (sign, seconds) = (if value < 0.0 { "-" } else { "" }, value.abs() as u64);
    let (minutes, hours, days) = (seconds / 60 % 60, seconds / 3600 % 24, seconds / 86_400);
    let left = seconds % 60;
    if days > 0 {
        return format!("{sign}{days}d {hours}h {minutes}m {left}s");
    }
    if hours > 0 {
        return format!("{sign}{hours}h {minutes}m {left}s");
    }
    if minutes > 0 {
        return format!("{sign}{minutes}m {left}s");
    }
    format!("{sign}{}s", significant(value.abs()))
}

/// As Go shows a time in UTC.
fn timestamp(seconds: f64) -> String {
    let nanoseconds = seconds * 1e9;
    if nanoseconds.is_nan() || nanoseconds.abs() >= i64::MAX as f64 {
        return significant(seconds);
    }
    let text = rfc3339(nanoseconds as i64);
    format!("{} +0000 UTC", text.trim_end_matches('Z').replace('T', " "))
}

/// Each word with a capital letter.
fn title(text: &str) -> String {
    let mut start = true;
    let one = |c: char| {
        let upper = start && c.is_alphabetic();
        start = !(c.is_alphanumeric() || c == '_' || c == '\'');
        if upper { c.to_uppercase().collect::<String>() } else { c.to_string() }
    };
    text.chars().map(one).collect()
}

/// Go's Printf for `%s %v %q %d %f %g %e %t %%`, with a precision.
fn printf(format: &str, args: &[Data]) -> Result<String, String> {
    let (mut out, mut rest, mut args) = (String::new(), format, args.iter());
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let directive = &rest[at + 1..];
        let length =
            directive.find(|c: char| c.is_ascii_alphabetic() || c == '%').ok_or("printf has no verb")?;
        let (flags, verb) = (&directive[..length], &directive[length..=length]);
        rest = &directive[length + 1..];
        if verb == "%" {
            out.push('%');
            continue;
        }
        let arg = args.next().ok_or("printf has too few arguments")?;
        let precision = match flags.split_once('.') {
            Some((_, digits)) => {
                Some(digits.parse::<usize>().map_err(|_| "printf has a wrong precision")?.min(40))
            }
            None => None,
        };
        let shown = match verb {
            "s" | "v" | "t" => text_of(arg),
            "q" => crate::promql::syntax::quoted(&text_of(arg)),
            "d" => format!("{}", float(arg)? as i64),
            "f" => format!("{:.*}", precision.unwrap_or(6), float(arg)?),
            "e" => format!("{:.*e}", precision.unwrap_or(6), float(arg)?),
            "g" if precision == Some(4) => significant(float(arg)?),
            "g" => short_number(float(arg)?),
            other => return Err(format!("printf does not know %{other}")),
        };
        let width =
            flags.split('.').next().and_then(|width| width.trim_start_matches('-').parse::<usize>().ok());
        match (width.map(|width| width.min(200)), flags.starts_with('-')) {
            (Some(width), true) => out.push_str(&format!("{shown:<width$}")),
            (Some(width), false) => out.push_str(&format!("{shown:>width$}")),
            (None, _) => out.push_str(&shown),
        }
    }
    out.push_str(rest);
    Ok(out)
}
