//! The allocation table, whole in memory: which cluster follows which.

use std::collections::BTreeSet;

use super::geometry::Geometry;
use super::{Disk, FatError};

/// An entry's upper four bits are reserved and kept.
const NUMBER: u32 = 0x0FFF_FFFF;

/// From here on an entry ends a chain.
const END: u32 = 0x0FFF_FFF8;

/// A cluster that must not be used.
const BAD: u32 = 0x0FFF_FFF7;

/// The table.
#[derive(Debug)]
pub struct Table {
    entries: Vec<u32>,
    /// Sectors of a copy that are not on the disk as they are here.
    changed: BTreeSet<u64>,
    per_sector: u32,
}

impl Table {
    /// Reads the first copy, which is the one that firmware reads.
    ///
    /// # Errors
    /// [`FatError::Disk`].
    pub fn read(disk: &impl Disk, geometry: &Geometry) -> Result<Table, FatError> {
        let mut bytes = vec![0; geometry.table_bytes as usize];
        disk.read_at(geometry.table_at, &mut bytes).map_err(FatError::disk("read"))?;
        let entries = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Ok(Table { entries, changed: BTreeSet::new(), per_sector: geometry.sector as u32 / 4 })
    }

    /// The cluster behind `cluster`, `None` at the end of a chain.
    ///
    /// # Errors
    /// [`FatError::Damaged`] when the chain leads nowhere.
    pub fn next(&self, geometry: &Geometry, cluster: u32) -> Result<Option<u32>, FatError> {
        match self.entries.get(cluster as usize).map_or(0, |entry| entry & NUMBER) {
            END.. => Ok(None),
            next if (2..geometry.clusters_end).contains(&next) => Ok(Some(next)),
            next => Err(FatError::damaged(format!("cluster {cluster} leads to {next}, which is none"))),
        }
    }

    /// All clusters of a chain, at most `length_max`.
    ///
    /// # Errors
    /// [`FatError::Damaged`] for one that is longer, or broken.
    pub fn chain(&self, geometry: &Geometry, first: u32, length_max: usize) -> Result<Vec<u32>, FatError> {
        let mut all = Vec::new();
        let mut next = Some(first).filter(|first| (2..geometry.clusters_end).contains(first));
        if next.is_none() {
            return Err(FatError::damaged(format!("a chain begins at {first}, which is no cluster")));
        }
        while let Some(cluster) = next {
            if all.len() == length_max {
                return Err(FatError::damaged(format!("the chain from {first} is too long")));
            }
            all.push(cluster);
            next = self.next(geometry, cluster)?;
        }
        Ok(all)
    }

    /// Numbers of free clusters, ascending.
    pub fn free(&self, geometry: &Geometry) -> impl Iterator<Item = u32> {
        (2..geometry.clusters_end).filter(|cluster| self.entries[*cluster as usize] & NUMBER == 0)
    }

    /// Chains `clusters` one behind the other, in memory.
    pub fn link(&mut self, clusters: &[u32]) {
        for (index, cluster) in clusters.iter().enumerate() {
            self.set(*cluster, clusters.get(index + 1).copied().unwrap_or(NUMBER));
        }
    }

    /// Frees every cluster that is taken and not in `used`, in memory. Returns how many.
    pub fn free_all_but(&mut self, geometry: &Geometry, used: &BTreeSet<u32>) -> usize {
        let lost: Vec<u32> = (2..geometry.clusters_end)
            .filter(|cluster| !matches!(self.entries[*cluster as usize] & NUMBER, 0 | BAD))
            .filter(|cluster| !used.contains(cluster))
            .collect();
        for cluster in &lost {
            self.set(*cluster, 0);
        }
        lost.len()
    }

    fn set(&mut self, cluster: u32, number: u32) {
        let entry = &mut self.entries[cluster as usize];
        *entry = *entry & !NUMBER | number;
        self.changed.insert(u64::from(cluster / self.per_sector));
    }

    /// Writes the changed sectors into every copy. Not synced.
    ///
    /// # Errors
    /// [`FatError::Disk`].
    pub fn write(&mut self, disk: &mut impl Disk, geometry: &Geometry) -> Result<(), FatError> {
        for copy in 0..geometry.copies {
            for sector in &self.changed {
                let at = geometry.table_at + copy * geometry.table_bytes + sector * geometry.sector;
                disk.write_at(at, &self.sector_bytes(*sector)).map_err(FatError::disk("write"))?;
            }
        }
        self.changed.clear();
        Ok(())
    }

    /// Marks the sectors in which another copy differs as changed. Returns how many.
    ///
    /// # Errors
    /// [`FatError::Disk`].
    pub fn compare_copies(&mut self, disk: &impl Disk, geometry: &Geometry) -> Result<usize, FatError> {
        let mut bytes = vec![0; geometry.sector as usize];
        let before = self.changed.len();
        for copy in 1..geometry.copies {
            for sector in 0..geometry.table_bytes / geometry.sector {
                let at = geometry.table_at + copy * geometry.table_bytes + sector * geometry.sector;
                disk.read_at(at, &mut bytes).map_err(FatError::disk("read"))?;
                if bytes != self.sector_bytes(sector) {
                    self.changed.insert(sector);
                }
            }
        }
        Ok(self.changed.len() - before)
    }

    fn sector_bytes(&self, sector: u64) -> Vec<u8> {
        let from = sector as usize * self.per_sector as usize;
        self.entries[from..from + self.per_sector as usize]
            .iter()
            .flat_map(|entry| entry.to_le_bytes())
            .collect()
    }
}
