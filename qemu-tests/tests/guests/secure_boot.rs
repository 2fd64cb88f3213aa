//! Secure Boot: what is signed by keys that the firmware holds starts, and nothing else does.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vakt_image::build::{Options, assemble, stage, stem};
use vakt_image::bundle::keys::trusted_root;
use vakt_image::process::is_there;
use vakt_image::provider::{self, Kernel};
use vakt_image::qemu::{Boot, Guest, Machine};
use vakt_image::secure_boot::{SecureBoot, Signer, generate};
use vakt_qemu_tests::container::{config, workspace};
use vakt_qemu_tests::guest::{self, Appliance, Image};
use vakt_qemu_tests::harness::Group;
use vakt_qemu_tests::programs;
use vakt_qemu_tests::slots::Disk;

/// Until the firmware or the boot loader has said no: 10 s on a quiet host.
const REFUSED_WITHIN: Duration = Duration::from_secs(120);

pub fn tests() -> Group {
    let missing = guest::missing().or_else(|| {
        let tools = ["sbsign", "sbvarsign", "sbsiglist", "openssl"];
        let absent = tools.iter().find(|tool| !is_there(tool));
        absent.map(|tool| format!("no {tool} (vakt-image setup --for test)"))
    });
    (missing, &[("signed_boots_after_its_keys_were_enrolled_and_unsigned_and_tampered_do_not", boots)])
}

fn boots() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    let keys = at("keys");
    generate(&keys)?;
    let signer = Signer { key: keys.join("db.key"), certificate: keys.join("db.crt") };
    let signed = build(directory.path(), SecureBoot { signer, enrol: Some(keys.clone()) })?;

    // Setup mode: the loader enrols the keys and restarts; what starts then is checked.
    let machine = machine(&signed, &at("efivars"))?;
    let mut appliance = Appliance::start(machine, Some(&config("")), directory.path())?;
    println!("signed, with enrolment: ready after {:.1} s", appliance.ready_after.as_secs_f64());
    ensure!(appliance.guest.serial.text().contains("nroll"), "no enrolment on the console");
    appliance.eventually("/select/logsql/query?query=%22Secure%20boot%20enabled%22&limit=1", |text| {
        text.contains("Secure boot enabled").then_some(())
    })?;
    appliance.power_off()?;

    // An image of strangers: the firmware does not even start its loader.
    let plain = at("plain");
    let image = Image::find()?;
    image.copy(&plain)?;
    refused(&plain, &at("efivars"), "Access Denied").context("an unsigned image")?;

    let entry = format!("vakt-a_{}.efi", vakt_image::VERSION);
    let disk = Disk::new(&signed);
    let good = disk.read(&entry)?;
    let mut tampered = good.clone();
    let command_line = find(&tampered, b"vakt.verity=").context("no command line in the UKI")?;
    tampered[command_line + 12] ^= 1;
    disk.replace(&entry, &tampered)?;
    refused(&signed, &at("efivars"), &entry).context("a tampered UKI")?;
    disk.replace(&entry, &Disk::new(&plain).read(&entry)?)?;
    refused(&signed, &at("efivars"), &entry).context("an unsigned UKI")?;

    // It was this, and no damage of the disk.
    disk.replace(&entry, &good)?;
    let mut again = Appliance::start(machine_again(&signed, &at("efivars"))?, None, directory.path())?;
    println!("signed, enrolled: ready after {:.1} s", again.ready_after.as_secs_f64());
    again.power_off()
}

/// Today's programs as a signed disk, with room for state.
fn build(directory: &Path, secure_boot: SecureBoot) -> Result<std::path::PathBuf> {
    let (tree, output) = (directory.join("tree"), directory.join("image"));
    stage(&workspace(), &programs::directory()?, &trusted_root(None, &workspace())?, &tree)?;
    let options = Options { compress: false, secure_boot: Some(secure_boot) };
    let built = assemble(&tree, &provider::inputs(Kernel::Stock)?, &output, &options)?;
    let efi = output.join(format!("{}.efi", stem(vakt_image::VERSION)));
    let in_place = Disk::new(&built.disk).read(&format!("vakt-a_{}.efi", vakt_image::VERSION))?;
    ensure!(std::fs::read(efi)? == in_place, "the UKI that updates are made of is not the signed one");
    std::fs::File::options().write(true).open(&built.disk)?.set_len(guest::DISK_BYTES)?;
    Ok(built.disk)
}

fn machine(disk: &Path, variables: &Path) -> Result<Machine> {
    let boot =
        Boot::Firmware { ovmf: provider::firmware()?, variables: variables.to_owned(), secure_boot: true };
    // The enrolment ends with a restart.
    Ok(Machine { restarts: true, ..Machine::new(boot, disk) })
}

fn machine_again(disk: &Path, variables: &Path) -> Result<Machine> {
    Ok(Machine { restarts: false, ..machine(disk, variables)? })
}

/// Boots until the console says `why` with a refusal beside it, and sees that no kernel began.
fn refused(disk: &Path, variables: &Path, why: &str) -> Result<()> {
    let guest = Guest::start(&machine_again(disk, variables)?, false)?;
    let rest = guest.serial.wait_for(why, REFUSED_WITHIN)?;
    let text = guest.serial.text();
    println!("refused: {why}{rest}");
    let says_so = ["Access denied", "Access Denied", "Security violation", "Security Violation"];
    ensure!(says_so.iter().any(|words| text.contains(words)), "no reason on the console:\n{text}");
    ensure!(!text.contains("vakt:"), "it started:\n{text}");
    Ok(())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
