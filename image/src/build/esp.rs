//! The EFI system partition: systemd-boot, its configuration, the UKI.
//!
//! What happens to it on the box is in init/src/slots: UKIs are called `vakt-<slot>_<version>.efi`, with a
//! boot counter while a slot is on trial.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use fatfs::{Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};

use super::layout::{ESP, MIB};

/// What systemd-boot reads: no menu, so that a screen or a serial port that is not there costs
/// nothing; a key held at power-on shows it.
const LOADER_CONF: &str = "timeout 0\neditor no\n";

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

/// Writes the partition's file system with the boot loader and one UKI called `uki_name`.
///
/// # Errors
/// When something does not fit or cannot be written.
pub fn make(output: &Path, boot_loader: &Path, uki: &Path, uki_name: &str) -> anyhow::Result<()> {
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(output)?;
    file.set_len(ESP.mib * MIB)?;
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(512)
        .volume_id(0x7661_6b74)
        .volume_label(*b"VAKT-ESP   ");
    fatfs::format_volume(&mut file, options).context("cannot make the FAT file system")?;
    let volume =
        FileSystem::new(&mut file, FsOptions::new().time_provider(&Fixed)).context("cannot open the FAT")?;
    let root = volume.root_dir();
    for directory in ["EFI", "EFI/BOOT", "EFI/systemd", "EFI/Linux", "loader"] {
        root.create_dir(directory).with_context(|| format!("cannot make {directory} on the ESP"))?;
    }
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
    let loader =
        std::fs::read(boot_loader).with_context(|| format!("cannot read {}", boot_loader.display()))?;
    put("EFI/BOOT/BOOTX64.EFI", &loader)?;
    put("EFI/systemd/systemd-bootx64.efi", &loader)?;
    put("loader/loader.conf", LOADER_CONF.as_bytes())?;
    put(&format!("EFI/Linux/{uki_name}"), &std::fs::read(uki)?)?;
    drop(root);
    volume.unmount().context("cannot close the FAT")
}
