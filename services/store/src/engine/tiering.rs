//! Making the tiers: what a partition's blocks amount to, written beside them once merging has made them large.
//!
//! A tier covers the blocks up to a flush, and of those only buckets that were over by then. It serves reads up to its
//! newest bucket, raw blocks what comes after; as soon as a newer block or window holds anything older than that, the
//! partition is read raw until its tiers are made anew.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Engine, Partitions, State, hold};
use crate::block::{Block, BlockError, BlockName, BlockWriter, ColumnCache};
use crate::codec::Effort;
use crate::deletions::{Deletions, Gone};
use crate::histogram::Histogram;
use crate::samples::Samples;
use crate::series::SeriesId;
use crate::tiers::{Aggregate, Aspect, Tier, fold};

/// A partition is over when its end is this far back; its tiers then cover all of it.
const OVER_AFTER_MS: i64 = 3_600_000;

/// A merged block that is at least this part of its partition is worth new tiers. Merged blocks grow geometrically, so
/// each sample is folded a few times in its life.
const MERGED_PART: u64 = 4;

/// Of a partition that is over, this part may be uncovered before its tiers are made anew.
const LATE_PART: u64 = 16;

/// Tiers of less than this make no sense: each must have a bucket that is over.
const SPAN_MIN_MS: i64 = 2 * 3_600_000;

/// Why tiers were not made.
#[derive(Debug, thiserror::Error)]
enum TierError {
    #[error(transparent)]
    Block(#[from] BlockError),
    #[error("cannot write a tier: {0}")]
    Io(#[from] io::Error),
    #[error("a window that became due meanwhile cannot be written: {0}")]
    Window(io::Error),
    #[error("the store is stopping")]
    Stopping,
}

/// One block as the plan sees it.
#[derive(Clone, Copy, Debug)]
struct Part {
    first: u64,
    last: u64,
    samples: u64,
    series: u64,
    span: (i64, i64),
}

/// Whether a tier has so much less than these blocks that it is worth its place: `worth` samples a bucket and series, and
/// a series' labels and directory for more than a few buckets. Five numbers of a bucket take as much as some six samples.
fn is_worth(parts: &[Part], tier: Tier, worth: u64, buckets_min: i64) -> bool {
    let oldest = parts.iter().map(|part| part.span.0).min().unwrap_or(0);
    let newest = parts.iter().map(|part| part.span.1).max().unwrap_or(0);
    let samples: u64 = parts.iter().map(|part| part.samples).sum();
    let series = parts.iter().map(|part| part.series).max().unwrap_or(0);
    if newest.saturating_sub(oldest) < tier.width_ms().saturating_mul(buckets_min) {
        return false;
    }
    let buckets = u128::from(newest.abs_diff(oldest)) * u128::from(series * worth);
    buckets <= u128::from(samples) * u128::from(tier.width_ms().unsigned_abs())
}

/// The flush up to which a partition's tiers should be made now. `parts` are its raw blocks, `covered` the last flush that
/// its tiers cover (0 for none).
fn plan(parts: &[Part], covered: u64, over: bool, samples_min: u64) -> Option<u64> {
    let total: u64 = parts.iter().map(|part| part.samples).sum();
    let fresh = || parts.iter().filter(|part| part.last > covered);
    let up_to = if over {
        let late: u64 = fresh().map(|part| part.samples).sum();
        (late.saturating_mul(LATE_PART) >= total).then(|| fresh().map(|part| part.last).max()).flatten()
    } else {
        let large =
            |part: &&Part| part.first < part.last && part.samples.saturating_mul(MERGED_PART) >= total;
        fresh().filter(large).map(|part| part.last).max()
    }?;
    let within: Vec<_> = parts.iter().filter(|part| part.last <= up_to).collect();
    let oldest = within.iter().map(|part| part.span.0).min()?;
    let newest = within.iter().map(|part| part.span.1).max()?;
    let samples: u64 = within.iter().map(|part| part.samples).sum();
    (samples >= samples_min && newest.saturating_sub(oldest) >= SPAN_MIN_MS).then_some(up_to)
}

impl Engine {
    /// Makes the tiers of one partition when there is one worth it. Returns whether there was.
    ///
    /// # Errors
    /// A text that says what went wrong; nothing has changed then, besides that a corrupt block is set aside.
    pub fn downsample(&self) -> Result<bool, String> {
        let _work = hold(&self.work);
        let Some((parts, tiers)) = self.plan_tiers() else { return Ok(false) };
        self.make_tiers(&parts, &tiers).map_err(|error| error.to_string())?;
        Ok(true)
    }

    /// The blocks of a partition, and the tiers to make of them.
    fn plan_tiers(&self) -> Option<(Vec<Arc<Block>>, Vec<Tier>)> {
        let now = self.now();
        let state = self.lock();
        let partitions: BTreeSet<i64> = state.blocks.iter().map(|block| block.name.partition).collect();
        partitions.into_iter().rev().find_map(|partition| {
            let blocks: Vec<_> =
                state.blocks.iter().filter(|block| block.name.partition == partition).collect();
            // What was deleted is cleaned first: tiers are made once, of what stays.
            if blocks.iter().any(|block| state.deletions.reach(&block.name, block.span())) {
                return None;
            }
            let parts: Vec<Part> = blocks.iter().map(|block| part(block)).collect();
            let over = Partitions::span(partition).1 < now.saturating_sub(OVER_AFTER_MS);
            let tiers: Vec<Tier> = Tier::ALL
                .into_iter()
                .filter(|tier| {
                    is_worth(&parts, *tier, self.settings.tier_worth, self.settings.tier_buckets_min)
                })
                .collect();
            let covered = |tier: &Tier| state.tier(partition, *tier).map_or(0, |block| block.name.last);
            let up_to = plan(&parts, tiers.iter().map(covered).min()?, over, self.settings.tier_samples_min)?;
            let blocks: Vec<_> =
                blocks.into_iter().filter(|block| block.name.last <= up_to).cloned().collect();
            // Tiers have less than half of what they are made of, else they are not worth it.
            let bytes: u64 = blocks.iter().map(|block| block.file_bytes()).sum();
            self.room.holds(bytes / 2).then_some((blocks, tiers))
        })
    }

    fn make_tiers(&self, parts: &[Arc<Block>], tiers: &[Tier]) -> Result<(), TierError> {
        let first = parts.iter().map(|block| block.name.first).min().unwrap_or(0);
        let last = parts.iter().map(|block| block.name.last).max().unwrap_or(0);
        let newest = parts.iter().map(|block| block.span().1).max().unwrap_or(i64::MIN);
        let partition = parts[0].name.partition;
        let (base, _) = Partitions::span(partition);
        let mut writers = Vec::new();
        for &tier in tiers {
            let name = BlockName { first, last, partition, tier: Some(tier) };
            let writer = BlockWriter::create(self.disk.clone(), name, base, 0, Effort::Thorough)?;
            writers.push((tier, name, writer));
        }
        let ids: BTreeSet<SeriesId> = parts.iter().flat_map(|block| block.series()).collect();
        let mut caches: Vec<ColumnCache> = parts.iter().map(|_| ColumnCache::default()).collect();
        for id in ids {
            if self.stopping.load(Ordering::Relaxed) {
                return Err(TierError::Stopping);
            }
            self.flush_between().map_err(TierError::Window)?;
            let mut samples = Samples::default();
            for (block, cache) in parts.iter().zip(&mut caches) {
                let read = block.read(id, i64::MIN, i64::MAX, cache);
                samples.overlay(&read.inspect_err(|error| self.distrust(block, error))?);
            }
            let key = self.lock().registry.key(id).to_vec();
            for (tier, _, writer) in &mut writers {
                let (mut buckets, mut histograms) = fold(&samples, *tier);
                // The last ones may not be over yet.
                buckets.truncate(buckets.partition_point(|bucket| bucket.time <= newest));
                histograms.truncate(histograms.partition_point(|(time, _)| *time <= newest));
                writer.add_aggregates(&key, &buckets, histograms)?;
            }
        }
        for (_, name, writer) in writers {
            if !writer.is_empty() {
                writer.finish()?;
                self.put_tier(name, false)?;
            }
        }
        self.counters.tiers.add(1);
        Ok(())
    }

    /// Writes a tier anew without what was deleted: of partitions whose blocks do not reach back as far as it.
    pub(super) fn clean_tier(&self, tier: &Arc<Block>, deletions: &Deletions) -> Result<(), String> {
        self.cleaned_tier(tier, deletions).map_err(|error| error.to_string())
    }

    fn cleaned_tier(&self, tier: &Arc<Block>, deletions: &Deletions) -> Result<(), TierError> {
        let name = tier.name;
        let (base, _) = Partitions::span(name.partition);
        let mut writer = BlockWriter::create(self.disk.clone(), name, base, 0, Effort::Thorough)?;
        for id in tier.series() {
            if self.stopping.load(Ordering::Relaxed) {
                return Err(TierError::Stopping);
            }
            let read = buckets_of(tier, id, &self.gone_of(id, deletions));
            let (buckets, histograms) = read.inspect_err(|error| self.distrust(tier, error))?;
            let key = self.lock().registry.key(id).to_vec();
            writer.add_aggregates(&key, &buckets, histograms)?;
        }
        self.counters.cleaned.add(1);
        if writer.is_empty() {
            drop(writer);
            self.lock().tiers.retain(|other| other.name != name);
            return Ok(self.remove_files(std::slice::from_ref(tier))?);
        }
        writer.finish()?;
        self.put_tier(name, true)
    }

    /// Takes a finished tier into use, in place of the one before it.
    /// `clean` says that what was deleted is not in it.
    fn put_tier(&self, name: BlockName, clean: bool) -> Result<(), TierError> {
        let mut state = self.lock();
        let tier = Arc::new(Block::open(&*self.disk, name, &mut state.registry)?);
        if !clean && state.deletions.reach(&name, tier.span()) {
            // A deletion came while it was made: it is made anew of what stays.
            drop(state);
            return self.remove_files(&[tier]).map_err(TierError::Io);
        }
        let (old, kept): (Vec<Arc<Block>>, _) = std::mem::take(&mut state.tiers)
            .into_iter()
            .partition(|other| other.name.partition == name.partition && other.name.tier == name.tier);
        state.tiers = kept;
        state.tiers.push(tier);
        drop(state);
        // One that was made anew has replaced the old file already.
        let old: Vec<_> = old.into_iter().filter(|block| block.name != name).collect();
        Ok(self.remove_files(&old)?)
    }
}

impl State {
    /// The block of a tier for a partition.
    pub(super) fn tier(&self, partition: i64, tier: Tier) -> Option<&Arc<Block>> {
        self.tiers.iter().find(|block| block.name.partition == partition && block.name.tier == Some(tier))
    }
}

/// What deletions leave of a series' buckets and histograms in a tier.
fn buckets_of(
    tier: &Block,
    id: SeriesId,
    gone: &Gone,
) -> Result<(Vec<Aggregate>, Vec<(i64, Histogram)>), BlockError> {
    let mut cache = ColumnCache::default();
    let mut read = |aspect| {
        let samples = tier.read_aspect(id, i64::MIN, i64::MAX, aspect, &mut cache);
        samples.map(|mut samples| {
            gone.cut(&tier.name, &mut samples);
            samples
        })
    };
    // Every bucket has a last sample; one with markers of staleness alone has nothing else.
    let last = read(Aspect::Last)?;
    let whole =
        |(&time, &value): (&i64, &f64)| Aggregate { time, numbers: [0.0, 0.0, f64::NAN, f64::NAN, value] };
    let mut buckets: Vec<Aggregate> = last.times.iter().zip(&last.values).map(whole).collect();
    for (place, aspect) in [Aspect::Sum, Aspect::Count, Aspect::Min, Aspect::Max].into_iter().enumerate() {
        let of_aspect = read(aspect)?;
        let mut found = of_aspect.times.iter().zip(&of_aspect.values).peekable();
        for bucket in &mut buckets {
            if let Some((_, value)) = found.next_if(|(time, _)| **time == bucket.time) {
                bucket.numbers[place] = *value;
            }
        }
    }
    Ok((buckets, last.histograms))
}

fn part(block: &Block) -> Part {
    let (first, last) = (block.name.first, block.name.last);
    Part { first, last, samples: block.samples(), series: block.series().count() as u64, span: block.span() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parts: &[(u64, u64, u64)], covered: u64, over: bool, expected: Option<u64>) {
        let part = |&(first, last, samples): &(u64, u64, u64)| Part {
            first,
            last,
            samples,
            series: 1,
            span: (0, SPAN_MIN_MS),
        };
        let parts: Vec<_> = parts.iter().map(part).collect();
        assert_eq!(plan(&parts, covered, over, 100), expected, "{parts:?} {covered} {over}");
    }

    #[test]
    fn tiers_are_made_when_a_large_block_is_new_or_a_partition_is_over() {
        check(&[], 0, true, None);
        check(&[(1, 4, 1000), (5, 5, 10)], 0, false, Some(4));
        check(&[(1, 4, 1000), (5, 5, 10)], 4, false, None);
        check(&[(1, 4, 1000), (5, 8, 40)], 4, false, None);
        check(&[(1, 4, 1000), (5, 20, 400)], 4, false, Some(20));
        check(&[(1, 20, 1400)], 4, false, Some(20));
        check(&[(1, 1, 1000)], 0, false, None);
        check(&[(1, 1, 1000)], 0, true, Some(1));
        check(&[(1, 4, 1000), (5, 5, 10)], 4, true, None);
        check(&[(1, 4, 1000), (5, 5, 100)], 4, true, Some(5));
        check(&[(1, 4, 50)], 0, true, None);
    }

    #[test]
    fn a_tier_that_saves_little_is_not_made() {
        let check = |interval: i64, tier, expected| {
            let span = 86_400_000;
            let part = Part {
                first: 1,
                last: 1,
                samples: (100 * span / interval) as u64,
                series: 100,
                span: (0, span),
            };
            assert_eq!(is_worth(&[part], tier, 10, 24), expected, "{interval} {tier:?}");
        };
        check(5_000, Tier::Minute, true);
        check(15_000, Tier::Minute, false);
        check(15_000, Tier::Hour, true);
        check(600_000, Tier::Hour, false);
    }

    #[test]
    fn a_short_span_has_no_tiers() {
        let short = Part { first: 1, last: 4, samples: 1000, series: 1, span: (0, SPAN_MIN_MS - 1) };
        assert_eq!(plan(&[short], 0, true, 100), None);
    }
}
