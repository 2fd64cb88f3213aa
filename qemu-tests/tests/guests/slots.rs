//! Two slots: a new one proves itself or is left, and the reason is kept. By firmware and boot loader, as a
//! real machine does it; the API of it in a container, with files as boot partition and slot.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};
use vakt_image::build::{esp, hex};
use vakt_image::provider::{self, Kernel};
use vakt_image::qemu::{Guest, Machine};
use vakt_qemu_tests::container::{self, Container, config};
use vakt_qemu_tests::guest::{self, Image, POWER_OFF_WITHIN};
use vakt_qemu_tests::harness::Group;
use vakt_qemu_tests::slots::{Disk, Release};

/// From power-on to what a line of the console tells. Quiet times are 10 to 20 s.
const SAID_WITHIN: Duration = Duration::from_secs(240);

/// The gate (180 s, init/src/slots/assess.rs), and the orderly way down.
const LEFT_WITHIN: Duration = Duration::from_secs(180 + 180);

/// The watchdog's timeout (60 s), and the boots before and after.
const RESET_WITHIN: Duration = Duration::from_secs(60 + 240);

/// The manifests in a root tree.
const MANIFESTS: &str = "usr/lib/vakt/services";

pub fn tests() -> Group {
    (
        guest::missing(),
        &[
            ("a_power_cut_in_the_gate_costs_no_try_and_a_slot_that_is_well_is_blessed", cut_then_blessed),
            ("a_slot_whose_root_is_damaged_panics_and_the_old_one_tells_so", panics),
            ("a_slot_whose_init_fails_is_rolled_back_with_its_last_words", init_fails),
            ("a_slot_whose_store_never_gets_ready_is_left_within_the_gate", store_is_never_ready),
            ("a_slot_whose_pid_1_hangs_is_ended_by_the_watchdog", hangs),
        ],
    )
}

/// What needs a container of the host and no guest.
pub fn by_the_api() -> Group {
    (container::missing(), &[("a_uki_is_staged_and_cleared_by_the_api", staged_by_the_api)])
}

/// A machine whose slot b has a release.
struct Bed {
    machine: Machine,
    disk: Disk,
    _directory: tempfile::TempDir,
}

impl Bed {
    fn new(counter: &str, change: impl FnOnce(&Path) -> Result<()>) -> Result<Bed> {
        let image = Image::find()?;
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("disk");
        image.copy(&path)?;
        let disk = Disk::new(&path);
        disk.install(&Release::build("0.2.0", change)?, "0.2.0", counter)?;
        let machine = image.by_firmware(&path)?;
        Ok(Bed { machine, disk, _directory: directory })
    }

    fn boot(&self) -> Result<Guest> {
        Guest::start(&self.machine, false)
    }

    fn expect(&self, entries: &[&str]) -> Result<()> {
        let found = self.disk.entries()?;
        ensure!(found == entries, "the boot partition has {found:?} instead of {entries:?}");
        Ok(())
    }
}

/// Waits for a line on the console and returns its rest.
fn said(guest: &Guest, mark: &str, within: Duration) -> Result<String> {
    let rest =
        guest.serial.wait_for(mark, within).with_context(|| format!("console:\n{}", guest.serial.text()))?;
    println!("{:6.1} s  {mark}{rest}", guest.age().as_secs_f64());
    Ok(rest)
}

fn power_off(mut guest: Guest) -> Result<()> {
    guest.power_off(POWER_OFF_WITHIN).map(|_| ())
}

fn cut_then_blessed() -> Result<()> {
    let bed = Bed::new("+3-0", |_| Ok(()))?;
    let mut first = bed.boot()?;
    let why = said(&first, "vakt: slot b 0.2.0 runs: ", SAID_WITHIN)?;
    ensure!(why == "on trial, with 2 more tries", "{why}");
    first.cut();
    bed.expect(&["vakt-a_0.1.0.efi", "vakt-b_0.2.0+2-1.efi"])?;

    let second = bed.boot()?;
    said(&second, "vakt: slot b 0.2.0 gets the try of its last boot back", SAID_WITHIN)?;
    said(&second, "vakt: slot b 0.2.0 runs: on trial, with 2 more tries", SAID_WITHIN)?;
    said(&second, "vakt: all services ready", SAID_WITHIN)?;
    said(&second, "vakt: slot b 0.2.0 runs: blessed", SAID_WITHIN)?;
    power_off(second)?;
    bed.expect(&["vakt-a_0.1.0.efi", "vakt-b_0.2.0.efi"])?;
    let uki = bed.disk.read("vakt-b_0.2.0.efi")?;
    ensure!(uki.len() > 8 << 20 && uki.starts_with(b"MZ"), "the blessed UKI has {} bytes", uki.len());

    let third = bed.boot()?;
    said(&third, "vakt: slot b 0.2.0 runs: blessed", SAID_WITHIN)?;
    ensure!(!third.serial.text().contains("last rollback"), "{}", third.serial.text());
    power_off(third)
}

fn panics() -> Result<()> {
    let bed = Bed::new("+2-0", |_| Ok(()))?;
    // The file system's superblock: mounting it reads it.
    bed.disk.damage(0)?;
    for left in ["+1-1", "+0-2"] {
        bed.boot()?.wait(SAID_WITHIN)?;
        bed.expect(&["vakt-a_0.1.0.efi", &format!("vakt-b_0.2.0{left}.efi")])?;
    }
    let guest = bed.boot()?;
    let reason = said(&guest, "vakt: last rollback: slot b 0.2.0: ", SAID_WITHIN)?;
    ensure!(reason.starts_with("kernel panic: "), "{reason}");
    ensure!(guest.serial.text().contains("vakt: slot a 0.1.0 runs: blessed"), "{}", guest.serial.text());
    power_off(guest)?;
    // Kept and shown again.
    let guest = bed.boot()?;
    ensure!(said(&guest, "vakt: last rollback: slot b 0.2.0: ", SAID_WITHIN)? == reason);
    power_off(guest)
}

fn init_fails() -> Result<()> {
    let bed = Bed::new("+2-0", |tree| {
        let path = tree.join(MANIFESTS).join("store.toml");
        let text = fs::read_to_string(&path)?;
        Ok(fs::write(path, format!("nonsense = 1\n{text}"))?)
    })?;
    for _ in 0..2 {
        let mut guest = bed.boot()?;
        said(&guest, "vakt: boot failed: ", SAID_WITHIN)?;
        guest.wait(SAID_WITHIN)?;
    }
    bed.expect(&["vakt-a_0.1.0.efi", "vakt-b_0.2.0+0-2.efi"])?;
    let guest = bed.boot()?;
    let reason = said(&guest, "vakt: last rollback: slot b 0.2.0: ", SAID_WITHIN)?;
    ensure!(reason.starts_with("init failed: ") && reason.contains("nonsense"), "{reason}");
    power_off(guest)
}

fn store_is_never_ready() -> Result<()> {
    let bed = Bed::new("+3-0", |tree| {
        let path = tree.join(MANIFESTS).join("store.toml");
        let text = fs::read_to_string(&path)?;
        Ok(fs::write(path, text.replace("\"serve\"", "\"no-such-command\""))?)
    })?;
    let mut guest = bed.boot()?;
    let reason = said(&guest, "vakt: slot b 0.2.0 is left: ", LEFT_WITHIN)?;
    ensure!(reason.starts_with("not well in time: ") && reason.contains("store is"), "{reason}");
    guest.wait(SAID_WITHIN)?;
    bed.expect(&["vakt-a_0.1.0.efi", "vakt-b_0.2.0+0-1.efi"])?;
    let guest = bed.boot()?;
    let kept = said(&guest, "vakt: last rollback: slot b 0.2.0: ", SAID_WITHIN)?;
    ensure!(kept == reason, "left for {reason:?}, told is {kept:?}");
    said(&guest, "vakt: all services ready", SAID_WITHIN)?;
    power_off(guest)
}

fn hangs() -> Result<()> {
    let mut bed = Bed::new("+1-0", |tree| {
        // Reading it waits for a writer, for ever, in stage 2 and before any service.
        let fifo = tree.join(MANIFESTS).join("web.toml");
        fs::remove_file(&fifo)?;
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        Ok(rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0)?)
    })?;
    // The device tells of the reset only to the same machine.
    (bed.machine.watchdog, bed.machine.restarts) = (true, true);
    let guest = bed.boot()?;
    said(&guest, "vakt: 0.2.0 slot b ", SAID_WITHIN)?;
    let armed = said(&guest, "vakt: watchdog armed, ", SAID_WITHIN)?;
    ensure!(armed == "60 s", "{armed}");
    let reason = said(&guest, "vakt: last rollback: slot b 0.2.0: ", RESET_WITHIN)?;
    ensure!(reason.contains("watchdog"), "{reason}");
    said(&guest, "vakt: all services ready", SAID_WITHIN)?;
    // Switched off in order: nothing resets a machine that is off.
    power_off(guest)?;
    bed.expect(&["vakt-a_0.1.0.efi", "vakt-b_0.2.0+0-1.efi"])
}

fn staged_by_the_api() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (esp_file, slot_file) = (directory.path().join("esp"), directory.path().join("slot"));
    let contents = esp::Contents {
        loader: fs::read(provider::inputs(Kernel::Stock)?.boot_loader)?,
        uki: vec![1; 3 << 20],
        uki_name: esp::first_uki(vakt_image::VERSION),
        keys: Vec::new(),
    };
    esp::make(&esp_file, &contents)?;
    let uki: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
    let mut slot = fs::File::create(&slot_file)?;
    slot.write_all(&vec![0; 8192])?;
    slot.write_all(&uki)?;
    let container = Container::start_with(&config(""), |tree| {
        let manifest = tree.join(MANIFESTS).join("log.toml");
        let text = fs::read_to_string(&manifest)?;
        fs::write(&manifest, format!("slot = true\n{text}"))?;
        let (esp, slot) = (esp_file.display().to_string(), slot_file.display().to_string());
        Ok(vec!["--esp".into(), esp, "--slot".into(), slot])
    })?;
    let disk = Disk::new(&esp_file);
    let first = esp::first_uki(vakt_image::VERSION);
    let slots = container.wait_for("the slots", || {
        let slots = container.ask("init", "/v1/slots")?;
        Ok((slots["slots"][0]["state"] == "blessed").then_some(slots))
    })?;
    ensure!(slots["running"]["slot"] == "a" && slots["slots"][1]["state"] == "empty", "{slots}");
    ensure!(slots["slots"][0]["bytes"] == 3 << 20 && slots["last_rollback"].is_null(), "{slots}");
    has_the_slot(&container, "log", &slot_file, true)?;
    has_the_slot(&container, "store", &slot_file, false)?;

    let wish = |version: &str, sha256: &str| {
        json!({"version": version, "uki_offset": 8192, "uki_length": uki.len(), "uki_sha256": sha256})
            .to_string()
    };
    let (good, bad) = (hex(&Sha256::digest(&uki)), "0".repeat(64));
    let post = |path: &str, body: &str| container.call("init", "POST", path, body);
    for (body, status) in [
        (wish("0.2.0", "nonsense"), 400),
        (wish("../0.2.0", &good), 400),
        ("{}".into(), 400),
        (wish("0.0.9", &good), 409),
    ] {
        let (found, answer) = post("/v1/slots/stage", &body)?;
        ensure!(found == status, "{body}: {found} {answer}");
    }
    ensure!(post("/v1/slots/stage", &wish("0.2.0", &bad))?.0 == 202);
    let error = wait_until_staged(&container, "error")?;
    ensure!(error.contains("SHA-256"), "{error}");

    ensure!(post("/v1/slots/stage", &wish("0.2.0", &good))?.0 == 202);
    wait_until_staged(&container, "done")?;
    ensure!(disk.entries()? == [first.as_str(), "vakt-b_0.2.0+3-0.efi"], "{:?}", disk.entries()?);
    ensure!(disk.read("vakt-b_0.2.0+3-0.efi")? == uki, "another UKI is on the boot partition");
    let slots = container.ask("init", "/v1/slots")?;
    ensure!(
        slots["slots"][1]
            == json!({"slot": "b", "version": "0.2.0", "state": "trying", "tries_left": 3, "bytes": uki.len()}),
        "{slots}"
    );

    ensure!(post("/v1/slots/clear", "")?.0 == 202);
    container.wait_for("an empty slot", || {
        let slots = container.ask("init", "/v1/slots")?;
        Ok((slots["slots"][1]["state"] == "empty").then_some(()))
    })?;
    ensure!(disk.entries()? == [first.as_str()], "{:?}", disk.entries()?);
    ensure!(disk.read(&first)? == vec![1; 3 << 20], "the running slot's UKI was changed");
    Ok(())
}

/// Waits until the last staging is over; returns its error, or nothing when `what` is `done`.
fn wait_until_staged(container: &Container, what: &str) -> Result<String> {
    let until = Instant::now() + SAID_WITHIN;
    loop {
        let slots = container.ask("init", "/v1/slots")?;
        let staging = &slots["staging"];
        if what == "done" && staging["done"] == true {
            return Ok(String::new());
        }
        if let (true, Some(error)) = (what == "error", staging["error"].as_str()) {
            return Ok(error.to_owned());
        }
        ensure!(Instant::now() < until && (what == "error" || staging["error"].is_null()), "{slots}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether a service holds the other slot's file open.
fn has_the_slot(container: &Container, service: &str, slot: &Path, expected: bool) -> Result<()> {
    let pid = container.services()?.get(service).copied().with_context(|| format!("no {service}"))?;
    let wanted = fs::metadata(slot)?;
    let mut found = false;
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // A descriptor may be closed between the list and this look.
        let Ok(metadata) = fs::metadata(entry?.path()) else { continue };
        found |= (metadata.dev(), metadata.ino()) == (wanted.dev(), wanted.ino());
    }
    ensure!(found == expected, "{service} was handed the slot: {found}");
    Ok(())
}
