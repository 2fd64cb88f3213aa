//! What taking samples costs: the store and VictoriaMetrics get the same bodies in alternation.
//!
//! Five connections over the loopback, each body a scrape of ten hosts (2,000 samples), sent when the one
//! before was acknowledged. Vakt's acknowledgement means that the samples are durable; VictoriaMetrics' does
//! not. The store's window is set to 5 s, VictoriaMetrics' own interval, so that writing blocks is counted on
//! both sides; with the default of 30 minutes the samples of a short run would stay in its log. CPU is the
//! server's own, first until it has nothing left to do, and then for its whole life with its start and the
//! flush at its end. Queries that are not counted then ask whether every series, and every sample of the
//! largest metric, has arrived.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use vakt_image::setup::peers;

use super::bodies::{CPU_SERIES, HOSTS, SAMPLES, SERIES, STEPS, bodies};
use super::connection::Connection;
use super::process::{Server, cpu_s, disk_bytes, peak_rss_mib};
use super::{Row, median};
use crate::container::free_port;
use crate::programs;

/// Rounds; the table shows their medians.
const ROUNDS: usize = 3;

/// A store that says "later" (503) gets the body again this often, a pause apart.
const TRIES_MAX: usize = 200;
const TRY_EVERY: Duration = Duration::from_millis(50);

/// The newest sample is this old, so that no store waits for late ones when asked.
const NEWEST_AGE_MS: i64 = 120_000;

/// How long the store keeps samples in memory before they become a block.
const WINDOW: &str = "5s";

/// What one round cost.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    idle_cpu_s: f64,
    life_cpu_s: f64,
    sending_s: f64,
    peak_mib: f64,
    disk_bytes: f64,
}

/// Takes the measure.
///
/// # Errors
/// When the store cannot be started, or loses something.
pub fn measure() -> Result<Vec<Row>> {
    let Ok(store) = programs::path("vakt-store") else {
        return Ok(vec![Row::skipped("ingest", "vakt-store is not built beside vakt-bench")]);
    };
    let peer = peers::peer(peers::SID, "victoria-metrics", "victoria-metrics");
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let end_ms = now - NEWEST_AGE_MS;
    let bodies = bodies(end_ms)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let address = free_port()?;
        let listen = ["--listen", &address.to_string(), "--retention", "100y", "--window", WINDOW];
        let listen = listen.map(str::to_owned);
        let arguments =
            |data: &str| [vec!["serve".into(), "--data".into(), data.into()], listen.to_vec()].concat();
        ours.push(one(&store, arguments, address, &bodies, end_ms).context("vakt-store")?);
        eprintln!("  round {round}: vakt-store {:?}", ours.last());
        let Ok(peer) = &peer else { continue };
        let address = free_port()?;
        let arguments = |data: &str| {
            let data = format!("-storageDataPath={data}");
            vec![data, format!("-httpListenAddr={address}"), "-retentionPeriod=100y".into()]
        };
        theirs.push(one(&peer.program, arguments, address, &bodies, end_ms).context("victoria-metrics")?);
        eprintln!("  round {round}: victoria-metrics {:?}", theirs.last());
    }
    let version = peer.as_ref().map(|peer| format!("VictoriaMetrics {}", peer.version));
    let mut rows = table(&ours, &theirs, version.as_deref().ok());
    if let Err(error) = peer {
        rows.push(Row::skipped("VictoriaMetrics", &format!("{error:#}")));
    }
    Ok(rows)
}

/// A figure: its name, its unit, where it is, what it is for each of.
type Field = (&'static str, &'static str, fn(&Cost) -> f64, f64);

fn table(ours: &[Cost], theirs: &[Cost], peer: Option<&str>) -> Vec<Row> {
    let millions = SAMPLES as f64 / 1e6;
    let fields: [Field; 5] = [
        ("CPU a million samples, until idle", "s", |cost| cost.idle_cpu_s, millions),
        ("CPU a million samples, start to end", "s", |cost| cost.life_cpu_s, millions),
        ("time to take a million samples", "s", |cost| cost.sending_s, millions),
        ("peak resident", "MiB", |cost| cost.peak_mib, 1.0),
        ("disk a sample after SIGTERM", "bytes", |cost| cost.disk_bytes, SAMPLES as f64),
    ];
    let middle = |costs: &[Cost], field: fn(&Cost) -> f64, per: f64| {
        median(&costs.iter().map(field).collect::<Vec<_>>()) / per
    };
    fields
        .iter()
        .map(|(what, unit, field, per)| match peer {
            Some(peer) => {
                Row::beside(what, peer, middle(ours, *field, *per), middle(theirs, *field, *per), unit)
            }
            None => Row::alone(what, middle(ours, *field, *per), unit),
        })
        .collect()
}

/// One server's life: start, take everything, settle, be asked, end.
fn one(
    program: &Path,
    arguments: impl Fn(&str) -> Vec<String>,
    address: SocketAddr,
    bodies: &[Vec<Vec<u8>>],
    end_ms: i64,
) -> Result<Cost> {
    let room = tempfile::Builder::new().prefix("vakt-bench").tempdir()?;
    let data = room.path().join("data");
    let mut command = Command::new(program);
    command.args(arguments(&data.to_string_lossy()));
    let server = Server::start(&mut command, address, &room.path().join("log"))?;
    let before = cpu_s(server.pid())?;
    let started = Instant::now();
    std::thread::scope(|scope| {
        let senders: Vec<_> = bodies.iter().map(|all| scope.spawn(move || send(address, all))).collect();
        senders.into_iter().try_for_each(|sender| sender.join().map_err(|_| anyhow!("a sender panicked"))?)
    })?;
    let sending_s = started.elapsed().as_secs_f64();
    server.settle()?;
    let idle_cpu_s = cpu_s(server.pid())? - before;
    let peak_mib = peak_rss_mib(server.pid())?;
    let asked = cpu_s(server.pid())?;
    let series = ask(address, "count({job=\"bench\"})", end_ms)?;
    ensure!(series == (HOSTS * SERIES) as u64, "{series} series are found of {}", HOSTS * SERIES);
    let stored = ask(address, "sum(count_over_time(node_cpu_seconds_total{job=\"bench\"}[2h]))", end_ms)?;
    let sent = HOSTS * CPU_SERIES * STEPS;
    ensure!(stored == sent as u64, "{stored} samples of node_cpu_seconds_total are found of {sent}");
    let asking_cpu_s = cpu_s(server.pid())? - asked;
    let life_cpu_s = server.stop()? - asking_cpu_s;
    Ok(Cost { idle_cpu_s, life_cpu_s, sending_s, peak_mib, disk_bytes: disk_bytes(&data)? as f64 })
}

fn send(address: SocketAddr, bodies: &[Vec<u8>]) -> Result<()> {
    let mut connection = Connection::open(address)?;
    for body in bodies {
        let mut tries = 0;
        loop {
            let (status, answer) = connection.remote_write(body)?;
            if status == 200 || status == 204 {
                break;
            }
            tries += 1;
            let text = String::from_utf8_lossy(&answer);
            ensure!(status == 503 && tries < TRIES_MAX, "a body was refused with {status}: {text}");
            std::thread::sleep(TRY_EVERY);
        }
    }
    Ok(())
}

/// Asks for one number.
fn ask(address: SocketAddr, query: &str, end_ms: i64) -> Result<u64> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let path = format!("/api/v1/query?query={encoded}&time={}", end_ms / 1000 + 1);
    let (status, answer) = Connection::open(address)?.get(&path)?;
    let text = String::from_utf8_lossy(&answer);
    let parsed: Value = serde_json::from_str(&text).with_context(|| format!("{status}: {text}"))?;
    let value = parsed["data"]["result"][0]["value"][1].as_str();
    Ok(value.with_context(|| format!("{query} failed: {status} {text}"))?.parse()?)
}
