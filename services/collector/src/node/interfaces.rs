//! `/sys/class/net`: what each interface is, bonds and their members; and the ARP table.

use std::collections::BTreeMap;

use crate::family::{Families, Family, Kind, label};
use crate::inputs::{Device, Files, Inputs, SourceError, proc};

/// What netclass reads.
pub const CLASS: &[Files] = &[Files {
    folder: "/sys/class/net/*",
    names: &[
        "addr_assign_type",
        "address",
        "broadcast",
        "carrier",
        "carrier_changes",
        "carrier_down_count",
        "carrier_up_count",
        "dev_id=",
        "dormant",
        "duplex",
        "flags",
        "ifalias",
        "ifindex",
        "iflink",
        "link_mode",
        "mtu",
        "name_assign_type=",
        "netdev_group",
        "operstate",
        "speed",
        "tx_queue_len",
        "type=",
    ],
}];

/// Metric, file, kind.
const PROPERTIES: [(&str, &str, Kind); 16] = [
    ("node_network_address_assign_type", "addr_assign_type", Kind::Gauge),
    ("node_network_carrier", "carrier", Kind::Gauge),
    ("node_network_carrier_changes_total", "carrier_changes", Kind::Counter),
    ("node_network_carrier_down_changes_total", "carrier_down_count", Kind::Counter),
    ("node_network_carrier_up_changes_total", "carrier_up_count", Kind::Counter),
    ("node_network_device_id", "dev_id", Kind::Gauge),
    ("node_network_dormant", "dormant", Kind::Gauge),
    ("node_network_flags", "flags", Kind::Gauge),
    ("node_network_iface_id", "ifindex", Kind::Gauge),
    ("node_network_iface_link", "iflink", Kind::Gauge),
    ("node_network_iface_link_mode", "link_mode", Kind::Gauge),
    ("node_network_mtu_bytes", "mtu", Kind::Gauge),
    ("node_network_name_assign_type", "name_assign_type", Kind::Gauge),
    ("node_network_net_dev_group", "netdev_group", Kind::Gauge),
    ("node_network_protocol_type", "type", Kind::Gauge),
    ("node_network_transmit_queue_length", "tx_queue_len", Kind::Gauge),
];

/// Bytes a second in a megabit a second, the unit of `speed`.
const MEGABIT_BYTES: f64 = 125_000.0;

/// IFF_UP (include/uapi/linux/if.h).
const FLAG_UP: u64 = 1;

/// `node_network_up`, `node_network_info` and the properties of every interface.
///
/// # Errors
/// Absent when /sys/class/net is not there.
pub fn netclass(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let devices = inputs.devices("/sys/class/net/", "");
    let devices: Vec<_> = devices.iter().filter(|device| device.text("ifindex").is_some()).collect();
    let mut families = Families::default();
    for (name, file, kind) in PROPERTIES {
        for device in &devices {
            if let Some(value) = device.number(file) {
                families.add(name, kind, "Network device property.", of(device), value);
            }
        }
    }
    for device in &devices {
        if let Some(speed) = device.number("speed") {
            let help = "Network device property: speed_bytes";
            families.gauge("node_network_speed_bytes", help, of(device), speed * MEGABIT_BYTES);
        }
        let up = f64::from(u8::from(device.text("operstate") == Some("up")));
        families.gauge("node_network_up", "Value is 1 if operstate is 'up', 0 otherwise.", of(device), up);
        let help = "Non-numeric data from /sys/class/net/<iface>, value is always 1.";
        families.gauge("node_network_info", help, info(device), 1.0);
    }
    families.or_absent("/sys/class/net")
}

fn of(device: &Device) -> Vec<crate::family::Label> {
    vec![label("device", device.name)]
}

fn info(device: &Device) -> Vec<crate::family::Label> {
    let text = |file: &str| device.text(file).unwrap_or_default().to_owned();
    let admin = match device.number("flags") {
        None => "unknown",
        Some(flags) if flags as u64 & FLAG_UP != 0 => "up",
        Some(_) => "down",
    };
    vec![
        ("address", text("address")),
        ("adminstate", admin.to_owned()),
        ("broadcast", text("broadcast")),
        label("device", device.name),
        ("duplex", text("duplex")),
        ("ifalias", text("ifalias")),
        ("operstate", text("operstate")),
    ]
}

/// What bonding reads.
pub const BONDS: &[Files] = &[
    Files { folder: "/sys/class/net", names: &["bonding_masters"] },
    Files {
        folder: "/sys/class/net/*",
        names: &["bonding/slaves", "lower_*/bonding_slave/mii_status", "slave_*/bonding_slave/mii_status"],
    },
];

/// `node_bonding_slaves` and `node_bonding_active` of every bond.
///
/// # Errors
/// Absent without bonds.
pub fn bonding(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let masters = inputs.files.get_or_empty("/sys/class/net/bonding_masters");
    let mut families = Families::default();
    let devices = inputs.devices("/sys/class/net/", "");
    for master in masters.split_whitespace() {
        let Some(device) = devices.iter().find(|device| device.name == master) else { continue };
        let members: Vec<&str> =
            device.text("bonding/slaves").unwrap_or_default().split_whitespace().collect();
        let is_up = |member: &&&str| {
            // Old kernels call the link slave_<name>.
            ["lower", "slave"]
                .iter()
                .any(|kind| device.text(&format!("{kind}_{member}/bonding_slave/mii_status")) == Some("up"))
        };
        let labels = vec![label("master", master)];
        let (all, up) = (members.len() as f64, members.iter().filter(is_up).count() as f64);
        let help = "Number of active slaves per bonding interface.";
        families.gauge("node_bonding_active", help, labels.clone(), up);
        families.gauge(
            "node_bonding_slaves",
            "Number of configured slaves per bonding interface.",
            labels,
            all,
        );
    }
    families.or_absent("a bond")
}

/// What arp reads.
pub const ARP: &[Files] = &[proc(&["net/arp"])];

/// `node_arp_entries` of every device that has some.
///
/// # Errors
/// When the file is missing.
pub fn arp(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut counts: BTreeMap<&str, f64> = BTreeMap::new();
    for line in inputs.file("net/arp")?.lines().skip(1) {
        if let Some(device) = line.split_whitespace().nth(5) {
            *counts.entry(device).or_default() += 1.0;
        }
    }
    let mut family = Family::new("node_arp_entries", Kind::Gauge, "ARP entries by device");
    for (device, count) in counts {
        family.push(vec![label("device", device)], count);
    }
    Ok(vec![family])
}
