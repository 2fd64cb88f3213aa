//! `/proc/stat`: where the CPUs spend their time, and what the kernel counts since boot.
//!
//! Read here and not by procfs' `KernelStats`, which drops the CPUs' numbers (they have gaps when one is off-line)
//! and the interrupts.

use crate::family::{Family, Kind};
use crate::inputs::{Inputs, SourceError, content};
use crate::node::hardware::cores::states;

/// Ticks in a second in /proc: USER_HZ is 100 on every architecture that Linux runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

/// The columns of a `cpu` line (proc_stat(5)); guest time is in `user` and `nice` too.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

/// `node_cpu_seconds_total`, `node_cpu_guest_seconds_total` and what /sys says of the CPUs.
///
/// # Errors
/// When the file is missing or a line is not of numbers.
pub fn cpu(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut seconds =
        Family::new("node_cpu_seconds_total", Kind::Counter, "Seconds the CPUs spent in each mode.");
    let mut guest = Family::new(
        "node_cpu_guest_seconds_total",
        Kind::Counter,
        "Seconds the CPUs spent in guests (VMs) for each mode.",
    );
    for line in inputs.file("stat")?.lines() {
        let Some((cpu, numbers)) = line.strip_prefix("cpu").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        // The line without a number is the sum of the others.
        if cpu.is_empty() {
            continue;
        }
        let values: Result<Vec<u64>, _> = numbers.split_whitespace().map(str::parse).collect();
        let values = values.map_err(|error| content("stat", format_args!("{line:?}: {error}")))?;
        let label = |mode: &str| vec![("cpu", cpu.to_owned()), ("mode", mode.to_owned())];
        for (mode, ticks) in MODES.iter().zip(&values) {
            seconds.push(label(mode), *ticks as f64 / TICKS_PER_SECOND);
        }
        for (mode, ticks) in ["user", "nice"].iter().zip(values.iter().skip(MODES.len())) {
            guest.push(label(mode), *ticks as f64 / TICKS_PER_SECOND);
        }
    }
    let mut families = vec![guest, seconds];
    families.extend(states(inputs));
    Ok(families)
}

/// `node_boot_time_seconds`, `node_context_switches_total`, `node_forks_total`, `node_intr_total`,
/// `node_procs_running`, `node_procs_blocked`.
///
/// # Errors
/// When the file is missing or has none of them.
pub fn stat(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let mut families = Vec::new();
    for line in inputs.file("stat")?.lines() {
        let mut words = line.split_whitespace();
        let (Some(key), Some(value)) = (words.next(), words.next().and_then(|text| text.parse().ok())) else {
            continue;
        };
        families.push(match key {
            "btime" => Family::gauge("node_boot_time_seconds", "Node boot time, in unixtime.", value),
            "ctxt" => {
                Family::counter("node_context_switches_total", "Total number of context switches.", value)
            }
            "processes" => Family::counter("node_forks_total", "Total number of forks.", value),
            "intr" => Family::counter("node_intr_total", "Total number of interrupts serviced.", value),
            "procs_running" => {
                Family::gauge("node_procs_running", "Number of processes in runnable state.", value)
            }
            "procs_blocked" => Family::gauge(
                "node_procs_blocked",
                "Number of processes blocked waiting for I/O to complete.",
                value,
            ),
            _ => continue,
        });
    }
    if families.is_empty() { Err(content("stat", "has none of its numbers")) } else { Ok(families) }
}
