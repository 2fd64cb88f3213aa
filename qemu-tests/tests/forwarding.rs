//! Samples on their way through store and egress to real engines elsewhere, which go away for a while and come back.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vakt_image::setup::peers::{SID, peer};
use vakt_qemu_tests::bench::connection::Connection;
use vakt_qemu_tests::bench::process::Server;
use vakt_qemu_tests::container::free_port;
use vakt_qemu_tests::{harness, programs};
use vakt_wire::remote_write::{TimeSeries, encode};

/// Series of each request.
const SERIES: usize = 20;

/// Requests, a second of samples apart: ten minutes of a small box.
const ROUNDS: i64 = 600;

/// The receivers are away from this round to that.
const AWAY: std::ops::Range<i64> = 150..450;

/// In this round egress is killed.
const KILL: i64 = 300;

/// The newest sample is this old: VictoriaMetrics' answers leave the last 30 s out.
const AGE_S: i64 = 120;

/// How long what waits may take to arrive: the longest wait between two tries, and some more for a loaded builder.
const ARRIVE_WITHIN: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let missing = ["prometheus", "victoria-metrics"]
        .into_iter()
        .find_map(|package| peer(SID, package, package).err().map(|error| format!("{package}: {error:#}")));
    harness::run(
        missing,
        &[("through_an_outage_of_both_receivers_and_a_kill_nothing_is_lost_and_nothing_doubled", outage)],
    )
}

/// A receiver: a program of Debian's, what it is told, and where it takes samples.
struct Receiver {
    name: &'static str,
    program: PathBuf,
    address: SocketAddr,
    data: PathBuf,
    server: Option<Server>,
}

impl Receiver {
    fn new(name: &'static str, package: &str, room: &Path) -> Result<Receiver> {
        let program = peer(SID, package, package)?.program;
        Ok(Receiver { name, program, address: free_port()?, data: room.join(name), server: None })
    }

    fn start(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        let (data, at) = (self.data.display(), self.address);
        if self.name == "prometheus" {
            fs::create_dir_all(&self.data)?;
            let config = self.data.join("prometheus.yml");
            fs::write(&config, "scrape_configs: []\n")?;
            command.args([
                format!("--config.file={}", config.display()),
                format!("--storage.tsdb.path={data}/tsdb"),
                format!("--web.listen-address={at}"),
                "--web.enable-remote-write-receiver".into(),
            ]);
        } else {
            command.args([format!("-storageDataPath={data}"), format!("-httpListenAddr={at}")]);
        }
        let log = self.data.with_extension("log");
        self.server = Some(Server::start(&mut command, self.address, &log)?);
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        // An orderly end: what VictoriaMetrics acknowledged within its last seconds is lost by a kill.
        if let Some(server) = self.server.take() {
            server.stop()?;
        }
        Ok(())
    }

    /// (samples, their sum) of the metric that was sent.
    fn has(&self, end_s: i64) -> Result<(u64, f64)> {
        let ask = |query: &str| -> Result<f64> {
            let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let path = format!("/api/v1/query?query={encoded}&time={end_s}");
            let (status, body) = Connection::open(self.address)?.get(&path)?;
            ensure!(status == 200, "{} answers {status}", self.name);
            let answer: Value = serde_json::from_slice(&body)?;
            match answer["data"]["result"][0]["value"][1].as_str() {
                Some(number) => Ok(number.parse()?),
                None => Ok(0.0),
            }
        };
        let window = "1h";
        let count = ask(&format!("sum(count_over_time(forwarded[{window}]))"))?;
        Ok((count as u64, ask(&format!("sum(sum_over_time(forwarded[{window}]))"))?))
    }
}

fn outage() -> Result<()> {
    let room = tempfile::Builder::new().prefix("vakt-forwarding").tempdir()?;
    let mut receivers = [
        Receiver::new("prometheus", "prometheus", room.path())?,
        Receiver::new("victoria-metrics", "victoria-metrics", room.path())?,
    ];
    let config: String = receivers
        .iter()
        .map(|one| {
            format!("[[forward]]\nname = \"{}\"\nurl = \"http://{}/api/v1/write\"\n", one.name, one.address)
        })
        .collect();
    let config_path = room.path().join("vakt.toml");
    fs::write(&config_path, format!("version = 1\n{config}"))?;
    receivers.iter_mut().try_for_each(Receiver::start)?;

    let (egress_at, egress_socket) = (free_port()?, room.path().join("egress.sock"));
    let egress = || -> Result<Server> {
        let mut command = Command::new(programs::path("vakt-egress")?);
        command.arg("serve").arg("--config").arg(&config_path).arg("--data").arg(room.path().join("egress"));
        command.args(["--queue-size", "64MiB", "--listen", &egress_at.to_string(), "--listen"]);
        command.arg(format!("unix:{}", egress_socket.display()));
        Server::start(&mut command, egress_at, &room.path().join("egress.log"))
    };
    let mut egress_server = egress()?;
    let store_at = free_port()?;
    let mut command = Command::new(programs::path("vakt-store")?);
    command.arg("serve").arg("--data").arg(room.path().join("store"));
    command.args(["--listen", &store_at.to_string(), "--forward"]);
    command.arg(format!("unix:{}", egress_socket.display()));
    let store = Server::start(&mut command, store_at, &room.path().join("store.log"))?;

    let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().cast_signed() - AGE_S;
    let begin_s = now_s - ROUNDS;
    let mut sent_sum = 0.0;
    let mut connection = Connection::open(store_at)?;
    for round in 0..ROUNDS {
        if round == AWAY.start {
            receivers.iter_mut().try_for_each(Receiver::stop)?;
        } else if round == AWAY.end {
            receivers.iter_mut().try_for_each(Receiver::start)?;
        } else if round == KILL {
            // Dropping it kills it, with no chance to write anything.
            drop(egress_server);
            egress_server = egress()?;
        }
        let series: Vec<TimeSeries> = (0..SERIES).map(|number| one(number, round, begin_s)).collect();
        sent_sum += series.iter().map(|series| series.samples[0].0).sum::<f64>();
        let (status, said) = connection.remote_write(&encode(&series)?)?;
        ensure!(status == 204, "round {round}: {status}: {}", String::from_utf8_lossy(&said));
    }
    let expected = (ROUNDS as u64 * SERIES as u64, sent_sum);
    let until = Instant::now() + ARRIVE_WITHIN;
    for receiver in &receivers {
        loop {
            let has = receiver.has(now_s)?;
            if has == expected {
                println!("{}: {} samples, all", receiver.name, has.0);
                break;
            }
            let log = || fs::read_to_string(room.path().join("egress.log")).unwrap_or_default();
            ensure!(Instant::now() < until, "{} has {has:?} of {expected:?}\n{}", receiver.name, log());
            std::thread::sleep(Duration::from_millis(500));
        }
    }
    let (status, body) = Connection::open(egress_at)?.get("/v1/forwards")?;
    let standings: Value = serde_json::from_slice(&body).with_context(|| format!("{status}"))?;
    for standing in standings.as_array().context("no list of places")? {
        let lost = (standing["lost_samples"].as_u64(), standing["refused_samples"].as_u64());
        ensure!(lost == (Some(0), Some(0)), "{standing}");
        ensure!(standing["pending_samples"].as_u64() == Some(0), "{standing}");
    }
    store.stop()?;
    egress_server.stop()?;
    Ok(())
}

fn one(number: usize, round: i64, begin_s: i64) -> TimeSeries {
    let label = |name: &str, value: String| (name.to_owned(), value);
    TimeSeries {
        labels: vec![label("__name__", "forwarded".into()), label("n", number.to_string())],
        samples: vec![((round * 31 + number as i64 * 7) as f64, (begin_s + round) * 1000)],
    }
}
