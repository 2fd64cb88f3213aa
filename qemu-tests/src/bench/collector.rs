//! What measuring a machine costs: `vakt-collector serve` at 1 s, pushing to a store, beside
//! node_exporters that are scraped every second during the same minute.
//!
//! Vakt's number is the CPU of the serving process a round: reading, encoding, compressing and pushing, with
//! its eBPF histogram read. A node_exporter's is its CPU a scrape. Both read the same /proc at the same time;
//! one node_exporter runs as it comes, another with just the collectors that Vakt has.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use vakt_image::setup::peers;

use super::Row;
use super::connection::Connection;
use super::process::{Server, cpu_s, ended_children_cpu_s, peak_rss_mib, rss_mib};
use crate::container::free_port;
use crate::programs;

/// Rounds that are measured, a second apart.
const ROUNDS: u32 = 60;

/// Rounds before, in which caches fill.
const WARM_ROUNDS: u32 = 5;

/// Times that `vakt-collector once` is run.
const ONCE_RUNS: u32 = 30;

/// node_exporter's names of what Vakt's collector reads; systemd's units and cgroups come on top of it.
const SAME: [&str; 36] = [
    "arp",
    "bonding",
    "conntrack",
    "cpu",
    "cpufreq",
    "diskstats",
    "dmi",
    "edac",
    "entropy",
    "filefd",
    "filesystem",
    "hwmon",
    "kernel_hung",
    "loadavg",
    "mdadm",
    "meminfo",
    "netclass",
    "netdev",
    "netstat",
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
    "thermal_zone",
    "time",
    "timex",
    "udp_queues",
    "uname",
    "vmstat",
    "watchdog",
];

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
    let address = free_port()?;
    let mut command = Command::new(&collector);
    command.args(["serve", "--interval", "1s", "--push", &format!("http://{}", sink.1)]);
    command.args(["--listen", &address.to_string()]);
    let ours = Server::start(&mut command, address, &room.path().join("collector.log"))?;

    rounds(WARM_ROUNDS, &mut exporters)?;
    let before = cpu_s(ours.pid())?;
    for exporter in &mut exporters {
        exporter.cpu_s = cpu_s(exporter.server.pid())?;
    }
    rounds(ROUNDS, &mut exporters)?;
    let per_round = |cpu_s: f64| cpu_s * 1000.0 / f64::from(ROUNDS);
    let cpu = per_round(cpu_s(ours.pid())? - before);
    let peak = peak_rss_mib(ours.pid())?;
    let now = rss_mib(ours.pid())?;
    let samples = once_samples(&collector)?;
    for exporter in &exporters {
        let theirs = per_round(cpu_s(exporter.server.pid())? - exporter.cpu_s);
        let theirs_peak = peak_rss_mib(exporter.server.pid())?;
        rows.push(Row::beside("CPU a round, serving", &exporter.name, cpu, theirs, "ms"));
        rows.push(Row::beside("peak resident, serving", &exporter.name, peak, theirs_peak, "MiB"));
        let theirs_now = rss_mib(exporter.server.pid())?;
        rows.push(Row::beside("resident afterwards", &exporter.name, now, theirs_now, "MiB"));
        rows.push(Row::beside(
            "samples a round",
            &exporter.name,
            samples as f64,
            exporter.samples as f64,
            "",
        ));
    }
    if exporters.is_empty() {
        rows.push(Row::alone("CPU a round, serving", cpu, "ms"));
        rows.push(Row::alone("peak resident, serving", peak, "MiB"));
        rows.push(Row::alone("resident afterwards", now, "MiB"));
    }
    ours.stop()?;
    let before = ended_children_cpu_s()?;
    for _ in 0..ONCE_RUNS {
        once_samples(&collector)?;
    }
    let cpu = (ended_children_cpu_s()? - before) * 1000.0 / f64::from(ONCE_RUNS);
    rows.push(Row::alone("CPU of `once`, a whole process", cpu, "ms"));
    Ok(rows)
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
