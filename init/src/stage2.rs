//! Stage 2, in the verified root or in a container: state, identity, config, services, power.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use vakt_wire::role::Role;

use crate::boot::BootOptions;
use crate::ledger::desk::Desk;
use crate::machine::config::{self, Places};
use crate::machine::console::Console;
use crate::machine::{config_disk, identity, mounts, state};
use crate::manifest;
use crate::run::{Cgroups, Machine, MachineStatus, PortMap, Setting, adopt};
use crate::sandbox::{ETC, RUN};
use crate::supervisor::Goal;
use crate::sys::{self, Power};

/// The services' manifests in the image.
const MANIFESTS: &str = "/usr/lib/vakt/services";

/// init's own directory in state.
const OWN_STATE: &str = "/state/init";

/// Datagrams that a unix socket queues. The kernel's 10 would hold up a burst of service lines.
const DATAGRAMS_QUEUED: &str = "512";

/// What the command line says.
#[derive(Debug, Default)]
struct Options {
    /// The disk that the root came from; `None` in a container.
    disk: Option<PathBuf>,
    container: bool,
    config: Option<PathBuf>,
    cgroup: Option<PathBuf>,
    ports: PortMap,
}

/// Runs the machine until it is told to go down.
///
/// # Errors
/// When the machine cannot be brought up at all. What can be lived with becomes a note instead.
pub fn main(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = parse(arguments)?;
    let mut console = if options.container { Console::stderr() } else { Console::machine() };
    let mut status = MachineStatus::of_this_build();
    let started_ms = if options.container { sys::now_ms() } else { 0 };
    if !options.container {
        bring_up_machine(&options, &mut console, &mut status)?;
    }
    let places = Places { state: OWN_STATE.into(), slices: Path::new(RUN).join("config") };
    fs::create_dir_all(&places.state).with_context(|| format!("cannot make {OWN_STATE}"))?;
    let desk = configure(&options, places, &mut console, &mut status)?;
    if !options.container {
        sys::loopback_up().context("cannot bring the loopback interface up")?;
    }
    let cgroups = Cgroups::new(&options.cgroup.clone().unwrap_or_else(|| "/sys/fs/cgroup/vakt".into()))?;
    status.bounded = cgroups.bounded();
    let mut manifests = manifest::load(Path::new(MANIFESTS))?;
    manifests.retain(|_, manifest| !(options.container && manifest.machine_only));
    let setting = Setting { console, cgroups, ports: options.ports, status, desk, started_ms };
    let goal = Machine::new(manifests, setting)?.run()?;
    go_down(goal, options.container)
}

fn parse(arguments: &[String]) -> anyhow::Result<Options> {
    let mut options = Options::default();
    for argument in arguments {
        match argument.split_once('=') {
            Some(("--disk", disk)) => options.disk = Some(disk.into()),
            Some(("--config", file)) => options.config = Some(file.into()),
            Some(("--cgroup", directory)) => options.cgroup = Some(directory.into()),
            Some(("--map", map)) => options.ports.add(map).map_err(anyhow::Error::msg)?,
            None if argument == "--container" => options.container = true,
            _ => anyhow::bail!("stage2 does not know {argument:?}"),
        }
    }
    Ok(options)
}

/// What only a real machine needs: mounts, kernel settings, the state partition.
fn bring_up_machine(
    options: &Options,
    console: &mut Console,
    status: &mut MachineStatus,
) -> anyhow::Result<()> {
    mounts::late()?;
    let boot = BootOptions::read("/proc/cmdline")?;
    console.line(&format!("vakt: {} slot {} root {}", status.version, boot.slot, boot.verity.root_hash));
    status.slot = boot.slot;
    status.root_hash = boot.verity.root_hash;
    for (path, value) in [
        ("/proc/sys/net/unix/max_dgram_qlen", DATAGRAMS_QUEUED),
        ("/proc/sys/kernel/kptr_restrict", "2"),
        ("/proc/sys/kernel/dmesg_restrict", "1"),
        ("/proc/sys/kernel/unprivileged_bpf_disabled", "1"),
        ("/proc/sys/kernel/yama/ptrace_scope", "3"),
    ] {
        if let Err(error) = fs::write(path, value) {
            status.notes.push(format!("cannot set {path}: {error}"));
        }
    }
    // Without it the key combination cuts the machine off.
    if let Err(error) = sys::reboot(Power::CtrlAltDelToInit) {
        status.notes.push(format!("cannot take Ctrl-Alt-Del: {error}"));
    }
    if let Some(note) = state::mount(options.disk.as_deref())? {
        console.line(&format!("vakt: {note}"));
        status.notes.push(note);
    }
    Ok(())
}

/// Opens the config's ledger, and makes what is made at first boot.
fn configure(
    options: &Options,
    places: Places,
    console: &mut Console,
    status: &mut MachineStatus,
) -> anyhow::Result<Desk> {
    let offered = match &options.config {
        Some(path) => Some((
            path.display().to_string(),
            fs::read_to_string(path).unwrap_or_else(|error| error.to_string()),
        )),
        None if options.container => None,
        None => config_disk::read().unwrap_or_else(|error| {
            status.notes.push(format!("{error:#}"));
            None
        }),
    };
    let id = identity::keep(&places.state.join("machine-id"), identity::machine_id)?;
    status.machine_id = String::from_utf8_lossy(&id).trim().to_owned();
    let seed = identity::keep(&places.state.join("evidence.key"), || Ok(identity::random::<32>()?.to_vec()))?;
    fs::create_dir_all(RUN).with_context(|| format!("cannot make {RUN}"))?;
    config::write_owned(&Path::new(RUN).join("evidence.key"), &seed, Role::Repair.uid())?;
    let desk = Desk::open(places, offered, sys::now_ms(), sys::unix_s())?;
    if let Some(refused) = desk.refused() {
        console.line(&format!("vakt: config refused: {refused}"));
    }
    if let Some(pending) = desk.ledger().pending() {
        let (number, seconds) = (pending.revision.number, pending.confirm_within_s);
        console.line(&format!("vakt: config revision {number} on trial for {seconds} s"));
    }
    config::write_etc(Path::new(ETC), desk.config())?;
    adopt(&desk, status)?;
    Ok(desk)
}

/// Everything has stopped: write out, unmount, and do as the goal says.
fn go_down(goal: Goal, container: bool) -> anyhow::Result<ExitCode> {
    rustix::fs::sync();
    if container {
        return Ok(ExitCode::SUCCESS);
    }
    let _ = rustix::mount::unmount("/state", rustix::mount::UnmountFlags::DETACH);
    rustix::fs::sync();
    let power = if goal == Goal::Reboot { Power::Restart } else { Power::Off };
    sys::reboot(power).context("cannot switch the machine off")?;
    Ok(ExitCode::SUCCESS)
}
