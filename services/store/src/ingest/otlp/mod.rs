//! OTLP metrics: `ExportMetricsServiceRequest` to samples, with the names that Prometheus' own receiver gives
//! (its strategy UnderscoreEscapingWithSuffixes).
//!
//! Sums and gauges become floats, histograms classic ones, exponential histograms native ones, summaries quantiles. What
//! a resource is called becomes `job` and `instance`, its other attributes the series `target_info`. Sums and histograms
//! of delta temporality are added up ([`Deltas`]): counters here are cumulative.
//!
//! JSON is turned into protobuf first ([`json`]).

mod attributes;
mod deltas;
mod histograms;
mod json;
mod names;
mod points;

use std::collections::BTreeMap;

use super::request::{Metadata, RequestError, WriteRequest, text};
use crate::protobuf::{Fields, ProtobufError, Value};
use attributes::Attributes;
pub use deltas::Deltas;
use deltas::{Amount, Stamp, Total};
use names::Kind;

fn wrong(part: &'static str) -> impl FnOnce(ProtobufError) -> RequestError {
    move |source| RequestError::Protobuf { form: "OTLP metrics", part, source }
}

/// Field number of a temporality, and its values.
const TEMPORALITY: u64 = 2;
const DELTA: u64 = 1;
const CUMULATIVE: u64 = 2;

/// Where metrics come from.
#[derive(Default)]
struct Target {
    /// `job` and `instance`, where the resource names them.
    identity: Vec<(&'static str, String)>,
    /// Its attributes.
    attributes: Attributes,
    /// The newest point's time.
    newest: Option<i64>,
}

/// A metric while its points are read.
struct Metric<'a> {
    /// Its name here.
    name: String,
    kind: Kind,
    target: &'a mut Target,
    /// Where its points are added up, when they are deltas.
    deltas: Option<&'a mut Deltas>,
}

impl Metric<'_> {
    /// Begins a series of this metric: its name with a suffix, a point's attributes, `job` and `instance`, and one more label.
    fn begin(
        &mut self,
        request: &mut WriteRequest,
        suffix: &str,
        point: &Attributes,
        extra: Option<(&str, String)>,
    ) -> Result<(), RequestError> {
        let mut labels: BTreeMap<&str, &str> = point.labels();
        labels.extend(self.target.identity.iter().map(|(name, value)| (*name, value.as_str())));
        let name = format!("{}{suffix}", self.name);
        labels.insert("__name__", &name);
        labels.extend(extra.as_ref().map(|(name, value)| (*name, value.as_str())));
        request.begin(labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    /// What a point amounts to: itself, or with the deltas before it. `None` when it was refused, and counted.
    fn total(
        &mut self,
        request: &mut WriteRequest,
        point: &Attributes,
        stamp: Stamp<'_>,
        flags: u64,
        amount: Amount,
    ) -> Option<Total> {
        let Some(deltas) = &mut self.deltas else { return Some(Total { amount, begins: None }) };
        let mut key = vec![self.kind as u8];
        let identity = self.target.identity.iter().map(|(name, value)| (*name, value.as_str()));
        let own = [("", self.name.as_str())].into_iter();
        for (name, value) in own.chain(identity).chain(point.labels()) {
            // No text has such a byte.
            for part in [name.as_bytes(), &[0xff], value.as_bytes(), &[0xff]] {
                key.extend_from_slice(part);
            }
        }
        if flags & points::NO_RECORDED_VALUE != 0 {
            deltas.forget(&key);
            return Some(Total { amount, begins: None });
        }
        match deltas.add(&key, stamp, amount) {
            // What may fall is not seen to begin anew by a zero.
            Ok(total) if self.kind == Kind::Sum => Some(Total { begins: None, ..total }),
            Ok(total) => Some(total),
            Err(error) => {
                request.refuse(1, format_args!("metric {}: {error}", self.name));
                None
            }
        }
    }

    /// Notes a point's time.
    fn seen(&mut self, time: i64) {
        self.target.newest = self.target.newest.max(Some(time));
    }
}

impl WriteRequest {
    /// Reads an unpacked OTLP body; points of delta temporality are added to `deltas`.
    ///
    /// # Errors
    /// [`RequestError`] says what is wrong with it. Points that cannot be stored are no error: they are counted.
    pub fn read_otlp(&mut self, body: &[u8], deltas: &mut Deltas) -> Result<(), RequestError> {
        self.clear();
        each(body, 1, "request", |message| self.read_resource_metrics(message, deltas))
    }

    /// As [`WriteRequest::read_otlp`], of a body in JSON.
    ///
    /// # Errors
    /// The same.
    pub fn read_otlp_json(&mut self, body: &[u8], deltas: &mut Deltas) -> Result<(), RequestError> {
        self.clear();
        let body = json::to_protobuf(body)?;
        self.read_otlp(&body, deltas)
    }

    fn read_resource_metrics(&mut self, message: &[u8], deltas: &mut Deltas) -> Result<(), RequestError> {
        let mut target = Target::default();
        each(message, 1, "resource", |resource| {
            target.attributes = Attributes::read(resource, 1)?;
            Ok(())
        })?;
        target.identity = target.attributes.identity();
        each(message, 2, "resource metrics", |scope| {
            each(scope, 2, "scope metrics", |metric| self.read_metric(metric, &mut target, deltas))
        })?;
        self.put_target_info(&target)
    }

    fn read_metric(
        &mut self,
        message: &[u8],
        target: &mut Target,
        deltas: &mut Deltas,
    ) -> Result<(), RequestError> {
        let (mut name, mut help, mut unit, mut data) = (String::new(), String::new(), String::new(), None);
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next().map_err(wrong("metric"))? {
            match (number, value) {
                (1, Value::Bytes(bytes)) => name = text(bytes),
                (2, Value::Bytes(bytes)) => help = text(bytes),
                (3, Value::Bytes(bytes)) => unit = text(bytes),
                (5 | 7 | 9 | 10 | 11, Value::Bytes(bytes)) => data = Some((number, bytes)),
                (1..=3 | 5 | 7 | 9..=11, _) => return Err(wrong("metric")(ProtobufError::Field(number))),
                _ => {}
            }
        }
        let Some((number, data)) = data else { return Ok(()) };
        let kind = kind_of(number, data)?;
        let name = match names::metric(&name, &unit, kind) {
            Some(name) => name,
            None => {
                self.refuse(1, format_args!("metric {name:?} has no letter or digit in its name"));
                return Ok(());
            }
        };
        let described = Metadata { name: name.clone(), kind: kind.word(), help, unit: names::unit(&unit) };
        let temporality = if number == 5 || number == 11 { CUMULATIVE } else { temporality(data)? };
        let deltas = match temporality {
            CUMULATIVE => None,
            DELTA => Some(deltas),
            other => {
                let mut points = 0;
                each(data, 1, "data points", |_| {
                    points += 1;
                    Ok(())
                })?;
                let said = format_args!("metric {name}: temporality {other} is neither delta nor cumulative");
                self.refuse(points, said);
                return Ok(());
            }
        };
        let mut metric = Metric { name, kind, target, deltas };
        self.describe(described);
        each(data, 1, "data points", |point| match number {
            5 | 7 => self.read_number(point, &mut metric),
            9 => self.read_classic_histogram(point, &mut metric),
            10 => self.read_exponential_histogram(point, &mut metric),
            _ => self.read_summary(point, &mut metric),
        })
    }

    /// The series that tells a target's further attributes, when it has any and can be told from others.
    fn put_target_info(&mut self, target: &Target) -> Result<(), RequestError> {
        let info = target.attributes.without_identity();
        let (Some(newest), false, false) = (target.newest, info.is_empty(), target.identity.is_empty())
        else {
            return Ok(());
        };
        let mut labels = info.labels();
        labels.extend(target.identity.iter().map(|(name, value)| (*name, value.as_str())));
        labels.insert("__name__", "target_info");
        self.begin(labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))?;
        self.float(newest, 1.0)
    }
}

/// What kind of metric field `number` of a metric holds.
fn kind_of(number: u64, data: &[u8]) -> Result<Kind, RequestError> {
    Ok(match number {
        5 => Kind::Gauge,
        7 => {
            let mut monotonic = false;
            let mut fields = Fields::new(data);
            while let Some((number, value)) = fields.next().map_err(wrong("sum"))? {
                if let (3, Value::Varint(flag)) = (number, value) {
                    monotonic = flag != 0;
                }
            }
            if monotonic { Kind::Counter } else { Kind::Sum }
        }
        9 | 10 => Kind::Histogram,
        _ => Kind::Summary,
    })
}

fn temporality(data: &[u8]) -> Result<u64, RequestError> {
    let (mut found, mut fields) = (0, Fields::new(data));
    while let Some((number, value)) = fields.next().map_err(wrong("temporality"))? {
        if let (TEMPORALITY, Value::Varint(number)) = (number, value) {
            found = number;
        }
    }
    Ok(found)
}

/// Hands each message of field `wanted` to `take`.
fn each(
    message: &[u8],
    wanted: u64,
    part: &'static str,
    mut take: impl FnMut(&[u8]) -> Result<(), RequestError>,
) -> Result<(), RequestError> {
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next().map_err(wrong(part))? {
        match value {
            Value::Bytes(bytes) if number == wanted => take(bytes)?,
            _ if number == wanted => return Err(wrong(part)(ProtobufError::Field(number))),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
