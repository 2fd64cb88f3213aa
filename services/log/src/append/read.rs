//! Reading a segment after a restart.

use thiserror::Error;

use super::segment::{frame_header, header};
use super::{FRAME_BYTES_MAX, FRAME_HEADER_BYTES, HEADER_BYTES};
use crate::row;

/// Why a whole segment cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SegmentError {
    /// The file was created and its header never got to the disk: there was no row in it yet.
    #[error("segment {id} ends inside its header")]
    NoHeader {
        /// From its name.
        id: u64,
    },
    /// The header is not that of this segment.
    #[error("segment {id} has a wrong header")]
    WrongHeader {
        /// From its name.
        id: u64,
    },
}

/// What was found wrong behind the good frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The last frame is not whole: the write was cut by a crash and never acknowledged.
    TornTail {
        /// Where it begins.
        offset: usize,
        /// Bytes that are dropped.
        bytes: usize,
    },
    /// A frame with good ones behind it does not match its checksum: the disk changed it.
    BadFrame {
        /// Where it begins.
        offset: usize,
        /// Bytes that are dropped.
        bytes: usize,
    },
}

/// A segment's good frames, and what is wrong with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Payloads with their number of rows, in order.
    pub frames: Vec<(Vec<u8>, usize)>,
    /// Everything that was dropped.
    pub damage: Vec<Damage>,
}

/// Reads the bytes of segment `id`. A frame is good when its checksum matches and its payload is
/// whole rows. A bad one is stepped over when its length leads to a good one.
///
/// # Errors
/// [`SegmentError`] when there is no header to trust.
pub fn replay(id: u64, bytes: &[u8]) -> Result<Replayed, SegmentError> {
    if bytes.len() < HEADER_BYTES {
        return Err(SegmentError::NoHeader { id });
    }
    if bytes[..HEADER_BYTES] != header(id) {
        return Err(SegmentError::WrongHeader { id });
    }
    let mut replayed = Replayed::default();
    let mut at = HEADER_BYTES;
    while at < bytes.len() {
        if let Some((payload, rows)) = good_frame(bytes, at) {
            replayed.frames.push((payload.to_vec(), rows));
            at += FRAME_HEADER_BYTES + payload.len();
            continue;
        }
        match step_over(bytes, at) {
            Some(next) => {
                replayed.damage.push(Damage::BadFrame { offset: at, bytes: next - at });
                at = next;
            }
            None => {
                replayed.damage.push(Damage::TornTail { offset: at, bytes: bytes.len() - at });
                break;
            }
        }
    }
    Ok(replayed)
}

fn frame(bytes: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    let header = bytes.get(at..at + FRAME_HEADER_BYTES)?;
    let length = u32::from_le_bytes(header[..4].try_into().ok()?) as usize;
    let payload = bytes.get(at + FRAME_HEADER_BYTES..at + FRAME_HEADER_BYTES + length)?;
    (length > 0 && length <= FRAME_BYTES_MAX).then_some((header, payload))
}

fn good_frame(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let (header, payload) = frame(bytes, at)?;
    if header != frame_header(payload) {
        return None;
    }
    let mut rows = 0;
    for row in row::rows(payload) {
        row.ok()?;
        rows += 1;
    }
    Some((payload, rows))
}

/// Where the next good frame begins, if the bad one's length leads there.
fn step_over(bytes: &[u8], at: usize) -> Option<usize> {
    let (_, payload) = frame(bytes, at)?;
    let next = at + FRAME_HEADER_BYTES + payload.len();
    good_frame(bytes, next).map(|_| next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(number: i64) -> Vec<u8> {
        let mut bytes = Vec::new();
        row::put_row(number, [("_msg", "hello"), ("n", "1")].into_iter(), &mut bytes);
        bytes
    }

    /// A segment of frames 0, 1, 2 and where each begins.
    fn segment() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = header(7).to_vec();
        let mut starts = Vec::new();
        for number in 0..3 {
            starts.push(bytes.len());
            let payload = payload(number);
            bytes.extend_from_slice(&frame_header(&payload));
            bytes.extend_from_slice(&payload);
        }
        (bytes, starts)
    }

    #[test]
    fn a_torn_tail_is_dropped_at_every_offset_and_the_rest_kept() {
        let (bytes, starts) = segment();
        for cut in HEADER_BYTES..=bytes.len() {
            let replayed = replay(7, &bytes[..cut]).unwrap();
            let whole = (0..3).filter(|n| starts.get(n + 1).copied().unwrap_or(bytes.len()) <= cut).count();
            assert_eq!(replayed.frames.len(), whole, "cut at {cut}");
            let at_boundary = cut == bytes.len() || starts.contains(&cut);
            assert_eq!(replayed.damage.is_empty(), at_boundary, "cut at {cut}");
        }
        for cut in 0..HEADER_BYTES {
            assert_eq!(replay(7, &bytes[..cut]), Err(SegmentError::NoHeader { id: 7 }));
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_loses_one_frame_at_most_or_what_is_behind_its_length() {
        let (bytes, starts) = segment();
        for at in HEADER_BYTES..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            let replayed = replay(7, &flipped).unwrap();
            let hit = starts.iter().rposition(|start| *start <= at).unwrap();
            let in_length = at - starts[hit] < 4;
            let kept: Vec<_> = replayed.frames.iter().map(|(p, _)| p.clone()).collect();
            let expected: Vec<_> =
                (0..3).filter(|n| *n != hit && (!in_length || *n < hit)).map(|n| payload(n as i64)).collect();
            assert_eq!(kept, expected, "flipped byte {at}");
            assert_eq!(replayed.damage.len(), 1);
        }
    }

    #[test]
    fn a_segment_under_a_wrong_name_is_refused() {
        assert_eq!(replay(8, &segment().0), Err(SegmentError::WrongHeader { id: 8 }));
    }
}
