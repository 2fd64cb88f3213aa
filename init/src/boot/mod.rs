//! Stage 1, in the initramfs: modules, the verified root, and the step into it.
//!
//! In order: mount /proc, /sys, /dev, /run; load `/modules/*.ko` as `/modules/order` says; find the slot
//! (`vakt-root-a` or `vakt-root-b`) whose hash tree has the root hash of the kernel command line (which the
//! boot loader took from the same file as this program); lay dm-verity over it; mount it; empty the
//! initramfs; exec stage 2 from it. Nothing of the disk is trusted before verity stands.

mod cmdline;
mod modules;
mod switch;
mod verity;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::mount::MountFlags;

pub use cmdline::BootOptions;

use crate::machine::console::Console;
use crate::machine::{disk, mounts};
use crate::slots::entry::Slot;
use crate::sys::{self, Power};

/// Where the root is mounted before it becomes `/`.
const NEW_ROOT: &str = "/root";

/// Stage 2's program in the root.
const STAGE2: &std::ffi::CStr = c"/usr/bin/vakt-init";

/// After a failure of PID 1 the machine restarts this much later, so that the reason can be read.
const HALT_AFTER: Duration = Duration::from_secs(10);

/// Boots from the initramfs. Does not return on success.
///
/// # Errors
/// At the first step that fails; the machine restarts then.
pub fn main() -> anyhow::Result<ExitCode> {
    mounts::early()?;
    let options = BootOptions::read("/proc/cmdline")?;
    let refused = modules::load_all("/modules")?;
    let root = open_root(&options).with_context(|| format!("modules refused: {refused:?}"))?;
    switch::into(NEW_ROOT)?;
    let (slot, disk) = root;
    let slot = std::ffi::CString::new(format!("--running={slot}"))?;
    let disk = std::ffi::CString::new(format!("--disk={}", disk.to_string_lossy()))?;
    Err(sys::exec(STAGE2, &[STAGE2, c"stage2", &slot, &disk], &[c"RUST_BACKTRACE=1"]))
        .with_context(|| format!("cannot exec {}", STAGE2.to_string_lossy()))
}

/// Mounts the root, and returns its slot and the disk that it lies on.
fn open_root(options: &BootOptions) -> anyhow::Result<(Slot, std::path::PathBuf)> {
    let started = Instant::now();
    loop {
        // A stick and a disk may both carry the labels, and a slow one may come late: the root hash decides.
        let (mut problems, mut found) = (Vec::new(), None);
        for (slot, candidate) in candidates() {
            match verity::is_over(&candidate.node, &options.verity) {
                Ok(true) if found.is_none() => found = Some((slot, candidate)),
                Ok(_) => problems.push(format!("{}: another root", candidate.node.display())),
                Err(error) => problems.push(format!("{error:#}")),
            }
        }
        if let Some((slot, candidate)) = found {
            return mount_root(&candidate, options).map(|()| (slot, candidate.disk));
        }
        anyhow::ensure!(
            started.elapsed() < disk::APPEARS_WITHIN,
            "no slot has the root {}: {}",
            options.verity.root_hash,
            if problems.is_empty() { "no partition is labelled as one".into() } else { problems.join("; ") }
        );
        std::thread::sleep(disk::LOOK_EVERY);
    }
}

fn candidates() -> Vec<(Slot, disk::Partition)> {
    let slot_of =
        |partition: &disk::Partition| Slot::ALL.into_iter().find(|slot| slot.label() == partition.label);
    disk::partitions().into_iter().filter_map(|partition| Some((slot_of(&partition)?, partition))).collect()
}

fn mount_root(candidate: &disk::Partition, options: &BootOptions) -> anyhow::Result<()> {
    let device = verity::open(&candidate.node, &options.verity)
        .with_context(|| format!("no root could be opened on {}", candidate.node.display()))?;
    std::fs::create_dir_all(NEW_ROOT)?;
    rustix::mount::mount(&device, NEW_ROOT, "erofs", MountFlags::RDONLY | MountFlags::NODEV, c"")
        .with_context(|| format!("cannot mount {}", device.display()))
}

/// The end of a PID 1 that cannot go on: says why, waits ten seconds, restarts the machine.
pub fn halt_after_failure(reason: &str) -> ! {
    let mut console = Console::machine();
    console.line(&format!("vakt: boot failed: {reason}"));
    console.line("vakt: restarting in 10 s");
    console.settle();
    std::thread::sleep(HALT_AFTER);
    // In a container this is refused, and the exit below ends it.
    let _ = sys::reboot(Power::Restart);
    sys::exit_now(1)
}
