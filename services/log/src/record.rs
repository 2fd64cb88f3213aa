//! A log record between its parser and its bytes.

use std::borrow::Cow;

use crate::row;

/// A name and its value; borrowed from the message where it stands there as it is.
pub type Field<'a> = (Cow<'a, str>, Cow<'a, str>);

/// What a parser made of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record<'a> {
    /// Nanoseconds since the epoch.
    pub time_ns: i64,
    /// Fields in the order of the message. A name may be there once only; see [`Record::set`].
    pub fields: Vec<Field<'a>>,
}

impl<'a> Record<'a> {
    /// An empty record at `time_ns`.
    pub fn at(time_ns: i64) -> Record<'a> {
        Record { time_ns, fields: Vec::with_capacity(12) }
    }

    /// Adds a field that the record is known not to have yet. Empty values are not kept.
    pub fn push(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        let value = value.into();
        if !value.is_empty() {
            self.fields.push((name.into(), value));
        }
    }

    /// Sets a field, in place of an earlier one of the same name.
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        let name = name.into();
        self.fields.retain(|(known, _)| *known != name);
        self.push(name, value);
    }

    /// The value of `name`, or the empty text.
    pub fn get(&self, name: &str) -> &str {
        self.fields.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// Sets `_stream` to `{a="x",b="y"}` from those of `names` that the record has.
    pub fn set_stream<S: AsRef<str>>(&mut self, names: &[S]) {
        let mut stream = String::from("{");
        for name in names.iter().map(AsRef::as_ref) {
            let value = self.get(name);
            if value.is_empty() {
                continue;
            }
            if stream.len() > 1 {
                stream.push(',');
            }
            stream.push_str(name);
            stream.push_str("=\"");
            for c in value.chars() {
                if matches!(c, '"' | '\\') {
                    stream.push('\\');
                }
                stream.push(c);
            }
            stream.push('"');
        }
        stream.push('}');
        self.set("_stream", stream);
    }

    /// Why this record cannot be kept as a row, or `None` when it can: the bounds of [`row`].
    pub fn too_big(&self) -> Option<String> {
        if self.fields.len() > row::FIELDS_MAX {
            return Some(format!("{} fields; at most {} are taken", self.fields.len(), row::FIELDS_MAX));
        }
        self.fields.iter().find_map(|(name, value)| {
            if name.len() > row::NAME_BYTES_MAX {
                let bytes = name.len();
                Some(format!("a field name of {bytes} bytes; at most {} are taken", row::NAME_BYTES_MAX))
            } else if value.len() > row::VALUE_BYTES_MAX {
                let bytes = value.len();
                Some(format!("field {name} has {bytes} bytes; at most {} are taken", row::VALUE_BYTES_MAX))
            } else {
                None
            }
        })
    }

    /// Appends the record's row to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let fields = self.fields.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
        row::put_row(self.time_ns, fields, out);
    }
}

/// The record that stands in for a message which could not be parsed: its text, the reason, and the
/// input it came by, in the stream `{stream="quarantine",input="…"}`.
pub fn quarantined<'a>(now_ns: i64, input: &'static str, reason: String, raw: &'a [u8]) -> Record<'a> {
    let mut record = Record::at(now_ns);
    let kept = &raw[..raw.len().min(row::VALUE_BYTES_MAX / 4)];
    record.push("_msg", String::from_utf8_lossy(kept));
    record.push("stream", "quarantine");
    record.push("input", input);
    record.push("reason", reason);
    record.set_stream(&["stream", "input"]);
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_names_what_the_record_has_and_escapes_it() {
        let mut record = Record::at(0);
        record.push("app", "a\"b");
        record.set_stream(&["host", "app"]);
        assert_eq!(record.get("_stream"), r#"{app="a\"b"}"#);
    }

    #[test]
    fn what_exceeds_a_bound_is_named() {
        let mut record = Record::at(0);
        record.push("x", "y".repeat(row::VALUE_BYTES_MAX + 1));
        assert!(record.too_big().unwrap().starts_with("field x has 262145 bytes"));
    }
}
