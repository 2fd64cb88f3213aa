//! What the programs measured, as metrics.

use std::collections::BTreeMap;

use vakt_ebpf::{Attached, DiskLatency, Edge, Histogram, Interrupts, Processes, Tcp};

use super::sockets::Check;
use crate::family::{Families, Label, label};

/// Edges that are shown: those with the most connections. More would be series without end on a proxy.
const EDGES_SHOWN_MAX: usize = 200;

/// A classic histogram: cumulative buckets with the bounds of `vakt_ebpf`, count and sum.
fn histogram(
    found: &mut Families,
    name: &'static str,
    help: &'static str,
    labels: &[Label],
    histogram: &Histogram,
) {
    let mut sum = 0;
    for (index, count) in histogram.buckets.iter().enumerate() {
        sum += count;
        let bound = crate::exposition::number(Histogram::bound_seconds(index));
        found.part(name, help, "_bucket", [labels, &[("le", bound)]].concat(), sum as f64);
    }
    found.part(name, help, "_count", labels.to_vec(), sum as f64);
    found.part(name, help, "_sum", labels.to_vec(), histogram.sum_ns as f64 / 1e9);
}

pub fn run_queue(found: &mut Families, waits: &Histogram) {
    histogram(
        found,
        "vakt_runqueue_latency_seconds",
        "Time that runnable tasks waited for a CPU.",
        &[],
        waits,
    );
}

pub fn disks(found: &mut Families, disks: &[DiskLatency], lost: u64, names: &BTreeMap<(u32, u32), String>) {
    for disk in disks {
        let (major, minor) = disk.device;
        let name = names.get(&disk.device).cloned().unwrap_or_else(|| format!("{major}:{minor}"));
        let labels = [("device", name), label("operation", disk.operation)];
        let help = "Time from a request's issue to a disk to its completion.";
        histogram(found, "vakt_disk_latency_seconds", help, &labels, &disk.latency);
    }
    let help = "Requests that were not measured because the maps were full.";
    found.counter("vakt_disk_latency_lost_total", help, Vec::new(), lost as f64);
}

pub fn tcp(found: &mut Families, tcp: &Tcp) {
    let help = "Time from connect to the connection.";
    histogram(found, "vakt_tcp_connect_seconds", help, &[], &tcp.connect);
    histogram(found, "vakt_tcp_lifetime_seconds", "Time that connections lasted.", &[], &tcp.lifetime);
    for (name, help, value) in [
        ("vakt_tcp_connect_failed_total", "Attempts to connect that came to nothing.", tcp.failed),
        (
            "vakt_tcp_opened_total",
            "Ends of TCP connections that were opened, in all network namespaces.",
            tcp.opened,
        ),
        ("vakt_tcp_retransmits_total", "TCP segments that were sent again.", tcp.retransmits),
    ] {
        found.counter(name, help, Vec::new(), value as f64);
    }
}

pub fn connections(found: &mut Families, check: Check) {
    let help = "Established TCP connections of this network namespace, by who counts.";
    for (source, value) in [("ebpf", check.by_programs), ("proc", check.in_proc)] {
        found.gauge("vakt_tcp_connections", help, vec![label("source", source)], value);
    }
    let help =
        "Established TCP connections by eBPF less those in /proc/net/tcp; 0 when the programs see all.";
    found.gauge("vakt_tcp_connections_difference", help, Vec::new(), check.by_programs - check.in_proc);
}

/// The edges are sorted: the first are those with the most connections.
pub fn edges(found: &mut Families, edges: &[Edge]) {
    for edge in edges.iter().take(EDGES_SHOWN_MAX) {
        let labels = vec![
            label("direction", if edge.outward { "out" } else { "in" }),
            ("local", edge.local.to_string()),
            ("port", edge.port.to_string()),
            label("process", &edge.process),
            ("remote", edge.remote.to_string()),
        ];
        let help =
            "Connections between two addresses by the server's port; the process is that which connected.";
        found.counter("vakt_tcp_edge_connections_total", help, labels, edge.opened as f64);
    }
    let help = "Pairs of addresses, port and process that are known; the least used of 4096 is forgotten.";
    found.gauge("vakt_tcp_edges", help, Vec::new(), edges.len() as f64);
}

pub fn processes(found: &mut Families, processes: &Processes) {
    for (name, help, value) in [
        ("vakt_oom_kills_total", "Processes killed because memory ran out.", processes.oom_kills),
        ("vakt_process_execs_total", "Programs that were run.", processes.execs),
        ("vakt_process_exits_total", "Processes that ended.", processes.exits),
        ("vakt_process_starts_total", "Processes that began.", processes.forks),
    ] {
        found.counter(name, help, Vec::new(), value as f64);
    }
    for (name, kills) in &processes.victims {
        let help = "Processes killed because memory ran out, by name.";
        found.counter("vakt_oom_victims_total", help, vec![label("process", name)], *kills as f64);
    }
}

pub fn interrupts(found: &mut Families, interrupts: &[Interrupts]) {
    for entry in interrupts {
        let labels = || vec![("cpu", entry.cpu.to_string()), label("kind", entry.kind)];
        found.counter("vakt_interrupts_total", "Interrupts that were handled.", labels(), entry.count as f64);
        let help = "Time in handlers of interrupts.";
        found.counter("vakt_interrupt_seconds_total", help, labels(), entry.ns as f64 / 1e9);
    }
}

/// What a group costs itself.
pub fn cost(found: &mut Families, name: &str, group: &Attached) {
    if let Some(bytes) = group.map_bytes() {
        let help = "Kernel memory of the maps of a group of eBPF programs.";
        found.gauge("vakt_ebpf_map_bytes", help, vec![label("group", name)], bytes as f64);
    }
    for cost in group.costs().into_iter().filter(|cost| cost.runs > 0) {
        let labels = || vec![label("group", name), label("program", &cost.program)];
        let help = "Mean time of a run of an eBPF program, while the kernel measured.";
        found.gauge("vakt_ebpf_run_seconds", help, labels(), cost.ns as f64 / 1e9 / cost.runs as f64);
        let help = "Runs of an eBPF program that the kernel measured.";
        found.counter("vakt_ebpf_measured_runs_total", help, labels(), cost.runs as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_end_with_infinity() {
        let mut waits = Histogram { sum_ns: 2_500_000_000, ..Histogram::default() };
        (waits.buckets[0], waits.buckets[2], waits.buckets[25]) = (1, 2, 4);
        let mut found = Families::default();
        run_queue(&mut found, &waits);
        let family = found.done().remove(0);
        let part = |index: usize| (family.rows[index].labels[0].1.as_str(), family.rows[index].value);
        assert_eq!((part(0), part(2), part(25)), (("0.000001", 1.0), ("0.000004", 3.0), ("+Inf", 7.0)));
        assert_eq!((family.rows[26].value, family.rows[27].value), (7.0, 2.5));
    }

    #[test]
    fn a_proxy_with_many_edges_shows_the_busiest_and_says_how_many_there_are() {
        let edge = |opened: u64| Edge {
            local: [127, 0, 0, 1].into(),
            remote: [10, 0, (opened >> 8) as u8, opened as u8].into(),
            port: 443,
            outward: true,
            process: "curl".into(),
            opened,
            last_ns: 0,
        };
        let mut found = Families::default();
        edges(&mut found, &(0..300).rev().map(edge).collect::<Vec<_>>());
        let families = found.done();
        assert_eq!((families[0].rows.len(), families[0].rows[0].value), (EDGES_SHOWN_MAX, 299.0));
        assert_eq!(families[1].rows[0].value, 300.0);
    }
}
