//! What the eBPF programs cost, by the kernel's own measure (run_time_ns and run_cnt of bpf(2)): `vakt-collector once --ebpf`
//! as root while pairs of threads wake each other some ten thousand times a second.
//!
//! The share of a core is all nanoseconds that the programs ran, over the time that the kernel measured. The kernel's two
//! readings of the clock around each run are in it.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Row;
use crate::programs;

/// Seconds that are measured.
const SECONDS: u32 = 10;

/// Round trips in a millisecond of each pair; each is two wake-ups and two to four switches.
const TRIPS_PER_MS: u32 = 5;

/// Pairs of threads.
const PAIRS: u32 = 2;

/// What the aim is stated for.
const AIM_SWITCHES: f64 = 20_000.0;

/// Takes the measure.
///
/// # Errors
/// When the program cannot be run.
pub fn measure() -> Result<Vec<Row>> {
    let Ok(collector) = programs::path("vakt-collector") else {
        return Ok(vec![Row::skipped("eBPF", "vakt-collector is not built")]);
    };
    let stop = Arc::new(AtomicBool::new(false));
    let pairs: Vec<_> = (0..PAIRS).map(|_| pair(stop.clone())).collect();
    let (begun, before) = (Instant::now(), switches()?);
    let output = Command::new(collector)
        .args(["once", "--families", "time", "--ebpf", &format!("{SECONDS}s")])
        .stdin(Stdio::null())
        .output();
    let (elapsed, after) = (begun.elapsed().as_secs_f64(), switches()?);
    stop.store(true, Ordering::Relaxed);
    for pair in pairs {
        // A thread that panicked has said so itself.
        let _ = pair.join();
    }
    let output = output.context("cannot run vakt-collector")?;
    ensure!(output.status.success(), "vakt-collector: {}", String::from_utf8_lossy(&output.stderr));
    let rate = (after - before) as f64 / elapsed;
    let costs = costs(&String::from_utf8_lossy(&output.stdout));
    if costs.is_empty() {
        return Ok(vec![Row::skipped("eBPF", "this kernel or this user may not have programs measured")]);
    }
    Ok(rows(rate, &costs))
}

/// Runs and nanoseconds by group and program.
type Costs = BTreeMap<(String, String), (f64, f64)>;

fn rows(rate: f64, costs: &Costs) -> Vec<Row> {
    let mut rows = vec![Row::alone("context switches a second meanwhile", rate, "")];
    let mut shares: BTreeMap<&str, f64> = BTreeMap::new();
    for ((group, program), (runs, ns)) in costs {
        rows.push(Row::alone(&format!("{group}, {program}: a run"), ns / runs, "ns"));
        *shares.entry(group).or_default() += ns / 1e9 / f64::from(SECONDS) * 100.0;
    }
    for (group, share) in &shares {
        rows.push(Row::alone(&format!("{group}: share of a core"), *share, "%"));
    }
    let all: f64 = shares.values().sum();
    rows.push(Row::alone("all programs: share of a core", all, "%"));
    // What scheduling costs goes with the switches; the rest has other causes.
    let scheduling = shares.get("runqlat").copied().unwrap_or_default();
    let scaled = scheduling * AIM_SWITCHES / rate;
    rows.push(Row::alone("scheduling at 20,000 switches a second", scaled, "%"));
    rows.push(Row::alone("all programs at 20,000 switches a second", all - scheduling + scaled, "%"));
    rows
}

/// Two threads that wake each other until `stop`.
fn pair(stop: Arc<AtomicBool>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let ((ping, pinged), (pong, ponged)) = (mpsc::channel::<()>(), mpsc::channel());
        let echo = thread::spawn(move || {
            for () in pinged {
                if pong.send(()).is_err() {
                    return;
                }
            }
        });
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..TRIPS_PER_MS {
                if ping.send(()).is_err() || ponged.recv().is_err() {
                    return;
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
        drop(ping);
        let _ = echo.join();
    })
}

/// Context switches of this machine since boot.
fn switches() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("ctxt ")).context("/proc/stat has no ctxt")?;
    Ok(line.trim().parse()?)
}

/// What `once` says of its programs.
fn costs(text: &str) -> Costs {
    let label = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\""))?;
        rest.split('"').next().map(str::to_owned)
    };
    let of = |metric: &str| -> BTreeMap<(String, String), f64> {
        let lines = text.lines().filter(|line| line.starts_with(&format!("{metric}{{")));
        let one = |line: &str| {
            let value = line.rsplit_once(' ')?.1.parse().ok()?;
            Some(((label(line, "group")?, label(line, "program")?), value))
        };
        lines.filter_map(one).collect()
    };
    let runs = of("vakt_ebpf_measured_runs_total");
    let seconds = of("vakt_ebpf_run_seconds");
    let joined = runs.into_iter().filter(|(_, runs)| *runs > 0.0).filter_map(|(key, runs)| {
        let mean = seconds.get(&key)?;
        Some((key, (runs, mean * 1e9 * runs)))
    });
    joined.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_time_that_was_measured_and_scale_with_the_switches() {
        let text = "vakt_ebpf_run_seconds{group=\"runqlat\",program=\"on_switch\"} 0.0000001\n\
                    vakt_ebpf_measured_runs_total{group=\"runqlat\",program=\"on_switch\"} 400000\n\
                    vakt_ebpf_run_seconds{group=\"irq\",program=\"x\"} 0.000001\n\
                    vakt_ebpf_measured_runs_total{group=\"irq\",program=\"x\"} 10000\n";
        let rows = rows(40_000.0, &costs(text));
        let said: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
        for expected in [
            "a run\", vakt: \"100 ns",
            "runqlat: share of a core\", vakt: \"0.40 %",
            "all programs: share of a core\", vakt: \"0.50 %",
            "at 20,000 switches a second\", vakt: \"0.20 %",
            "all programs at 20,000 switches a second\", vakt: \"0.30 %",
        ] {
            assert!(said.iter().any(|row| row.contains(expected)), "{expected} in {said:?}");
        }
    }
}
