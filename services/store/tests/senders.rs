//! Real senders: Prometheus pushes what it scrapes of itself, in both versions of remote-write.
//!
//! Its program is looked for at VAKT_PROMETHEUS, then where the benchmarks unpack it; without it the test is skipped.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod store;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use store::{Store, exchange};

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
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
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
