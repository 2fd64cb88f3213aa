//! The power is cut under load; the disk is rebuilt as a real one might be left; it boots, and everything
//! that was acknowledged is there.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use vakt_image::process::run;
use vakt_image::qemu::{Machine, WriteLog};
use vakt_qemu_tests::acknowledged::Records;
use vakt_qemu_tests::container::config;
use vakt_qemu_tests::guest::{self, Appliance, Image};
use vakt_qemu_tests::harness::Group;
use vakt_qemu_tests::write_log;

/// Acknowledged inserts of each kind before the cut.
const INSERTS: u64 = 40;

/// Cuts that are tried: after this many inserts, with this seed for what survives of later writes. All lie
/// before the last insert, so that each has writes in flight.
const CUTS: [(u64, u64); 3] = [(5, 1), (17, 2), (33, 3)];

pub fn tests() -> Group {
    (guest::missing(), &[("after_a_power_cut_everything_acknowledged_is_there", cut_under_load)])
}

fn cut_under_load() -> Result<()> {
    let image = Image::find()?;
    let directory = tempfile::tempdir()?;
    let (before, disk, log) =
        (directory.path().join("before"), directory.path().join("disk"), directory.path().join("log"));
    image.copy(&before)?;
    copy(&before, &disk)?;
    fs::write(&log, "")?;
    let machine = Machine { write_log: Some(WriteLog(log.clone())), ..image.by_kernel(&disk) };
    let mut appliance = Appliance::start(machine, Some(&config("")), directory.path())?;
    // The log's length after each acknowledgement: what was acknowledged lies before it.
    let records = Records::from_now()?;
    let mut lengths = Vec::new();
    for number in 1..=INSERTS {
        records.insert(&appliance, number)?;
        lengths.push(fs::metadata(&log)?.len());
    }
    appliance.guest.cut();
    for (inserts, seed) in CUTS {
        let length = lengths.get(inserts as usize - 1).copied().context("no such insert")?;
        let rebuilt = directory.path().join(format!("rebuilt-{inserts}"));
        copy(&before, &rebuilt)?;
        // A few later writes are in flight when the power goes: they may be there or not.
        let later = length + (1 << 20);
        let all = write_log::entries(&log, later.min(fs::metadata(&log)?.len()))?;
        let flushed = all.iter().rposition(|entry| entry.flush && entry.data_at <= length);
        let flushed = flushed.context("nothing was flushed")?;
        let mut survivors = all[..=flushed].to_vec();
        let in_flight: Vec<_> = all[flushed + 1..].iter().map(|entry| without_flush(*entry)).collect();
        ensure!(!in_flight.is_empty(), "nothing was in flight after {inserts} inserts");
        survivors.extend(write_log::survivors(&in_flight, seed));
        write_log::replay(&log, &survivors, &rebuilt)?;
        check(&image, &rebuilt, inserts, records, directory.path())
            .with_context(|| format!("cut after {inserts} inserts with seed {seed}"))?;
        println!(
            "cut after {inserts} inserts: {} flushed and {} of {} in flight survived, all acknowledged is there",
            flushed + 1,
            survivors.len() - flushed - 1,
            in_flight.len()
        );
    }
    Ok(())
}

/// Flushes behind the cut did not happen.
fn without_flush(entry: write_log::Entry) -> write_log::Entry {
    write_log::Entry { flush: false, durable: false, ..entry }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").arg("--sparse=always").arg(from).arg(to))?;
    Ok(())
}

fn check(image: &Image, disk: &Path, inserts: u64, records: Records, directory: &Path) -> Result<()> {
    let mut appliance = Appliance::start(image.by_kernel(disk), None, directory)?;
    records.hold_on(&appliance, inserts)?;
    appliance.power_off()
}
