//! Writing a segment.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{FRAME_HEADER_BYTES, HEADER_BYTES, MAGIC, VERSION};

/// The segment that is written now.
#[derive(Debug)]
pub struct Segment {
    file: File,
    id: u64,
    length: u64,
}

/// `0000000000000012.append`.
pub fn file_name(id: u64) -> String {
    format!("{id:016}.append")
}

/// The id of a segment's file name, or `None` for another file.
pub fn id_of_name(name: &str) -> Option<u64> {
    name.strip_suffix(".append").filter(|digits| digits.len() == 16)?.parse().ok()
}

/// Makes the names in `dir` durable.
///
/// # Errors
/// As the operating system says.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The header of segment `id`.
pub(super) fn header(id: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&id.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..20]);
    bytes[20..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The header of a frame with `payload`: its length, and the CRC32 over length and payload.
pub(super) fn frame_header(payload: &[u8]) -> [u8; FRAME_HEADER_BYTES] {
    // Payloads are bounded by FRAME_BYTES_MAX, far below 4 GiB.
    let length = (payload.len() as u32).to_le_bytes();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&length);
    crc.update(payload);
    let mut bytes = [0; FRAME_HEADER_BYTES];
    bytes[..4].copy_from_slice(&length);
    bytes[4..].copy_from_slice(&crc.finalize().to_le_bytes());
    bytes
}

impl Segment {
    /// Creates segment `id` in `dir`, durably: file and name are synced.
    ///
    /// # Errors
    /// As the operating system says; a file of that name must not exist.
    pub fn create(dir: &Path, id: u64) -> io::Result<Segment> {
        let file = File::options().write(true).create_new(true).open(dir.join(file_name(id)))?;
        file.write_all_at(&header(id), 0)?;
        file.sync_all()?;
        sync_dir(dir)?;
        Ok(Segment { file, id, length: HEADER_BYTES as u64 })
    }

    /// Its id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.length
    }

    /// Writes one frame; it is durable after the next [`Segment::sync`]. After an error the end of
    /// the file is what it was: the next frame goes where this one would have gone.
    ///
    /// # Errors
    /// As the operating system says (a full disk, above all).
    pub fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        let header = frame_header(payload);
        self.file.write_all_at(&header, self.length)?;
        self.file.write_all_at(payload, self.length + FRAME_HEADER_BYTES as u64)?;
        self.length += (FRAME_HEADER_BYTES + payload.len()) as u64;
        Ok(())
    }

    /// Returns when every frame is durable.
    ///
    /// # Errors
    /// As the operating system says. After one nothing is known about what was written since the last
    /// good sync, and the kernel will not tell again: the process must end and replay.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
