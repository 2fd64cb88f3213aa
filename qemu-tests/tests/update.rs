//! Updates as an operator makes them: an archive is signed, uploaded with vaktctl to a running machine, staged
//! into the slot that does not run, booted by the boot loader, proven and blessed; then the next one goes into
//! the first slot. One that is not signed by the keys in the image changes nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use vakt_image::build::{Options, assemble, stage};
use vakt_image::bundle::{Signing, Update, Validity, block_on, keys, publish, write_archive};
use vakt_image::provider::{self, Kernel};
use vakt_image::sbom;
use vakt_qemu_tests::container::{TOKEN, config, workspace};
use vakt_qemu_tests::guest::{self, Appliance, Image};
use vakt_qemu_tests::programs;

/// All services ready, 30 s of proof, and a slow machine.
const BLESSED_WITHIN: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    if let Some(reason) = guest::missing() {
        let trial = Trial::test(format!("skipped: {reason}"), || Ok(())).with_ignored_flag(true);
        return libtest_mimic::run(&arguments, vec![trial]).exit_code();
    }
    let trial =
        Trial::test("version_1_in_a_is_followed_by_2_in_b_and_3_in_a_and_strangers_are_refused", || {
            updates().map_err(|error| Failed::from(format!("{error:#}")))
        });
    libtest_mimic::run(&arguments, vec![trial]).exit_code()
}

/// A signed archive of today's programs as `version`, and of the repository that grows with it.
fn archive(version: &str, signing: &Signing, directory: &Path) -> Result<PathBuf> {
    let tree = directory.join(format!("tree-{version}"));
    let trust = keys::trusted_root(None, &workspace())?;
    stage(&workspace(), &programs::directory()?, &trust, &tree)?;
    let os_release = tree.join("usr/lib/os-release");
    std::fs::write(&os_release, std::fs::read_to_string(&os_release)?.replace(vakt_image::VERSION, version))?;
    let inputs = provider::inputs(Kernel::Stock)?;
    sbom::stage(&sbom::make(&workspace(), version, &inputs.packages)?, &tree)?;
    let output = directory.join(format!("image-{version}"));
    assemble(&tree, &inputs, &output, &Options::default())?;
    let update = Update::of_image(&output)?;
    let work = tempfile::tempdir_in(directory)?;
    let files = update.write(work.path())?;
    let repository = directory.join("repository");
    block_on(publish(&repository, &files, signing, Validity { targets_days: 30, online_days: 30 }))?;
    let archive = directory.join(format!("{version}.tar"));
    write_archive(&repository, &files, &archive)?;
    Ok(archive)
}

fn vaktctl(appliance: &Appliance, token: &Path, words: &[&str]) -> Result<Output> {
    let fingerprint = appliance.guest.serial.wait_for("vakt: fingerprint ", BLESSED_WITHIN)?;
    Ok(Command::new(programs::path("vaktctl")?)
        .args(["--box", &appliance.https.to_string(), "--fingerprint", &fingerprint, "--token-file"])
        .arg(token)
        .arg("update")
        .args(words)
        .output()?)
}

fn upload(appliance: &Appliance, token: &Path, archive: &Path) -> Result<String> {
    let ran = vaktctl(appliance, token, &["upload", &archive.to_string_lossy()])?;
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{said}\n{}", appliance.story());
    Ok(said)
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
    let ours = Signing::with(&block_on(keys::development(&workspace()))?);
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

    let told = upload(&first, &token, &second)?;
    ensure!(told.contains("0.2.0 from archive: staged"), "{told}");
    first.power_off()?;

    let mut booted = Appliance::start(machine.clone(), None, directory.path())?;
    said(&booted, "vakt: slot b 0.2.0 runs: on trial")?;
    said(&booted, "vakt: slot b 0.2.0 runs: blessed")?;
    let older = vaktctl(&booted, &token, &["upload", &second.to_string_lossy()])?;
    ensure!(!older.status.success(), "the running version was taken again");
    println!("again: {}", String::from_utf8_lossy(&older.stderr).trim());
    let told = upload(&booted, &token, &third)?;
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
