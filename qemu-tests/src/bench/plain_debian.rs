//! A plain Debian 12 to compare the boot with: debootstrap's minimal system with Debian's own kernel and
//! initramfs, systemd, D-Bus and sshd, no cloud-init; systemd-boot on a GPT disk with an ext4 root.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use gptman::{GPT, GPTPartitionEntry};
use vakt_image::arch::Arch;
use vakt_image::cache;
use vakt_image::process::{run, step};
use vakt_image::provider::{self, Kernel};

/// Raise it when what is built changes.
const NAME: &str = "plain-debian-bookworm-1";

const PACKAGES: &str =
    "systemd-sysv,dbus,libpam-systemd,openssh-server,linux-image-cloud-amd64,initramfs-tools,zstd";

/// What Debian's installer would write, with the console where the appliance has it too.
const OPTIONS: &str = "root=/dev/vda2 ro quiet console=tty0 console=ttyS0,115200";

const NETWORK: &str = "[Match]\nName=en*\n\n[Network]\nDHCP=yes\n";

const FSTAB: &str = "/dev/vda2 / ext4 errors=remount-ro 0 1\n";

/// The appliance's loader does not wait for a key either.
const LOADER_CONF: &str = "timeout 0\neditor no\n";

const MIB: u64 = 1 << 20;
const SECTOR: u64 = 512;

/// The EFI system partition: kernel and initramfs are some 40 MB.
const ESP_MIB: u64 = 192;

/// The root: the system is some 500 MB.
const ROOT_MIB: u64 = 1200;

/// EFI system, and Linux root (x86-64), as GPT stores them.
const ESP_TYPE: [u8; 16] =
    [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
const ROOT_TYPE: [u8; 16] =
    [0xe3, 0xbc, 0x68, 0x4f, 0xcd, 0xe8, 0xb1, 0x4d, 0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09];

/// The disk, never booted; builds it (a few minutes) when it is not in the cache yet.
///
/// # Errors
/// When a step fails; root and debootstrap are needed.
pub fn ready() -> Result<PathBuf> {
    let room = cache::directory().join(NAME);
    let disk = room.join("disk");
    if disk.exists() {
        return Ok(disk);
    }
    anyhow::ensure!(rustix::process::geteuid().is_root(), "building a Debian disk needs root");
    step("building a plain Debian 12 disk with debootstrap, once");
    fs::create_dir_all(&room)?;
    let tree = room.join("tree");
    if !tree.exists() {
        let unfinished = room.join("tree.new");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).context("cannot remove an unfinished tree")?;
        }
        bootstrap(&unfinished)?;
        fs::rename(&unfinished, &tree)?;
    }
    let unfinished = room.join("disk.new");
    write_disk(&tree, &unfinished)?;
    fs::rename(&unfinished, &disk)?;
    // What is on the disk now is not needed twice.
    fs::remove_dir_all(&tree)?;
    Ok(disk)
}

fn bootstrap(tree: &Path) -> Result<()> {
    let mirror = std::env::var("VAKT_DEBIAN_MIRROR").unwrap_or("http://deb.debian.org/debian".into());
    let include = format!("--include={PACKAGES}");
    run(Command::new("debootstrap").args(["--variant=minbase", &include, "bookworm"]).arg(tree).arg(&mirror))
        .map(drop)
}

fn configure(tree: &Path) -> Result<()> {
    fs::write(tree.join("etc/fstab"), FSTAB)?;
    fs::write(tree.join("etc/hostname"), "plain\n")?;
    fs::write(tree.join("etc/systemd/network/10-all.network"), NETWORK)?;
    run(Command::new("chroot").arg(tree).args(["systemctl", "enable", "systemd-networkd", "ssh"])).map(drop)
}

fn write_disk(tree: &Path, path: &Path) -> Result<()> {
    configure(tree)?;
    let mut disk = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    disk.set_len((ESP_MIB + ROOT_MIB + 2) * MIB)?;
    let mut table = GPT::new_from(&mut disk, SECTOR, [0x11; 16]).context("cannot make a table")?;
    for (number, name, kind, from_mib, mib) in
        [(1, "esp", ESP_TYPE, 1, ESP_MIB), (2, "root", ROOT_TYPE, 1 + ESP_MIB, ROOT_MIB)]
    {
        table[number] = GPTPartitionEntry {
            partition_type_guid: kind,
            unique_partition_guid: [number as u8; 16],
            starting_lba: from_mib * MIB / SECTOR,
            ending_lba: (from_mib + mib) * MIB / SECTOR - 1,
            attribute_bits: 0,
            partition_name: name.into(),
        };
    }
    table.write_into(&mut disk).context("cannot write the table")?;
    GPT::write_protective_mbr_into(&mut disk, SECTOR).context("cannot write the protective MBR")?;
    let esp = path.with_extension("esp");
    write_esp(tree, &esp)?;
    copy(&esp, &mut disk, MIB)?;
    fs::remove_file(&esp)?;
    drop(disk);
    let offset = format!("offset={}", (1 + ESP_MIB) * MIB);
    run(Command::new("mkfs.ext4")
        .args(["-q", "-F", "-L", "root", "-E", &offset, "-d"])
        .args([tree, path])
        .arg(format!("{ROOT_MIB}M"))
        .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())))
    .map(drop)
}

fn write_esp(tree: &Path, path: &Path) -> Result<()> {
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    file.set_len(ESP_MIB * MIB)?;
    let options = fatfs::FormatVolumeOptions::new().fat_type(fatfs::FatType::Fat32).bytes_per_cluster(512);
    fatfs::format_volume(&mut file, options).context("cannot make the FAT file system")?;
    let volume = fatfs::FileSystem::new(&mut file, fatfs::FsOptions::new())?;
    let root = volume.root_dir();
    for directory in ["EFI", "EFI/BOOT", "loader", "loader/entries", "debian"] {
        root.create_dir(directory).with_context(|| format!("cannot make {directory} on the ESP"))?;
    }
    let put = |name: &str, bytes: &[u8]| -> Result<()> {
        let mut file = root.create_file(name).with_context(|| format!("cannot make {name} on the ESP"))?;
        file.write_all(bytes).with_context(|| format!("{name} does not fit the ESP"))?;
        Ok(file.flush()?)
    };
    let entry = format!("title Debian\nlinux /debian/linux\ninitrd /debian/initrd\noptions {OPTIONS}\n");
    put(Arch::HERE.default_loader(), &fs::read(provider::inputs(Kernel::Stock)?.boot_loader)?)?;
    put("loader/loader.conf", LOADER_CONF.as_bytes())?;
    put("loader/entries/debian.conf", entry.as_bytes())?;
    put("debian/linux", &fs::read(only(&tree.join("boot"), "vmlinuz-")?)?)?;
    put("debian/initrd", &fs::read(only(&tree.join("boot"), "initrd.img-")?)?)?;
    drop(root);
    volume.unmount().context("cannot close the FAT")
}

/// The file in a directory whose name begins so.
fn only(directory: &Path, start: &str) -> Result<PathBuf> {
    let mut entries = fs::read_dir(directory)?.flatten();
    let found = entries.find(|entry| entry.file_name().to_string_lossy().starts_with(start));
    Ok(found.with_context(|| format!("no {start}… in {}", directory.display()))?.path())
}

/// Copies a file to a place of the disk; zeroes stay holes.
fn copy(from: &Path, disk: &mut File, at: u64) -> Result<()> {
    let mut file = File::open(from)?;
    let mut block = vec![0; MIB as usize];
    let mut offset = at;
    loop {
        let length = file.read(&mut block)?;
        if length == 0 {
            return Ok(());
        }
        if block[..length].iter().any(|byte| *byte != 0) {
            disk.seek(SeekFrom::Start(offset))?;
            disk.write_all(&block[..length])?;
        }
        offset += length as u64;
    }
}
