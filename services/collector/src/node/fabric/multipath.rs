//! Device-mapper multipath: several ways to one disk, and which of them work.

use crate::family::{Families, Family, label};
use crate::inputs::{Files, Inputs, SourceError};

/// What dmmultipath reads.
pub const MAPS: &[Files] = &[Files {
    folder: "/sys/block/dm-*",
    names: &["dm/name", "dm/suspended", "dm/uuid=", "size", "slaves/*/device/state"],
}];

/// Bytes of a sector in `size`, whatever the disk's own is.
const SECTOR_BYTES: f64 = 512.0;

/// `node_dmmultipath_*` of every multipath device. Without one there are none, and that is a success.
///
/// # Errors
/// None.
pub fn dmmultipath(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Families::default();
    for map in inputs.devices("/sys/block/", "dm-") {
        let Some(uuid) = map.text("dm/uuid").filter(|uuid| uuid.starts_with("mpath-")) else { continue };
        let name = label("device", map.text("dm/name").unwrap_or_default());
        let labels = || vec![name.clone(), label("sysfs_name", map.name)];
        let with = vec![name.clone(), label("sysfs_name", map.name), label("uuid", uuid)];
        let help = "Non-numeric information about a DM-multipath device.";
        families.gauge("node_dmmultipath_device_info", help, with, 1.0);
        let (mut all, mut active) = (0.0, 0.0);
        for path in map.folder("slaves") {
            let state = path.text("device/state").unwrap_or_default();
            all += 1.0;
            // SCSI and NVMe.
            active += f64::from(u8::from(matches!(state, "running" | "live")));
            let help = "Reports the underlying device state for a multipath path.";
            let labels = vec![name.clone(), label("path", path.name), label("state", state)];
            families.gauge("node_dmmultipath_path_state", help, labels, 1.0);
        }
        let is_on = f64::from(u8::from(map.text("dm/suspended") != Some("1")));
        let size = map.number("size").unwrap_or_default() * SECTOR_BYTES;
        for (name, help, value) in [
            (
                "node_dmmultipath_device_active",
                "Whether the multipath device-mapper device is active (1) or suspended (0).",
                is_on,
            ),
            ("node_dmmultipath_device_size_bytes", "Size of the multipath device in bytes.", size),
            ("node_dmmultipath_device_paths", "Number of paths for a multipath device.", all),
            (
                "node_dmmultipath_device_paths_active",
                "Number of paths in active state (SCSI running or NVMe live) for a multipath device.",
                active,
            ),
            (
                "node_dmmultipath_device_paths_failed",
                "Number of paths not in active state for a multipath device.",
                all - active,
            ),
        ] {
            families.gauge(name, help, labels(), value);
        }
    }
    Ok(families.done())
}
