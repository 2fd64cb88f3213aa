//! Updates as an operator makes them: an archive is signed, uploaded with vaktctl to a running machine, staged
//! into the slot that does not run, booted by the boot loader, proven and blessed; then the next one goes into
//! the first slot. One that is not signed by the keys in the image changes nothing.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vakt_image::bundle::{Signing, block_on, keys};
use vakt_qemu_tests::container::{TOKEN, config};
use vakt_qemu_tests::guest::{self, Appliance, Image};
use vakt_qemu_tests::harness::Group;
use vakt_qemu_tests::{programs, updates};

/// All services ready, 30 s of proof, and a slow machine.
const BLESSED_WITHIN: Duration = Duration::from_secs(300);

pub fn tests() -> Group {
    (
        guest::missing(),
        &[("version_1_in_a_is_followed_by_2_in_b_and_3_in_a_and_strangers_are_refused", updates)],
    )
}

/// A signed archive of `version`.
fn archive(version: &str, signing: &Signing, directory: &Path) -> Result<PathBuf> {
    let image = directory.join(format!("image-{version}"));
    updates::build(version, &image, |_| Ok(()))?;
    updates::archive(&image, version, signing, directory)
}

fn vaktctl(appliance: &Appliance, token: &Path, words: &[&str]) -> Result<Output> {
    programs::vaktctl(appliance.https, &appliance.fingerprint, token, &[&["update"], words].concat())
}

fn said(appliance: &Appliance, mark: &str) -> Result<()> {
    let serial = &appliance.guest.serial;
    serial.wait_for(mark, BLESSED_WITHIN).with_context(|| format!("console:\n{}", serial.text()))?;
    println!("{:6.1} s  {mark}", appliance.guest.age().as_secs_f64());
    Ok(())
}

fn updates() -> Result<()> {
    let image = Image::find()?;
    let directory = tempfile::tempdir()?;
    let disk = directory.path().join("disk");
    image.copy(&disk)?;
    let token = directory.path().join("token");
    std::fs::write(&token, TOKEN)?;
    let ours = updates::ours()?;
    let second = archive("0.2.0", &ours, directory.path())?;
    let third = archive("0.3.0", &ours, directory.path())?;
    let machine = image.by_firmware(&disk)?;

    let mut first = Appliance::start(machine.clone(), Some(&config("")), directory.path())?;
    // The same update, signed by somebody else.
    let elsewhere = directory.path().join("elsewhere");
    std::fs::create_dir(&elsewhere)?;
    let others = elsewhere.join("keys");
    block_on(keys::generate(&others))?;
    let forged = archive("0.2.0", &Signing::with(&others), &elsewhere)?;
    let ran = vaktctl(&first, &token, &["upload", &forged.to_string_lossy()])?;
    ensure!(!ran.status.success(), "a forged update was taken: {}", String::from_utf8_lossy(&ran.stdout));
    println!("forged: {}", String::from_utf8_lossy(&ran.stderr).trim());

    let told = updates::upload(&first, &token, &second)?;
    ensure!(told.contains("0.2.0 from archive: staged"), "{told}");
    first.power_off()?;

    let mut booted = Appliance::start(machine.clone(), None, directory.path())?;
    said(&booted, "vakt: slot b 0.2.0 runs: on trial")?;
    said(&booted, "vakt: slot b 0.2.0 runs: blessed")?;
    let older = vaktctl(&booted, &token, &["upload", &second.to_string_lossy()])?;
    ensure!(!older.status.success(), "the running version was taken again");
    println!("again: {}", String::from_utf8_lossy(&older.stderr).trim());
    let told = updates::upload(&booted, &token, &third)?;
    ensure!(told.contains("0.3.0 from archive: staged"), "{told}");
    booted.power_off()?;

    let mut last = Appliance::start(machine, None, directory.path())?;
    said(&last, "vakt: slot a 0.3.0 runs: on trial")?;
    said(&last, "vakt: slot a 0.3.0 runs: blessed")?;
    let status = vaktctl(&last, &token, &["status"])?;
    let told = String::from_utf8_lossy(&status.stdout).into_owned();
    ensure!(told.contains("last: 0.3.0 from archive: booted"), "{told}");
    last.power_off()
}
