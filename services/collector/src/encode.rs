//! A machine's rounds as bodies of remote-write 1.0 (prometheus/prompb `remote.proto`, `types.proto`).
//!
//! Most series of a round are those of the round before, so their labels are kept as they were written, and only time and
//! value are new. The same memory tells which series went: each gets Prometheus' staleness marker, once.

use std::collections::HashSet;

use vakt_wire::remote_write::varint;

use crate::family::{Family, Row};

/// Prometheus' staleness marker, a NaN of its own (model/value/value.go, StaleNaN).
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The job label of everything that is pushed.
const JOB: &str = "vakt";

/// Families that are told together, always in the same place of a round.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// The families.
    pub families: &'a [Family],
    /// Whether anything may be different from the round before.
    pub changed: bool,
}

impl<'a> Block<'a> {
    /// Families of which nothing is known.
    pub fn new(families: &'a [Family]) -> Block<'a> {
        Block { families, changed: true }
    }
}

/// What a machine showed last: some 110 bytes a series.
#[derive(Debug)]
pub struct Shown {
    instance: String,
    blocks: Vec<Series>,
    /// What the next round of a block is written to.
    fresh: Series,
}

/// The labels of a block's series, each as the fields of a `TimeSeries`, one after the other.
#[derive(Debug, Default)]
struct Series {
    labels: Vec<u8>,
    ends: Vec<usize>,
}

impl Series {
    fn each(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| &self.labels[begin..*end])
    }
}

impl Shown {
    /// A machine that has not shown anything, with its instance label.
    pub fn new(instance: impl Into<String>) -> Shown {
        Shown { instance: instance.into(), blocks: Vec::new(), fresh: Series::default() }
    }

    /// The instance label.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Adds a round to a request that is not packed yet: every sample of `blocks`, and a marker for each series that was
    /// shown before and is not now, all at `time_ms`. Returns how many samples that are.
    pub fn write(&mut self, blocks: &[Block], time_ms: i64, request: &mut Vec<u8>) -> u64 {
        let mut samples = 0;
        let before = self.blocks.len().max(blocks.len());
        self.blocks.resize_with(before, Series::default);
        for at in 0..before {
            // A block that is left out shows nothing.
            let block = blocks.get(at).copied().unwrap_or(Block::new(&[]));
            if block.changed {
                samples += self.renew(at, block.families, time_ms, request);
            }
            let rows = block.families.iter().flat_map(|family| &family.rows);
            for (labels, row) in self.blocks[at].each().zip(rows) {
                series(labels, row.value, time_ms, request);
                samples += 1;
            }
        }
        samples
    }

    /// Takes the labels of a block anew, and marks what went. Returns how many markers were written.
    fn renew(&mut self, at: usize, families: &[Family], time_ms: i64, request: &mut Vec<u8>) -> u64 {
        let fresh = &mut self.fresh;
        fresh.labels.clear();
        fresh.ends.clear();
        for family in families {
            for row in &family.rows {
                labels(family, row, &self.instance, &mut fresh.labels);
                fresh.ends.push(fresh.labels.len());
            }
        }
        if fresh.labels == self.blocks[at].labels {
            return 0;
        }
        std::mem::swap(&mut self.fresh, &mut self.blocks[at]);
        let now: HashSet<&[u8]> = self.blocks[at].each().collect();
        let mut gone = 0;
        for labels in self.fresh.each().filter(|labels| !now.contains(labels)) {
            series(labels, f64::from_bits(STALE_BITS), time_ms, request);
            gone += 1;
        }
        gone
    }
}

/// A row's labels as repeated field 1 of a `TimeSeries`, sorted by name as remote-write wants them.
fn labels(family: &Family, row: &Row, instance: &str, out: &mut Vec<u8>) {
    let own = row.labels.iter().filter(|(_, value)| !value.is_empty());
    let mut sorted = Vec::with_capacity(row.labels.len() + 2);
    sorted.extend(own.map(|(name, value)| match *name {
        // As Prometheus has it for what a target says itself.
        "instance" => ("exported_instance", value.as_str()),
        "job" => ("exported_job", value.as_str()),
        name => (name, value.as_str()),
    }));
    sorted.extend([("instance", instance), ("job", JOB)]);
    sorted.sort_unstable();
    // `__name__` is before every name that begins with a small letter; a name of a text file may begin with a large one.
    let first = sorted.partition_point(|(name, _)| *name < "__name__");
    for (name, value) in &sorted[..first] {
        label(name, &[value], out);
    }
    label("__name__", &[&family.name, row.suffix], out);
    for (name, value) in &sorted[first..] {
        label(name, &[value], out);
    }
}

/// A `Label` in field 1: name in field 1, value in field 2. The value comes in parts.
fn label(name: &str, parts: &[&str], out: &mut Vec<u8>) {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let whole = 2 + varint_bytes(name.len()) + name.len() + varint_bytes(length) + length;
    out.push(1 << 3 | 2);
    varint(whole as u64, out);
    out.push(1 << 3 | 2);
    varint(name.len() as u64, out);
    out.extend_from_slice(name.as_bytes());
    out.push(2 << 3 | 2);
    varint(length as u64, out);
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

/// A `TimeSeries` with one sample, as field 1 of the request.
fn series(labels: &[u8], value: f64, time_ms: i64, out: &mut Vec<u8>) {
    let time = time_ms.cast_unsigned();
    let sample = 10 + varint_bytes(time_ms.cast_unsigned() as usize);
    out.push(1 << 3 | 2);
    varint((labels.len() + 2 + sample) as u64, out);
    out.extend_from_slice(labels);
    out.extend_from_slice(&[2 << 3 | 2, sample as u8, 1 << 3 | 1]);
    out.extend_from_slice(&value.to_le_bytes());
    out.push(2 << 3);
    varint(time, out);
}

fn varint_bytes(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use vakt_wire::remote_write::{TimeSeries, encode};

    fn gauge(value: f64) -> Family {
        Family::gauge("g", "G.", 1.0).with(vec![("x", "1".into()), ("y", String::new())], value)
    }

    /// The request that the general encoder makes of `name`, labels, value.
    fn expected(series: &[(&str, &[(&str, &str)], f64)], time_ms: i64) -> Vec<u8> {
        let one = |(name, labels, value): &(&str, &[(&str, &str)], f64)| {
            let fixed = [("__name__", *name), ("instance", "db1"), ("job", "vakt")];
            let labels = fixed.iter().chain(*labels).map(|(name, value)| ((*name).into(), (*value).into()));
            TimeSeries { labels: labels.collect(), samples: vec![(*value, time_ms)] }
        };
        let packed = encode(&series.iter().map(one).collect::<Vec<_>>()).unwrap();
        snap::raw::Decoder::new().decompress_vec(&packed).unwrap()
    }

    #[test]
    fn every_series_says_which_machine_it_is_of_and_is_written_as_prompb_says() {
        let mut histogram = Family::new("h", crate::family::Kind::Histogram, "H.");
        histogram.push_part(
            "_bucket",
            vec![("le", "1".into()), ("instance", "own".into()), ("Big", "b".into())],
            3.0,
        );
        let time = 1_795_338_637_123;
        let all = expected(
            &[
                ("g", &[], 1.0),
                ("g", &[("x", "1")], 2.0),
                ("h_bucket", &[("le", "1"), ("exported_instance", "own"), ("Big", "b")], 3.0),
            ],
            time,
        );
        let (mut shown, families) = (Shown::new("db1"), [gauge(2.0), histogram]);
        // From memory it is the same.
        for changed in [true, false] {
            let mut request = Vec::new();
            assert_eq!(shown.write(&[Block { families: &families, changed }], time, &mut request), 3);
            assert_eq!(request, all);
        }
        let mut request = Vec::new();
        shown.write(&[Block::new(&[Family::gauge("g", "G.", 0.0)])], 127, &mut request);
        assert_eq!(varint_bytes(127), 1);
        assert_eq!([varint_bytes(0), varint_bytes(128), varint_bytes(1 << 42)], [1, 2, 7]);
    }

    #[test]
    fn a_series_that_goes_is_marked_once() {
        let (mut shown, stale) = (Shown::new("db1"), f64::from_bits(STALE_BITS));
        let mut round = |blocks: &[Block], time| {
            let mut request = Vec::new();
            let samples = shown.write(blocks, time, &mut request);
            (samples, request)
        };
        let (one, other) = ([gauge(2.0)], [Family::gauge("o", "O.", 5.0)]);
        assert_eq!(round(&[Block::new(&one), Block::new(&other)], 1).0, 3);
        // One of a family, then a whole block; then nothing more is said of them.
        let less = [Family::gauge("g", "G.", 4.0)];
        assert_eq!(
            round(&[Block::new(&less), Block::new(&other)], 2),
            (3, expected(&[("g", &[("x", "1")], stale), ("g", &[], 4.0), ("o", &[], 5.0)], 2))
        );
        assert_eq!(round(&[Block::new(&less)], 3), (2, expected(&[("g", &[], 4.0), ("o", &[], stale)], 3)));
        assert_eq!(round(&[Block::new(&less)], 4), (1, expected(&[("g", &[], 4.0)], 4)));
        // One that comes again is only a series.
        assert_eq!(round(&[Block::new(&one)], 5).0, 2);
    }
}
