//! The update manifest: what one version is made of, down to each piece.
//!
//! It is a target of the repository, so what is read here was signed. It is checked all the same: who signs can
//! err, and what follows writes to a disk by these numbers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::refusal::Refusal;
use crate::version::Version;

/// The kind of machine that this program runs on.
pub const MACHINE: &str = concat_machine();

/// Bytes in a piece: what is held in memory, verified and written at once.
pub const PIECE_BYTES: u64 = 1 << 20;

/// Largest manifest that is read: 1,600 pieces' hashes fit, ten times what a slot holds.
pub const MANIFEST_BYTES_MAX: u64 = 128 << 10;

/// Largest UKI: the ESP of 96 MiB holds both slots' and the copy of one.
pub const UKI_BYTES_MAX: u64 = 31 << 20;

/// Where the UKI begins is a multiple of this.
pub const ALIGN: u64 = 4096;

/// The version of this format.
const FORMAT: u32 = 1;

const fn concat_machine() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "vakt-x86_64"
    } else if cfg!(target_arch = "aarch64") {
        "vakt-aarch64"
    } else {
        "vakt-unknown"
    }
}

/// The manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// 1.
    pub format: u32,
    /// The version that the files are of.
    pub version: Version,
    /// What they run on, as [`MACHINE`].
    pub machine: String,
    /// When the update was made. A clock before this is wrong.
    pub made: Timestamp,
    /// dm-verity's root hash, for people to compare: the UKI's command line is what the kernel goes by.
    pub verity_root_hash: Sha256,
    /// Root file system with its hash tree.
    pub root: Part,
    /// Kernel, initramfs, command line.
    pub uki: Part,
}

/// A file of the update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its name among the repository's targets.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its hash.
    pub sha256: Sha256,
    /// The hash of each [`PIECE_BYTES`] of it; the last piece may be shorter.
    pub pieces: Vec<Sha256>,
}

impl Part {
    /// The length of piece `index`.
    pub fn piece_bytes(&self, index: usize) -> u64 {
        (self.bytes - index as u64 * PIECE_BYTES).min(PIECE_BYTES)
    }

    fn check(&self, file: &str, name: String, bytes_max: u64) -> Result<(), Refusal> {
        let refuse = |reason: String| Err(Refusal::Malformed { name: file.to_owned(), reason });
        if self.name != name {
            return refuse(format!("it names {:?} where {name:?} belongs", self.name));
        }
        if self.bytes == 0 || self.bytes > bytes_max {
            return refuse(format!("{name} of {} bytes; 1 to {bytes_max} are taken", self.bytes));
        }
        let expected = self.bytes.div_ceil(PIECE_BYTES);
        if self.pieces.len() as u64 != expected {
            return refuse(format!("{name} has {expected} pieces, {} hashes are given", self.pieces.len()));
        }
        Ok(())
    }
}

/// The name of a version's manifest among the targets. Its other files differ in the ending.
pub fn name(version: Version, machine: &str, ending: &str) -> String {
    format!("vakt-{version}-{}.{ending}", machine.strip_prefix("vakt-").unwrap_or(machine))
}

/// The version and machine that a target's name says, when it is the name of a manifest.
pub fn from_name(target: &str) -> Option<(Version, String)> {
    let (version, arch) = target.strip_prefix("vakt-")?.strip_suffix(".json")?.split_once('-')?;
    let plain = !arch.is_empty() && arch.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    plain.then_some(())?;
    Some((version.parse().ok()?, format!("vakt-{arch}")))
}

impl Manifest {
    /// Reads a manifest that was found as target `file` of `version`.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] and [`Refusal::WrongMachine`].
    pub fn parse(file: &str, version: Version, text: &[u8]) -> Result<Manifest, Refusal> {
        let refuse = |reason: String| Refusal::Malformed { name: file.to_owned(), reason };
        let manifest: Manifest = serde_json::from_slice(text).map_err(|error| refuse(error.to_string()))?;
        if manifest.format != FORMAT {
            return Err(refuse(format!("format {}; this build reads {FORMAT}", manifest.format)));
        }
        if manifest.machine != MACHINE {
            return Err(Refusal::WrongMachine { offered: manifest.machine, ours: MACHINE });
        }
        if manifest.version != version {
            return Err(refuse(format!("it is of version {}, its name says {version}", manifest.version)));
        }
        let named = |ending| name(version, MACHINE, ending);
        // No slot is larger than 4 GiB, so that sums of offsets are far from overflow.
        manifest.root.check(file, named("root"), 4 << 30)?;
        manifest.uki.check(file, named("efi"), UKI_BYTES_MAX)?;
        Ok(manifest)
    }

    /// Where the UKI begins in the slot: behind the root, at the next multiple of [`ALIGN`].
    pub fn uki_offset(&self) -> u64 {
        self.root.bytes.next_multiple_of(ALIGN)
    }

    /// Bytes that it takes in the slot.
    pub fn slot_bytes(&self) -> u64 {
        self.uki_offset() + self.uki.bytes
    }

    /// Whether it may be installed where `running` runs, at `clock`, into a slot of `slot` bytes.
    ///
    /// # Errors
    /// [`Refusal::SameVersion`], [`Refusal::OlderVersion`], [`Refusal::ClockBehind`], [`Refusal::NoRoom`].
    pub fn admit(&self, running: Version, clock: Timestamp, slot: u64) -> Result<(), Refusal> {
        is_newer(self.version, running)?;
        if clock < self.made {
            let what = "when the update was made";
            return Err(Refusal::ClockBehind { clock, seen: self.made, what });
        }
        let needed = self.slot_bytes();
        if needed > slot { Err(Refusal::NoRoom { needed, slot }) } else { Ok(()) }
    }
}

/// Refuses what is not newer.
///
/// # Errors
/// [`Refusal::SameVersion`] and [`Refusal::OlderVersion`].
pub fn is_newer(offered: Version, running: Version) -> Result<(), Refusal> {
    match offered.cmp(&running) {
        std::cmp::Ordering::Greater => Ok(()),
        std::cmp::Ordering::Equal => Err(Refusal::SameVersion { running }),
        std::cmp::Ordering::Less => Err(Refusal::OlderVersion { offered, running }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Manifest {
        let part = |ending: &str, bytes: u64| Part {
            name: name("0.2.0".parse().unwrap(), MACHINE, ending),
            bytes,
            sha256: Sha256::of(b""),
            pieces: vec![Sha256::of(b""); bytes.div_ceil(PIECE_BYTES) as usize],
        };
        Manifest {
            format: 1,
            version: "0.2.0".parse().unwrap(),
            machine: MACHINE.into(),
            made: "2026-01-01T00:00:00Z".parse().unwrap(),
            verity_root_hash: Sha256::of(b""),
            root: part("root", PIECE_BYTES + 1),
            uki: part("efi", 10),
        }
    }

    fn parse(change: impl Fn(&mut Manifest)) -> Result<Manifest, Refusal> {
        let mut manifest = good();
        change(&mut manifest);
        Manifest::parse("m", "0.2.0".parse().unwrap(), &serde_json::to_vec(&manifest).unwrap())
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let manifest = parse(|_| ()).unwrap();
        assert_eq!(manifest, good());
        assert_eq!((manifest.uki_offset(), manifest.slot_bytes()), (PIECE_BYTES + 4096, PIECE_BYTES + 4106));
        assert_eq!([0, 1].map(|index| manifest.root.piece_bytes(index)), [PIECE_BYTES, 1]);
    }

    #[test]
    fn a_manifest_that_contradicts_itself_is_refused() {
        let check = |change: &dyn Fn(&mut Manifest), expected: &str| {
            let said = parse(change).unwrap_err().to_string();
            assert!(said.contains(expected), "{said:?}, expected {expected:?}");
        };
        check(&|m| m.format = 2, "format 2");
        check(&|m| m.machine = "vakt-toaster".into(), "is for vakt-toaster, this machine is vakt-");
        check(&|m| m.version = "0.3.0".parse().unwrap(), "of version 0.3.0, its name says 0.2.0");
        check(&|m| m.root.name = "../x".into(), "belongs");
        check(&|m| m.root.pieces.truncate(1), "2 pieces, 1 hashes");
        check(&|m| m.uki.bytes = 0, "of 0 bytes");
        check(&|m| m.uki.bytes = UKI_BYTES_MAX + 1, "are taken");
        check(&|m| m.root.bytes = u64::MAX, "are taken");
    }

    #[test]
    fn only_a_newer_version_that_fits_is_admitted() {
        let admit = |running: &str, clock: &str, slot: u64| {
            good().admit(running.parse().unwrap(), clock.parse().unwrap(), slot).map_err(|r| r.kind())
        };
        let now = "2026-02-01T00:00:00Z";
        assert_eq!(admit("0.1.9", now, PIECE_BYTES + 4106), Ok(()));
        assert_eq!(admit("0.1.9", now, PIECE_BYTES + 4105), Err("no-room"));
        assert_eq!(admit("0.2.0", now, 1 << 30), Err("same-version"));
        assert_eq!(admit("0.2.1", now, 1 << 30), Err("older-version"));
        assert_eq!(admit("0.1.9", "2025-12-31T23:59:59Z", 1 << 30), Err("clock"));
    }

    #[test]
    fn names_tell_version_and_machine() {
        let version = "0.2.0".parse().unwrap();
        assert_eq!(name(version, "vakt-x86_64", "json"), "vakt-0.2.0-x86_64.json");
        assert_eq!(from_name("vakt-0.2.0-x86_64.json"), Some((version, "vakt-x86_64".into())));
        for other in
            ["vakt-0.2.0-x86_64.sbom.json", "vakt-0.2.0-x86_64.root", "vakt-0.2-x86_64.json", "x.json"]
        {
            assert_eq!(from_name(other), None, "{other}");
        }
    }
}
