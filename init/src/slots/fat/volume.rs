//! The volume as a whole: look, read, put, remove, mend. The order of the writes is told in the
//! module's head.

use std::collections::BTreeSet;

use super::directory::{Directory, ENTRY, Item};
use super::geometry::{BOOT_SECTOR, Geometry};
use super::table::Table;
use super::{Disk, FatError};

/// Largest file that is read or written.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Largest directory that is read.
const DIRECTORY_BYTES_MAX: u64 = 256 << 10;

/// Deepest directory that is walked; a chain of directories that leads back into itself ends here.
const DEPTH_MAX: u32 = 8;

/// An open volume.
#[derive(Debug)]
pub struct Volume<D> {
    disk: D,
    geometry: Geometry,
    table: Table,
}

/// A directory with where its bytes lie.
struct Opened {
    directory: Directory,
    clusters: Vec<u32>,
}

impl<D: Disk> Volume<D> {
    /// Opens the volume on `disk`. Nothing is written.
    ///
    /// # Errors
    /// When it cannot be read, or is no FAT32 volume.
    pub fn open(disk: D) -> Result<Volume<D>, FatError> {
        let mut boot = [0; BOOT_SECTOR];
        disk.read_at(0, &mut boot).map_err(FatError::disk("read"))?;
        let geometry = Geometry::parse(&boot)?;
        let table = Table::read(&disk, &geometry)?;
        Ok(Volume { disk, geometry, table })
    }

    /// What is in the directory at `path`, such as `EFI/Linux`. Names are compared as FAT does, without
    /// their case.
    ///
    /// # Errors
    /// When there is no such directory, or it is damaged.
    pub fn list(&self, path: &str) -> Result<Vec<Item>, FatError> {
        Ok(self.find(path)?.directory.items())
    }

    /// A file's bytes.
    ///
    /// # Errors
    /// When its chain does not hold as many bytes as its entry says, or more than 64 MiB.
    pub fn read(&self, item: &Item) -> Result<Vec<u8>, FatError> {
        let bytes = u64::from(item.bytes);
        if bytes > FILE_BYTES_MAX {
            return Err(FatError::damaged(format!("{} is {bytes} bytes long", item.name)));
        }
        if bytes == 0 {
            return Ok(Vec::new());
        }
        let needed = self.geometry.clusters_for(bytes);
        let clusters = self.table.chain(&self.geometry, item.first, needed)?;
        if clusters.len() != needed {
            return Err(FatError::damaged(format!("{} is cut short", item.name)));
        }
        let mut contents = self.read_clusters(&clusters)?;
        contents.truncate(bytes as usize);
        Ok(contents)
    }

    /// Adds a file to the directory at `path`.
    ///
    /// # Errors
    /// When it is there already or there is no room, before anything is written; or when the disk fails.
    pub fn put(&mut self, path: &str, name: &str, contents: &[u8]) -> Result<(), FatError> {
        let mut place = self.find(path)?;
        if place.directory.items().iter().any(|item| item.name.eq_ignore_ascii_case(name)) {
            return Err(FatError::Present(name.to_owned()));
        }
        let needed = self.geometry.clusters_for(contents.len() as u64);
        let clusters: Vec<u32> = self.table.free(&self.geometry).take(needed).collect();
        if clusters.len() < needed || contents.len() as u64 > FILE_BYTES_MAX {
            let (name, free) = (name.to_owned(), clusters.len());
            return Err(FatError::Full { name, what: "clusters", needed, free });
        }
        let first = clusters.first().copied().unwrap_or(0);
        let per_sector = self.geometry.sector as usize / ENTRY;
        let slots = place.directory.add(name, first, contents.len() as u32, per_sector)?;
        self.write_clusters(&clusters, contents)?;
        self.sync()?;
        self.table.link(&clusters);
        self.table.write(&mut self.disk, &self.geometry)?;
        self.sync()?;
        let sectors = self.sectors_of(&slots);
        self.write_directory(&place, sectors)
    }

    /// Removes a file from the directory at `path` and frees what only it had.
    ///
    /// # Errors
    /// When it is not there, or the disk fails.
    pub fn remove(&mut self, path: &str, name: &str) -> Result<(), FatError> {
        let mut place = self.find(path)?;
        let items = place.directory.items();
        let item = items.iter().find(|item| item.name.eq_ignore_ascii_case(name) && !item.is_directory);
        let item = item.ok_or_else(|| FatError::Absent(name.to_owned()))?;
        place.directory.remove(item);
        let sectors = self.sectors_of(&item.slots);
        // Backwards: a short name without its long one would be a file of its own for a moment.
        self.write_directory(&place, sectors.rev())?;
        self.mend().map(|_| ())
    }

    /// Makes all copies of the table alike and frees the clusters that no file and no directory leads
    /// to: what a power cut leaves. Returns how many were freed.
    ///
    /// # Errors
    /// When a directory cannot be read, before anything is written; or when the disk fails.
    pub fn mend(&mut self) -> Result<usize, FatError> {
        let mut used = BTreeSet::new();
        self.walk(self.geometry.root, 0, &mut used)?;
        self.table.compare_copies(&self.disk, &self.geometry)?;
        let freed = self.table.free_all_but(&self.geometry, &used);
        self.table.write(&mut self.disk, &self.geometry)?;
        self.sync()?;
        Ok(freed)
    }

    /// The disk, for what the caller knows of it.
    #[cfg(test)]
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// The disk back.
    #[cfg(test)]
    pub fn into_disk(self) -> D {
        self.disk
    }

    /// A second name for a file, as a cut in the middle of another driver's rename leaves it.
    #[cfg(test)]
    pub fn share(&mut self, path: &str, name: &str, of: &Item) -> Result<(), FatError> {
        let mut place = self.find(path)?;
        let per_sector = self.geometry.sector as usize / ENTRY;
        let slots = place.directory.add(name, of.first, of.bytes, per_sector)?;
        let sectors = self.sectors_of(&slots);
        self.write_directory(&place, sectors)
    }

    fn walk(&self, first: u32, depth: u32, used: &mut BTreeSet<u32>) -> Result<(), FatError> {
        if depth > DEPTH_MAX {
            return Err(FatError::damaged("its directories are too deep"));
        }
        let opened = self.open_directory(first)?;
        used.extend(&opened.clusters);
        for item in opened.directory.items().into_iter().filter(|item| item.first != 0) {
            if item.is_directory {
                self.walk(item.first, depth + 1, used)?;
                continue;
            }
            // A broken chain is kept as far as it goes: what it is worth is not for us to say.
            let mut next = Some(item.first).filter(|first| (2..self.geometry.clusters_end).contains(first));
            while let Some(cluster) = next.filter(|cluster| used.insert(*cluster)) {
                next = self.table.next(&self.geometry, cluster).unwrap_or(None);
            }
        }
        Ok(())
    }

    fn find(&self, path: &str) -> Result<Opened, FatError> {
        let mut opened = self.open_directory(self.geometry.root)?;
        for part in path.split('/') {
            let items = opened.directory.items();
            let item = items.iter().find(|item| item.is_directory && item.name.eq_ignore_ascii_case(part));
            let item = item.ok_or_else(|| FatError::Absent(path.to_owned()))?;
            opened = self.open_directory(item.first)?;
        }
        Ok(opened)
    }

    fn open_directory(&self, first: u32) -> Result<Opened, FatError> {
        let length_max = self.geometry.clusters_for(DIRECTORY_BYTES_MAX);
        let clusters = self.table.chain(&self.geometry, first, length_max)?;
        Ok(Opened { directory: Directory { bytes: self.read_clusters(&clusters)? }, clusters })
    }

    fn read_clusters(&self, clusters: &[u32]) -> Result<Vec<u8>, FatError> {
        let size = self.geometry.cluster as usize;
        let mut bytes = vec![0; clusters.len() * size];
        for (run, from) in runs(clusters) {
            let part = &mut bytes[from * size..(from + run.len()) * size];
            self.disk.read_at(self.geometry.at(run[0]), part).map_err(FatError::disk("read"))?;
        }
        Ok(bytes)
    }

    fn write_clusters(&mut self, clusters: &[u32], contents: &[u8]) -> Result<(), FatError> {
        let size = self.geometry.cluster as usize;
        for (run, from) in runs(clusters) {
            let mut part = contents[from * size..contents.len().min((from + run.len()) * size)].to_vec();
            part.resize(run.len() * size, 0);
            self.disk.write_at(self.geometry.at(run[0]), &part).map_err(FatError::disk("write"))?;
        }
        Ok(())
    }

    /// The sectors of a directory, by number, that hold the entries `slots`.
    fn sectors_of(&self, slots: &std::ops::Range<usize>) -> std::ops::Range<usize> {
        let per_sector = self.geometry.sector as usize / ENTRY;
        slots.start / per_sector..(slots.end - 1) / per_sector + 1
    }

    /// Writes sectors of a directory in the given order, each of them synced.
    fn write_directory(
        &mut self,
        opened: &Opened,
        sectors: impl Iterator<Item = usize>,
    ) -> Result<(), FatError> {
        let size = self.geometry.sector as usize;
        let per_cluster = (self.geometry.cluster / self.geometry.sector) as usize;
        for sector in sectors {
            let at = self.geometry.at(opened.clusters[sector / per_cluster])
                + (sector % per_cluster * size) as u64;
            let bytes = &opened.directory.bytes[sector * size..(sector + 1) * size];
            self.disk.write_at(at, bytes).map_err(FatError::disk("write"))?;
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), FatError> {
        self.disk.sync().map_err(FatError::disk("sync"))
    }
}

/// Neighbouring clusters together, each run with its place in the list.
fn runs(clusters: &[u32]) -> impl Iterator<Item = (&[u32], usize)> {
    let mut from = 0;
    clusters.chunk_by(|a, b| *b == a + 1).map(move |run| {
        from += run.len();
        (run, from - run.len())
    })
}
