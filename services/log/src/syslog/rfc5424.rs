//! RFC 5424 after `<PRI>1 `: timestamp, host, program, process, message id, structured data, message.

use std::borrow::Cow;

use crate::record::Record;
use crate::time;

/// Parses what follows the version, into `record`.
///
/// # Errors
/// The part that is wrong, for the quarantine.
pub fn parse<'a>(rest: &'a str, record: &mut Record<'a>) -> Result<(), String> {
    let (timestamp, rest) = token(rest, "timestamp")?;
    if timestamp != "-" {
        record.time_ns = time::parse_rfc3339(timestamp)
            .ok_or_else(|| format!("timestamp {:.64} is not RFC 3339 with a zone", timestamp))?;
    }
    let mut rest = rest;
    for (name, part) in [
        ("hostname", "host name"),
        ("app_name", "program name"),
        ("proc_id", "process id"),
        ("msg_id", "message id"),
    ] {
        let (value, after) = token(rest, part)?;
        if value != "-" {
            record.push(name, value);
        }
        rest = after;
    }
    let message = match rest.strip_prefix('-') {
        Some(after) => after,
        None => structured_data(rest, record)?,
    };
    let message = match message.strip_prefix(' ') {
        Some(message) => message.strip_prefix('\u{feff}').unwrap_or(message),
        None if message.is_empty() => message,
        None => return Err("structured data is not followed by a space".into()),
    };
    record.push("_msg", message);
    Ok(())
}

fn token<'a>(text: &'a str, part: &str) -> Result<(&'a str, &'a str), String> {
    match text.split_once(' ') {
        Some(("", _)) => Err(format!("{part} is empty")),
        Some(found) => Ok(found),
        None => Err(format!("message ends in its {part}")),
    }
}

/// Reads `[id name="value" …][…]` into fields `id.name`, and returns what follows. An element
/// without parameters becomes the field `id` with the value `true`.
fn structured_data<'a>(text: &'a str, record: &mut Record<'a>) -> Result<&'a str, String> {
    let mut rest = text;
    if !rest.starts_with('[') {
        return Err("structured data is neither '-' nor begins with '['".into());
    }
    while let Some(element) = rest.strip_prefix('[') {
        let end = element
            .find([' ', ']', '=', '"'])
            .filter(|end| *end > 0)
            .ok_or("structured data has an element without a name")?;
        let id = &element[..end];
        rest = &element[end..];
        if rest.starts_with(']') {
            record.set(id, "true");
        }
        while let Some(parameter) = rest.strip_prefix(' ') {
            rest = parameter.trim_start_matches(' ');
            if rest.starts_with(']') {
                break;
            }
            let (name, after) = rest
                .split_once("=\"")
                .filter(|(name, _)| !name.is_empty() && !name.contains([' ', ']', '"']))
                .ok_or_else(|| format!("element {id:.64} has a parameter that is not name=\"value\""))?;
            let (value, after) =
                quoted(after).ok_or_else(|| format!("parameter {id:.64}.{name:.64} has no closing quote"))?;
            record.set(format!("{id}.{name}"), value);
            rest = after;
        }
        rest = rest.strip_prefix(']').ok_or_else(|| format!("element {id:.64} is not closed by ']'"))?;
    }
    Ok(rest)
}

/// A value up to its closing quote; `\"`, `\\` and `\]` stand for the second character, any other
/// backslash for itself (section 6.3.3).
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = text.find(['"', '\\'])?;
    if text.as_bytes()[end] == b'"' {
        return Some((Cow::Borrowed(&text[..end]), &text[end + 1..]));
    }
    let mut value = String::from(&text[..end]);
    let mut chars = text[end..].char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((Cow::Owned(value), &text[end + at + 1..])),
            '\\' => match chars.next()? {
                (_, escaped @ ('"' | '\\' | ']')) => value.push(escaped),
                (_, other) => {
                    value.push('\\');
                    value.push(other);
                }
            },
            other => value.push(other),
        }
    }
    None
}
