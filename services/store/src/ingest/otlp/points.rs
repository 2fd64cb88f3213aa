//! Data points of sums, gauges and summaries.

use super::{Amount, Attributes, Metric, Stamp, wrong};
use crate::ingest::request::{RequestError, WriteRequest};
use crate::protobuf::{Fields, ProtobufError, Value};
use crate::samples::STALE_NAN;

/// The flag of a point that says that there is no value any more.
pub(super) const NO_RECORDED_VALUE: u64 = 1;

/// Milliseconds of OTLP's nanoseconds.
pub(super) fn millis(nanoseconds: u64) -> i64 {
    (nanoseconds / 1_000_000).cast_signed()
}

/// A value, or the marker that the series ended.
pub(super) fn recorded(value: f64, flags: u64) -> f64 {
    if flags & NO_RECORDED_VALUE == 0 { value } else { f64::from_bits(STALE_NAN) }
}

/// An exemplar while it is read.
pub(super) struct Exemplar {
    pub(super) time: i64,
    pub(super) value: f64,
    pub(super) labels: Vec<(String, String)>,
}

/// The exemplars in field `wanted` of a point.
pub(super) fn exemplars(point: &[u8], wanted: u64) -> Result<Vec<Exemplar>, RequestError> {
    let mut all = Vec::new();
    super::each(point, wanted, "exemplar", |message| {
        let mut exemplar = Exemplar { time: 0, value: 0.0, labels: Vec::new() };
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next().map_err(wrong("exemplar"))? {
            match (number, value) {
                (2, Value::Fixed64(time)) => exemplar.time = millis(time),
                (3, Value::Fixed64(bits)) => exemplar.value = f64::from_bits(bits),
                (6, Value::Fixed64(bits)) => exemplar.value = bits.cast_signed() as f64,
                (4, Value::Bytes(id)) => exemplar.labels.push(("span_id".into(), hex(id))),
                (5, Value::Bytes(id)) => exemplar.labels.push(("trace_id".into(), hex(id))),
                _ => {}
            }
        }
        exemplar.labels.extend(Attributes::read(message, 7)?.into_pairs());
        exemplar.labels.sort();
        all.push(exemplar);
        Ok(())
    })?;
    Ok(all)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl WriteRequest {
    /// A point of a sum or gauge.
    pub(super) fn read_number(&mut self, point: &[u8], metric: &mut Metric<'_>) -> Result<(), RequestError> {
        let mut stamp = Stamp { message: point, ..Stamp::default() };
        let (mut amount, mut flags) = (Amount::Number { whole: 0, other: 0.0 }, 0);
        let mut fields = Fields::new(point);
        while let Some((number, field)) = fields.next().map_err(wrong("number"))? {
            match (number, field) {
                (2, Value::Fixed64(nanoseconds)) => stamp.start = nanoseconds,
                (3, Value::Fixed64(nanoseconds)) => stamp.time = nanoseconds,
                (4, Value::Fixed64(bits)) => {
                    amount = Amount::Number { whole: 0, other: f64::from_bits(bits) }
                }
                (6, Value::Fixed64(bits)) => {
                    amount = Amount::Number { whole: bits.cast_signed(), other: 0.0 };
                }
                (8, Value::Varint(bits)) => flags = bits,
                (2..=4 | 6 | 8, _) => return Err(wrong("number")(ProtobufError::Field(number))),
                _ => {}
            }
        }
        let attributes = Attributes::read(point, 7)?;
        let Some(total) = metric.total(self, &attributes, stamp, flags, amount) else { return Ok(()) };
        let time = millis(stamp.time);
        metric.seen(time);
        metric.begin(self, "", &attributes, None)?;
        if let Some(zero) = total.begins {
            self.float(zero, 0.0)?;
        }
        self.float(time, recorded(total.amount.number(), flags))?;
        for exemplar in exemplars(point, 5)? {
            self.exemplar(exemplar.time, exemplar.value, exemplar.labels);
        }
        Ok(())
    }

    /// A point of a summary: `_sum`, `_count`, and a series for each quantile.
    pub(super) fn read_summary(&mut self, point: &[u8], metric: &mut Metric<'_>) -> Result<(), RequestError> {
        let (mut time, mut count, mut sum, mut flags, mut quantiles) = (0, 0, 0.0, 0, Vec::new());
        let mut fields = Fields::new(point);
        while let Some((number, field)) = fields.next().map_err(wrong("summary"))? {
            match (number, field) {
                (3, Value::Fixed64(nanoseconds)) => time = millis(nanoseconds),
                (4, Value::Fixed64(number)) => count = number,
                (5, Value::Fixed64(bits)) => sum = f64::from_bits(bits),
                (6, Value::Bytes(pair)) => quantiles.push(quantile(pair)?),
                (8, Value::Varint(bits)) => flags = bits,
                (3..=6 | 8, _) => return Err(wrong("summary")(ProtobufError::Field(number))),
                _ => {}
            }
        }
        metric.seen(time);
        let attributes = Attributes::read(point, 7)?;
        metric.begin(self, "_sum", &attributes, None)?;
        self.float(time, recorded(sum, flags))?;
        metric.begin(self, "_count", &attributes, None)?;
        self.float(time, recorded(count as f64, flags))?;
        for (quantile, value) in quantiles {
            metric.begin(self, "", &attributes, Some(("quantile", quantile.to_string())))?;
            self.float(time, recorded(value, flags))?;
        }
        Ok(())
    }
}

/// 1 the quantile, 2 its value.
fn quantile(pair: &[u8]) -> Result<(f64, f64), RequestError> {
    let (mut quantile, mut value) = (0.0, 0.0);
    let mut fields = Fields::new(pair);
    while let Some((number, field)) = fields.next().map_err(wrong("quantile"))? {
        match (number, field) {
            (1, Value::Fixed64(bits)) => quantile = f64::from_bits(bits),
            (2, Value::Fixed64(bits)) => value = f64::from_bits(bits),
            _ => {}
        }
    }
    Ok((quantile, value))
}
