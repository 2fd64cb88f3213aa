//! The disks of this machine, as /sys/block, /proc/self/mountinfo and /proc/swaps show them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Bytes of a sector in /sys/block/*/size, whatever the disk's own are (Linux Documentation/ABI/stable/sysfs-block).
const SECTOR: u64 = 512;

/// Levels of block devices upon block devices that are followed: partition, RAID, LUKS, LVM, and room.
const LEVELS_MAX: usize = 8;

/// How a disk can be taken out of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// On USB, or a card in a reader: what one flashes.
    Removable,
    /// Built in.
    Fixed,
    /// Nothing that one could hold: loop, RAM, device-mapper, RAID.
    Virtual,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The kernel's name, as `sdb`.
    pub name: String,
    /// Bytes; 0 without a medium.
    pub bytes: u64,
    /// Vendor and model, where the disk says them.
    pub model: String,
    /// How it is attached.
    pub attachment: Attachment,
    /// Whether the kernel would refuse writes.
    pub read_only: bool,
    /// What it, its partitions and what lies upon them are used for: mount points, `swap`, names of RAIDs and the like.
    pub uses: Vec<String>,
}

/// What is mounted or swapped to, by `major:minor` and by device name. Some file systems (btrfs) show a number of
/// their own, and the device only by its path.
#[derive(Clone, Debug, Default)]
pub struct InUse(BTreeMap<String, Vec<String>>);

impl InUse {
    /// From the text of /proc/self/mountinfo and of /proc/swaps (Linux Documentation/filesystems/proc.rst, 3.5).
    pub fn parse(mountinfo: &str, swaps: &str) -> InUse {
        let mut by: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut add = |key: &str, used: &str| by.entry(key.to_owned()).or_default().push(used.to_owned());
        for line in mountinfo.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let source = words.iter().position(|word| *word == "-").and_then(|at| words.get(at + 2));
            let (Some(number), Some(at)) = (words.get(2), words.get(4)) else { continue };
            add(number, at);
            if let Some(name) = source.and_then(|source| source.strip_prefix("/dev/")) {
                add(name, at);
            }
        }
        for line in swaps.lines().skip(1) {
            if let Some(name) = line.split_whitespace().next().and_then(|path| path.strip_prefix("/dev/")) {
                add(name, "swap");
            }
        }
        InUse(by)
    }

    /// Of this process' view of the machine.
    ///
    /// # Errors
    /// When mountinfo cannot be read. A kernel without swap has no /proc/swaps.
    pub fn read() -> anyhow::Result<InUse> {
        let mountinfo =
            fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
        Ok(InUse::parse(&mountinfo, &fs::read_to_string("/proc/swaps").unwrap_or_default()))
    }

    fn of(&self, name: &str, number: &str) -> Vec<String> {
        [name, number].iter().filter_map(|key| self.0.get(*key)).flatten().cloned().collect()
    }
}

/// All disks below `sys` (which is /sys), by name.
///
/// # Errors
/// When `sys`/block cannot be read.
pub fn disks(sys: &Path, in_use: &InUse) -> anyhow::Result<Vec<Disk>> {
    let block = sys.join("block");
    let entries = fs::read_dir(&block).with_context(|| format!("cannot read {}", block.display()))?;
    let mut all: Vec<Disk> = entries
        .flatten()
        .map(|entry| disk(&entry.path(), &entry.file_name().to_string_lossy(), in_use))
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

fn disk(directory: &Path, name: &str, in_use: &InUse) -> Disk {
    let number = |file: &str| said(directory, file).parse::<u64>().unwrap_or(0);
    let mut uses = uses_of(directory, name, in_use, 0);
    uses.sort();
    uses.dedup();
    let model = format!("{} {}", said(directory, "device/vendor"), said(directory, "device/model"));
    Disk {
        name: name.to_owned(),
        bytes: number("size") * SECTOR,
        model: model.trim().to_owned(),
        attachment: attachment(directory),
        read_only: number("ro") == 1,
        uses,
    }
}

/// A USB hard disk says that it is not removable, and so does an SD card: where they hang tells.
fn attachment(directory: &Path) -> Attachment {
    let real = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let has =
        |wanted: &str| real.components().any(|part| part.as_os_str().to_string_lossy().starts_with(wanted));
    if real.to_string_lossy().contains("/devices/virtual/") {
        Attachment::Virtual
    } else if said(directory, "removable") == "1" || has("usb") || said(directory, "device/type") == "SD" {
        Attachment::Removable
    } else {
        Attachment::Fixed
    }
}

/// What a block device, its partitions and its holders are used for.
fn uses_of(directory: &Path, name: &str, in_use: &InUse, level: usize) -> Vec<String> {
    let mut uses = in_use.of(name, &said(directory, "dev"));
    if level == LEVELS_MAX {
        uses.push(format!("something upon {name}"));
        return uses;
    }
    for holder in names(&directory.join("holders")) {
        uses.push(holder.clone());
        uses.extend(uses_of(&directory.join("holders").join(&holder), &holder, in_use, level + 1));
    }
    for part in names(directory).into_iter().filter(|entry| directory.join(entry).join("partition").exists())
    {
        uses.extend(uses_of(&directory.join(&part), &part, in_use, level + 1));
    }
    uses
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// A file of sysfs without its line end; empty when there is none, as for disks that do not say their model.
fn said(directory: &Path, file: &str) -> String {
    fs::read_to_string(directory.join(file)).unwrap_or_default().trim().to_owned()
}

/// The device file of a disk.
pub fn node(name: &str) -> PathBuf {
    // sysfs writes ! for the / in names such as cciss/c0d0.
    Path::new("/dev").join(name.replace('!', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree as /sys has it: `block/NAME` links to a directory below `devices`.
    fn sys(place: &str, name: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().join("devices").join(place).join("block").join(name);
        for (file, text) in files {
            let path = real.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
        fs::create_dir_all(root.path().join("block")).unwrap();
        std::os::unix::fs::symlink(&real, root.path().join("block").join(name)).unwrap();
        root
    }

    fn only(root: &tempfile::TempDir, in_use: &InUse) -> Disk {
        disks(root.path(), in_use).unwrap().remove(0)
    }

    #[test]
    fn what_hangs_on_usb_is_removable_whatever_it_says() {
        let cases = [
            ("pci0000:00/0000:00:14.0/usb2/2-1/host6", "0", Attachment::Removable),
            ("pci0000:00/0000:00:17.0/ata1/host0", "0", Attachment::Fixed),
            ("pci0000:00/0000:00:17.0/ata1/host0", "1", Attachment::Removable),
            ("virtual", "0", Attachment::Virtual),
            ("virtual", "1", Attachment::Virtual),
        ];
        for (place, removable, expected) in cases {
            let root = sys(place, "sdb", &[("removable", removable), ("size", "2048"), ("ro", "0")]);
            let disk = only(&root, &InUse::default());
            assert_eq!((disk.attachment, disk.bytes), (expected, 1 << 20), "{place} {removable}");
        }
        let card = sys("pci0/mmc_host/mmc0", "mmcblk0", &[("removable", "0"), ("device/type", "SD")]);
        assert_eq!(only(&card, &InUse::default()).attachment, Attachment::Removable);
        let soldered = sys("pci0/mmc_host/mmc0", "mmcblk0", &[("removable", "0"), ("device/type", "MMC")]);
        assert_eq!(only(&soldered, &InUse::default()).attachment, Attachment::Fixed);
    }

    #[test]
    fn a_use_is_seen_through_partitions_and_what_lies_upon_them() {
        let files = [
            ("dev", "8:16"),
            ("sdb1/partition", "1"),
            ("sdb1/dev", "8:17"),
            ("sdb2/partition", "2"),
            ("sdb2/dev", "8:18"),
            ("sdb2/holders/dm-0/dev", "254:0"),
            ("sdb3/partition", "3"),
            ("sdb3/dev", "8:19"),
        ];
        let root = sys("pci0/usb1", "sdb", &files);
        let mountinfo = "36 35 8:17 / /boot/efi rw,relatime shared:1 - vfat /dev/sdb1 rw\n\
                         37 35 254:0 / /srv rw - ext4 /dev/mapper/x rw\n\
                         38 35 0:42 /sub /home rw - btrfs /dev/sdb3 rw\n\
                         39 35 8:170 / /other rw - ext4 /dev/sdk10 rw\n";
        let in_use =
            InUse::parse(mountinfo, "Filename Type Size Used Priority\n/dev/sdb2 partition 1 0 -2\n");
        assert_eq!(only(&root, &in_use).uses, ["/boot/efi", "/home", "/srv", "dm-0", "swap"]);
        assert!(only(&root, &InUse::default()).uses == ["dm-0"]);
    }
}
