//! ext4's primary superblock, put back from one of its copies (Linux Documentation/filesystems/ext4,
//! "Super Block" and "Sparse super"). State whose first blocks were overwritten is not lost by that.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Context;
use crc::{CRC_32_ISCSI, Crc};

/// Bytes of a superblock.
const LENGTH: usize = 1024;

/// Where the primary one begins, in bytes.
const PRIMARY_AT: u64 = 1024;

/// Block size of the image's file system, and blocks of a group: the bits of one bitmap block.
const BLOCK: u64 = 4096;
const BLOCKS_PER_GROUP: u64 = 8 * BLOCK;

/// Groups that hold a copy: 1 and the powers of 3, 5 and 7. The first ones do; a disk that has lost all of
/// these has lost more than its superblock.
const GROUPS_WITH_COPY: [u64; 8] = [1, 3, 5, 7, 9, 25, 27, 49];

/// Offsets in a superblock: s_magic, s_feature_incompat, s_block_group_nr, s_checksum.
const MAGIC_AT: usize = 0x38;
const INCOMPAT_AT: usize = 0x60;
const GROUP_AT: usize = 0x5A;
const CHECKSUM_AT: usize = 0x3FC;

const MAGIC: [u8; 2] = [0x53, 0xEF];

/// The journal may hold something: a copy never says so, and without it the kernel throws the journal away.
const INCOMPAT_RECOVER: u8 = 0x4;

/// Puts the primary superblock of `node` back from the first good copy and returns that copy's group. Nothing
/// is written when the primary one is good, or when there is no good copy.
///
/// # Errors
/// When the node cannot be read or written, the primary one is good, or no copy is.
pub fn restore(node: &Path) -> anyhow::Result<u64> {
    let file = File::options().read(true).write(true).open(node)?;
    let mut block = [0; LENGTH];
    file.read_exact_at(&mut block, PRIMARY_AT).context("cannot read the superblock")?;
    anyhow::ensure!(!is_good(&block), "its superblock is good");
    for group in GROUPS_WITH_COPY {
        // Past the end there is no copy, as on a file system of one group.
        if file.read_exact_at(&mut block, group * BLOCKS_PER_GROUP * BLOCK).is_err() {
            break;
        }
        if is_good(&block) && block[GROUP_AT..GROUP_AT + 2] == (group as u16).to_le_bytes() {
            file.write_all_at(&primary(&block), PRIMARY_AT).context("cannot write the superblock")?;
            file.sync_all().context("cannot write the superblock")?;
            return Ok(group);
        }
    }
    anyhow::bail!("none of its superblock's copies is good")
}

fn is_good(block: &[u8; LENGTH]) -> bool {
    block[MAGIC_AT..MAGIC_AT + 2] == MAGIC && block[CHECKSUM_AT..] == checksum(block)
}

/// ext4's CRC-32C is the usual one without its last inversion.
fn checksum(block: &[u8; LENGTH]) -> [u8; 4] {
    (!Crc::<u32>::new(&CRC_32_ISCSI).checksum(&block[..CHECKSUM_AT])).to_le_bytes()
}

/// A copy as the primary one: of group 0, with a journal that is to be replayed.
fn primary(copy: &[u8; LENGTH]) -> [u8; LENGTH] {
    let mut block = *copy;
    block[GROUP_AT..GROUP_AT + 2].fill(0);
    block[INCOMPAT_AT] |= INCOMPAT_RECOVER;
    let sum = checksum(&block);
    block[CHECKSUM_AT..].copy_from_slice(&sum);
    block
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A file system of two groups, made by mke2fs as the image's is.
    fn made() -> Option<tempfile::NamedTempFile> {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(2 * BLOCKS_PER_GROUP * BLOCK).unwrap();
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let options = ["-q", "-F", "-b", "4096", "-O", "metadata_csum,64bit,^orphan_file"];
        let ran = Command::new("mkfs.ext4").args(options).arg(file.path()).env("PATH", path).status();
        ran.is_ok_and(|status| status.success()).then_some(file)
    }

    #[test]
    fn a_superblock_that_was_overwritten_comes_back_from_its_copy() {
        let file = made().unwrap();
        let mut before = [0; LENGTH];
        file.as_file().read_exact_at(&mut before, PRIMARY_AT).unwrap();
        assert!(is_good(&before), "mke2fs' own is good by our reckoning");
        assert!(restore(file.path()).unwrap_err().to_string().contains("is good"));

        file.as_file().write_all_at(&[0xA5; 4096], 0).unwrap();
        assert_eq!(restore(file.path()).unwrap(), 1);
        let mut after = [0; LENGTH];
        file.as_file().read_exact_at(&mut after, PRIMARY_AT).unwrap();
        assert!(is_good(&after));
        assert_eq!(
            (after[0x68..0x78].to_vec(), after[4]),
            (before[0x68..0x78].to_vec(), before[4]),
            "same volume"
        );

        file.as_file().write_all_at(&[0xA5; 4096], 0).unwrap();
        file.as_file().write_all_at(&[0xA5; 4096], BLOCKS_PER_GROUP * BLOCK).unwrap();
        assert!(restore(file.path()).unwrap_err().to_string().contains("none of"));
    }
}
