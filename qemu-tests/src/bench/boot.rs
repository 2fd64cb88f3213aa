//! From power-on to ready: the flashed image by firmware in QEMU, in alternation with a plain Debian 12.
//!
//! Same firmware, boot loader, disk bus, processors and memory. Ready is for Vakt that its pages answer over
//! TLS with the certificate that its console named, for Debian that its sshd says its banner. Both have
//! booted once before, so neither makes keys or grows a disk.

use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use vakt_image::process::run;
use vakt_image::provider;
use vakt_image::qemu::{Boot, Forward, Guest, Machine, kvm_works};

use super::sizes::Release;
use super::{Row, median, plain_debian};
use crate::container::free_port;
use crate::guest::{self, Appliance, DISK_BYTES, POWER_OFF_WITHIN, READY_WITHIN};

/// Boots of each; the table shows their medians.
const ROUNDS: usize = 3;

/// The smallest machine that it is for.
const SMALL_MIB: u32 = 256;

/// A connection to a guest that has no network yet hangs for seconds; so a new one is tried this often,
/// and each waits so long for the banner.
const KNOCK_EVERY: Duration = Duration::from_millis(250);
const BANNER_WITHIN: Duration = Duration::from_secs(5);

/// Takes the measure.
///
/// # Errors
/// When a guest does not get ready, or not power off.
pub fn measure() -> Result<Vec<Row>> {
    if let Some(reason) = guest::missing() {
        return Ok(vec![Row::skipped("boot", &reason)]);
    }
    let release = match Release::find() {
        Ok(release) => release,
        Err(error) => return Ok(vec![Row::skipped("boot", &format!("{error:#}"))]),
    };
    let how = if kvm_works() { "KVM" } else { "TCG" };
    let room = tempfile::Builder::new().prefix("vakt-bench").tempdir()?;
    let disk = room.path().join("vakt");
    copy(&release.disk, &disk)?;
    let first = vakt(&disk, None, room.path())?;
    eprintln!("  first boot {first:.1} s");
    let debian = plain_debian::ready().and_then(|made| {
        let disk = room.path().join("debian");
        copy(&made, &disk)?;
        eprintln!("  plain Debian, first boot {:.1} s", debian(&disk)?);
        Ok(disk)
    });
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        ours.push(vakt(&disk, None, room.path())?);
        if let Ok(disk) = &debian {
            theirs.push(self::debian(disk)?);
        }
        eprintln!("  round {round}: {:?} s, plain Debian {:?} s", ours.last(), theirs.last());
    }
    let what = format!("power-on to ready, second boot, {how}");
    let mut rows = match &debian {
        Ok(_) => vec![Row::beside(&what, "plain Debian 12 to sshd", median(&ours), median(&theirs), "s")],
        Err(error) => vec![
            Row::alone(&what, median(&ours), "s"),
            Row::skipped("plain Debian 12", &format!("not built: {error:#}")),
        ],
    };
    rows.push(Row::alone(&format!("first boot, {how}"), first, "s"));
    let small = vakt(&disk, Some(SMALL_MIB), room.path())?;
    rows.push(Row::alone(&format!("with {SMALL_MIB} MiB of memory, {how}"), small, "s"));
    Ok(rows)
}

/// A disk as large as a guest's, sparse.
fn copy(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").arg("--sparse=always").arg(from).arg(to))?;
    let file = File::options().write(true).open(to)?;
    Ok(file.set_len(DISK_BYTES.max(file.metadata()?.len()))?)
}

fn machine(disk: &Path) -> Result<Machine> {
    let variables: PathBuf = disk.with_extension("efivars");
    Ok(Machine::new(Boot::Firmware { ovmf: provider::firmware()?, variables, secure_boot: false }, disk))
}

/// Boots the appliance, powers it off, and returns its seconds to ready.
fn vakt(disk: &Path, memory_mib: Option<u32>, room: &Path) -> Result<f64> {
    let mut machine = machine(disk)?;
    machine.memory_mib = memory_mib.unwrap_or(machine.memory_mib);
    let mut appliance = Appliance::start(machine, None, room)?;
    appliance.power_off()?;
    Ok(appliance.ready_after.as_secs_f64())
}

/// Boots the Debian, powers it off, and returns its seconds to the banner.
fn debian(disk: &Path) -> Result<f64> {
    let ssh = free_port()?;
    let mut machine = machine(disk)?;
    machine.forwards.push(Forward { udp: false, host: ssh.port(), guest: 22 });
    let mut guest = Guest::start(&machine, false)?;
    let (said, banner) = mpsc::channel();
    while guest.age() < READY_WITHIN {
        let said = said.clone();
        std::thread::spawn(move || {
            if knock(ssh).is_some_and(|text| text.starts_with("SSH-")) {
                // The first one counts; nobody listens to the others.
                let _ = said.send(());
            }
        });
        if banner.recv_timeout(KNOCK_EVERY).is_ok() {
            let ready = guest.age().as_secs_f64();
            guest.power_off(POWER_OFF_WITHIN)?;
            return Ok(ready);
        }
    }
    Err(anyhow::anyhow!("no banner in {READY_WITHIN:?}")).with_context(|| guest.serial.text())
}

fn knock(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(BANNER_WITHIN)).ok()?;
    let mut buffer = [0; 64];
    let length = stream.read(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
