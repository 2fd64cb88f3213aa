//! JSON objects to fields: one line of `/insert/jsonline`, or the message of a structured service.
//!
//! Nested objects become dotted names, arrays their JSON text, numbers and booleans their text;
//! `null` and empty texts are no fields. Nesting is bounded by serde_json's 128 levels.

use serde_json::{Map, Value};

use crate::record::Record;
use crate::time;

/// Furthest that a record may lie ahead of the wall clock: clocks differ, but a partition for the
/// year 2200 is an accident.
pub const FUTURE_MAX_NS: i64 = 2 * time::DAY;

/// How `/insert/jsonline` reads its lines; the names are VictoriaLogs' query args.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonLines {
    /// `_time_field`: where the time is; default `_time`.
    pub time_field: String,
    /// `_msg_field`: where the message is, the first that is there; default `_msg`.
    pub msg_fields: Vec<String>,
    /// `_stream_fields`: what tells streams apart; default none.
    pub stream_fields: Vec<String>,
}

impl Default for JsonLines {
    fn default() -> JsonLines {
        JsonLines { time_field: "_time".into(), msg_fields: vec!["_msg".into()], stream_fields: Vec::new() }
    }
}

/// Parses one line.
///
/// # Errors
/// The reason, for the quarantine: no JSON object, or a time that is none.
pub fn parse_line(line: &[u8], how: &JsonLines, now_ns: i64) -> Result<Record<'static>, String> {
    let object: Map<String, Value> =
        serde_json::from_slice(line).map_err(|error| format!("not a JSON object: {error}"))?;
    let mut record = Record::at(now_ns);
    flatten(object, &mut record);
    let written = record.get(&how.time_field).to_owned();
    if !matches!(written.as_str(), "" | "0") {
        record.time_ns = time::parse_rfc3339(&written)
            .or_else(|| time::parse_epoch(&written).map(|(t, _)| t))
            .ok_or_else(|| format!("field {} is no time: {:.64}", how.time_field, written))?;
    }
    record.fields.retain(|(name, _)| *name != how.time_field);
    for name in &how.msg_fields {
        let message = record.get(name).to_owned();
        if !message.is_empty() {
            record.fields.retain(|(known, _)| known != name);
            record.set("_msg", message);
            break;
        }
    }
    record.set_stream(&how.stream_fields);
    Ok(record)
}

/// Adds the fields of `object` to `record`, nested names joined by dots. A name that comes twice
/// (`{"a":{"b":1},"a.b":2}`) keeps its last value.
pub fn flatten(object: Map<String, Value>, record: &mut Record<'_>) {
    let mut path = String::new();
    walk(object, &mut path, record);
}

fn walk(object: Map<String, Value>, path: &mut String, record: &mut Record<'_>) {
    for (name, value) in object {
        let length = path.len();
        if length > 0 {
            path.push('.');
        }
        path.push_str(&name);
        match value {
            Value::Object(inner) => walk(inner, path, record),
            Value::Null => {}
            Value::String(text) => record.set(path.clone(), text),
            other => record.set(path.clone(), other.to_string()),
        }
        path.truncate(length);
    }
}

/// Merges a structured message into its record: when `_msg` is a JSON object, its fields join the
/// record's, `message` becomes `_msg`, `level` is put in syslog's words, and `timestamp` (RFC 3339)
/// becomes the record's time. Anything else is left alone.
pub fn merge_structured(record: &mut Record<'_>) {
    let text = record.get("_msg");
    if !(text.starts_with('{') && text.ends_with('}')) {
        return;
    }
    let Ok(object) = serde_json::from_str::<Map<String, Value>>(text) else { return };
    let mut inner = Record::at(record.time_ns);
    flatten(object, &mut inner);
    let taken = |name: &str| matches!(name, "message" | "msg" | "level" | "timestamp");
    let message = [inner.get("message"), inner.get("msg")].into_iter().find(|m| !m.is_empty());
    let message = message.map(str::to_owned);
    let level = level_word(inner.get("level")).to_owned();
    if let Some(time_ns) = time::parse_rfc3339(inner.get("timestamp")) {
        record.time_ns = time_ns;
    }
    for (name, value) in inner.fields {
        // What identifies the sender comes from the transport and is not the message's to change.
        if !taken(&name) && !name.starts_with('_') && record.get(&name).is_empty() {
            record.fields.push((name, value));
        }
    }
    if let Some(message) = message {
        record.set("_msg", message);
    }
    if !level.is_empty() {
        record.set("level", level);
    }
}

/// A level in syslog's words, whatever its spelling; an unknown one stays as it is.
pub fn level_word(level: &str) -> &str {
    const WORDS: [(&str, &str); 14] = [
        ("trace", "debug"),
        ("debug", "debug"),
        ("info", "info"),
        ("information", "info"),
        ("notice", "notice"),
        ("warn", "warning"),
        ("warning", "warning"),
        ("error", "error"),
        ("err", "error"),
        ("critical", "critical"),
        ("crit", "critical"),
        ("fatal", "critical"),
        ("alert", "alert"),
        ("emerg", "emerg"),
    ];
    WORDS.iter().find(|(spelled, _)| level.eq_ignore_ascii_case(spelled)).map_or(level, |(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, how: &JsonLines, expected: &str) {
        let said = match parse_line(line.as_bytes(), how, 7) {
            Ok(record) => {
                let fields: Vec<_> = record.fields.iter().map(|(n, v)| format!("{n}={v}")).collect();
                format!("{} {}", record.time_ns, fields.join(" "))
            }
            Err(reason) => reason,
        };
        assert_eq!(said, expected, "{line}");
    }

    #[test]
    fn lines_become_records_as_the_arguments_say() {
        let plain = JsonLines::default();
        check(
            r#"{"_msg":"hi","a":{"b":1,"c":{"d":true}},"e":[1,"x"]}"#,
            &plain,
            r#"7 a.b=1 a.c.d=true e=[1,"x"] _msg=hi _stream={}"#,
        );
        check(r#"{"_time":"1970-01-01T00:00:01Z","_msg":"x"}"#, &plain, "1000000000 _msg=x _stream={}");
        check(r#"{"_time":2,"_msg":"x","n":null,"s":""}"#, &plain, "2000000000 _msg=x _stream={}");
        check(r#"{"_time":"soon"}"#, &plain, "field _time is no time: soon");
        check("[1]", &plain, "not a JSON object: invalid type: sequence, expected a map at line 1 column 0");
        let named = JsonLines {
            time_field: "ts".into(),
            msg_fields: vec!["log.text".into(), "message".into()],
            stream_fields: vec!["host".into(), "none".into()],
        };
        check(
            r#"{"ts":"1000000000001","message":"m","host":"h"}"#,
            &named,
            "1000000000001000000 host=h _msg=m _stream={host=\"h\"}",
        );
        check(r#"{"log":{"text":"inner"},"message":"m"}"#, &named, "7 message=m _msg=inner _stream={}");
    }

    #[test]
    fn a_structured_message_is_merged_but_cannot_change_its_sender() {
        let mut record = Record::at(5);
        record.push("hostname", "box");
        record.push("level", "info");
        record.push("_msg", r#"{"timestamp":"1970-01-01T00:00:09Z","level":"WARN","message":"late","hostname":"evil","unit":{"name":"a"},"_stream":"{}"}"#);
        merge_structured(&mut record);
        assert_eq!(record.time_ns, 9 * time::SECOND);
        assert_eq!(record.get("_msg"), "late");
        assert_eq!(record.get("level"), "warning");
        assert_eq!(record.get("hostname"), "box");
        assert_eq!(record.get("unit.name"), "a");
        assert_eq!(record.get("_stream"), "");
    }

    #[test]
    fn a_message_that_only_looks_structured_is_left_alone() {
        let mut record = Record::at(5);
        record.push("_msg", "{not json}");
        let before = record.clone();
        merge_structured(&mut record);
        assert_eq!(record, before);
    }
}
