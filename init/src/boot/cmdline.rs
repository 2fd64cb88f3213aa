//! The kernel command line, which comes from the same signed file as the kernel and the initramfs.

use std::fs;

use anyhow::Context;

/// A root of 16 TiB is none; offsets below it do not overflow.
const DATA_BLOCKS_MAX: u64 = 1 << 32;

/// What stage 1 and 2 need of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootOptions {
    /// From `vakt.verity=`.
    pub verity: Verity,
}

/// Parameters of the root's hash tree: `vakt.verity=<data blocks>:<salt hex>:<root hash hex>`. Blocks
/// are 4096 bytes, the algorithm is SHA-256, the tree lies right behind the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verity {
    /// Blocks of data.
    pub data_blocks: u64,
    /// Salt, in hex.
    pub salt: String,
    /// Root hash, in hex.
    pub root_hash: String,
}

impl BootOptions {
    /// Reads and parses the file.
    ///
    /// # Errors
    /// When it cannot be read or lacks an option.
    pub fn read(path: &str) -> anyhow::Result<BootOptions> {
        parse(&fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?)
    }
}

fn parse(line: &str) -> anyhow::Result<BootOptions> {
    let value = |key: &str| {
        let found = line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        found.with_context(|| format!("the kernel command line has no {key}="))
    };
    let verity = value("vakt.verity")?;
    let parts: Vec<&str> = verity.split(':').collect();
    let [blocks, salt, root_hash] = parts[..] else { anyhow::bail!("vakt.verity is not blocks:salt:hash") };
    let hex = |text: &str| {
        !text.is_empty() && text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit())
    };
    anyhow::ensure!(
        hex(salt) && hex(root_hash) && root_hash.len() == 64,
        "vakt.verity has a bad salt or hash"
    );
    let data_blocks = blocks.parse().ok().filter(|blocks| (1..DATA_BLOCKS_MAX).contains(blocks));
    Ok(BootOptions {
        verity: Verity {
            data_blocks: data_blocks.with_context(|| format!("vakt.verity has {blocks:?} blocks"))?,
            salt: salt.to_owned(),
            root_hash: root_hash.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_tree_is_read_and_other_words_are_passed_over() {
        let hash = "ab".repeat(32);
        let options = parse(&format!("quiet vakt.slot=a vakt.verity=12:00ff:{hash}\n")).unwrap();
        assert_eq!(options.verity.data_blocks, 12);
        assert_eq!(options.verity.root_hash, hash);
    }

    #[test]
    fn a_line_that_would_boot_something_else_is_refused() {
        let hash = "ab".repeat(32);
        for line in [
            "".to_owned(),
            "vakt.slot=a".into(),
            "vakt.verity=1:00:00".into(),
            format!("vakt.verity=1:zz:{hash}"),
            format!("vakt.verity=1:0:{hash}"),
            format!("vakt.verity=x:00:{hash}"),
            format!("vakt.verity=18446744073709551615:00:{hash}"),
        ] {
            assert!(parse(&line).is_err(), "{line:?}");
        }
    }
}
