//! Mounted file systems: which of them count, and how full they are.

use procfs::FromBufRead;
use procfs::process::MountInfos;

use crate::family::{Family, Kind, Label, label};
use crate::inputs::{Inputs, SourceError, content};

/// The mount table below /proc. PID 1's, as node_exporter does: it is the machine's and not a sandbox's.
pub const MOUNTS: &str = "1/mountinfo";

/// node_exporter's `--collector.filesystem.fs-types-exclude` (1.11).
pub const TYPES_EXCLUDED: [&str; 25] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "erofs",
    "sysfs",
    "tracefs",
];

/// A mount that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub device: String,
    /// The kind of file system.
    pub kind: String,
    /// Where.
    pub point: String,
    /// The device's numbers, as `254:0`.
    pub numbers: String,
    /// Nothing can be written there.
    pub is_read_only: bool,
}

/// The mounts that count, in the table's order; one that differs from another in nothing that is shown, once.
///
/// # Errors
/// When the table is missing or cannot be read.
pub fn mounts(inputs: &Inputs) -> Result<Vec<Mount>, SourceError> {
    let table = MountInfos::from_buf_read(inputs.file(MOUNTS)?.as_bytes());
    let table = table.map_err(|error| content(MOUNTS, error))?;
    let mut kept: Vec<Mount> = Vec::new();
    for mount in table.0 {
        let point = mount.mount_point.to_string_lossy().into_owned();
        if TYPES_EXCLUDED.contains(&mount.fs_type.as_str()) || point_excluded(&point) {
            continue;
        }
        let is_read_only = mount.mount_options.contains_key("ro")
            || ["ro", "emergency_ro"].iter().any(|option| mount.super_options.contains_key(*option));
        let device = mount.mount_source.unwrap_or_default();
        let (kind, numbers) = (mount.fs_type, mount.majmin);
        let is_shown = |other: &Mount| {
            (&other.point, &other.kind, &other.device, &other.numbers) == (&point, &kind, &device, &numbers)
        };
        if !kept.iter().any(is_shown) {
            kept.push(Mount { device, kind, point, numbers, is_read_only });
        }
    }
    Ok(kept)
}

/// node_exporter's `--collector.filesystem.mount-points-exclude`:
/// `^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)`.
fn point_excluded(point: &str) -> bool {
    let below = |folder: &str| {
        point.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let inside =
        |folder: &str| point.strip_prefix(folder).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'));
    ["/dev", "/proc", "/sys"].into_iter().any(below)
        || ["/run/credentials", "/var/lib/docker", "/var/lib/containers/storage"].into_iter().any(inside)
}

/// `node_filesystem_*`.
///
/// # Errors
/// As [`mounts`].
pub fn filesystem(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let gauge = |name, help| Family::new(name, Kind::Gauge, help);
    let mut size = gauge("node_filesystem_size_bytes", "Filesystem size in bytes.");
    let mut free = gauge("node_filesystem_free_bytes", "Filesystem free space in bytes.");
    let mut available =
        gauge("node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes.");
    let mut files = gauge("node_filesystem_files", "Filesystem total file nodes.");
    let mut files_free = gauge("node_filesystem_files_free", "Filesystem total free file nodes.");
    let mut readonly = gauge("node_filesystem_readonly", "Filesystem read-only status.");
    let mut device_error = gauge(
        "node_filesystem_device_error",
        "Whether an error occurred while getting statistics for the given device.",
    );
    let mut info = gauge("node_filesystem_mount_info", "Filesystem mount information.");
    let help = "Filesystem space available including purgeable space (MacOS specific).";
    let mut purgeable = gauge("node_filesystem_purgeable_bytes", help);
    let read;
    let mounts = match &inputs.mounts {
        Some(known) => known,
        None => {
            read = mounts(inputs)?;
            &read
        }
    };
    for mount in mounts {
        let labels = labels(mount);
        let space = inputs.spaces.iter().find(|space| space.mount_point == mount.point);
        let is_read_only =
            space.is_some_and(|space| space.usage.as_ref().is_ok_and(|usage| usage.is_read_only));
        let read_only = f64::from(u8::from(mount.is_read_only || is_read_only));
        let usage = space.map_or_else(|| Err("not asked".to_owned()), |space| space.usage.clone());
        match usage {
            Ok(usage) => {
                size.push(labels.clone(), usage.size);
                free.push(labels.clone(), usage.free);
                available.push(labels.clone(), usage.available);
                files.push(labels.clone(), usage.files);
                files_free.push(labels.clone(), usage.files_free);
                readonly.push(labels.clone(), read_only);
                purgeable.push(labels.clone(), 0.0);
                info.push(place(mount), 1.0);
                device_error.push(labels, 0.0);
            }
            Err(reason) => {
                let mut labels = labels;
                labels.push(("device_error", reason));
                readonly.push(labels.clone(), read_only);
                device_error.push(labels, 1.0);
            }
        }
    }
    Ok(vec![available, device_error, files, files_free, free, info, purgeable, readonly, size])
}

fn place(mount: &Mount) -> Vec<Label> {
    let (major, minor) = mount.numbers.split_once(':').unwrap_or((&mount.numbers, ""));
    vec![
        label("device", &mount.device),
        label("major", major),
        label("minor", minor),
        label("mountpoint", &mount.point),
    ]
}

fn labels(mount: &Mount) -> Vec<Label> {
    vec![label("device", &mount.device), label("fstype", &mount.kind), label("mountpoint", &mount.point)]
}

#[cfg(test)]
mod tests {
    use super::point_excluded;

    #[test]
    fn system_mounts_are_excluded_and_neighbours_of_them_are_not() {
        for point in
            ["/dev", "/dev/shm", "/proc", "/sys/fs", "/run/credentials/x", "/var/lib/docker/overlay2/a"]
        {
            assert!(point_excluded(point), "{point}");
        }
        for point in ["/", "/device", "/run", "/run/credentials", "/var/lib/docker", "/home"] {
            assert!(!point_excluded(point), "{point}");
        }
    }
}
