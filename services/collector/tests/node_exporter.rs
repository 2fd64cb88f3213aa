//! The real node_exporter 1.11 beside `vakt-collector once`: the same series with the same labels, kinds and values, on
//! this machine and on a made-up one with more hardware (testdata/sys.txt).
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

#[path = "../src/room.rs"]
mod room;

/// node_exporter's collectors that are compared: all of 1.11 that are on by default on Linux.
const COLLECTORS: &str = "arp,bcache,bcachefs,bonding,btrfs,conntrack,cpu,cpufreq,diskstats,dmi,edac,entropy,fibrechannel,\
    filefd,filesystem,hwmon,infiniband,ipvs,kernel_hung,loadavg,mdadm,meminfo,netclass,netdev,netstat,nfs,nfsd,nvme,os,\
    powersupplyclass,pressure,rapl,schedstat,selinux,sockstat,softnet,stat,tapestats,textfile,thermal_zone,time,timex,\
    udp_queues,uname,vmstat,watchdog,xfs,zfs";

/// Those that the made-up machine has in full; the others ask the kernel itself, or need files that it does not have.
const MADE_UP: &str = "bonding,conntrack,cpu,cpufreq,dmi,edac,entropy,filefd,hwmon,mdadm,netclass,nvme,os,powersupplyclass,\
    rapl,schedstat,softnet,stat,thermal_zone,udp_queues,watchdog";

/// Gauges that move between two scrapes and may stand at the same value before and after.
const MOVING: [(&str, &str); 14] = [
    ("node_arp_entries", "neighbours come and go"),
    ("node_disk_io_now", "requests under way"),
    ("node_entropy_available_bits", "the pool is drawn from"),
    ("node_filefd_allocated", "files are opened and closed"),
    ("node_filesystem_", "files are written and removed"),
    ("node_load", "computed every five seconds"),
    ("node_memory_", "memory is taken and given back"),
    ("node_netstat_", "sockets open and close, counters are read CPU by CPU"),
    ("node_nf_conntrack_entries", "connections come and go"),
    ("node_procs_", "tasks run and block"),
    ("node_sockstat_", "sockets open and close"),
    ("node_time_seconds", "it is the time"),
    ("node_timex_", "the clock is steered"),
    ("node_udp_queues", "datagrams wait"),
];

/// Series that ours has besides, with the reason.
const MORE: [(&str, &str); 3] = [
    ("node_memory_", "fields of /proc/meminfo that 1.11 does not know"),
    ("node_edac_channel_", "since node_exporter 1.12"),
    ("node_nvme_namespace_", "since node_exporter 1.12"),
];

fn main() {
    let arguments = Arguments::from_args();
    let exporter = exporter();
    if let Err(reason) = &exporter {
        eprintln!("skipped: {reason}");
    }
    let skip = exporter.is_err();
    let (here, there) = (exporter.clone(), exporter);
    let trials = vec![
        Trial::test("this_machine_has_the_series_that_node_exporter_gives_it", move || {
            this_machine(&here.unwrap())
        })
        .with_ignored_flag(skip),
        Trial::test("a_machine_with_more_hardware_has_the_same_series_and_values", move || {
            made_up_machine(&there.unwrap())
        })
        .with_ignored_flag(skip),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// The program as the benchmarks unpack it below the cache directory.
fn exporter() -> Result<PathBuf, String> {
    let cache =
        std::env::var_os("VAKT_CACHE").map_or_else(|| PathBuf::from("/var/cache/vakt"), PathBuf::from);
    let program = cache.join("peers/sid-prometheus-node-exporter/usr/bin/prometheus-node-exporter");
    if program.exists() {
        Ok(program)
    } else {
        Err(format!("{} is not there; `vakt-bench collector` unpacks it", program.display()))
    }
}

/// A node_exporter that is ended with the test.
struct Exporter(Child, SocketAddr);

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Exporter {
    fn start(program: &Path, collectors: &str, more: &[String]) -> Exporter {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(program)
            .arg(format!("--web.listen-address={address}"))
            .arg("--collector.disable-defaults")
            .args(collectors.split(',').map(|name| format!("--collector.{name}")))
            // Debian's package leaves out more than node_exporter itself.
            .arg("--collector.filesystem.mount-points-exclude=^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)")
            .args(more)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Exporter(child, address)
    }

    /// The exposition. Waits for the program to listen, for 10 s at most.
    fn scrape(&self) -> Series {
        let begun = Instant::now();
        let mut stream = loop {
            match TcpStream::connect(self.1) {
                Ok(stream) => break stream,
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(10), "node_exporter: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        write!(stream, "GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        series(text.split_once("\r\n\r\n").unwrap().1)
    }
}

fn ours(collectors: &str, more: &[String]) -> Series {
    let output = Command::new(env!("CARGO_BIN_EXE_vakt-collector"))
        .args(["once", "--families", collectors])
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    series(&String::from_utf8(output.stdout).unwrap())
}

/// Kind and value of each series, by name and sorted labels without the empty ones.
type Series = BTreeMap<String, (String, f64)>;

/// Reads text 0.0.4 and what we print of OpenMetrics, both of which are trusted here.
fn series(text: &str) -> Series {
    let (mut found, mut kinds) = (Series::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let kind = if kind == "untyped" { "unknown" } else { kind };
            kinds.insert(name.trim_end_matches("_total").to_owned(), kind.to_owned());
        }
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let is_own = ["go_", "process_", "promhttp_", "node_exporter_", "node_scrape_collector_duration"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        if is_own {
            continue;
        }
        let labels: BTreeSet<&str> = labels
            .trim_end_matches('}')
            .split("\",")
            .map(|label| label.trim_end_matches('"'))
            // 1.11 says 0 for every disk that lacks one of thirty other files.
            .filter(|label| !label.starts_with("rotational="))
            .filter(|label| !label.ends_with("=") && !label.is_empty() && !label.ends_with("=\""))
            .collect();
        let key = format!("{name}{{{}}}", Vec::from_iter(labels).join(","));
        let kind = kinds.get(name.trim_end_matches("_total")).cloned().unwrap_or_default();
        assert!(found.insert(key.clone(), (kind, value.parse().unwrap())).is_none(), "{key} comes twice");
    }
    found
}

fn this_machine(program: &Path) -> Result<(), Failed> {
    let room = tempfile::tempdir().unwrap();
    std::fs::write(room.path().join("jobs.prom"), "# TYPE jobs gauge\njobs{queue=\"mail\"} 7\n").unwrap();
    let texts = |flag: &str| [format!("--{flag}={}", room.path().display())];
    let exporter = Exporter::start(program, COLLECTORS, &texts("collector.textfile.directory"));
    let before = exporter.scrape();
    let ours = ours(COLLECTORS, &texts("textfile"));
    let after = exporter.scrape();
    let names = |series: &Series| series.keys().cloned().collect::<BTreeSet<String>>();
    let (lasting, either) = (&names(&before) & &names(&after), &names(&before) | &names(&after));
    let (missing, strange) = (&lasting - &names(&ours), &names(&ours) - &either);
    let is_more = |key: &&String| MORE.iter().any(|(prefix, _)| key.starts_with(prefix));
    let strange = strange.iter().filter(|key| !is_more(key));
    let mut faults: Vec<String> = missing.iter().map(|key| format!("missing: {key}")).collect();
    faults.extend(strange.map(|key| format!("not node_exporter's: {key}")));
    let mut compared = 0;
    for key in &lasting {
        let (Some((kind, value)), first, last) = (ours.get(key), &before[key], &after[key]) else { continue };
        if *kind != first.0 {
            faults.push(format!("{key} is a {kind}, node_exporter has a {}", first.0));
        }
        let can_fall = key.contains("mode=\"iowait") || key.contains("mode=\"idle");
        let is_moving = MOVING.iter().any(|(prefix, _)| key.starts_with(prefix));
        let is_right = match kind.as_str() {
            _ if is_moving || can_fall => continue,
            // They multiply by 0.001 where we divide by 1000: the last bit may differ.
            "counter" | "unknown" => *value >= first.1 * (1.0 - 1e-12) && *value <= last.1 * (1.0 + 1e-12),
            _ => first.1 != last.1 || (*value - first.1).abs() <= first.1.abs() * 1e-12,
        };
        compared += 1;
        if !is_right {
            faults.push(format!("{key} is {value}, node_exporter has {} and then {}", first.1, last.1));
        }
    }
    println!("{} series, {compared} values compared", ours.len());
    if faults.is_empty() && compared > 100 { Ok(()) } else { Err(faults.join("\n").into()) }
}

fn made_up_machine(program: &Path) -> Result<(), Failed> {
    let room = tempfile::tempdir().unwrap();
    room::unpack(room.path());
    let place = |name: &str| room.path().join(name).display().to_string();
    let paths = |prefix: &str| {
        let pair = |name: &str, folder: &str| format!("--{prefix}{name}={}", place(folder));
        vec![pair("procfs", "proc"), pair("sysfs", "sys"), pair("rootfs", "")]
    };
    let exporter = Exporter::start(program, MADE_UP, &paths("path."));
    let (theirs, ours) = (exporter.scrape(), ours(MADE_UP, &paths("")));
    // The path that rapl shows begins with where /sys is.
    let theirs: Series =
        theirs.into_iter().map(|(key, value)| (key.replace(&place("sys"), "/sys"), value)).collect();
    let mut faults = Vec::new();
    for key in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
        match (theirs.get(key), ours.get(key)) {
            (Some(a), Some(b)) if a.0 == b.0 && (a.1 - b.1).abs() <= a.1.abs() * 1e-12 => {}
            (None, Some(_)) if MORE.iter().any(|(prefix, _)| key.starts_with(prefix)) => {}
            (a, b) => faults.push(format!("{key}: node_exporter {a:?}, ours {b:?}")),
        }
    }
    println!("{} series", ours.len());
    if faults.is_empty() && ours.len() > 150 { Ok(()) } else { Err(faults.join("\n").into()) }
}
