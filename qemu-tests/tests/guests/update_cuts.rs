//! The power is cut at every kind of moment of an update: one run of it is recorded write by write, and disks
//! are rebuilt from it as a cut would have left them. Each must have an entry that boots, a sound state, and
//! every acknowledged record; some are booted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use vakt_image::process::run;
use vakt_image::qemu::{Machine, WriteLog};
use vakt_qemu_tests::acknowledged::Records;
use vakt_qemu_tests::bench::connection::Connection;
use vakt_qemu_tests::bench::process::Server;
use vakt_qemu_tests::container::{TOKEN, config, free_port};
use vakt_qemu_tests::guest::{self, Appliance, Image};
use vakt_qemu_tests::harness::{self, Group};
use vakt_qemu_tests::slots::{Disk, Release};
use vakt_qemu_tests::write_log::{Chance, Rebuilt};
use vakt_qemu_tests::{programs, updates};

/// Disks that are rebuilt, and how many of them are booted: in `make test`, and in `make test-long`.
const CUTS: [(usize, usize); 2] = [(50, 3), (1000, 20)];

/// All services ready, 30 s of proof, and a slow machine.
const BLESSED_WITHIN: Duration = Duration::from_secs(300);

/// Pause between two inserts: some hundred of them lie in an update.
const INSERT_EVERY: Duration = Duration::from_millis(200);

/// The state partition, as QEMU's guests have it.
const STATE: &str = "vakt-state";

/// The version that is there, and the one that comes.
const NEW: &str = "0.2.0";

pub fn tests() -> Group {
    (
        guest::missing(),
        &[("wherever_the_power_is_cut_in_an_update_the_box_boots_and_has_what_it_acknowledged", cuts)],
    )
}

/// An update from the upload to the blessing, with inserts all the while.
struct Recording {
    before: PathBuf,
    logs: [PathBuf; 2],
    /// For each acknowledged insert: which log was written, and its length then.
    acknowledged: Vec<(usize, u64)>,
    records: Records,
    releases: [(&'static str, Release); 2],
}

fn cuts() -> Result<()> {
    let image = Image::find()?;
    let directory = tempfile::tempdir()?;
    let recording = record(&image, directory.path())?;
    let (disks, boots) = CUTS[usize::from(harness::is_long())];
    let disk = directory.path().join("rebuilt");
    copy(&recording.before, &disk)?;
    let mut rebuilt = Rebuilt::new(&disk, &recording.logs.each_ref().map(PathBuf::as_path))?;
    let flushes: Vec<usize> =
        rebuilt.entries().enumerate().filter(|(_, entry)| entry.flush).map(|(number, _)| number).collect();
    let writes = rebuilt.entries().len();
    println!("recorded {writes} writes, {} flushes, {} inserts", flushes.len(), recording.acknowledged.len());
    ensure!(flushes.len() > 1, "nothing was flushed");
    let mut booted = 0;
    for cut in 0..disks {
        // Evenly over the flushes; with more disks than flushes each has another part of what was in flight.
        let at = cut * (flushes.len() - 1) / disks;
        let (flushed, next) = (flushes[at] + 1, flushes[at + 1]);
        rebuilt.forward(flushed)?;
        let mut chance = Chance::new(cut as u64 + 1);
        let survivors: Vec<usize> = (flushed..next).filter(|_| chance.coin()).collect();
        rebuilt.in_flight(&survivors)?;
        let last =
            recording.acknowledged.iter().filter(|(log, bytes)| rebuilt.position(*log, *bytes) <= flushed);
        let last = last.count() as u64;
        let context =
            || format!("cut {cut}: {flushed} writes, {} of {} in flight", survivors.len(), next - flushed);
        let entries = check(&disk, &recording, last, directory.path()).with_context(context)?;
        if cut % 10 == 0 {
            println!("{}: {last} acknowledged, {entries:?}", context());
        }
        if cut >= booted * disks / boots {
            boot(&image, &disk, &recording, last, directory.path()).with_context(context)?;
            println!("{}: booted", context());
            booted += 1;
        }
        rebuilt.back()?;
    }
    println!("{disks} cuts survived of {disks} made, {booted} of them booted");
    Ok(())
}

fn record(image: &Image, directory: &Path) -> Result<Recording> {
    let (before, disk) = (directory.join("before"), directory.join("disk"));
    let logs = [directory.join("first.log"), directory.join("second.log")];
    let built = updates::build(NEW, &directory.join("image"), |_| Ok(()))?;
    let archive = updates::archive(&directory.join("image"), NEW, &updates::ours()?, directory)?;
    image.copy(&before)?;
    let old = Disk::new(&before);
    let mut root = old.look("vakt-root-a", 0, image.manifest.root_bytes as usize)?;
    root.truncate(image.manifest.root_bytes as usize);
    let old = Release { root, uki: old.read(&format!("vakt-a_{}.efi", image.manifest.version))? };
    copy(&before, &disk)?;
    let token = directory.join("token");
    fs::write(&token, TOKEN)?;
    let records = Records::from_now()?;
    let mut acknowledged = Vec::new();
    let boot = |log: &Path, config: Option<&str>| {
        fs::write(log, "")?;
        let machine = Machine { write_log: Some(WriteLog(log.to_owned())), ..image.by_firmware(&disk)? };
        Appliance::start(machine, config, directory)
    };
    let mut first = boot(&logs[0], Some(&config("")))?;
    let (began, before_bytes) = (Instant::now(), fs::metadata(&logs[0])?.len());
    let told = while_inserting(&first, records, (0, &logs[0]), &mut acknowledged, || {
        updates::upload(&first, &token, &archive)
    })?;
    ensure!(told.contains("staged"), "{told}");
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (update, written) = (fs::metadata(&archive)?.len(), fs::metadata(&logs[0])?.len() - before_bytes);
    println!(
        "an update of {:.1} MiB took {:.1} s and {:.1} MiB of writes, {:.2} times its size, inserts included",
        mib(update),
        began.elapsed().as_secs_f64(),
        mib(written),
        written as f64 / update as f64
    );
    first.power_off()?;
    let mut second = boot(&logs[1], None)?;
    let mark = format!("vakt: slot b {NEW} runs: blessed");
    while_inserting(&second, records, (1, &logs[1]), &mut acknowledged, || {
        second.guest.serial.wait_for(&mark, BLESSED_WITHIN).with_context(|| second.guest.serial.text())
    })?;
    second.power_off()?;
    let releases = [("a", old), ("b", Release::of(&built)?)];
    Ok(Recording { before, logs, acknowledged, records, releases })
}

/// Does `work`, and inserts records beside it until it is over. What is acknowledged lies in the log's first
/// bytes of then.
fn while_inserting<T>(
    appliance: &Appliance,
    records: Records,
    (log, path): (usize, &Path),
    acknowledged: &mut Vec<(usize, u64)>,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let inserting = scope.spawn(|| -> Result<()> {
            while !over.load(Ordering::Relaxed) {
                records.insert(appliance, acknowledged.len() as u64 + 1)?;
                acknowledged.push((log, fs::metadata(path)?.len()));
                std::thread::sleep(INSERT_EVERY);
            }
            Ok(())
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        inserting.join().map_err(|_| anyhow::anyhow!("the inserting thread panicked"))??;
        done
    })
}

/// Looks at a disk from outside; returns its boot entries.
fn check(disk: &Path, recording: &Recording, last: u64, directory: &Path) -> Result<Vec<String>> {
    let entries = boot_entries(&Disk::new(disk), &recording.releases)?;
    let state = directory.join("state");
    Disk::new(disk).copy_out(STATE, &state)?;
    // As the kernel at a mount: the journal is replayed. Anything beyond that would be damage.
    let replayed = Command::new("/sbin/e2fsck").args(["-p", "-E", "journal_only"]).arg(&state).output()?;
    ensure!(replayed.status.code().is_some_and(|code| code < 4), "{}", told(&replayed));
    let sound = Command::new("/sbin/e2fsck").args(["-f", "-p"]).arg(&state).output()?;
    ensure!(sound.status.code().is_some_and(|code| code < 4), "{}", told(&sound));
    if last > 0 {
        acknowledged(&state, recording.records, last)?;
    }
    fs::remove_file(&state)?;
    Ok(entries)
}

/// Every entry that the loader may take has its UKI whole, and its root.
fn boot_entries(disk: &Disk, releases: &[(&str, Release)]) -> Result<Vec<String>> {
    let entries = disk.entries()?;
    let mut boots = 0;
    for name in &entries {
        let (slot, rest) = name.trim_start_matches("vakt-").split_once('_').context("a strange entry")?;
        if rest.contains("+0-") {
            continue;
        }
        let release = &releases.iter().find(|(of, _)| *of == slot).context("an entry of no slot")?.1;
        ensure!(disk.read(name)? == release.uki, "{name} is not whole");
        let root = disk.look(&format!("vakt-root-{slot}"), 0, release.root.len())?;
        ensure!(root == release.root, "{name} is there before its root is");
        boots += 1;
    }
    ensure!(boots > 0, "no entry boots: {entries:?}");
    Ok(entries)
}

/// The engines read their directories as the cut left them.
fn acknowledged(state: &Path, records: Records, last: u64) -> Result<()> {
    let directory = tempfile::tempdir()?;
    for service in ["store", "log"] {
        let dump = format!("rdump /{service} {}", directory.path().display());
        let dumped = Command::new("/sbin/debugfs").args(["-R", &dump]).arg(state).output()?;
        ensure!(directory.path().join(service).is_dir(), "no {service} in state: {}", told(&dumped));
    }
    let ask = |service: &str, path: &str| -> Result<String> {
        let address = free_port()?;
        let mut command = Command::new(programs::path(&format!("vakt-{service}"))?);
        command.arg("serve").arg("--data").arg(directory.path().join(service));
        command.args(["--listen", &address.to_string()]);
        let server = Server::start(&mut command, address, &directory.path().join(format!("{service}.txt")))?;
        let (status, body) = Connection::open(address)?.get(path)?;
        let text = String::from_utf8(body)?;
        ensure!(status == 200, "{service}: {status} {text}");
        drop(server);
        Ok(text)
    };
    let lines = ask("log", Records::lines_path())?;
    Records::hold(&lines, &ask("store", &records.samples_path(last))?, last)
}

fn boot(image: &Image, disk: &Path, recording: &Recording, last: u64, directory: &Path) -> Result<()> {
    let own = directory.join("booted");
    copy(disk, &own)?;
    let config = if last == 0 { Some(config("")) } else { None };
    let mut appliance = Appliance::start(image.by_firmware(&own)?, config.as_deref(), directory)?;
    recording.records.hold_on(&appliance, last)?;
    appliance.power_off()?;
    fs::remove_file(own)?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").arg("--sparse=always").arg(from).arg(to))?;
    Ok(())
}

fn told(output: &std::process::Output) -> String {
    format!(
        "e2fsprogs ended with {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
