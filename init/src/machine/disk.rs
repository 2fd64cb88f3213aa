//! Block devices as sysfs tells of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a disk may take to show up after its driver was loaded: USB and NVMe take a second or
/// two, a slow virtual machine more.
pub const APPEARS_WITHIN: Duration = Duration::from_secs(20);

/// Between two looks.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its node, such as `/dev/vda4`.
    pub node: PathBuf,
    /// Its disk's node, such as `/dev/vda`.
    pub disk: PathBuf,
    /// Its number in the table.
    pub number: u32,
    /// Its name in the table (GPT partition label).
    pub label: String,
}

/// All partitions now.
pub fn partitions() -> Vec<Partition> {
    block_devices().into_iter().filter_map(|name| partition(&name)).collect()
}

/// The nodes of all block devices, disks and partitions.
pub fn nodes() -> Vec<PathBuf> {
    block_devices().into_iter().map(|name| Path::new("/dev").join(name)).collect()
}

fn block_devices() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/class/block") else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn partition(name: &str) -> Option<Partition> {
    let directory = Path::new("/sys/class/block").join(name);
    let uevent = fs::read_to_string(directory.join("uevent")).ok()?;
    let value = |key: &str| uevent.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    // The link leads to …/block/vda/vda4, so the directory above is the disk.
    let target = fs::canonicalize(&directory).ok()?;
    let disk = target.parent()?.file_name()?;
    Some(Partition {
        node: Path::new("/dev").join(name),
        disk: Path::new("/dev").join(disk),
        number: value("PARTN")?.parse().ok()?,
        label: value("PARTNAME")?.to_owned(),
    })
}
