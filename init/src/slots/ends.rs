//! How the last boots ended, for the pages: with what a dying kernel said, which the firmware kept.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::assess::End;
use super::entry::Slot;
use super::evidence::Evidence;
use super::history::Ended;
use crate::machine::identity;

/// Ends that are kept; with 64 KiB of kernel log each the file stays at one megabyte.
const ENDS_MAX: usize = 16;

/// Largest file that is read: the bound above, in JSON's escapes.
const BYTES_MAX: u64 = 4 << 20;

/// A boot that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// When its end was found, in seconds since the epoch.
    pub at: u64,
    /// The slot that ran; unknown of a kernel that panicked before it had a root.
    pub slot: Option<Slot>,
    /// The version that ran.
    pub version: Option<String>,
    /// How it ended.
    pub end: End,
    /// Why, in one line.
    pub reason: Option<String>,
    /// The kernel's last messages.
    pub kernel_log: Option<String>,
}

/// Reads the ends that are kept, newest first. A file that makes no sense is none.
pub fn load(path: &Path) -> Vec<Past> {
    let small = fs::metadata(path).is_ok_and(|metadata| metadata.len() <= BYTES_MAX);
    let text = if small { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
    serde_json::from_str(&text).unwrap_or_default()
}

/// Writes them.
///
/// # Errors
/// When they cannot be written; the old ones are whole then.
pub fn save(path: &Path, all: &[Past]) -> anyhow::Result<()> {
    identity::write_whole(path, &serde_json::to_vec(all)?)
}

/// Adds what is known of the boot before this one. A panic that is not that boot's is of one after it that
/// never got far enough to write itself down.
pub fn add(all: &mut Vec<Past>, previous: Option<&Ended>, evidence: &Evidence, now_s: u64) {
    let mut panic = evidence.panic.clone();
    let mut kernel_log = evidence.kernel_log.clone();
    if let Some(Ended { boot, end }) = previous {
        let its_own = *end == End::Panic;
        all.insert(
            0,
            Past {
                at: now_s,
                slot: Some(boot.slot),
                version: Some(boot.version.clone()),
                end: *end,
                reason: boot.unhealthy.clone().or_else(|| if its_own { panic.take() } else { None }),
                kernel_log: if its_own { kernel_log.take() } else { None },
            },
        );
    }
    if panic.is_some() || kernel_log.is_some() {
        let end = End::Panic;
        all.insert(0, Past { at: now_s, slot: None, version: None, end, reason: panic, kernel_log });
    }
    all.truncate(ENDS_MAX);
}

#[cfg(test)]
mod tests {
    use super::super::history::Boot;
    use super::*;

    fn ended(end: End, unhealthy: Option<&str>) -> Ended {
        let (id, version) = ("1".into(), "2".into());
        let unhealthy = unhealthy.map(str::to_owned);
        Ended { boot: Boot { id, slot: Slot::B, version, blessed: true, orderly: false, unhealthy }, end }
    }

    fn panicked() -> Evidence {
        let (panic, kernel_log) = (Some("no init".to_owned()), Some("<0>no init\n".to_owned()));
        Evidence { panic, kernel_log, ..Evidence::default() }
    }

    #[test]
    fn a_panic_is_told_of_the_boot_that_it_ended_or_of_one_that_nobody_knows() {
        let mut all = Vec::new();
        add(&mut all, Some(&ended(End::Panic, None)), &panicked(), 7);
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].slot, all[0].reason.as_deref()), (Some(Slot::B), Some("no init")));
        assert!(all[0].kernel_log.is_some());

        add(&mut all, Some(&ended(End::Orderly, None)), &panicked(), 8);
        assert_eq!(all.len(), 3);
        assert_eq!((all[0].slot, all[0].end, all[1].end), (None, End::Panic, End::Orderly));
        assert_eq!(all[1].kernel_log, None);

        add(&mut all, Some(&ended(End::Unhealthy, Some("store"))), &Evidence::default(), 9);
        assert_eq!(all[0].reason.as_deref(), Some("store"));
        add(&mut all, None, &Evidence::default(), 9);
        assert_eq!(all.len(), 4, "a first boot has none before it");
    }

    #[test]
    fn the_newest_are_kept_across_a_boot() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("boots.json");
        assert_eq!(load(&path), []);
        let mut all = Vec::new();
        for now in 0..40 {
            add(&mut all, Some(&ended(End::Cut, None)), &Evidence::default(), now);
        }
        save(&path, &all).unwrap();
        let kept: Vec<u64> = load(&path).iter().map(|past| past.at).collect();
        assert_eq!(kept, (24..40).rev().collect::<Vec<_>>());
    }
}
