//! Evaluating one rule: its query, its answer as series, what is stored.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::alert::{Alert, Cause, State, advance, restored};
use super::template::{Scope, Series};
use super::{Group, Health, Rule, RuleKind, RuleState};
use crate::engine::Engine;
use crate::forward::Own;
use crate::histogram::Histogram;
use crate::ingest::{WriteRequest, onward};
use crate::promql::syntax::Expr;
use crate::promql::{Column, Grid, LOOKBACK_MS, Point, Source, Value, evaluate, parse};
use crate::samples::STALE_NAN;
use crate::series::{Labels, METRIC_NAME, Matcher};
use crate::wal::Done;

/// How far back an alert from before a restart is looked for (Prometheus' `rules.alert.for-outage-tolerance`).
const OUTAGE_MS: i64 = 3_600_000;

/// A sample to store.
type Sample = (Labels, Point);

/// Where rules are asked and what they give goes.
pub struct Place {
    /// The store itself.
    pub engine: Arc<Engine>,
    /// Engines elsewhere get it as well.
    pub onward: Option<Own>,
}

/// Evaluates one rule at `now` (milliseconds since the epoch), stores what it gives and brings its state up to date.
pub(super) fn rule(place: &Place, group: &Group, rule: &Rule, state: &mut RuleState, now: i64) {
    let began = Instant::now();
    let outcome =
        samples(&place.engine, group, rule, state, now).and_then(|samples| store(place, state, samples, now));
    state.health = match outcome {
        Ok(()) => Health::Ok,
        Err(reason) => {
            tracing::warn!(file = group.file, group = group.name, rule = rule.name, reason, "rule failed");
            Health::Bad(reason)
        }
    };
    (state.evaluated_at, state.took_s) = (now, began.elapsed().as_secs_f64());
}

fn samples(
    engine: &Engine,
    group: &Group,
    rule: &Rule,
    state: &mut RuleState,
    now: i64,
) -> Result<Vec<Sample>, String> {
    let at = now - group.offset_ms;
    let series = ask(engine, &rule.expr, at)?;
    match &rule.kind {
        RuleKind::Recording => recorded(group, rule, series),
        RuleKind::Alerting { for_ms, keep_ms, annotations } => {
            let causes = causes(engine, group, rule, annotations, series, at)?;
            advance(&mut state.alerts, causes, now, *for_ms, *keep_ms);
            let first_at = *state.first_at.get_or_insert_with(|| engine.now());
            if *for_ms > 0 && now - first_at <= LOOKBACK_MS {
                restore(engine, &mut state.alerts, first_at, now, *for_ms);
            }
            let active = state.alerts.iter().filter(|alert| alert.state != State::Resolved);
            Ok(active.flat_map(shown).collect())
        }
    }
}

/// The answer of a query at one time.
fn ask(engine: &Engine, expr: &Expr, at: i64) -> Result<Vec<(Labels, Point)>, String> {
    let outcome = evaluate(engine, expr, Grid::instant(at)).map_err(|error| error.to_string())?;
    let of = |column: Column| column.point(0).map(|point| (column.labels.clone(), point));
    match outcome.value {
        Value::Vector(columns) => Ok(columns.into_iter().filter_map(of).collect()),
        Value::Scalar(values) => {
            Ok(values.first().map(|value| (Labels::empty(), Point::Float(*value))).into_iter().collect())
        }
        Value::Text(_) | Value::Matrix(_) => Err("rule result is not a vector or scalar".into()),
    }
}

fn check_limit(group: &Group, found: usize, what: &str) -> Result<(), String> {
    if group.limit > 0 && found > group.limit {
        return Err(format!("exceeded limit of {} with {found} {what}", group.limit));
    }
    Ok(())
}

fn distinct<'l>(labels: impl Iterator<Item = &'l Labels>, what: &str) -> Result<(), String> {
    let mut seen = hashbrown::HashSet::new();
    for labels in labels {
        if !seen.insert(labels) {
            return Err(format!(
                "vector contains metrics with the same labelset after applying {what} labels"
            ));
        }
    }
    Ok(())
}

fn recorded(group: &Group, rule: &Rule, series: Vec<Sample>) -> Result<Vec<Sample>, String> {
    let renamed = series.into_iter().map(|(labels, point)| {
        let own = rule.labels.iter().map(|(name, value)| (name.clone(), value.text().to_owned()));
        let kept = labels.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let name = (METRIC_NAME.to_owned(), rule.name.clone());
        (kept.chain(own).chain([name]).collect::<Labels>(), point)
    });
    let samples: Vec<Sample> = renamed.collect();
    distinct(samples.iter().map(|(labels, _)| labels), "rule")?;
    check_limit(group, samples.len(), "series")?;
    Ok(samples)
}

fn causes(
    engine: &Engine,
    group: &Group,
    rule: &Rule,
    annotations: &[(String, super::template::Template)],
    series: Vec<Sample>,
    at: i64,
) -> Result<Vec<Cause>, String> {
    let query = |text: &str| -> Result<Vec<Series>, String> {
        let expr = parse(text).map_err(|error| error.to_string())?;
        let floats = ask(engine, &expr, at)?.into_iter().filter_map(|(labels, point)| match point {
            Point::Float(value) => Some(Series { labels, value }),
            Point::Histogram(_) => None,
        });
        Ok(floats.collect())
    };
    let mut causes = Vec::with_capacity(series.len());
    for (found, point) in series {
        // A histogram has no single value to show.
        let value = if let Point::Float(value) = point { value } else { f64::NAN };
        let found = found.nameless();
        let scope = Scope { labels: &found, value, query: &query };
        let own = rule.labels.iter().map(|(name, template)| (name.clone(), template.expand(&scope)));
        let kept = found.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let name = ("alertname".to_owned(), rule.name.clone());
        let labels: Labels = kept.chain(own).chain([name]).collect();
        let annotations =
            annotations.iter().map(|(name, template)| (name.clone(), template.expand(&scope))).collect();
        causes.push(Cause { labels, annotations, value });
    }
    distinct(causes.iter().map(|cause| &cause.labels), "alert")?;
    check_limit(group, causes.len(), "alerts")?;
    Ok(causes)
}

/// The two series of an alert.
fn shown(alert: &Alert) -> [Sample; 2] {
    let state = alert.labels.with("alertstate", alert.state.name()).with(METRIC_NAME, "ALERTS");
    let since = alert.labels.with(METRIC_NAME, "ALERTS_FOR_STATE");
    let seconds = (alert.active_at as f64 / 1000.0).floor();
    [(state, Point::Float(1.0)), (since, Point::Float(seconds))]
}

/// Takes up alerts that are new in this evaluation where they were before the start. This goes on for the time of the
/// look-back, as what a rule asks for may come a while after the store.
fn restore(engine: &Engine, alerts: &mut [Alert], first_at: i64, now: i64, for_ms: i64) {
    for alert in alerts.iter_mut().filter(|alert| alert.active_at == now && alert.state != State::Resolved) {
        let wanted = alert.labels.with(METRIC_NAME, "ALERTS_FOR_STATE");
        let matchers: Vec<Matcher> = wanted.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
        let mut selection = Source::select(engine, &matchers, first_at - OUTAGE_MS, first_at);
        for index in
            (0..selection.count()).filter(|&index| selection.labels(index) == wanted).collect::<Vec<_>>()
        {
            let Ok(track) = selection.read(index, first_at - OUTAGE_MS, first_at) else { continue };
            // A staleness marker says that the alert ended before the store did.
            let last =
                track.times.iter().zip(&track.values).next_back().filter(|(_, value)| value.is_finite());
            if let Some((&seen_at, &seconds)) = last {
                alert.active_at = restored((seconds * 1000.0) as i64, seen_at, now, for_ms);
                if now - alert.active_at >= for_ms {
                    alert.state = State::Firing;
                }
                tracing::info!(alert = %alert.labels, "alert is taken up from before the start");
            }
        }
    }
}

/// Ends the series of a rule that is gone.
pub(super) fn end(place: &Place, state: &mut RuleState, now: i64) {
    if let Err(error) = store(place, state, Vec::new(), now) {
        tracing::warn!(error, "series of a rule that is gone are not ended");
    }
}

/// Writes samples, and the end of each series that the evaluation before wrote and this one did not.
fn store(place: &Place, state: &mut RuleState, samples: Vec<Sample>, now: i64) -> Result<(), String> {
    let stale = f64::from_bits(STALE_NAN);
    let mut request = WriteRequest::default();
    let written: Vec<Labels> = samples.iter().map(|(labels, _)| labels.clone()).collect();
    let before = std::mem::replace(&mut state.written, written);
    let known: hashbrown::HashSet<&Labels> = state.written.iter().collect();
    let ended = before.into_iter().filter(|labels| !known.contains(labels));
    let ended: Vec<Sample> = ended.map(|labels| (labels, Point::Float(stale))).collect();
    for (labels, point) in samples.into_iter().chain(ended) {
        let pairs = labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        request.begin(pairs).map_err(|error| error.to_string())?;
        match point {
            Point::Float(value) => request.float(now, value),
            Point::Histogram(histogram) => {
                request.histogram(now, Histogram { integer: false, ..(*histogram).clone() })
            }
        }
        .map_err(|error| error.to_string())?;
    }
    if request.is_empty() {
        return Ok(());
    }
    let (sender, durable) = oneshot::channel();
    // Nobody waits: what a kill takes is evaluated anew.
    let done: Done = Box::new(move |outcome| {
        // Without egress nobody listens.
        let _ = sender.send(outcome.is_ok());
    });
    let report = place.engine.write(&request, "rules", done).map_err(|error| error.to_string())?;
    if let (Some(own), 1..) = (&place.onward, report.stored()) {
        let part =
            onward::encode_part(&request, |series| report.has_series(series), |time| report.has_time(time));
        // Labels that cannot be read are not stored.
        own.hand_over(part.unwrap_or_default(), report.stored(), durable);
    }
    match report.reason {
        Some(reason) => Err(format!("{} samples were not stored: {reason}", report.dropped)),
        None => Ok(()),
    }
}
