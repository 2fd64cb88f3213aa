//! The kernel command line, which comes from the same signed file as the kernel and the initramfs.

use std::fs;

use anyhow::Context;

/// What stage 1 and 2 need of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootOptions {
    /// `a` or `b`, from `vakt.slot=`.
    pub slot: String,
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
    let slot = value("vakt.slot")?;
    anyhow::ensure!(matches!(slot, "a" | "b"), "vakt.slot is {slot:?}, not a or b");
    let verity = value("vakt.verity")?;
    let parts: Vec<&str> = verity.split(':').collect();
    let [blocks, salt, root_hash] = parts[..] else { anyhow::bail!("vakt.verity is not blocks:salt:hash") };
    let hex = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    anyhow::ensure!(
        hex(salt) && hex(root_hash) && root_hash.len() == 64,
        "vakt.verity has a bad salt or hash"
    );
    Ok(BootOptions {
        slot: slot.to_owned(),
        verity: Verity {
            data_blocks: blocks.parse().with_context(|| format!("vakt.verity has {blocks:?} blocks"))?,
            salt: salt.to_owned(),
            root_hash: root_hash.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_and_the_hash_tree_are_read() {
        let hash = "ab".repeat(32);
        let options = parse(&format!("quiet vakt.slot=a vakt.verity=12:00ff:{hash}\n")).unwrap();
        assert_eq!((options.slot.as_str(), options.verity.data_blocks), ("a", 12));
        assert_eq!(options.verity.root_hash, hash);
    }

    #[test]
    fn a_line_that_would_boot_something_else_is_refused() {
        for line in ["", "vakt.slot=c vakt.verity=1:00:00", "vakt.slot=a vakt.verity=1:zz:00", "vakt.slot=a"]
        {
            assert!(parse(line).is_err(), "{line:?}");
        }
    }
}
