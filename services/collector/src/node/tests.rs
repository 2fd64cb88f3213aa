//! The sources on files of a real machine (testdata/host) and of a made-up one (testdata/sys.txt). Names, labels and
//! values against node_exporter's own: tests/node_exporter.rs.

use std::path::Path;
use std::sync::OnceLock;

use proptest::prelude::*;

use super::SOURCES;
use crate::family::{Family, Kind};
use crate::files::{Places, Reader};
use crate::inputs::{Clock, Inputs, Space, Uname, Usage};
use crate::node::textfile::TextFiles;

/// The files of a source that the inputs have.
fn files_of(source: &super::Source, inputs: &Inputs) -> Vec<String> {
    let is_of = |path: &&str| {
        source.files.iter().any(|files| {
            let folder =
                if files.folder == "/proc" { "" } else { files.folder.split('*').next().unwrap_or_default() };
            if folder.is_empty() { files.names.contains(path) } else { path.starts_with(folder) }
        })
    };
    inputs.files.paths().filter(is_of).map(str::to_owned).collect()
}

/// Files of a real machine from testdata/host, and of a made-up one with more hardware from testdata/sys.txt.
fn host() -> Inputs {
    static READ: OnceLock<Inputs> = OnceLock::new();
    READ.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/host");
        let room = tempfile::tempdir().unwrap();
        crate::room::unpack(room.path());
        let mut inputs = Inputs { now: Some(1.5), uname: Some(Uname::default()), ..Inputs::default() };
        for proc in [folder, room.path().join("proc")] {
            let (sys, root) = (room.path().join("sys"), room.path().to_owned());
            let places = Places { proc, sys, root, is_apart: false };
            let (mut reader, mut texts) = (Reader::default(), crate::texts::Texts::default());
            reader.begin(std::time::Instant::now(), &mut texts);
            for files in SOURCES.iter().flat_map(|source| source.files) {
                reader.read(&places, files, &mut texts);
            }
            texts.below("").for_each(|(path, text)| inputs.files.insert(path, text));
        }
        inputs.units = Some("ssh.service loaded active running\n".into());
        inputs.text_files = Some(TextFiles::default());
        inputs.clock = Some(Clock::default());
        let usage = Usage {
            size: 100.0,
            free: 50.0,
            available: 40.0,
            files: 10.0,
            files_free: 5.0,
            is_read_only: false,
        };
        inputs.spaces.push(Space { mount_point: "/".into(), usage: Ok(usage) });
        inputs
    })
    .clone()
}

fn all(inputs: &Inputs) -> Vec<Family> {
    SOURCES.iter().flat_map(|source| (source.parse)(inputs).unwrap_or_default()).collect()
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
        inputs.files.insert(path, text);
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

#[test]
fn names_end_as_their_kind_says_and_no_family_comes_twice() {
    let families = all(&host());
    let mut names: Vec<&str> = families.iter().map(|family| &*family.name).collect();
    for family in &families {
        assert_eq!(family.kind == Kind::Counter, family.name.ends_with("_total"), "{}", family.name);
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert!(count == names.len() && count > 250, "{count} families, {} names", names.len());
}

#[test]
fn a_missing_or_broken_file_is_named_and_no_source_panics() {
    for source in SOURCES {
        if let Err(error) = (source.parse)(&Inputs::default()) {
            let error = error.to_string();
            let is_named =
                source.files.iter().any(|files| files.names.iter().any(|name| error.contains(name)));
            assert!(
                source.files.is_empty()
                    || source.name == "time"
                    || is_named
                    || error.ends_with("is not on this machine"),
                "{source:?}: {error}"
            );
        }
        let whole = host();
        for path in files_of(&source, &whole) {
            for cut in 0..300 {
                let mut inputs = whole.clone();
                let text = &inputs.files[&path];
                let end = (0..=cut.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap();
                let text = text[..end].to_owned();
                let is_whole = text.len() == inputs.files[&path].len();
                inputs.files.insert(&path, text);
                let _ = (source.parse)(&inputs);
                if is_whole {
                    break;
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_a_peer_sends_no_source_panics(
        source in 0..SOURCES.len(), at in any::<prop::sample::Index>(), noise in "[ -~\\n]{0,40}", cut: bool,
    ) {
        let mut inputs = host();
        for path in files_of(&SOURCES[source], &inputs.clone()) {
            let text = &inputs.files[&path];
            let place = at.index(text.len() + 1);
            let (before, after) = text.split_at(place);
            let text = if cut { format!("{before}{noise}") } else { format!("{before}{noise}{after}") };
            inputs.files.insert(path, text);
        }
        let _ = (SOURCES[source].parse)(&inputs);
    }
}
