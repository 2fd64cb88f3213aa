//! `/repairs`: what was repaired, step by step with its evidence, and the policies behind it.

use askama::Template;
use hyper::StatusCode;
use serde_json::{Map, Value};
use vakt_wire::http::{CallError, Response};

use crate::app::{App, Caller};
use crate::backend::repair::{Head, PeerLink, Record, Refused, RepairRun};
use crate::backend::{Panel, unavailable};
use crate::clock;
use crate::error::PageError;
use crate::page::{Shell, html};

/// Repairs on the page.
const REPAIRS_MAX: usize = 50;
/// Characters of one value of the evidence; the record itself holds the rest.
const VALUE_CHARS_MAX: usize = 300;

/// A repair in one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairLine {
    /// Its anchor on the page of repairs.
    pub anchor: String,
    /// When it began, UTC.
    pub time: String,
    /// The same for `<time datetime>`.
    pub datetime: String,
    /// How long ago.
    pub ago: String,
    /// Which unit.
    pub unit: String,
    /// On which machine.
    pub peer: String,
    /// By which policy.
    pub policy: String,
    /// How it ended, for people.
    pub outcome: String,
    /// Class of its mark: `ok`, `bad`, `warn`, `idle`.
    pub class: &'static str,
    /// How long it took.
    pub took: String,
}

/// A step of a repair.
struct StepLine {
    seq: u64,
    name: &'static str,
    class: &'static str,
    time: String,
    said: String,
    details: Vec<(String, String)>,
    hash: String,
    is_signed: bool,
}

struct RepairView {
    line: RepairLine,
    steps: Vec<StepLine>,
}

struct PolicyView {
    name: String,
    said: String,
    standing: Vec<(String, String)>,
    details: Vec<(String, String)>,
}

struct PeerView {
    peer: PeerLink,
    class: &'static str,
    since: String,
}

struct HeadView {
    seq: u64,
    hash: String,
    more: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "pages/repairs.html")]
struct RepairsPage {
    shell: Shell,
    repairs: Panel<Vec<RepairView>>,
    policies: Panel<(Vec<PolicyView>, Vec<Refused>)>,
    peers: Panel<Vec<PeerView>>,
    head: Panel<HeadView>,
}

/// The page.
///
/// # Errors
/// [`PageError::Internal`].
pub async fn show(app: &App, caller: &Caller) -> Result<Response, PageError> {
    let repair = &app.backends.repair;
    let (repairs, policies, peers, head) =
        tokio::join!(repair.repairs(REPAIRS_MAX), repair.policies(), repair.peers(), repair.head());
    let away = |error: CallError| unavailable("repair", &error);
    let now_ms = clock::now_s() * 1000;
    let view = |repair: RepairRun| RepairView {
        line: line(&repair, now_ms),
        steps: repair.records.iter().map(step).collect(),
    };
    let page = RepairsPage {
        shell: app.shell(caller, "Repairs", "repairs"),
        repairs: repairs.map(|repairs| repairs.into_iter().map(view).collect()).map_err(away),
        policies: policies
            .map(|policies| (policies.valid.iter().map(policy).collect(), policies.refused))
            .map_err(away),
        peers: peers
            .map(|peers| peers.into_iter().map(|peer| peer_view(peer, now_ms)).collect())
            .map_err(away),
        head: head.map(head_view).map_err(away),
    };
    html(StatusCode::OK, &page)
}

/// A repair in one line, as of `now_ms`.
pub fn line(repair: &RepairRun, now_ms: i64) -> RepairLine {
    let (outcome, class) = match repair.outcome.as_str() {
        "held" => ("repaired and held", "ok"),
        "running" => ("at work", "idle"),
        "not held" => ("did not hold", "bad"),
        "failed" => ("failed", "bad"),
        "refused" => ("refused by the machine", "bad"),
        "interrupted" => ("interrupted", "warn"),
        "withheld" => ("withheld by a guard", "warn"),
        "moot" => ("no longer needed", "idle"),
        other => (other, "idle"),
    };
    let started_s = repair.started_ms.div_euclid(1000);
    RepairLine {
        anchor: format!("r{}", repair.id),
        time: clock::date_time(started_s),
        datetime: clock::rfc3339(started_s),
        ago: clock::span((now_ms - repair.started_ms) / 1000),
        unit: repair.unit.clone(),
        peer: repair.peer.clone(),
        policy: repair.policy.clone(),
        outcome: outcome.to_owned(),
        class,
        took: format!("{:.1} s", (repair.ended_ms - repair.started_ms).max(0) as f64 / 1000.0),
    }
}

fn step(record: &Record) -> StepLine {
    let text = |name: &str| record.detail.get(name).and_then(Value::as_str).unwrap_or_default();
    let truth = |name: &str| record.detail.get(name).and_then(Value::as_bool);
    let (name, class, said) = match record.step.as_str() {
        "seen" => {
            ("Seen", "idle", joined(&["the unit is", text("active"), brackets(text("result")).as_str()]))
        }
        "decided" if truth("act") == Some(false) => {
            ("Decided", "warn", joined(&["not to act:", text("reason")]))
        }
        "decided" => ("Decided", "ok", joined(&["to", text("verb"), "the unit"])),
        "called" => ("Called", "idle", joined(&["systemd was asked to", text("verb")])),
        "answered" => {
            let class = if text("outcome") == "done" { "ok" } else { "bad" };
            ("Answered", class, joined(&["systemd said", text("outcome"), brackets(text("reason")).as_str()]))
        }
        "verified" if truth("held") == Some(true) => ("Verified", "ok", "the repair held".to_owned()),
        "verified" => ("Verified", "bad", joined(&["it did not hold:", text("reason")])),
        "escalated" => ("Escalated", "bad", joined(&["a person is needed:", text("reason")])),
        "interrupted" => ("Interrupted", "warn", "the box stopped in the middle".to_owned()),
        _ => ("Recorded", "idle", record.step.clone()),
    };
    let at_s = record.at_ms.div_euclid(1000);
    let time = format!("{}.{:03}", clock::clock_time(at_s), record.at_ms.rem_euclid(1000));
    StepLine {
        seq: record.seq,
        name,
        class,
        time,
        said,
        details: details(&record.detail),
        hash: record.hash.chars().take(16).collect(),
        is_signed: !record.sig.is_empty(),
    }
}

fn joined(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

fn brackets(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("({text})") }
}

/// A value without JSON's quotes, cut where it is long.
fn plain(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn details(detail: &Map<String, Value>) -> Vec<(String, String)> {
    detail
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.replace('_', " "), plain(value)))
        .collect()
}

/// A policy in a sentence, and all of it behind that. Its shape is repair's; what is not there is left out.
fn policy(value: &Value) -> PolicyView {
    let text = |path: &str| value.pointer(path).map(plain).unwrap_or_default();
    let inner = if value.pointer("/policy/unit").is_some() { "/policy" } else { "" };
    let at = |path: &str| text(&format!("{inner}{path}"));
    let peers = match value.pointer(&format!("{inner}/peers")) {
        Some(Value::Array(names)) => names.iter().map(plain).collect::<Vec<_>>().join(", "),
        Some(other) if plain(other) == "all" => "every peer".to_owned(),
        Some(other) => plain(other),
        None => String::new(),
    };
    let said = format!(
        "When {} is {} on {peers}: {}, at most {} times an hour.",
        at("/unit"),
        at("/state"),
        at("/action/verb"),
        at("/guards/max_per_hour")
    );
    let whole = value.pointer(if inner.is_empty() { "" } else { inner });
    let details = whole.and_then(Value::as_object).map(details).unwrap_or_default();
    PolicyView { name: text("/name"), said, standing: standing(value), details }
}

/// Where a policy stands on each machine: `db1`, `gave up: 3 an hour`.
fn standing(value: &Value) -> Vec<(String, String)> {
    let one = |(peer, phase): (&String, &Value)| {
        let said = |name: &str| phase.get(name).map(plain).unwrap_or_default();
        let (phase, reason) = (said("phase").replace('-', " "), said("reason"));
        (peer.clone(), if reason.is_empty() { phase } else { format!("{phase}: {reason}") })
    };
    value.get("standing").and_then(Value::as_object).into_iter().flatten().map(one).collect()
}

fn peer_view(peer: PeerLink, now_ms: i64) -> PeerView {
    let class = match peer.state.as_str() {
        "connected" => "ok",
        "disconnected" | "no-key" => "bad",
        _ => "idle",
    };
    PeerView { class, since: clock::span((now_ms - peer.since_ms) / 1000), peer }
}

fn head_view(head: Head) -> HeadView {
    HeadView { seq: head.seq, hash: head.hash, more: details(&head.more) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(step: &str, detail: Value) -> Record {
        Record {
            step: step.into(),
            at_ms: 1_500,
            detail: detail.as_object().cloned().unwrap(),
            ..Record::default()
        }
    }

    #[test]
    fn each_step_says_what_happened() {
        for (name, detail, expected) in [
            (
                "seen",
                json!({"active": "failed", "result": "exit-code"}),
                "Seen idle: the unit is failed (exit-code)",
            ),
            ("decided", json!({"act": true, "verb": "restart"}), "Decided ok: to restart the unit"),
            ("decided", json!({"act": false, "reason": "3 an hour"}), "Decided warn: not to act: 3 an hour"),
            ("answered", json!({"outcome": "done"}), "Answered ok: systemd said done"),
            (
                "answered",
                json!({"outcome": "refused", "reason": "polkit"}),
                "Answered bad: systemd said refused (polkit)",
            ),
            ("verified", json!({"held": true}), "Verified ok: the repair held"),
            (
                "verified",
                json!({"held": false, "reason": "failed again"}),
                "Verified bad: it did not hold: failed again",
            ),
            ("new-step", json!({}), "Recorded idle: new-step"),
        ] {
            let step = step(&record(name, detail));
            assert_eq!(format!("{} {}: {}", step.name, step.class, step.said), expected);
            assert_eq!(step.time, "00:00:01.500");
        }
    }

    #[test]
    fn a_repair_is_told_in_one_line() {
        let repair = RepairRun {
            outcome: "held".into(),
            started_ms: 60_000,
            ended_ms: 72_300,
            ..RepairRun::default()
        };
        let line = line(&repair, 180_000);
        assert_eq!(
            (line.outcome.as_str(), line.class, line.took.as_str(), line.ago.as_str()),
            ("repaired and held", "ok", "12.3 s", "2 min")
        );
    }

    #[test]
    fn a_policy_is_told_in_a_sentence() {
        let value = json!({"name": "p", "unit": "demo.service", "peers": ["db1", "db2"], "state": "failed",
            "action": {"verb": "restart"}, "guards": {"max_per_hour": 3}});
        let said = "When demo.service is failed on db1, db2: restart, at most 3 times an hour.";
        assert_eq!(policy(&value).said, said);
        let whole = policy(
            &json!({"name": "p", "policy": value, "standing": {"db1": {"phase": "gave-up", "reason": "too often"}}}),
        );
        assert_eq!((whole.name.as_str(), whole.said.as_str()), ("p", said));
        assert_eq!(whole.standing, [("db1".to_owned(), "gave up: too often".to_owned())]);
    }
}
