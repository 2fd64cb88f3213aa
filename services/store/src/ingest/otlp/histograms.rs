//! Data points of histograms: classic ones with bounds, and exponential ones.

use super::points::{exemplars, millis, recorded};
use super::{Amount, Attributes, Metric, Stamp, wrong};
use crate::histogram::{Buckets, EXACT_MAX, Histogram, SCHEMA_MAX, SCHEMA_MIN};
use crate::ingest::request::{RequestError, WriteRequest};
use crate::protobuf::{Fields, ProtobufError, Value, unzigzag, varint};
use crate::samples::STALE_NAN;

/// Width of the zero bucket when a point does not say: Prometheus' own.
const ZERO_THRESHOLD: f64 = 1e-128;

/// Buckets of one sign that a point may list, empty ones too. They stand densely; instruments keep to 160.
const LISTED_MAX: usize = 1 << 16;

/// Empty buckets in a row that are kept rather than begin a new span, as Prometheus does.
const GAP_MAX: i32 = 2;

/// What both kinds of points begin with.
#[derive(Default)]
struct Head {
    /// Nanoseconds.
    start: u64,
    time: u64,
    count: u64,
    sum: Option<f64>,
    flags: u64,
}

impl Head {
    /// Takes a field that both have; whether it was one.
    fn take(&mut self, number: u64, field: Value<'_>) -> bool {
        match (number, field) {
            (2, Value::Fixed64(nanoseconds)) => self.start = nanoseconds,
            (3, Value::Fixed64(nanoseconds)) => self.time = nanoseconds,
            (4, Value::Fixed64(count)) => self.count = count,
            (5, Value::Fixed64(bits)) => self.sum = Some(f64::from_bits(bits)),
            (10, Value::Varint(flags)) => self.flags = flags,
            _ => return false,
        }
        true
    }

    fn stamp<'a>(&self, message: &'a [u8]) -> Stamp<'a> {
        Stamp { start: self.start, time: self.time, message }
    }
}

impl WriteRequest {
    /// A point with explicit bounds: `_sum`, `_count`, and a cumulative `_bucket` for each bound.
    pub(super) fn read_classic_histogram(
        &mut self,
        point: &[u8],
        metric: &mut Metric<'_>,
    ) -> Result<(), RequestError> {
        const PART: &str = "histogram";
        let (mut head, mut counts, mut bounds) = (Head::default(), Vec::new(), Vec::new());
        let mut fields = Fields::new(point);
        while let Some((number, field)) = fields.next().map_err(wrong(PART))? {
            match (number, field) {
                (6, field) => words(field, &mut counts).map_err(wrong(PART))?,
                (7, field) => words(field, &mut bounds).map_err(wrong(PART))?,
                (number, field) => drop(head.take(number, field)),
            }
        }
        let attributes = Attributes::read(point, 9)?;
        let amount = Amount::Classic { bounds, counts, count: head.count, sum: head.sum };
        let Some(total) = metric.total(self, &attributes, head.stamp(point), head.flags, amount) else {
            return Ok(());
        };
        let Amount::Classic { bounds, counts, count: all, sum } = total.amount else { return Ok(()) };
        let time = millis(head.time);
        metric.seen(time);
        let put = |request: &mut WriteRequest, value: f64| {
            if let Some(zero) = total.begins {
                request.float(zero, 0.0)?;
            }
            request.float(time, recorded(value, head.flags))
        };
        if let Some(sum) = sum {
            metric.begin(self, "_sum", &attributes, None)?;
            put(self, sum)?;
        }
        metric.begin(self, "_count", &attributes, None)?;
        put(self, all as f64)?;
        let (mut below, mut noted) = (0u64, exemplars(point, 8)?);
        noted.sort_by(|a, b| a.value.total_cmp(&b.value));
        let mut noted = noted.into_iter().peekable();
        let ends = bounds.iter().zip(&counts).map(|(bits, count)| (f64::from_bits(*bits), Some(*count)));
        for (bound, count) in ends.chain([(f64::INFINITY, None)]) {
            below = count.map_or(all, |count| below.saturating_add(count));
            let le = if bound == f64::INFINITY { "+Inf".to_owned() } else { bound.to_string() };
            metric.begin(self, "_bucket", &attributes, Some(("le", le)))?;
            put(self, below as f64)?;
            while let Some(exemplar) = noted.next_if(|exemplar| exemplar.value <= bound) {
                self.exemplar(exemplar.time, exemplar.value, exemplar.labels);
            }
        }
        Ok(())
    }

    /// A point with exponential buckets: one native histogram.
    pub(super) fn read_exponential_histogram(
        &mut self,
        point: &[u8],
        metric: &mut Metric<'_>,
    ) -> Result<(), RequestError> {
        const PART: &str = "exponential histogram";
        let (mut head, mut histogram) =
            (Head::default(), Histogram { integer: true, ..Histogram::default() });
        let (mut scale, mut sides) = (0i64, [Listed::default(), Listed::default()]);
        let mut fields = Fields::new(point);
        while let Some((number, field)) = fields.next().map_err(wrong(PART))? {
            match (number, field) {
                (6, Value::Varint(number)) => scale = unzigzag(number),
                (7, Value::Fixed64(count)) => histogram.zero_count = count as f64,
                (8, Value::Bytes(message)) => sides[0] = Listed::read(message)?,
                (9, Value::Bytes(message)) => sides[1] = Listed::read(message)?,
                (14, Value::Fixed64(bits)) => histogram.zero_threshold = f64::from_bits(bits),
                (6..=9 | 14, _) => return Err(wrong(PART)(ProtobufError::Field(number))),
                (number, field) => drop(head.take(number, field)),
            }
        }
        if histogram.zero_threshold <= 0.0 {
            histogram.zero_threshold = ZERO_THRESHOLD;
        }
        let Some(schema) = (i64::from(SCHEMA_MIN)..).contains(&scale).then(|| scale.min(SCHEMA_MAX.into()))
        else {
            self.refuse(
                1,
                format_args!("metric {} has scale {scale}; {SCHEMA_MIN} and more can be kept", metric.name),
            );
            return Ok(());
        };
        histogram.schema = schema as i8;
        let merged = sides.map(|side| side.buckets(scale - schema));
        let ([Some(positive), Some(negative)], true) = (merged, head.count <= EXACT_MAX) else {
            self.refuse(
                1,
                format_args!("metric {} has buckets or counts past what a histogram holds", metric.name),
            );
            return Ok(());
        };
        (histogram.positive, histogram.negative) = (positive, negative);
        histogram.count = head.count as f64;
        histogram.sum = recorded(head.sum.unwrap_or(0.0), head.flags);
        let attributes = Attributes::read(point, 1)?;
        let amount = Amount::Native(Box::new(histogram));
        let Some(total) = metric.total(self, &attributes, head.stamp(point), head.flags, amount) else {
            return Ok(());
        };
        let Amount::Native(histogram) = total.amount else { return Ok(()) };
        let (mut histogram, time) = (*histogram, millis(head.time));
        metric.seen(time);
        metric.begin(self, "", &attributes, None)?;
        if histogram.sum.to_bits() == STALE_NAN {
            // A marker says nothing but its time.
            histogram = Histogram { sum: histogram.sum, integer: true, ..Histogram::default() };
        }
        self.histogram(time, histogram)?;
        for exemplar in exemplars(point, 11)? {
            self.exemplar(exemplar.time, exemplar.value, exemplar.labels);
        }
        Ok(())
    }
}

/// Buckets as OTLP lists them: all of them from an index on.
#[derive(Default)]
struct Listed {
    offset: i64,
    counts: Vec<u64>,
    /// More than [`LISTED_MAX`].
    too_many: bool,
}

impl Listed {
    fn read(message: &[u8]) -> Result<Listed, RequestError> {
        const PART: &str = "exponential buckets";
        let mut listed = Listed::default();
        let mut fields = Fields::new(message);
        while let Some((number, field)) = fields.next().map_err(wrong(PART))? {
            match (number, field) {
                (1, Value::Varint(number)) => listed.offset = unzigzag(number),
                (2, Value::Varint(count)) => listed.push(count),
                (2, Value::Bytes(mut packed)) => {
                    while !packed.is_empty() {
                        let (count, length) = varint(packed).map_err(wrong(PART))?;
                        packed = &packed[length..];
                        listed.push(count);
                    }
                }
                (1 | 2, _) => return Err(wrong(PART)(ProtobufError::Field(number))),
                _ => {}
            }
        }
        Ok(listed)
    }

    fn push(&mut self, count: u64) {
        if self.counts.len() < LISTED_MAX {
            self.counts.push(count);
        } else {
            self.too_many = true;
        }
    }

    /// As buckets whose scale is `down` less: 2^down neighbours become one. OTLP counts from the bucket above 1, we from
    /// the one that ends there. `None` when an index or count is past what a histogram holds.
    fn buckets(&self, down: i64) -> Option<Buckets> {
        let (mut merged, mut index, mut count) = (Merged::default(), None, 0u64);
        for (place, more) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let at = self.offset.checked_add(place as i64)?;
            let at = i32::try_from((at >> down.min(63)) + 1).ok()?;
            if index != Some(at) {
                merged.put(index, count)?;
                (index, count) = (Some(at), 0);
            }
            count = count.checked_add(*more)?;
        }
        merged.put(index, count)?;
        (!self.too_many).then_some(merged.buckets)
    }
}

/// Buckets that grow at their end.
#[derive(Default)]
struct Merged {
    buckets: Buckets,
    last: Option<i32>,
}

impl Merged {
    fn put(&mut self, index: Option<i32>, count: u64) -> Option<()> {
        let Some(index) = index else { return Some(()) };
        if count > EXACT_MAX {
            return None;
        }
        if let Some(last) = self.last.filter(|last| index - last <= GAP_MAX + 1) {
            (last + 1..index).for_each(|empty| self.push(empty, 0.0));
        }
        self.push(index, count as f64);
        Some(())
    }

    fn push(&mut self, index: i32, count: f64) {
        self.buckets.push_after(self.last, index, count);
        self.last = Some(index);
    }
}

/// Words of 8 bytes, packed or one by one.
fn words(field: Value<'_>, out: &mut Vec<u64>) -> Result<(), ProtobufError> {
    match field {
        Value::Fixed64(bits) => out.push(bits),
        Value::Bytes(packed) => {
            let (words, rest) = packed.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(ProtobufError::Short);
            }
            out.extend(words.iter().map(|word| u64::from_le_bytes(*word)));
        }
        _ => return Err(ProtobufError::Field(6)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one_when_the_scale_falls() {
        let listed = |offset, counts: &[u64]| Listed { offset, counts: counts.to_vec(), too_many: false };
        let check = |listed: Listed, down, expected: &[(i32, f64)]| {
            assert_eq!(listed.buckets(down).unwrap().iter().collect::<Vec<_>>(), expected);
        };
        check(listed(0, &[1, 2, 3]), 0, &[(1, 1.0), (2, 2.0), (3, 3.0)]);
        check(listed(-1, &[1, 2, 3]), 1, &[(0, 1.0), (1, 5.0)]);
        check(listed(2, &[0, 1, 0, 0, 2, 0]), 0, &[(4, 1.0), (5, 0.0), (6, 0.0), (7, 2.0)]);
        check(listed(0, &[1, 0, 0, 0, 2]), 0, &[(1, 1.0), (5, 2.0)]);
        check(listed(-5, &[]), 0, &[]);
        assert_eq!(listed(i64::MAX, &[0, 1]).buckets(0), None);
        assert_eq!(listed(i64::from(i32::MAX), &[1]).buckets(0), None);
        assert_eq!(listed(0, &[u64::MAX]).buckets(0), None);
    }
}
