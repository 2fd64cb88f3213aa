//! Rules in the real program: evaluated in time, stored, and taken up again after a kill.
#![allow(clippy::unwrap_used, reason = "tests")]

mod store;

use std::time::{Duration, Instant};

use serde_json::Value;
use store::{Store, post};

/// Longest wait for what rules do once a second.
const WAIT_MAX: Duration = Duration::from_secs(60);

const RULES: &str = "groups:
- name: g
  interval: 1s
  rules:
  - record: job:load:sum
    expr: sum by (job) (load)
    labels: {kind: recorded}
  - alert: Loaded
    expr: job:load:sum > 5
    labels: {severity: page}
    annotations:
      summary: '{{ $labels.job }} has {{ $value }}'
  - alert: LongLoaded
    expr: job:load:sum > 5
    for: 1h
  - record: wrong
    expr: load + on () group_left () load
";

/// Asks again and again until `found` says something.
fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + WAIT_MAX;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < until, "{what} did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn push(store: &Store) {
    let text = b"load{job=\"a\",n=\"1\"} 4\nload{job=\"a\",n=\"2\"} 4\nload{job=\"b\",n=\"1\"} 1\n";
    let status = post(store.port, "/api/v1/import/prometheus", text).unwrap().status;
    assert!((200..300).contains(&status), "{status}");
}

fn alert(store: &Store, name: &str) -> Option<Value> {
    let (_, answer) = store.get("/api/v1/alerts", &[]);
    let alerts = answer["data"]["alerts"].as_array().unwrap().clone();
    alerts.into_iter().find(|alert| alert["labels"]["alertname"] == name)
}

#[test]
fn rules_are_evaluated_in_time_and_their_answers_stored() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.rules.yml"), RULES).unwrap();
    let pattern = format!("{}/*.rules.yml", folder.path().display());
    let store = Store::start(&folder.path().join("data"), &["--rules", &pattern]);
    push(&store);
    let sums = until("the recorded series", || {
        Some(store.vector("job:load:sum{kind=\"recorded\"}")).filter(|sums| sums.len() == 2)
    });
    assert_eq!(sums, [8.0, 1.0]);
    let loaded = until("the alert", || alert(&store, "Loaded"));
    assert_eq!((&loaded["state"], &loaded["annotations"]["summary"]), (&"firing".into(), &"a has 8".into()));
    assert_eq!(loaded["labels"]["severity"], "page");
    let long = until("the pending alert", || alert(&store, "LongLoaded"));
    assert_eq!(long["state"], "pending");
    until("its series", || {
        (store.vector("ALERTS_FOR_STATE{alertname=\"LongLoaded\"}").len() == 1).then_some(())
    });
    let (_, answer) = store.get("/api/v1/rules", &[("type", "record")]);
    let rules = &answer["data"]["groups"][0]["rules"];
    assert_eq!(rules.as_array().unwrap().len(), 2, "{answer}");
    let bad = until("the wrong rule's error", || {
        let (_, answer) = store.get("/api/v1/rules", &[("rule_name[]", "wrong")]);
        answer["data"]["groups"][0]["rules"][0]["lastError"].as_str().map(str::to_owned)
    });
    assert!(bad.contains("found duplicate series"), "{bad}");
}

#[test]
fn an_alert_that_fired_before_a_kill_fires_at_once_after_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.rules.yml"), RULES).unwrap();
    let (data, pattern) = (folder.path().join("data"), format!("{}/a*.yml", folder.path().display()));
    let mut store = Store::start(&data, &[]);
    push(&store);
    // Active for two hours, which is longer than the rule's one.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let line =
        format!("ALERTS_FOR_STATE{{alertname=\"LongLoaded\",job=\"a\",kind=\"recorded\"}} {}\n", now - 7200);
    let status = post(store.port, "/api/v1/import/prometheus", line.as_bytes()).unwrap().status;
    assert!((200..300).contains(&status), "{status}");
    store.kill();
    let store = Store::start(&data, &["--rules", &pattern]);
    push(&store);
    let alert = until("the alert after the kill", || alert(&store, "LongLoaded"));
    assert_eq!(alert["state"], "firing", "{alert}");
}

#[test]
fn a_store_with_a_wrong_rule_does_not_start_and_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.yml");
    std::fs::write(&file, "groups:\n- name: g\n  rules:\n  - record: a\n    expr: sum(\n").unwrap();
    let said = Store::start_refused_with(&folder.path().join("data"), &["--rules", file.to_str().unwrap()]);
    // The lines of the log are JSON, in which quotes are escaped.
    let said = said.replace('\\', "");
    assert!(said.contains("group \"g\", rule 1 (\"a\"): expr: 1:5: parse error"), "{said}");
}

#[test]
fn rules_are_read_anew_when_told_and_a_wrong_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.rules.yml");
    let write = |name: &str| {
        let text = format!(
            "groups:\n- name: g\n  interval: 1s\n  rules:\n  - {{record: {name}, expr: vector(1)}}\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    write("one");
    let pattern = file.to_str().unwrap();
    let reload = |store: &Store| post(store.port, "/-/reload", b"").unwrap();
    {
        let store = Store::start(&folder.path().join("closed"), &["--rules", pattern]);
        let answer = reload(&store);
        assert_eq!((answer.status, answer.body.as_slice()), (403, &b"Lifecycle API is not enabled."[..]));
    }
    let flags = ["--rules", pattern, "--web.enable-lifecycle"];
    let store = Store::start(&folder.path().join("data"), &flags);
    until("the first rule", || (store.vector("one") == [1.0]).then_some(()));
    write("two");
    assert_eq!(reload(&store).status, 200);
    until("the second rule", || (store.vector("two") == [1.0]).then_some(()));
    until("the end of the first", || store.vector("one").is_empty().then_some(()));
    write("three{");
    let answer = reload(&store);
    assert!(answer.status == 500 && answer.body.starts_with(b"failed to reload config: rule file"));
    let (_, info) = store.get("/api/v1/status/runtimeinfo", &[]);
    assert_eq!(info["data"]["reloadConfigSuccess"], false);
    write("four");
    store.hang_up();
    until("the rule after SIGHUP", || (store.vector("four") == [1.0]).then_some(()));
}
