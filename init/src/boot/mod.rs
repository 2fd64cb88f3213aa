//! Stage 1, in the initramfs: modules, the verified root, and the step into it.
//!
//! In order: mount /proc, /sys, /dev, /run; load `/modules/*.ko` as `/modules/order` says; find the
//! partition `vakt-root-<slot>`; lay dm-verity over it with the root hash of the kernel command line
//! (which the boot loader took from the same file as this program); mount it; empty the initramfs;
//! exec stage 2 from it. Nothing of the disk is trusted before verity stands.

mod cmdline;
mod modules;
mod switch;
mod verity;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use rustix::mount::MountFlags;

pub use cmdline::BootOptions;

use crate::machine::console::Console;
use crate::machine::{disk, mounts};
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
    let disk = root.to_string_lossy().into_owned();
    let argument = std::ffi::CString::new(format!("--disk={disk}"))?;
    Err(sys::exec(STAGE2, &[STAGE2, c"stage2", &argument], &[c"RUST_BACKTRACE=1"]))
        .with_context(|| format!("cannot exec {}", STAGE2.to_string_lossy()))
}

/// Mounts the root, and returns the disk that it lies on.
fn open_root(options: &BootOptions) -> anyhow::Result<std::path::PathBuf> {
    let label = format!("vakt-root-{}", options.slot);
    let candidates = disk::wait_for_label(&label);
    anyhow::ensure!(!candidates.is_empty(), "no partition is labelled {label}");
    let mut problems = Vec::new();
    for candidate in candidates {
        // A stick and a disk may both carry the label; the root hash decides.
        let opened = verity::open(&candidate.node, &options.verity).and_then(|device| {
            std::fs::create_dir_all(NEW_ROOT)?;
            rustix::mount::mount(&device, NEW_ROOT, "erofs", MountFlags::RDONLY | MountFlags::NODEV, c"")
                .with_context(|| format!("cannot mount {}", device.display()))
        });
        match opened {
            Ok(()) => return Ok(candidate.disk),
            Err(error) => problems.push(format!("{}: {error:#}", candidate.node.display())),
        }
    }
    anyhow::bail!("no root could be opened: {}", problems.join("; "))
}

/// The end of a PID 1 that cannot go on: says why, waits ten seconds, restarts the machine.
pub fn halt_after_failure(reason: &str) -> ! {
    let mut console = Console::machine();
    console.line(&format!("vakt: boot failed: {reason}"));
    console.line("vakt: restarting in 10 s");
    std::thread::sleep(HALT_AFTER);
    // In a container this is refused, and the exit below ends it.
    let _ = sys::reboot(Power::Restart);
    sys::exit_now(1)
}
