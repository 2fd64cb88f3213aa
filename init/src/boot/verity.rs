//! dm-verity by device-mapper's ioctls (Linux Documentation/admin-guide/device-mapper/verity.rst and
//! include/uapi/linux/dm-ioctl.h).

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::cmdline::Verity;
use crate::sys;

/// Block of data and of hashes, in bytes.
const BLOCK: u64 = 4096;

/// Device-mapper counts in these.
const SECTOR: u64 = 512;

/// `struct dm_ioctl` is 312 bytes; a target's spec is 40 and its parameters follow.
const HEADER: usize = 312;
const SPEC: usize = 40;
const BUFFER: usize = 2048;

const DM_DEV_CREATE: u64 = 0xC138_FD03;
const DM_DEV_SUSPEND: u64 = 0xC138_FD06;
const DM_TABLE_LOAD: u64 = 0xC138_FD09;
const DM_DEV_REMOVE: u64 = 0xC138_FD04;
const READ_ONLY: u32 = 1;

/// The device's name.
const NAME: &str = "vakt-root";

/// Whether `partition` holds the tree that `verity` names: its top block, which lies right behind the data
/// (the kernel's dm-verity-target.c, `verity_ctr`), has the root hash. Looked at before verity is laid on it,
/// because a wrong root would stop the machine.
///
/// # Errors
/// When it cannot be read.
pub fn is_over(partition: &Path, verity: &Verity) -> anyhow::Result<bool> {
    let mut block = [0; BLOCK as usize];
    let file = File::open(partition).with_context(|| format!("cannot open {}", partition.display()))?;
    file.read_exact_at(&mut block, verity.data_blocks * BLOCK)
        .with_context(|| format!("cannot read the hash tree on {}", partition.display()))?;
    Ok(has_hash(&block, verity))
}

/// Version 1 of the hash format: the salt comes before the block.
fn has_hash(block: &[u8], verity: &Verity) -> bool {
    let hash = Sha256::new().chain_update(from_hex(&verity.salt)).chain_update(block).finalize();
    from_hex(&verity.root_hash) == hash[..]
}

/// The bytes of an even number of hex digits, as the command line was checked to have.
fn from_hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or(0) as u8;
    text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Lays verity over `partition` and returns the node of the verified device. Any block that does not
/// match when it is read stops the machine (panic_on_corruption): nothing runs on from a changed root.
///
/// # Errors
/// When device-mapper refuses; nothing is left behind then.
pub fn open(partition: &Path, verity: &Verity) -> anyhow::Result<PathBuf> {
    let control =
        File::options().read(true).write(true).open("/dev/mapper/control").context("no device-mapper")?;
    let call = |request: u64, flags: u32, table: Option<&[u8]>| {
        let mut buffer = message(flags, table);
        sys::ioctl_buffer(control.as_fd(), request, &mut buffer).map(|()| buffer)
    };
    let created = call(DM_DEV_CREATE, READ_ONLY, None).context("cannot create the verity device")?;
    let table = target(verity.data_blocks * (BLOCK / SECTOR), &parameters(partition, verity));
    let loaded = call(DM_TABLE_LOAD, READ_ONLY, Some(&table))
        .context("cannot load the verity table")
        .and_then(|_| call(DM_DEV_SUSPEND, 0, None).context("cannot start the verity device"));
    if let Err(error) = loaded {
        let _ = call(DM_DEV_REMOVE, 0, None);
        return Err(error);
    }
    // The kernel's huge dev_t: the minor is spread around the major's twelve bits.
    let dev = u64::from_ne_bytes(created[40..48].try_into().unwrap_or_default());
    let minor = (dev & 0xFF) | (dev >> 12 & 0xFFF00);
    Ok(PathBuf::from(format!("/dev/dm-{minor}")))
}

fn parameters(partition: &Path, verity: &Verity) -> String {
    let node = partition.display();
    let blocks = verity.data_blocks;
    // version, data device, hash device, block sizes, data blocks, first hash block, algorithm,
    // root hash, salt, then the optional words.
    format!(
        "1 {node} {node} {BLOCK} {BLOCK} {blocks} {blocks} sha256 {} {} 1 panic_on_corruption",
        verity.root_hash, verity.salt
    )
}

/// A `struct dm_ioctl` for our device, with a table behind it.
fn message(flags: u32, table: Option<&[u8]>) -> Vec<u8> {
    let mut buffer = vec![0; BUFFER];
    let mut put = |at: usize, bytes: &[u8]| buffer[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &4u32.to_ne_bytes()); // version 4.0.0
    put(12, &(BUFFER as u32).to_ne_bytes()); // data_size
    put(16, &(HEADER as u32).to_ne_bytes()); // data_start
    put(20, &u32::from(table.is_some()).to_ne_bytes()); // target_count
    put(28, &flags.to_ne_bytes());
    put(48, NAME.as_bytes());
    if let Some(table) = table {
        put(HEADER, table);
    }
    buffer
}

/// A `struct dm_target_spec` with its parameters.
fn target(sectors: u64, parameters: &str) -> Vec<u8> {
    let mut table = vec![0; SPEC];
    table[8..16].copy_from_slice(&sectors.to_ne_bytes());
    table[24..30].copy_from_slice(b"verity");
    table.extend_from_slice(parameters.as_bytes());
    table.push(0);
    table.resize(table.len().next_multiple_of(8), 0);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_as_the_kernel_documents_it() {
        let verity = Verity { data_blocks: 10, salt: "00".into(), root_hash: "ab".repeat(32) };
        let text = parameters(Path::new("/dev/vda2"), &verity);
        let expected = format!(
            "1 /dev/vda2 /dev/vda2 4096 4096 10 10 sha256 {} 00 1 panic_on_corruption",
            "ab".repeat(32)
        );
        assert_eq!(text, expected);
        let table = target(80, &text);
        assert_eq!(&table[8..16], 80u64.to_ne_bytes());
        assert_eq!(table.len() % 8, 0);
        assert!(message(READ_ONLY, Some(&table)).len() == BUFFER);
    }

    #[test]
    fn the_top_block_decides_which_slot_a_root_hash_means() {
        // `printf 'saltblock' | sha256sum`, with the salt in hex.
        let salt = "73616c74".to_owned();
        let root_hash: String =
            Sha256::digest(b"saltblock").iter().map(|byte| format!("{byte:02x}")).collect();
        let verity = Verity { data_blocks: 1, salt, root_hash };
        assert!(has_hash(b"block", &verity));
        assert!(!has_hash(b"black", &verity));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("slot");
        std::fs::write(&path, [7; 2 * BLOCK as usize]).unwrap();
        assert!(!is_over(&path, &verity).unwrap());
        std::fs::write(&path, [7; BLOCK as usize]).unwrap();
        assert!(is_over(&path, &verity).is_err(), "a slot that is too short");
    }
}
