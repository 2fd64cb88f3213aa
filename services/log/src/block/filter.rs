//! The token filter of a block: a Bloom filter over (column, word) pairs.
//!
//! 10 bits a pair and 6 probes give about 1 % of false positives; a block whose filter lacks one word
//! of a query is not read. The hash is part of the disk format and must never change.

use super::FILTER_BYTES_MAX;
use std::collections::HashSet;

/// Bits for each distinct pair.
const BITS_PER_TOKEN: usize = 10;
/// Probes for each pair: ln 2 times the bits, rounded down.
const PROBES: u64 = 6;

/// The hash of a word in a column: FNV-1a over name, a zero byte and word, then splitmix64's finish.
pub fn token_hash(column: &str, word: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in column.bytes().chain([0]).chain(word.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// Collects the hashes of a block.
#[derive(Debug, Default)]
pub struct FilterBuilder {
    hashes: HashSet<u64>,
}

impl FilterBuilder {
    /// Adds a hash made by [`token_hash`].
    pub fn add(&mut self, hash: u64) {
        self.hashes.insert(hash);
    }

    /// The filter's bytes: its 64-bit words, little-endian. At most [`FILTER_BYTES_MAX`].
    pub fn finish(self) -> Vec<u8> {
        let words = (self.hashes.len() * BITS_PER_TOKEN).div_ceil(64).clamp(1, FILTER_BYTES_MAX / 8);
        let mut bytes = vec![0_u8; words * 8];
        for hash in self.hashes {
            for bit in probes(hash, words as u64 * 64) {
                bytes[(bit / 8) as usize] |= 1 << (bit % 8);
            }
        }
        bytes
    }
}

fn probes(hash: u64, bits: u64) -> impl Iterator<Item = u64> {
    // Double hashing: the upper half, made odd, is the step.
    let step = (hash >> 32) | 1;
    (0..PROBES).map(move |n| hash.wrapping_add(n.wrapping_mul(step)) % bits)
}

/// A filter that was read.
#[derive(Clone, Debug)]
pub struct Filter(Vec<u8>);

impl Filter {
    /// Takes the bytes made by [`FilterBuilder::finish`]; `None` when their number cannot be right.
    pub fn new(bytes: Vec<u8>) -> Option<Filter> {
        let fits = !bytes.is_empty() && bytes.len().is_multiple_of(8) && bytes.len() <= FILTER_BYTES_MAX;
        fits.then_some(Filter(bytes))
    }

    /// May the pair with this hash be in the block? `false` is certain.
    pub fn may_contain(&self, hash: u64) -> bool {
        probes(hash, self.0.len() as u64 * 8).all(|bit| self.0[(bit / 8) as usize] & (1 << (bit % 8)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_found_and_hardly_anything_else() {
        let mut builder = FilterBuilder::default();
        for n in 0..10_000 {
            builder.add(token_hash("_msg", &format!("word{n}")));
        }
        let filter = Filter::new(builder.finish()).unwrap();
        assert!((0..10_000).all(|n| filter.may_contain(token_hash("_msg", &format!("word{n}")))));
        let wrong =
            (0..10_000).filter(|n| filter.may_contain(token_hash("other", &format!("word{n}")))).count();
        assert!(wrong < 200, "{wrong} false positives of 10,000");
    }

    #[test]
    fn the_hash_is_what_old_blocks_were_written_with() {
        assert_eq!(token_hash("_msg", "error"), 13_868_821_575_086_841_171);
    }
}
