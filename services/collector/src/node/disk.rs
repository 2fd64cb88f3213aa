//! `/proc/diskstats`: what each disk did.

use procfs::{DiskStat, DiskStats};

use crate::family::{Families, Family, Kind, label};
use crate::inputs::{Files, Inputs, SourceError, proc};

/// What diskstats reads. udev's notes say model and serial number; a machine without udev does not have them.
pub const FILES: &[Files] = &[
    proc(&["diskstats"]),
    Files { folder: "/sys/block/*", names: &["queue/rotational="] },
    Files { folder: "/run/udev/data", names: &["b*="] },
];

/// Bytes of a sector in /proc/diskstats, whatever the disk's own is (Documentation/admin-guide/iostats.rst).
const SECTOR_BYTES: f64 = 512.0;

/// A metric of a disk, or `None` on a kernel that does not count it.
struct Metric {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&DiskStat) -> Option<f64>,
}

const fn counter(name: &'static str, help: &'static str, value: fn(&DiskStat) -> Option<f64>) -> Metric {
    Metric { name, kind: Kind::Counter, help, value }
}

const METRICS: [Metric; 17] = [
    counter("node_disk_reads_completed_total", "The total number of reads completed successfully.", |d| {
        Some(d.reads as f64)
    }),
    counter("node_disk_reads_merged_total", "The total number of reads merged.", |d| Some(d.merged as f64)),
    counter("node_disk_read_bytes_total", "The total number of bytes read successfully.", |d| {
        Some(d.sectors_read as f64 * SECTOR_BYTES)
    }),
    counter("node_disk_read_time_seconds_total", "The total number of seconds spent by all reads.", |d| {
        Some(d.time_reading as f64 / 1000.0)
    }),
    counter("node_disk_writes_completed_total", "The total number of writes completed successfully.", |d| {
        Some(d.writes as f64)
    }),
    counter("node_disk_writes_merged_total", "The number of writes merged.", |d| {
        Some(d.writes_merged as f64)
    }),
    counter("node_disk_written_bytes_total", "The total number of bytes written successfully.", |d| {
        Some(d.sectors_written as f64 * SECTOR_BYTES)
    }),
    counter(
        "node_disk_write_time_seconds_total",
        "This is the total number of seconds spent by all writes.",
        |d| Some(d.time_writing as f64 / 1000.0),
    ),
    Metric {
        name: "node_disk_io_now",
        kind: Kind::Gauge,
        help: "The number of I/Os currently in progress.",
        value: |d| Some(d.in_progress as f64),
    },
    counter("node_disk_io_time_seconds_total", "Total seconds spent doing I/Os.", |d| {
        Some(d.time_in_progress as f64 / 1000.0)
    }),
    counter("node_disk_io_time_weighted_seconds_total", "The weighted # of seconds spent doing I/Os.", |d| {
        Some(d.weighted_time_in_progress as f64 / 1000.0)
    }),
    counter(
        "node_disk_discards_completed_total",
        "The total number of discards completed successfully.",
        |d| d.discards.map(|n| n as f64),
    ),
    counter("node_disk_discards_merged_total", "The total number of discards merged.", |d| {
        d.discards_merged.map(|n| n as f64)
    }),
    counter(
        "node_disk_discarded_sectors_total",
        "The total number of sectors discarded successfully.",
        |d| d.sectors_discarded.map(|n| n as f64),
    ),
    counter(
        "node_disk_discard_time_seconds_total",
        "This is the total number of seconds spent by all discards.",
        |d| d.time_discarding.map(|n| n as f64 / 1000.0),
    ),
    counter(
        "node_disk_flush_requests_total",
        "The total number of flush requests completed successfully",
        |d| d.flushes.map(|n| n as f64),
    ),
    counter(
        "node_disk_flush_requests_time_seconds_total",
        "This is the total number of seconds spent by all flush requests.",
        |d| d.time_flushing.map(|n| n as f64 / 1000.0),
    ),
];

/// `node_disk_*` for every disk that is none of RAM, loop, floppy or a partition.
///
/// # Errors
/// When the file is missing or a line cannot be read.
pub fn diskstats(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let disks: DiskStats = inputs.parsed("diskstats")?;
    let mut families: Vec<Family> = METRICS.iter().map(|m| Family::new(m.name, m.kind, m.help)).collect();
    let mut more = Families::default();
    for disk in disks.0.iter().filter(|disk| !excluded(&disk.name)) {
        add_notes(&mut more, inputs, disk);
        for (family, metric) in families.iter_mut().zip(&METRICS) {
            if let Some(value) = (metric.value)(disk) {
                family.push(vec![("device", disk.name.clone())], value);
            }
        }
    }
    families.extend(more.done());
    families.retain(|family| !family.rows.is_empty());
    Ok(families)
}

/// Metric, property of udev's notes, help: of disks that speak ATA.
const ATA: [(&str, &str, &str); 3] = [
    (
        "node_disk_ata_rotation_rate_rpm",
        "ID_ATA_ROTATION_RATE_RPM",
        "ATA disk rotation rate in RPMs (0 for SSDs).",
    ),
    ("node_disk_ata_write_cache", "ID_ATA_WRITE_CACHE", "ATA disk has a write cache."),
    (
        "node_disk_ata_write_cache_enabled",
        "ID_ATA_WRITE_CACHE_ENABLED",
        "ATA disk has its write cache enabled.",
    ),
];

/// What a disk is, as udev noted it: model, serial number, file system, volume.
fn add_notes(families: &mut Families, inputs: &Inputs, disk: &DiskStat) {
    let notes = inputs.files.get_or_empty(&format!("/run/udev/data/b{}:{}", disk.major, disk.minor));
    // `E:NAME=value` is a property of the device.
    let properties: Vec<(&str, &str)> =
        notes.lines().filter_map(|line| line.strip_prefix("E:")?.split_once('=')).collect();
    let find = |name: &str| properties.iter().find(|(found, _)| *found == name).map(|(_, value)| *value);
    let of = |label_name, name| label(label_name, find(name).unwrap_or_default());
    let serial = ["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"].into_iter().find_map(find);
    let turns = inputs.files.get(&format!("/sys/block/{}/queue/rotational", disk.name));
    let turns = if turns.is_some_and(|text| text.trim() == "1") { "1" } else { "0" };
    let device = || label("device", &disk.name);
    let labels = vec![
        device(),
        ("major", disk.major.to_string()),
        ("minor", disk.minor.to_string()),
        of("model", "ID_MODEL"),
        of("path", "ID_PATH"),
        of("revision", "ID_REVISION"),
        label("rotational", turns),
        label("serial", serial.unwrap_or_default()),
        of("wwn", "ID_WWN"),
    ];
    families.gauge("node_disk_info", "Info of /sys/block/<block_device>.", labels, 1.0);
    if find("ID_FS_TYPE").is_some_and(|kind| !kind.is_empty()) {
        let labels = vec![
            device(),
            of("type", "ID_FS_TYPE"),
            of("usage", "ID_FS_USAGE"),
            of("uuid", "ID_FS_UUID"),
            of("version", "ID_FS_VERSION"),
        ];
        families.gauge("node_disk_filesystem_info", "Info about disk filesystem.", labels, 1.0);
    }
    if find("DM_NAME").is_some_and(|name| !name.is_empty()) {
        let labels = vec![
            device(),
            of("lv_layer", "DM_LV_LAYER"),
            of("lv_name", "DM_LV_NAME"),
            of("name", "DM_NAME"),
            of("uuid", "DM_UUID"),
            of("vg_name", "DM_VG_NAME"),
        ];
        families.gauge("node_disk_device_mapper_info", "Info about disk device mapper.", labels, 1.0);
    }
    if find("ID_ATA").is_some_and(|ata| !ata.is_empty()) {
        for (name, property, help) in ATA {
            if let Some(value) = find(property).and_then(|text| text.parse().ok()) {
                families.gauge(name, help, vec![device()], value);
            }
        }
    }
}

/// node_exporter's `--collector.diskstats.device-exclude`:
/// `^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`.
fn excluded(name: &str) -> bool {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == name.len() {
        return false;
    }
    let partition_of_letters = ["hd", "sd", "vd", "xvd"].iter().any(|bus| {
        stem.strip_prefix(bus).is_some_and(|rest| rest.len() == 1 && rest.as_bytes()[0].is_ascii_lowercase())
    });
    let partition_of_nvme =
        stem.strip_prefix("nvme").and_then(|rest| rest.strip_suffix('p')).is_some_and(|rest| {
            rest.split_once('n')
                .is_some_and(|(controller, namespace)| digits(controller) && digits(namespace))
        });
    matches!(stem, "ram" | "zram" | "loop" | "fd") || partition_of_letters || partition_of_nvme
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::excluded;

    #[test]
    fn partitions_and_memory_disks_are_excluded_and_disks_are_not() {
        for name in ["ram0", "zram1", "loop12", "fd0", "sda1", "vdb12", "xvda3", "hda1", "nvme0n1p2"] {
            assert!(excluded(name), "{name}");
        }
        for name in ["sda", "vda", "nvme0n1", "dm-0", "md127", "mmcblk0", "mmcblk0p1", "sdaa1", "sr0", "loop"]
        {
            assert!(!excluded(name), "{name}");
        }
    }
}
