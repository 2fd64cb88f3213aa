//! What the machine itself knows about its last end: a panic in pstore, a reset by the watchdog.

use std::fs;
use std::io::Read;
use std::path::Path;

use rustix::mount::MountFlags;

/// Where the kernel shows what it kept of the last panic.
const PSTORE: &str = "/sys/fs/pstore";

/// `WDIOF_CARDRESET` of include/uapi/linux/watchdog.h: the watchdog caused the last reset.
const CARD_RESET: u32 = 0x20;

/// Records that are looked at, and bytes of each.
const RECORDS_MAX: usize = 64;
const RECORD_BYTES_MAX: u64 = 64 << 10;

/// What a panic's first line begins with.
const PANIC: &str = "Kernel panic - not syncing: ";

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What the last panic said.
    pub panic: Option<String>,
    /// Whether the last reset was the watchdog's.
    pub watchdog: bool,
}

impl Evidence {
    /// Looks, and removes the kept panics: the firmware's memory for them is small.
    ///
    /// Without pstore (a firmware without room for variables) a panic leaves nothing and counts as a cut.
    pub fn collect(watchdog_status: Option<u32>) -> Evidence {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        // Refused where the kernel has no pstore; mounted already is as good.
        let _ = rustix::mount::mount("pstore", PSTORE, "pstore", flags, c"");
        let panic = take_panic(Path::new(PSTORE));
        let watchdog = watchdog_status.is_some_and(|status| status & CARD_RESET != 0);
        Evidence { panic, watchdog }
    }
}

fn take_panic(directory: &Path) -> Option<String> {
    let mut found = None;
    for entry in fs::read_dir(directory).ok()?.flatten().take(RECORDS_MAX) {
        if !entry.file_name().to_string_lossy().starts_with("dmesg-") {
            continue;
        }
        let mut text = Vec::new();
        if let Ok(file) = fs::File::open(entry.path())
            && file.take(RECORD_BYTES_MAX).read_to_end(&mut text).is_ok()
        {
            found = found.or_else(|| panic_line(&String::from_utf8_lossy(&text)));
        }
        let _ = fs::remove_file(entry.path());
    }
    found
}

fn panic_line(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.split_once(PANIC))?.1;
    Some(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_panic_is_read_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let record = "Panic#1 Part1\n<6>[    4.1] systemd\n<0>[    5.3] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\n<4>[    5.3] CPU: 0\n";
        for (name, text) in [("dmesg-efi_pstore-1", "Panic#1 Part2\n"), ("dmesg-efi_pstore-2", record)] {
            fs::write(directory.path().join(name), text).unwrap();
        }
        fs::write(directory.path().join("console-ramoops-0"), record).unwrap();
        let said = take_panic(directory.path());
        assert_eq!(said.as_deref(), Some("Attempted to kill init! exitcode=0x00000100"));
        assert_eq!(take_panic(directory.path()), None);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "only panics are ours to remove");
    }
}
