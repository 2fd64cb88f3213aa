//! The initramfs: a cpio archive (newc, Linux Documentation/driver-api/early-userspace) with init and
//! its modules, and nothing else.

use std::path::Path;

use anyhow::Context;

/// zstd's level: the kernel unpacks all of them equally fast.
const LEVEL: i32 = 19;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;

/// The compressed archive.
///
/// # Errors
/// When init cannot be read.
pub fn make(init: &Path, modules: &[(String, Vec<u8>)]) -> anyhow::Result<Vec<u8>> {
    let init = std::fs::read(init).with_context(|| format!("cannot read {}", init.display()))?;
    let mut archive = Archive::default();
    for name in ["dev", "proc", "sys", "run", "root", "modules"] {
        archive.add(name, DIRECTORY, &[]);
    }
    archive.add("init", PROGRAM, &init);
    let order: String = modules.iter().map(|(name, _)| format!("{name}\n")).collect();
    archive.add("modules/order", FILE, order.as_bytes());
    for (name, bytes) in modules {
        archive.add(&format!("modules/{name}"), FILE, bytes);
    }
    archive.add("TRAILER!!!", 0, &[]);
    zstd::bulk::compress(&archive.bytes, LEVEL).context("cannot compress the initramfs")
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, contents: &[u8]) {
        self.entries += 1;
        let fields = [
            self.entries,
            mode,
            0, // uid
            0, // gid
            if mode == DIRECTORY { 2 } else { 1 },
            super::EPOCH_S as u32,
            contents.len() as u32,
            0, // device, twice, and the device that it stands for, twice
            0,
            0,
            0,
            name.len() as u32 + 1,
            0, // no checksum in newc
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_laid_out_as_newc_says() {
        let mut archive = Archive::default();
        archive.add("init", PROGRAM, b"hello");
        let head = std::str::from_utf8(&archive.bytes[..110]).unwrap();
        assert_eq!(&head[..22], "0707010000000100008 1ed".replace(' ', ""));
        assert_eq!(&head[94..102], "00000005");
        assert_eq!(&archive.bytes[110..115], b"init\0");
        assert_eq!(&archive.bytes[116..121], b"hello");
        assert_eq!(archive.bytes.len() % 4, 0);
    }
}
