//! How samples are put into few bytes, losslessly: every bit of every value and time comes back.
//!
//! [`gorilla`] codes the hot samples in memory, one at a time. [`times`] and [`values`] code the
//! closed chunks of blocks: each tries what can work and keeps the smallest. Decoders check every
//! length, return errors and never panic, whatever the bytes.

pub mod aggregates;
pub mod bits;
pub mod gorilla;
pub mod histogram_stream;
pub mod histograms;
mod ints;
pub mod times;
pub mod values;

/// Samples of one chunk at most. Longer chunks compress little better and make a short query decode
/// more than it needs; the decoders refuse more, which bounds their memory.
pub const CHUNK_SAMPLES_MAX: usize = 4096;

/// How hard an encoder tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Only the codecs that cost a few nanoseconds a sample: for blocks that will be merged soon.
    Quick,
    /// pco as well: for merged blocks.
    Thorough,
    /// Whatever makes it smaller: for what is written once and lies for years.
    Lasting,
}

/// Why bytes could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end early.
    #[error("coded samples end early")]
    Short,
    /// A tag that this version does not know.
    #[error("codec {0} is not known")]
    Tag(u8),
    /// More samples than [`CHUNK_SAMPLES_MAX`], or none.
    #[error("chunk claims {0} samples; 1 to {CHUNK_SAMPLES_MAX} are possible")]
    Count(usize),
    /// A number out of its range.
    #[error("coded samples hold an impossible {0}")]
    Range(&'static str),
    /// pco refused its part.
    #[error("pco: {0}")]
    Pco(String),
}

fn pco_level(effort: Effort) -> Option<pco::ChunkConfig> {
    // Of 12; 8 is pco's default. Measured by examples/codecs: 12 takes a fortieth less than 6.
    let level = match effort {
        Effort::Quick => return None,
        Effort::Thorough => 6,
        Effort::Lasting => 12,
    };
    Some(pco::ChunkConfig::default().with_compression_level(level))
}

/// Fewer samples than this are not worth pco's header of some 20 bytes.
const PCO_SAMPLES_MIN: usize = 48;

fn pco_bytes<T: pco::data_types::Number>(numbers: &[T], effort: Effort) -> Option<Vec<u8>> {
    let config = pco_level(effort).filter(|_| numbers.len() >= PCO_SAMPLES_MIN)?;
    // An error would mean a bad configuration; the other codecs serve as well.
    pco::standalone::simple_compress(numbers, &config).ok()
}

fn pco_numbers<T: pco::data_types::Number>(bytes: &[u8], count: usize) -> Result<Vec<T>, CodecError> {
    let mut numbers = vec![T::default(); count];
    let progress = pco::standalone::simple_decompress_into(bytes, &mut numbers)
        .map_err(|error| CodecError::Pco(error.to_string()))?;
    if progress.n_processed != count {
        return Err(CodecError::Short);
    }
    Ok(numbers)
}

fn checked_count(count: usize) -> Result<usize, CodecError> {
    if (1..=CHUNK_SAMPLES_MAX).contains(&count) { Ok(count) } else { Err(CodecError::Count(count)) }
}
