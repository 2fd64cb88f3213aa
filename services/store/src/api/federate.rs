//! `/federate`: the newest sample of each selected series, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use vakt_wire::http::{Request, Response, full};

use super::Api;
use super::answer;
use super::form::Form;
use super::query::selectors;
use crate::promql::{LOOKBACK_MS, QueryError, Selection, is_absent};
use crate::series::{Labels, METRIC_NAME};

/// Series that one answer may have.
const SERIES_MAX: usize = 500_000;

/// What Prometheus' scraper takes.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8";

impl Api {
    pub(super) async fn federate(&self, request: Request) -> Response {
        let form = Form::of(request).await;
        let asked = self
            .ask(form, |engine, form| {
                let now = engine.now();
                let from = now - LOOKBACK_MS + 1;
                let mut newest: BTreeMap<Labels, (i64, f64)> = BTreeMap::new();
                for matchers in selectors(form)? {
                    let mut snapshot = engine.select(&matchers, from, now);
                    if newest.len() + snapshot.len() > SERIES_MAX {
                        return Err(QueryError::execution(format!(
                            "more than {SERIES_MAX} series are selected"
                        )));
                    }
                    for index in 0..snapshot.len() {
                        let track = Selection::read(&mut snapshot, index, from, now)?;
                        // Histograms have no place in this format.
                        if let (Some(&time), Some(&value)) = (track.times.last(), track.values.last())
                            && !is_absent(value)
                        {
                            newest.insert(snapshot.labels(index).clone(), (time, value));
                        }
                    }
                }
                Ok(text(&newest))
            })
            .await;
        match asked {
            Ok((text, _)) => {
                let mut response = hyper::Response::new(full(text));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
                *response.status_mut() = StatusCode::OK;
                response
            }
            Err(error) => answer::failure(&error),
        }
    }
}

/// The lines, by metric. A series without `instance` gets an empty one, so that the scraper's own does not take its place.
fn text(series: &BTreeMap<Labels, (i64, f64)>) -> String {
    let mut sorted: Vec<_> = series.iter().collect();
    sorted.sort_by_key(|(labels, _)| labels.get(METRIC_NAME));
    let (mut out, mut last) = (String::new(), None);
    for (labels, (time, value)) in sorted {
        let name = labels.get(METRIC_NAME);
        if name.is_empty() {
            continue;
        }
        // Writing to a text does not fail.
        if last != Some(name) {
            let _ = writeln!(out, "# TYPE {} untyped", quoted_name(name));
            last = Some(name);
        }
        let mut inside: Vec<String> = Vec::new();
        if quoted_name(name) != name {
            inside.push(quoted_name(name));
        }
        let others = labels.iter().filter(|(label, _)| &**label != METRIC_NAME);
        inside.extend(others.map(|(label, value)| format!("{}=\"{}\"", quoted_name(label), escaped(value))));
        if labels.get("instance").is_empty() {
            inside.push("instance=\"\"".into());
        }
        let head = if inside.first().is_some_and(|first| *first == quoted_name(name)) { "" } else { name };
        let _ = writeln!(out, "{head}{{{}}} {} {time}", inside.join(","), super::number::text(*value));
    }
    out
}

/// A name; one that is no plain word in quotes.
fn quoted_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let word = name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit());
    if word { name.to_owned() } else { format!("\"{}\"", escaped(name)) }
}

fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('\n', r"\n").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_that_a_scraper_reads() {
        let labels = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Labels>();
        let mut series = BTreeMap::new();
        series.insert(labels(&[("__name__", "b"), ("job", "x\"y"), ("instance", "i")]), (5, 1.5));
        series.insert(labels(&[("__name__", "a")]), (6, f64::INFINITY));
        series.insert(labels(&[("__name__", "a.b"), ("c d", "1")]), (7, 0.0));
        let expected = "# TYPE a untyped\na{instance=\"\"} +Inf 6\n# TYPE \"a.b\" untyped\n{\"a.b\",\"c d\"=\"1\",instance=\"\"} 0 7\n\
            # TYPE b untyped\nb{instance=\"i\",job=\"x\\\"y\"} 1.5 5\n";
        assert_eq!(text(&series), expected);
    }
}
