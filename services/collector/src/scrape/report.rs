//! What becomes of a scrape: the target's labels joined in, relabelled, bounded, and markers for what is no longer there.
//! Pure: bodies and times in, series out.

use std::collections::{BTreeMap, BTreeSet};

use vakt_wire::remote_write::TimeSeries;

use super::relabel::{Labels, Step, apply};
use super::text::Sample;
use crate::encode::STALE_BITS;

/// How samples are taken.
#[derive(Clone, Debug)]
pub struct Rules {
    /// A scraped label goes before the target's.
    pub honor_labels: bool,
    /// A scraped time is taken.
    pub honor_timestamps: bool,
    /// Steps of `metric_relabel_configs`.
    pub steps: Vec<Step>,
    /// Samples after relabelling.
    pub samples_max: usize,
    /// Labels of a sample.
    pub labels_max: usize,
    /// Bytes of a label's name.
    pub name_bytes_max: usize,
    /// Bytes of a label's value.
    pub value_bytes_max: usize,
}

/// What a target showed last, and what is said of it.
#[derive(Debug, Default)]
pub struct Memory {
    /// Series without a time of their own: those that get a marker when they go.
    shown: BTreeSet<Vec<(String, String)>>,
}

/// One round over a target.
#[derive(Debug, Default)]
pub struct Round {
    /// Samples that the target gave.
    pub scraped: usize,
    /// Those that relabelling kept.
    pub kept: usize,
    series: BTreeMap<Vec<(String, String)>, (f64, Option<i64>)>,
}

impl Round {
    /// Takes the samples of a target with `target` as its labels.
    ///
    /// # Errors
    /// A bound that is exceeded: then nothing is taken, as in Prometheus.
    pub fn take(samples: &[Sample], target: &Labels, rules: &Rules) -> Result<Round, String> {
        let mut round = Round { scraped: samples.len(), ..Round::default() };
        for sample in samples {
            let mut labels = joined(sample, target, rules.honor_labels);
            if !apply(&rules.steps, &mut labels) {
                continue;
            }
            if labels.get("__name__").is_none_or(String::is_empty) {
                return Err("relabelling left a sample without a name".into());
            }
            round.kept += 1;
            if round.kept > rules.samples_max {
                return Err(format!("more than {} samples; sample_limit says so", rules.samples_max));
            }
            within(&labels, rules)?;
            let time = sample.time_ms.filter(|_| rules.honor_timestamps);
            // Of two samples of one series the first counts.
            round.series.entry(labels.into_iter().collect()).or_insert((sample.value, time));
        }
        Ok(round)
    }
}

/// The sample's labels with the target's. One that both have becomes `exported_…`, unless it is honoured.
fn joined(sample: &Sample, target: &Labels, honor: bool) -> Labels {
    let mut labels = Labels::new();
    let scraped = sample.labels.iter().filter(|(_, value)| !value.is_empty());
    for (name, value) in scraped {
        let mut name = name.clone().into_owned();
        while !honor && target.contains_key(&name) {
            name = format!("exported_{name}");
        }
        labels.insert(name, value.clone().into_owned());
    }
    for (name, value) in target {
        // An empty label that is honoured takes the target's away.
        let is_given = honor && sample.labels.iter().any(|(given, _)| given == name);
        if !is_given {
            labels.insert(name.clone(), value.clone());
        }
    }
    labels.insert("__name__".into(), sample.name.clone().into_owned());
    labels
}

fn within(labels: &Labels, rules: &Rules) -> Result<(), String> {
    if labels.len() > rules.labels_max {
        return Err(format!("a sample has {} labels; label_limit is {}", labels.len(), rules.labels_max));
    }
    for (name, value) in labels {
        if name.len() > rules.name_bytes_max {
            return Err(format!("label {name:.40} is longer than label_name_length_limit"));
        }
        if value.len() > rules.value_bytes_max {
            return Err(format!("the value of label {name:.40} is longer than label_value_length_limit"));
        }
    }
    Ok(())
}

impl Memory {
    /// The series of a round and what is said about it, all at `now_ms`. A round that failed shows nothing, so that
    /// everything that was shown before is marked as gone.
    pub fn series(
        &mut self,
        round: Result<&Round, &str>,
        target: &Labels,
        seconds: f64,
        now_ms: i64,
    ) -> Vec<TimeSeries> {
        let none = Round::default();
        let (round, up) = match round {
            Ok(round) => (round, 1.0),
            Err(_) => (&none, 0.0),
        };
        let mut out = Vec::with_capacity(round.series.len() + 8);
        let mut shown = BTreeSet::new();
        for (labels, (value, time)) in &round.series {
            out.push(TimeSeries { labels: labels.clone(), samples: vec![(*value, time.unwrap_or(now_ms))] });
            if time.is_none() {
                shown.insert(labels.clone());
            }
        }
        for gone in self.shown.difference(&shown) {
            // A series that now has times of its own is not gone.
            if !round.series.contains_key(gone) {
                let samples = vec![(f64::from_bits(STALE_BITS), now_ms)];
                out.push(TimeSeries { labels: gone.clone(), samples });
            }
        }
        let added = shown.difference(&self.shown).count();
        self.shown = shown;
        for (name, value) in [
            ("up", up),
            ("scrape_duration_seconds", seconds),
            ("scrape_samples_scraped", round.scraped as f64),
            ("scrape_samples_post_metric_relabeling", round.kept as f64),
            ("scrape_series_added", added as f64),
        ] {
            let mut labels = target.clone();
            labels.insert("__name__".into(), name.into());
            out.push(TimeSeries { labels: labels.into_iter().collect(), samples: vec![(value, now_ms)] });
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::{Format, samples};
    use super::*;

    fn rules() -> Rules {
        Rules {
            honor_labels: false,
            honor_timestamps: true,
            steps: Vec::new(),
            samples_max: 10,
            labels_max: 5,
            name_bytes_max: 20,
            value_bytes_max: 20,
        }
    }

    fn target() -> Labels {
        [("instance", "i"), ("job", "j")].map(|(name, value)| (name.into(), value.into())).into()
    }

    fn round(text: &str, rules: &Rules) -> Result<Round, String> {
        Round::take(&samples(text, Format::Plain).unwrap(), &target(), rules)
    }

    /// `name{…}value`, `!` for a marker.
    fn shown(series: &[TimeSeries]) -> Vec<String> {
        let one = |series: &TimeSeries| {
            let (value, time) = series.samples[0];
            let labels: Vec<String> =
                series.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let value = if value.to_bits() == STALE_BITS { "!".into() } else { value.to_string() };
            format!("{} {value}@{time}", labels.join(","))
        };
        let is_own = |series: &&TimeSeries| !series.labels[0].1.starts_with("scrape_");
        series.iter().filter(is_own).map(one).collect()
    }

    #[test]
    fn a_series_that_goes_and_a_scrape_that_fails_leave_markers() {
        let (mut memory, rules) = (Memory::default(), rules());
        let first = round("a 1\nb 2\nc 3 500\n", &rules).unwrap();
        let said = shown(&memory.series(Ok(&first), &target(), 0.5, 1000));
        let of = |name: &str, rest: &str| format!("__name__={name},instance=i,job=j {rest}");
        assert_eq!(said, [of("a", "1@1000"), of("b", "2@1000"), of("c", "3@500"), of("up", "1@1000")]);
        let second = round("a 4\n", &rules).unwrap();
        let said = shown(&memory.series(Ok(&second), &target(), 0.5, 2000));
        assert_eq!(said, [of("a", "4@2000"), of("b", "!@2000"), of("up", "1@2000")]);
        let said = shown(&memory.series(Err("gone"), &target(), 0.5, 3000));
        assert_eq!(said, [of("a", "!@3000"), of("up", "0@3000")]);
        let said = shown(&memory.series(Err("gone"), &target(), 0.5, 4000));
        assert_eq!(said, [of("up", "0@4000")]);
    }

    #[test]
    fn a_label_that_both_have_is_exported_or_honoured() {
        let text = "a{job=\"x\",instance=\"\",z=\"1\"} 1\n";
        let labels = |honor_labels| {
            let round = round(text, &Rules { honor_labels, ..rules() }).unwrap();
            let (labels, _) = round.series.first_key_value().unwrap();
            labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
        };
        assert_eq!(labels(false), "__name__=a,exported_job=x,instance=i,job=j,z=1");
        assert_eq!(labels(true), "__name__=a,job=x,z=1");
    }

    #[test]
    fn bounds_refuse_the_whole_scrape_and_name_the_limit() {
        let many: String = (0..11).map(|n| format!("m{n} 1\n")).collect();
        assert!(round(&many, &rules()).unwrap_err().contains("sample_limit"));
        assert!(round("a{b=\"1\",c=\"2\",d=\"3\"} 1\n", &rules()).unwrap_err().contains("label_limit"));
        assert!(
            round("a{b=\"123456789012345678901\"} 1\n", &rules()).unwrap_err().contains("label_value_length")
        );
        assert!(
            round("a{b12345678901234567890=\"1\"} 1\n", &rules()).unwrap_err().contains("label_name_length")
        );
        let same = round("a 1\na 2\n", &rules()).unwrap();
        assert_eq!((same.scraped, same.kept, same.series.len()), (2, 2, 1));
    }
}
