//! The engine on a disk with little room.

use std::sync::Arc;

use super::tests::{Model, NOW, contents, settings, write};
use super::{Engine, Settings};
use crate::disk::Disk;
use crate::disk::simulated::SimulatedDisk;

const RESERVE: u64 = 8 << 10;

/// An engine that keeps [`RESERVE`] of a disk of so many bytes.
fn open(disk: &SimulatedDisk, bytes: usize) -> Arc<Engine> {
    let settings = Settings { reserve_bytes: RESERVE, ..settings() };
    let engine = Engine::open(Arc::new(disk.clone()), settings, Box::new(|| NOW)).unwrap().0;
    disk.limit(bytes);
    engine
}

/// Samples of one series without a pattern, so that blocks fill the disk as the log does.
fn samples(round: i64) -> Vec<(u8, i64, u64)> {
    let bits = |n: i64| ((round * 64 + n) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 12;
    (0..64).map(|n| (1, NOW + round * 64 + n, bits(n))).collect()
}

#[test]
fn a_store_that_fills_its_disk_meets_no_refusal_and_lets_the_oldest_go() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, 128 << 10);
    for round in 0..600 {
        assert!(write(&engine, &samples(round)), "round {round}");
        // What maintenance does, without its thread.
        if engine.is_due() {
            engine.flush().unwrap();
            engine.make_room().unwrap();
            while engine.merge().unwrap() {}
        }
    }
    let counters = engine.counters();
    assert!(!disk.take_full(), "a write found no room");
    assert_eq!((counters.put_off.get(), counters.wal_errors.get(), counters.flush_errors.get()), (0, 0, 0));
    assert!(counters.blocks_dropped_full.get() > 1, "{}", counters.blocks_dropped_full.get());
    engine.close();
    let disk = disk.after_power_cut(0);
    let found = contents(&open(&disk, 128 << 10), i64::MIN, i64::MAX);
    let oldest = found.keys().map(|(_, time)| *time).min().unwrap();
    // What is left is the newest, without a gap.
    let expected: Model = (0..600)
        .flat_map(samples)
        .filter(|(_, time, _)| *time >= oldest)
        .map(|(n, time, bits)| ((n, time), bits))
        .collect();
    assert!(found == expected && oldest > NOW && found.len() > 2_000, "{} from {oldest}", found.len());
}

#[test]
fn below_the_reserve_writers_wait_and_the_log_stays_good() {
    let disk = SimulatedDisk::default();
    let engine = open(&disk, 64 << 10);
    let same = |round: i64| (0..64).map(|n| (1, NOW + round * 64 + n, 5)).collect::<Vec<_>>();
    let taken = (0..200).take_while(|round| write(&engine, &same(*round))).count();
    assert!(taken > 20 && taken < 200, "{taken}");
    assert!(disk.free().unwrap() >= RESERVE);
    let written = disk.free().unwrap();
    for round in 200..210 {
        assert!(!write(&engine, &same(round)));
    }
    assert_eq!(disk.free().unwrap(), written, "what is put off costs nothing");
    let counters = engine.counters();
    assert_eq!((counters.put_off.get(), counters.wal_errors.get()), (11, 0));
    engine.flush().unwrap();
    assert!(!engine.make_room().unwrap(), "the log has made enough of it");
    assert!(write(&engine, &same(210)));
    engine.close();
    let found = contents(&super::tests::open(&disk.after_power_cut(0)), i64::MIN, i64::MAX);
    let acknowledged = (0..taken as i64).chain([210]).flat_map(same);
    for (n, time, bits) in acknowledged {
        assert_eq!(found.get(&(n, time)), Some(&bits), "{time}");
    }
}

#[test]
fn a_block_that_was_given_up_leaves_no_file() {
    let disk = SimulatedDisk::default();
    let engine = super::tests::open(&disk);
    assert!(write(&engine, &samples(0)));
    disk.limit(1);
    engine.flush().unwrap_err();
    assert_eq!(disk.list(crate::block::FOLDER).unwrap(), [""; 0]);
}
