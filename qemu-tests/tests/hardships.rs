//! What goes wrong with real boxes: a dead clock, no network, a state whose first blocks were overwritten, no
//! state at all. The box comes up and says so.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vakt_image::qemu::{Guest, Machine};
use vakt_qemu_tests::container::config;
use vakt_qemu_tests::guest::{self, Appliance, Image, POWER_OFF_WITHIN, READY_WITHIN};
use vakt_qemu_tests::harness;
use vakt_qemu_tests::slots::Disk;

/// Without a network a box waits 20 s for one before it goes on.
const ALONE_WITHIN: Duration = Duration::from_secs(300);

/// The state partition's label.
const STATE: &str = "vakt-state";

fn main() -> ExitCode {
    harness::run(
        guest::missing(),
        &[
            ("a_dead_clock_goes_on_from_where_it_was_last_seen", dead_clock),
            ("damaged_state_is_restored_from_its_copy_and_a_lost_one_is_not_touched", damaged_state),
            ("without_a_network_it_comes_up_and_powers_off", no_network),
        ],
    )
}

fn dead_clock() -> Result<()> {
    let image = Image::find()?;
    let directory = tempfile::tempdir()?;
    let disk = directory.path().join("disk");
    image.copy(&disk)?;
    let dead = Machine { clock: Some("1970-01-01T00:00:00".into()), ..image.by_kernel(&disk) };
    let mut first = Appliance::start(dead.clone(), Some(&config("")), directory.path())?;
    let from = went_on(&first.guest)?;
    ensure!(from.as_str() >= "2026-11-01T", "it went on from {from}");
    first.power_off()?;
    let mut second = Appliance::start(dead, None, directory.path())?;
    let later = went_on(&second.guest)?;
    ensure!(later > from, "it went on from {later} after {from}");
    second.power_off()
}

fn went_on(guest: &Guest) -> Result<String> {
    let said = guest.serial.wait_for("vakt: the clock stood at 1970-01-01T00:0", READY_WITHIN)?;
    println!("the clock stood at 1970-01-01T00:0{said}");
    Ok(said.split_once("it goes on from ").context("it was not set")?.1.to_owned())
}

fn damaged_state() -> Result<()> {
    let image = Image::find()?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("disk");
    image.copy(&path)?;
    let mut first = Appliance::start(image.by_kernel(&path), Some(&config("")), directory.path())?;
    let fingerprint = first.get("/health")?.fingerprint;
    first.power_off()?;

    let disk = Disk::new(&path);
    disk.overwrite(STATE, 0, &[0xA5; 4096])?;
    let mut second = Appliance::start(image.by_kernel(&path), None, directory.path())?;
    let said = second.guest.serial.wait_for("vakt: state's superblock was damaged", READY_WITHIN)?;
    println!("state's superblock was damaged{said}");
    ensure!(second.get("/health")?.fingerprint == fingerprint, "the certificate is another: state is lost");
    second.power_off()?;

    // All of its beginning and its copies: the box runs on memory, and what is on the disk stays.
    let wiped = vec![0xA5; 64 << 20];
    for piece in 0..disk.length(STATE)?.div_ceil(wiped.len() as u64) {
        disk.overwrite(STATE, piece * wiped.len() as u64, &wiped)?;
    }
    let mut third = Appliance::start(image.by_kernel(&path), Some(&config("")), directory.path())?;
    third.guest.serial.wait_for("nothing is kept across a restart", READY_WITHIN)?;
    ensure!(third.get("/health")?.fingerprint != fingerprint, "a certificate from nowhere");
    third.power_off()?;
    ensure!(disk.look(STATE, 1 << 20, 4096)? == [0xA5; 4096], "the damaged state was written to");
    Ok(())
}

fn no_network() -> Result<()> {
    let image = Image::find()?;
    let directory = tempfile::tempdir()?;
    let disk = directory.path().join("disk");
    image.copy(&disk)?;
    let machine = Machine { has_network: false, ..image.by_kernel(&disk) };
    let mut guest = Guest::start(&machine, false)?;
    let said = guest.serial.wait_for("vakt: all services ready", ALONE_WITHIN);
    said.with_context(|| format!("console:\n{}", guest.serial.text()))?;
    ensure!(guest.power_off(POWER_OFF_WITHIN)?.success(), "QEMU did not end well");
    Ok(())
}
