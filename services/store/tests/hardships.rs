//! What a store must live through, by the real program: a flood of series that never come again, and a disk that is full.
//!
//! `VAKT_TEST_LONG` (`make test-long`) floods with 1,200,000 series against the default limit of a million.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod store;

use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Trial};
use store::{Store, exchange, post};
use vakt_wire::remote_write::{TimeSeries, encode};

/// Series of a request of the flood.
const EACH: u64 = 2_000;

/// Memory that a series may take besides what the program has anyway: 200 bytes of key, 140 of tables, 100 of a hot sample, and
/// what the allocator and growing tables leave empty.
const SERIES_BYTES_MAX: u64 = 1_100;

/// Memory of the program without series: itself, two windows, buffers.
const BASE_BYTES_MAX: u64 = 160 << 20;

/// Room of the small disk.
const DISK: &str = "24m";

fn main() -> ExitCode {
    let flood =
        Trial::test("a flood of series ends at the limit in bounded memory and nobody else feels it", || {
            match std::env::var_os("VAKT_TEST_LONG") {
                Some(_) => flood(1_200_000, 1_000_000),
                None => flood(30_000, 10_000),
            }
            Ok(())
        });
    let name = "on a full disk the oldest goes and what is acknowledged last is there after a kill";
    let full = if rustix::process::geteuid().is_root() {
        Trial::test(name, || {
            full_disk();
            Ok(())
        })
    } else {
        let reason = format!("skipped: {name}: mounting a small disk needs root");
        Trial::test(reason, || Ok(())).with_ignored_flag(true)
    };
    libtest_mimic::run(&Arguments::from_args(), vec![flood, full]).exit_code()
}

fn label(name: &str, value: impl ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}

const BEGIN_MS: i64 = 1_700_000_000_000;

/// One sample of the series that goes on through everything; whether it was acknowledged.
fn calm(store: &Store, n: i64) -> bool {
    let labels = vec![label("__name__", "calm")];
    let one = TimeSeries { labels, samples: vec![(n as f64, BEGIN_MS + n * 1000)] };
    post(store.port, "/api/v1/write", &encode(&[one]).unwrap()).is_ok_and(|answer| answer.status == 204)
}

fn number(store: &Store, metric: &str) -> u64 {
    let text = String::from_utf8(exchange(store.port, "GET", "/metrics", b"").unwrap().body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {metric}")).parse().unwrap()
}

fn flood(series: u64, limit: u64) {
    let data = tempfile::tempdir().unwrap();
    let max = limit.to_string();
    let flags = ["--series-max", &max, "--source-series-max", &max, "--source-rate-max", "100000000"];
    let flags = [&flags[..], &["--web.enable-admin-api"]].concat();
    let mut store = Store::start(data.path(), &flags);
    assert!(calm(&store, 0));
    let (mut refused, mut said) = (0, String::new());
    for request in 0..series / EACH {
        let one = |n: u64| {
            let id = request * EACH + n;
            let labels = vec![
                label("__name__", "attack"),
                label("address", format!("10.{}.{}.{}", id >> 16 & 255, id >> 8 & 255, id & 255)),
                label("id", format!("{:016x}", id.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
                label("instance", format!("host-{}", id % 97)),
                label("job", "flood"),
                label("path", format!("/some/path/of/a/user/{}", id % 4099)),
            ];
            TimeSeries { labels, samples: vec![(1.0, BEGIN_MS + request as i64)] }
        };
        let body = encode(&(0..EACH).map(one).collect::<Vec<_>>()).unwrap();
        let answer = loop {
            let answer = post(store.port, "/api/v1/write", &body).unwrap();
            // Blocks cannot be written as fast as a flood fills memory: it is told to come again.
            if answer.status != 503 {
                break answer;
            }
            std::thread::yield_now();
        };
        refused += u64::from(answer.status == 400);
        said = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(calm(&store, request as i64 + 1), "request {request}");
    }
    let calm_count = series / EACH + 1;
    assert!(refused > 0 && said.contains("its limit of"), "{refused} refused: {said}");
    assert_eq!(number(&store, "vakt_store_series"), limit);
    let peak = store.peak_rss_bytes();
    let bound = BASE_BYTES_MAX + limit * SERIES_BYTES_MAX;
    eprintln!("{limit} of {series} series: {} MiB at the most, bound {} MiB", peak >> 20, bound >> 20);
    assert!(peak <= bound, "{peak} bytes, more than {bound}");
    store.kill();
    let store = Store::start(data.path(), &flags);
    assert_eq!(store.vector("count_over_time(calm[100y])"), [calm_count as f64]);
    // Deleting the flood makes room at once.
    let path = "/api/v1/admin/tsdb/delete_series?match[]=attack";
    assert_eq!(post(store.port, path, b"").unwrap().status, 204);
    assert_eq!(number(&store, "vakt_store_series"), 1);
    let after = TimeSeries { labels: vec![label("__name__", "after")], samples: vec![(1.0, BEGIN_MS)] };
    assert_eq!(post(store.port, "/api/v1/write", &encode(&[after]).unwrap()).unwrap().status, 204);
}

/// A tmpfs, unmounted at the end.
struct Small<'a>(&'a Path);

impl Small<'_> {
    fn mount(at: &Path) -> Small<'_> {
        let options = format!("size={DISK}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "vakt-small"]).arg(at).status();
        assert!(mounted.unwrap().success());
        Small(at)
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        // Lazily: a test that failed may have left a store in it.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

fn full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let _small = Small::mount(folder.path());
    // What bounds blocks by size is left out, so that the disk itself says that it is full.
    let flags = ["--retention-size", "10GB", "--window-mib", "1", "--source-rate-max", "100000000"];
    let mut store = Store::start(&folder.path().join("data"), &flags);
    let (mut last, mut refused, mut state) = (0, 0, 7u64);
    for round in 0..240i64 {
        // Values without a pattern: nothing makes them smaller.
        let samples = (0..10_000i64).map(|n| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (f64::from_bits(state >> 2), BEGIN_MS + round * 10_000 + n)
        });
        let one = TimeSeries { labels: vec![label("__name__", "noise")], samples: samples.collect() };
        let body = encode(&[one]).unwrap();
        // A sender tries again; here it does so a bounded number of times and goes on with newer samples.
        for _ in 0..200 {
            match post(store.port, "/api/v1/write", &body).unwrap().status {
                204 => {
                    last = round;
                    break;
                }
                503 => refused += 1,
                other => panic!("round {round}: {other}"),
            }
            std::thread::yield_now();
        }
    }
    let dropped = number(&store, "vakt_store_blocks_dropped_full_total");
    eprintln!("last acknowledged {last} of 239, {refused} told to come again, {dropped} blocks dropped");
    assert!(dropped > 0, "the disk was never full");
    assert!(last > 200, "writes went on: {last}");
    store.kill();
    let store = Store::start(&folder.path().join("data"), &flags);
    let at = BEGIN_MS + last * 10_000 + 9_999;
    let at = format!("{}.{:03}", at / 1000, at % 1000);
    assert_eq!(store.vector(&format!("count_over_time(noise[10s] @ {at})")), [10_000.0]);
}
