//! SCSI tape drives.

use crate::family::{Families, Family, Kind, label};
use crate::inputs::{Files, Inputs, SourceError};

/// What tapestats reads.
pub const TAPES: &[Files] = &[Files {
    folder: "/sys/class/scsi_tape/st*",
    names: &[
        "stats/in_flight",
        "stats/io_ns",
        "stats/other_cnt",
        "stats/read_byte_cnt",
        "stats/read_cnt",
        "stats/read_ns",
        "stats/resid_cnt",
        "stats/write_byte_cnt",
        "stats/write_cnt",
        "stats/write_ns",
    ],
}];

/// Metric, file, what a unit of it is, kind, help
/// (https://docs.kernel.org/scsi/st.html#sysfs-and-statistics-for-tape-devices).
const METRICS: [(&str, &str, f64, Kind, &str); 10] = [
    (
        "node_tape_io_now",
        "in_flight",
        1.0,
        Kind::Gauge,
        "The number of I/Os currently outstanding to this device.",
    ),
    (
        "node_tape_io_time_seconds_total",
        "io_ns",
        1e-9,
        Kind::Counter,
        "The amount of time spent waiting for all I/O to complete, tape movement included.",
    ),
    (
        "node_tape_io_others_total",
        "other_cnt",
        1.0,
        Kind::Counter,
        "The number of I/Os issued to the tape drive other than read or write commands.",
    ),
    (
        "node_tape_read_bytes_total",
        "read_byte_cnt",
        1.0,
        Kind::Counter,
        "The number of bytes read from the tape drive.",
    ),
    (
        "node_tape_reads_completed_total",
        "read_cnt",
        1.0,
        Kind::Counter,
        "The number of read requests issued to the tape drive.",
    ),
    (
        "node_tape_read_time_seconds_total",
        "read_ns",
        1e-9,
        Kind::Counter,
        "The amount of time spent waiting for read requests to complete.",
    ),
    (
        "node_tape_residual_total",
        "resid_cnt",
        1.0,
        Kind::Counter,
        "The number of times during a read or write we found the residual amount to be non-zero.",
    ),
    (
        "node_tape_written_bytes_total",
        "write_byte_cnt",
        1.0,
        Kind::Counter,
        "The number of bytes written to the tape drive.",
    ),
    (
        "node_tape_writes_completed_total",
        "write_cnt",
        1.0,
        Kind::Counter,
        "The number of write requests issued to the tape drive.",
    ),
    (
        "node_tape_write_time_seconds_total",
        "write_ns",
        1e-9,
        Kind::Counter,
        "The amount of time spent waiting for write requests to complete.",
    ),
];

/// `node_tape_*` of every drive; `st0a` and `nst0` are other ways to the same one.
///
/// # Errors
/// Absent without a drive.
pub fn tapestats(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Families::default();
    for tape in inputs.devices("/sys/class/scsi_tape/", "st") {
        let number = &tape.name["st".len()..];
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        for (name, file, unit, kind, help) in METRICS {
            let value = tape.number(&format!("stats/{file}")).unwrap_or_default();
            families.add(name, kind, help, vec![label("device", tape.name)], value * unit);
        }
    }
    families.or_absent("a tape drive")
}
