//! Fibre Channel: host ports and what these count.

use crate::family::{Families, Family, label};
use crate::inputs::{Files, Inputs, SourceError, integer};

/// What fibrechannel reads.
pub const HOSTS: &[Files] = &[Files {
    folder: "/sys/class/fc_host/*",
    names: &[
        "dev_loss_tmo",
        "fabric_name",
        "port_id",
        "port_name",
        "port_state",
        "port_type",
        "speed",
        "statistics/dumped_frames",
        "statistics/error_frames",
        "statistics/fcp_packet_aborts",
        "statistics/invalid_crc_count",
        "statistics/invalid_tx_word_count",
        "statistics/link_failure_count",
        "statistics/loss_of_signal_count",
        "statistics/loss_of_sync_count",
        "statistics/nos_count",
        "statistics/rx_frames",
        "statistics/rx_words",
        "statistics/seconds_since_last_reset",
        "statistics/tx_frames",
        "statistics/tx_words",
        "supported_classes",
        "supported_speeds",
        "symbolic_name",
    ],
}];

/// Labels of `node_fibrechannel_info`, each a file.
const LABELS: [&str; 10] = [
    "dev_loss_tmo",
    "fabric_name",
    "port_id",
    "port_name",
    "port_state",
    "port_type",
    "speed",
    "supported_classes",
    "supported_speeds",
    "symbolic_name",
];

/// Labels that are numbers, shown without their `0x`.
const NUMBERS: [&str; 3] = ["fabric_name", "port_id", "port_name"];

/// Metric, file, help.
const COUNTERS: [(&str, &str, &str); 14] = [
    ("dumped_frames_total", "dumped_frames", "Number of dumped frames"),
    ("error_frames_total", "error_frames", "Number of errors in frames"),
    ("invalid_crc_total", "invalid_crc_count", "Invalid Cyclic Redundancy Check count"),
    ("rx_frames_total", "rx_frames", "Number of frames received"),
    ("rx_words_total", "rx_words", "Number of words received by host port"),
    ("tx_frames_total", "tx_frames", "Number of frames transmitted by host port"),
    ("tx_words_total", "tx_words", "Number of words transmitted by host port"),
    (
        "seconds_since_last_reset_total",
        "seconds_since_last_reset",
        "Number of seconds since last host port reset",
    ),
    ("invalid_tx_words_total", "invalid_tx_word_count", "Number of invalid words transmitted by host port"),
    ("link_failure_total", "link_failure_count", "Number of times the host port link has failed"),
    (
        "loss_of_sync_total",
        "loss_of_sync_count",
        "Number of failures on either bit or transmission word boundaries",
    ),
    ("loss_of_signal_total", "loss_of_signal_count", "Number of times signal has been lost"),
    ("nos_total", "nos_count", "Number Not_Operational Primitive Sequence received by host port"),
    ("fcp_packet_aborts_total", "fcp_packet_aborts", "Number of aborted packets"),
];

/// What a counter says that the adapter does not have.
const UNKNOWN: &str = "0xffffffffffffffff";

/// `node_fibrechannel_*`.
///
/// # Errors
/// Absent without a host port.
pub fn fibrechannel(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Families::default();
    for host in inputs.devices("/sys/class/fc_host/", "") {
        let of = label("fc_host", host.name);
        let text = |name: &&'static str| {
            let text = host.text(name).unwrap_or_default();
            let is_number = NUMBERS.contains(name) && text.len() > 2;
            label(name, if is_number { text.get(2..).unwrap_or(text) } else { text })
        };
        let labels = LABELS.iter().map(text).chain([of.clone()]).collect();
        let help = "Non-numeric data from /sys/class/fc_host/<host>, value is always 1.";
        families.gauge("node_fibrechannel_info", help, labels, 1.0);
        let is_known = host.text("port_state").is_some_and(|state| state != "Unknown");
        for (name, file, help) in COUNTERS {
            // A port that is disabled counts nothing.
            let value = if is_known {
                let text = host.text(&format!("statistics/{file}")).filter(|text| *text != UNKNOWN);
                text.and_then(integer)
            } else {
                Some(0.0)
            };
            if let Some(value) = value {
                families.counter(format!("node_fibrechannel_{name}"), help, vec![of.clone()], value);
            }
        }
    }
    families.or_absent("a Fibre Channel host port")
}
