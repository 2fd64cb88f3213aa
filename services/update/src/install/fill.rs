//! Pieces into the slot: one in memory at a time, each verified before it is written.

use std::time::Duration;

use bytes::Bytes;
use sha2::Digest;

use crate::archive::Archive;
use crate::board::{Board, Phase};
use crate::digest::Sha256;
use crate::fetch::Remote;
use crate::plan::{Piece, Placed, gaps};
use crate::refusal::Refusal;
use crate::slot::Slot;
use crate::trust::File;

/// Tries in a row that bring no piece. The last comes 15 s after the first; whoever comes back after that installs
/// again, and nothing that is written is fetched twice.
const TRIES_MAX: u32 = 5;

/// The wait before the second try; it doubles.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Fetches what of `placed` the slot lacks.
///
/// # Errors
/// [`Refusal::Mismatch`] at the first piece that is not what was signed; what the transport says after
/// [`TRIES_MAX`] tries; [`Refusal::Disk`].
pub async fn from_remote(
    remote: &Remote,
    path: &str,
    file: File,
    placed: &Placed,
    slot: &Slot,
    board: &Board,
) -> Result<(), Refusal> {
    board.phase(Phase::Comparing);
    let mut have = Vec::with_capacity(placed.part.pieces.len());
    for piece in placed.pieces() {
        have.push(holds(slot, piece, board).await?);
    }
    board.phase(Phase::Writing);
    for gap in gaps(&have) {
        let (mut next, mut tries) = (gap.start, 0);
        while next < gap.end {
            let before = next;
            let end = placed.piece(gap.end - 1);
            let range = placed.piece(next).from..end.from + end.bytes;
            let fetched = run(remote, path, file, range, placed, &mut next, gap.end, slot, board).await;
            tries = if next > before { 0 } else { tries + 1 };
            match fetched {
                Ok(()) => {}
                Err(refusal @ Refusal::Transfer { .. }) if tries < TRIES_MAX => {
                    tracing::info!(piece = next, "fetch broke off, trying again: {refusal}");
                    tokio::time::sleep(TRY_AGAIN_AFTER * 2_u32.pow(tries.saturating_sub(1))).await;
                }
                Err(refusal) => return Err(refusal),
            }
        }
    }
    Ok(())
}

/// One request: pieces from `next` up to `end`; `next` moves on with each that is written.
#[expect(clippy::too_many_arguments, reason = "the two halves of one loop, apart for their length")]
async fn run(
    remote: &Remote,
    path: &str,
    file: File,
    range: std::ops::Range<u64>,
    placed: &Placed,
    next: &mut usize,
    end: usize,
    slot: &Slot,
    board: &Board,
) -> Result<(), Refusal> {
    let mut part = remote.part(path, file, range.clone()).await?;
    part.reader.skip(range.start - part.from).await?;
    let mut buffer = Vec::new();
    while *next < end {
        let piece = placed.piece(*next);
        buffer.resize(piece.bytes as usize, 0);
        let got = part.reader.fill(&mut buffer).await?;
        if got < buffer.len() {
            // A server may give less than it was asked for; then the rest is asked for anew.
            let found = piece.from + got as u64;
            let truncated = Refusal::Truncated { name: path.to_owned(), found, expected: file.bytes };
            return if piece.from > range.start { Ok(()) } else { Err(truncated) };
        }
        buffer = write(slot, placed, *next, buffer, board).await?;
        *next += 1;
    }
    // A server without ranges may have more to say behind the last piece of the file.
    if range.end == file.bytes && part.reader.fill(&mut [0]).await? > 0 {
        return Err(Refusal::Oversized { name: path.to_owned(), expected: file.bytes });
    }
    Ok(())
}

/// Takes `placed` out of an archive, and writes what of it the slot lacks.
///
/// # Errors
/// What the archive says; [`Refusal::Mismatch`]; [`Refusal::Disk`].
pub async fn from_archive<B>(
    archive: &mut Archive<B>,
    path: &str,
    placed: &Placed,
    slot: &Slot,
    board: &Board,
) -> Result<(), Refusal>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let entry = archive.open(path, placed.part.bytes).await?;
    let mut buffer = Vec::new();
    for (index, piece) in placed.pieces().enumerate() {
        buffer.resize(piece.bytes as usize, 0);
        archive.exactly(&entry, &mut buffer).await?;
        verify(placed, index, &buffer)?;
        if !holds(slot, piece, board).await? {
            buffer = write(slot, placed, index, buffer, board).await?;
        }
    }
    archive.pad(&entry).await
}

/// Reads `placed` back from the disk: each piece, and all of it as one.
///
/// # Errors
/// [`Refusal::Mismatch`] when the disk gives other bytes than were written; [`Refusal::Disk`].
pub async fn read_back(placed: &Placed, slot: &Slot, board: &Board) -> Result<(), Refusal> {
    let mut whole = sha2::Sha256::new();
    for (index, piece) in placed.pieces().enumerate() {
        let bytes = slot.read(piece.at, piece.bytes).await?;
        if Sha256::of(&bytes) != piece.sha256 {
            let detail = format!("piece {index} reads back differently; the disk may be failing");
            return Err(Refusal::Mismatch { name: placed.part.name.clone(), detail });
        }
        whole.update(&bytes);
        board.count(|progress| progress.bytes_verified += piece.bytes);
    }
    if Sha256::finish(whole) != placed.part.sha256 {
        let detail = "its pieces are signed for and the whole is not; the manifest is wrong".to_owned();
        return Err(Refusal::Mismatch { name: placed.part.name.clone(), detail });
    }
    Ok(())
}

/// Whether the slot has `piece` already.
async fn holds(slot: &Slot, piece: Piece, board: &Board) -> Result<bool, Refusal> {
    let held = slot.hash(piece.at, piece.bytes).await? == piece.sha256;
    if held {
        board.count(|progress| progress.bytes_kept += piece.bytes);
    }
    Ok(held)
}

/// Writes piece `index`, when it is what was signed; gives the buffer back.
async fn write(
    slot: &Slot,
    placed: &Placed,
    index: usize,
    bytes: Vec<u8>,
    board: &Board,
) -> Result<Vec<u8>, Refusal> {
    verify(placed, index, &bytes)?;
    let length = bytes.len() as u64;
    let buffer = slot.write(placed.piece(index).at, bytes).await?;
    board.count(|progress| progress.bytes_written += length);
    Ok(buffer)
}

fn verify(placed: &Placed, index: usize, bytes: &[u8]) -> Result<(), Refusal> {
    if Sha256::of(bytes) == placed.piece(index).sha256 {
        return Ok(());
    }
    let detail = format!("piece {index} of {} has another hash", placed.part.pieces.len());
    Err(Refusal::Mismatch { name: placed.part.name.clone(), detail })
}
