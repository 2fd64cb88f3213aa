//! btrfs: space by kind and layout, commits and devices of each mounted file system.

use crate::family::{Families, Family, Label, label};
use crate::inputs::{Device, Files, Inputs, SourceError};

/// What btrfs reads.
pub const VOLUMES: &[Files] = &[Files {
    folder: "/sys/fs/btrfs/*",
    names: &[
        "allocation/data/*/total_bytes",
        "allocation/data/*/used_bytes",
        "allocation/data/bytes_reserved",
        "allocation/global_rsv_size",
        "allocation/metadata/*/total_bytes",
        "allocation/metadata/*/used_bytes",
        "allocation/metadata/bytes_reserved",
        "allocation/system/*/total_bytes",
        "allocation/system/*/used_bytes",
        "allocation/system/bytes_reserved",
        "commit_stats",
        "devices/*/size",
        "label",
        "metadata_uuid",
    ],
}];

/// Bytes of a sector in a device's `size`, whatever the disk's own is.
const SECTOR_BYTES: f64 = 512.0;

/// `node_btrfs_*`. Without such a file system there are none, and that is a success. Devices are shown as /sys has them;
/// node_exporter asks a mounted file system by ioctl where it may, and then shows their UUIDs, free space and errors too.
///
/// # Errors
/// None.
pub fn btrfs(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Families::default();
    // `features` is of the module.
    for volume in inputs.devices("/sys/fs/btrfs/", "").into_iter().filter(|volume| volume.name.contains('-'))
    {
        let uuid = label("uuid", volume.text("metadata_uuid").unwrap_or(volume.name));
        let labels = vec![label("label", volume.text("label").unwrap_or_default()), uuid.clone()];
        families.gauge("node_btrfs_info", "Filesystem information", labels, 1.0);
        let reserve = volume.number("allocation/global_rsv_size").unwrap_or_default();
        families.gauge(
            "node_btrfs_global_rsv_size_bytes",
            "Size of global reserve.",
            vec![uuid.clone()],
            reserve,
        );
        commits(&mut families, volume.text("commit_stats").unwrap_or_default(), &uuid);
        let devices = volume.folder("devices");
        for device in &devices {
            let size = device.number("size").unwrap_or_default() * SECTOR_BYTES;
            let labels = vec![label("device", device.name), uuid.clone()];
            let help = "Size of a device that is part of the filesystem.";
            families.gauge("node_btrfs_device_size_bytes", help, labels, size);
        }
        for kind in volume.folder("allocation").iter().filter(|part| part.text("bytes_reserved").is_some()) {
            space(&mut families, kind, devices.len() as f64, &uuid);
        }
    }
    Ok(families.done())
}

/// `commits 25`, `last_commit_ms 1000`, `max_commit_ms 51462`, `total_commit_ms 47836090`; not there before Linux 6.0.
fn commits(families: &mut Families, text: &str, uuid: &Label) {
    let value = |field: &str| {
        let found = text.lines().filter_map(|line| line.split_once(' ')).find(|(name, _)| *name == field);
        found.and_then(|(_, number)| number.trim().parse::<f64>().ok()).unwrap_or_default()
    };
    let (labels, ms) = (|| vec![uuid.clone()], 1e3);
    let help = "Sum of the duration of all commits, in seconds.";
    families.counter("node_btrfs_commit_seconds_total", help, labels(), value("total_commit_ms") / ms);
    let help = "The total number of commits that have occurred.";
    families.counter("node_btrfs_commits_total", help, labels(), value("commits"));
    let help = "Duration of the most recent commit, in seconds.";
    families.gauge("node_btrfs_last_commit_seconds", help, labels(), value("last_commit_ms") / ms);
    let help = "Duration of the slowest commit, in seconds.";
    families.gauge("node_btrfs_max_commit_seconds", help, labels(), value("max_commit_ms") / ms);
}

/// One kind of blocks (data, metadata, system) with its layouts.
fn space(families: &mut Families, kind: &Device, devices: f64, uuid: &Label) {
    let kind_label = label("block_group_type", kind.name);
    let labels = vec![kind_label.clone(), uuid.clone()];
    let reserved = kind.number("bytes_reserved").unwrap_or_default();
    families.gauge("node_btrfs_reserved_bytes", "Amount of space reserved for a data type", labels, reserved);
    for layout in kind.parts("").iter().filter(|part| part.text("total_bytes").is_some()) {
        let labels = || vec![kind_label.clone(), label("mode", layout.name), uuid.clone()];
        let number = |file: &str| layout.number(file).unwrap_or_default();
        for (name, help, value) in [
            (
                "node_btrfs_allocation_ratio",
                "Data allocation ratio for a layout/data type",
                ratio(layout.name, devices),
            ),
            (
                "node_btrfs_size_bytes",
                "Amount of space allocated for a layout/data type",
                number("total_bytes"),
            ),
            ("node_btrfs_used_bytes", "Amount of used space by a layout/data type", number("used_bytes")),
        ] {
            families.gauge(name, help, labels(), value);
        }
    }
}

/// Bytes on the disks for one of the file system.
fn ratio(layout: &str, devices: f64) -> f64 {
    match layout {
        "single" | "raid0" => 1.0,
        "dup" | "raid1" | "raid10" => 2.0,
        "raid1c3" => 3.0,
        "raid1c4" => 4.0,
        "raid5" => devices / (devices - 1.0),
        "raid6" => devices / (devices - 2.0),
        _ => 0.0,
    }
}
