//! Samples that queries have decoded, kept for the next query: the same dashboard asks again every few seconds.
//!
//! A piece is what one row (of one aspect, where the block is a tier) holds within a span that is somewhat wider than was asked for,
//! so that the next question, which is later by a little, finds it too. Rows that were scraped together share their times.
//!
//! Memory: at most [`BYTES_MAX`]. A question that reads more than fits keeps the part that it put there first, instead of
//! pushing all of it out before it is read again: what was used by one of the last [`QUERIES_KEPT`] queries stays.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;

use crate::samples::Samples;
use crate::series::SeriesId;
use crate::tiers::Aspect;

/// Bytes of all pieces: two hours of 5,000 series at 15 s. The box gives the store 160 MiB, of which samples that wait
/// for their block take up to 48.
const BYTES_MAX: usize = 24 << 20;

/// What a piece takes besides its columns: its place in two tables and two allocations.
const PIECE_BYTES: usize = 192;

/// Longer pieces are not kept: one reader of months must not push out a page of dashboards.
const PIECE_SAMPLES_MAX: usize = 8192;

/// Spans are widened to multiples of this.
const ALIGN_MS: i64 = 30 * 60 * 1000;

/// What so many queries did not use makes room.
const QUERIES_KEPT: u64 = 16;

/// Pieces that one new piece looks at to find room.
const LOOKED_AT: usize = 8;

/// Which row: a block as it was opened, a series, and a number of a tier's buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// [`super::Block::serial`].
    pub block: u64,
    /// The series.
    pub id: SeriesId,
    /// The aspect.
    pub aspect: Aspect,
}

/// All samples of a row from `from` to `to` (both included).
#[derive(Clone, Debug)]
pub struct Piece {
    from: i64,
    to: i64,
    times: Arc<[i64]>,
    values: Arc<[f64]>,
}

struct Place {
    piece: Piece,
    /// The query that used it last.
    used: u64,
    /// Where it stands in the ring.
    at: usize,
}

#[derive(Default)]
struct Inner {
    places: HashMap<Row, Place>,
    /// All of them in turn, for making room.
    ring: Vec<Row>,
    hand: usize,
    /// How many pieces share these times, by their address.
    shared: HashMap<usize, usize>,
    bytes: usize,
}

/// The pieces. Threads share it.
#[derive(Default)]
pub struct Decoded {
    inner: Mutex<Inner>,
    queries: AtomicU64,
}

impl Piece {
    /// Takes of a row's samples those in `covered` that are within reach of the span that was asked for. `None` when it would be
    /// too long to keep. `like` are times that may be shared.
    pub fn of(
        samples: &Samples,
        asked: (i64, i64),
        covered: (i64, i64),
        like: &mut Option<Arc<[i64]>>,
    ) -> Option<Piece> {
        let from = (asked.0.div_euclid(ALIGN_MS).saturating_mul(ALIGN_MS)).max(covered.0);
        let to = (asked.1.div_euclid(ALIGN_MS).saturating_add(1).saturating_mul(ALIGN_MS)).min(covered.1);
        let (first, end) = range(&samples.times, from, to);
        if end - first > PIECE_SAMPLES_MAX || !samples.histograms.is_empty() {
            return None;
        }
        let times = &samples.times[first..end];
        let times = match like.as_ref().filter(|like| ***like == *times) {
            Some(like) => like.clone(),
            None => like.insert(times.into()).clone(),
        };
        Some(Piece { from, to, times, values: samples.values[first..end].into() })
    }

    /// The samples from `from` to `to` (both included).
    pub fn within(&self, from: i64, to: i64) -> Samples {
        let (first, end) = range(&self.times, from, to);
        let (times, values) = (self.times[first..end].to_vec(), self.values[first..end].to_vec());
        Samples { times, values, histograms: Vec::new() }
    }

    fn address(&self) -> usize {
        self.times.as_ptr().addr()
    }

    fn times_bytes(&self) -> usize {
        size_of_val(&*self.times)
    }

    fn own_bytes(&self) -> usize {
        size_of_val(&*self.values) + PIECE_BYTES
    }
}

/// The indexes of the times from `from` to `to`.
fn range(times: &[i64], from: i64, to: i64) -> (usize, usize) {
    let first = times.partition_point(|time| *time < from);
    (first, first + times[first..].partition_point(|time| *time <= to))
}

impl Decoded {
    /// The number of a new query.
    pub fn query(&self) -> u64 {
        self.queries.fetch_add(1, Ordering::Relaxed)
    }

    /// The piece of a row, if it is there and covers this span.
    pub fn get(&self, row: Row, from: i64, to: i64, query: u64) -> Option<Piece> {
        let mut inner = self.lock();
        let place = inner.places.get_mut(&row)?;
        if place.piece.from > from || place.piece.to < to {
            return None;
        }
        place.used = place.used.max(query);
        Some(place.piece.clone())
    }

    /// Keeps a piece of a row in place of the one before, if there is room.
    pub fn put(&self, row: Row, piece: Piece, query: u64) {
        let mut inner = self.lock();
        inner.remove(row);
        if inner.make_room(piece.own_bytes() + piece.times_bytes(), query) {
            inner.insert(row, piece, query);
        }
    }

    /// Bytes of all pieces.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Nothing in here panics half way; and these are copies.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn insert(&mut self, row: Row, piece: Piece, query: u64) {
        let sharing = self.shared.entry(piece.address()).or_default();
        *sharing += 1;
        self.bytes += piece.own_bytes() + if *sharing == 1 { piece.times_bytes() } else { 0 };
        self.places.insert(row, Place { piece, used: query, at: self.ring.len() });
        self.ring.push(row);
    }

    fn remove(&mut self, row: Row) {
        let Some(Place { piece, at, .. }) = self.places.remove(&row) else { return };
        self.ring.swap_remove(at);
        if let Some(moved) = self.ring.get(at).and_then(|row| self.places.get_mut(row)) {
            moved.at = at;
        }
        self.bytes -= piece.own_bytes();
        if let Some(sharing) = self.shared.get_mut(&piece.address()) {
            *sharing -= 1;
            if *sharing == 0 {
                self.shared.remove(&piece.address());
                self.bytes -= piece.times_bytes();
            }
        }
    }

    /// Removes what was not used for a while, until so many bytes fit or enough was looked at.
    fn make_room(&mut self, bytes: usize, query: u64) -> bool {
        for _ in 0..LOOKED_AT {
            if self.bytes + bytes <= BYTES_MAX || self.ring.is_empty() {
                break;
            }
            self.hand = (self.hand + 1) % self.ring.len();
            let row = self.ring[self.hand];
            if self.places.get(&row).is_some_and(|place| place.used + QUERIES_KEPT < query) {
                self.remove(row);
            }
        }
        self.bytes + bytes <= BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn samples(times: std::ops::Range<i64>) -> Samples {
        let times: Vec<i64> = times.map(|n| n * 15_000).collect();
        let values = times.iter().map(|time| *time as f64).collect();
        Samples { times, values, histograms: Vec::new() }
    }

    fn row(id: u32) -> Row {
        Row { block: 1, id: SeriesId(id), aspect: Aspect::Last }
    }

    #[test]
    fn a_question_that_is_later_by_a_little_finds_the_piece() {
        let (decoded, all) = (Decoded::default(), samples(0..1000));
        let piece = Piece::of(&all, (5_000_000, 7_300_000), (i64::MIN, i64::MAX), &mut None).unwrap();
        decoded.put(row(1), piece, 0);
        let found = decoded.get(row(1), 5_100_000, 8_000_000, 1).unwrap().within(5_100_000, 8_000_000);
        let mut expected = all.clone();
        expected.clip(5_100_000, 8_000_000);
        assert_eq!((found.times, found.values), (expected.times, expected.values));
        assert!(decoded.get(row(1), 5_100_000, 10_000_000, 1).is_none(), "not all of it is here");
        assert!(decoded.get(row(2), 5_100_000, 8_000_000, 1).is_none());
    }

    #[test]
    fn nothing_is_promised_past_what_was_decoded() {
        let piece = Piece::of(&samples(0..100), (100_000, 200_000), (50_000, 250_000), &mut None).unwrap();
        assert_eq!((piece.from, piece.to), (50_000, 250_000));
        assert!(Piece::of(&samples(0..10_000), (0, i64::MAX), (i64::MIN, i64::MAX), &mut None).is_none());
    }

    #[test]
    fn a_question_of_more_than_fits_keeps_a_part_that_it_finds_again() {
        let (decoded, all, mut like) = (Decoded::default(), samples(0..1000), None);
        let rows = 5_000;
        let ask = || {
            let query = decoded.query();
            let mut found = 0;
            for id in 0..rows {
                match decoded.get(row(id), 0, 14_000_000, query) {
                    Some(_) => found += 1,
                    None => {
                        let piece = Piece::of(&all, (0, 14_000_000), (i64::MIN, i64::MAX), &mut like.clone())
                            .unwrap();
                        like = Some(piece.times.clone());
                        decoded.put(row(id), piece, query);
                    }
                }
                assert!(decoded.bytes() <= BYTES_MAX);
            }
            found
        };
        let mut ask = ask;
        assert_eq!(ask(), 0);
        let (second, third) = (ask(), ask());
        assert!(second > rows / 2 && third == second, "{second} and {third} of {rows}");
    }

    proptest! {
        #[test]
        fn the_bytes_are_those_of_what_is_kept(puts in prop::collection::vec((0u32..20, 1i64..50, prop::bool::ANY), 1..200)) {
            let (decoded, mut like) = (Decoded::default(), None);
            for (id, length, forget) in puts {
                if forget {
                    like = None;
                }
                let piece = Piece::of(&samples(0..length), (0, i64::MAX), (i64::MIN, i64::MAX), &mut like).unwrap();
                decoded.put(row(id), piece, 0);
            }
            let inner = decoded.lock();
            let own: usize = inner.places.values().map(|place| place.piece.own_bytes()).sum();
            let times: HashMap<usize, usize> =
                inner.places.values().map(|place| (place.piece.address(), place.piece.times_bytes())).collect();
            prop_assert_eq!(inner.bytes, own + times.values().sum::<usize>());
            prop_assert!(inner.ring.iter().enumerate().all(|(at, row)| inner.places[row].at == at));
        }
    }
}
