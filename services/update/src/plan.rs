//! What goes where in the slot, and what of it is missing: pure.
//!
//! The slot holds the root with its hash tree, nothing up to the next multiple of 4096, and the UKI. Each piece's
//! hash is known before its first byte arrives, so that nothing else is ever written, and so that what is there
//! already needs no journal to be found again.

use std::ops::Range;

use crate::digest::Sha256;
use crate::manifest::{Manifest, Part};

/// One piece of a file of the update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it is in its file.
    pub from: u64,
    /// Where it goes in the slot.
    pub at: u64,
    /// Its length, at most [`crate::manifest::PIECE_BYTES`].
    pub bytes: u64,
    /// What it must hash to.
    pub sha256: Sha256,
}

/// One file of the update, and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The file.
    pub part: Part,
    /// Where it begins in the slot.
    pub at: u64,
}

impl Placed {
    /// The files of an update in the order in which they lie in the slot.
    pub fn of(manifest: &Manifest) -> [Placed; 2] {
        [
            Placed { part: manifest.root.clone(), at: 0 },
            Placed { part: manifest.uki.clone(), at: manifest.uki_offset() },
        ]
    }

    /// Piece `index`.
    pub fn piece(&self, index: usize) -> Piece {
        let from = index as u64 * crate::manifest::PIECE_BYTES;
        let bytes = self.part.piece_bytes(index);
        Piece { from, at: self.at + from, bytes, sha256: self.part.pieces[index] }
    }

    /// Its pieces, in order.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        (0..self.part.pieces.len()).map(|index| self.piece(index))
    }
}

/// The runs of `false`: what to fetch, with as few requests as there are gaps.
pub fn gaps(have: &[bool]) -> Vec<Range<usize>> {
    let mut gaps: Vec<Range<usize>> = Vec::new();
    for (index, _) in have.iter().enumerate().filter(|(_, have)| !**have) {
        match gaps.last_mut() {
            Some(gap) if gap.end == index => gap.end += 1,
            _ => gaps.push(index..index + 1),
        }
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{MACHINE, PIECE_BYTES};

    #[test]
    fn pieces_lie_without_gaps_and_the_uki_on_a_boundary() {
        let part = |bytes: u64| Part {
            name: String::new(),
            bytes,
            sha256: Sha256::of(b""),
            pieces: (0..bytes.div_ceil(PIECE_BYTES)).map(|n| Sha256::of(&[n as u8])).collect(),
        };
        let manifest = Manifest {
            format: 1,
            version: "0.2.0".parse().unwrap(),
            machine: MACHINE.into(),
            made: "2026-01-01T00:00:00Z".parse().unwrap(),
            verity_root_hash: Sha256::of(b""),
            root: part(2 * PIECE_BYTES + 1),
            uki: part(PIECE_BYTES),
        };
        let [root, uki] = Placed::of(&manifest);
        let places: Vec<_> = root.pieces().chain(uki.pieces()).map(|p| (p.from, p.at, p.bytes)).collect();
        let m = PIECE_BYTES;
        assert_eq!(places, [(0, 0, m), (m, m, m), (2 * m, 2 * m, 1), (0, 2 * m + 4096, m)]);
        assert_eq!(root.piece(2).sha256, Sha256::of(&[2]));
    }

    #[test]
    fn gaps_are_joined() {
        let check = |have: &str, expected: &[(usize, usize)]| {
            let have: Vec<bool> = have.bytes().map(|b| b == b'x').collect();
            let found: Vec<_> = gaps(&have).into_iter().map(|gap| (gap.start, gap.end)).collect();
            assert_eq!(found, expected);
        };
        check("", &[]);
        check("xxx", &[]);
        check("...", &[(0, 3)]);
        check(".xx..x.", &[(0, 1), (3, 5), (6, 7)]);
    }
}
