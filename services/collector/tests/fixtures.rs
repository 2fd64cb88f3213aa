//! `vakt-collector once` over node_exporter's own fixtures, against the output that its authors expect.
//!
//! The fixtures are theirs and not in this repository: `VAKT_NODE_EXPORTER_FIXTURES` names `collector/fixtures` of a
//! checkout (1.12). Without it the test says that it is skipped.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};

/// Sources of which every series must be there with its value, and no other.
const SOURCES: &str = "arp,bcache,bcachefs,bonding,btrfs,conntrack,cpufreq,diskstats,dmi,dmmultipath,edac,entropy,\
    fibrechannel,filefd,hwmon,infiniband,ipvs,kernel_hung,loadavg,mdadm,meminfo,netstat,nfs,nfsd,nvme,os,\
    powersupplyclass,pressure,rapl,schedstat,sockstat,softnet,stat,tapestats,textfile,thermal_zone,udp_queues,vmstat,\
    watchdog,xfs,zfs";

/// Starts of the names that these sources give.
const NAMES: [&str; 60] = [
    "node_arp_entries",
    "node_bcache_",
    "node_bcachefs_",
    "node_bonding_",
    "node_boot_time_",
    "node_btrfs_",
    "node_context_",
    "node_cooling_",
    "node_cpu_frequency_",
    "node_cpu_scaling_",
    "node_disk_",
    "node_dmi_",
    "node_dmmultipath_",
    "node_edac_",
    "node_entropy_",
    "node_fibrechannel_",
    "node_filefd_",
    "node_forks_",
    "node_hwmon_",
    "node_infiniband_",
    "node_intr_",
    "node_ipvs_",
    "node_kernel_hung_",
    "node_load",
    "node_md_",
    "node_memory_",
    "node_netstat_",
    "node_nf_conntrack_",
    "node_nfs_",
    "node_nfsd_",
    "node_nvme_",
    "node_os_",
    "node_power_supply_",
    "node_pressure_",
    "node_procs_",
    "node_rapl_",
    "node_schedstat_",
    "node_sockstat_",
    "node_softnet_",
    "node_tape_",
    "node_textfile_scrape_error",
    "node_thermal_zone_",
    "node_udp_queues",
    "node_vmstat_",
    "node_watchdog_",
    "node_xfs_",
    "node_zfs_",
    "testmetric",
    "node_scrape_collector_success{collector=\"bcache",
    "node_scrape_collector_success{collector=\"btrfs",
    "node_scrape_collector_success{collector=\"fibrechannel",
    "node_scrape_collector_success{collector=\"infiniband",
    "node_scrape_collector_success{collector=\"ipvs",
    "node_scrape_collector_success{collector=\"nfs",
    "node_scrape_collector_success{collector=\"tapestats",
    "node_scrape_collector_success{collector=\"textfile",
    "node_scrape_collector_success{collector=\"xfs",
    "node_scrape_collector_success{collector=\"zfs",
    "node_scrape_collector_success{collector=\"edac",
    "node_scrape_collector_success{collector=\"mdadm",
];

/// What node_exporter's own test asks for and no default has, or what we leave out; with the reason.
const DIFFERENT: [(&str, &str); 6] = [
    ("node_arp_entries{device=\"nope}", "their test leaves that device out"),
    ("node_bcache_priority_stats_", "off by default: reading it is expensive"),
    ("node_cpu_frequency_hertz{core=", "of --collector.cpu.info, which is off by default"),
    ("node_hwmon_chip_names{chip=\"bogus", "their test leaves that chip out"),
    ("node_memory_numa_", "of meminfo_numa, which is off by default"),
    ("node_watchdog_info{name=\"watchdog1}", "a folder without files, which no kernel makes"),
];

fn main() {
    let arguments = Arguments::from_args();
    let fixtures = std::env::var_os("VAKT_NODE_EXPORTER_FIXTURES").map(PathBuf::from);
    if fixtures.is_none() {
        eprintln!("skipped: VAKT_NODE_EXPORTER_FIXTURES is not set");
    }
    let skip = fixtures.is_none();
    let trial = Trial::test("node_exporters_fixtures_give_what_its_authors_expect", move || {
        compare(&fixtures.unwrap())
    });
    libtest_mimic::run(&arguments, vec![trial.with_ignored_flag(skip)]).exit();
}

fn compare(fixtures: &Path) -> Result<(), Failed> {
    let room = tempfile::tempdir().unwrap();
    unpack(&fs::read_to_string(fixtures.join("sys.ttar")).unwrap(), room.path());
    unpack(&fs::read_to_string(fixtures.join("udev.ttar")).unwrap(), room.path());
    link_slaves(&room.path().join("sys/block"));
    let root = room.path().join("root");
    fs::create_dir_all(root.join("run")).unwrap();
    std::os::unix::fs::symlink(room.path().join("udev"), root.join("run/udev")).unwrap();
    std::os::unix::fs::symlink(fixtures.canonicalize().unwrap().join("usr"), root.join("usr")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_vakt-collector"))
        .args(["once", "--families", SOURCES, "--procfs"])
        .arg(fixtures.join("proc"))
        .arg("--sysfs")
        .arg(room.path().join("sys"))
        .arg("--rootfs")
        .arg(&root)
        .arg("--textfile")
        .arg(fixtures.join("textfile/two_metric_files"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let ours = samples(&String::from_utf8(output.stdout).unwrap());
    // The path that rapl shows begins with where /sys is.
    let theirs = fs::read_to_string(fixtures.join("e2e-output.txt"))
        .unwrap()
        .replace("collector/fixtures/sys/", "/sys/");
    let theirs = samples(&theirs);
    let is_same = |a: f64, b: f64| a == b || (a - b).abs() <= b.abs() * 1e-12 || (a.is_nan() && b.is_nan());
    let mut faults = Vec::new();
    for (series, value) in &theirs {
        match ours.get(series) {
            Some(found) if is_same(*found, *value) => {}
            Some(found) => faults.push(format!("{series} is {found}, expected {value}")),
            None => faults.push(format!("missing: {series} {value}")),
        }
    }
    faults.extend(
        ours.keys().filter(|series| !theirs.contains_key(*series)).map(|s| format!("not expected: {s}")),
    );
    println!("{} series", theirs.len());
    faults.retain(|fault| !DIFFERENT.iter().any(|(start, _)| fault.contains(&format!(": {start}"))));
    if faults.is_empty() && theirs.len() > 1500 { Ok(()) } else { Err(faults.join("\n").into()) }
}

/// What lies below a disk that is made of others are links in a real /sys, and empty folders in the archive.
fn link_slaves(block: &Path) {
    for disk in fs::read_dir(block).unwrap().flatten() {
        for slave in fs::read_dir(disk.path().join("slaves")).into_iter().flatten().flatten() {
            fs::remove_dir(slave.path()).unwrap();
            std::os::unix::fs::symlink(Path::new("../..").join(slave.file_name()), slave.path()).unwrap();
        }
    }
}

/// The samples that are compared, by name and sorted labels without the empty ones.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        if !NAMES.iter().any(|name| series.starts_with(name)) {
            continue;
        }
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let mut labels: Vec<&str> = labels
            .trim_end_matches('}')
            .split("\",")
            .map(|label| label.trim_end_matches('"'))
            .filter(|label| !label.is_empty() && !label.ends_with('=') && !label.ends_with("=\""))
            .collect();
        labels.sort_unstable();
        found.insert(format!("{name}{{{}}}", labels.join(",")), value.parse().unwrap());
    }
    found
}

/// Unpacks an archive of their ttar: `Path:`, `Lines:` and the lines, `Directory:`, `SymlinkTo:`, a `Mode:` after each. A
/// line that ends in `EOF` has no line end, `\EOF` is the word itself.
fn unpack(archive: &str, room: &Path) {
    let mut lines = archive.lines();
    let mut path = PathBuf::new();
    while let Some(line) = lines.next() {
        if let Some(directory) = line.strip_prefix("Directory: ") {
            fs::create_dir_all(room.join(directory)).unwrap();
        } else if let Some(name) = line.strip_prefix("Path: ") {
            path = room.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        } else if let Some(target) = line.strip_prefix("SymlinkTo: ") {
            std::os::unix::fs::symlink(target, &path).unwrap();
        } else if let Some(count) = line.strip_prefix("Lines: ") {
            let mut text = String::new();
            for line in lines.by_ref().take(count.parse().unwrap()) {
                match line.strip_suffix("EOF").filter(|rest| !rest.ends_with('\\')) {
                    Some(rest) => text.push_str(rest),
                    None => text.push_str(&format!("{line}\n")),
                }
            }
            let text = text.replace("\\EOF", "EOF").replace("\\NULLBYTE", "\0N").replace("NULLBYTE", "\0");
            fs::write(&path, text).unwrap();
        }
    }
}
