//! The two text formats: Prometheus' 0.0.4 and OpenMetrics 1.0, sample by sample.
//!
//! Read from untrusted machines: never panics, and takes no more memory than a small multiple of the text.

use std::borrow::Cow;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`: times in milliseconds.
    Plain,
    /// `application/openmetrics-text`: times in seconds, exemplars, and `# EOF` at the end.
    OpenMetrics,
}

impl Format {
    /// The format of a content type; plain when it is none that we know.
    pub fn of(content_type: &str) -> Format {
        if content_type.trim_start().starts_with("application/openmetrics-text") {
            Format::OpenMetrics
        } else {
            Format::Plain
        }
    }
}

/// One sample as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The metric's name.
    pub name: Cow<'a, str>,
    /// Its labels, in their order.
    pub labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The value.
    pub value: f64,
    /// Its own time in milliseconds since the epoch.
    pub time_ms: Option<i64>,
}

/// Where a text is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct TextError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub reason: &'static str,
}

/// Every sample of a text, or the first thing that is wrong with it: a text that broke off is not half taken.
///
/// # Errors
/// [`TextError`].
pub fn samples(text: &str, format: Format) -> Result<Vec<Sample<'_>>, TextError> {
    let mut found = Vec::new();
    let mut has_ended = false;
    for (index, line) in text.lines().enumerate() {
        let wrong = |reason| TextError { line: index + 1, reason };
        let line = line.trim_start_matches([' ', '\t']);
        if has_ended && !line.is_empty() {
            return Err(wrong("stands after # EOF"));
        }
        if line.starts_with('#') {
            has_ended = format == Format::OpenMetrics && line == "# EOF";
        } else if !line.is_empty() {
            found.push(sample(line, format).map_err(wrong)?);
        }
    }
    if format == Format::OpenMetrics && !has_ended {
        return Err(TextError { line: text.lines().count(), reason: "has no # EOF: it broke off" });
    }
    Ok(found)
}

fn sample(line: &str, format: Format) -> Result<Sample<'_>, &'static str> {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let mut name = Cow::Borrowed(name);
    let mut labels = Vec::new();
    let rest = rest.trim_start_matches([' ', '\t']);
    let rest = match rest.strip_prefix('{') {
        Some(inside) => {
            let (found, after) = label_set(inside)?;
            for (label, value) in found {
                match label {
                    Some(label) => labels.push((label, value)),
                    // A name in quotes stands among the labels.
                    None if name.is_empty() => name = value,
                    None => return Err("has two names"),
                }
            }
            after
        }
        None => rest,
    };
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("has no name of a metric");
    }
    let rest = match (format, rest.split_once(" # ")) {
        (Format::OpenMetrics, Some((before, _exemplar))) => before,
        _ => rest,
    };
    let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
    let value = words.next().and_then(number).ok_or("has no value")?;
    let time_ms = match words.next() {
        None => None,
        Some(word) => Some(time(word, format).ok_or("has no time after its value")?),
    };
    if words.next().is_some() {
        return Err("has more than a value and a time");
    }
    Ok(Sample { name, labels, value, time_ms })
}

/// A number as Go reads it.
fn number(word: &str) -> Option<f64> {
    let digits = word.trim_start_matches(['+', '-']);
    let known = ["inf", "infinity", "nan"].iter().any(|name| digits.eq_ignore_ascii_case(name));
    (known || digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')).then(|| word.parse().ok())?
}

fn time(word: &str, format: Format) -> Option<i64> {
    match format {
        Format::Plain => word.parse().ok(),
        Format::OpenMetrics => {
            number(word).filter(|seconds| seconds.is_finite()).map(|seconds| (seconds * 1000.0) as i64)
        }
    }
}

type LabelSet<'a> = Vec<(Option<Cow<'a, str>>, Cow<'a, str>)>;

/// What stands between the braces, and what is behind them. A pair without a name is the metric's own name in quotes.
fn label_set(text: &str) -> Result<(LabelSet<'_>, &str), &'static str> {
    let (mut found, mut rest) = (Vec::new(), text);
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((found, after));
        }
        let name = if rest.starts_with('"') {
            let (name, after) = quoted(rest)?;
            rest = after;
            name
        } else {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
                return Err("has no name of a label");
            }
            rest = after;
            Cow::Borrowed(name)
        };
        rest = rest.trim_start_matches([' ', '\t']);
        if let Some(after) = rest.strip_prefix('=') {
            let (value, after) = quoted(after.trim_start_matches([' ', '\t']))?;
            found.push((Some(name), value));
            rest = after;
        } else {
            found.push((None, name));
        }
        rest = rest.trim_start_matches([' ', '\t']);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err("has no comma or brace after a label"),
        }
    }
}

/// A text in quotes with `\\`, `\"` and `\n`, and what is behind it.
fn quoted(text: &str) -> Result<(Cow<'_, str>, &str), &'static str> {
    let inside = text.strip_prefix('"').ok_or("has no quote before a value")?;
    let (mut out, mut from, mut escaped) = (String::new(), 0, false);
    for (at, c) in inside.char_indices() {
        match c {
            _ if escaped => {
                match c {
                    'n' => out.push('\n'),
                    '\\' | '"' => out.push(c),
                    // As Prometheus: an unknown one stays as it is written.
                    other => out.extend(['\\', other]),
                }
                (from, escaped) = (at + c.len_utf8(), false);
            }
            '\\' => {
                out.push_str(&inside[from..at]);
                escaped = true;
            }
            '"' => {
                let last = &inside[from..at];
                let value = if out.is_empty() { Cow::Borrowed(last) } else { Cow::Owned(out + last) };
                return Ok((value, &inside[at + 1..]));
            }
            _ => {}
        }
    }
    Err("has no quote behind a value")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The samples as `name{label=value}value@time`.
    fn check(text: &str, format: Format, expected: &str) {
        let said = match samples(text, format) {
            Ok(found) => {
                let one = |sample: &Sample| {
                    let labels: Vec<String> = sample.labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
                    let time = sample.time_ms.map(|time| format!("@{time}")).unwrap_or_default();
                    format!("{}{{{}}}{}{time}", sample.name, labels.join(","), sample.value)
                };
                found.iter().map(one).collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(said, expected, "{text:?}");
    }

    #[test]
    fn plain_text_is_read_as_prometheus_reads_it() {
        use Format::Plain;
        check(
            "# HELP a b\n# TYPE a counter\na 1\n\n a{x=\"y\",} 2 1395066363000\n",
            Plain,
            "a{}1 a{x=y}2@1395066363000",
        );
        check("m{a=\"q\\\"\\\\\\n\" , b = \"\\d\"}\t+Inf", Plain, "m{a=q\"\\\n,b=\\d}inf");
        check("a NaN\nb -Inf\nc 1e-3\nd .5", Plain, "a{}NaN b{}-inf c{}0.001 d{}0.5");
        check("{\"my.metric\",\"a.b\"=\"c\"} 1", Plain, "my.metric{a.b=c}1");
        check("a\nb 1", Plain, "line 1: has no value");
        check("a 1 2 3", Plain, "line 1: has more than a value and a time");
        check("a{b=\"c} 1", Plain, "line 1: has no quote behind a value");
        check("a{b=\"c\" d=\"e\"} 1", Plain, "line 1: has no comma or brace after a label");
        check("a 1\n2a 1", Plain, "line 2: has no name of a metric");
        check("a 1 # {x=\"y\"} 1", Plain, "line 1: has no time after its value");
        check("a infinityx", Plain, "line 1: has no value");
    }

    #[test]
    fn openmetrics_has_seconds_exemplars_and_an_end() {
        use Format::OpenMetrics;
        check(
            "a_total 1 1520879607.789 # {id=\"1\"} 0.5 1\n# EOF\n",
            OpenMetrics,
            "a_total{}1@1520879607789",
        );
        check("a_bucket{le=\"1\"} 3 # {x=\"a # b\"} 1\n# EOF", OpenMetrics, "a_bucket{le=1}3");
        check("a 1\n", OpenMetrics, "line 1: has no # EOF: it broke off");
        check("# EOF\na 1\n", OpenMetrics, "line 2: stands after # EOF");
        assert_eq!(Format::of("application/openmetrics-text; version=1.0.0"), OpenMetrics);
        assert_eq!(Format::of("text/plain; version=0.0.4"), Format::Plain);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z{}\",= \\\\\n#0-9é.]{0,80}") {
            for format in [Format::Plain, Format::OpenMetrics] {
                let _ = samples(&text, format);
            }
        }

        #[test]
        fn what_is_written_is_read_back(name in "[a-z_:][a-z0-9_:]{0,9}", label in "[a-z_][a-z0-9_]{0,9}", value in "\\PC{0,20}", number: f64) {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let text = format!("{name}{{{label}=\"{escaped}\"}} {}\n# EOF\n", crate::exposition::number(number));
            let found = samples(&text, Format::OpenMetrics).unwrap();
            prop_assert_eq!(&found[0].name, &name);
            prop_assert_eq!(&found[0].labels[0].1, &value);
            prop_assert_eq!(found[0].value.to_bits(), number.to_bits());
        }
    }
}
