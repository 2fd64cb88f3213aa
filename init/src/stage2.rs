//! Stage 2, in the verified root or in a container: state, identity, config, services, power.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use rustix::mount::MountFlags;
use vakt_wire::role::Role;

use crate::backup;
use crate::boot::BootOptions;
use crate::ledger::desk::{Desk, LEDGER};
use crate::machine::config::{self, Places};
use crate::machine::console::Console;
use crate::machine::quota::Quotas;
use crate::machine::{clock, config_disk, credentials, disk, identity, mounts, state};
use crate::manifest;
use crate::reset::{self, Reset};
use crate::run::{Cgroups, Found, Machine, MachineStatus, Place, PortMap, Setting, adopt};
use crate::sandbox::{CGROUPS, ETC, RUN};
use crate::slots::assess::GATE_MS;
use crate::slots::ends;
use crate::slots::entry::Slot;
use crate::slots::evidence::{self, Evidence};
use crate::slots::history::{Boot, History};
use crate::slots::watchdog::{self, RESETS_SAID, Watchdog};
use crate::supervisor::Goal;
use crate::sys::{self, Power};

/// The services' manifests in the image.
const MANIFESTS: &str = "/usr/lib/vakt/services";

/// init's own directory in state.
const OWN_STATE: &str = "/state/init";

/// What the next boot must know of this one.
const HISTORY: &str = "/state/init/slots.json";

/// How the last boots ended, for the pages.
pub const ENDS: &str = "/state/init/boots.json";

/// Says which version the root is.
const OS_RELEASE: &str = "/usr/lib/os-release";

/// The boot partition's GPT label.
const ESP_LABEL: &str = "vakt-esp";

/// The time last seen.
const CLOCK: &str = "/state/init/clock";

/// Datagrams that a unix socket queues. The kernel's 10 would hold up a burst of service lines.
const DATAGRAMS_QUEUED: &str = "512";

/// What the command line says.
#[derive(Debug, Default)]
struct Options {
    /// The disk that the root came from; `None` in a container.
    disk: Option<PathBuf>,
    /// The slot that it came from.
    running: Option<Slot>,
    /// In a container: files in place of the boot partition and of the other slot.
    esp: Option<PathBuf>,
    slot: Option<PathBuf>,
    container: bool,
    /// In a container: the network namespace is its own.
    own_network: bool,
    config: Option<PathBuf>,
    cgroup: Option<PathBuf>,
    ports: PortMap,
}

/// Runs the machine until it is told to go down.
///
/// # Errors
/// When the machine cannot be brought up at all; the next boot is told why. What can be lived with becomes a
/// note instead.
pub fn main(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = parse(arguments)?;
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        hook(info);
        mark_unhealthy(&format!("init panicked: {info}"));
    }));
    live(options).inspect_err(|error| mark_unhealthy(&format!("init failed: {error:#}")))
}

/// Whether the history is of this boot: a failure before must not mark the boot before.
static BEGUN: AtomicBool = AtomicBool::new(false);

/// The slot did not do. That it cannot be written down is no reason to do anything else.
fn mark_unhealthy(reason: &str) {
    if !BEGUN.load(Ordering::Relaxed) {
        return;
    }
    let path = Path::new(HISTORY);
    let mut history = History::load(path);
    history.mark_unhealthy(&reason.replace('\n', " "));
    let _ = history.save(path);
}

fn live(mut options: Options) -> anyhow::Result<ExitCode> {
    let mut console = if options.container { Console::stderr() } else { Console::machine() };
    let mut status = MachineStatus::of(&fs::read_to_string(OS_RELEASE).unwrap_or_default());
    let started_ms = if options.container { sys::now_ms() } else { 0 };
    if !options.container {
        bring_up_machine(&options, &mut console, &mut status)?;
    }
    let places = Places { state: OWN_STATE.into(), slices: Path::new(RUN).join("config") };
    fs::create_dir_all(&places.state).with_context(|| format!("cannot make {OWN_STATE}"))?;
    backup::clean_up();
    let reset = obey_reset(&options, &mut console, &mut status);
    // As early as there is a place to write: from here on this boot counts, and a hang is seen.
    let found = begin(&options, &mut console, &mut status)?;
    let desk = configure(&options, places, &mut console, &mut status)?;
    if !options.container || options.own_network {
        sys::loopback_up().context("cannot bring the loopback interface up")?;
    }
    let cgroups = Cgroups::new(&options.cgroup.clone().unwrap_or_else(|| "/sys/fs/cgroup/vakt".into()))?;
    cgroups.tell(Path::new(CGROUPS))?;
    status.bounded = cgroups.bounded();
    let mut manifests = manifest::load(Path::new(MANIFESTS))?;
    if options.container {
        manifests.retain(|_, manifest| !manifest.machine_only || options.own_network);
    }
    let ports = std::mem::take(&mut options.ports);
    let quotas = if options.container { None } else { Quotas::of(Path::new("/state"))? };
    if quotas.is_none() && !options.container {
        status.notes.push("state has no quotas: a service can fill it for the others".into());
    }
    let clock = (!options.container).then(|| PathBuf::from(CLOCK));
    let setting = Setting { console, cgroups, ports, quotas, status, desk, reset, started_ms, clock };
    let mut machine = Machine::new(manifests, setting, found)?;
    let goal = machine.run()?;
    machine.end_in_order();
    go_down(goal, options.container)
}

/// Carries out the reset that was asked for, if any, and returns a line about it. One that fails is tried again at the
/// next boot; this one goes on with what is there.
fn obey_reset(options: &Options, console: &mut Console, status: &mut MachineStatus) -> Option<String> {
    let (state, now_s) = (Path::new("/state"), sys::unix_s());
    let chosen = if options.container { None } else { reset::boot_entry::chosen() };
    if let Some(kind) = chosen {
        let wish = Reset { kind, by: "the boot menu".into(), at_s: now_s, done_s: None };
        if let Err(error) = reset::ask(state, &wish) {
            console.line(&format!("vakt: cannot reset: {error:#}"));
        }
    }
    let obeyed = reset::obey(state, now_s);
    status.last_reset = reset::last(state);
    match obeyed {
        Ok(done) => done.map(|done| format!("reset done: {}, as {} asked", done.kind.name(), done.by)),
        Err(error) => {
            let line = format!("the reset is not complete: {error:#}");
            console.line(&format!("vakt: {line}"));
            status.notes.push(line);
            None
        }
    }
}

/// Writes this boot down, finds out how the last one ended, and arms the watchdog.
fn begin(options: &Options, console: &mut Console, status: &mut MachineStatus) -> anyhow::Result<Found> {
    let place = place(options);
    let evidence =
        if options.container { Evidence::default() } else { Evidence::collect(watchdog::boot_status()) };
    let path = PathBuf::from(HISTORY);
    let mut history = History::load(&path);
    if let Some(slot) = place.running {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let version = status.version.clone();
        let boot = Boot { id, slot, version, blessed: false, orderly: false, unhealthy: None };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        history.begin(boot, &evidence, now.as_secs());
        let mut ends = ends::load(Path::new(ENDS));
        ends::add(&mut ends, history.previous.as_ref(), &evidence, now.as_secs());
        ends::save(Path::new(ENDS), &ends)?;
        history.save(&path)?;
        evidence::forget();
        BEGUN.store(true, Ordering::Relaxed);
    }
    let watchdog = if options.container { Watchdog::none() } else { arm(&history, console, status) };
    let gate_until_ms = sys::now_ms() + GATE_MS;
    let version = status.version.clone();
    Ok(Found { place, version, history, history_at: path, evidence, watchdog, gate_until_ms })
}

/// Where the slots are: beside the root on its disk, or the files that a container was given.
fn place(options: &Options) -> Place {
    if options.container {
        let running = options.esp.as_ref().map(|_| Slot::A);
        return Place { running, esp: options.esp.clone(), inactive: options.slot.clone() };
    }
    let Some(running) = options.running else { return Place::default() };
    let partitions = disk::partitions();
    let find = |label: &str| {
        let beside = partitions.iter().find(|p| p.label == label && Some(&p.disk) == options.disk.as_ref());
        beside.map(|partition| partition.node.clone())
    };
    Place { running: Some(running), esp: find(ESP_LABEL), inactive: find(&running.other().label()) }
}

fn arm(history: &History, console: &mut Console, status: &mut MachineStatus) -> Watchdog {
    if history.is_reset_too_often() {
        console.line(&format!("vakt: {RESETS_SAID}"));
        status.notes.push(RESETS_SAID.to_owned());
        return Watchdog::none();
    }
    match Watchdog::arm() {
        Ok(watchdog) => {
            console.line(&format!("vakt: watchdog armed, {} s", watchdog::TIMEOUT_S));
            watchdog
        }
        // A machine without one is an ordinary machine.
        Err(_) => Watchdog::none(),
    }
}

fn parse(arguments: &[String]) -> anyhow::Result<Options> {
    let mut options = Options::default();
    for argument in arguments {
        match argument.split_once('=') {
            Some(("--disk", disk)) => options.disk = Some(disk.into()),
            Some(("--running", slot)) => options.running = Some(slot.parse().map_err(anyhow::Error::msg)?),
            Some(("--esp", file)) => options.esp = Some(file.into()),
            Some(("--slot", file)) => options.slot = Some(file.into()),
            Some(("--config", file)) => options.config = Some(file.into()),
            Some(("--cgroup", directory)) => options.cgroup = Some(directory.into()),
            Some(("--map", map)) => options.ports.add(map).map_err(anyhow::Error::msg)?,
            None if argument == "--container" => options.container = true,
            None if argument == "--own-network" => options.own_network = true,
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
    let slot = options.running.map_or("", Slot::letter);
    console.line(&format!("vakt: {} slot {slot} root {}", status.version, boot.verity.root_hash));
    status.slot = slot.to_owned();
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
    if let Some(note) = clock::settle(Path::new(CLOCK), sys::unix_s(), sys::set_unix_s) {
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
        None => handed_in(!places.state.join(LEDGER).exists(), console, status),
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
    if let Some(version) = desk.read_from_version() {
        let number = desk.ledger().in_force().number;
        let today = vakt_wire::config::VERSION;
        console.line(&format!("vakt: config revision {number} is of version {version} and read as {today}"));
    }
    if let Some(pending) = desk.ledger().pending() {
        let (number, seconds) = (pending.revision.number, pending.confirm_within_s);
        console.line(&format!("vakt: config revision {number} on trial for {seconds} s"));
    }
    config::write_etc(Path::new(ETC), desk.config())?;
    adopt(&desk, status)?;
    Ok(desk)
}

/// What the machine came with: a disk labelled VAKTCFG, or else its host's credentials. One of them only, or the two
/// would take turns at each boot.
fn handed_in(is_new: bool, console: &mut Console, status: &mut MachineStatus) -> Option<(String, String)> {
    let (credentials, refused) = credentials::read();
    for line in refused {
        console.line(&format!("vakt: {line}"));
        status.notes.push(line);
    }
    let disk = config_disk::read().unwrap_or_else(|error| {
        status.notes.push(format!("{error:#}"));
        None
    });
    disk.or_else(|| credentials.document(is_new))
}

/// Everything has stopped: write out, unmount, and do as the goal says.
fn go_down(goal: Goal, container: bool) -> anyhow::Result<ExitCode> {
    rustix::fs::sync();
    if container {
        return Ok(ExitCode::SUCCESS);
    }
    // Files that we hold ourselves do not let it be unmounted; read-only it is clean, its journal empty.
    let _ = rustix::mount::mount_remount("/state", MountFlags::RDONLY, "");
    let _ = rustix::mount::unmount("/state", rustix::mount::UnmountFlags::DETACH);
    rustix::fs::sync();
    let power = if goal == Goal::Reboot { Power::Restart } else { Power::Off };
    sys::reboot(power).context("cannot switch the machine off")?;
    Ok(ExitCode::SUCCESS)
}
