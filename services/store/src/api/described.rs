//! `/api/v1/metadata` and `/api/v1/query_exemplars`: what senders said about metrics and single observations.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vakt_wire::http::{Request, Response};

use super::Api;
use super::form::Form;
use super::query::{parse, span};
use crate::promql::syntax::{Expr, VectorSelector};
use crate::series::Labels;

/// Exemplars in one answer.
const EXEMPLARS_MAX: usize = 10_000;

impl Api {
    pub(super) async fn metadata(&self, request: Request) -> Response {
        let form = Form::of(request).await;
        self.answer(form, |engine, form| {
            let families: BTreeMap<_, _> = engine.notes().families(form.get("metric")).into_iter().collect();
            let limit = form.limit("limit")?.unwrap_or(usize::MAX);
            let one = |(name, about): (String, crate::notes::About)| {
                let about = json!([{ "type": about.kind, "help": about.help, "unit": about.unit }]);
                (name, about)
            };
            let listed: serde_json::Map<String, Value> = families.into_iter().take(limit).map(one).collect();
            Ok(Value::Object(listed).to_string().into_bytes().into())
        })
        .await
    }

    pub(super) async fn exemplars(&self, request: Request) -> Response {
        let form = Form::of(request).await;
        self.answer(form, |engine, form| {
            let (from, to) = span(form)?;
            let expr = parse(form)?;
            let mut selected = Vec::new();
            selectors(&expr, &mut selected);
            let mut found: BTreeMap<Labels, Vec<Value>> = BTreeMap::new();
            let mut left = EXEMPLARS_MAX;
            for selector in selected {
                for (labels, exemplars) in engine.exemplars(&selector.matchers, from, to) {
                    if found.contains_key(&labels) {
                        continue;
                    }
                    let listed: Vec<Value> = exemplars
                        .into_iter()
                        .take(left)
                        .map(|exemplar| {
                            let labels: BTreeMap<String, String> = exemplar.labels.into_iter().collect();
                            let value = super::number::text(exemplar.value);
                            json!({ "labels": labels, "value": value, "timestamp": exemplar.time as f64 / 1000.0 })
                        })
                        .collect();
                    left -= listed.len();
                    found.insert(labels, listed);
                }
            }
            let all: Vec<Value> = found
                .into_iter()
                .map(|(labels, exemplars)| {
                    let labels: BTreeMap<&str, &str> = labels.iter().map(|(n, v)| (&**n, &**v)).collect();
                    json!({ "seriesLabels": labels, "exemplars": exemplars })
                })
                .collect();
            Ok(json!(all).to_string().into_bytes().into())
        })
        .await
    }
}

/// Every selector of an expression.
fn selectors<'e>(expr: &'e Expr, out: &mut Vec<&'e VectorSelector>) {
    match expr {
        Expr::Vector(selected) => out.push(selected),
        Expr::Matrix(matrix) => out.push(&matrix.selector),
        Expr::Subquery(subquery) => selectors(&subquery.inner, out),
        Expr::Paren { inner, .. } | Expr::Unary { inner, .. } => selectors(inner, out),
        Expr::Binary(binary) => {
            [&binary.left, &binary.right].into_iter().for_each(|side| selectors(side, out))
        }
        Expr::Aggregate(aggregate) => {
            aggregate.parameter.iter().chain([&aggregate.inner]).for_each(|part| selectors(part, out));
        }
        Expr::Call(call) => call.args.iter().for_each(|arg| selectors(arg, out)),
        Expr::Number { .. } | Expr::Text { .. } => {}
    }
}
