//! What measuring a machine costs: `vakt-collector serve` at 1 s, pushing to a store, beside
//! node_exporters that are scraped every second during the same minute.
//!
//! Vakt's number is the CPU of the serving process a round: reading, encoding, compressing and pushing. A
//! node_exporter's is its CPU a scrape. All read the same /proc at the same time. Two collectors run: one with
//! just the families that node_exporter has by default, and one as it is served, with eBPF read, cgroups and
//! systemd's units besides. CPU is counted by the scheduler in nanoseconds (proc_pid_schedstat), on both sides.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use vakt_image::setup::peers;

use super::Row;
use super::connection::Connection;
use super::process::{Server, ended_children_cpu_s, peak_rss_mib, rss_mib};
use crate::container::free_port;
use crate::programs;

/// Rounds that are measured, a second apart.
const ROUNDS: u32 = 60;

/// Rounds before, in which caches fill.
const WARM_ROUNDS: u32 = 5;

/// Times that `vakt-collector once` is run.
const ONCE_RUNS: u32 = 30;

/// node_exporter 1.11's collectors that are on by default on Linux: what both sides have.
const SAME: [&str; 48] = [
    "arp",
    "bcache",
    "bcachefs",
    "bonding",
    "btrfs",
    "conntrack",
    "cpu",
    "cpufreq",
    "diskstats",
    "dmi",
    "edac",
    "entropy",
    "fibrechannel",
    "filefd",
    "filesystem",
    "hwmon",
    "infiniband",
    "ipvs",
    "kernel_hung",
    "loadavg",
    "mdadm",
    "meminfo",
    "netclass",
    "netdev",
    "netstat",
    "nfs",
    "nfsd",
    "nvme",
    "os",
    "powersupplyclass",
    "pressure",
    "rapl",
    "schedstat",
    "selinux",
    "sockstat",
    "softnet",
    "stat",
    "tapestats",
    "textfile",
    "thermal_zone",
    "time",
    "timex",
    "udp_queues",
    "uname",
    "vmstat",
    "watchdog",
    "xfs",
    "zfs",
];

/// What Vakt has besides, as `--without` takes it.
const BESIDES: &str = "dmmultipath,systemd,vakt_cgroup";

/// A collector of ours that runs.
struct Ours {
    /// What it does.
    kind: &'static str,
    server: Server,
    cpu_s: f64,
}

/// A node_exporter that runs.
struct Exporter {
    name: String,
    server: Server,
    connection: Connection,
    samples: usize,
    cpu_s: f64,
}

/// Takes the measure.
///
/// # Errors
/// When our programs cannot be run, or a node_exporter stops answering.
pub fn measure() -> Result<Vec<Row>> {
    let (Ok(collector), Ok(store)) = (programs::path("vakt-collector"), programs::path("vakt-store")) else {
        return Ok(vec![Row::skipped("collector", "vakt-collector and vakt-store are not built")]);
    };
    let room = tempfile::Builder::new().prefix("vakt-bench").tempdir()?;
    let (mut exporters, mut rows) = (Vec::new(), Vec::new());
    let reduced: Vec<String> = SAME.iter().map(|name| format!("--collector.{name}")).collect();
    let reduced = [vec!["--collector.disable-defaults".to_owned()], reduced].concat();
    for (suite, kind, arguments) in [
        (peers::SID, "the same collectors", reduced.as_slice()),
        (peers::SID, "as it comes", &[]),
        (peers::BOOKWORM, "as it comes", &[]),
    ] {
        match Exporter::start(suite, kind, arguments, room.path()) {
            Ok(exporter) => exporters.push(exporter),
            Err(error) => rows.push(Row::skipped("node_exporter", &format!("{suite}: {error:#}"))),
        }
    }
    let sink = start_store(&store, room.path())?;
    let mut ours = Vec::new();
    for (kind, more) in [
        (
            "same families, without eBPF",
            vec!["--without".into(), BESIDES.into(), "--config".into(), no_ebpf(room.path())?],
        ),
        ("all families, with eBPF", Vec::new()),
    ] {
        ours.push(Ours {
            kind,
            server: start(&collector, &more, ours.len(), sink.1, room.path())?,
            cpu_s: 0.0,
        });
    }
    rounds(WARM_ROUNDS, &mut exporters)?;
    for ours in &mut ours {
        ours.cpu_s = scheduled_s(ours.server.pid())?;
    }
    for exporter in &mut exporters {
        exporter.cpu_s = scheduled_s(exporter.server.pid())?;
    }
    rounds(ROUNDS, &mut exporters)?;
    for exporter in &mut exporters {
        exporter.cpu_s = scheduled_s(exporter.server.pid())? - exporter.cpu_s;
    }
    for ours in &mut ours {
        ours.cpu_s = scheduled_s(ours.server.pid())? - ours.cpu_s;
    }
    let samples = once_samples(&collector)?;
    for ours in ours {
        add_rows(&mut rows, &ours, &exporters)?;
        ours.server.stop()?;
    }
    for exporter in &exporters {
        rows.push(Row::beside(
            "samples a round",
            &exporter.name,
            samples as f64,
            exporter.samples as f64,
            "",
        ));
    }
    let before = ended_children_cpu_s()?;
    for _ in 0..ONCE_RUNS {
        once_samples(&collector)?;
    }
    let cpu = (ended_children_cpu_s()? - before) * 1000.0 / f64::from(ONCE_RUNS);
    rows.push(Row::alone("CPU of `once`, a whole process", cpu, "ms"));
    Ok(rows)
}

/// A collector of ours beside each node_exporter.
fn add_rows(rows: &mut Vec<Row>, ours: &Ours, exporters: &[Exporter]) -> Result<()> {
    let per_round = |cpu_s: f64| cpu_s * 1000.0 / f64::from(ROUNDS);
    let (peak, now) = (peak_rss_mib(ours.server.pid())?, rss_mib(ours.server.pid())?);
    let what = |what: &str| format!("{what}, {}", ours.kind);
    if exporters.is_empty() {
        rows.push(Row::alone(&what("CPU a round"), per_round(ours.cpu_s), "ms"));
        rows.push(Row::alone(&what("peak resident"), peak, "MiB"));
    }
    for exporter in exporters {
        let (name, pid) = (&exporter.name, exporter.server.pid());
        let (cpu, theirs) = (per_round(ours.cpu_s), per_round(exporter.cpu_s));
        rows.push(Row::beside(&what("CPU a round"), name, cpu, theirs, "ms"));
        rows.push(Row::beside(&what("peak resident"), name, peak, peak_rss_mib(pid)?, "MiB"));
        rows.push(Row::beside(&what("resident afterwards"), name, now, rss_mib(pid)?, "MiB"));
    }
    Ok(())
}

/// CPU seconds of a process' threads that live, as the scheduler counts them. Neither side's threads end during a measure:
/// each is used every second.
fn scheduled_s(pid: u32) -> Result<f64> {
    let mut ns = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        // One that has just ended is not counted.
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        ns += text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(ns as f64 / 1e9)
}

/// A machine config that switches eBPF off.
fn no_ebpf(room: &Path) -> Result<String> {
    let path = room.join("no-ebpf.toml");
    fs::write(&path, "version = 1\n[scrape]\nebpf = false\n")?;
    Ok(path.display().to_string())
}

fn start(collector: &Path, more: &[String], number: usize, sink: SocketAddr, room: &Path) -> Result<Server> {
    let address = free_port()?;
    let mut command = Command::new(collector);
    command.args(["serve", "--interval", "1s", "--push", &format!("http://{sink}")]);
    command.args(["--listen", &address.to_string(), "--instance", &format!("collector-{number}")]).args(more);
    Server::start(&mut command, address, &room.join(format!("collector-{number}.log")))
}

fn start_store(store: &Path, room: &Path) -> Result<(Server, SocketAddr)> {
    let address = free_port()?;
    let mut command = Command::new(store);
    command.arg("serve").arg("--data").arg(room.join("store")).args(["--listen", &address.to_string()]);
    Ok((Server::start(&mut command, address, &room.join("store.log"))?, address))
}

/// Scrapes every node_exporter once a second; the collector goes by its own clock meanwhile.
fn rounds(count: u32, exporters: &mut [Exporter]) -> Result<()> {
    let started = Instant::now();
    for round in 1..=count {
        for exporter in &mut *exporters {
            exporter.scrape()?;
        }
        let next = started + Duration::from_secs(1) * round;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// Runs `vakt-collector once` and counts what it prints.
fn once_samples(collector: &PathBuf) -> Result<usize> {
    let output = Command::new(collector).arg("once").stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "vakt-collector once: {}", String::from_utf8_lossy(&output.stderr));
    Ok(samples(&output.stdout))
}

fn samples(text: &[u8]) -> usize {
    String::from_utf8_lossy(text).lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count()
}

impl Exporter {
    fn start(suite: &str, kind: &str, arguments: &[String], room: &Path) -> Result<Exporter> {
        let package = "prometheus-node-exporter";
        let peer = peers::peer(suite, package, package)?;
        let address = free_port()?;
        let mut command = Command::new(&peer.program);
        command.arg(format!("--web.listen-address={address}")).args(arguments);
        let log = room.join(format!("exporter-{}.log", address.port()));
        let server = Server::start(&mut command, address, &log)?;
        let connection = Connection::open(address)?;
        let name = format!("node_exporter {}, {kind}", peer.version);
        let mut exporter = Exporter { name, server, connection, samples: 0, cpu_s: 0.0 };
        exporter.scrape().with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        Ok(exporter)
    }

    fn scrape(&mut self) -> Result<()> {
        let (status, body) = self.connection.get("/metrics")?;
        ensure!(status == 200, "{} answered {status}", self.name);
        self.samples = samples(&body);
        Ok(())
    }
}
