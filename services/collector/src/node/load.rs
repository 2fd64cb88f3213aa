//! `/proc/loadavg` and pressure stall information.

use crate::family::Family;
use crate::inputs::{Inputs, SourceError, content};

/// `node_load1`, `node_load5`, `node_load15`. Read here: procfs keeps loads as f32, and 0.13 would become
/// 0.129999995.
///
/// # Errors
/// When the file is missing or its first words are no numbers.
pub fn loadavg(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let text = inputs.file("loadavg")?;
    let loads: Result<Vec<f64>, _> = text.split_whitespace().take(3).map(str::parse).collect();
    match loads.as_deref() {
        Ok([one, five, fifteen]) => Ok(vec![
            Family::gauge("node_load1", "1m load average.", *one),
            Family::gauge("node_load15", "15m load average.", *fifteen),
            Family::gauge("node_load5", "5m load average.", *five),
        ]),
        _ => Err(content("loadavg", format_args!("{text:?} does not begin with three numbers"))),
    }
}

/// Interrupts' part of PSI.
const IRQ: &str = "pressure/irq";

/// The seconds of a line such as `some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000`. Read here: procfs'
/// `parse_pressure_record` panics on a line that ends early, which a peer may send.
fn stalled(inputs: &Inputs, path: &str, kind: &str) -> Result<f64, SourceError> {
    let line = inputs.file(path)?.lines().find(|line| line.split(' ').next() == Some(kind));
    let total =
        line.and_then(|line| line.rsplit_once("total=")).and_then(|(_, micros)| micros.parse::<u64>().ok());
    total
        .map(|micros| micros as f64 / 1e6)
        .ok_or_else(|| content(path, format_args!("has no line `{kind} … total=<microseconds>`")))
}

/// `node_pressure_*_seconds_total`.
///
/// # Errors
/// When a file is missing (a kernel without PSI) or cannot be read.
pub fn pressure(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let (cpu, io, memory) = ("pressure/cpu", "pressure/io", "pressure/memory");
    let mut families = vec![
        Family::counter(
            "node_pressure_cpu_waiting_seconds_total",
            "Total time in seconds that processes have waited for CPU time",
            stalled(inputs, cpu, "some")?,
        ),
        Family::counter(
            "node_pressure_io_stalled_seconds_total",
            "Total time in seconds no process could make progress due to IO congestion",
            stalled(inputs, io, "full")?,
        ),
        Family::counter(
            "node_pressure_io_waiting_seconds_total",
            "Total time in seconds that processes have waited due to IO congestion",
            stalled(inputs, io, "some")?,
        ),
        Family::counter(
            "node_pressure_memory_stalled_seconds_total",
            "Total time in seconds no process could make progress due to memory congestion",
            stalled(inputs, memory, "full")?,
        ),
        Family::counter(
            "node_pressure_memory_waiting_seconds_total",
            "Total time in seconds that processes have waited for memory",
            stalled(inputs, memory, "some")?,
        ),
    ];
    // A kernel before 6.1, or one that does not count time in interrupts, has none.
    if inputs.files.get(IRQ).is_some() {
        let help = "Total time in seconds no process could make progress due to IRQ congestion";
        let stalled = stalled(inputs, IRQ, "full")?;
        families.push(Family::counter("node_pressure_irq_stalled_seconds_total", help, stalled));
    }
    Ok(families)
}
