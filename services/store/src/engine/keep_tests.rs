//! Series that are kept shorter and longer than the others.

use std::sync::Arc;

use super::tests::{NOW, request, settings, write};
use super::{Engine, KeepRule, Settings};
use crate::disk::Disk;
use crate::disk::simulated::SimulatedDisk;
use crate::series::Matcher;

const DAY: i64 = 86_400_000;

/// Series 1 is kept 2 days, series 2 60 days, all others 10.
fn rules() -> Settings {
    let rule = |n: &str, days: i64| KeepRule { matchers: vec![Matcher::equal("n", n)], keep_ms: days * DAY };
    Settings { retention_ms: 10 * DAY, keep_rules: vec![rule("1", 2), rule("2", 60)], ..settings() }
}

fn open(disk: &SimulatedDisk, settings: Settings) -> Arc<Engine> {
    Engine::open(Arc::new(disk.clone()), settings, Box::new(|| NOW)).unwrap().0
}

/// The days ago of each series' samples.
fn days(engine: &Engine) -> Vec<(String, Vec<i64>)> {
    let mut snapshot = engine.select(&[], i64::MIN, i64::MAX);
    let mut all: Vec<_> = (0..snapshot.len())
        .map(|index| {
            let n = snapshot.labels(index).get("n").to_owned();
            let times = snapshot.read(index, i64::MIN, i64::MAX).unwrap().times;
            (n, times.iter().map(|time| (NOW - time) / DAY).collect())
        })
        .collect();
    all.sort();
    all
}

fn expected() -> Vec<(String, Vec<i64>)> {
    vec![("1".into(), vec![1, 0]), ("2".into(), vec![50, 5, 1, 0]), ("3".into(), vec![5, 1, 0])]
}

#[test]
fn each_series_is_kept_as_long_as_its_rule_says() {
    let disk = SimulatedDisk::default();
    // Written when nothing was too old, as if the rules came later.
    let engine = open(&disk, settings());
    let samples = |days: &[i64]| -> Vec<(u8, i64, u64)> {
        days.iter().flat_map(|day| (1..=3).map(move |n| (n, NOW - day * DAY, 1))).collect()
    };
    write(&engine, &samples(&[70, 50, 5, 1, 0]));
    engine.flush().unwrap();
    assert_eq!(engine.levels().block_samples, 15);
    engine.close();

    let engine = open(&disk, rules());
    assert_eq!(days(&engine), expected(), "at once");
    engine.expire().unwrap();
    while engine.trim().unwrap() {}
    assert_eq!(days(&engine), expected());
    assert_eq!(engine.levels().block_samples, 9, "what is too old is on the disk no more");
    assert_eq!(engine.trim(), Ok(false));
    engine.close();
    assert_eq!(days(&open(&disk, rules())), expected(), "after a start");
    let unfinished = disk.list("blocks").unwrap().iter().filter(|name| !name.ends_with(".blk")).count();
    assert_eq!(unfinished, 0);
}

#[test]
fn what_a_rule_keeps_longer_is_taken_that_late() {
    let engine = open(&SimulatedDisk::default(), rules());
    let sent = request(&[(2, NOW - 59 * DAY, 1), (2, NOW - 61 * DAY, 1)]);
    let report = engine.write(&sent, "test", Box::new(|_| {})).unwrap();
    assert_eq!((report.accepted, report.dropped), (1, 1));
}

#[test]
fn a_merge_leaves_out_what_is_too_old() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, rules());
    for hour in 0..4 {
        write(&engine, &[(1, NOW - 5 * DAY + hour, 1), (3, NOW - 5 * DAY + hour, 1)]);
        engine.flush().unwrap();
    }
    write(&engine, &[(3, NOW, 1)]);
    assert_eq!(engine.levels().block_samples, 8);
    assert_eq!(engine.merge(), Ok(true));
    assert_eq!(engine.levels().block_samples, 4);
}
