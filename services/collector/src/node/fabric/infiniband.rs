//! InfiniBand and OmniPath: adapters, their ports and what these count.

use crate::family::{Families, Family, label};
use crate::inputs::{Device, Files, Inputs, SourceError};

/// What infiniband reads. Kernels before 4.5 have the wide counters in `counters_ext`.
pub const ADAPTERS: &[Files] = &[
    Files { folder: "/sys/class/infiniband/*", names: &["board_id=", "fw_ver", "hca_type="] },
    Files {
        folder: "/sys/class/infiniband/*/ports/*",
        names: &["counters/*", "counters_ext/*", "hw_counters/*", "phys_state", "rate", "state"],
    },
];

/// Bytes a second in a gigabit a second, the unit of `rate`.
const GIGABIT_BYTES: f64 = 125_000_000.0;

/// Metric, file of a port, bytes or packets in a unit of it: data is counted by lane, and a port has four.
const COUNTERS: [(&str, &str, f64); 59] = [
    (
        "node_infiniband_legacy_multicast_packets_received_total",
        "counters_ext/port_multicast_rcv_packets",
        1.0,
    ),
    (
        "node_infiniband_legacy_multicast_packets_transmitted_total",
        "counters_ext/port_multicast_xmit_packets",
        1.0,
    ),
    ("node_infiniband_legacy_data_received_bytes_total", "counters_ext/port_rcv_data_64", 4.0),
    ("node_infiniband_legacy_packets_received_total", "counters_ext/port_rcv_packets_64", 1.0),
    ("node_infiniband_legacy_unicast_packets_received_total", "counters_ext/port_unicast_rcv_packets", 1.0),
    (
        "node_infiniband_legacy_unicast_packets_transmitted_total",
        "counters_ext/port_unicast_xmit_packets",
        1.0,
    ),
    ("node_infiniband_legacy_data_transmitted_bytes_total", "counters_ext/port_xmit_data_64", 4.0),
    ("node_infiniband_legacy_packets_transmitted_total", "counters_ext/port_xmit_packets_64", 1.0),
    (
        "node_infiniband_excessive_buffer_overrun_errors_total",
        "counters/excessive_buffer_overrun_errors",
        1.0,
    ),
    ("node_infiniband_link_downed_total", "counters/link_downed", 1.0),
    ("node_infiniband_link_error_recovery_total", "counters/link_error_recovery", 1.0),
    ("node_infiniband_local_link_integrity_errors_total", "counters/local_link_integrity_errors", 1.0),
    ("node_infiniband_multicast_packets_received_total", "counters/multicast_rcv_packets", 1.0),
    ("node_infiniband_multicast_packets_transmitted_total", "counters/multicast_xmit_packets", 1.0),
    ("node_infiniband_port_constraint_errors_received_total", "counters/port_rcv_constraint_errors", 1.0),
    ("node_infiniband_port_constraint_errors_transmitted_total", "counters/port_xmit_constraint_errors", 1.0),
    ("node_infiniband_port_data_received_bytes_total", "counters/port_rcv_data", 4.0),
    ("node_infiniband_port_data_transmitted_bytes_total", "counters/port_xmit_data", 4.0),
    ("node_infiniband_port_discards_received_total", "counters/port_rcv_discards", 1.0),
    ("node_infiniband_port_discards_transmitted_total", "counters/port_xmit_discards", 1.0),
    ("node_infiniband_port_errors_received_total", "counters/port_rcv_errors", 1.0),
    ("node_infiniband_port_packets_received_total", "counters/port_rcv_packets", 1.0),
    ("node_infiniband_port_packets_transmitted_total", "counters/port_xmit_packets", 1.0),
    ("node_infiniband_port_transmit_wait_total", "counters/port_xmit_wait", 1.0),
    ("node_infiniband_unicast_packets_received_total", "counters/unicast_rcv_packets", 1.0),
    ("node_infiniband_unicast_packets_transmitted_total", "counters/unicast_xmit_packets", 1.0),
    (
        "node_infiniband_port_receive_remote_physical_errors_total",
        "counters/port_rcv_remote_physical_errors",
        1.0,
    ),
    ("node_infiniband_port_receive_switch_relay_errors_total", "counters/port_rcv_switch_relay_errors", 1.0),
    ("node_infiniband_symbol_error_total", "counters/symbol_error", 1.0),
    ("node_infiniband_vl15_dropped_total", "counters/VL15_dropped", 1.0),
    ("node_infiniband_duplicate_requests_packets_total", "hw_counters/duplicate_request", 1.0),
    ("node_infiniband_implied_nak_seq_errors_total", "hw_counters/implied_nak_seq_err", 1.0),
    ("node_infiniband_local_ack_timeout_errors_total", "hw_counters/local_ack_timeout_err", 1.0),
    ("node_infiniband_np_cnp_packets_sent_total", "hw_counters/np_cnp_sent", 1.0),
    (
        "node_infiniband_np_ecn_marked_roce_packets_received_total",
        "hw_counters/np_ecn_marked_roce_packets",
        1.0,
    ),
    ("node_infiniband_out_of_buffer_drops_total", "hw_counters/out_of_buffer", 1.0),
    ("node_infiniband_out_of_sequence_packets_received_total", "hw_counters/out_of_sequence", 1.0),
    ("node_infiniband_packet_sequence_errors_total", "hw_counters/packet_seq_err", 1.0),
    ("node_infiniband_req_cqes_errors_total", "hw_counters/req_cqe_error", 1.0),
    ("node_infiniband_req_cqes_flush_errors_total", "hw_counters/req_cqe_flush_error", 1.0),
    ("node_infiniband_req_remote_access_errors_total", "hw_counters/req_remote_access_errors", 1.0),
    (
        "node_infiniband_req_remote_invalid_request_errors_total",
        "hw_counters/req_remote_invalid_request",
        1.0,
    ),
    ("node_infiniband_resp_cqes_errors_total", "hw_counters/resp_cqe_error", 1.0),
    ("node_infiniband_resp_cqes_flush_errors_total", "hw_counters/resp_cqe_flush_error", 1.0),
    ("node_infiniband_resp_local_length_errors_total", "hw_counters/resp_local_length_error", 1.0),
    ("node_infiniband_resp_remote_access_errors_total", "hw_counters/resp_remote_access_errors", 1.0),
    ("node_infiniband_rnr_nak_retry_packets_received_total", "hw_counters/rnr_nak_retry_err", 1.0),
    ("node_infiniband_roce_adp_retransmits_total", "hw_counters/roce_adp_retrans", 1.0),
    ("node_infiniband_roce_adp_retransmits_timeout_total", "hw_counters/roce_adp_retrans_to", 1.0),
    ("node_infiniband_roce_slow_restart_used_total", "hw_counters/roce_slow_restart", 1.0),
    ("node_infiniband_roce_slow_restart_cnps_total", "hw_counters/roce_slow_restart_cnps", 1.0),
    ("node_infiniband_roce_slow_restart_total", "hw_counters/roce_slow_restart_trans", 1.0),
    ("node_infiniband_rp_cnp_packets_handled_total", "hw_counters/rp_cnp_handled", 1.0),
    ("node_infiniband_rp_cnp_ignored_packets_received_total", "hw_counters/rp_cnp_ignored", 1.0),
    ("node_infiniband_rx_atomic_requests_total", "hw_counters/rx_atomic_requests", 1.0),
    ("node_infiniband_rx_dct_connect_requests_total", "hw_counters/rx_dct_connect", 1.0),
    ("node_infiniband_rx_read_requests_total", "hw_counters/rx_read_requests", 1.0),
    ("node_infiniband_rx_write_requests_total", "hw_counters/rx_write_requests", 1.0),
    ("node_infiniband_rx_icrc_encapsulated_errors_total", "hw_counters/rx_icrc_encapsulated", 1.0),
];

/// `node_infiniband_*`.
///
/// # Errors
/// Absent without an adapter.
pub fn infiniband(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Families::default();
    for adapter in inputs.devices("/sys/class/infiniband/", "") {
        let text = |name, file| (name, adapter.text(file).unwrap_or_default().to_owned());
        let labels = vec![
            text("board_id", "board_id"),
            label("device", adapter.name),
            text("firmware_version", "fw_ver"),
            text("hca_type", "hca_type"),
        ];
        let help = "Non-numeric data from /sys/class/infiniband/<device>, value is always 1.";
        families.gauge("node_infiniband_info", help, labels, 1.0);
        for port in adapter.folder("ports") {
            add_port(&mut families, adapter.name, &port);
        }
    }
    families.or_absent("an InfiniBand adapter")
}

fn add_port(families: &mut Families, adapter: &str, port: &Device) {
    let labels = || vec![label("device", adapter), label("port", port.name)];
    // "4: ACTIVE" and "40 Gb/sec (4X QDR)".
    let number = |file: &str, end: &[char]| {
        port.text(file).and_then(|text| text.split(end).next()?.trim().parse::<f64>().ok())
    };
    for (name, help, value) in [
        (
            "node_infiniband_physical_state_id",
            "Physical state of the InfiniBand port (0: no change, 1: sleep, 2: polling, 3: disable, 4: shift, \
             5: link up, 6: link error recover, 7: phytest)",
            number("phys_state", &[':']),
        ),
        (
            "node_infiniband_rate_bytes_per_second",
            "Maximum signal transfer rate",
            number("rate", &[' ']).map(|gigabits| (gigabits * GIGABIT_BYTES).trunc()),
        ),
        (
            "node_infiniband_state_id",
            "State of the InfiniBand port (0: no change, 1: down, 2: init, 3: armed, 4: active, 5: act defer)",
            number("state", &[':']),
        ),
        (
            "node_infiniband_lifespan_seconds",
            "The maximum period which defines the aging of the counter reads.",
            // As node_exporter: whole seconds of what the file has in milliseconds.
            port.number("hw_counters/lifespan").map(|ms| (ms / 1000.0).trunc()),
        ),
    ] {
        if let Some(value) = value {
            families.gauge(name, help, labels(), value);
        }
    }
    for (name, file, unit) in COUNTERS {
        if let Some(count) = port.number(file) {
            families.counter(name, "Counter of an InfiniBand port.", labels(), count * unit);
        }
    }
}
