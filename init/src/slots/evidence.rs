//! What the machine itself knows about its last end: a panic in pstore, a reset by the watchdog.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::mount::MountFlags;

/// Where the kernel shows what it kept of the last panic.
const PSTORE: &str = "/sys/fs/pstore";

/// `WDIOF_CARDRESET` of include/uapi/linux/watchdog.h: the watchdog caused the last reset.
const CARD_RESET: u32 = 0x20;

/// Records that are looked at, and bytes of each.
const RECORDS_MAX: usize = 64;
const RECORD_BYTES_MAX: u64 = 64 << 10;

/// Of the messages the newest are kept: as much as the kernel's default of a panic's records, several times.
const LOG_BYTES_MAX: usize = 64 << 10;

/// What a panic's first line begins with.
const PANIC: &str = "Kernel panic - not syncing: ";

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What the last panic said, in one line.
    pub panic: Option<String>,
    /// The kernel's messages before it, as far as they were kept.
    pub kernel_log: Option<String>,
    /// Whether the last reset was the watchdog's.
    pub watchdog: bool,
}

impl Evidence {
    /// Looks. What was found stays where it is until [`forget`].
    ///
    /// Without pstore (a firmware without room for variables) a panic leaves nothing and counts as a cut.
    pub fn collect(watchdog_status: Option<u32>) -> Evidence {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        // Refused where the kernel has no pstore; mounted already is as good.
        let _ = rustix::mount::mount("pstore", PSTORE, "pstore", flags, c"");
        let (panic, kernel_log) = look(Path::new(PSTORE));
        let watchdog = watchdog_status.is_some_and(|status| status & CARD_RESET != 0);
        Evidence { panic, kernel_log, watchdog }
    }
}

/// Removes the kept panics, once they are written elsewhere: the firmware's memory for them is small.
pub fn forget() {
    for path in records(Path::new(PSTORE)) {
        // One that stays is found again at the next boot.
        let _ = fs::remove_file(path);
    }
}

/// The panic's line, and the messages of all records, oldest first.
fn look(directory: &Path) -> (Option<String>, Option<String>) {
    let mut parts: Vec<(u32, String)> = Vec::new();
    for path in records(directory) {
        let mut text = Vec::new();
        if let Ok(file) = fs::File::open(path)
            && file.take(RECORD_BYTES_MAX).read_to_end(&mut text).is_ok()
        {
            let text = String::from_utf8_lossy(&text).into_owned();
            parts.push((part(&text), text));
        }
    }
    // Part 1 has the newest messages.
    parts.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    let mut log: String = parts.into_iter().map(|(_, text)| text + "\n").collect();
    let panic = panic_line(&log);
    while log.len() > LOG_BYTES_MAX {
        log.drain(..log.find('\n').map_or(log.len(), |end| end + 1));
    }
    (panic, (!log.is_empty()).then_some(log))
}

fn records(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let ours = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("dmesg-");
    entries.flatten().filter(ours).take(RECORDS_MAX).map(|entry| entry.path()).collect()
}

/// The number in a record's first line, such as `Panic#1 Part2`.
fn part(text: &str) -> u32 {
    let number = text.lines().next().and_then(|line| line.rsplit_once("Part")?.1.trim().parse().ok());
    number.unwrap_or(0)
}

fn panic_line(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.split_once(PANIC))?.1;
    Some(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_panic_is_read_whole_and_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let record = "Panic#1 Part1\n<6>[    4.1] systemd\n<0>[    5.3] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\n<4>[    5.3] CPU: 0\n";
        for (name, text) in [("dmesg-efi_pstore-1", "Panic#1 Part2\n"), ("dmesg-efi_pstore-2", record)] {
            fs::write(directory.path().join(name), text).unwrap();
        }
        fs::write(directory.path().join("console-ramoops-0"), record).unwrap();
        let (panic, log) = look(directory.path());
        assert_eq!(panic.as_deref(), Some("Attempted to kill init! exitcode=0x00000100"));
        let log = log.unwrap();
        assert!(log.starts_with("Panic#1 Part2\n") && log.ends_with("CPU: 0\n\n"), "oldest first: {log}");
        assert_eq!(records(directory.path()).len(), 2, "only panics are ours to remove");
        fs::write(directory.path().join("dmesg-efi_pstore-3"), "<4>x\n".repeat(40_000)).unwrap();
        let (panic, log) = look(directory.path());
        assert!(panic.is_some() && log.unwrap().len() <= LOG_BYTES_MAX, "the newest messages stay");
    }
}
