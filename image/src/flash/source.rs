//! The image to write: raw, or compressed by zstd.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use anyhow::Context;

use super::IMAGE_BYTES_MAX;

/// The begin of a zstd frame (RFC 8878, 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

/// A frame's header at most (RFC 8878, 3.1.1.1).
const HEADER_BYTES: u64 = 18;

/// An image, opened at its begin.
pub struct Source {
    /// What is written, unpacked.
    pub reader: Box<dyn Read>,
    /// How much that is.
    pub bytes: u64,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Source {
    /// Opens the image at `path`.
    ///
    /// # Errors
    /// When it cannot be read, says no size, or has more than [`IMAGE_BYTES_MAX`].
    pub fn open(path: &Path) -> anyhow::Result<Source> {
        let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut header = Vec::new();
        file.by_ref().take(HEADER_BYTES).read_to_end(&mut header)?;
        file.rewind()?;
        let source = if header.starts_with(&ZSTD) {
            let said = zstd::zstd_safe::get_frame_content_size(&header).ok().flatten();
            let bytes = said.with_context(|| {
                format!("{} does not say how large it is unpacked; unpack it with: zstd -d", path.display())
            })?;
            Source { reader: Box::new(zstd::Decoder::new(file)?), bytes }
        } else {
            let bytes = file.metadata()?.len();
            Source { reader: Box::new(BufReader::new(file)), bytes }
        };
        anyhow::ensure!(source.bytes > 0, "{} is empty", path.display());
        anyhow::ensure!(
            source.bytes <= IMAGE_BYTES_MAX,
            "{} has {} bytes; an image has {IMAGE_BYTES_MAX} at most",
            path.display(),
            source.bytes
        );
        Ok(source)
    }
}
