//! The hashes of a file: of all of it, and of each piece.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use sha2::Digest;
use vakt_update::digest::Sha256;
use vakt_update::manifest::{PIECE_BYTES, Part};

/// The file at `path`, as target `name`.
///
/// # Errors
/// When it cannot be read.
pub fn part(path: &Path, name: String) -> anyhow::Result<Part> {
    let reading = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let (mut bytes, mut whole, mut pieces) = (0, sha2::Sha256::new(), Vec::new());
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES as usize);
        file.by_ref().take(PIECE_BYTES).read_to_end(&mut piece).with_context(reading)?;
        if piece.is_empty() {
            return Ok(Part { name, bytes, sha256: Sha256::finish(whole), pieces });
        }
        bytes += piece.len() as u64;
        whole.update(&piece);
        pieces.push(Sha256::of(&piece));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_piece_may_be_shorter() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let contents = vec![7; PIECE_BYTES as usize + 3];
        std::fs::write(file.path(), &contents).unwrap();
        let part = part(file.path(), "x".into()).unwrap();
        assert_eq!((part.bytes, part.sha256), (PIECE_BYTES + 3, Sha256::of(&contents)));
        assert_eq!(part.pieces, [Sha256::of(&contents[3..]), Sha256::of(&[7; 3])]);
    }
}
