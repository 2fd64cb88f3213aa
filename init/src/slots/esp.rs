//! What is done to the UKIs on the ESP, and `vakt-init esp`, the short-lived child of PID 1 that does it.
//!
//! PID 1 itself never waits for the boot partition: a UKI is 14 MB, and a stick may be slow. The child does
//! one thing, says what is on the partition afterwards as a line of JSON, and ends with 0; or it says why
//! not, and ends with 1. Nothing here mounts anything.
//!
//! An entry gets another name by a whole copy: the copy is put, then the old one is removed (see
//! [`fat`](super::fat) for the writes). Between the two both boot the same slot.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::entry::{Entry, Slot, Tries, surplus};
use super::fat::{Disk, Volume};
use super::version;

/// Where UKIs are on the ESP.
const DIRECTORY: &str = "EFI/Linux";

/// Largest UKI: three of them (both slots', and the copy of one) must fit the ESP's 96 MiB.
pub const UKI_BYTES_MAX: u64 = 31 << 20;

/// An entry as the child tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The file's name.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
}

/// The child's last word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Report {
    /// What is there now.
    Entries(Vec<Listed>),
    /// Why it was not done.
    Error(String),
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Remove what cuts left behind; of each slot one entry stays. The running slot and version.
    Tidy(Slot, String),
    /// The slot's entry is counted no more.
    Bless(Slot),
    /// The slot's entry has a try more.
    GiveBack(Slot),
    /// The slot's entry has no tries left: the loader goes to the other one.
    Condemn(Slot),
    /// The slot's entries are removed.
    Clear(Slot),
    /// A UKI that lies in the slot's partition becomes its only entry, with all tries.
    Stage(Slot, Staged),
}

/// A UKI in a slot's partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Its version.
    pub version: String,
    /// The partition, or a file in its place.
    pub from: String,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its bytes.
    pub length: u64,
    /// Its SHA-256 in lower-case hex.
    pub sha256: String,
}

impl Verb {
    /// The command line that [`Verb::parse`] reads.
    pub fn arguments(&self) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
        match self {
            Verb::Tidy(slot, version) => words(&["tidy", slot.letter(), version]),
            Verb::Bless(slot) => words(&["bless", slot.letter()]),
            Verb::GiveBack(slot) => words(&["give-back", slot.letter()]),
            Verb::Condemn(slot) => words(&["condemn", slot.letter()]),
            Verb::Clear(slot) => words(&["clear", slot.letter()]),
            Verb::Stage(slot, staged) => {
                let (offset, length) = (staged.offset.to_string(), staged.length.to_string());
                words(&[
                    "stage",
                    slot.letter(),
                    &staged.version,
                    &staged.from,
                    &offset,
                    &length,
                    &staged.sha256,
                ])
            }
        }
    }

    fn parse(arguments: &[String]) -> anyhow::Result<Verb> {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let slot = |text: &str| text.parse::<Slot>().map_err(anyhow::Error::msg);
        Ok(match words[..] {
            ["tidy", running, version] => Verb::Tidy(slot(running)?, version.to_owned()),
            ["bless", of] => Verb::Bless(slot(of)?),
            ["give-back", of] => Verb::GiveBack(slot(of)?),
            ["condemn", of] => Verb::Condemn(slot(of)?),
            ["clear", of] => Verb::Clear(slot(of)?),
            ["stage", of, version, from, offset, length, sha256] => Verb::Stage(
                slot(of)?,
                Staged {
                    version: version.to_owned(),
                    from: from.to_owned(),
                    offset: offset.parse().context("the offset is no number")?,
                    length: length.parse().context("the length is no number")?,
                    sha256: sha256.to_owned(),
                },
            ),
            _ => anyhow::bail!(
                "esp needs --esp FILE and one of tidy SLOT VERSION, bless SLOT, give-back SLOT, condemn SLOT, \
                 clear SLOT, stage SLOT VERSION FROM OFFSET LENGTH SHA256"
            ),
        })
    }
}

/// `vakt-init esp --esp FILE VERB …`.
///
/// # Errors
/// When the command line makes no sense. What goes wrong on the partition is reported on standard output.
pub fn main(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let ["--esp", esp] = [arguments.first().map_or("", |a| a), arguments.get(1).map_or("", |a| a)] else {
        anyhow::bail!("esp needs --esp FILE first");
    };
    let verb = Verb::parse(arguments.get(2..).unwrap_or_default())?;
    let (report, code) = match on(Path::new(esp), &verb) {
        Ok(entries) => (Report::Entries(entries), ExitCode::SUCCESS),
        Err(error) => (Report::Error(format!("{error:#}")), ExitCode::FAILURE),
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(code)
}

fn on(esp: &Path, verb: &Verb) -> anyhow::Result<Vec<Listed>> {
    let disk = File::options().read(true).write(true).open(esp);
    let disk = disk.with_context(|| format!("cannot open {}", esp.display()))?;
    let mut volume = Volume::open(disk)?;
    let uki = match verb {
        Verb::Stage(_, staged) => take(staged)?,
        _ => Vec::new(),
    };
    carry_out(&mut volume, verb, &uki)?;
    list(&volume)
}

/// Does it. `uki` is what [`Verb::Stage`] puts.
///
/// # Errors
/// When the partition does not take it; whatever was bootable before is so still.
pub fn carry_out<D: Disk>(volume: &mut Volume<D>, verb: &Verb, uki: &[u8]) -> anyhow::Result<()> {
    match verb {
        Verb::Tidy(slot, version) => {
            for entry in surplus(&entries(volume)?, Some((*slot, version))) {
                volume.remove(DIRECTORY, &entry.to_string())?;
            }
            volume.mend()?;
        }
        Verb::Bless(slot) => rename(volume, *slot, |_| None)?,
        Verb::GiveBack(slot) => rename(volume, *slot, |tries| Some(Tries { left: tries.left + 1, ..tries }))?,
        Verb::Condemn(slot) => rename(volume, *slot, |tries| Some(Tries { left: 0, ..tries }))?,
        Verb::Clear(slot) => clear(volume, *slot)?,
        Verb::Stage(slot, staged) => {
            anyhow::ensure!(version::is_valid(&staged.version), "{:?} is no version", staged.version);
            clear(volume, *slot)?;
            let entry = Entry { slot: *slot, version: staged.version.clone(), tries: Some(Tries::default()) };
            volume.put(DIRECTORY, &entry.to_string(), uki)?;
        }
    }
    Ok(())
}

fn clear<D: Disk>(volume: &mut Volume<D>, slot: Slot) -> anyhow::Result<()> {
    for entry in entries(volume)?.into_iter().filter(|entry| entry.slot == slot) {
        volume.remove(DIRECTORY, &entry.to_string())?;
    }
    Ok(())
}

/// Gives the slot's counted entry another counter. A blessed entry stays as it is.
fn rename<D: Disk>(
    volume: &mut Volume<D>,
    slot: Slot,
    counter: impl Fn(Tries) -> Option<Tries>,
) -> anyhow::Result<()> {
    let of_slot = |volume: &Volume<D>| -> anyhow::Result<Vec<Entry>> {
        Ok(entries(volume)?.into_iter().filter(|entry| entry.slot == slot).collect())
    };
    // Two names are left by a child that was ended in the middle of this.
    for entry in surplus(&of_slot(volume)?, None) {
        volume.remove(DIRECTORY, &entry.to_string())?;
    }
    let entry = of_slot(volume)?.pop().with_context(|| format!("slot {slot} has no UKI"))?;
    let Some(tries) = entry.tries else { return Ok(()) };
    let (old, new) = (entry.to_string(), entry.with(counter(tries)).to_string());
    if old == new {
        return Ok(());
    }
    let items = volume.list(DIRECTORY)?;
    let item = items.iter().find(|item| item.name == old).with_context(|| format!("{old} is gone"))?;
    let uki = volume.read(item)?;
    volume.put(DIRECTORY, &new, &uki)?;
    volume.remove(DIRECTORY, &old)?;
    Ok(())
}

/// Our entries, in the directory's order.
///
/// # Errors
/// When the partition cannot be read.
pub fn entries<D: Disk>(volume: &Volume<D>) -> anyhow::Result<Vec<Entry>> {
    Ok(volume.list(DIRECTORY)?.iter().filter_map(|item| Entry::parse(&item.name)).collect())
}

fn list<D: Disk>(volume: &Volume<D>) -> anyhow::Result<Vec<Listed>> {
    let ours = volume.list(DIRECTORY)?.into_iter().filter(|item| Entry::parse(&item.name).is_some());
    Ok(ours.map(|item| Listed { name: item.name, bytes: item.bytes.into() }).collect())
}

/// Reads the UKI out of the slot's partition, checks it, and makes sure that the slot is on the disk
/// before an entry leads to it.
fn take(staged: &Staged) -> anyhow::Result<Vec<u8>> {
    let (length, offset) = (staged.length, staged.offset);
    anyhow::ensure!(
        (1..=UKI_BYTES_MAX).contains(&length),
        "a UKI of {length} bytes; 1 to {UKI_BYTES_MAX} fit"
    );
    let slot = File::open(&staged.from).with_context(|| format!("cannot open {}", staged.from))?;
    slot.sync_all().with_context(|| format!("cannot sync {}", staged.from))?;
    let mut uki = vec![0; length as usize];
    slot.read_exact_at(&mut uki, offset)
        .with_context(|| format!("cannot read {length} bytes at {offset} of {}", staged.from))?;
    let found: String = Sha256::digest(&uki).iter().map(|byte| format!("{byte:02x}")).collect();
    anyhow::ensure!(
        found == staged.sha256,
        "the UKI in slot has SHA-256 {found} instead of {}; write the slot again",
        staged.sha256
    );
    Ok(uki)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_is_told_is_what_it_reads() {
        let staged = Staged {
            version: "0.2.0".into(),
            from: "/dev/vda3".into(),
            offset: 4096,
            length: 9,
            sha256: "ab".into(),
        };
        for verb in [
            Verb::Tidy(Slot::A, "0.1.0".into()),
            Verb::Bless(Slot::B),
            Verb::GiveBack(Slot::A),
            Verb::Condemn(Slot::B),
            Verb::Clear(Slot::B),
            Verb::Stage(Slot::B, staged),
        ] {
            assert_eq!(Verb::parse(&verb.arguments()).unwrap(), verb);
        }
        assert!(Verb::parse(&["bless".into(), "c".into()]).is_err());
        assert!(Verb::parse(&[]).is_err());
    }

    #[test]
    fn a_uki_is_taken_only_whole_and_as_announced() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"root, hashes, uki").unwrap();
        let good = Staged {
            version: "1".into(),
            from: file.path().to_string_lossy().into_owned(),
            offset: 14,
            length: 3,
            sha256: Sha256::digest(b"uki").iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        assert_eq!(take(&good).unwrap(), b"uki");
        for (bad, why) in [
            (Staged { offset: 13, ..good.clone() }, "SHA-256"),
            (Staged { offset: 15, ..good.clone() }, "cannot read"),
            (Staged { length: 0, ..good.clone() }, "0 bytes"),
            (Staged { length: UKI_BYTES_MAX + 1, ..good.clone() }, "fit"),
        ] {
            let error = format!("{:#}", take(&bad).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
    }
}
