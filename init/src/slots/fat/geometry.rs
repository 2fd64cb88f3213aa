//! Where things lie on the volume: the boot sector's parameter block (Microsoft's FAT specification,
//! version 1.03, "Boot Sector and BPB").

use super::FatError;

/// Bytes of a boot sector, whatever the sector size is.
pub const BOOT_SECTOR: usize = 512;

/// Most clusters that are believed, which bounds the memory for the table to 16 MiB. Our boot partition
/// has 200,000.
const CLUSTERS_MAX: u64 = 4 << 20;

/// Fewest clusters of a FAT32 volume; with fewer it is FAT16 by definition.
const CLUSTERS_MIN: u64 = 65525;

/// The layout of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes of a sector: what a disk writes whole.
    pub sector: u64,
    /// Bytes of a cluster.
    pub cluster: u64,
    /// Where the first copy of the table begins, in bytes.
    pub table_at: u64,
    /// Bytes of one copy.
    pub table_bytes: u64,
    /// Copies.
    pub copies: u64,
    /// Where cluster 2 begins, in bytes.
    pub data_at: u64,
    /// First number behind the last cluster.
    pub clusters_end: u32,
    /// First cluster of the root directory.
    pub root: u32,
}

impl Geometry {
    /// Reads a boot sector.
    ///
    /// # Errors
    /// [`FatError::Damaged`] for what is not a sane FAT32 volume.
    pub fn parse(boot: &[u8; BOOT_SECTOR]) -> Result<Geometry, FatError> {
        let half = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let word =
            |at: usize| u64::from(u32::from_le_bytes([boot[at], boot[at + 1], boot[at + 2], boot[at + 3]]));
        let need = |fine: bool, what: &str| if fine { Ok(()) } else { Err(FatError::damaged(what)) };
        need(boot[510..] == [0x55, 0xAA], "it has no FAT boot sector")?;
        let (sector, per_cluster) = (half(11), u64::from(boot[13]));
        need(matches!(sector, 512 | 1024 | 2048 | 4096), "its sector size is no FAT's")?;
        need(per_cluster.is_power_of_two(), "its cluster size is no power of two")?;
        need(half(17) == 0 && half(22) == 0, "it is FAT12 or FAT16; the image makes FAT32")?;
        need(half(40) & 0x80 == 0, "its allocation tables are not mirrored")?;
        let (reserved, copies, table, total) = (half(14), u64::from(boot[16]), word(36), word(32));
        need(reserved > 0 && (1..=2).contains(&copies) && table > 0, "its allocation tables are not placed")?;
        let data = reserved + copies * table;
        need(total > data, "its data lies outside of it")?;
        let clusters = (total - data) / per_cluster;
        need((CLUSTERS_MIN..=CLUSTERS_MAX).contains(&clusters), "it has an odd number of clusters")?;
        need(table * sector / 4 >= clusters + 2, "its allocation tables are too short")?;
        let clusters_end = clusters as u32 + 2;
        let root = word(44) as u32;
        need((2..clusters_end).contains(&root), "its root directory lies outside of it")?;
        Ok(Geometry {
            sector,
            cluster: per_cluster * sector,
            table_at: reserved * sector,
            table_bytes: table * sector,
            copies,
            data_at: data * sector,
            clusters_end,
            root,
        })
    }

    /// Where a cluster begins, in bytes. The number must be one of a cluster.
    pub fn at(&self, cluster: u32) -> u64 {
        self.data_at + u64::from(cluster - 2) * self.cluster
    }

    /// Clusters for so many bytes.
    pub fn clusters_for(&self, bytes: u64) -> usize {
        bytes.div_ceil(self.cluster) as usize
    }
}
