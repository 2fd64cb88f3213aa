//! The reading half of Prometheus' API.

use std::sync::Arc;

use vakt_wire::http::{Request, Response};

use super::Api;
use super::answer::{self, Answer};
use super::form::{Form, invalid};
use crate::engine::{Engine, Snapshot};
use crate::promql::syntax::{Expr, Kind, kind_of, selector, type_name};
use crate::promql::{self, Grid, Level, Outcome, QueryError, Selection, Source, Track};
use crate::series::{Labels, Matcher};
use crate::tiers::{Aspect, Grain};

/// Steps that a range query may have, as in Prometheus.
const POINTS_MAX: i64 = 11_000;

/// How often a query starts anew because a block turned out to be corrupt and was set aside.
const TRIES_MAX: usize = 5;

/// Series that `/api/v1/series` lists at most in one answer.
const SERIES_LISTED_MAX: usize = 200_000;

impl Source for Engine {
    fn select<'s>(&'s self, matchers: &[Matcher], from: i64, to: i64) -> Box<dyn Selection + 's> {
        Box::new(Engine::select(self, matchers, from, to))
    }
}

impl Selection for Snapshot<'_> {
    fn count(&self) -> usize {
        Snapshot::len(self)
    }

    fn labels(&self, index: usize) -> Labels {
        Snapshot::labels(self, index).clone()
    }

    fn read(&mut self, index: usize, from: i64, to: i64) -> Result<Track, QueryError> {
        Snapshot::read(self, index, from, to)
            .map(Track::from)
            .map_err(|error| QueryError::Internal(error.to_string()))
    }

    fn coarsen(&mut self, grain: Grain) -> bool {
        Snapshot::coarsen(self, grain)
    }

    fn read_buckets(
        &mut self,
        index: usize,
        from: i64,
        to: i64,
        aspect: Aspect,
    ) -> Result<Track, QueryError> {
        Snapshot::read_buckets(self, index, from, to, aspect)
            .map(Track::from)
            .map_err(|error| QueryError::Internal(error.to_string()))
    }
}

impl Api {
    pub(super) async fn instant(&self, request: Request) -> Response {
        let form = Form::of(request).await;
        self.answer(form, |engine, form| {
            let time = form.time("time")?.unwrap_or_else(|| engine.now());
            let outcome = promql::evaluate(engine, &parse(form)?, Grid::instant(time))?;
            Ok(told(form, answer::instant(&outcome.value, time), &outcome))
        })
        .await
    }

    pub(super) async fn range(&self, request: Request) -> Response {
        let form = Form::of(request).await;
        self.answer(form, |engine, form| {
            let grid = grid(form)?;
            let expr = parse(form)?;
            let kind = kind_of(&expr);
            if matches!(kind, Kind::Text | Kind::Matrix) {
                let kind = type_name(kind);
                return Err(invalid(
                    "query",
                    format_args!(
                        "invalid expression type {kind:?} for range query, must be Scalar or instant Vector"
                    ),
                ));
            }
            let outcome = promql::evaluate(engine, &expr, grid)?;
            Ok(told(form, answer::range(&outcome.value, grid), &outcome))
        })
        .await
    }

    pub(super) async fn series(&self, request: Request) -> Response {
        let form = Form::of(request).await;
        self.answer(form, |engine, form| {
            let (from, to) = span(form)?;
            let limit = form.limit("limit")?.unwrap_or(usize::MAX).min(SERIES_LISTED_MAX);
            let selectors = selectors(form)?;
            if selectors.is_empty() {
                return Err(QueryError::BadData("no match[] parameter provided".into()));
            }
            let mut found = std::collections::BTreeSet::new();
            for matchers in selectors {
                let snapshot = engine.select(&matchers, from, to);
                found.extend((0..snapshot.len()).map(|index| snapshot.labels(index).clone()));
            }
            let mut out = vec![b'['];
            for (index, labels) in found.iter().take(limit).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                answer::labels(labels, &mut out);
            }
            out.push(b']');
            Ok(out.into())
        })
        .await
    }

    pub(super) async fn labels(&self, request: Request) -> Response {
        let form = Form::of(request).await;
        self.answer(form, |engine, form| {
            names(form, |matchers, from, to| engine.label_names(matchers, from, to)).map(Into::into)
        })
        .await
    }

    pub(super) async fn label_values(&self, request: Request, label: String) -> Response {
        let form = Form::of(request).await;
        self.answer(form, move |engine, form| {
            names(form, |matchers, from, to| engine.label_values(&label, matchers, from, to)).map(Into::into)
        })
        .await
    }

    /// Answers with the JSON that `work` gives.
    pub(super) async fn answer<F>(&self, form: Result<Form, QueryError>, work: F) -> Response
    where
        F: Fn(&Engine, &Form) -> Result<Answer, QueryError> + Send + 'static,
    {
        match self.ask(form, work).await {
            Ok((mut answer, warnings)) => {
                answer.warnings.splice(0..0, warnings);
                answer::success(&answer)
            }
            Err(error) => answer::failure(&error),
        }
    }

    /// Runs `work` on a thread of its own, when it is its turn, and again when a block was set aside
    /// under it; gives what it gave and a warning for each such block.
    pub(super) async fn ask<T, I, F>(
        &self,
        input: Result<I, QueryError>,
        work: F,
    ) -> Result<(T, Vec<String>), QueryError>
    where
        T: Send + 'static,
        I: Send + 'static,
        F: Fn(&Engine, &I) -> Result<T, QueryError> + Send + 'static,
    {
        let input = input?;
        let Ok(turn) = self.queries.clone().acquire_owned().await else {
            return Err(QueryError::Internal("the store is stopping".into()));
        };
        let engine: Arc<Engine> = self.engine.clone();
        engine.counters().queries.add(1);
        let worked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let mut warnings = Vec::new();
            for _ in 1..TRIES_MAX {
                let bad = engine.counters().blocks_bad.get();
                match work(&engine, &input) {
                    Err(QueryError::Internal(reason)) if engine.counters().blocks_bad.get() > bad => {
                        warnings.push(format!("set aside as corrupt: {reason}"));
                    }
                    outcome => return outcome.map(|outcome| (outcome, warnings)),
                }
            }
            work(&engine, &input).map(|outcome| (outcome, warnings))
        });
        worked.await.unwrap_or_else(|error| Err(QueryError::Internal(format!("query broke off: {error}"))))
    }
}

/// An answer with what the query told besides.
fn told(form: &Form, data: Vec<u8>, outcome: &Outcome) -> Answer {
    let query = form.get("query").unwrap_or_default();
    let notes = |level| outcome.notes.texts(level, query);
    Answer { data, warnings: notes(Level::Warning), infos: notes(Level::Info) }
}

pub(super) fn parse(form: &Form) -> Result<Expr, QueryError> {
    let query = form.get("query").unwrap_or_default();
    promql::parse(query).map_err(|error| match error {
        QueryError::BadData(reason) => invalid("query", reason),
        other => other,
    })
}

fn grid(form: &Form) -> Result<Grid, QueryError> {
    let missing = |name| invalid(name, "cannot parse \"\" to a valid timestamp");
    let start = form.time("start")?.ok_or_else(|| missing("start"))?;
    let end = form.time("end")?.ok_or_else(|| missing("end"))?;
    if end < start {
        return Err(invalid("end", "end timestamp must not be before start time"));
    }
    let step = form.duration("step")?;
    let step = step.ok_or_else(|| invalid("step", "cannot parse \"\" to a valid duration"))?;
    if step <= 0 {
        return Err(invalid(
            "step",
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    if (end - start) / step > POINTS_MAX {
        return Err(QueryError::BadData(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution \
             (?step=XX)"
                .into(),
        ));
    }
    Ok(Grid { start, end, step })
}

/// Start and end of a request for metadata; all times when they are absent.
pub(super) fn span(form: &Form) -> Result<(i64, i64), QueryError> {
    Ok((form.time("start")?.unwrap_or(i64::MIN), form.time("end")?.unwrap_or(i64::MAX)))
}

/// The selectors of `match[]`.
pub(super) fn selectors(form: &Form) -> Result<Vec<Vec<Matcher>>, QueryError> {
    let one = |text: &str| match selector(text) {
        Ok(selected) => Ok(selected.matchers),
        Err(error) => Err(invalid("match[]", error)),
    };
    form.all("match[]").map(one).collect()
}

fn names(
    form: &Form,
    of: impl Fn(&[Matcher], i64, i64) -> std::collections::BTreeSet<Arc<str>>,
) -> Result<Vec<u8>, QueryError> {
    let (from, to) = span(form)?;
    let limit = form.limit("limit")?.unwrap_or(usize::MAX);
    let mut selectors = selectors(form)?;
    if selectors.is_empty() {
        selectors.push(Vec::new());
    }
    let all: std::collections::BTreeSet<_> =
        selectors.iter().flat_map(|matchers| of(matchers, from, to)).collect();
    Ok(answer::texts(all.iter().take(limit)))
}
