//! A flipped bit anywhere: what is read is what was written, or it is missing and that is counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::tests::{Model, NOW, histogram, settings, write};
use super::{Engine, Opened};
use crate::block::BlockError;
use crate::disk::Disk;
use crate::disk::simulated::SimulatedDisk;
use crate::tiers::{Aspect, Grain};

/// Places in each file that are tried.
const PLACES: usize = 150;

/// Two blocks and two tiers of a partition that is over, and a log.
fn filled() -> (SimulatedDisk, Model) {
    let (disk, mut model) = (SimulatedDisk::default(), Model::new());
    let engine = Engine::open(Arc::new(disk.clone()), settings(), Box::new(|| NOW)).unwrap().0;
    let start = NOW - 60 * 86_400_000;
    let part = |from: i64| -> Vec<(u8, i64, u64)> {
        (from..from + 200)
            .flat_map(|n| (3..5).map(move |series| (series, start + n * 60_000, (n * n) as u64)))
            .collect()
    };
    for (from, flush) in [(0, true), (200, true), (400, false)] {
        let samples = part(from);
        assert!(write(&engine, &samples));
        model.extend(samples.into_iter().map(|(n, time, bits)| ((n, time), bits)));
        if flush {
            engine.flush().unwrap();
            engine.downsample().unwrap();
        }
    }
    engine.close();
    (disk, model)
}

fn open(disk: &SimulatedDisk) -> (Arc<Engine>, Opened) {
    Engine::open(Arc::new(disk.clone()), settings(), Box::new(|| NOW)).unwrap()
}

fn read_once(engine: &Engine, coarse: Option<i64>) -> Result<Model, BlockError> {
    let mut found = Model::new();
    let mut snapshot = engine.select(&[], i64::MIN, i64::MAX);
    if let Some(width) = coarse {
        snapshot.coarsen(Grain::Multiples(width));
    }
    for index in 0..snapshot.len() {
        let n: u8 = snapshot.labels(index).get("n").parse().unwrap();
        let samples = match coarse {
            Some(_) => snapshot.read_buckets(index, i64::MIN, i64::MAX, Aspect::Last)?,
            None => snapshot.read(index, i64::MIN, i64::MAX)?,
        };
        found.extend(
            samples.times.iter().zip(&samples.values).map(|(time, value)| ((n, *time), value.to_bits())),
        );
        for (time, read) in &samples.histograms {
            assert!(read.same(&histogram(read.sum.to_bits())));
            found.insert((n, *time), read.sum.to_bits());
        }
    }
    Ok(found)
}

/// As a query reads: anew, when a block turned out to be corrupt and was set aside.
fn read(engine: &Engine, coarse: Option<i64>) -> Model {
    (0..6).find_map(|_| read_once(engine, coarse).ok()).expect("what is corrupt is set aside")
}

#[test]
fn a_flipped_bit_in_any_file_changes_no_sample() {
    let (disk, model) = filled();
    let whole = open(&disk).0;
    assert_eq!(read(&whole, None), model);
    let minutes = read(&whole, Some(60_000));
    whole.close();
    let mut set_aside = BTreeMap::<&str, usize>::new();
    for folder in ["blocks", "wal"] {
        for file in disk.list(folder).unwrap() {
            let name = format!("{folder}/{file}");
            let bytes = disk.open(&name).unwrap().bytes().unwrap() as usize;
            for at in (0..bytes).step_by((bytes / PLACES).max(1)) {
                let harmed = disk.after_power_cut(usize::MAX / 2);
                harmed.damage(&name, |content| content[at] ^= 1 << (at % 8));
                let (engine, opened) = open(&harmed);
                let found = read(&engine, None);
                assert!(found.iter().all(|(key, bits)| model.get(key) == Some(bits)), "{name} at {at}");
                let coarse = read(&engine, Some(60_000));
                assert!(
                    coarse
                        .iter()
                        .all(|(key, bits)| minutes.get(key) == Some(bits) || model.get(key) == Some(bits))
                );
                let bad = engine.counters().blocks_bad.get() > 0;
                assert!(
                    found == model || bad || opened.log.torn_bytes > 0,
                    "{name} at {at}: lost in silence"
                );
                *set_aside.entry(folder).or_default() += usize::from(bad);
                engine.close();
            }
        }
    }
    assert!(set_aside["blocks"] > 4 * PLACES / 2, "{set_aside:?}");
}

#[test]
fn a_clock_that_jumps_back_and_forth_loses_nothing() {
    let (disk, clock) = (SimulatedDisk::default(), Arc::new(AtomicI64::new(NOW)));
    let open = || {
        let clock = clock.clone();
        let settings = super::Settings { retention_ms: 30 * 86_400_000, ..settings() };
        Engine::open(Arc::new(disk.clone()), settings, Box::new(move || clock.load(Ordering::Relaxed)))
            .unwrap()
            .0
    };
    let (mut engine, mut model) = (open(), Model::new());
    // Hours, years, and a dead battery.
    for (round, jump) in [0, 3_600_000, -3_600_000, 10 * 365 * 86_400_000, -NOW, 0].into_iter().enumerate() {
        clock.store(NOW + jump, Ordering::Relaxed);
        let time = NOW + round as i64 * 1000;
        // A clock far ahead refuses what is true now; nothing of it was acknowledged then.
        let sent = super::tests::request(&[(1, time, round as u64)]);
        let report = engine.write(&sent, "test", Box::new(|_| {})).unwrap();
        if report.accepted == 1 {
            model.insert((1, time), round as u64);
        }
        engine.flush().unwrap();
        engine.expire().unwrap();
        let _ = (engine.merge().unwrap(), engine.trim().unwrap(), engine.downsample().unwrap());
        if round % 2 == 1 {
            engine.close();
            engine = open();
        }
    }
    clock.store(NOW, Ordering::Relaxed);
    assert_eq!(read(&engine, None), model);
    assert_eq!(model.len(), 5);
}
