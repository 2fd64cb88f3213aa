//! Prometheus' text format and OpenMetrics, pushed rather than scraped.
//!
//! A line that is none is counted and left out, and the rest is stored: these bodies are written by hand and by scripts.

use super::request::{Metadata, RequestError, WriteRequest, text};
use crate::series::LABELS_MAX;

/// The bits of Prometheus' own NaN; a parsed one has none of its own.
const NORMAL_NAN: u64 = 0x7ff8_0000_0000_0001;

/// What the lines do not say themselves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextForm {
    /// The time of samples that have none: milliseconds since the epoch.
    pub now: i64,
    /// OpenMetrics: times are seconds with a fraction, not milliseconds.
    pub open_metrics: bool,
    /// Labels that every series gets, in place of one of the same name.
    pub extra: Vec<(String, String)>,
}

/// A line while it is read.
struct Line<'a> {
    rest: &'a str,
}

type Labels = Vec<(String, String)>;

struct Sample {
    labels: Labels,
    value: f64,
    time: Option<i64>,
    exemplar: Option<(Labels, f64, Option<i64>)>,
}

impl WriteRequest {
    /// Reads an unpacked text body.
    ///
    /// # Errors
    /// [`RequestError`] when it holds more than a request may. Lines that are none of the format are counted.
    pub fn read_text(&mut self, body: &[u8], form: &TextForm) -> Result<(), RequestError> {
        self.clear();
        for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
            let Ok(line) = std::str::from_utf8(line) else {
                self.refuse(1, format_args!("line {} is not UTF-8", index + 1));
                continue;
            };
            let line = line.trim_matches([' ', '\t', '\r']);
            if let Some(comment) = line.strip_prefix('#') {
                self.read_comment(comment);
            } else if !line.is_empty() {
                match (Line { rest: line }).sample(form.open_metrics) {
                    Ok(sample) => self.put_text_sample(sample, form)?,
                    Err(what) => self.refuse(1, format_args!("line {}: {what}", index + 1)),
                }
            }
        }
        Ok(())
    }

    fn put_text_sample(&mut self, mut sample: Sample, form: &TextForm) -> Result<(), RequestError> {
        put_extra(&mut sample.labels, &form.extra);
        self.begin(sample.labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))?;
        let time = sample.time.unwrap_or(form.now);
        self.float(time, sample.value)?;
        if let Some((labels, value, at)) = sample.exemplar {
            self.exemplar(at.unwrap_or(time), value, labels);
        }
        Ok(())
    }

    /// HELP, TYPE and UNIT; any other comment is one.
    fn read_comment(&mut self, comment: &str) {
        let mut words = comment.trim_start().splitn(3, [' ', '\t']);
        let (Some(word), Some(name)) = (words.next(), words.next()) else { return };
        let said = words.next().unwrap_or_default().trim();
        let mut about = match self.metadata.pop() {
            Some(last) if last.name == name => last,
            other => {
                self.metadata.extend(other);
                Metadata { name: text(name.as_bytes()), kind: "unknown", ..Metadata::default() }
            }
        };
        match word {
            "HELP" => about.help = unescape(said),
            "UNIT" => about.unit = said.into(),
            "TYPE" => {
                let kinds =
                    ["counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"];
                about.kind = kinds.into_iter().find(|kind| *kind == said).unwrap_or("unknown");
            }
            _ => return,
        }
        self.describe(about);
    }
}

/// Gives a series labels that it must have.
pub(super) fn put_extra(labels: &mut Labels, extra: &[(String, String)]) {
    for (name, value) in extra {
        labels.retain(|(other, _)| other != name);
        labels.push((name.clone(), value.clone()));
    }
    labels.sort();
}

impl<'a> Line<'a> {
    fn sample(mut self, open_metrics: bool) -> Result<Sample, String> {
        let end = self.rest.find(['{', ' ', '\t']).ok_or("has no value")?;
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        let mut labels = if self.rest.starts_with('{') { self.labels()? } else { Vec::new() };
        if !name.is_empty() {
            labels.push(("__name__".into(), name.into()));
        }
        let value = number(self.word().ok_or("has no value")?)?;
        let time = match self.word() {
            None | Some("#") => None,
            Some(word) => Some(time(word, open_metrics)?),
        };
        let exemplar = match self.rest.trim_start_matches(['#', ' ', '\t']) {
            "" => None,
            rest => {
                self.rest = rest;
                Some(self.exemplar(open_metrics)?)
            }
        };
        Ok(Sample { labels, value, time, exemplar })
    }

    fn exemplar(&mut self, open_metrics: bool) -> Result<(Labels, f64, Option<i64>), String> {
        if !self.rest.starts_with('{') {
            return Err(format!("has {:?} behind its sample", self.rest));
        }
        let labels = self.labels()?;
        let value = number(self.word().ok_or("has an exemplar without a value")?)?;
        let at = self.word().map(|word| time(word, open_metrics)).transpose()?;
        Ok((labels, value, at))
    }

    /// The next word, or `None` at the end.
    fn word(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_start();
        let (word, rest) = rest.split_at(rest.find([' ', '\t']).unwrap_or(rest.len()));
        self.rest = rest;
        Some(word).filter(|word| !word.is_empty())
    }

    /// Labels in braces. One without a value is the quoted name of the metric.
    fn labels(&mut self) -> Result<Labels, String> {
        let mut labels = Vec::new();
        self.rest = &self.rest[1..];
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', ',']);
            if let Some(rest) = self.rest.strip_prefix('}') {
                self.rest = rest;
                return Ok(labels);
            }
            if labels.len() > LABELS_MAX {
                return Err(format!("has more than {LABELS_MAX} labels"));
            }
            let name = self.label_name()?;
            self.rest = self.rest.trim_start();
            match self.rest.strip_prefix('=') {
                Some(rest) => {
                    self.rest = rest.trim_start();
                    labels.push((name, self.quoted()?));
                }
                None => labels.push(("__name__".into(), name)),
            }
        }
    }

    fn label_name(&mut self) -> Result<String, String> {
        if self.rest.starts_with('"') {
            return self.quoted();
        }
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_:.".contains(c))).unwrap_or(0);
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        if name.is_empty() { Err(format!("has no label name before {rest:?}")) } else { Ok(name.into()) }
    }

    fn quoted(&mut self) -> Result<String, String> {
        let inner = self.rest.strip_prefix('"').ok_or("has a label value without quotes")?;
        let mut escaped = false;
        let end = inner.find(|c: char| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let end = end.ok_or("has a label value that does not end")?;
        self.rest = &inner[end + 1..];
        Ok(unescape(&inner[..end]))
    }
}

fn unescape(text: &str) -> String {
    let (mut out, mut characters) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = characters.next() {
        match (c, characters.clone().next()) {
            ('\\', Some(next @ ('\\' | '"' | 'n'))) => {
                out.push(if next == 'n' { '\n' } else { next });
                characters.next();
            }
            _ => out.push(c),
        }
    }
    out
}

/// A value as Go writes it.
pub(super) fn number(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(value) if value.is_nan() => Ok(f64::from_bits(NORMAL_NAN)),
        Ok(value) => Ok(value),
        Err(_) => Err(format!("{word:?} is no number")),
    }
}

fn time(word: &str, open_metrics: bool) -> Result<i64, String> {
    if !open_metrics && let Ok(millis) = word.parse::<i64>() {
        return Ok(millis);
    }
    let scale = if open_metrics { 1000.0 } else { 1.0 };
    let millis = word.parse::<f64>().ok().map(|number| (number * scale).round()).filter(|ms| ms.abs() < 9e15);
    millis.map(|millis| millis as i64).ok_or_else(|| format!("{word:?} is no time"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::canonical;
    use proptest::prelude::*;

    fn read(body: &str, form: &TextForm) -> WriteRequest {
        let mut request = WriteRequest::default();
        request.read_text(body.as_bytes(), form).unwrap();
        request
    }

    fn check(line: &str, labels: &str, time: i64, value: f64) {
        let request = read(line, &TextForm { now: 7, ..TextForm::default() });
        assert_eq!(request.refused, (0, None), "{line}");
        let pairs = request.labels(&request.frames[0]).unwrap();
        let found: crate::series::Labels = canonical(&pairs).unwrap().into_iter().collect();
        assert_eq!(found.to_string(), labels, "{line}");
        assert_eq!(request.samples[0].0, time, "{line}");
        assert!(request.samples[0].1 == value || request.samples[0].1.is_nan() && value.is_nan(), "{line}");
    }

    #[test]
    fn samples_are_read_as_prometheus_reads_them() {
        check("up 1", "up", 7, 1.0);
        check("up 1 1395066363000", "up", 1_395_066_363_000, 1.0);
        check("\tup\t 1\r", "up", 7, 1.0);
        check(r#"a{b="c",d="e"} 2.5e3 -5"#, r#"a{b="c", d="e"}"#, -5, 2500.0);
        check(r#"a {d="e" , b="c" , } +Inf"#, r#"a{b="c", d="e"}"#, 7, f64::INFINITY);
        check(r#"a{b="q\"u\\o\nt}e"} NaN"#, "a{b=\"q\\\"u\\\\o\\nt}e\"}", 7, f64::NAN);
        check(r#"{"my.metric","odd label"="x"} 1"#, r#"my.metric{odd label="x"}"#, 7, 1.0);
        check("a{} 1", "a", 7, 1.0);
    }

    #[test]
    fn a_line_that_is_none_is_named_and_the_rest_is_kept() {
        let check = |line: &str, what: &str| {
            let request = read(&format!("good 1\n{line}\nalso 2\n"), &TextForm::default());
            let reason = request.refused.1.clone().unwrap_or_default();
            assert!(reason.contains("line 2") && reason.contains(what), "{line}: {reason}");
            assert_eq!((request.frames.len(), request.refused.0), (2, 1), "{line}");
        };
        check("word", "has no value");
        check("a x", "\"x\" is no number");
        check("a 1 tomorrow", "\"tomorrow\" is no time");
        check(r#"a{b="c} 1"#, "does not end");
        check(r#"a{b=c} 1"#, "without quotes");
        check(r#"a{="c"} 1"#, "no label name");
        check("a 1 2 3", "\"3\" behind its sample");
    }

    #[test]
    fn open_metrics_has_seconds_exemplars_and_units() {
        let body = "# TYPE a counter\n# UNIT a seconds\n# HELP a What\\nit is\n\
                    a_total{x=\"1\"} 3 1.5 # {trace_id=\"t\"} 0.25 1.25\n# EOF\n";
        let request = read(body, &TextForm { open_metrics: true, ..TextForm::default() });
        assert_eq!((request.refused.0, &*request.samples), (0, &[(1500, 3.0)][..]));
        let exemplar = &request.exemplars[0];
        assert_eq!((exemplar.time, exemplar.value), (1250, 0.25));
        assert_eq!(exemplar.labels, [("trace_id".to_owned(), "t".to_owned())]);
        let about = &request.metadata[0];
        assert_eq!((about.kind, &*about.unit, &*about.help), ("counter", "seconds", "What\nit is"));
        assert_eq!(request.metadata.len(), 1);
    }

    #[test]
    fn extra_labels_stand_in_place_of_the_same_name() {
        let extra = vec![("a".to_owned(), "new".to_owned()), ("z".to_owned(), "1".to_owned())];
        let request = read("m{a=\"old\"} 1", &TextForm { extra, ..TextForm::default() });
        let pairs = request.labels(&request.frames[0]).unwrap();
        assert_eq!(canonical(&pairs).unwrap(), [("__name__", "m"), ("a", "new"), ("z", "1")]);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(body in r#"([a-z]{0,2}|[{}="\\,# \n\t]|[0-9.]{0,3}|é){0,30}"#, open_metrics: bool) {
            read(&body, &TextForm { open_metrics, ..TextForm::default() });
        }

        #[test]
        fn no_bytes_make_the_reader_panic(body: Vec<u8>) {
            WriteRequest::default().read_text(&body, &TextForm::default()).unwrap();
        }
    }
}
