//! A store on a disk that is much smaller than what is written to it, by the real program: a tmpfs of 24 MiB takes some
//! 100 MB of log, and blocks that would be 75 MB.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod store;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use store::{Store, check, exchange, number, post, time_of};
use vakt_wire::remote_write::{TimeSeries, encode};

/// Series; each gets [`EACH`] samples a request.
const SERIES: u64 = 1_000;
const EACH: u64 = 20;

/// Requests of some 220 kB of log.
const REQUESTS: u64 = 440;

/// Of these requests so many may be told to come again: the writer never waits, and a block of the log takes a moment.
const REFUSED_MAX: u64 = REQUESTS / 20;

/// And no request may be refused for longer. Refusals tell to come after a second.
const REFUSED_FOR_MAX: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let name = "on a full disk the oldest go, the newest stay, and writers hardly notice";
    let trial = if rustix::process::geteuid().is_root() {
        Trial::test(name, || {
            fill();
            Ok(())
        })
    } else {
        let reason = format!("skipped: {name}: only root can mount a small disk");
        Trial::test(reason, || Ok(())).with_ignored_flag(true)
    };
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

/// A disk of 24 MiB, unmounted whatever becomes of the test.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> SmallDisk {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(folder.path());
        assert!(mount.status().unwrap().success());
        SmallDisk { folder }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, since a store that is being killed may still hold it.
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

/// A value without a pattern (splitmix64), so that blocks take room.
fn value(series: u64, step: u64) -> f64 {
    let mut x = (series << 32 | step).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ x >> 31) >> 11) as f64 / (1u64 << 53) as f64
}

const BEGIN_MS: i64 = 1_700_000_000_000;

fn body(request: u64) -> Vec<u8> {
    let one = |series: u64| {
        let labels = vec![("__name__".to_owned(), "m".to_owned()), ("n".to_owned(), series.to_string())];
        let steps = request * EACH..(request + 1) * EACH;
        let samples = steps.map(|step| (value(series, step), BEGIN_MS + step as i64 * 1000));
        TimeSeries { labels, samples: samples.collect() }
    };
    encode(&(0..SERIES).map(one).collect::<Vec<_>>()).unwrap()
}

/// Sends a request until it is taken; whether it had to be sent again.
fn send(store: &Store, request: u64) -> bool {
    let (body, begun, mut refused) = (body(request), Instant::now(), false);
    loop {
        let answer = post(store.port, "/api/v1/write", &body).unwrap();
        if answer.status == 204 {
            return refused;
        }
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status == 503 && answer.head.contains("retry-after: 1"), "{} {said}", answer.head);
        assert!(begun.elapsed() < REFUSED_FOR_MAX, "request {request}: {said}");
        refused = true;
        // Sooner than it was told to, so that the test is short.
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// All values of a step, by series.
fn at_step(store: &Store, step: u64) -> Vec<(u64, f64)> {
    let (status, answer) = store.get("/api/v1/query", &[("query", "m"), ("time", &time_of(step))]);
    assert_eq!(status, 200, "{answer}");
    let one = |one: &serde_json::Value| {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        (text(&one["metric"]["n"]).parse().unwrap(), text(&one["value"][1]).parse().unwrap())
    };
    let mut all: Vec<_> = answer["data"]["result"].as_array().unwrap().iter().map(one).collect();
    all.sort_by_key(|(series, _)| *series);
    all
}

/// The newest requests are there to the last bit, the first is gone, and between them is no gap. Returns how many samples a
/// series has left.
fn check_contents(store: &Store) -> u64 {
    let steps = REQUESTS * EACH;
    for step in steps - 5 * EACH..steps {
        let expected: Vec<(u64, f64)> = (0..SERIES).map(|series| (series, value(series, step))).collect();
        assert!(at_step(store, step) == expected, "step {step}");
    }
    assert_eq!(at_step(store, 0), []);
    let count = store.vector("count_over_time(m{n=\"7\"}[100y])")[0] as u64;
    let oldest = steps - count;
    assert_eq!(at_step(store, oldest)[7], (7, value(7, oldest)), "{count} are the newest of all");
    count
}

fn fill() {
    let disk = SmallDisk::mount();
    let data: &Path = &disk.data();
    let flags = ["--window", "5s", "--source-rate-max", "100000000"];
    let mut store = Store::start(data, &flags);
    let mut refused = 0;
    for request in 0..REQUESTS {
        refused += u64::from(send(&store, request));
        if request % 40 == 0 {
            let ready = exchange(store.port, "GET", "/-/ready", b"").unwrap();
            assert_eq!((ready.status, ready.body.as_slice()), (200, &b"ok\n"[..]));
            assert_eq!(at_step(&store, (request + 1) * EACH - 1).len() as u64, SERIES);
        }
    }
    let count = check_contents(&store);
    let dropped = number(&store, "vakt_store_blocks_dropped_full_total");
    let put_off = number(&store, "vakt_store_write_requests_put_off_total");
    let failed =
        number(&store, "vakt_store_wal_errors_total") + number(&store, "vakt_store_flush_errors_total");
    eprintln!(
        "{refused} of {REQUESTS} requests were refused ({put_off} times), {dropped} blocks went, {failed} writes failed, \
         {count} of {} samples of each series are left",
        REQUESTS * EACH
    );
    assert!(dropped > 0 && refused <= REFUSED_MAX, "{dropped} dropped, {refused} refused");
    store.kill();
    let store = Store::start(data, &flags);
    check_contents(&store);
    assert!(!send(&store, REQUESTS), "and writing goes on");
    drop(store);
    let (good, said) = check(data);
    assert!(good, "{said}");
}
