//! Whether a disk may be written over. Pure: from what was read of it.

use super::disk::{Attachment, Disk};

/// Why a disk is not written to. All but [`Refusal::NotRemovable`] hold whatever the operator says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no medium in it.
    #[error("{0} has no medium; insert one")]
    NoMedium(String),
    /// It is write-protected.
    #[error("{0} is write-protected")]
    ReadOnly(String),
    /// It is mounted, swapped to, or a part of something.
    #[error("{name} is in use ({uses}); it is this system's own disk, or has to be unmounted first")]
    InUse {
        /// The disk.
        name: String,
        /// What it is used for.
        uses: String,
    },
    /// The image does not fit.
    #[error("{name} has {bytes} bytes, the image needs {needed}")]
    TooSmall {
        /// The disk.
        name: String,
        /// What it has.
        bytes: u64,
        /// What is needed.
        needed: u64,
    },
    /// It is built in, or nothing that one could hold.
    #[error("{0} is not removable; to write over it nevertheless, say --force-not-removable")]
    NotRemovable(String),
}

/// Why `needed` bytes are not written to `disk`, or `None` when they may be. `any` also allows disks that cannot be
/// taken out; one in use it does not allow.
pub fn refusal(disk: &Disk, needed: u64, any: bool) -> Option<Refusal> {
    let name = disk.name.clone();
    if !disk.uses.is_empty() {
        return Some(Refusal::InUse { name, uses: disk.uses.join(", ") });
    }
    if disk.bytes == 0 {
        return Some(Refusal::NoMedium(name));
    }
    if disk.read_only {
        return Some(Refusal::ReadOnly(name));
    }
    if disk.attachment != Attachment::Removable && !any {
        return Some(Refusal::NotRemovable(name));
    }
    (disk.bytes < needed).then_some(Refusal::TooSmall { name, bytes: disk.bytes, needed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_idle_removable_disk_that_is_large_enough_is_written_to() {
        let stick = Disk {
            name: "sdb".into(),
            bytes: 1000,
            model: String::new(),
            attachment: Attachment::Removable,
            read_only: false,
            uses: Vec::new(),
        };
        let in_use =
            |uses: &[&str]| Disk { uses: uses.iter().map(|u| (*u).into()).collect(), ..stick.clone() };
        let fixed = Disk { attachment: Attachment::Fixed, ..stick.clone() };
        let looped = Disk { attachment: Attachment::Virtual, ..stick.clone() };
        let cases: [(&Disk, u64, [&str; 2]); 9] = [
            (&stick, 1000, ["", ""]),
            (&stick, 1001, ["1000 bytes", "1000 bytes"]),
            (&Disk { bytes: 0, ..stick.clone() }, 0, ["no medium", "no medium"]),
            (&Disk { read_only: true, ..stick.clone() }, 1, ["write-protected", "write-protected"]),
            (&in_use(&["/"]), 1, ["in use (/)", "in use (/)"]),
            (&in_use(&["dm-0", "swap"]), 1, ["in use (dm-0, swap)", "in use (dm-0, swap)"]),
            (&Disk { uses: vec!["/".into()], ..fixed.clone() }, 1, ["in use", "in use"]),
            (&fixed, 1000, ["not removable", ""]),
            (&looped, 1001, ["not removable", "1000 bytes"]),
        ];
        for (disk, needed, expected) in cases {
            for (any, expected) in [false, true].into_iter().zip(expected) {
                let said = refusal(disk, needed, any).map(|refusal| refusal.to_string()).unwrap_or_default();
                let fits = if expected.is_empty() { said.is_empty() } else { said.contains(expected) };
                assert!(fits, "{disk:?} {needed} {any}: {said:?}, not {expected:?}");
            }
        }
    }
}
