//! One log record as bytes: the form in which it is parsed, appended, held hot and read again.
//!
//! Layout (the payload of the append log's frames, FORMAT.md section 2): time as i64 little-endian,
//! the number of fields as varint, then for each field its name and its value. A name that every
//! source writes is one byte, its place in [`KNOWN`]; any other is [`OTHER`] and its text.
//!
//! Limits: [`FIELDS_MAX`] fields a row, [`NAME_BYTES_MAX`] bytes a name, [`VALUE_BYTES_MAX`] a value.

use thiserror::Error;

/// Fields of one row. A JSON line with more is quarantined: each field may become a column.
pub const FIELDS_MAX: usize = 256;
/// Bytes of a field's name.
pub const NAME_BYTES_MAX: usize = 128;
/// Bytes of a value: the largest message that is taken.
pub const VALUE_BYTES_MAX: usize = 256 << 10;

/// Names that cost one byte. Part of the disk format: append only, never reorder.
pub const KNOWN: &[&str] = &[
    "_msg",
    "_stream",
    "hostname",
    "app_name",
    "proc_id",
    "msg_id",
    "level",
    "facility_keyword",
    "priority",
    "format",
    "remote_ip",
    "target",
    "reason",
    "input",
    "kmsg.seq",
    "boot_id",
    "host",
    "service",
];

/// Marks a name that is spelled out.
const OTHER: u8 = 0xff;

/// Why bytes are no row.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("row at byte {offset}: {part} is cut off or wrong")]
pub struct RowError {
    /// Where the row begins, in bytes from the start of the buffer.
    pub offset: usize,
    /// What could not be read.
    pub part: &'static str,
}

/// Writes `number` as a varint (LEB128, at most 10 bytes).
pub fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads a varint at `*at` and moves `at` past it; `None` when it is cut off or longer than 10 bytes.
pub fn get_varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..70).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Writes one row. Empty values are left out: an empty field and a missing one are the same.
pub fn put_row<'a>(
    time_ns: i64,
    fields: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&time_ns.to_le_bytes());
    let kept = fields.filter(|(_, value)| !value.is_empty());
    put_varint(kept.clone().count() as u64, out);
    for (name, value) in kept {
        match KNOWN.iter().position(|known| *known == name) {
            // KNOWN has fewer than 255 names, so its places fit below OTHER.
            Some(place) => out.push(place as u8),
            None => {
                out.push(OTHER);
                put_varint(name.len() as u64, out);
                out.extend_from_slice(name.as_bytes());
            }
        }
        put_varint(value.len() as u64, out);
        out.extend_from_slice(value.as_bytes());
    }
}

/// A row inside a buffer, borrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Nanoseconds since the epoch.
    pub time_ns: i64,
    /// Names and values in the order they were written; no empty values.
    pub fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Row<'a> {
    /// The value of `name`, or the empty text when the row has no such field.
    pub fn get(&self, name: &str) -> &'a str {
        self.fields.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }
}

/// Reads the row at `*at` and moves `at` past it.
///
/// # Errors
/// [`RowError`] when the bytes end early, a name is unknown or a text is not UTF-8.
pub fn get_row<'a>(bytes: &'a [u8], at: &mut usize) -> Result<Row<'a>, RowError> {
    let offset = *at;
    let wrong = |part| RowError { offset, part };
    let time = bytes.get(offset..offset + 8).and_then(|b| b.try_into().ok()).ok_or(wrong("time"))?;
    *at = offset + 8;
    let count = get_varint(bytes, at).filter(|n| *n <= FIELDS_MAX as u64).ok_or(wrong("field count"))?;
    let mut fields = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let tag = *bytes.get(*at).ok_or(wrong("name"))?;
        *at += 1;
        let name = match KNOWN.get(usize::from(tag)) {
            Some(known) => *known,
            None if tag == OTHER => get_text(bytes, at).ok_or(wrong("name"))?,
            None => return Err(wrong("name")),
        };
        fields.push((name, get_text(bytes, at).ok_or(wrong("value"))?));
    }
    Ok(Row { time_ns: i64::from_le_bytes(time), fields })
}

/// Reads a varint length and that many bytes of UTF-8.
pub fn get_text<'a>(bytes: &'a [u8], at: &mut usize) -> Option<&'a str> {
    let length = usize::try_from(get_varint(bytes, at)?).ok()?;
    let text = bytes.get(*at..at.checked_add(length)?)?;
    *at += length;
    std::str::from_utf8(text).ok()
}

/// Every row of a buffer, in order.
pub fn rows(bytes: &[u8]) -> impl Iterator<Item = Result<Row<'_>, RowError>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        let row = get_row(bytes, &mut at);
        if row.is_err() {
            at = bytes.len();
        }
        Some(row)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_are_read_back_as_written(
            written in prop::collection::vec(
                (any::<i64>(), prop::collection::vec(("[a-z_.]{1,9}|_msg|level", ".{1,40}"), 0..6)), 0..9),
        ) {
            let mut bytes = Vec::new();
            for (time, fields) in &written {
                put_row(*time, fields.iter().map(|(n, v)| (n.as_str(), v.as_str())), &mut bytes);
            }
            let read: Vec<_> = rows(&bytes).map(Result::unwrap).collect();
            prop_assert_eq!(read.len(), written.len());
            for (row, (time, fields)) in read.iter().zip(&written) {
                prop_assert_eq!(row.time_ns, *time);
                let fields: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                prop_assert_eq!(&row.fields, &fields);
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = rows(&bytes).count();
        }
    }

    #[test]
    fn an_empty_value_is_a_missing_field() {
        let mut bytes = Vec::new();
        put_row(1, [("a", ""), ("b", "x")].into_iter(), &mut bytes);
        let row = get_row(&bytes, &mut 0).unwrap();
        assert_eq!((row.fields.len(), row.get("a"), row.get("b")), (1, "", "x"));
    }
}
