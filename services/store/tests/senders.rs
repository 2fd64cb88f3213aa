//! Real senders and readers: Prometheus pushes what it scrapes of itself, in both versions of remote-write, and reads it by
//! remote-read.
//!
//! Its program is looked for at VAKT_PROMETHEUS, then where the benchmarks unpack it; without it the test is skipped.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod store;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use store::{Store, exchange, post};
use vakt_wire::remote_write::{TimeSeries, encode};

const PLACE: &str = "/var/cache/vakt/peers/sid-prometheus/usr/bin/prometheus";

/// It scrapes twice a second and sends once a second; on a busy machine it takes a while to begin.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// Samples after which enough was seen: some 600 a scrape.
const SAMPLES_MIN: u64 = 2_000;

fn main() -> ExitCode {
    let place = std::env::var_os("VAKT_PROMETHEUS").map_or_else(|| PathBuf::from(PLACE), PathBuf::from);
    let versions = [("1.0", "prometheus.WriteRequest"), ("2.0", "io.prometheus.write.v2.Request")];
    let trials = versions.map(|(version, message)| {
        let name = format!("prometheus pushes by remote-write {version} and nothing is refused");
        if !place.exists() {
            let reason = format!("skipped: {name}: no {}", place.display());
            return Trial::test(reason, || Ok(())).with_ignored_flag(true);
        }
        let place = place.clone();
        Trial::test(name, move || {
            check(&place, message);
            Ok(())
        })
    });
    let name = "prometheus reads what is stored by a stream of chunks, bit for bit";
    let reads = match place.exists() {
        true => Trial::test(name, move || {
            check_read(&place);
            Ok(())
        }),
        false => {
            let reason = format!("skipped: {name}: no {}", place.display());
            Trial::test(reason, || Ok(())).with_ignored_flag(true)
        }
    };
    let trials = trials.into_iter().chain([reads]).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Ended with the test.
struct Sender(Child);

impl Drop for Sender {
    fn drop(&mut self) {
        // It may have ended already, which is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &Path, room: &Path, message: &str, to: u16) -> (Sender, u16) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "global: {{scrape_interval: 500ms}}\nscrape_configs:\n- job_name: self\n  \
         static_configs: [{{targets: ['127.0.0.1:{port}']}}]\nremote_write:\n- url: http://127.0.0.1:{to}/api/v1/write\n  \
         protobuf_message: {message}\n  send_native_histograms: true\n  send_exemplars: true\n  \
         queue_config: {{batch_send_deadline: 1s}}\n"
    );
    std::fs::write(room.join("config.yml"), config).unwrap();
    let mut command = Command::new(program);
    command
        .arg(format!("--config.file={}", room.join("config.yml").display()))
        .arg(format!("--storage.tsdb.path={}", room.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args([
            "--enable-feature=native-histograms,metadata-wal-records,exemplar-storage",
            "--log.level=error",
        ]);
    (Sender(command.stdout(Stdio::null()).spawn().unwrap()), port)
}

/// The sum of a metric over its series.
fn metric(port: u16, name: &str) -> Option<u64> {
    let answer = exchange(port, "GET", "/metrics", b"").ok()?;
    let text = String::from_utf8(answer.body).ok()?;
    let values = text.lines().filter(|line| line.split([' ', '{']).next() == Some(name));
    let values: Vec<f64> = values.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() as u64)
}

fn check(program: &Path, message: &str) {
    let (data, room) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::start(data.path(), &[]);
    let (_sender, sender) = start(program, room.path(), message, store.port);
    let taken = |name: &str| metric(store.port, &format!("vakt_store_{name}_total")).unwrap();
    let begun = Instant::now();
    while taken("samples_ingested") < SAMPLES_MIN || taken("histograms_ingested") == 0 {
        assert!(begun.elapsed() < WAIT_MAX, "{} samples", taken("samples_ingested"));
        std::thread::sleep(Duration::from_millis(100));
    }
    // Asked in this order: what it has sent was taken before.
    let sent = metric(sender, "prometheus_remote_storage_samples_total").unwrap();
    let histograms = metric(sender, "prometheus_remote_storage_histograms_total").unwrap();
    for lost in
        ["samples_failed_total", "samples_retried_total", "histograms_failed_total", "exemplars_failed_total"]
    {
        assert_eq!(metric(sender, &format!("prometheus_remote_storage_{lost}")), Some(0), "{lost}");
    }
    assert!(taken("samples_ingested") >= sent && sent > 0, "{sent} sent");
    assert!(taken("histograms_ingested") >= histograms && histograms > 0, "{histograms} sent");
    for refused in ["time", "series_limit", "source_limit", "labels", "histogram"] {
        assert_eq!(taken(&format!("samples_dropped_{refused}")), 0, "{refused}");
    }
    assert_eq!(taken("write_requests_malformed"), 0);
    let up = store.vector("count_over_time(up{job=\"self\"}[5m])");
    assert!(up.len() == 1 && up[0] >= 2.0, "{up:?}");
}

/// Starts a Prometheus that has nothing of its own and reads from the store.
fn start_reader(program: &Path, room: &Path, from: u16) -> (Sender, u16) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!("remote_read:\n- url: http://127.0.0.1:{from}/api/v1/read\n  read_recent: true\n");
    std::fs::write(room.join("reader.yml"), config).unwrap();
    let mut command = Command::new(program);
    command
        .arg(format!("--config.file={}", room.join("reader.yml").display()))
        .arg(format!("--storage.tsdb.path={}", room.join("reader").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(["--enable-feature=native-histograms,promql-experimental-functions", "--log.level=warn"]);
    (Sender(command.stdout(Stdio::null()).spawn().unwrap()), port)
}

/// Floats of every kind of value and interval, gaps, markers of staleness, and histograms with resets.
fn fill(store: &Store) {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let value = |series: u64, n: i64| match series {
        0 => 5.0,
        1 => (n * n) as f64,
        2 => (n as f64 * 0.37).sin() * 1e6,
        3 => [f64::INFINITY, -0.0, f64::MIN_POSITIVE, 1e300][n as usize % 4],
        _ if n % 97 == 96 => stale,
        _ => n as f64 / 3.0,
    };
    let time = |series: u64, n: i64| BASE_MS + n * 15_000 + if series == 2 { (n * 7919) % 4000 } else { 0 };
    let all: Vec<TimeSeries> = (0..5u64)
        .map(|series| TimeSeries {
            labels: vec![label("__name__", "f"), label("s", &series.to_string())],
            samples: (0..1000)
                .filter(|n| series != 1 || n % 300 < 200)
                .map(|n| (value(series, n), time(series, n)))
                .collect(),
        })
        .collect();
    assert_eq!(post(store.port, "/api/v1/write", &encode(&all).unwrap()).unwrap().status, 204);
    // Series to choose from, some of them with values past what one byte can count.
    let chosen: Vec<TimeSeries> = (0..200)
        .map(|n| TimeSeries {
            labels: vec![
                label("__name__", "r"),
                label("long", &"x".repeat(if n % 10 == 0 { 254 + n } else { n })),
                label("n", &n.to_string()),
            ],
            samples: vec![(n as f64, BASE_MS + 15_999_000)],
        })
        .collect();
    assert_eq!(post(store.port, "/api/v1/write", &encode(&chosen).unwrap()).unwrap().status, 204);
    for value in (1..=150).chain(10..=60) {
        let body = store::histogram_body(if value % 2 == 0 { "h" } else { "g" }, value);
        assert_eq!(post(store.port, "/api/v1/write", &body).unwrap().status, 204);
    }
}

/// The first sample's time, as [`store::time_of`] has it too.
const BASE_MS: i64 = 1_700_000_000_000;

fn check_read(program: &Path) {
    let (data, room) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::start(data.path(), &[]);
    fill(&store);
    let (_reader, reader) = start_reader(program, room.path(), store.port);
    let begun = Instant::now();
    while exchange(reader, "GET", "/-/ready", b"").map_or(0, |answer| answer.status) != 200 {
        assert!(begun.elapsed() < WAIT_MAX, "prometheus does not start");
        std::thread::sleep(Duration::from_millis(100));
    }
    let end = (BASE_MS / 1000 + 16_000).to_string();
    let ask = |port: u16, query: &str| -> serde_json::Value {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let path = format!("/api/v1/query?query={escaped}&time={end}");
        let answer = exchange(port, "GET", &path, b"").unwrap();
        let mut answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].take()
    };
    for query in [
        "f[5h]",
        "f{s=~\"2|4\"}[1h] offset 1h",
        "{__name__=~\"g|h\"}[5h]",
        "sum(rate(f[5m] offset 20m)) by (s)",
        "histogram_quantile(0.9, rate(h[2m] offset 4h24m10s))",
        "histogram_count(increase(g[100s] offset 4h24m10s))",
        "resets(h[5h])",
        "nothing[5h]",
    ] {
        let (own, read) = (ask(store.port, query), ask(reader, query));
        let is_empty = own.as_array().unwrap().is_empty();
        assert_eq!(is_empty, query.starts_with("nothing"), "{query}");
        // What was stored is read bit for bit; of what is computed from it the two may round the last digit differently.
        if query.ends_with(']') || query.contains("] offset 1h") {
            assert_eq!(read, own, "{query}");
        } else {
            let numbers = |all: &serde_json::Value| -> Vec<f64> {
                let each = all.as_array().unwrap().iter();
                each.map(|one| one["value"][1].as_str().unwrap().parse().unwrap()).collect()
            };
            let (own, read) = (numbers(&own), numbers(&read));
            let close = |(a, b): (&f64, &f64)| a == b || (a - b).abs() <= 1e-9 * a.abs();
            assert!(own.len() == read.len() && own.iter().zip(&read).all(close), "{query}: {own:?} {read:?}");
        }
    }
    // Of many series both choose the same by their labels.
    for query in ["limit_ratio(0.3, r)", "limit_ratio(-0.7, r)"] {
        let chosen = |port: u16| {
            let answer = ask(port, query);
            let mut all: Vec<String> =
                answer.as_array().unwrap().iter().map(|one| one["metric"].to_string()).collect();
            all.sort();
            all
        };
        let own = chosen(store.port);
        assert!(own.len() > 30 && own.len() < 170, "{query}: {}", own.len());
        assert_eq!(own, chosen(reader), "{query}");
    }
    // What Prometheus counts for itself: each was answered by a stream.
    let text = String::from_utf8(exchange(reader, "GET", "/metrics", b"").unwrap().body).unwrap();
    let counted = text.lines().find(|line| {
        line.starts_with("prometheus_remote_read_client_queries_total{") && line.contains("\"chunked\"")
    });
    assert!(
        counted.is_some_and(|line| line.ends_with(" 10") && line.contains("code=\"200\"")),
        "{counted:?}"
    );
}
