//! The canonical key of a series, and the rules that labels must keep.

use crate::protobuf::{Fields, ProtobufError, Value, put_varint};

/// Labels a series may have. Prometheus' senders stay under 40; the bound keeps one request from
/// making the index quadratic.
pub const LABELS_MAX: usize = 64;

/// Longest label name, in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// Longest label value, in bytes.
pub const VALUE_BYTES_MAX: usize = 4096;

/// What is wrong with a series' labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The label message itself is broken.
    #[error("label: {0}")]
    Protobuf(#[from] ProtobufError),
    /// More than [`LABELS_MAX`].
    #[error("series has more than {LABELS_MAX} labels")]
    TooMany,
    /// Not UTF-8.
    #[error("label name or value is not UTF-8")]
    Utf8,
    /// A name that is empty or past [`NAME_BYTES_MAX`].
    #[error("label name of {0} bytes; 1 to {NAME_BYTES_MAX} are taken")]
    Name(usize),
    /// A value past [`VALUE_BYTES_MAX`].
    #[error("label {name:?} has a value of {bytes} bytes; at most {VALUE_BYTES_MAX} are taken")]
    Value {
        /// The label.
        name: String,
        /// How long its value is.
        bytes: usize,
    },
    /// The same name twice.
    #[error("label {0:?} is given twice")]
    Duplicate(String),
    /// No `__name__`.
    #[error("series has no metric name")]
    Nameless,
}

/// A label's name and value as they stand on the wire.
pub type RawPair<'a> = (&'a [u8], &'a [u8]);

/// Iterates over the labels of a key or of a request's label bytes, without judging them.
#[derive(Clone, Debug)]
pub struct Pairs<'a>(Fields<'a>);

impl<'a> Pairs<'a> {
    /// Over `key`, a run of `labels` fields.
    pub fn new(key: &'a [u8]) -> Pairs<'a> {
        Pairs(Fields::new(key))
    }

    /// The next label's name and value as bytes, or `None` at the end.
    ///
    /// # Errors
    /// [`ProtobufError`] when the bytes are no label.
    #[inline]
    pub fn next_pair(&mut self) -> Result<Option<RawPair<'a>>, ProtobufError> {
        match self.0.next()? {
            None => Ok(None),
            Some((1, Value::Bytes(label))) => Ok(Some(one_label(label)?)),
            Some((number, _)) => Err(ProtobufError::Field(number)),
        }
    }
}

#[inline]
fn one_label(label: &[u8]) -> Result<RawPair<'_>, ProtobufError> {
    let (mut name, mut value): (&[u8], &[u8]) = (b"", b"");
    let mut fields = Fields::new(label);
    while let Some((number, field)) = fields.next()? {
        match (number, field) {
            (1, Value::Bytes(bytes)) => name = bytes,
            (2, Value::Bytes(bytes)) => value = bytes,
            (1 | 2, _) => return Err(ProtobufError::Field(number)),
            _ => {}
        }
    }
    Ok((name, value))
}

/// Checks the labels of one series and returns them sorted by name, empty values left out (they are
/// the same as absent ones).
///
/// # Errors
/// [`LabelError`] names the first label that breaks a rule.
pub fn canonical<'a>(pairs: &[RawPair<'a>]) -> Result<Vec<(&'a str, &'a str)>, LabelError> {
    if pairs.len() > LABELS_MAX {
        return Err(LabelError::TooMany);
    }
    let mut labels = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| LabelError::Utf8);
        let (name, value) = (text(name)?, text(value)?);
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(LabelError::Name(name.len()));
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(LabelError::Value { name: name.into(), bytes: value.len() });
        }
        if !value.is_empty() {
            labels.push((name, value));
        }
    }
    labels.sort_unstable();
    if let Some(twice) = labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(LabelError::Duplicate(twice[0].0.into()));
    }
    if !labels.iter().any(|(name, _)| *name == super::METRIC_NAME) {
        return Err(LabelError::Nameless);
    }
    Ok(labels)
}

/// Appends the key of labels that are sorted already.
pub fn encode<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>, out: &mut Vec<u8>) {
    let field = |number: u8, bytes: &[u8], out: &mut Vec<u8>| {
        out.push(number << 3 | 2);
        put_varint(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    };
    for (name, value) in labels {
        let inner = 2 + varint_bytes(name.len()) + name.len() + varint_bytes(value.len()) + value.len();
        out.push(1 << 3 | 2);
        put_varint(inner as u64, out);
        field(1, name.as_bytes(), out);
        field(2, value.as_bytes(), out);
    }
}

fn varint_bytes(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(&str, &str)], expected: &str) {
        let bytes: Vec<_> = pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        let said = match canonical(&bytes) {
            Ok(labels) => format!("{labels:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn labels_are_sorted_and_empty_values_are_absent_ones() {
        check(&[("b", "2"), ("a", ""), ("__name__", "x")], r#"[("__name__", "x"), ("b", "2")]"#);
    }

    #[test]
    fn a_broken_rule_is_named() {
        check(&[("b", "2")], "series has no metric name");
        check(&[("b", "2"), ("b", "3")], r#"label "b" is given twice"#);
        check(&[("", "2")], "label name of 0 bytes; 1 to 256 are taken");
        check(&[("a", &"x".repeat(5000))], r#"label "a" has a value of 5000 bytes; at most 4096 are taken"#);
    }

    #[test]
    fn the_key_is_what_a_sender_puts_on_the_wire() {
        let mut key = Vec::new();
        encode([("__name__", "up"), ("job", "x")].into_iter(), &mut key);
        assert_eq!(key, b"\x0a\x0e\x0a\x08__name__\x12\x02up\x0a\x08\x0a\x03job\x12\x01x");
        let long = "v".repeat(300);
        key.clear();
        encode([("n", long.as_str())].into_iter(), &mut key);
        assert_eq!(Pairs::new(&key).next_pair(), Ok(Some((b"n".as_slice(), long.as_bytes()))));
    }
}
