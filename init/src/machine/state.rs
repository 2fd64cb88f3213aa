//! The state partition: grown to the disk's end, mounted, grown inside.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::Context;
use rustix::mount::MountFlags;

use super::check;
use super::disk::{self, Partition};
use super::table::{self, SECTOR};
use crate::sys;

/// The partition's GPT label.
const LABEL: &str = "vakt-state";

/// Growing by less than this is not worth a rewrite of the partition table.
const GROW_BYTES_MIN: u64 = 16 << 20;

/// File-system block of the image's ext4.
const BLOCK: u64 = 4096;

/// Mounts the state partition of `disk` on /state, grown to the end of the disk. Without one, /state
/// becomes a tmpfs so that the box still shows its pages; the returned line says so.
///
/// # Errors
/// When not even the tmpfs can be mounted.
pub fn mount(disk: Option<&Path>) -> anyhow::Result<Option<String>> {
    let found =
        disk::partitions().into_iter().find(|p| p.label == LABEL && disk.is_none_or(|disk| p.disk == disk));
    let problem = match found {
        Some(partition) => match mount_partition(&partition) {
            Ok(note) => return Ok(note),
            Err(error) => format!("state on {} is not usable: {error:#}", partition.node.display()),
        },
        None => "no state partition".to_owned(),
    };
    rustix::mount::mount(
        "tmpfs",
        "/state",
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        c"mode=0755,size=64m",
    )
    .context("cannot mount a tmpfs on /state")?;
    Ok(Some(format!("{problem}; nothing is kept across a restart")))
}

fn mount_partition(partition: &Partition) -> anyhow::Result<Option<String>> {
    // Growing may fail (a read-only or odd disk) and the state is still good as it is.
    let note = grow_partition(partition).err().map(|error| format!("state was not grown: {error:#}"));
    let checked = check_and_mount(&partition.node)?;
    let note = checked.or(note);
    let note =
        note.or_else(|| grow_files(partition).err().map(|error| format!("state was not grown: {error:#}")));
    Ok(note)
}

/// Checks the file system and mounts it. What cannot be mounted then stays as it is for somebody to look at.
fn check_and_mount(node: &Path) -> anyhow::Result<Option<String>> {
    let checked = check::mend(node);
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME;
    // A kernel or a file system without quotas is used without.
    let mounted = rustix::mount::mount(node, "/state", "ext4", flags, c"errors=remount-ro,prjquota")
        .or_else(|_| rustix::mount::mount(node, "/state", "ext4", flags, c"errors=remount-ro"))
        .with_context(|| format!("cannot mount {}", node.display()));
    match (checked, mounted) {
        (Ok(note), Ok(())) => Ok(note),
        (Err(reason), Ok(())) => Ok(Some(format!("state was not checked: {reason:#}"))),
        (Ok(_), Err(error)) => Err(error),
        (Err(reason), Err(error)) => Err(error.context(format!("{reason:#}"))),
    }
}

/// Moves the backup table to the disk's end and stretches the partition, which is the last one.
fn grow_partition(partition: &Partition) -> anyhow::Result<()> {
    let mut disk = File::options()
        .read(true)
        .write(true)
        .open(&partition.disk)
        .with_context(|| format!("cannot open {}", partition.disk.display()))?;
    let (mut table, is_torn) = table::read(&mut disk)?;
    let old_end = table[partition.number].ending_lba;
    table.header.update_from(&mut disk, SECTOR).context("cannot size the disk")?;
    let new_end = table.header.last_usable_lba;
    anyhow::ensure!(
        table.iter().all(|(number, p)| number == partition.number || p.is_unused() || p.ending_lba < old_end),
        "another partition lies behind it"
    );
    let grows = new_end >= old_end + GROW_BYTES_MIN / SECTOR;
    if grows {
        table[partition.number].ending_lba = new_end;
    }
    if grows || is_torn {
        table::write(&mut table, &disk)?;
        gptman::GPT::write_protective_mbr_into(&mut disk, SECTOR)
            .context("cannot write the protective MBR")?;
        disk.sync_all().context("cannot sync the protective MBR")?;
    }
    if !grows {
        return Ok(());
    }
    let start = table[partition.number].starting_lba * SECTOR;
    let length = (new_end + 1) * SECTOR - start;
    sys::resize_partition(disk.as_fd(), partition.number as i32, start, length)
        .context("the kernel does not take the new size")
}

/// Stretches the mounted ext4 over its partition.
fn grow_files(partition: &Partition) -> anyhow::Result<()> {
    let name = partition.node.file_name().unwrap_or_default();
    let sectors: u64 =
        fs::read_to_string(Path::new("/sys/class/block").join(name).join("size"))?.trim().parse()?;
    let blocks = sectors * SECTOR / BLOCK;
    let now = rustix::fs::statvfs("/state")?.f_blocks;
    // f_blocks leaves out the file system's own tables (some percent), so compare with room.
    if blocks < now + now / 8 + GROW_BYTES_MIN / BLOCK {
        return Ok(());
    }
    sys::ext4_resize(File::open("/state")?.as_fd(), blocks).context("ext4 does not take the new size")
}
