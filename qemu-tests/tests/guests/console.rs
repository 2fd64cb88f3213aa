//! The image in QEMU: what its host hands in, its console driven over the serial port, and a reset of everything from there.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use vakt_image::qemu::{Credential, Machine, ready};
use vakt_qemu_tests::container::config;
use vakt_qemu_tests::guest::{self, Appliance, Image, READY_WITHIN};
use vakt_qemu_tests::harness::Group;
use vakt_qemu_tests::programs;
use vakt_qemu_tests::visitor::Visitor;

const PASSWORD: &str = "correct horse battery";

/// What a key leads to, on a builder that is busy.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);

pub fn tests() -> Group {
    (
        guest::missing(),
        &[("credentials_are_taken_and_a_factory_reset_at_the_console_gives_a_new_identity", lives)],
    )
}

fn lives() -> Result<()> {
    let image = Image::find()?;
    let directory = tempfile::tempdir()?;
    let disk = directory.path().join("disk");
    image.copy(&disk)?;
    let credential =
        |name: &str, value: String, by_fw_cfg| Credential { name: name.into(), value, by_fw_cfg };
    let credentials = vec![
        credential("system.hostname", "handed".into(), false),
        credential("passwd.hashed-password.admin", hash()?, false),
        credential("vakt.config", config("").replace("hostname = \"guard\"\n", ""), true),
        credential("system.hostname", "not a name".into(), true),
    ];
    let machine = Machine { credentials, restarts: true, ..image.by_firmware(&disk)? };
    let mut appliance = Appliance::start(machine, None, directory.path())?;
    let told = appliance.guest.serial.text();
    ensure!(
        told.contains("vakt: credential system.hostname: \"not a name\""),
        "no word of the wrong one:\n{told}"
    );
    let first = identity(&appliance, &appliance.guest.serial.wait_for("vakt: fingerprint ", SHOWN_WITHIN)?)?;
    let body = b"{\"_msg\":\"of the first life\"}\n";
    let answer = appliance.post("/insert/jsonline", "Content-Type: application/x-ndjson\r\n", body)?;
    ensure!(answer.status == 200, "the insert was refused: {}", answer.text());

    at_the_console(&appliance)?;
    the_administrator_is_reset(&appliance)?;
    let from = appliance.guest.serial.text().len();
    appliance.guest.type_serial("ehanded\r")?;
    shown(&appliance, from, "vakt: the console asks to reset everything", SHOWN_WITHIN)?;
    shown(&appliance, from, "vakt: reset done: everything, as the console asked", READY_WITHIN)?;
    let fingerprint = shown(&appliance, from, "vakt: fingerprint ", READY_WITHIN)?;
    ready::wait(appliance.https, &fingerprint, READY_WITHIN)?;

    let second = identity(&appliance, &fingerprint)?;
    for (before, after) in first.iter().zip(&second) {
        ensure!(before != after, "{before} has outlived the reset");
    }
    let answer = appliance.get("/select/logsql/query?query=%22of%20the%20first%20life%22")?;
    ensure!(
        answer.status == 200 && !answer.text().contains("first life"),
        "a log line has outlived the reset"
    );
    by_the_boot_menu(&appliance)?;
    appliance.power_off()
}

/// A key held at power-on shows the menu; its second entry resets the settings, and the one after it boots as ever.
fn by_the_boot_menu(appliance: &Appliance) -> Result<()> {
    let from = appliance.guest.serial.text().len();
    appliance.guest.type_serial("\rrrestart\r")?;
    shown(appliance, from, "vakt: the console asks to reboot", SHOWN_WITHIN)?;
    let until = Instant::now() + READY_WITHIN;
    let seen = |from: usize| {
        appliance.guest.serial.text().get(from..).is_some_and(|new| new.contains("Reset the settings"))
    };
    while !seen(from) {
        ensure!(Instant::now() < until, "no boot menu in:\n{}", appliance.guest.serial.text());
        appliance.guest.type_serial(" ")?;
        std::thread::sleep(Duration::from_millis(100));
    }
    // The menu is drawn anew when the mark has moved.
    let drawn = appliance.guest.serial.text().len();
    appliance.guest.type_serial("j")?;
    while !seen(drawn) {
        ensure!(Instant::now() < until, "the mark does not move:\n{}", appliance.guest.serial.text());
        std::thread::sleep(Duration::from_millis(100));
    }
    appliance.guest.type_serial("\r")?;
    shown(appliance, drawn, "vakt: reset done: settings, as the boot menu asked", READY_WITHIN)?;
    let fingerprint = shown(appliance, drawn, "vakt: fingerprint ", READY_WITHIN)?;
    ready::wait(appliance.https, &fingerprint, READY_WITHIN)
}

/// The screen, a word that is refused, and an address that is tried and kept.
fn at_the_console(appliance: &Appliance) -> Result<()> {
    let from = appliance.guest.serial.text().len();
    let step = |typed: &str, mark: &str| -> Result<()> {
        let from = appliance.guest.serial.text().len();
        appliance.guest.type_serial(typed)?;
        shown(appliance, from, mark, SHOWN_WITHIN).map(|_| ())
    };
    step("\r", "n network")?;
    for part in ["   handed", "https://10.0.2.15/", "store: ready", "SHA256:"] {
        shown(appliance, from, part, SHOWN_WITHIN)?;
    }
    step("e", "EVERYTHING is removed")?;
    step("guard\r", "nothing was done")?;
    step("n", "network: DHCP")?;
    step("s", "static address")?;
    step("eth0\r10.0.2.15/24\r10.0.2.2\r\r", "k keeps it")?;
    step("k", "done")?;
    appliance.eventually("/api/vakt/v1/config", |text| {
        (text.contains("10.0.2.15/24") && text.contains("\"pending\":null")).then_some(())
    })
}

/// Who has lost the password gets a new code at the console, and the old password is good for nothing.
fn the_administrator_is_reset(appliance: &Appliance) -> Result<()> {
    let from = appliance.guest.serial.text().len();
    appliance.guest.type_serial("a")?;
    shown(appliance, from, "Nobody can sign in then", SHOWN_WITHIN)?;
    appliance.guest.type_serial("handed\r")?;
    let code = shown(appliance, from, "vakt: setup code ", READY_WITHIN)?;
    let mut visitor = Visitor::new(appliance.https);
    visitor.open("/")?;
    ensure!(visitor.page().contains("Set up this box"), "no set-up form:\n{}", visitor.page());
    let answer = visitor.send("/sign-in", &[("user", "admin"), ("password", PASSWORD), ("next", "")])?;
    ensure!(answer.status != 200 || !visitor.page().contains("Sign out"), "the old password still signs in");
    visitor.open("/set-up")?;
    let fields =
        [("user", "second"), ("password", PASSWORD), ("password_again", PASSWORD), ("code", code.as_str())];
    let answer = visitor.send("/set-up", &fields)?;
    visitor.expect(&answer, 200)?;
    shown(appliance, from, "vakt: set up by second", SHOWN_WITHIN)?;
    // Nobody has typed for a while; an open menu is closed by its key, and Enter opens it either way.
    let from = appliance.guest.serial.text().len();
    appliance.guest.type_serial("q\r")?;
    shown(appliance, from, "n network", SHOWN_WITHIN).map(|_| ())
}

/// Certificate, machine id and public SSH keys, as the pages tell somebody who signs in with the password whose hash was
/// handed in.
fn identity(appliance: &Appliance, fingerprint: &str) -> Result<Vec<String>> {
    let mut visitor = Visitor::new(appliance.https);
    visitor.open("/sign-in")?;
    let answer = visitor.send("/sign-in", &[("user", "admin"), ("password", PASSWORD), ("next", "/box")])?;
    visitor.expect(&answer, 200)?;
    ensure!(answer.fingerprint == fingerprint, "another certificate answers");
    let (_, rest) = visitor.page().split_once("id=\"machine-id\">").context("no machine id on the page")?;
    let id = rest.split('<').next().unwrap_or_default().to_owned();
    ensure!(id.len() == 32, "{id:?} is no machine id");
    ensure!(visitor.page().contains("handed"), "the box has another name:\n{}", visitor.page());
    let keys: Vec<String> = visitor
        .page()
        .match_indices("ssh-ed25519 ")
        .map(|(at, _)| visitor.page()[at..at + 80].to_owned())
        .collect();
    ensure!(keys.len() == 2, "{keys:?} on the page");
    Ok([vec![fingerprint.to_owned(), id], keys].concat())
}

/// The rest of the first line behind `from` that has `mark` in it.
fn shown(appliance: &Appliance, from: usize, mark: &str, within: Duration) -> Result<String> {
    let until = Instant::now() + within;
    loop {
        let text = appliance.guest.serial.text();
        let new = text.get(from..).unwrap_or_default();
        if let Some((_, rest)) = new.split_once(mark)
            && let Some(end) = rest.find(['\r', '\n', '\u{1b}'])
        {
            return Ok(rest[..end].trim().to_owned());
        }
        ensure!(Instant::now() < until, "{mark:?} was not seen in:\n{new}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn hash() -> Result<String> {
    let mut child = Command::new(programs::path("vakt-web")?)
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("no input")?.write_all(PASSWORD.as_bytes())?;
    Ok(String::from_utf8(child.wait_with_output()?.stdout)?.trim().to_owned())
}
