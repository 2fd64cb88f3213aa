//! `/api/v1/rules` and `/api/v1/alerts`.

use hyper::StatusCode;
use serde_json::{Map, Value, json};
use vakt_wire::http::{Peer, Request, Response, text};

use super::Api;
use super::answer;
use super::form::Form;
use super::query::selectors;
use super::status::{date, success};
use crate::rules::{Alert, GroupState, Health, Rule, RuleKind, RuleState, State};
use crate::series::Labels;

/// What Prometheus shows for a time that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Where the rule files are told to be read anew.
pub(super) const RELOAD: &str = "/-/reload";

impl Api {
    pub(super) fn reload(&self, request: &Request) -> Response {
        if matches!(request.peer, Peer::Tcp(_)) && !self.reload_over_tcp {
            return text(StatusCode::FORBIDDEN, "Lifecycle API is not enabled.");
        }
        match self.rules.reload(self.engine.now()) {
            Ok(()) => text(StatusCode::OK, ""),
            Err(error) => {
                tracing::error!(%error, "the rules of before stay in force");
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {error}\n"))
            }
        }
    }

    pub(super) async fn rules(&self, request: Request) -> Response {
        let asked = Form::of(request).await.and_then(|form| {
            let kind = form.get("type").map(str::to_ascii_lowercase);
            let known = kind.as_deref().is_none_or(|kind| matches!(kind, "alert" | "record"));
            if !known {
                let kind = kind.unwrap_or_default();
                return Err(super::form::invalid("type", format_args!("not supported value {kind:?}")));
            }
            let matchers = selectors(&form)?;
            Ok((form, kind, matchers))
        });
        let (form, kind, matchers) = match asked {
            Ok(asked) => asked,
            Err(error) => return answer::failure(&error),
        };
        let named = |parameter: &str, name: &str| {
            let mut wanted = form.all(parameter).peekable();
            wanted.peek().is_none() || wanted.any(|wanted| wanted == name)
        };
        let shows = |rule: &Rule| {
            let records = matches!(rule.kind, RuleKind::Recording);
            let fits = |labels: &Labels| {
                matchers.is_empty()
                    || matchers.iter().any(|all| all.iter().all(|m| m.is_match(labels.get(&m.name))))
            };
            let labels: Labels =
                rule.labels.iter().map(|(name, value)| (name.as_str(), value.text())).collect();
            let of_kind = kind.as_deref().is_none_or(|kind| (kind == "record") == records);
            of_kind && named("rule_name[]", &rule.name) && fits(&labels)
        };
        let hides_alerts = form.get("exclude_alerts").is_some_and(|text| text == "true" || text == "1");
        let groups: Vec<Value> = self
            .rules
            .groups()
            .iter()
            .filter(|state| named("rule_group[]", &state.group.name) && named("file[]", &state.group.file))
            .filter_map(|state| group(state, &shows, hides_alerts))
            .collect();
        success(&json!({ "groups": groups }))
    }

    pub(super) fn alerts(&self) -> Response {
        let groups = self.rules.groups();
        let rules = groups.iter().flat_map(|group| &group.rules);
        let alerts: Vec<Value> = rules.flat_map(|rule| listed(&rule.alerts)).collect();
        success(&json!({ "alerts": alerts }))
    }
}

fn listed(alerts: &[Alert]) -> Vec<Value> {
    alerts.iter().filter(|alert| alert.state != State::Resolved).map(alert).collect()
}

fn group(state: &GroupState, shows: &dyn Fn(&Rule) -> bool, hides_alerts: bool) -> Option<Value> {
    let group = &state.group;
    let rules = group.rules.iter().zip(&state.rules).filter(|(definition, _)| shows(definition));
    let rules: Vec<Value> = rules.map(|(definition, state)| rule(definition, state, hides_alerts)).collect();
    if rules.is_empty() && !group.rules.is_empty() {
        return None;
    }
    Some(json!({
        "name": group.name, "file": group.file, "rules": rules, "interval": group.interval_ms as f64 / 1000.0,
        "limit": group.limit, "evaluationTime": state.took_s, "lastEvaluation": evaluated(state.evaluated_at),
    }))
}

fn evaluated(at: i64) -> String {
    if at == 0 { NEVER.to_owned() } else { date(at) }
}

fn rule(rule: &Rule, state: &RuleState, hides_alerts: bool) -> Value {
    let labels: Map<String, Value> =
        rule.labels.iter().map(|(name, value)| (name.clone(), json!(value.text()))).collect();
    let health = match &state.health {
        Health::Unknown => "unknown",
        Health::Ok => "ok",
        Health::Bad(_) => "err",
    };
    let mut value = json!({
        "name": rule.name, "query": rule.expr.to_string(), "labels": labels, "health": health,
        "evaluationTime": state.took_s, "lastEvaluation": evaluated(state.evaluated_at), "type": "recording",
    });
    if let Health::Bad(reason) = &state.health {
        value["lastError"] = json!(reason);
    }
    if let RuleKind::Alerting { for_ms, keep_ms, annotations } = &rule.kind {
        let any = |wanted| state.alerts.iter().any(|alert| alert.state == wanted);
        let word = match (any(State::Firing), any(State::Pending)) {
            (true, _) => State::Firing,
            (_, true) => State::Pending,
            _ => State::Resolved,
        };
        let annotations: Map<String, Value> =
            annotations.iter().map(|(name, value)| (name.clone(), json!(value.text()))).collect();
        value["type"] = json!("alerting");
        value["state"] = json!(word.name());
        value["duration"] = json!(*for_ms as f64 / 1000.0);
        value["keepFiringFor"] = json!(*keep_ms as f64 / 1000.0);
        value["annotations"] = Value::Object(annotations);
        value["alerts"] = json!(if hides_alerts { Vec::new() } else { listed(&state.alerts) });
    }
    value
}

fn alert(alert: &Alert) -> Value {
    let labels: Map<String, Value> =
        alert.labels.iter().map(|(name, value)| (name.to_string(), json!(&**value))).collect();
    let annotations: Map<String, Value> =
        alert.annotations.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let mut value = json!({
        "labels": labels, "annotations": annotations, "state": alert.state.name(),
        "activeAt": date(alert.active_at),
        // Prometheus writes it with an exponent, always.
        "value": crate::promql::exponent(alert.value),
    });
    if let Some(since) = alert.kept_since {
        value["keepFiringSince"] = json!(date(since));
    }
    value
}
