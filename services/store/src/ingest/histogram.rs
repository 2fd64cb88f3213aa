//! A native histogram as remote-write sends it; versions 1.0 and 2.0 have the same fields.

use crate::histogram::{BUCKETS_MAX, Buckets, EXACT_MAX, Histogram, ResetHint, Span};
use crate::protobuf::{Fields, ProtobufError, Value, unzigzag, varint};

/// Why a histogram could not be read; the first kind ends the request, the second loses this sample alone.
#[derive(Debug, PartialEq)]
pub(super) enum Broken {
    /// The message itself.
    Message(ProtobufError),
    /// A number that no histogram may have.
    Content(String),
}

impl From<ProtobufError> for Broken {
    fn from(error: ProtobufError) -> Broken {
        Broken::Message(error)
    }
}

/// Counts of one sign: differences of the integer kind, or absolute ones of the float kind.
#[derive(Default)]
struct Side {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

/// Reads a histogram and its time in milliseconds. What it says is not judged yet.
pub(super) fn read(message: &[u8]) -> Result<(i64, Histogram), Broken> {
    let mut histogram = Histogram::default();
    let (mut time, mut schema, mut sides) = (0i64, 0i64, [Side::default(), Side::default()]);
    let (mut whole, mut float) = ([0, 0], false);
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        // 8 to 10 are the negative buckets, 11 to 13 the positive ones.
        let side = &mut sides[usize::from(number >= 11)];
        match (number, value) {
            (1, Value::Varint(count)) => whole[0] = count,
            (2, Value::Fixed64(bits)) => (histogram.count, float) = (f64::from_bits(bits), true),
            (3, Value::Fixed64(bits)) => histogram.sum = f64::from_bits(bits),
            (4, Value::Varint(number)) => schema = unzigzag(number),
            (5, Value::Fixed64(bits)) => histogram.zero_threshold = f64::from_bits(bits),
            (6, Value::Varint(count)) => whole[1] = count,
            (7, Value::Fixed64(bits)) => histogram.zero_count = f64::from_bits(bits),
            (8 | 11, Value::Bytes(span)) => put(span_of(span)?, &mut side.spans)?,
            (9 | 12, value) => numbers(number, value, &mut side.deltas, unzigzag)?,
            (10 | 13, value) => floats(number, value, &mut side.counts)?,
            (14, Value::Varint(hint)) => {
                histogram.reset_hint = match hint {
                    1 => ResetHint::Reset,
                    2 => ResetHint::NotReset,
                    3 => ResetHint::Gauge,
                    _ => ResetHint::Unknown,
                }
            }
            (15, Value::Varint(number)) => time = number.cast_signed(),
            (16, value) => floats(number, value, &mut histogram.custom_bounds)?,
            (1..=16, _) => return Err(ProtobufError::Field(number).into()),
            _ => {}
        }
    }
    histogram.schema =
        i8::try_from(schema).map_err(|_| Broken::Content(format!("histogram has schema {schema}")))?;
    // Which of the two counts is there tells the kind; Prometheus takes one without either for the integer kind.
    histogram.integer = !float;
    if histogram.integer {
        histogram.count = exact(whole[0])?;
        histogram.zero_count = exact(whole[1])?;
    }
    let [negative, positive] = sides;
    histogram.negative = negative.buckets(histogram.integer)?;
    histogram.positive = positive.buckets(histogram.integer)?;
    Ok((time, histogram))
}

impl Side {
    fn buckets(self, integer: bool) -> Result<Buckets, Broken> {
        if !integer {
            return Ok(Buckets { spans: self.spans, counts: self.counts });
        }
        let mut count = 0i64;
        let counts = self.deltas.iter().map(|delta| {
            count = count
                .checked_add(*delta)
                .ok_or_else(|| Broken::Content("histogram's counts overflow".into()))?;
            // Negative ones are judged with the rest.
            if count < 0 { Ok(-1.0) } else { exact(count.cast_unsigned()) }
        });
        Ok(Buckets { spans: self.spans, counts: counts.collect::<Result<_, _>>()? })
    }
}

fn exact(count: u64) -> Result<f64, Broken> {
    if count <= EXACT_MAX {
        return Ok(count as f64);
    }
    Err(Broken::Content(format!("histogram has the count {count}; up to {EXACT_MAX} are taken")))
}

fn span_of(message: &[u8]) -> Result<Span, Broken> {
    let mut span = Span::default();
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        let impossible = |_| Broken::Content("histogram has a span that is no span".into());
        match (number, value) {
            (1, Value::Varint(offset)) => {
                span.offset = i32::try_from(unzigzag(offset)).map_err(impossible)?
            }
            (2, Value::Varint(length)) => span.length = u32::try_from(length).map_err(impossible)?,
            (1 | 2, _) => return Err(ProtobufError::Field(number).into()),
            _ => {}
        }
    }
    Ok(span)
}

/// Numbers of a repeated field, packed or one by one.
fn numbers<T>(number: u64, value: Value<'_>, out: &mut Vec<T>, of: impl Fn(u64) -> T) -> Result<(), Broken> {
    match value {
        Value::Varint(bits) => put(of(bits), out),
        Value::Bytes(mut packed) => {
            while !packed.is_empty() {
                let (bits, length) = varint(packed)?;
                packed = &packed[length..];
                put(of(bits), out)?;
            }
            Ok(())
        }
        _ => Err(ProtobufError::Field(number).into()),
    }
}

/// As [`numbers`], for doubles.
fn floats(number: u64, value: Value<'_>, out: &mut Vec<f64>) -> Result<(), Broken> {
    match value {
        Value::Fixed64(bits) => put(f64::from_bits(bits), out),
        Value::Bytes(packed) => {
            let (words, rest) = packed.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(ProtobufError::Short.into());
            }
            words.iter().try_for_each(|word| put(f64::from_bits(u64::from_le_bytes(*word)), out))
        }
        _ => Err(ProtobufError::Field(number).into()),
    }
}

fn put<T>(value: T, out: &mut Vec<T>) -> Result<(), Broken> {
    if out.len() >= BUCKETS_MAX {
        return Err(Broken::Content(format!("histogram has more than {BUCKETS_MAX} buckets of one sign")));
    }
    out.push(value);
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::histogram::tests::valid;
    use crate::protobuf::{put_varint, zigzag};
    use proptest::prelude::*;

    /// As Prometheus' sender writes it: packed.
    pub(crate) fn message(time: i64, h: &Histogram) -> Vec<u8> {
        let mut out = Vec::new();
        let fixed = |number: u8, value: f64, out: &mut Vec<u8>| {
            out.push(number << 3 | 1);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        };
        let number = |field: u8, value: u64, out: &mut Vec<u8>| {
            put_varint(u64::from(field) << 3, out);
            put_varint(value, out);
        };
        let bytes = |field: u8, bytes: &[u8], out: &mut Vec<u8>| {
            put_varint(u64::from(field) << 3 | 2, out);
            put_varint(bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        };
        if h.integer {
            number(1, h.count as u64, &mut out);
            number(6, h.zero_count as u64, &mut out);
        } else {
            fixed(2, h.count, &mut out);
            fixed(7, h.zero_count, &mut out);
        }
        fixed(3, h.sum, &mut out);
        number(4, zigzag(h.schema.into()), &mut out);
        fixed(5, h.zero_threshold, &mut out);
        for (first, side) in [(8, &h.negative), (11, &h.positive)] {
            for span in &side.spans {
                let mut message = Vec::new();
                number(1, zigzag(span.offset.into()), &mut message);
                number(2, span.length.into(), &mut message);
                bytes(first, &message, &mut out);
            }
            let (mut packed, mut before) = (Vec::new(), 0);
            for &count in &side.counts {
                if h.integer {
                    put_varint(zigzag(count as i64 - before), &mut packed);
                    before = count as i64;
                } else {
                    packed.extend_from_slice(&count.to_bits().to_le_bytes());
                }
            }
            bytes(first + if h.integer { 1 } else { 2 }, &packed, &mut out);
        }
        let hints = [ResetHint::Unknown, ResetHint::Reset, ResetHint::NotReset, ResetHint::Gauge];
        number(14, hints.iter().position(|hint| *hint == h.reset_hint).unwrap() as u64, &mut out);
        number(15, time.cast_unsigned(), &mut out);
        let bounds: Vec<u8> =
            h.custom_bounds.iter().flat_map(|bound| bound.to_bits().to_le_bytes()).collect();
        bytes(16, &bounds, &mut out);
        out
    }

    #[test]
    fn a_marker_of_staleness_is_read_as_one() {
        let stale = Histogram {
            sum: f64::from_bits(crate::samples::STALE_NAN),
            integer: true,
            ..Histogram::default()
        };
        let (time, back) = read(&message(-5, &stale)).unwrap();
        assert!(time == -5 && back.is_stale() && back.same(&stale));
    }

    #[test]
    fn a_count_that_no_float_holds_is_refused_by_name() {
        let said = read(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f").unwrap_err();
        assert!(matches!(&said, Broken::Content(what) if what.contains("9223372036854775807")), "{said:?}");
        assert_eq!(read(b"\x18\x01"), Err(Broken::Message(ProtobufError::Field(3))));
    }

    proptest! {
        #[test]
        fn any_histogram_is_read_as_it_was_sent(histogram in valid(), time: i64) {
            let (read_time, read) = read(&message(time, &histogram)).unwrap();
            prop_assert!(read.same(&histogram), "{read:?}");
            prop_assert_eq!(read_time, time);
        }

        #[test]
        fn no_message_makes_the_reader_panic(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }
    }
}
