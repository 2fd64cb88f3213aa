//! `/proc/net/dev` and `/proc/net/sockstat`.

use procfs::net::{DeviceStatus, InterfaceDeviceStatus};

use crate::family::{Family, Kind};
use crate::inputs::{Files, Inputs, SourceError, content, proc};

/// What netdev reads. What no protocol took is counted in /sys alone.
pub const DEVICES: &[Files] =
    &[proc(&["net/dev"]), Files { folder: "/sys/class/net/*", names: &["statistics/rx_nohandler"] }];

/// Bytes of a page on the architectures that the box and its peers run on; sockstat counts memory in pages.
const PAGE_BYTES: f64 = 4096.0;

type Field = (&'static str, &'static str, fn(&DeviceStatus) -> u64);

const FIELDS: [Field; 16] = [
    ("node_network_receive_bytes_total", "Network device statistic receive_bytes.", |d| d.recv_bytes),
    ("node_network_receive_compressed_total", "Network device statistic receive_compressed.", |d| {
        d.recv_compressed
    }),
    ("node_network_receive_drop_total", "Network device statistic receive_drop.", |d| d.recv_drop),
    ("node_network_receive_errs_total", "Network device statistic receive_errs.", |d| d.recv_errs),
    ("node_network_receive_fifo_total", "Network device statistic receive_fifo.", |d| d.recv_fifo),
    ("node_network_receive_frame_total", "Network device statistic receive_frame.", |d| d.recv_frame),
    ("node_network_receive_multicast_total", "Network device statistic receive_multicast.", |d| {
        d.recv_multicast
    }),
    ("node_network_receive_packets_total", "Network device statistic receive_packets.", |d| d.recv_packets),
    ("node_network_transmit_bytes_total", "Network device statistic transmit_bytes.", |d| d.sent_bytes),
    ("node_network_transmit_carrier_total", "Network device statistic transmit_carrier.", |d| d.sent_carrier),
    ("node_network_transmit_colls_total", "Network device statistic transmit_colls.", |d| d.sent_colls),
    ("node_network_transmit_compressed_total", "Network device statistic transmit_compressed.", |d| {
        d.sent_compressed
    }),
    ("node_network_transmit_drop_total", "Network device statistic transmit_drop.", |d| d.sent_drop),
    ("node_network_transmit_errs_total", "Network device statistic transmit_errs.", |d| d.sent_errs),
    ("node_network_transmit_fifo_total", "Network device statistic transmit_fifo.", |d| d.sent_fifo),
    ("node_network_transmit_packets_total", "Network device statistic transmit_packets.", |d| d.sent_packets),
];

/// `node_network_*` for every interface, sorted by its name.
///
/// # Errors
/// When the file is missing or a line cannot be read.
pub fn netdev(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut devices: Vec<_> = inputs.parsed::<InterfaceDeviceStatus>("net/dev")?.0.into_values().collect();
    for device in &mut devices {
        device.name = device.name.trim_end_matches(':').to_owned();
    }
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    let family = |(name, help, value): &Field| {
        let mut family = Family::new(*name, Kind::Counter, help);
        for device in &devices {
            family.push(vec![("device", device.name.clone())], value(device) as f64);
        }
        family
    };
    let mut families: Vec<Family> = FIELDS.iter().map(family).collect();
    let name = "node_network_receive_nohandler_total";
    let mut nohandler = Family::new(name, Kind::Counter, "Network device statistic receive_nohandler.");
    for device in inputs.devices("/sys/class/net/", "") {
        if let Some(count) = device.number("statistics/rx_nohandler") {
            nohandler.push(vec![("device", device.name.to_owned())], count);
        }
    }
    if !nohandler.rows.is_empty() {
        families.push(nohandler);
    }
    Ok(families)
}

/// `node_sockstat_<protocol>_<field>`, with `_mem_bytes` beside each `_mem`.
///
/// # Errors
/// When the file is missing or a field has no number.
pub fn sockstat(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Vec::with_capacity(24);
    let six = inputs.files.get_or_empty("net/sockstat6");
    for line in inputs.file("net/sockstat")?.lines().chain(six.lines()) {
        let Some((protocol, fields)) = line.split_once(": ") else { continue };
        let words: Vec<&str> = fields.split_whitespace().collect();
        for pair in words.chunks_exact(2) {
            let number: f64 = pair[1]
                .parse()
                .map_err(|_| content("net/sockstat", format_args!("{line:?} has no number")))?;
            let (field, help) = (pair[0], "Number of sockets in this state, or their memory.");
            families.push(Family::gauge(format!("node_sockstat_{protocol}_{field}"), help, number));
            if field == "mem" {
                let name = format!("node_sockstat_{protocol}_mem_bytes");
                families.push(Family::gauge(name, help, number * PAGE_BYTES));
            }
        }
    }
    Ok(families)
}
