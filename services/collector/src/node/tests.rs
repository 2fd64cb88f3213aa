//! The sources on files of a real machine (testdata/host), and their names against node_exporter's.

use std::path::Path;

use proptest::prelude::*;

use super::SOURCES;
use crate::family::{Family, Kind};
use crate::inputs::{Inputs, Space, Uname, Usage};

fn host() -> Inputs {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/host");
    let mut inputs = Inputs { now: Some(1.5), uname: Some(Uname::default()), ..Inputs::default() };
    for path in SOURCES.iter().flat_map(|source| source.files) {
        inputs.files.insert((*path).into(), std::fs::read_to_string(folder.join(path)).unwrap());
    }
    let usage = Usage { size: 100.0, free: 50.0, available: 40.0, files: 10.0, files_free: 5.0 };
    inputs.spaces.push(Space { mount_point: "/".into(), usage: Ok(usage) });
    inputs
}

fn all(inputs: &Inputs) -> Vec<Family> {
    SOURCES.iter().flat_map(|source| (source.parse)(inputs).unwrap()).collect()
}

/// Checks the value of one sample: `name{label="value",…}`.
fn check(families: &[Family], sample: &str, expected: f64) {
    let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
    let family = families.iter().find(|family| family.name == name).unwrap_or_else(|| panic!("no {name}"));
    let text = |row: &crate::family::Row| {
        row.labels.iter().map(|(n, v)| format!("{n}=\"{v}\"")).collect::<Vec<_>>().join(",") + "}"
    };
    let row = family.rows.iter().find(|row| text(row) == labels);
    assert_eq!(row.map(|row| row.value), Some(expected), "{sample} in {family:?}");
}

#[test]
fn values_have_node_exporters_units() {
    let mut inputs = host();
    for (path, text) in [
        (
            "stat",
            "cpu  1 1\ncpu0 100 20 300 4000 50 6 7 8 90 10\ncpu3 1 2 3 4 5 6 7 8 9 10\nintr 77 1 2\nctxt 88\nbtime 99\nprocesses 11\nprocs_running 2\nprocs_blocked 3\n",
        ),
        ("meminfo", "MemTotal:       24681240 kB\nActive(anon):     100 kB\nHugePages_Total:       3\n"),
        ("loadavg", "0.13 1.00 2.50 3/120 4567\n"),
        (
            "diskstats",
            " 254 0 vda 10 1 100 20 30 2 300 40 5 60 70 8 1 64 2 9 3\n 254 1 vda1 1 1 1 1 1 1 1 1 1 1 1\n",
        ),
        ("vmstat", "nr_free_pages 1\npgpgin 5\npgfault 6\npgmajfault 7\noom_kill 0\nthp_fault_alloc 9\n"),
        (
            "pressure/cpu",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        ),
        (
            "net/dev",
            "Inter-| Receive | Transmit\n face |bytes\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
        ),
        ("net/sockstat", "sockets: used 80\nTCP: inuse 5 orphan 0 tw 1 alloc 6 mem 2\n"),
    ] {
        inputs.files.insert(path.into(), text.into());
    }
    let families = all(&inputs);
    let check = |sample, expected| check(&families, sample, expected);
    check(r#"node_cpu_seconds_total{cpu="0",mode="user"}"#, 1.0);
    check(r#"node_cpu_seconds_total{cpu="0",mode="steal"}"#, 0.08);
    check(r#"node_cpu_seconds_total{cpu="3",mode="idle"}"#, 0.04);
    check(r#"node_cpu_guest_seconds_total{cpu="0",mode="user"}"#, 0.9);
    check("node_intr_total", 77.0);
    check("node_context_switches_total", 88.0);
    check("node_boot_time_seconds", 99.0);
    check("node_forks_total", 11.0);
    check("node_procs_running", 2.0);
    check("node_memory_MemTotal_bytes", 24_681_240.0 * 1024.0);
    check("node_memory_Active_anon_bytes", 102_400.0);
    check("node_memory_HugePages_Total", 3.0);
    check("node_load1", 0.13);
    check("node_load15", 2.5);
    check(r#"node_disk_read_bytes_total{device="vda"}"#, 51_200.0);
    check(r#"node_disk_written_bytes_total{device="vda"}"#, 153_600.0);
    check(r#"node_disk_io_time_seconds_total{device="vda"}"#, 0.06);
    check(r#"node_disk_io_now{device="vda"}"#, 5.0);
    check(r#"node_disk_flush_requests_total{device="vda"}"#, 9.0);
    check("node_vmstat_pgmajfault", 7.0);
    check("node_pressure_cpu_waiting_seconds_total", 1.5);
    check(r#"node_network_receive_bytes_total{device="eth0"}"#, 1.0);
    check(r#"node_network_transmit_carrier_total{device="eth0"}"#, 15.0);
    check("node_sockstat_TCP_mem_bytes", 8192.0);
    check("node_sockstat_sockets_used", 80.0);
    check("node_time_seconds", 1.5);
    let disks = families.iter().find(|family| family.name == "node_disk_reads_completed_total").unwrap();
    assert_eq!(disks.rows.len(), 1, "partitions are not disks");
    assert!(!families.iter().any(|family| family.name == "node_vmstat_nr_free_pages"));
    assert!(!families.iter().any(|family| family.name == "node_vmstat_thp_fault_alloc"));
}

/// node_exporter's names for these collectors on the machine of testdata/host, written down by hand from its sources
/// and documentation; those of meminfo left out.
const EXPECTED: &str = "
    node_boot_time_seconds node_context_switches_total node_cpu_guest_seconds_total node_cpu_seconds_total
    node_disk_discard_time_seconds_total node_disk_discarded_sectors_total node_disk_discards_completed_total
    node_disk_discards_merged_total node_disk_flush_requests_time_seconds_total node_disk_flush_requests_total
    node_disk_io_now node_disk_io_time_seconds_total node_disk_io_time_weighted_seconds_total
    node_disk_read_bytes_total node_disk_read_time_seconds_total node_disk_reads_completed_total
    node_disk_reads_merged_total node_disk_write_time_seconds_total node_disk_writes_completed_total
    node_disk_writes_merged_total node_disk_written_bytes_total node_filesystem_avail_bytes
    node_filesystem_device_error node_filesystem_files node_filesystem_files_free node_filesystem_free_bytes
    node_filesystem_readonly node_filesystem_size_bytes node_forks_total node_intr_total node_load1 node_load15
    node_load5 node_network_receive_bytes_total node_network_receive_compressed_total
    node_network_receive_drop_total node_network_receive_errs_total node_network_receive_fifo_total
    node_network_receive_frame_total node_network_receive_multicast_total node_network_receive_packets_total
    node_network_transmit_bytes_total node_network_transmit_carrier_total node_network_transmit_colls_total
    node_network_transmit_compressed_total node_network_transmit_drop_total node_network_transmit_errs_total
    node_network_transmit_fifo_total node_network_transmit_packets_total
    node_pressure_cpu_waiting_seconds_total node_pressure_io_stalled_seconds_total
    node_pressure_io_waiting_seconds_total node_pressure_memory_stalled_seconds_total
    node_pressure_memory_waiting_seconds_total node_procs_blocked node_procs_running
    node_sockstat_FRAG_inuse node_sockstat_FRAG_memory node_sockstat_RAW_inuse node_sockstat_TCP_alloc
    node_sockstat_TCP_inuse node_sockstat_TCP_mem node_sockstat_TCP_mem_bytes node_sockstat_TCP_orphan
    node_sockstat_TCP_tw node_sockstat_UDPLITE_inuse node_sockstat_UDP_inuse node_sockstat_UDP_mem
    node_sockstat_UDP_mem_bytes node_sockstat_sockets_used node_time_seconds node_uname_info
    node_vmstat_oom_kill node_vmstat_pgfault node_vmstat_pgmajfault node_vmstat_pgpgin node_vmstat_pgpgout
    node_vmstat_pswpin node_vmstat_pswpout";

#[test]
fn names_are_node_exporters() {
    let families = all(&host());
    let mut names: Vec<&str> = families
        .iter()
        .map(|family| &*family.name)
        .filter(|name| !name.starts_with("node_memory_"))
        .collect();
    names.sort_unstable();
    let expected: Vec<&str> = EXPECTED.split_whitespace().collect();
    assert_eq!(names, expected);
    for family in &families {
        assert_eq!(family.kind == Kind::Counter, family.name.ends_with("_total"), "{}", family.name);
    }
}

#[test]
fn a_missing_or_broken_file_is_named_and_no_source_panics() {
    for source in SOURCES {
        let error = (source.parse)(&Inputs::default()).unwrap_err().to_string();
        assert!(source.files.is_empty() || error.contains(source.files[0]), "{source:?}: {error}");
        for cut in 0..400 {
            let mut inputs = host();
            for path in source.files {
                let text = &inputs.files[*path];
                let end = (0..=cut.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap();
                let text = text[..end].to_owned();
                inputs.files.insert((*path).into(), text);
            }
            let _ = (source.parse)(&inputs);
        }
    }
}

proptest! {
    #[test]
    fn whatever_a_peer_sends_no_source_panics(
        source in 0..SOURCES.len(), at in any::<prop::sample::Index>(), noise in "[ -~\\n]{0,40}", cut: bool,
    ) {
        let mut inputs = host();
        for path in SOURCES[source].files {
            let text = &inputs.files[*path];
            let place = at.index(text.len() + 1);
            let (before, after) = text.split_at(place);
            let text = if cut { format!("{before}{noise}") } else { format!("{before}{noise}{after}") };
            inputs.files.insert((*path).into(), text);
        }
        let _ = (SOURCES[source].parse)(&inputs);
    }
}
