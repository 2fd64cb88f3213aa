//! The purpose of the box, end to end: the image in QEMU watches a real systemd machine over SSH, repairs
//! its failed unit, and shows it all to a browser that signs in.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use vakt_image::qemu::{Machine, Reach};
use vakt_qemu_tests::browser::{self, Browser};
use vakt_qemu_tests::container::{config, workspace};
use vakt_qemu_tests::guest::{self, Appliance, Image};
use vakt_qemu_tests::harness;
use vakt_qemu_tests::programs;
use vakt_qemu_tests::systemd_peer::{self, DEMO, SystemdPeer};

/// Where the guest sees the peer: QEMU leads it to the peer's sshd.
const PEER_IN_GUEST: &str = "10.0.2.100:22";

const PASSWORD: &str = "correct horse battery staple";

fn main() -> ExitCode {
    let missing = guest::missing().or_else(systemd_peer::missing).or_else(browser::missing);
    harness::run(missing, &[("a_failed_unit_of_a_peer_is_repaired_and_every_page_tells_it", whole)])
}

fn peer_config(peer: &SystemdPeer) -> String {
    format!(
        "[ssh]\nread_key = \"\"\"\n{}\"\"\"\nrepair_key = \"\"\"\n{}\"\"\"\n[[peer]]\nname = \"db1\"\n\
         address = \"{PEER_IN_GUEST}\"\nhost_key = \"{}\"\ninterval = \"5s\"\n[[policy]]\nname = \"restart-demo\"\n\
         yaml = \"\"\"\nversion: 1\nname: restart-demo\nmatch:\n  unit: {DEMO}\n  peers: [db1]\n  state: failed\n\
         guards:\n  max_per_hour: 3\n  cooldown: 10s\naction:\n  verb: restart\n  timeout: 30s\nverify:\n  \
         active_for: 10s\n\"\"\"\n",
        peer.read_key(),
        peer.repair_key(),
        peer.host_key().trim(),
    )
}

fn whole() -> Result<()> {
    let peer = SystemdPeer::start()?;
    let image = Image::find()?;
    let directory = tempfile::tempdir()?;
    let disk = directory.path().join("disk");
    image.copy(&disk)?;
    let carrier = programs::path("vakt-image")?;
    let reaches = vec![Reach { guest: PEER_IN_GUEST.parse()?, host: peer.address(), carrier }];
    let machine = Machine { reaches, ..image.by_kernel(&disk) };
    let mut appliance = Appliance::start(machine, Some(&config(&peer_config(&peer))), directory.path())?;

    // The peer's metrics arrive though nothing is installed there.
    appliance
        .eventually("/api/v1/query?query=up%7Binstance%3D%22db1%22%7D", |text| {
            text.contains(",\"1\"]").then_some(())
        })
        .with_context(|| appliance.story())?;
    peer.fail_unit(DEMO)?;
    peer.wait_until("the unit to be repaired", |peer| {
        peer.unit_state(DEMO).is_ok_and(|state| state == "active")
    })?;

    let code = appliance.guest.serial.wait_for("vakt: setup code ", guest::READY_WITHIN)?;
    let errors = look_at_pages(&appliance, &code).with_context(|| appliance.story())?;
    ensure!(errors.is_empty(), "the browser complained: {errors:#?}");
    appliance.power_off()
}

/// Signs in through the set-up page and opens every page; returns what the browser complained about.
fn look_at_pages(appliance: &Appliance, code: &str) -> Result<Vec<String>> {
    let artefacts = artefacts()?;
    let base = format!("https://{}", appliance.https);
    let mut browser = Browser::start(1280)?;
    browser.open(&format!("{base}/"))?;
    ensure!(browser.url()?.contains("/set-up") || browser.url()?.contains("/sign-in"), "{}", browser.url()?);
    browser.open(&format!("{base}/set-up"))?;
    browser.screenshot(&artefacts.join("set-up.png"))?;
    let fields =
        [("#code", code), ("#user", "admin"), ("#password", PASSWORD), ("#password_again", PASSWORD)];
    browser.submit(&fields, "#submit")?;
    if browser.url()?.contains("/sign-in") {
        browser.submit(&[("#user", "admin"), ("#password", PASSWORD)], "#submit")?;
    }
    browser.open(&format!("{base}/"))?;
    let overview = browser.text()?;
    ensure!(
        overview.contains("db1") && overview.contains("guard"),
        "the overview does not list both:\n{overview}"
    );
    let pages = [
        ("overview", "/", "db1"),
        ("host", "/host/guard", "guard"),
        ("host-peer", "/host/db1", "db1"),
        ("logs", "/logs", "Logs"),
        ("config", "/config", "is in force"),
        ("updates", "/updates", "Updates"),
        ("boots", "/boots", "How the last ones ended"),
        ("box", "/box", "Machine id"),
        // Last, for its text is looked at below.
        ("repairs", "/repairs", DEMO),
    ];
    for (name, path, expected) in pages {
        open_until(&mut browser, &format!("{base}{path}"), expected)?;
        browser.screenshot(&artefacts.join(format!("{name}.png")))?;
    }
    let repairs = browser.text()?.to_lowercase();
    for step in ["seen", "decided", "called", "answered", "verified"] {
        ensure!(repairs.contains(step), "the repairs page does not tell what was {step}:\n{repairs}");
    }
    let mut phone = Browser::start(390)?;
    phone.open(&format!("{base}/sign-in"))?;
    phone.submit(&[("#user", "admin"), ("#password", PASSWORD)], "#submit")?;
    for (name, path, expected) in pages {
        open_until(&mut phone, &format!("{base}{path}"), expected)?;
        let wide =
            phone.evaluate("document.documentElement.scrollWidth > window.innerWidth ? 'wide' : 'fits'")?;
        ensure!(wide == "fits", "{path} is wider than a phone");
        phone.screenshot(&artefacts.join(format!("{name}-phone.png")))?;
    }
    let mut errors = browser.errors.clone();
    errors.extend(phone.errors.clone());
    Ok(errors)
}

/// Opens a page again until it shows what is on its way, for at most a minute.
fn open_until(browser: &mut Browser, url: &str, expected: &str) -> Result<()> {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        browser.open(url)?;
        let text = browser.text()?;
        // The last step of a repair is the one that takes its time.
        let done = text.contains(expected)
            && (!url.ends_with("/repairs") || text.to_lowercase().contains("verified"));
        if done {
            return Ok(());
        }
        ensure!(std::time::Instant::now() < until, "{url} never showed {expected:?}:\n{text}");
    }
}

fn artefacts() -> Result<PathBuf> {
    let directory = Path::new(&workspace()).join("artefacts");
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}
