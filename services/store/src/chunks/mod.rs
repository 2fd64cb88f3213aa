//! Samples as Prometheus' chunks (its tsdb/chunkenc), which remote-read streams: XOR for floats, and float histograms.
//!
//! Nothing here is at rest: blocks have codecs of their own. Only writing is needed; the tests read chunks back by the format's
//! own rules.

mod bits;
mod histogram;
mod xor;

use crate::histogram::{Histogram, ResetHint};

/// Samples of a chunk, as Prometheus cuts them.
pub const SAMPLES_MAX: usize = 120;

/// How a chunk's samples are written, by protobuf's number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Floats.
    Xor = 1,
    /// Native histograms with float counts.
    FloatHistogram = 3,
}

/// One chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// The first sample's time: milliseconds since the epoch.
    pub from: i64,
    /// The last one's.
    pub to: i64,
    /// How it is written.
    pub encoding: Encoding,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// Floats as chunks; times ascend.
pub fn of_floats<'a>(times: &'a [i64], values: &'a [f64]) -> impl Iterator<Item = Chunk> + 'a {
    times.chunks(SAMPLES_MAX).zip(values.chunks(SAMPLES_MAX)).map(|(times, values)| Chunk {
        from: times[0],
        to: times[times.len() - 1],
        encoding: Encoding::Xor,
        data: xor::encode(times, values),
    })
}

/// Native histograms as chunks. Readers of a chunk take it that no counter began anew within it, so one is cut there;
/// `is_reset` says of a histogram whether it cannot have grown out of the one before.
pub fn of_histograms(
    samples: &[(i64, Histogram)],
    is_reset: impl Fn(&Histogram, &Histogram) -> bool,
) -> Vec<Chunk> {
    let goes_on = |(_, old): &(i64, Histogram), (_, new): &(i64, Histogram)| {
        let gauges = (old.reset_hint == ResetHint::Gauge, new.reset_hint == ResetHint::Gauge);
        histogram::same_layout(old, new)
            && match gauges {
                (true, true) => true,
                (false, false) => !is_reset(new, old),
                _ => false,
            }
    };
    samples
        .chunk_by(goes_on)
        .flat_map(|run| run.chunks(SAMPLES_MAX))
        .map(|run| Chunk {
            from: run[0].0,
            to: run[run.len() - 1].0,
            encoding: Encoding::FloatHistogram,
            data: histogram::encode(run),
        })
        .collect()
}
