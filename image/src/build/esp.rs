//! The EFI system partition: systemd-boot, its configuration, the UKI.
//!
//! What happens to it on the box is in init/src/slots: UKIs are called `vakt-<slot>_<version>.efi`, with a
//! boot counter while a slot is on trial.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Context;
use fatfs::{Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};

use super::layout::{ESP, MIB, SECTOR};
use crate::arch::Arch;

/// Bytes of a directory entry, and the first byte of one that is free.
const ENTRY: usize = 32;
const FREE: u8 = 0xE5;

/// Where fatfs puts the root directory.
const ROOT_CLUSTER: u16 = 2;

/// What systemd-boot reads: no menu, so that a screen or a serial port that is not there costs
/// nothing; a key held at power-on shows it. Only a slot is ever booted by itself, never a reset.
const LOADER_CONF: &str = "timeout 0\neditor no\ndefault vakt-*\n";

/// The menu's entries for a reset. Each starts a copy of the loader, which boots the slot that would boot anyway; by
/// the copy's name init knows what was chosen (init/src/reset/boot_entry.rs).
const RESETS: [(&str, &str); 2] =
    [("settings", "Reset the settings, keep metrics and logs"), ("everything", "Reset everything")];

/// More of it, when there are keys to enrol: in the firmware's setup mode systemd-boot counts down for 15 s, enrols
/// them and restarts. Without this line it would only offer to.
const ENROL: &str = "secure-boot-enroll force\n";

/// Where systemd-boot looks for keys that it enrols by itself.
const KEYS: &str = "loader/keys/auto";

/// What goes onto the partition.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// systemd-boot.
    pub loader: Vec<u8>,
    /// The UKI.
    pub uki: Vec<u8>,
    /// The UKI's name in `EFI/Linux`.
    pub uki_name: String,
    /// Secure Boot's variables to enrol, by file name.
    pub keys: Vec<(String, Vec<u8>)>,
}

/// Names that `EFI/Linux` has room for without growing, each as long as the longest of a UKI (four
/// directory entries): init adds names only where there is room, so that each is the write of one sector.
const NAMES: usize = 32;

/// The name of an image's own UKI. It is blessed from the start: there is no other slot to go back to, so
/// counting its boots could only take the box away.
pub fn first_uki(version: &str) -> String {
    format!("vakt-a_{version}.efi")
}

/// Every file has this time.
#[derive(Debug)]
struct Fixed;

impl TimeProvider for Fixed {
    fn get_current_date(&self) -> Date {
        Date { year: 2020, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime { date: self.get_current_date(), time: Time { hour: 0, min: 0, sec: 0, millis: 0 } }
    }
}

/// Writes the partition's file system.
///
/// # Errors
/// When something does not fit or cannot be written.
pub fn make(output: &Path, contents: &Contents) -> anyhow::Result<()> {
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(output)?;
    file.set_len(ESP.mib * MIB)?;
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(512)
        .volume_id(0x7661_6b74)
        .volume_label(*b"VAKT-ESP   ");
    fatfs::format_volume(&mut file, options).context("cannot make the FAT file system")?;
    make_directories(&mut file)?;
    file.seek(SeekFrom::Start(0))?;
    let volume =
        FileSystem::new(&mut file, FsOptions::new().time_provider(&Fixed)).context("cannot open the FAT")?;
    let root = volume.root_dir();
    let linux = root.open_dir("EFI/Linux")?;
    let placeholder = |number: usize| format!("room for the name of a boot entry {number:02}");
    (0..NAMES).try_for_each(|number| linux.create_file(&placeholder(number)).map(|_| ()))?;
    (0..NAMES).try_for_each(|number| linux.remove(&placeholder(number)))?;
    drop(linux);
    let put = |name: &str, bytes: &[u8]| -> anyhow::Result<()> {
        let mut file = root.create_file(name).with_context(|| format!("cannot make {name} on the ESP"))?;
        file.write_all(bytes).with_context(|| format!("{name} does not fit the ESP"))?;
        Ok(file.flush()?)
    };
    put(Arch::HERE.default_loader(), &contents.loader)?;
    put(&format!("EFI/systemd/{}", Arch::HERE.boot_loader()), &contents.loader)?;
    let enrol = if contents.keys.is_empty() { "" } else { ENROL };
    put("loader/loader.conf", format!("{LOADER_CONF}{enrol}").as_bytes())?;
    for (kind, title) in RESETS {
        put(&format!("EFI/vakt/reset-{kind}.efi"), &contents.loader)?;
        let entry = format!("title {title}\nefi /EFI/vakt/reset-{kind}.efi\n");
        put(&format!("loader/entries/reset-{kind}.conf"), entry.as_bytes())?;
    }
    contents.keys.iter().try_for_each(|(name, bytes)| put(&format!("{KEYS}/{name}"), bytes))?;
    put(&format!("EFI/Linux/{}", contents.uki_name), &contents.uki)?;
    drop(root);
    volume.unmount().context("cannot close the FAT")
}

/// Makes the directories, as the FAT specification has them: `.` and `..` are the first two entries, have no
/// long names, and the root is number 0. fatfs gives both a long name and the root its own number, which
/// fsck.fat takes for damage.
fn make_directories(file: &mut File) -> anyhow::Result<()> {
    let volume = FileSystem::new(&mut *file, FsOptions::new().time_provider(&Fixed))?;
    let plain = [
        "EFI",
        "EFI/BOOT",
        "EFI/systemd",
        "EFI/Linux",
        "EFI/vakt",
        "loader",
        "loader/entries",
        "loader/keys",
    ];
    for directory in plain.into_iter().chain([KEYS]) {
        let made = volume.root_dir().create_dir(directory).map(|_| ());
        made.with_context(|| format!("cannot make {directory} on the ESP"))?;
    }
    volume.unmount().context("cannot close the FAT")?;
    // Nothing but directories is there yet, so what looks like the begin of one is one.
    let mut sector = [0; SECTOR as usize];
    for at in (0..ESP.mib * MIB).step_by(SECTOR as usize) {
        file.read_exact_at(&mut sector, at)?;
        if has_long_dots(&sector) {
            file.write_all_at(&with_short_dots(&sector), at)?;
        }
    }
    Ok(())
}

/// A directory that begins with a long name, `.`, a long name and `..`.
fn has_long_dots(sector: &[u8]) -> bool {
    sector[ENTRY..].starts_with(b".          ") && sector[3 * ENTRY..].starts_with(b"..         ")
}

/// The same with `.` and `..` in front and the two behind them free.
fn with_short_dots(sector: &[u8]) -> Vec<u8> {
    let mut fixed = sector.to_vec();
    fixed[..ENTRY].copy_from_slice(&sector[ENTRY..2 * ENTRY]);
    fixed[ENTRY..2 * ENTRY].copy_from_slice(&sector[3 * ENTRY..4 * ENTRY]);
    let parent = ENTRY + 26..ENTRY + 28;
    if fixed[parent.clone()] == ROOT_CLUSTER.to_le_bytes() {
        fixed[parent].fill(0);
    }
    for entry in [2, 3] {
        fixed[entry * ENTRY] = FREE;
    }
    fixed
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn directories_begin_as_the_specification_says_and_hold_what_was_put() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let contents = Contents {
            loader: b"the loader".into(),
            uki: vec![7; 5000],
            uki_name: first_uki("0.1.0"),
            keys: vec![("db.auth".into(), b"a key".into())],
        };
        make(&at("esp"), &contents).unwrap();
        let bytes = std::fs::read(at("esp")).unwrap();
        let begins = |sector: &[u8]| sector.starts_with(b".          ");
        let directories: Vec<&[u8]> = bytes.chunks(SECTOR as usize).filter(|sector| begins(sector)).collect();
        assert_eq!(directories.len(), 9);
        for sector in directories {
            assert!(sector[ENTRY..].starts_with(b"..         ") && !has_long_dots(sector));
            assert_ne!(sector[ENTRY + 26..ENTRY + 28], ROOT_CLUSTER.to_le_bytes());
        }
        let volume = FileSystem::new(
            File::options().read(true).write(true).open(at("esp")).unwrap(),
            FsOptions::new(),
        );
        let volume = volume.unwrap();
        let names: Vec<String> = volume
            .root_dir()
            .open_dir("EFI/Linux")
            .unwrap()
            .iter()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, [".", "..", "vakt-a_0.1.0.efi"]);
        let mut said = String::new();
        volume.root_dir().open_file("loader/loader.conf").unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains("secure-boot-enroll force"), "{said}");
        assert!(volume.root_dir().open_file("loader/keys/auto/db.auth").is_ok());
    }
}
