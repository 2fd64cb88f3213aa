//! The same init on an ordinary host: a container made with the host's kernel, no verity, no
//! network set-up. It is the quick inner loop and the host-level test bed.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use rustix::event::{PollFd, PollFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::record::Recorder;
use crate::sys::{self, CloneArgs, Ended, Forked};

/// Device nodes of the host that the container sees.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "kmsg"];

/// Where the offered config appears inside.
const CONFIG_INSIDE: &str = "/run/vakt/offered.toml";

/// Where files in place of the boot partition and of the other slot appear inside.
const ESP_INSIDE: &str = "/run/vakt/slots/esp";
const SLOT_INSIDE: &str = "/run/vakt/slots/inactive";

#[derive(Debug, Default)]
struct Options {
    root: PathBuf,
    state: PathBuf,
    config: Option<PathBuf>,
    maps: Vec<String>,
    esp: Option<PathBuf>,
    slot: Option<PathBuf>,
    /// A network of its own, which the network service sets up; whoever started it puts interfaces into it.
    own_network: bool,
    record: Option<PathBuf>,
}

/// Runs a container until it ends; SIGTERM and SIGINT are passed on to its init.
///
/// # Errors
/// When the container cannot be made: root is needed, and a mounted cgroup v2.
pub fn main(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let options = parse(arguments)?;
    anyhow::ensure!(rustix::process::geteuid().is_root(), "a container needs root");
    let cgroup = make_cgroup()?;
    let signals = sys::signal_fd(&[libc::SIGTERM, libc::SIGINT, libc::SIGCHLD])?;
    let mut namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if options.own_network {
        namespaces |= libc::CLONE_NEWNET;
    }
    let own = File::open(&cgroup)?;
    let recorder = options.record.as_ref().map(|_| Recorder::start()).transpose()?;
    let forked =
        sys::fork_into(CloneArgs { namespaces, cgroup: Some(own.as_fd()) }).context("cannot clone")?;
    match forked {
        Forked::Child => {
            let error = match enter(&options, &cgroup) {
                Ok(never) => match never {},
                Err(error) => error,
            };
            eprintln!("vakt-init: container: {error:#}");
            sys::exit_now(1)
        }
        Forked::Parent { pid, pidfd } => {
            println!("vakt: container pid {pid}");
            let ended = wait(pid, &pidfd, &signals);
            let recorded = match (&recorder, &options.record) {
                (Some(recorder), Some(directory)) => recorder.write(&services_of(&cgroup), directory),
                _ => Ok(()),
            };
            remove_cgroup(&cgroup);
            recorded?;
            match ended? {
                Ended::Code(code) => Ok(ExitCode::from(code as u8)),
                Ended::Signal(signal) => anyhow::bail!("init in the container was killed by signal {signal}"),
            }
        }
    }
}

fn parse(arguments: &[String]) -> anyhow::Result<Options> {
    let mut options = Options::default();
    let mut rest = arguments.iter();
    while let Some(flag) = rest.next() {
        if flag == "--own-network" {
            options.own_network = true;
            continue;
        }
        let value = rest.next().with_context(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--root" => options.root = value.into(),
            "--state" => options.state = value.into(),
            "--config" => options.config = Some(value.into()),
            "--map" => options.maps.push(value.clone()),
            "--esp" => options.esp = Some(value.into()),
            "--slot" => options.slot = Some(value.into()),
            "--record" => options.record = Some(value.into()),
            _ => anyhow::bail!("container does not know {flag}"),
        }
    }
    anyhow::ensure!(options.root.is_dir(), "--root {} is no directory", options.root.display());
    anyhow::ensure!(options.state.is_dir(), "--state {} is no directory", options.state.display());
    Ok(options)
}

/// A cgroup of our own below the cgroup v2 mount, named by our pid.
fn make_cgroup() -> anyhow::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mounted = mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (at, kind) = (words.nth(1)?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(at))
    });
    let base = mounted.context("no cgroup v2 is mounted")?.join(format!("vakt-{}", std::process::id()));
    fs::create_dir_all(base.join("init")).with_context(|| format!("cannot make {}", base.display()))?;
    Ok(base.join("init"))
}

/// The services' cgroups are beside init's own.
fn services_of(init: &Path) -> PathBuf {
    init.parent().unwrap_or(init).join("services")
}

fn remove_cgroup(init: &Path) {
    let Some(base) = init.parent() else { return };
    let _ = fs::write(base.join("cgroup.kill"), "1");
    // The kernel empties killed groups in its own time; a few tries, then they are left.
    for _ in 0..50 {
        remove_tree(base);
        if !base.exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn remove_tree(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(directory);
}

fn wait(pid: i32, pidfd: &OwnedFd, signals: &OwnedFd) -> anyhow::Result<Ended> {
    loop {
        let mut polled = [PollFd::new(signals, PollFlags::IN)];
        match rustix::event::poll(&mut polled, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut info = [0u8; 128];
        while let Ok(128) = rustix::io::read(signals, &mut info) {
            if info[..4] != libc::SIGCHLD.to_ne_bytes() {
                let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::TERM);
            }
        }
        while let Some((dead, ended)) = sys::reap(false)? {
            if dead == pid {
                return Ok(ended);
            }
        }
    }
}

/// What never happens.
enum Never {}

fn enter(options: &Options, cgroup: &Path) -> anyhow::Result<Never> {
    // A session of its own: Ctrl-C on the terminal is for the outer process, which asks this one to stop.
    rustix::process::setsid().context("cannot begin a session")?;
    let root = &options.root;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).context(
        "cannot make / private; in a chroot, bind its directory on itself and pivot_root into it first",
    )?;
    rustix::mount::mount_bind(root, root).context("cannot bind the root")?;
    let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", root.join("proc"), "proc", safe, c"").context("cannot mount /proc")?;
    rustix::mount::mount_bind_recursive("/sys", root.join("sys")).context("cannot show /sys")?;
    let dev = root.join("dev");
    rustix::mount::mount("tmpfs", &dev, "tmpfs", MountFlags::NOSUID, c"mode=0755,size=64k")?;
    for name in DEVICES {
        let from = Path::new("/dev").join(name);
        if from.exists() {
            File::create(dev.join(name))?;
            rustix::mount::mount_bind(&from, dev.join(name))
                .with_context(|| format!("cannot show /dev/{name}"))?;
        }
    }
    rustix::mount::mount("tmpfs", root.join("run"), "tmpfs", safe, c"mode=0755,size=32m")?;
    rustix::mount::mount_bind(&options.state, root.join("state"))
        .context("cannot show the state directory")?;
    if let Some(config) = &options.config {
        let at = root.join(CONFIG_INSIDE.trim_start_matches('/'));
        fs::create_dir_all(at.parent().unwrap_or(root))?;
        fs::copy(config, at).with_context(|| format!("cannot read {}", config.display()))?;
    }
    for (file, at) in [(&options.esp, ESP_INSIDE), (&options.slot, SLOT_INSIDE)] {
        let Some(file) = file else { continue };
        let at = root.join(at.trim_start_matches('/'));
        fs::create_dir_all(at.parent().unwrap_or(root))?;
        File::create(&at)?;
        rustix::mount::mount_bind(file, &at).with_context(|| format!("cannot show {}", file.display()))?;
    }
    rustix::mount::mount_remount(root, MountFlags::BIND | MountFlags::RDONLY | MountFlags::NODEV, "")?;
    rustix::process::chdir(root)?;
    rustix::process::pivot_root(".", ".").context("cannot pivot into the root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    exec_stage2(options, cgroup)
}

fn exec_stage2(options: &Options, cgroup: &Path) -> anyhow::Result<Never> {
    let services = services_of(cgroup);
    let mut arguments = vec!["/usr/bin/vakt-init".to_owned(), "stage2".into(), "--container".into()];
    arguments.push(format!("--cgroup={}", services.display()));
    arguments.extend(options.maps.iter().map(|map| format!("--map={map}")));
    if options.own_network {
        arguments.push("--own-network".into());
    }
    if options.config.is_some() {
        arguments.push(format!("--config={CONFIG_INSIDE}"));
    }
    if options.esp.is_some() {
        arguments.push(format!("--esp={ESP_INSIDE}"));
    }
    if options.slot.is_some() {
        arguments.push(format!("--slot={SLOT_INSIDE}"));
    }
    let arguments: Vec<std::ffi::CString> =
        arguments.into_iter().map(std::ffi::CString::new).collect::<Result<_, _>>()?;
    let argv: Vec<&std::ffi::CStr> = arguments.iter().map(|a| a.as_c_str()).collect();
    sys::reset_signals();
    Err(sys::exec(argv[0], &argv, &[c"RUST_BACKTRACE=1"])).context("cannot exec vakt-init in the container")
}
