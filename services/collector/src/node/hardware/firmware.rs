//! What the firmware says of the machine, and the hardware watchdogs.

use crate::family::{Families, Family, Kind, label};
use crate::inputs::{Files, Inputs, STEADY, SourceError};

/// What dmi reads. Serial numbers and the UUID are for root alone.
pub const DMI: &[Files] = &[Files {
    folder: "/sys/class/dmi/id",
    names: &[
        "bios_date=",
        "bios_release=",
        "bios_vendor=",
        "bios_version=",
        "board_asset_tag=",
        "board_name=",
        "board_serial=",
        "board_vendor=",
        "board_version=",
        "chassis_asset_tag=",
        "chassis_serial=",
        "chassis_vendor=",
        "chassis_version=",
        "product_family=",
        "product_name=",
        "product_serial=",
        "product_sku=",
        "product_uuid=",
        "product_version=",
        "sys_vendor=",
    ],
}];

/// `node_dmi_info`.
///
/// # Errors
/// Absent on machines without DMI.
pub fn dmi(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let devices = inputs.devices("/sys/class/dmi/", "id");
    let Some(found) = devices.first() else { return Err(SourceError::Absent("DMI")) };
    let value = |name: &&'static str| {
        let name = name.trim_end_matches(STEADY);
        let label = if name == "sys_vendor" { "system_vendor" } else { name };
        found.text(name).map(|text| (label, text.to_owned()))
    };
    let labels = DMI[0].names.iter().filter_map(value).collect();
    let help = "A metric with a constant '1' value labeled by what DMI says of the machine.";
    Ok(vec![Family::new("node_dmi_info", Kind::Gauge, help).with(labels, 1.0)])
}

/// What watchdog reads.
pub const WATCHDOGS: &[Files] = &[Files {
    folder: "/sys/class/watchdog/*",
    names: &[
        "access_cs0",
        "bootstatus",
        "fw_version=",
        "identity=",
        "nowayout",
        "options=",
        "pretimeout",
        "pretimeout_governor",
        "state",
        "status",
        "timeleft",
        "timeout",
    ],
}];

/// Metric, file.
const WATCHDOG: [(&str, &str); 7] = [
    ("node_watchdog_access_cs0", "access_cs0"),
    ("node_watchdog_bootstatus", "bootstatus"),
    ("node_watchdog_fw_version", "fw_version"),
    ("node_watchdog_nowayout", "nowayout"),
    ("node_watchdog_pretimeout_seconds", "pretimeout"),
    ("node_watchdog_timeleft_seconds", "timeleft"),
    ("node_watchdog_timeout_seconds", "timeout"),
];

/// `node_watchdog_*`. Without a watchdog there are none, and that is a success.
///
/// # Errors
/// None.
pub fn watchdog(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Families::default();
    for device in inputs.devices("/sys/class/watchdog/", "") {
        for (name, file) in WATCHDOG {
            if let Some(value) = device.number(file) {
                let help = "Value of a file in /sys/class/watchdog/<watchdog>.";
                families.gauge(name, help, vec![label("name", device.name)], value);
            }
        }
        let text = |name, file| (name, device.text(file).unwrap_or_default().to_owned());
        let labels = vec![
            text("identity", "identity"),
            label("name", device.name),
            text("options", "options"),
            text("pretimeout_governor", "pretimeout_governor"),
            text("state", "state"),
            text("status", "status"),
        ];
        families.gauge("node_watchdog_info", "Info of /sys/class/watchdog/<watchdog>", labels, 1.0);
    }
    Ok(families.done())
}
