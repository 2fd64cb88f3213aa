//! Deletions against a simple model, on a disk that fails, and snapshots that another engine opens.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::tests::{Model, NOW, contents, counted, counted_in, open, settings, write};
use super::{Engine, Settings};
use crate::block::FOLDER;
use crate::deletions::DELETIONS_MAX;
use crate::disk::Disk;
use crate::disk::simulated::SimulatedDisk;
use crate::series::{MatchOp, Matcher};
use crate::tiers::{Aspect, Grain};

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(u8, i64, u64)>),
    /// Series with a number in this range, from and to.
    Delete(std::ops::RangeInclusive<u8>, i64, i64),
    Clean,
    Flush,
    Merge,
    Downsample,
    Reopen,
    PowerCut(usize),
}

/// Recent, or in one of two partitions that are over.
fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => (0i64..40).prop_map(|n| NOW - 200_000 + n * 5000),
        3 => (0i64..2000).prop_map(|n| NOW - 60 * 86_400_000 + n * 20_000),
        1 => (0i64..1000).prop_map(|n| NOW - n * 7_777_777),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let span = prop_oneof![
        1 => Just((i64::MIN, i64::MAX)),
        3 => (time(), time()).prop_map(|(a, b)| (a.min(b), a.max(b))),
        1 => time().prop_map(|at| (at, i64::MAX)),
    ];
    let value = prop_oneof![(0u32..50).prop_map(|v| f64::from(v).to_bits()), Just(0x7ff0000000000002)];
    prop_oneof![
        6 => prop::collection::vec((0u8..6, time(), value), 1..30).prop_map(Step::Write),
        3 => ((0u8..6), (0u8..6), span)
            .prop_map(|(a, b, (from, to))| Step::Delete(a.min(b)..=a.max(b), from, to)),
        2 => Just(Step::Clean),
        2 => Just(Step::Flush),
        1 => Just(Step::Merge),
        2 => Just(Step::Downsample),
        1 => Just(Step::Reopen),
        1 => (0usize..40).prop_map(Step::PowerCut),
    ]
}

fn chosen(range: &std::ops::RangeInclusive<u8>) -> Vec<Matcher> {
    let names: Vec<String> = range.clone().map(|n| n.to_string()).collect();
    vec![Matcher::new(MatchOp::Regex, "n", &names.join("|")).unwrap()]
}

/// The series that are listed, and the values of their label.
fn listed(engine: &Engine) -> (Vec<u8>, Vec<u8>) {
    let snapshot = engine.select(&[], i64::MIN, i64::MAX);
    let mut series: Vec<u8> =
        (0..snapshot.len()).map(|index| snapshot.labels(index).get("n").parse().unwrap()).collect();
    series.sort_unstable();
    let values = engine.label_values("n", &[], i64::MIN, i64::MAX);
    let mut values: Vec<u8> = values.iter().map(|value| value.parse().unwrap()).collect();
    values.sort_unstable();
    (series, values)
}

fn series_in(model: &Model) -> Vec<u8> {
    let mut series: Vec<u8> = model.keys().map(|(n, _)| *n).collect();
    series.dedup();
    series
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn what_was_deleted_is_gone_for_every_reader_and_the_rest_is_there(steps in prop::collection::vec(step(), 1..40)) {
        let (mut disk, mut model) = (SimulatedDisk::default(), Model::new());
        let mut engine = open(&disk);
        for step in steps {
            match step {
                Step::Write(samples) => {
                    prop_assert!(write(&engine, &samples));
                    model.extend(samples.into_iter().map(|(n, time, bits)| ((n, time), bits)));
                }
                Step::Delete(range, from, to) => {
                    engine.delete(&chosen(&range), from, to).unwrap();
                    model.retain(|(n, time), _| !(range.contains(n) && (from..=to).contains(time)));
                }
                Step::Clean => {
                    engine.clean().unwrap();
                    prop_assert_eq!(engine.levels().deletions, 0);
                    prop_assert_eq!(engine.levels().series, series_in(&model).len() as u64);
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
            let series = series_in(&model);
            prop_assert_eq!(listed(&engine), (series.clone(), series));
        }
    }
}

/// Writes, deletes and cleans until something fails. Returns what must be there, and what must not.
fn run_until_failure(disk: &SimulatedDisk) -> (Model, Vec<(u8, i64)>) {
    let (mut there, mut gone) = (Model::new(), Vec::new());
    let Ok((engine, _)) = Engine::open(Arc::new(disk.clone()), settings(), Box::new(|| NOW)) else {
        return (there, gone);
    };
    for round in 0..16i64 {
        let samples: Vec<_> = (0..3u8).map(|n| (n, NOW - 60 * 86_400_000 + round * 600_000, 4)).collect();
        if write(&engine, &samples) {
            there.extend(samples.iter().map(|&(n, time, bits)| ((n, time), bits)));
        }
        if round % 3 == 1 {
            let range = 0..=(round % 2) as u8;
            let (from, to) = (NOW - 60 * 86_400_000, NOW - 60 * 86_400_000 + (round - 1) * 600_000);
            let hit = |(n, time): &(u8, i64)| range.contains(n) && (from..=to).contains(time);
            let hits: Vec<(u8, i64)> = there.keys().copied().filter(|key| hit(key)).collect();
            // One that failed may be in force after the next start: neither is promised.
            there.retain(|key, _| !hit(key));
            if engine.delete(&chosen(&range), from, to).is_ok() {
                gone.extend(hits);
            }
        }
        // A failure here is what the test is about.
        let _ = engine.flush();
        let _ = engine.merge();
        let _ = engine.downsample();
        if round % 5 == 4 {
            let _ = engine.clean();
        }
    }
    engine.close();
    (there, gone)
}

#[test]
fn no_acknowledged_deletion_is_undone_whichever_sync_the_disk_dies_at() {
    let whole = SimulatedDisk::default();
    run_until_failure(&whole);
    let syncs = whole.syncs();
    assert!(syncs > 60, "only {syncs} syncs");
    for nth in 1..=syncs {
        for torn in [0, 7, usize::MAX / 2] {
            let disk = SimulatedDisk::default();
            disk.fail_from(nth);
            let (there, gone) = run_until_failure(&disk);
            let disk = disk.after_power_cut(torn);
            for start in 0..2 {
                let engine = open(&disk);
                let found = contents(&engine, i64::MIN, i64::MAX);
                for (key, bits) in &there {
                    assert_eq!(found.get(key), Some(bits), "sync {nth}, torn {torn}, start {start}: {key:?}");
                }
                for key in &gone {
                    assert!(
                        !found.contains_key(key),
                        "sync {nth}, torn {torn}, start {start}: {key:?} is back"
                    );
                }
                assert_eq!(counted(&engine, 3_600_000), counted_in(&found), "sync {nth}, torn {torn}");
                engine.clean().unwrap();
                assert_eq!(contents(&engine, i64::MIN, i64::MAX), found, "sync {nth}, torn {torn}, cleaned");
                engine.close();
            }
        }
    }
}

#[test]
fn the_room_of_deleted_series_is_given_back_at_once() {
    let disk = SimulatedDisk::default();
    let limited = Settings { series_max: 3, ..settings() };
    let engine = Engine::open(Arc::new(disk.clone()), limited, Box::new(|| NOW)).unwrap().0;
    assert!(write(&engine, &[(0, NOW, 2), (1, NOW, 2), (2, NOW, 2), (3, NOW, 2)]));
    assert_eq!(listed(&engine).0, [0, 1, 2]);
    engine.delete(&chosen(&(0..=1)), i64::MIN, i64::MAX).unwrap();
    let by_name = engine.cardinality(10).by_name;
    assert_eq!((engine.levels().series, by_name), (1, vec![("m2".to_owned(), 1)]));
    assert!(write(&engine, &[(3, NOW, 2), (1, NOW, 8)]));
    assert_eq!(contents(&engine, NOW, NOW), Model::from([((1, NOW), 8), ((2, NOW), 2), ((3, NOW), 2)]));
    engine.flush().unwrap();
    while engine.merge().unwrap() {}
    engine.clean().unwrap();
    engine.close();
    let engine = open(&disk);
    assert_eq!(contents(&engine, NOW, NOW), Model::from([((1, NOW), 8), ((2, NOW), 2), ((3, NOW), 2)]));
    assert_eq!(engine.levels().series, 3);
}

#[test]
fn a_deletion_of_nothing_writes_nothing_and_one_too_many_is_refused() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk);
    engine.delete(&chosen(&(0..=5)), 0, 1).unwrap();
    assert_eq!(disk.syncs(), 0);
    assert!(write(&engine, &[(1, NOW, 2)]));
    for n in 0..DELETIONS_MAX as i64 {
        engine.delete(&chosen(&(1..=1)), n * 2, n * 2).unwrap();
    }
    let refused = engine.delete(&chosen(&(1..=1)), -9, -9).unwrap_err().to_string();
    assert!(refused.contains("call clean_tombstones"), "{refused}");
    engine.clean().unwrap();
    engine.delete(&chosen(&(1..=1)), -9, -9).unwrap();
    assert_eq!(contents(&engine, i64::MIN, i64::MAX), Model::from([((1, NOW), 2)]));
}

/// A tier whose blocks have expired is all there is: its buckets go.
#[test]
fn of_a_tier_that_outlived_its_blocks_the_buckets_go() {
    let (disk, start) = (SimulatedDisk::default(), NOW - 60 * 86_400_000);
    let samples: Vec<_> =
        (0..300).flat_map(|n| (0..2u8).map(move |series| (series, start + n * 60_000, 2))).collect();
    let short = Settings {
        retention_ms: 40 * 86_400_000,
        tier_retention_ms: [super::tests::CENTURY_MS; 2],
        ..settings()
    };
    let engine = open(&disk);
    assert!(write(&engine, &samples));
    engine.flush().unwrap();
    assert!(engine.downsample().unwrap());
    assert!(write(&engine, &[(3, NOW, 2)]));
    engine.close();
    let open_short = || Engine::open(Arc::new(disk.clone()), short.clone(), Box::new(|| NOW)).unwrap().0;
    let engine = open_short();
    engine.expire().unwrap();
    engine.delete(&chosen(&(0..=0)), start + 60_000, start + 120_000).unwrap();
    let buckets = |engine: &Engine| -> BTreeMap<u8, (usize, f64)> {
        let mut snapshot = engine.select(&[], start, start + 86_400_000);
        snapshot.coarsen(Grain::Multiples(60_000));
        (0..snapshot.len())
            .map(|index| {
                let samples = snapshot.read_buckets(index, i64::MIN, i64::MAX, Aspect::Count).unwrap();
                let n = snapshot.labels(index).get("n").parse().unwrap();
                (n, (samples.len(), samples.values.iter().sum()))
            })
            .collect()
    };
    let before = buckets(&engine);
    let lost = before[&1].0 - before[&0].0;
    assert!((2..=3).contains(&lost), "{before:?}");
    engine.clean().unwrap();
    assert_eq!(buckets(&engine), before);
    engine.close();
    assert_eq!(buckets(&open_short()), before);
}

#[test]
fn a_snapshot_is_a_store_of_that_moment_and_later_work_does_not_touch_it() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk);
    assert!(write(&engine, &[(0, NOW, 2), (1, NOW, 2)]));
    engine.flush().unwrap();
    engine.delete(&chosen(&(0..=0)), i64::MIN, i64::MAX).unwrap();
    assert!(write(&engine, &[(2, NOW, 2)]));
    engine.snapshot("without", true).unwrap();
    engine.snapshot("with", false).unwrap();
    for round in 0..6 {
        assert!(write(&engine, &[(3, NOW + round, 2)]));
        engine.flush().unwrap();
    }
    while engine.merge().unwrap() {}
    engine.clean().unwrap();
    engine.close();
    let copy = |name: &str| {
        let (there, copy) = (disk.after_power_cut(0), SimulatedDisk::default());
        let folder = format!("snapshots/{name}/{FOLDER}");
        for file in there.list(&folder).unwrap() {
            let source = there.open(&format!("{folder}/{file}")).unwrap();
            let mut bytes = vec![0; source.bytes().unwrap() as usize];
            source.read_at(0, &mut bytes).unwrap();
            copy.create(&format!("{FOLDER}/{file}")).unwrap().append(&bytes).unwrap();
        }
        contents(&open(&copy), i64::MIN, i64::MAX)
    };
    assert_eq!(copy("without"), Model::from([((1, NOW), 2)]));
    assert_eq!(copy("with"), Model::from([((1, NOW), 2), ((2, NOW), 2)]));
}

#[test]
fn a_snapshot_is_whole_or_not_there_whichever_sync_the_disk_dies_at() {
    let prepared = || {
        let disk = SimulatedDisk::default();
        let engine = open(&disk);
        assert!(write(&engine, &[(0, NOW, 2)]));
        (disk, engine)
    };
    let (disk, engine) = prepared();
    let before = disk.syncs();
    engine.snapshot("s", false).unwrap();
    engine.wal.settle();
    // One is the log's, which removes its segments in its own time.
    let own = disk.syncs() - before - 1;
    for nth in 1..=own {
        let (disk, engine) = prepared();
        disk.fail_from(disk.syncs() + nth);
        assert!(engine.snapshot("s", false).is_err());
        engine.close();
        let disk = disk.after_power_cut(0);
        let engine = open(&disk);
        assert_eq!(disk.folders("snapshots").unwrap(), [""; 0], "sync {nth}");
        assert_eq!(contents(&engine, NOW, NOW), Model::from([((0, NOW), 2)]));
    }
}

#[test]
fn their_number_is_bounded_and_on_a_full_disk_the_oldest_goes_first() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk);
    assert!(write(&engine, &[(0, NOW, 2)]));
    for n in 0..super::SNAPSHOTS_MAX {
        engine.snapshot(&format!("{n:03}"), false).unwrap();
    }
    assert!(engine.snapshot("more", false).unwrap_err().to_string().contains("remove one from snapshots/"));
    disk.limit(1);
    assert!(!write(&engine, &[(0, NOW + 1, 2)]));
    assert!(engine.make_room().unwrap());
    let mut left = disk.folders("snapshots").unwrap();
    left.sort();
    assert_eq!((left.len(), left[0].as_str()), (super::SNAPSHOTS_MAX - 1, "001"));
    assert_eq!(engine.levels().blocks, 1);
}
