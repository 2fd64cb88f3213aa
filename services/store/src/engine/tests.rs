//! The engine against a simple model, and on a disk that fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use proptest::prelude::*;

use super::{Engine, Report, Settings, SourceLimits};
use crate::block::{ColumnCache, FOLDER};
use crate::disk::Disk;
use crate::disk::simulated::SimulatedDisk;
use crate::histogram::Histogram;
use crate::ingest::WriteRequest;
use crate::samples::STALE_NAN;
use crate::tiers::{Aspect, Grain};

/// The clock of these tests.
pub(super) const NOW: i64 = 1_700_000_000_000;

/// 100 years.
pub(super) const CENTURY_MS: i64 = 100 * 365 * 86_400_000;

pub(super) type Model = BTreeMap<(u8, i64), u64>;

pub(super) fn settings() -> Settings {
    Settings {
        retention_ms: CENTURY_MS,
        tier_samples_min: 1,
        tier_worth: 0,
        tier_buckets_min: 2,
        ..Settings::default()
    }
}

pub(super) fn open(disk: &SimulatedDisk) -> Arc<Engine> {
    Engine::open(Arc::new(disk.clone()), settings(), Box::new(|| NOW)).unwrap().0
}

/// Whether a sample of these tests is a native histogram: series 4 and 5 have both kinds.
pub(super) fn is_histogram(n: u8, bits: u64) -> bool {
    n >= 4 && bits % 2 == 1
}

pub(super) fn histogram(bits: u64) -> Histogram {
    let mut histogram = Histogram { sum: f64::from_bits(bits), integer: true, ..Histogram::default() };
    // Some layouts, so that blocks hold several chunks of them.
    histogram.positive.push((bits % 3) as i32, (bits % 1000) as f64);
    histogram.count = (bits % 1000) as f64;
    histogram
}

pub(super) fn request(samples: &[(u8, i64, u64)]) -> WriteRequest {
    let mut request = WriteRequest::default();
    for &(n, time, bits) in samples {
        let (name, number) = (format!("m{n}"), n.to_string());
        let labels = [(&b"__name__"[..], name.as_bytes()), (b"n", number.as_bytes())];
        request.begin(labels).unwrap();
        if is_histogram(n, bits) {
            request.histogram(time, histogram(bits)).unwrap();
        } else {
            request.float(time, f64::from_bits(bits)).unwrap();
        }
    }
    assert_eq!(request.refused, (0, None));
    request
}

/// Writes and waits; returns whether it was acknowledged.
pub(super) fn write(engine: &Engine, samples: &[(u8, i64, u64)]) -> bool {
    let (sender, outcome) = mpsc::channel();
    let taken = engine.write(&request(samples), "test", Box::new(move |result| drop(sender.send(result))));
    taken.is_ok() && outcome.recv().is_ok_and(|result| result.is_ok())
}

pub(super) fn contents(engine: &Engine, from: i64, to: i64) -> Model {
    let mut found = Model::new();
    let mut snapshot = engine.select(&[], from, to);
    for index in 0..snapshot.len() {
        let n: u8 = snapshot.labels(index).get("n").parse().unwrap();
        let samples = snapshot.read(index, from, to).unwrap();
        for (time, value) in samples.times.iter().zip(&samples.values) {
            assert!(found.insert((n, *time), value.to_bits()).is_none(), "time {time} twice");
        }
        for (time, read) in &samples.histograms {
            let bits = read.sum.to_bits();
            assert!(read.same(&histogram(bits)), "{read:?}");
            assert!(found.insert((n, *time), bits).is_none(), "time {time} twice");
        }
    }
    found
}

/// How many floats each series has, as its coarse buckets tell.
pub(super) fn counted(engine: &Engine, width: i64) -> BTreeMap<u8, u64> {
    let mut found = BTreeMap::new();
    let mut snapshot = engine.select(&[], i64::MIN, i64::MAX);
    snapshot.coarsen(Grain::Multiples(width));
    for index in 0..snapshot.len() {
        let n: u8 = snapshot.labels(index).get("n").parse().unwrap();
        let samples = snapshot.read_buckets(index, i64::MIN, i64::MAX, Aspect::Count).unwrap();
        let counts = samples.values.iter().filter(|value| value.to_bits() != STALE_NAN);
        let count = counts.sum::<f64>() as u64;
        if n < 4 && count > 0 {
            found.insert(n, count);
        }
    }
    found
}

pub(super) fn counted_in(model: &Model) -> BTreeMap<u8, u64> {
    let mut counts = BTreeMap::new();
    for ((n, _), _) in model.iter().filter(|((n, _), bits)| *n < 4 && **bits != STALE_NAN) {
        *counts.entry(*n).or_default() += 1;
    }
    counts
}

fn blocks(disk: &SimulatedDisk) -> Vec<String> {
    let mut names = disk.list(FOLDER).unwrap();
    names.sort();
    names
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(u8, i64, u64)>),
    Flush,
    Merge,
    Downsample,
    Reopen,
    PowerCut(usize),
}

fn step() -> impl Strategy<Value = Step> {
    // Recent and regular, anywhere in the last months, or long ago.
    let time = prop_oneof![
        6 => (0i64..40).prop_map(|n| NOW - 200_000 + n * 5000),
        2 => (0i64..1000).prop_map(|n| NOW - n * 7_777_777),
        1 => (0i64..5).prop_map(|n| n * 1000),
    ];
    let value =
        prop_oneof![(0u32..50).prop_map(|v| f64::from(v).to_bits()), any::<u64>(), Just(0x7ff0000000000002)];
    prop_oneof![
        6 => prop::collection::vec((0u8..6, time, value), 1..20).prop_map(Step::Write),
        2 => Just(Step::Flush),
        1 => Just(Step::Merge),
        1 => Just(Step::Downsample),
        1 => Just(Step::Reopen),
        1 => (0usize..40).prop_map(Step::PowerCut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn the_store_holds_what_a_map_holds(steps in prop::collection::vec(step(), 1..40)) {
        let (mut disk, mut model) = (SimulatedDisk::default(), Model::new());
        let mut engine = open(&disk);
        for step in steps {
            match step {
                Step::Write(samples) => {
                    prop_assert!(write(&engine, &samples));
                    model.extend(samples.into_iter().map(|(n, time, bits)| ((n, time), bits)));
                }
                Step::Flush => engine.flush().unwrap(),
                Step::Merge => drop(engine.merge().unwrap()),
                Step::Downsample => drop(engine.downsample().unwrap()),
                Step::Reopen => {
                    engine.close();
                    engine = open(&disk);
                }
                Step::PowerCut(torn) => {
                    engine.close();
                    disk = disk.after_power_cut(torn);
                    engine = open(&disk);
                }
            }
            prop_assert_eq!(&contents(&engine, i64::MIN, i64::MAX), &model);
            for width in [60_000, 3_600_000] {
                prop_assert_eq!(counted(&engine, width), counted_in(&model));
            }
        }
        let (from, to) = (NOW - 150_000, NOW - 50_000);
        let part: Model = model.into_iter().filter(|((_, t), _)| (from..=to).contains(t)).collect();
        prop_assert_eq!(contents(&engine, from, to), part);
    }
}

/// Writes, flushes and merges until something fails; returns what was acknowledged and what was ever written.
fn run_until_failure(disk: &SimulatedDisk) -> (Model, BTreeMap<(u8, i64), Vec<u64>>) {
    let (mut acknowledged, mut written) = (Model::new(), BTreeMap::<_, Vec<u64>>::new());
    let Ok((engine, _)) = Engine::open(Arc::new(disk.clone()), settings(), Box::new(|| NOW)) else {
        return (acknowledged, written);
    };
    for round in 0..24u64 {
        let samples: Vec<_> =
            (0..4u8).map(|n| (n, NOW - 500_000 + (round as i64 / 2) * 5000, round)).collect();
        for &(n, time, bits) in &samples {
            written.entry((n, time)).or_default().push(bits);
        }
        if write(&engine, &samples) {
            acknowledged.extend(samples.into_iter().map(|(n, time, bits)| ((n, time), bits)));
        }
        if round % 3 == 2 {
            // A failure here is what the test is about.
            let _ = engine.flush();
            let _ = engine.merge();
            let _ = engine.downsample();
        }
    }
    engine.close();
    (acknowledged, written)
}

#[test]
fn nothing_acknowledged_is_lost_whichever_sync_the_disk_dies_at() {
    let whole = SimulatedDisk::default();
    run_until_failure(&whole);
    let syncs = whole.syncs();
    assert!(syncs > 40, "only {syncs} syncs");
    for nth in 1..=syncs {
        for torn in [0, 7, usize::MAX / 2] {
            let disk = SimulatedDisk::default();
            disk.fail_from(nth);
            let (acknowledged, written) = run_until_failure(&disk);
            let found = contents(&open(&disk.after_power_cut(torn)), i64::MIN, i64::MAX);
            for (key, bits) in &acknowledged {
                let there = found.get(key);
                // A later write that was not acknowledged may have reached the disk; nothing else may.
                let after: Vec<_> = written[key].iter().skip_while(|b| *b != bits).collect();
                assert!(
                    there.is_some_and(|b| after.contains(&b)),
                    "sync {nth}, torn {torn}: {key:?} is {there:?}"
                );
            }
            for (key, bits) in &found {
                assert!(written[key].contains(bits), "sync {nth}: {key:?} was never written");
            }
        }
    }
}

#[test]
fn a_log_that_failed_once_takes_writes_again_in_a_new_segment() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk);
    assert!(write(&engine, &[(1, NOW, 1)]));
    disk.fail_from(disk.syncs() + 1);
    assert!(!write(&engine, &[(1, NOW + 1, 2)]));
    disk.fail_from(u64::MAX);
    assert!(write(&engine, &[(1, NOW + 2, 3)]));
    engine.close();
    let found = contents(&open(&disk.after_power_cut(0)), i64::MIN, i64::MAX);
    assert_eq!(found, Model::from([((1, NOW), 1), ((1, NOW + 2), 3)]));
}

#[test]
fn merges_keep_the_number_of_blocks_small_and_the_last_value() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk);
    for round in 0..64u64 {
        assert!(write(&engine, &[(1, NOW, round), (2, NOW - 100_000 + round as i64 * 1000, round)]));
        engine.flush().unwrap();
        while engine.merge().unwrap() {}
    }
    assert!(blocks(&disk).len() <= 12, "{:?}", blocks(&disk));
    let found = contents(&engine, i64::MIN, i64::MAX);
    assert_eq!((found.len(), found[&(1, NOW)]), (65, 63));
    assert_eq!(contents(&open(&disk), i64::MIN, i64::MAX), found);
}

#[test]
fn a_corrupt_block_is_set_aside_and_the_rest_serves() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk);
    for (n, time) in [(1, NOW), (2, NOW + 1)] {
        write(&engine, &[(n, time, 5)]);
        engine.flush().unwrap();
    }
    let first = format!("{FOLDER}/{}", blocks(&disk)[0]);
    let mut bytes = 0;
    disk.damage(&first, |content| bytes = content.len());
    for at in 0..bytes {
        let copy = disk.after_power_cut(0);
        copy.damage(&first, |content| content[at] ^= 0x10);
        let engine = open(&copy);
        let mut snapshot = engine.select(&[], i64::MIN, i64::MAX);
        let read = (0..snapshot.len()).all(|index| snapshot.read(index, i64::MIN, i64::MAX).is_ok());
        drop(snapshot);
        let bad = blocks(&copy).iter().filter(|name| name.ends_with(".bad")).count();
        let found = contents(&engine, i64::MIN, i64::MAX);
        assert_eq!(found.get(&(2, NOW + 1)), Some(&5), "byte {at}");
        assert_eq!((found.len(), bad), (1, 1), "byte {at}, read {read}");
    }
}

#[test]
fn whole_blocks_expire_and_a_clock_that_jumped_ahead_deletes_nothing() {
    let disk = SimulatedDisk::default();
    let day = 86_400_000;
    let settings = Settings { retention_ms: 40 * day, ..Settings::default() };
    let open_at =
        |now: i64| Engine::open(Arc::new(disk.clone()), settings.clone(), Box::new(move || now)).unwrap().0;
    let engine = open_at(NOW);
    assert!(write(&engine, &[(1, NOW, 1)]));
    engine.flush().unwrap();
    engine.close();
    let engine = open_at(NOW + 90 * day);
    engine.expire().unwrap();
    assert_eq!(blocks(&disk).len(), 1, "the newest sample is as old as the clock is off");
    assert!(write(&engine, &[(1, NOW + 90 * day, 2)]));
    engine.expire().unwrap();
    assert_eq!(blocks(&disk).len(), 0);
    assert_eq!(contents(&engine, i64::MIN, i64::MAX).len(), 1);
}

#[test]
fn past_the_retention_by_size_the_oldest_blocks_go_and_are_counted() {
    let disk = SimulatedDisk::default();
    let settings = Settings { bytes_max: 1, ..Settings::default() };
    let engine = Engine::open(Arc::new(disk.clone()), settings, Box::new(|| NOW)).unwrap().0;
    for time in [NOW - 3, NOW - 2] {
        assert!(write(&engine, &[(1, time, 1)]));
        engine.flush().unwrap();
    }
    assert!(write(&engine, &[(1, NOW - 1, 1)]));
    engine.expire().unwrap();
    assert_eq!((blocks(&disk).len(), engine.counters().blocks_dropped_size.get()), (0, 2));
    assert_eq!(contents(&engine, i64::MIN, i64::MAX).len(), 1, "what is in memory stays");
}

#[test]
fn on_a_full_disk_the_oldest_blocks_go_and_what_is_acknowledged_is_there() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk);
    disk.limit(64 << 10);
    let mut acknowledged = Vec::new();
    for round in 0..400i64 {
        // Values without a pattern, so that blocks fill the disk.
        let samples: Vec<(u8, i64, u64)> = (0..64)
            .map(|n| {
                (1, NOW + round * 64 + n, ((round * 64 + n) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 12)
            })
            .collect();
        if write(&engine, &samples) {
            acknowledged = samples;
        }
        let _ = engine.flush();
        while engine.make_room().unwrap() {
            let _ = engine.flush();
        }
    }
    let last = acknowledged.last().map(|(_, time, _)| *time).unwrap();
    assert!(last > NOW + 350 * 64, "writes went on to the end: {last}");
    assert!(engine.counters().blocks_dropped_full.get() > 5);
    engine.close();
    let found = contents(&open(&disk.after_power_cut(0)), i64::MIN, i64::MAX);
    for (series, time, value) in acknowledged {
        assert_eq!(found.get(&(series, time)), Some(&value), "{time}");
    }
}

#[test]
fn samples_outside_the_rules_are_dropped_and_named_and_the_rest_is_stored() {
    let disk = SimulatedDisk::default();
    let settings =
        Settings { series_max: 2, retention_ms: 1000, window: Duration::MAX, ..Settings::default() };
    let engine = Engine::open(Arc::new(disk), settings, Box::new(|| NOW)).unwrap().0;
    let report =
        |samples: &[(u8, i64, u64)]| engine.write(&request(samples), "test", Box::new(|_| {})).unwrap();
    let Report { accepted, dropped, reason, .. } = report(&[(1, NOW, 1), (1, NOW - 1001, 1), (2, NOW, 1)]);
    assert_eq!((accepted, dropped), (2, 1));
    assert_eq!(reason.unwrap(), "sample at 1699999998999 ms is outside the retention");
    let Report { accepted, dropped, reason, .. } = report(&[(3, NOW, 1), (2, NOW + 1, 1)]);
    assert_eq!((accepted, dropped), (1, 1));
    assert_eq!(reason.unwrap(), "the store holds its limit of 2 series");
    assert_eq!(engine.counters().dropped_time.get(), 1);
    assert_eq!(engine.counters().dropped_series.get(), 1);
}

#[test]
fn a_flood_of_new_series_ends_at_the_limit_of_its_source_and_nobody_else_feels_it() {
    let source = SourceLimits { series_max: 5_000, rate_max: 1_000_000 };
    let settings = Settings { series_max: 1_000_000, source, ..settings() };
    let engine = Engine::open(Arc::new(SimulatedDisk::default()), settings, Box::new(|| NOW)).unwrap().0;
    let (mut bytes, mut dropped) = (0, 0);
    for round in 0..50u64 {
        let mut flood = WriteRequest::default();
        for n in 0..1_000u64 {
            let id = format!("{round}-{n}");
            flood.begin([(&b"__name__"[..], &b"flood"[..]), (b"id", id.as_bytes())]).unwrap();
            flood.float(NOW, 1.0).unwrap();
        }
        let report = engine.write(&flood, "wild", Box::new(|_| {})).unwrap();
        dropped += report.dropped;
        if round == 4 {
            bytes = engine.levels().hot_bytes;
        }
        let said = report.reason.unwrap_or_default();
        assert_eq!(said.contains("its limit of 5000 series"), round >= 5, "{said}");
    }
    let levels = engine.levels();
    assert_eq!((levels.series, levels.hot_bytes, dropped), (5_000, bytes, 45_000));
    assert_eq!(engine.counters().dropped_source.get(), 45_000);
    assert_eq!(engine.write(&request(&[(1, NOW, 1)]), "calm", Box::new(|_| {})).unwrap().accepted, 1);
    let sources = engine.sources();
    let seen: Vec<_> = sources.iter().map(|(name, s)| (name.as_str(), s.series, s.dropped_series)).collect();
    assert_eq!(seen, [("calm", 1, 0), ("wild", 5_000, 45_000)]);
}

#[test]
fn a_merge_that_was_cut_short_is_finished_or_forgotten_at_the_next_start() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk);
    for round in 0..4u64 {
        write(&engine, &[(1, NOW + round as i64, round)]);
        engine.flush().unwrap();
    }
    let parts = disk.after_power_cut(0);
    assert!(engine.merge().unwrap());
    let merged = blocks(&disk);
    assert_eq!(merged.len(), 1);
    // The state between the merged block's commit and the removal of its parts.
    let (source, mut target) = (
        disk.open(&format!("{FOLDER}/{}", merged[0])).unwrap(),
        parts.create(&format!("{FOLDER}/{}", merged[0])).unwrap(),
    );
    let mut bytes = vec![0; source.bytes().unwrap() as usize];
    source.read_at(0, &mut bytes).unwrap();
    target.append(&bytes).unwrap();
    let engine = open(&parts);
    assert_eq!(blocks(&parts), merged);
    assert_eq!(contents(&engine, i64::MIN, i64::MAX).len(), 4);
}

#[test]
fn series_of_one_scrape_share_their_column_of_times() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk);
    // Jittered, so that the times need a column.
    let time = |n: i64| NOW + n * 5000 + (n * n * 7919) % 13;
    for n in 0..200 {
        let samples: Vec<_> = (0..50u8).map(|series| (series, time(n), (series as u64) << 40)).collect();
        write(&engine, &samples);
    }
    engine.flush().unwrap();
    let block = engine.lock().blocks[0].clone();
    assert!(block.file_bytes() < 200 * 50, "{} bytes for 10,000 samples", block.file_bytes());
    let id = block.series().next().unwrap();
    let samples = block.read(id, i64::MIN, i64::MAX, &mut ColumnCache::default()).unwrap();
    assert_eq!(samples.times, (0..200).map(time).collect::<Vec<_>>());
}

#[test]
fn a_log_segment_that_could_not_be_removed_does_not_bring_old_values_back() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk);
    assert!(write(&engine, &[(1, NOW, 1)]));
    let stale = disk.after_power_cut(0);
    engine.flush().unwrap();
    assert!(write(&engine, &[(1, NOW, 2)]));
    engine.flush().unwrap();
    engine.close();
    // The first segment is there again, as after a removal that never became durable.
    let name = crate::wal::segment_name(1);
    let source = stale.open(&name).unwrap();
    let mut bytes = vec![0; source.bytes().unwrap() as usize];
    source.read_at(0, &mut bytes).unwrap();
    disk.create(&name).unwrap().append(&bytes).unwrap();
    let engine = open(&disk);
    assert_eq!(contents(&engine, i64::MIN, i64::MAX), Model::from([((1, NOW), 2)]));
    assert!(write(&engine, &[(1, NOW, 3)]));
    engine.close();
    assert_eq!(contents(&open(&disk), i64::MIN, i64::MAX), Model::from([((1, NOW), 3)]));
}
