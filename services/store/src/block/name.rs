//! What a block's file name says: which flushes it holds, and of which partition.

use std::fmt;

use super::FOLDER;
use crate::tiers::Tier;

/// `<first flush, 16 hex digits>-<last flush, 16 hex digits>-<partition, decimal>.blk`, and for a tier
/// `@<width of its buckets in ms>` before the `.blk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockName {
    /// The first flush whose samples it holds.
    pub first: u64,
    /// The last one. Equal to `first` for a block that was never merged.
    pub last: u64,
    /// Which stretch of time: see [`crate::engine::Partitions`].
    pub partition: i64,
    /// Which tier it is of; `None` for the samples themselves.
    pub tier: Option<Tier>,
}

impl BlockName {
    /// The name of a file in the blocks' folder, or `None` when it is no block.
    pub fn parse(file: &str) -> Option<BlockName> {
        let stem = file.strip_suffix(".blk")?;
        let (first, rest) = stem.split_at_checked(16)?;
        let (last, rest) = rest.strip_prefix('-')?.split_at_checked(16)?;
        let (partition, tier) = match rest.strip_prefix('-')?.split_once('@') {
            Some((partition, width)) => (partition, Some(Tier::of_width(width.parse().ok()?)?)),
            None => (rest.strip_prefix('-')?, None),
        };
        Some(BlockName {
            first: u64::from_str_radix(first, 16).ok()?,
            last: u64::from_str_radix(last, 16).ok()?,
            partition: partition.parse().ok()?,
            tier,
        })
    }

    /// The path below the data directory.
    pub fn path(&self) -> String {
        format!("{FOLDER}/{self}.blk")
    }

    /// The path while it is being written.
    pub fn path_unfinished(&self) -> String {
        format!("{FOLDER}/{self}.tmp")
    }

    /// Where it goes when it is corrupt.
    pub fn path_bad(&self) -> String {
        format!("{FOLDER}/{self}.bad")
    }

    /// Whether everything that `other` holds is in this block, because `other` was merged into it.
    pub fn replaces(&self, other: &BlockName) -> bool {
        self != other
            && self.partition == other.partition
            && self.tier == other.tier
            && self.first <= other.first
            && other.last <= self.last
    }
}

impl fmt::Display for BlockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}-{}", self.first, self.last, self.partition)?;
        self.tier.map_or(Ok(()), |tier| write!(f, "@{}", tier.width_ms()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_strangers_are_no_blocks() {
        for partition in [-3, 0, 680] {
            for tier in [None, Some(Tier::Minute), Some(Tier::Hour)] {
                let name = BlockName { first: 1, last: 0xabc, partition, tier };
                assert_eq!(BlockName::parse(&format!("{name}.blk")), Some(name));
            }
        }
        for stranger in [
            "x.blk",
            "0000000000000001-0000000000000001-1.tmp",
            "",
            "0-0-0.blk",
            "0000000000000001-0000000000000001-1@7.blk",
        ] {
            assert_eq!(BlockName::parse(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn a_merged_block_replaces_its_parts_only() {
        let name = |first, last, partition| BlockName { first, last, partition, tier: None };
        assert!(name(1, 4, 0).replaces(&name(2, 3, 0)));
        assert!(!name(1, 4, 0).replaces(&name(2, 5, 0)));
        assert!(!name(1, 4, 0).replaces(&name(2, 3, 1)));
        assert!(!name(1, 4, 0).replaces(&name(1, 4, 0)));
        let minutes = BlockName { tier: Some(Tier::Minute), ..name(2, 3, 0) };
        assert!(!name(1, 4, 0).replaces(&minutes));
        assert!(BlockName { tier: Some(Tier::Minute), ..name(1, 4, 0) }.replaces(&minutes));
    }
}
