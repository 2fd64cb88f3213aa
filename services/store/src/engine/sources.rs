//! What one source may bring: so that one that runs wild takes neither the series nor the time of the others.
//!
//! A source is who sends: an address, or a service of the box by its uid. New series count for the source that brought
//! them, since the store was started (what is on disk already is nobody's). Samples are measured by a bucket of
//! tokens that refills by the clock that only goes forward.

use std::time::Duration;

use hashbrown::HashMap;

/// Sources that are told apart; further ones share [`OTHERS`].
const SOURCES_MAX: usize = 1024;

/// The name of all sources past [`SOURCES_MAX`].
const OTHERS: &str = "others";

/// A source may send this much at once after a pause: what it gathered while the store was away.
const BURST: Duration = Duration::from_secs(60);

/// The limits of each source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourceLimits {
    /// Series that it may add.
    pub series_max: u64,
    /// Samples a second that it may send for long; bursts up to a minute's worth.
    pub rate_max: u64,
}

/// One source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    /// Series that it added.
    pub series: u64,
    /// Samples that were dropped because it may add no more series.
    pub dropped_series: u64,
    /// Samples that were dropped because it sends too many.
    pub dropped_rate: u64,
    /// Samples that it may send now.
    tokens: u64,
    /// When the tokens were counted last.
    counted: Duration,
}

/// All sources. Pure: the time is handed in.
#[derive(Debug)]
pub struct Sources {
    limits: SourceLimits,
    all: HashMap<String, Source>,
}

impl Sources {
    /// None so far.
    pub fn new(limits: SourceLimits) -> Sources {
        Sources { limits, all: HashMap::new() }
    }

    /// What a source may do at this moment (time since some fixed one). Once for a request: what it did is noted by
    /// [`Sources::leave`].
    pub fn enter(&self, name: &str, now: Duration) -> Allowance {
        let full = self.limits.rate_max.saturating_mul(BURST.as_secs());
        let fresh = || Source { tokens: full, counted: now, ..Source::default() };
        let mut source = self.all.get(self.known(name)).cloned().unwrap_or_else(fresh);
        let since = now.saturating_sub(source.counted);
        let earned = (since.as_secs_f64() * self.limits.rate_max as f64) as u64;
        // A time too short for a token is kept for later.
        if earned > 0 {
            source.tokens = source.tokens.saturating_add(earned).min(full);
            source.counted = now;
        }
        Allowance { limits: self.limits, source }
    }

    /// Notes what a source did.
    pub fn leave(&mut self, name: &str, allowance: Allowance) {
        let name = self.known(name).to_owned();
        self.all.insert(name, allowance.source);
    }

    fn known<'a>(&self, name: &'a str) -> &'a str {
        if self.all.len() >= SOURCES_MAX && !self.all.contains_key(name) { OTHERS } else { name }
    }

    /// Every source with its name, in no order.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.all.iter().map(|(name, source)| (name.as_str(), source))
    }
}

/// What a source may do during one request.
pub struct Allowance {
    limits: SourceLimits,
    source: Source,
}

/// A limit that a source has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverLimit {
    /// Of series.
    #[error("the source has added its limit of {0} series")]
    Series(u64),
    /// Of samples.
    #[error("the source sends more than its limit of {0} samples a second")]
    Rate(u64),
}

impl Allowance {
    /// Takes the tokens of one series' samples, all or none.
    ///
    /// # Errors
    /// [`OverLimit::Rate`]; the samples are counted as dropped.
    pub fn samples(&mut self, count: u64) -> Result<(), OverLimit> {
        match self.source.tokens.checked_sub(count) {
            Some(left) => {
                self.source.tokens = left;
                Ok(())
            }
            None => {
                self.source.dropped_rate += count;
                Err(OverLimit::Rate(self.limits.rate_max))
            }
        }
    }

    /// Whether a new series may be added.
    ///
    /// # Errors
    /// [`OverLimit::Series`]; its samples are counted as dropped.
    pub fn new_series(&mut self, samples: u64) -> Result<(), OverLimit> {
        if self.source.series < self.limits.series_max {
            return Ok(());
        }
        self.source.dropped_series += samples;
        Err(OverLimit::Series(self.limits.series_max))
    }

    /// Notes that one was.
    pub fn added(&mut self) {
        self.source.series += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SourceLimits = SourceLimits { series_max: 2, rate_max: 10 };

    /// One request.
    fn during<T>(
        sources: &mut Sources,
        name: &str,
        seconds: f64,
        act: impl FnOnce(&mut Allowance) -> T,
    ) -> T {
        let mut allowance = sources.enter(name, Duration::from_secs_f64(seconds));
        let outcome = act(&mut allowance);
        sources.leave(name, allowance);
        outcome
    }

    #[test]
    fn a_source_adds_its_series_and_no_more_and_others_are_not_touched() {
        let mut sources = Sources::new(LIMITS);
        let add = |wild: &mut Allowance| wild.new_series(5).inspect(|()| wild.added());
        let added: Vec<_> = (0..3).map(|_| during(&mut sources, "wild", 0.0, add)).collect();
        assert_eq!(added, [Ok(()), Ok(()), Err(OverLimit::Series(2))]);
        assert_eq!(during(&mut sources, "calm", 0.0, add), Ok(()));
        let mut seen: Vec<_> = sources.all().map(|(name, s)| (name, s.series, s.dropped_series)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [("calm", 1, 0), ("wild", 2, 5)]);
    }

    #[test]
    fn tokens_come_back_with_time_and_a_pause_earns_one_burst() {
        let mut sources = Sources::new(LIMITS);
        let mut send = |seconds, count| during(&mut sources, "a", seconds, |a| a.samples(count)).is_ok();
        assert!(send(0.0, 600));
        assert!(!send(0.0, 1));
        assert!(!send(0.05, 1), "half a token is none");
        assert!(send(0.15, 1), "and is kept");
        assert!(send(1.25, 10));
        assert!(!send(1.25, 10));
        assert!(!send(1e6, 601));
        assert!(send(1e6, 600));
        assert!(!send(0.5, 1), "a time that goes back earns nothing");
    }

    #[test]
    fn the_number_of_sources_is_bounded() {
        let mut sources = Sources::new(LIMITS);
        for n in 0..5000 {
            let _ = during(&mut sources, &n.to_string(), 0.0, |a| a.samples(1));
        }
        assert_eq!(sources.all().count(), SOURCES_MAX + 1);
    }
}
