//! OTLP's JSON form turned into its protobuf form while it is read, so that both mean the same.
//!
//! As the specification of OTLP/HTTP has it: names in lowerCamelCase, 64-bit integers as text or as numbers, enums as
//! integers, the ids of traces and spans in hex, other bytes in base64; names that are not known are passed over, and so is
//! everything that is null. Only what the protobuf reader looks at is known here.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::ingest::body::UNPACKED_BYTES_MAX;
use crate::ingest::request::RequestError;
use crate::protobuf::{put_varint, zigzag};

/// How a field is written.
#[derive(Clone, Copy)]
enum Kind {
    Message(&'static Message),
    Text,
    Base64,
    Hex,
    Bool,
    /// uint32, uint64 and enums.
    Unsigned,
    /// int64.
    Signed,
    /// sint32.
    Zigzag,
    Fixed,
    SignedFixed,
    Double,
}

/// A field: its name in JSON, its number, its kind, whether there may be several.
struct Field(&'static str, u8, Kind, bool);

/// The fields of a message.
struct Message(&'static [Field]);

const fn one(name: &'static str, number: u8, kind: Kind) -> Field {
    Field(name, number, kind, false)
}

const fn many(name: &'static str, number: u8, kind: Kind) -> Field {
    Field(name, number, kind, true)
}

static REQUEST: Message = Message(&[many("resourceMetrics", 1, Kind::Message(&RESOURCE_METRICS))]);

static RESOURCE_METRICS: Message = Message(&[
    one("resource", 1, Kind::Message(&RESOURCE)),
    many("scopeMetrics", 2, Kind::Message(&SCOPE_METRICS)),
]);

static RESOURCE: Message = Message(&[many("attributes", 1, Kind::Message(&KEY_VALUE))]);

static SCOPE_METRICS: Message = Message(&[many("metrics", 2, Kind::Message(&METRIC))]);

static METRIC: Message = Message(&[
    one("name", 1, Kind::Text),
    one("description", 2, Kind::Text),
    one("unit", 3, Kind::Text),
    one("gauge", 5, Kind::Message(&NUMBERS)),
    one("sum", 7, Kind::Message(&NUMBERS)),
    one("histogram", 9, Kind::Message(&HISTOGRAM)),
    one("exponentialHistogram", 10, Kind::Message(&EXPONENTIAL_HISTOGRAM)),
    one("summary", 11, Kind::Message(&SUMMARY)),
]);

/// Of a gauge and of a sum.
static NUMBERS: Message = Message(&[
    many("dataPoints", 1, Kind::Message(&NUMBER_POINT)),
    one("aggregationTemporality", 2, Kind::Unsigned),
    one("isMonotonic", 3, Kind::Bool),
]);

static HISTOGRAM: Message = Message(&[
    many("dataPoints", 1, Kind::Message(&HISTOGRAM_POINT)),
    one("aggregationTemporality", 2, Kind::Unsigned),
]);

static EXPONENTIAL_HISTOGRAM: Message = Message(&[
    many("dataPoints", 1, Kind::Message(&EXPONENTIAL_POINT)),
    one("aggregationTemporality", 2, Kind::Unsigned),
]);

static SUMMARY: Message = Message(&[many("dataPoints", 1, Kind::Message(&SUMMARY_POINT))]);

static NUMBER_POINT: Message = Message(&[
    one("startTimeUnixNano", 2, Kind::Fixed),
    one("timeUnixNano", 3, Kind::Fixed),
    one("asDouble", 4, Kind::Double),
    many("exemplars", 5, Kind::Message(&EXEMPLAR)),
    one("asInt", 6, Kind::SignedFixed),
    many("attributes", 7, Kind::Message(&KEY_VALUE)),
    one("flags", 8, Kind::Unsigned),
]);

static HISTOGRAM_POINT: Message = Message(&[
    one("startTimeUnixNano", 2, Kind::Fixed),
    one("timeUnixNano", 3, Kind::Fixed),
    one("count", 4, Kind::Fixed),
    one("sum", 5, Kind::Double),
    many("bucketCounts", 6, Kind::Fixed),
    many("explicitBounds", 7, Kind::Double),
    many("exemplars", 8, Kind::Message(&EXEMPLAR)),
    many("attributes", 9, Kind::Message(&KEY_VALUE)),
    one("flags", 10, Kind::Unsigned),
]);

static EXPONENTIAL_POINT: Message = Message(&[
    many("attributes", 1, Kind::Message(&KEY_VALUE)),
    one("startTimeUnixNano", 2, Kind::Fixed),
    one("timeUnixNano", 3, Kind::Fixed),
    one("count", 4, Kind::Fixed),
    one("sum", 5, Kind::Double),
    one("scale", 6, Kind::Zigzag),
    one("zeroCount", 7, Kind::Fixed),
    one("positive", 8, Kind::Message(&BUCKETS)),
    one("negative", 9, Kind::Message(&BUCKETS)),
    one("flags", 10, Kind::Unsigned),
    many("exemplars", 11, Kind::Message(&EXEMPLAR)),
    one("zeroThreshold", 14, Kind::Double),
]);

static BUCKETS: Message = Message(&[one("offset", 1, Kind::Zigzag), many("bucketCounts", 2, Kind::Unsigned)]);

static SUMMARY_POINT: Message = Message(&[
    one("startTimeUnixNano", 2, Kind::Fixed),
    one("timeUnixNano", 3, Kind::Fixed),
    one("count", 4, Kind::Fixed),
    one("sum", 5, Kind::Double),
    many("quantileValues", 6, Kind::Message(&QUANTILE)),
    many("attributes", 7, Kind::Message(&KEY_VALUE)),
    one("flags", 8, Kind::Unsigned),
]);

static QUANTILE: Message = Message(&[one("quantile", 1, Kind::Double), one("value", 2, Kind::Double)]);

static EXEMPLAR: Message = Message(&[
    one("timeUnixNano", 2, Kind::Fixed),
    one("asDouble", 3, Kind::Double),
    one("spanId", 4, Kind::Hex),
    one("traceId", 5, Kind::Hex),
    one("asInt", 6, Kind::SignedFixed),
    many("filteredAttributes", 7, Kind::Message(&KEY_VALUE)),
]);

static KEY_VALUE: Message = Message(&[one("key", 1, Kind::Text), one("value", 2, Kind::Message(&ANY_VALUE))]);

static ANY_VALUE: Message = Message(&[
    one("stringValue", 1, Kind::Text),
    one("boolValue", 2, Kind::Bool),
    one("intValue", 3, Kind::Signed),
    one("doubleValue", 4, Kind::Double),
    one("arrayValue", 5, Kind::Message(&ARRAY)),
    one("kvlistValue", 6, Kind::Message(&KEY_VALUES)),
    one("bytesValue", 7, Kind::Base64),
]);

static ARRAY: Message = Message(&[many("values", 1, Kind::Message(&ANY_VALUE))]);

static KEY_VALUES: Message = Message(&[many("values", 1, Kind::Message(&KEY_VALUE))]);

/// A request in JSON as protobuf. It becomes at most as large as a body may be: a bucket is two bytes in JSON and nine here.
///
/// # Errors
/// [`RequestError::Text`] with line and column, when it is no JSON or a value is none of its field.
pub(super) fn to_protobuf(body: &[u8]) -> Result<Vec<u8>, RequestError> {
    let (mut out, mut room) = (Vec::with_capacity(body.len() / 2), UNPACKED_BYTES_MAX);
    let mut json = serde_json::Deserializer::from_slice(body);
    Fields { message: &REQUEST, out: &mut out, room: &mut room }
        .deserialize(&mut json)
        .and_then(|()| json.end())
        .map_err(|error| RequestError::Text(format!("body is no OTLP metrics request in JSON: {error}")))?;
    Ok(out)
}

/// Reads an object into a message's fields.
struct Fields<'a> {
    message: &'static Message,
    out: &'a mut Vec<u8>,
    /// Bytes that may still be written.
    room: &'a mut usize,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(Name(self.message))? {
            match field {
                Some(field) => {
                    let (out, room) = (&mut *self.out, &mut *self.room);
                    map.next_value_seed(Put { field, inside: false, out, room })?;
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Looks a name up.
struct Name(&'static Message);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Field>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let fields: &'static [Field] = self.0.0;
        Ok(fields.iter().find(|field| field.0 == name))
    }
}

/// Writes a field's value.
struct Put<'a> {
    field: &'static Field,
    /// Inside of the array of a field of which there may be several.
    inside: bool,
    out: &'a mut Vec<u8>,
    room: &'a mut usize,
}

impl Put<'_> {
    /// Writes the field's head and what follows it.
    fn put<E: Error>(self, wire_type: u8, rest: &[u8]) -> Result<(), E> {
        let whole = 1 + rest.len();
        *self.room = self.room.checked_sub(whole).ok_or_else(|| {
            E::custom(format_args!("more than {UNPACKED_BYTES_MAX} bytes as protobuf; send it in parts"))
        })?;
        self.out.push(self.field.1 << 3 | wire_type);
        self.out.extend_from_slice(rest);
        Ok(())
    }

    fn varint<E: Error>(self, value: u64) -> Result<(), E> {
        let mut rest = Vec::with_capacity(10);
        put_varint(value, &mut rest);
        self.put(0, &rest)
    }

    fn bytes<E: Error>(self, bytes: &[u8]) -> Result<(), E> {
        let mut rest = Vec::with_capacity(bytes.len() + 5);
        put_varint(bytes.len() as u64, &mut rest);
        rest.extend_from_slice(bytes);
        self.put(2, &rest)
    }

    fn unsigned<E: Error>(self, value: u64) -> Result<(), E> {
        match self.field.2 {
            Kind::Unsigned => self.varint(value),
            Kind::Fixed => self.put(1, &value.to_le_bytes()),
            Kind::Double => self.put(1, &(value as f64).to_le_bytes()),
            Kind::Signed | Kind::SignedFixed | Kind::Zigzag => match i64::try_from(value) {
                Ok(value) => self.signed(value),
                Err(_) => Err(self.unfit(value)),
            },
            _ => Err(self.unfit(value)),
        }
    }

    fn signed<E: Error>(self, value: i64) -> Result<(), E> {
        match self.field.2 {
            Kind::Signed => self.varint(value.cast_unsigned()),
            Kind::SignedFixed => self.put(1, &value.to_le_bytes()),
            Kind::Zigzag if i32::try_from(value).is_ok() => self.varint(zigzag(value)),
            Kind::Double => self.put(1, &(value as f64).to_le_bytes()),
            Kind::Unsigned | Kind::Fixed if value >= 0 => self.unsigned(value.cast_unsigned()),
            _ => Err(self.unfit(value)),
        }
    }

    fn unfit<E: Error>(&self, value: impl fmt::Display) -> E {
        E::custom(format_args!("{value} is no value of {}", self.field.0))
    }
}

impl<'de> DeserializeSeed<'de> for Put<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Put<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let several = if self.field.3 && !self.inside { "an array for " } else { "a value of " };
        write!(out, "{several}{}", self.field.0)
    }

    /// Null is as if the name were not there.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if !self.field.3 || self.inside {
            return Err(self.unfit("an array"));
        }
        while seq
            .next_element_seed(Put {
                field: self.field,
                inside: true,
                out: &mut *self.out,
                room: &mut *self.room,
            })?
            .is_some()
        {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Kind::Message(message) = self.field.2 else { return Err(self.unfit("an object")) };
        if self.field.3 && !self.inside {
            return Err(self.unfit("an object"));
        }
        let mut inner = Vec::new();
        Fields { message, out: &mut inner, room: &mut *self.room }.visit_map(map)?;
        self.bytes(&inner)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.field.2 {
            Kind::Bool => self.varint(value.into()),
            _ => Err(self.unfit(value)),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.unsigned(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.signed(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        if matches!(self.field.2, Kind::Double) {
            return self.put(1, &value.to_le_bytes());
        }
        // A whole number with a fraction or an exponent is one all the same.
        let whole = value as i64;
        if whole as f64 == value { self.signed(whole) } else { Err(self.unfit(value)) }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.field.2 {
            Kind::Text => self.bytes(text.as_bytes()),
            Kind::Hex => match unhex(text) {
                // What is not set is written as nothing.
                Some(bytes) if bytes.is_empty() => Ok(()),
                Some(bytes) => self.bytes(&bytes),
                None => Err(self.unfit(format_args!("{text:?}"))),
            },
            Kind::Base64 => match vakt_wire::base64::decode(text.as_bytes()) {
                Some(bytes) => self.bytes(&bytes),
                None => Err(self.unfit(format_args!("{text:?}"))),
            },
            Kind::Double => match double(text) {
                Some(value) => self.put(1, &value.to_le_bytes()),
                None => Err(self.unfit(format_args!("{text:?}"))),
            },
            Kind::Unsigned | Kind::Fixed | Kind::Signed | Kind::SignedFixed | Kind::Zigzag => {
                match (text.parse::<u64>(), text.parse::<i64>()) {
                    (Ok(value), _) => self.unsigned(value),
                    (_, Ok(value)) => self.signed(value),
                    _ => Err(self.unfit(format_args!("{text:?}"))),
                }
            }
            Kind::Message(_) | Kind::Bool => Err(self.unfit(format_args!("{text:?}"))),
        }
    }
}

/// A double that is written as text.
fn double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        // Rust's own words for these are none of JSON's.
        _ if text.ends_with(|c: char| c.is_ascii_digit() || c == '.') => text.parse().ok(),
        _ => None,
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? << 4 | digit(*low)?) as u8);
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}
