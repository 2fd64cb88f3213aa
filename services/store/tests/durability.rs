//! The real binary, the real disk: killed and stopped while it is written to.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use store::{Store, body};
use vakt_store::disk::RealDisk;
use vakt_store::engine::{Engine, Settings};

/// Threads that write.
const WRITERS: u64 = 4;

/// Series of each request.
const SERIES: u64 = 20;

/// Writes counters until `stop`, or until the store is gone. Returns the last value acknowledged.
fn write_until(port: u16, writer: u64, first: u64, stop: &AtomicBool, acknowledged: &AtomicU64) -> u64 {
    let mut last = first;
    while !stop.load(Ordering::Relaxed) {
        let next = last + 1;
        match store::post(port, "/api/v1/write", &body(writer, SERIES, next)) {
            Ok(answer) if answer.status == 204 => {
                last = next;
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            // Not acknowledged: killed, or draining.
            _ => break,
        }
    }
    last
}

/// Runs writers until some hundred requests were acknowledged, then `end`s the store under them. Returns each
/// writer's last acknowledged value.
fn load(store: &mut Store, firsts: &[u64], end: impl FnOnce(&mut Store)) -> Vec<u64> {
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (0..WRITERS)
        .zip(firsts.iter().copied())
        .map(|(writer, first)| {
            let (stop, acknowledged, port) = (stop.clone(), acknowledged.clone(), store.port);
            thread::spawn(move || write_until(port, writer, first, &stop, &acknowledged))
        })
        .collect();
    while acknowledged.load(Ordering::Relaxed) < 200 && !writers.iter().all(thread::JoinHandle::is_finished) {
        thread::yield_now();
    }
    end(store);
    stop.store(true, Ordering::Relaxed);
    writers.into_iter().map(|writer| writer.join().unwrap()).collect()
}

/// Every value from 1 to the last acknowledged one is there.
fn check_all_there(store: &Store, lasts: &[u64]) {
    for (writer, &last) in lasts.iter().enumerate() {
        let time = store::time_of(last);
        let query = format!("count_over_time(m{{writer=\"{writer}\"}}[100y] @ {time})");
        let found = store.vector(&query);
        assert_eq!(found.len() as u64, SERIES, "writer {writer}");
        assert!(found.iter().all(|&count| count == last as f64), "writer {writer}: {found:?}, not {last}");
        let newest = store.vector(&format!("m{{writer=\"{writer}\"}} @ {time}"));
        assert!(newest.iter().all(|&value| value == last as f64), "writer {writer}: {newest:?}, not {last}");
    }
}

#[test]
fn kill_nine_at_any_moment_loses_nothing_acknowledged() {
    let data = tempfile::tempdir().unwrap();
    let mut lasts = vec![0; WRITERS as usize];
    for _round in 0..6 {
        // A window this small is flushed and merged all the time.
        let mut store = Store::start(data.path(), &["--window", "50ms"]);
        lasts = load(&mut store, &lasts, Store::kill);
        let store = Store::start(data.path(), &[]);
        check_all_there(&store, &lasts);
        drop(store);
    }
    assert!(lasts.iter().sum::<u64>() > 1000, "{lasts:?}");
}

#[test]
fn sigterm_under_load_exits_zero_and_loses_nothing() {
    let data = tempfile::tempdir().unwrap();
    let mut store = Store::start(data.path(), &[]);
    let lasts = load(&mut store, &vec![0; WRITERS as usize], |store| {
        assert_eq!(store.terminate().code(), Some(0));
    });
    let store = Store::start(data.path(), &[]);
    check_all_there(&store, &lasts);
}

#[test]
fn a_second_store_on_the_same_directory_does_not_start() {
    let data = tempfile::tempdir().unwrap();
    let _store = Store::start(data.path(), &[]);
    let refused = Store::start_refused(data.path());
    assert!(refused.contains("another process has this data directory open"), "{refused}");
}

#[test]
fn check_finds_every_block_good_after_a_run_and_names_a_damaged_one() {
    let data = tempfile::tempdir().unwrap();
    let mut store = Store::start(data.path(), &["--window", "50ms"]);
    load(&mut store, &vec![0; WRITERS as usize], |store| assert!(store.terminate().success()));
    let (good, said) = store::check(data.path());
    assert!(good && said.contains("0 damaged"), "{said}");
    let blocks = data.path().join("blocks");
    let block = std::fs::read_dir(&blocks).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&block).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&block, bytes).unwrap();
    let (good, said) = store::check(data.path());
    assert!(!good && said.contains("1 damaged") && said.contains("checksum"), "{said}");
}

#[test]
fn exemplars_are_there_after_a_kill_whether_their_samples_are_in_the_log_or_in_blocks() {
    let data = tempfile::tempdir().unwrap();
    let start = || Store::start(data.path(), &["--web.enable-admin-api"]);
    let write = |store: &Store, value: u64| {
        assert_eq!(
            store::post(store.port, "/api/v1/write", &store::exemplar_body(value)).unwrap().status,
            204
        );
    };
    let admin = |store: &Store, what: &str| {
        let path = format!("/api/v1/admin/tsdb/{what}");
        store::post(store.port, &path, b"").unwrap().status
    };
    let found = |store: &Store| -> Vec<String> {
        let span = [("query", "e"), ("start", "0"), ("end", "2000000000")];
        let (status, answer) = store.get("/api/v1/query_exemplars", &span);
        assert_eq!(status, 200, "{answer}");
        let all = answer["data"].as_array().unwrap().iter();
        let all = all.flat_map(|one| one["exemplars"].as_array().unwrap().clone());
        all.map(|one| one["labels"]["trace_id"].as_str().unwrap().to_owned()).collect()
    };
    let mut store = start();
    (1..=3).for_each(|value| write(&store, value));
    store.kill();
    let mut store = start();
    assert_eq!(found(&store), ["1", "2", "3"]);
    write(&store, 4);
    // A snapshot writes memory to blocks.
    assert_eq!(admin(&store, "snapshot"), 200);
    write(&store, 5);
    store.kill();
    let beside = || {
        let names = std::fs::read_dir(data.path().join("wal")).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.ends_with(".wal"));
        names.sort();
        names
    };
    assert_eq!(beside().len(), 2, "{:?}", beside());
    let mut store = start();
    assert_eq!(found(&store), ["1", "2", "3", "4", "5"]);
    assert_eq!(admin(&store, "snapshot"), 200);
    assert!(store.terminate().success());
    assert_eq!(beside(), ["exemplars"]);
    let mut store = start();
    assert_eq!(found(&store), ["1", "2", "3", "4", "5"]);
    let (from, to) = (store::time_of(2), store::time_of(4));
    assert_eq!(admin(&store, &format!("delete_series?match[]=e&start={from}&end={to}")), 204);
    assert_eq!(found(&store), ["1", "5"]);
    store.kill();
    // What is broken costs what is in it, and nothing else.
    let file = data.path().join("wal/exemplars");
    let mut bytes = std::fs::read(&file).unwrap();
    assert_eq!(found(&start()), ["1", "5"]);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let store = start();
    assert_eq!(found(&store), [""; 0]);
    assert_eq!(store.vector("count_over_time(e[100y])"), [2.0]);
}

/// A copy of a pinned data directory.
fn pinned(version: &str) -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let pinned = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(version);
    for folder in ["blocks", "wal"] {
        std::fs::create_dir(data.path().join(folder)).unwrap();
        // An empty one is not kept.
        for entry in std::fs::read_dir(pinned.join(folder)).into_iter().flatten() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), data.path().join(folder).join(entry.file_name())).unwrap();
        }
    }
    data
}

fn check_metrics(store: &Store, lines: &[&str]) {
    let metrics = store::exchange(store.port, "GET", "/metrics", b"").unwrap().body;
    let metrics = String::from_utf8(metrics).unwrap();
    for line in lines {
        assert!(metrics.lines().any(|found| found == *line), "{line} is not in\n{metrics}");
    }
}

fn check_pinned_floats(store: &Store) {
    assert_eq!(store.vector("count_over_time(m[100y])"), [102.0; 10]);
    assert_eq!(store.vector("sum_over_time(m[100y])"), [f64::from(102 * 103 / 2); 10]);
}

/// Written by the first version of the format; it must open for ever.
#[test]
fn the_data_directory_of_version_one_opens() {
    let data = pinned("v1");
    let store = Store::start(data.path(), &[]);
    check_metrics(
        &store,
        &["vakt_store_blocks 1", "vakt_store_block_samples 1000", "vakt_store_hot_samples 20"],
    );
    check_pinned_floats(&store);
}

/// The second version has native histograms. `VAKT_PIN=DIR` writes such a directory anew, for a new version that is to be
/// pinned beside this one.
#[test]
fn the_data_directory_of_version_two_opens() {
    if let Some(folder) = std::env::var_os("VAKT_PIN") {
        return pin(std::path::Path::new(&folder));
    }
    let data = pinned("v2");
    let mut store = Store::start(data.path(), &[]);
    check_metrics(
        &store,
        &["vakt_store_blocks 1", "vakt_store_block_samples 1100", "vakt_store_hot_samples 22"],
    );
    check_pinned_floats(&store);
    assert!(store.terminate().success());
    let (good, said) = store::check(data.path());
    assert!(good && said.contains("0 damaged"), "{said}");
    assert_eq!(histogram_counts(data.path()), (1..=102).map(f64::from).collect::<Vec<_>>());
}

/// The third version is of blocks that were written once more to lie for years: 500 values of 4 series, of which there are 32 different
/// ones in a dictionary. Their sum is that of the values that were sent, by Python's `math.fsum`.
#[test]
fn the_data_directory_of_version_three_opens() {
    let data = pinned("v3");
    let mut store = Store::start(data.path(), &[]);
    check_metrics(&store, &["vakt_store_blocks 1", "vakt_store_block_samples 2000"]);
    assert_eq!(store.vector("count_over_time(d[100y])"), [500.0; 4]);
    assert_eq!(store.vector("sum(sum_over_time(d[100y]))"), [7963.726408370712]);
    assert!(store.terminate().success());
    let (good, said) = store::check(data.path());
    assert!(good && said.contains("0 damaged"), "{said}");
}

/// The counts of the pinned histograms, read by the engine itself.
fn histogram_counts(data: &std::path::Path) -> Vec<f64> {
    let disk = Arc::new(RealDisk::open(data).unwrap());
    let settings = Settings { retention_ms: i64::MAX / 4, ..Settings::default() };
    let (engine, _) = Engine::open(disk, settings, Box::new(|| 1_800_000_000_000)).unwrap();
    let mut snapshot = engine.select(&[], i64::MIN, i64::MAX);
    let index = (0..snapshot.len()).find(|&index| snapshot.labels(index).get("__name__") == "h").unwrap();
    let samples = snapshot.read(index, i64::MIN, i64::MAX).unwrap();
    for (_, histogram) in &samples.histograms {
        assert_eq!(histogram.validate(), Ok(()));
        assert_eq!((histogram.sum, &histogram.positive.counts), (histogram.count, &vec![histogram.count]));
    }
    samples.histograms.iter().map(|(_, histogram)| histogram.count).collect()
}

/// 100 values of 10 series and 100 histograms in a block, two more of each in the log.
fn pin(data: &std::path::Path) {
    let write = |store: &Store, values: std::ops::RangeInclusive<u64>| {
        for value in values {
            for body in [body(0, 10, value), store::histogram_body("h", value)] {
                let answer = store::post(store.port, "/api/v1/write", &body).unwrap();
                assert_eq!(answer.status, 204, "{}", String::from_utf8_lossy(&answer.body));
            }
        }
    };
    let mut store = Store::start(data, &[]);
    write(&store, 1..=100);
    store.kill();
    // A window of no time is written to a block as soon as it holds anything.
    let mut store = Store::start(data, &["--window", "1ms"]);
    while std::fs::read_dir(data.join("blocks")).unwrap().all(|entry| {
        let name = entry.unwrap().file_name();
        name.to_str().is_some_and(|name| name.ends_with(".tmp"))
    }) {
        std::thread::yield_now();
    }
    assert!(store.terminate().success());
    let store = Store::start(data, &[]);
    write(&store, 101..=102);
}
