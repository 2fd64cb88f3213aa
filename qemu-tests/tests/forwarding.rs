//! Samples on their way through store and egress to real engines elsewhere, which go away for a while and come back; and pages that
//! read from such an engine.

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
use vakt_qemu_tests::visitor::Visitor;
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

/// `make test-long` keeps the receivers away for this long by the clock; otherwise it takes the rounds alone.
const AWAY_LONG: Duration = Duration::from_secs(200);

/// Before a kill nothing is sent for this long: VictoriaMetrics writes what it acknowledged to its disk every 5 s.
const QUIET_LONG: Duration = Duration::from_secs(15);

/// How long what waits may take to arrive: the longest wait between two tries, and some more for a loaded builder.
const ARRIVE_WITHIN: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let missing = ["prometheus", "victoria-metrics"]
        .into_iter()
        .find_map(|package| peer(SID, package, package).err().map(|error| format!("{package}: {error:#}")));
    harness::run(
        missing,
        &[
            ("through_an_outage_of_both_receivers_and_a_kill_nothing_is_lost_and_nothing_doubled", outage),
            ("what_rules_record_goes_to_engines_elsewhere_too", rules),
            ("pages_read_from_an_engine_elsewhere_and_say_so_and_why_not", pages),
        ],
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

    /// SIGKILL, with no chance to write anything.
    fn kill(&mut self) -> Result<()> {
        self.server = None;
        Ok(())
    }

    /// The value of a query's first series at a time, in seconds.
    fn ask(&self, query: &str, at_s: i64) -> Result<f64> {
        ask(self.address, query, at_s)
    }

    /// (samples, their sum) of the metric that was sent.
    fn has(&self, end_s: i64) -> Result<(u64, f64)> {
        let window = "1h";
        let count = self.ask(&format!("sum(count_over_time(forwarded[{window}]))"), end_s)?;
        Ok((count as u64, self.ask(&format!("sum(sum_over_time(forwarded[{window}]))"), end_s)?))
    }
}

fn ask(address: SocketAddr, query: &str, at_s: i64) -> Result<f64> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let path = format!("/api/v1/query?query={encoded}&time={at_s}");
    let (status, body) = Connection::open(address)?.get(&path)?;
    ensure!(status == 200, "{address} answers {status}");
    let answer: Value = serde_json::from_slice(&body)?;
    match answer["data"]["result"][0]["value"][1].as_str() {
        Some(number) => Ok(number.parse()?),
        None => Ok(0.0),
    }
}

/// egress, store and what they are told.
struct Here {
    room: PathBuf,
    config: PathBuf,
    egress_at: SocketAddr,
    store_at: SocketAddr,
}

impl Here {
    fn new(room: &Path, config: &str) -> Result<Here> {
        let path = room.join("vakt.toml");
        fs::write(&path, format!("version = 1\n{config}"))?;
        Ok(Here { room: room.to_owned(), config: path, egress_at: free_port()?, store_at: free_port()? })
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.room.join(format!("{name}.sock"))
    }

    fn egress(&self) -> Result<Server> {
        let mut command = Command::new(programs::path("vakt-egress")?);
        command.arg("serve").arg("--config").arg(&self.config).arg("--data").arg(self.room.join("egress"));
        command.args(["--queue-size", "64MiB", "--listen", &self.egress_at.to_string(), "--listen"]);
        command.arg(format!("unix:{}", self.socket("egress").display()));
        Server::start(&mut command, self.egress_at, &self.room.join("egress.log"))
    }

    fn store(&self, more: &[String]) -> Result<Server> {
        let mut command = Command::new(programs::path("vakt-store")?);
        command.arg("serve").arg("--data").arg(self.room.join("store"));
        command.args(["--listen", &self.store_at.to_string(), "--listen"]);
        command.arg(format!("unix:{}", self.socket("store").display()));
        command.arg("--forward").arg(format!("unix:{}", self.socket("egress").display()));
        Server::start(command.args(more), self.store_at, &self.room.join("store.log"))
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
    receivers.iter_mut().try_for_each(Receiver::start)?;
    let here = Here::new(room.path(), &config)?;
    let (egress_at, store_at) = (here.egress_at, here.store_at);
    let mut egress_server = here.egress()?;
    let store = here.store(&[])?;

    let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().cast_signed() - AGE_S;
    let begin_s = now_s - ROUNDS;
    let mut sent_sum = 0.0;
    let mut connection = Connection::open(store_at)?;
    for round in 0..ROUNDS {
        if round == AWAY.start && harness::is_long() {
            std::thread::sleep(QUIET_LONG);
            connection = Connection::open(store_at)?;
            receivers.iter_mut().try_for_each(Receiver::kill)?;
        } else if round == AWAY.start {
            receivers.iter_mut().try_for_each(Receiver::stop)?;
        } else if round == AWAY.end {
            receivers.iter_mut().try_for_each(Receiver::start)?;
        } else if round == KILL {
            // Dropping it kills it, with no chance to write anything.
            drop(egress_server);
            egress_server = here.egress()?;
        }
        if harness::is_long() && AWAY.contains(&round) {
            std::thread::sleep(AWAY_LONG / u32::try_from(AWAY.end - AWAY.start)?);
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

/// Again and again until it holds, within the time that things take to arrive.
fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let until = Instant::now() + ARRIVE_WITHIN;
    while !holds()? {
        ensure!(Instant::now() < until, "{what} did not come");
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn rules() -> Result<()> {
    let room = tempfile::Builder::new().prefix("vakt-rules").tempdir()?;
    let mut receiver = Receiver::new("prometheus", "prometheus", room.path())?;
    receiver.start()?;
    let config = format!("[[forward]]\nname = \"far\"\nurl = \"http://{}/api/v1/write\"\n", receiver.address);
    let here = Here::new(room.path(), &config)?;
    let file = room.path().join("own.rules.yml");
    let rule = "{record: recorded, expr: time()}";
    fs::write(&file, format!("groups:\n- name: own\n  interval: 1s\n  rules:\n  - {rule}\n"))?;
    let egress = here.egress()?;
    let store = here.store(&["--rules".into(), file.display().to_string()])?;
    let now_s =
        || -> Result<i64> { Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().cast_signed()) };
    until("what the rule records", || Ok(receiver.ask("count_over_time(recorded[5m])", now_s()?)? >= 5.0))?;
    // Of a stretch that is over both have the same.
    let end = now_s()? - 3;
    let both =
        |query: &str| Ok::<_, anyhow::Error>((receiver.ask(query, end)?, ask(here.store_at, query, end)?));
    until("all of it", || {
        let (there, here) = both("count_over_time(recorded[5m])")?;
        Ok(there == here && there > 0.0)
    })?;
    let (there, here) = both("sum_over_time(recorded[5m])")?;
    ensure!(there == here, "{there} there, {here} here");
    store.stop()?;
    egress.stop()?;
    receiver.stop()
}

/// The password of the pages' administrator.
const PASSWORD: &str = "correct horse battery";

fn password_hash() -> Result<String> {
    use std::io::Write as _;
    let mut child = Command::new(programs::path("vakt-web")?)
        .arg("hash-password")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    child.stdin.take().context("no standard input")?.write_all(PASSWORD.as_bytes())?;
    Ok(String::from_utf8(child.wait_with_output()?.stdout)?.trim().to_owned())
}

fn pages() -> Result<()> {
    let room = tempfile::Builder::new().prefix("vakt-read-from").tempdir()?;
    let mut engine = Receiver::new("victoria-metrics", "victoria-metrics", room.path())?;
    engine.start()?;
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().cast_signed();
    // Only the engine elsewhere knows this host, for some minutes by now.
    let series: Vec<TimeSeries> = ["node_memory_MemTotal_bytes", "node_memory_MemAvailable_bytes"]
        .into_iter()
        .map(|metric| TimeSeries {
            labels: vec![("__name__".into(), metric.into()), ("instance".into(), "far-away".into())],
            samples: (-40..=0).map(|n| (4e9, (now_s + n * 5) * 1000)).collect(),
        })
        .collect();
    let (status, _) = Connection::open(engine.address)?.remote_write(&encode(&series)?)?;
    ensure!(status == 204, "{status}");
    let base = format!("http://{}", engine.address);
    let admin = format!("[admin]\nuser = \"admin\"\npassword_hash = \"{}\"\n", password_hash()?);
    let here = Here::new(room.path(), &format!("[read_from]\nurl = \"{base}\"\n{admin}"))?;
    let egress = here.egress()?;
    let store = here.store(&[])?;
    let web_at = free_port()?;
    let mut command = Command::new(programs::path("vakt-web")?);
    command.arg("serve").arg("--config").arg(&here.config).arg("--data").arg(room.path().join("web"));
    command.args(["--listen", &web_at.to_string()]);
    for name in ["store", "egress", "log", "repair", "init", "collector", "update"] {
        command.arg(format!("--{name}")).arg(here.socket(name));
    }
    let web = Server::start(&mut command, web_at, &room.path().join("web.log"))?;
    let mut visitor = Visitor::new(web_at);
    visitor.open("/sign-in")?;
    let answer = visitor.send("/sign-in", &[("user", "admin"), ("password", PASSWORD)])?;
    visitor.expect(&answer, 200)?;
    let origin = format!("Numbers are from {base}");
    until("the host that only the engine knows", || {
        visitor.open("/")?;
        ensure!(visitor.page().contains(&origin), "the page does not say where its numbers are from");
        Ok(visitor.page().contains("/host/far-away"))
    })?;
    let answer = visitor.open("/host/far-away")?;
    visitor.expect(&answer, 200)?;
    ensure!(visitor.page().contains(&origin) && visitor.page().contains("in use"), "{}", visitor.page());
    engine.stop()?;
    visitor.open("/")?;
    let why = format!("Hosts cannot be shown: {base}");
    ensure!(visitor.page().contains(&why) && visitor.page().contains("refused"), "{}", visitor.page());
    web.stop()?;
    store.stop()?;
    egress.stop()?;
    Ok(())
}
