//! The kernel modules that stage 1 loads, with what they depend on, in load order.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::process::run;

/// What the machine needs before and in stage 2. A name that the kernel has built in is passed over.
const WANTED: &[&str] = &[
    // Disks: virtio, SCSI (which SATA and USB are behind), NVMe is built in.
    "virtio_blk",
    "virtio_scsi",
    "sd_mod",
    "ahci",
    "usb_storage",
    "uas",
    "xhci_pci",
    "mmc_block",
    "sdhci_pci",
    // The verified root.
    "dm_verity",
    "erofs",
    // The services' shares of state.
    "quota_v2",
    // Network.
    "virtio_net",
    "e1000",
    "e1000e",
    "igb",
    "igc",
    "r8169",
    "vmxnet3",
    "hv_netvsc",
    "ena",
    "gve",
    "8021q",
    "bonding",
    // The firewall; its family, chain and most expressions are in the first.
    "nf_tables",
    "nf_conntrack",
    "nft_ct",
    // What tells how the last boot ended: the watchdogs of QEMU and of ACPI, panics kept by the firmware.
    "i6300esb",
    "wdat_wdt",
    "efi_pstore",
    // Credentials of a virtual machine's host, and the firmware's variables (which boot entry was chosen).
    "qemu_fw_cfg",
    "efivarfs",
    // The power button.
    "button",
    "evdev",
];

/// Modules by file name with their bytes, in load order.
///
/// # Errors
/// When a module cannot be unpacked, or names one that is neither there nor built in.
pub fn resolve(directory: &Path) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut files = BTreeMap::new();
    find(&directory.join("kernel"), &mut files)?;
    let builtin =
        fs::read_to_string(directory.join("modules.builtin")).context("cannot read modules.builtin")?;
    let builtin: Vec<String> = builtin.lines().map(|line| module_name(Path::new(line))).collect();
    let mut order = Vec::new();
    for name in WANTED {
        // Not every kernel has every driver; what the root needs is checked below.
        if files.contains_key(*name) {
            add(name, &files, &builtin, &mut order)?;
        }
    }
    for name in ["dm_verity", "erofs", "virtio_blk"] {
        let there =
            builtin.iter().any(|b| b == name) || order.iter().any(|(file, _)| *file == format!("{name}.ko"));
        anyhow::ensure!(there, "the kernel in {} has no {name}", directory.display());
    }
    Ok(order)
}

fn add(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    builtin: &[String],
    order: &mut Vec<(String, Vec<u8>)>,
) -> anyhow::Result<()> {
    let file_name = format!("{name}.ko");
    if order.iter().any(|(done, _)| *done == file_name) || builtin.iter().any(|b| b == name) {
        return Ok(());
    }
    let path = files.get(name).with_context(|| format!("module {name} is needed and not there"))?;
    let bytes = unpack(path)?;
    // `depends` are hard; `softdep=pre:` name drivers of algorithms, without which the module loads
    // and then fails when it is used.
    for needed in depends(&bytes) {
        add(&needed, files, builtin, order)?;
    }
    for wished in soft_depends(&bytes) {
        if files.contains_key(&wished) {
            add(&wished, files, builtin, order)?;
        }
    }
    order.push((file_name, bytes));
    Ok(())
}

fn find(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> anyhow::Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            find(&entry.path(), files)?;
        } else if entry.file_name().to_string_lossy().contains(".ko") {
            files.insert(module_name(&entry.path()), entry.path());
        }
    }
    Ok(())
}

/// `dm-verity.ko.xz` is module dm_verity.
fn module_name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    file.split(".ko").next().unwrap_or_default().replace('-', "_")
}

fn unpack(path: &Path) -> anyhow::Result<Vec<u8>> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => Ok(run(Command::new("xz").arg("-dc").arg(path))?.stdout),
        Some("zst") => Ok(zstd::decode_all(fs::File::open(path)?)?),
        _ => Ok(fs::read(path)?),
    }
}

/// The values of a key in an ELF module's `.modinfo`: zero-terminated `key=value` strings.
fn modinfo<'a>(module: &'a [u8], key: &str) -> Vec<&'a str> {
    let key = format!("{key}=");
    module
        .split(|byte| *byte == 0)
        .filter_map(|text| std::str::from_utf8(text.strip_prefix(key.as_bytes())?).ok())
        .collect()
}

fn depends(module: &[u8]) -> Vec<String> {
    let lists = modinfo(module, "depends");
    lists
        .iter()
        .flat_map(|list| list.split(','))
        .filter(|n| !n.is_empty())
        .map(|n| n.replace('-', "_"))
        .collect()
}

fn soft_depends(module: &[u8]) -> Vec<String> {
    let lists = modinfo(module, "softdep");
    let words = lists.iter().filter_map(|list| list.strip_prefix("pre:")).flat_map(str::split_whitespace);
    words.take_while(|word| !word.ends_with(':')).map(|n| n.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_the_module_itself() {
        let module =
            b"\x7fELF..\0license=GPL\0depends=dm-mod,dm-bufio\0softdep=pre: crc32c nls-utf8 post: x\0";
        assert_eq!(depends(module), ["dm_mod", "dm_bufio"]);
        assert_eq!(soft_depends(module)[..2], ["crc32c", "nls_utf8"]);
        assert_eq!(depends(b"depends=\0"), Vec::<String>::new());
        assert_eq!(module_name(Path::new("a/b/dm-verity.ko.xz")), "dm_verity");
    }
}
