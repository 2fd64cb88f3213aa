//! What was deleted and may still be in blocks (FORMAT.md, "Tombstones").
//!
//! A deletion says: of the series that these matchers choose, the samples of this time that are in blocks up to this
//! flush are gone. Nothing is looked up ahead: matchers are tried on a series' labels when it is read, which costs
//! nothing while nothing is deleted, and no memory for a deletion of a million series.

pub mod file;

use crate::block::BlockName;
use crate::samples::Samples;
use crate::series::{Labels, Matcher};

/// Deletions that wait to be cleaned; each is tried on each series of a query. Past it a further one is refused.
pub const DELETIONS_MAX: usize = 1024;

/// Bytes of the file: it is written anew for each deletion. Past it a further one is refused.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// One deletion.
#[derive(Clone, Debug, PartialEq)]
pub struct Deletion {
    /// The last flush whose samples it is about.
    pub up_to: u64,
    /// The first millisecond.
    pub from: i64,
    /// The last one.
    pub to: i64,
    /// When it was asked for: milliseconds since the epoch.
    pub at: i64,
    /// All of them must match.
    pub matchers: Vec<Matcher>,
}

/// Why a deletion was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{waiting} deletions wait to be cleaned, and no more are kept; call clean_tombstones, then delete again"
)]
pub struct TooMany {
    /// How many there are.
    waiting: usize,
}

impl Deletion {
    fn chooses(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.is_match(labels.get(&matcher.name)))
    }

    /// Whether all that `other` deletes is deleted by this one.
    fn includes(&self, other: &Deletion) -> bool {
        self.matchers == other.matchers
            && self.up_to >= other.up_to
            && self.from <= other.from
            && self.to >= other.to
    }
}

/// All deletions in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deletions {
    all: Vec<Deletion>,
    /// Log segments up to this one hold nothing that is not in blocks or deleted.
    pub log_up_to: u64,
}

impl Deletions {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them, oldest first.
    pub fn all(&self) -> &[Deletion] {
        &self.all
    }

    /// These and one more; those that it includes are not needed any more.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn and(&self, one: Deletion) -> Result<Deletions, TooMany> {
        let mut all = self.all.clone();
        all.retain(|old| !one.includes(old));
        all.push(one);
        let more = Deletions { all, log_up_to: self.log_up_to };
        if more.all.len() > DELETIONS_MAX || file::bytes(&more).len() > FILE_BYTES_MAX {
            return Err(TooMany { waiting: self.all.len() });
        }
        Ok(more)
    }

    /// These without those of `done`.
    pub fn without(&self, done: &Deletions) -> Deletions {
        let all = self.all.iter().filter(|one| !done.all.contains(one)).cloned().collect();
        Deletions { all, log_up_to: self.log_up_to }
    }

    /// The last flush that any of them is about.
    pub fn newest_flush(&self) -> u64 {
        self.all.iter().map(|one| one.up_to).max().unwrap_or(0)
    }

    /// What is gone of a series.
    pub fn of(&self, labels: &Labels) -> Gone {
        let chosen = self.all.iter().filter(|one| one.chooses(labels));
        Gone(chosen.map(|one| (one.up_to, one.from, one.to)).collect())
    }

    /// Whether any of them may be about a block of this span.
    pub fn reach(&self, name: &BlockName, span: (i64, i64)) -> bool {
        self.all.iter().any(|one| touches(&(one.up_to, one.from, one.to), name, span))
    }
}

/// What is gone of one series: up to which flush, and the first and last millisecond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gone(Vec<(u64, i64, i64)>);

impl From<&Deletion> for Gone {
    fn from(one: &Deletion) -> Gone {
        Gone(vec![(one.up_to, one.from, one.to)])
    }
}

/// The times in a block that a deletion takes: those of a tier stand for the width of a bucket before them.
fn reach_of(&(_, from, to): &(u64, i64, i64), name: &BlockName) -> (i64, i64) {
    (from, name.tier.map_or(to, |tier| to.saturating_add(tier.width_ms() - 1)))
}

fn touches(one: &(u64, i64, i64), name: &BlockName, span: (i64, i64)) -> bool {
    let (from, to) = reach_of(one, name);
    name.last <= one.0 && from <= span.1 && to >= span.0
}

impl Gone {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether anything from a block of this span may be gone.
    pub fn touches(&self, name: &BlockName, span: (i64, i64)) -> bool {
        self.0.iter().any(|one| touches(one, name, span))
    }

    /// Whether everything from a block of this span is gone, by one deletion alone.
    pub fn covers(&self, name: &BlockName, span: (i64, i64)) -> bool {
        self.0.iter().any(|one| {
            let (from, to) = reach_of(one, name);
            name.last <= one.0 && from <= span.0 && to >= span.1
        })
    }

    /// Takes out of a block's samples what is gone.
    pub fn cut(&self, name: &BlockName, samples: &mut Samples) {
        for one in self.0.iter().filter(|one| name.last <= one.0) {
            let (from, to) = reach_of(one, name);
            samples.remove(from, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiers::Tier;

    fn deletion(job: &str, up_to: u64, from: i64, to: i64) -> Deletion {
        Deletion { up_to, from, to, at: 1, matchers: vec![Matcher::equal("job", job)] }
    }

    fn name(last: u64, tier: Option<Tier>) -> BlockName {
        BlockName { first: 1, last, partition: 0, tier }
    }

    #[test]
    fn only_the_chosen_series_in_blocks_of_before_lose_what_was_deleted() {
        let all = Deletions::default().and(deletion("a", 5, 10, 20)).unwrap();
        let left = |job: &str, last: u64| {
            let mut samples = Samples::from_arrivals(&[(9, 1.0), (10, 1.0), (20, 1.0), (21, 1.0)]);
            let labels: Labels = [("job", job)].into_iter().collect();
            all.of(&labels).cut(&name(last, None), &mut samples);
            samples.times
        };
        assert_eq!(left("a", 5), [9, 21]);
        assert_eq!(left("a", 6), [9, 10, 20, 21]);
        assert_eq!(left("b", 5), [9, 10, 20, 21]);
    }

    #[test]
    fn a_bucket_goes_when_any_of_its_times_does() {
        let labels: Labels = [("job", "a")].into_iter().collect();
        let check = |from: i64, to: i64, expected: &[i64]| {
            let gone = Deletions::default().and(deletion("a", 5, from, to)).unwrap().of(&labels);
            let mut samples = Samples::from_arrivals(&[(60_000, 1.0), (120_000, 1.0), (180_000, 1.0)]);
            gone.cut(&name(5, Some(Tier::Minute)), &mut samples);
            assert_eq!(samples.times, expected, "{from} to {to}");
        };
        check(60_000, 60_000, &[120_000, 180_000]);
        check(60_001, 60_001, &[60_000, 180_000]);
        check(60_000, 60_001, &[180_000]);
        check(0, 0, &[60_000, 120_000, 180_000]);
        check(i64::MIN, i64::MAX, &[]);
    }

    #[test]
    fn what_a_newer_deletion_includes_is_not_kept_and_their_number_is_bounded() {
        let mut all = Deletions::default();
        for n in 0..2000 {
            all = all.and(deletion("a", n, 0, 100)).unwrap();
        }
        assert_eq!(all.all().len(), 1);
        for n in 1..DELETIONS_MAX as i64 {
            all = all.and(deletion("a", 1, n * 1000, n * 1000)).unwrap();
        }
        assert_eq!(all.and(deletion("b", 1, 0, 0)), Err(TooMany { waiting: DELETIONS_MAX }));
        let long = deletion(&"x".repeat(FILE_BYTES_MAX), 1, 0, 0);
        assert_eq!(Deletions::default().and(long), Err(TooMany { waiting: 0 }));
    }

    #[test]
    fn a_block_is_touched_or_covered_by_its_span() {
        let labels: Labels = [("job", "a")].into_iter().collect();
        let gone = Deletions::default().and(deletion("a", 5, 10, 20)).unwrap().of(&labels);
        let check = |last, span, touched, covered| {
            let name = name(last, None);
            assert_eq!((gone.touches(&name, span), gone.covers(&name, span)), (touched, covered), "{span:?}");
        };
        check(5, (10, 20), true, true);
        check(5, (9, 20), true, false);
        check(5, (20, 30), true, false);
        check(5, (21, 30), false, false);
        check(6, (10, 20), false, false);
    }
}
