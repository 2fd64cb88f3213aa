//! What goes wrong with real boxes: a dead clock, no network, a state whose first blocks were overwritten, no
//! state at all. The box comes up and says so.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vakt_image::qemu::{Guest, Machine};
use vakt_qemu_tests::browser::{self, Browser};
use vakt_qemu_tests::container::config;
use vakt_qemu_tests::guest::{self, Appliance, Image, POWER_OFF_WITHIN, READY_WITHIN};
use vakt_qemu_tests::harness::Group;
use vakt_qemu_tests::slots::Disk;

/// Without a network a box waits 20 s for one before it goes on.
const ALONE_WITHIN: Duration = Duration::from_secs(300);

/// The state partition's label.
const STATE: &str = "vakt-state";

pub fn tests() -> Group {
    (
        guest::missing().or_else(browser::missing),
        &[
            ("a_dead_clock_goes_on_from_where_it_was_last_seen", dead_clock),
            ("damaged_state_is_mended_and_a_lost_one_is_not_touched", damaged_state),
            ("full_state_costs_the_oldest_logs_and_nothing_else", full_state),
            ("short_memory_is_answered_before_the_kernel_kills", short_memory),
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
    let said = second.guest.serial.wait_for("vakt: state was badly damaged and is mended", READY_WITHIN)?;
    println!("state was badly damaged and is mended{said}");
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

/// More logs than their share of state: 35 % of the 128 MiB that an image has before it grows. Base64 is packed to
/// three quarters.
const FILL_BYTES: usize = 80 << 20;

/// Lines of one insert, and bytes of each.
const FILL_LINES: usize = 64;
const FILL_LINE_BYTES: usize = 8 << 10;

fn full_state() -> Result<()> {
    let image = Image::find()?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("disk");
    image.copy(&path)?;
    // Without room to grow into.
    std::fs::File::options().write(true).open(&path)?.set_len(image.manifest.disk_bytes)?;
    let mut appliance = Appliance::start(image.by_kernel(&path), Some(&config("")), directory.path())?;
    let inserts = FILL_BYTES / (FILL_LINES * FILL_LINE_BYTES);
    let mut refused = 0;
    for number in 0..inserts {
        let body = noise(number as u64);
        let answer =
            appliance.post("/insert/jsonline", "Content-Type: application/x-ndjson\r\n", body.as_bytes())?;
        refused += u32::from(answer.status != 200);
    }
    println!("{inserts} inserts of {} kB, {refused} of them refused", (FILL_LINES * FILL_LINE_BYTES) >> 10);
    // Writes go on, the newest is found and the oldest is gone.
    let path = |mark: &str| {
        format!("/select/logsql/query?query=mark%3A%3D{mark}&limit=1&start=2020-01-01T00:00:00Z")
    };
    let newest = format!("m{}x0", inserts + 7);
    let last = noise(inserts as u64 + 7);
    appliance.eventually("/health", |_| {
        let headers = "Content-Type: application/x-ndjson\r\n";
        appliance
            .post("/insert/jsonline", headers, last.as_bytes())
            .is_ok_and(|answer| answer.status == 200)
            .then_some(())
    })?;
    appliance.eventually(&path(&newest), |text| text.contains(&newest).then_some(()))?;
    appliance.eventually(&path("m0x0"), |text| text.trim().is_empty().then_some(()))?;
    // A new user, a new session: the catalog has room.
    let code = appliance.guest.serial.wait_for("vakt: setup code ", READY_WITHIN)?;
    let base = format!("https://{}", appliance.https);
    let mut browser = Browser::start(1280)?;
    browser.open(&format!("{base}/set-up"))?;
    let password = "correct horse battery";
    browser.submit(
        &[("#code", &code), ("#user", "admin"), ("#password", password), ("#password_again", password)],
        "#submit",
    )?;
    if browser.url()?.contains("/sign-in") {
        browser.submit(&[("#user", "admin"), ("#password", password)], "#submit")?;
    }
    browser.open(&format!("{base}/"))?;
    let overview = browser.text()?;
    println!("{overview}");
    ensure!(overview.contains("Services") && !overview.contains("backoff"), "{overview}");
    let log = overview.lines().find(|line| line.starts_with("log")).context("no line of the log service")?;
    ensure!(log.contains("ready") && log.contains(" of "), "the log service is not bounded: {log}");
    appliance.power_off()
}

/// Memory of a box that is too small for its work: the bounds of its services together are several times as much.
const SMALL_MIB: u32 = 176;

/// Inserts of [`noise`] at most until memory gets short.
const SHORT_INSERTS_MAX: u64 = 600;

fn short_memory() -> Result<()> {
    let image = Image::find()?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("disk");
    image.copy(&path)?;
    let machine = Machine { memory_mib: SMALL_MIB, ..image.by_kernel(&path) };
    let mut appliance = Appliance::start(machine, Some(&config("")), directory.path())?;
    let headers = "Content-Type: application/x-ndjson\r\n";
    let mut inserts = 0;
    while !appliance.guest.serial.text().contains("vakt: memory is short") {
        ensure!(inserts < SHORT_INSERTS_MAX, "{inserts} inserts did not make memory short");
        // While memory is short an answer may be late; the box is asked again below.
        let _ = appliance.post("/insert/jsonline", headers, noise(inserts).as_bytes());
        inserts += 1;
    }
    println!(
        "after {inserts} inserts: {}",
        appliance
            .guest
            .serial
            .text()
            .lines()
            .rev()
            .find(|line| line.contains("memory is short"))
            .unwrap_or_default()
    );
    // Everything goes on, and nobody was killed.
    appliance.eventually("/api/v1/query?query=node_vmstat_oom_kill", |text| {
        text.contains(",\"0\"]").then_some(())
    })?;
    appliance.eventually("/select/logsql/query?query=%22memory%20is%20short%22&limit=1", |text| {
        text.contains("memory is short").then_some(())
    })?;
    appliance.power_off()
}

/// Lines that do not pack, each with a mark of its own.
fn noise(number: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = String::new();
    for line in 0..FILL_LINES {
        text += &format!("{{\"mark\":\"m{number}x{line}\",\"_msg\":\"");
        for _ in 0..FILL_LINE_BYTES {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text.push(LETTERS[(state >> 40) as usize % 64].into());
        }
        text += "\"}\n";
    }
    text
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
