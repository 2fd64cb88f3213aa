//! Tiers: made, used, left aside while something reaches back into their time, and what is left after the samples went.

use std::sync::Arc;

use super::tests::{CENTURY_MS, NOW, settings, write};
use super::{Engine, Settings};
use crate::disk::simulated::SimulatedDisk;
use crate::samples::Samples;
use crate::tiers::{Aspect, Grain, Tier, fold};

/// 60 days ago, 8 hours of a sample each 10 s: a partition that is over.
const START: i64 = NOW - 60 * 86_400_000;
const STEP: i64 = 10_000;
const COUNT: i64 = 6 * 60 * 8;

fn open(disk: &SimulatedDisk, settings: Settings) -> Arc<Engine> {
    Engine::open(Arc::new(disk.clone()), settings, Box::new(|| NOW)).unwrap().0
}

fn samples() -> Vec<(u8, i64, u64)> {
    (0..COUNT).map(|n| (1, START + n * STEP, ((n * n % 97) as f64).to_bits())).collect()
}

fn read(engine: &Engine, coarse: Option<(i64, Aspect)>) -> Samples {
    let mut snapshot = engine.select(&[], i64::MIN, i64::MAX);
    match coarse {
        Some((width, aspect)) => {
            snapshot.coarsen(Grain::Multiples(width));
            snapshot.read_buckets(0, i64::MIN, i64::MAX, aspect).unwrap()
        }
        None => snapshot.read(0, i64::MIN, i64::MAX).unwrap(),
    }
}

/// What a coarse reading should give: buckets that were over, then samples.
fn expected(raw: &Samples, tier: Tier, aspect: Aspect) -> Vec<(i64, f64)> {
    let newest = *raw.times.last().unwrap();
    let over = newest.div_euclid(tier.width_ms()) * tier.width_ms();
    let (mut buckets, _) = fold(raw, tier);
    buckets.retain(|bucket| bucket.time <= over);
    let rest = raw.times.iter().zip(&raw.values).filter(|(time, _)| **time > over);
    let rest = rest.map(|(time, value)| (*time, if aspect == Aspect::Count { 1.0 } else { *value }));
    buckets.iter().filter_map(|bucket| Some((bucket.time, bucket.get(aspect)?))).chain(rest).collect()
}

fn check_coarse(engine: &Engine) {
    let raw = read(engine, None);
    for (width, tier) in [(60_000, Tier::Minute), (600_000, Tier::Minute), (7_200_000, Tier::Hour)] {
        for aspect in [Aspect::Last, Aspect::Sum, Aspect::Count, Aspect::Min, Aspect::Max] {
            let coarse = read(engine, Some((width, aspect)));
            let found: Vec<_> = coarse.times.iter().copied().zip(coarse.values.iter().copied()).collect();
            assert_eq!(found, expected(&raw, tier, aspect), "{tier:?} {aspect:?}");
        }
    }
    assert_eq!(read(engine, Some((59_999, Aspect::Sum))).times, raw.times);
}

#[test]
fn a_partition_that_is_over_is_read_by_its_buckets_where_they_are_fine_enough() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, settings());
    write(&engine, &samples());
    assert_eq!(engine.downsample(), Ok(false), "nothing is in blocks");
    engine.flush().unwrap();
    assert_eq!(engine.downsample(), Ok(true));
    assert_eq!(engine.downsample(), Ok(false));
    assert_eq!(read(&engine, None).len() as i64, COUNT);
    check_coarse(&engine);
    engine.close();
    check_coarse(&open(&disk, settings()));
}

#[test]
fn late_samples_are_seen_at_once_and_come_into_the_tiers_when_they_are_many() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, settings());
    write(&engine, &samples());
    engine.flush().unwrap();
    engine.downsample().unwrap();
    let late =
        |from: i64, count: i64| (from..from + count).map(|n| (1, START + n * STEP + 5, 1f64.to_bits()));
    write(&engine, &late(0, 10).collect::<Vec<_>>());
    let all = COUNT as usize + 10;
    // In the window, then in a block: the samples themselves are read.
    assert_eq!(read(&engine, Some((60_000, Aspect::Count))).len(), all);
    engine.flush().unwrap();
    assert_eq!(read(&engine, Some((60_000, Aspect::Count))).len(), all);
    assert_eq!(engine.downsample(), Ok(false), "too few to make the tiers anew");
    write(&engine, &late(10, 300).collect::<Vec<_>>());
    engine.flush().unwrap();
    assert_eq!(engine.downsample(), Ok(true));
    check_coarse(&engine);
}

#[test]
fn buckets_outlive_their_samples_and_go_in_their_turn() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, settings());
    write(&engine, &samples());
    // A newer sample, from which retention counts.
    write(&engine, &[(2, NOW, 1)]);
    engine.flush().unwrap();
    engine.downsample().unwrap();
    let hours = expected(&read(&engine, None), Tier::Hour, Aspect::Last)
        .iter()
        .filter(|s| s.0 % 3_600_000 == 0)
        .count();
    engine.close();
    let short = |minutes: i64| Settings {
        retention_ms: 10 * 86_400_000,
        tier_retention_ms: [minutes, CENTURY_MS],
        ..settings()
    };
    let engine = open(&disk, short(CENTURY_MS));
    engine.expire().unwrap();
    let left = read(&engine, None);
    assert_eq!(left.len() as i64, COUNT / 6, "minutes are left");
    assert!(left.times.iter().all(|time| time % 60_000 == 0));
    engine.close();
    let engine = open(&disk, short(0));
    engine.expire().unwrap();
    assert_eq!(read(&engine, None).len(), hours, "hours are left");
    engine.close();
    let engine =
        open(&disk, Settings { retention_ms: 10 * 86_400_000, tier_retention_ms: [0; 2], ..settings() });
    engine.expire().unwrap();
    assert_eq!(engine.select(&[], i64::MIN, i64::MAX).len(), 1, "the newer series alone");
}
