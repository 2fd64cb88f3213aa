//! `/api/v1/status/…`: what runs here, since when, with which flags, and what takes the most series.

use serde_json::{Value, json};
use vakt_wire::http::{Request, Response};
use vakt_wire::time::rfc3339;

use super::Api;
use super::answer;
use super::form::Form;

/// Entries of each list of the cardinality when none are asked for (Prometheus' default).
const ENTRIES: usize = 10;

/// Most entries that may be asked for (Prometheus' bound).
const ENTRIES_MAX: usize = 10_000;

pub(super) fn success(data: &Value) -> Response {
    answer::success(&data.to_string().into_bytes().into())
}

/// What `/api/v1/status/buildinfo` says.
pub(super) fn build_info() -> Response {
    success(&json!({
        "version": env!("CARGO_PKG_VERSION"), "revision": "", "branch": "", "buildUser": "", "buildDate": "",
        "goVersion": "", "application": "vakt-store",
    }))
}

/// Milliseconds as RFC 3339 in UTC.
pub(super) fn date(ms: i64) -> String {
    rfc3339(ms.saturating_mul(1_000_000))
}

impl Api {
    pub(super) fn runtime_info(&self) -> Response {
        let days = self.engine.settings().retention_ms as f64 / 86_400_000.0;
        let loaded = self.rules.loaded();
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        success(&json!({
            "startTime": date(self.started),
            "CWD": std::env::current_dir().unwrap_or_default(),
            "hostname": hostname,
            "serverTime": date(self.engine.now()),
            "reloadConfigSuccess": !loaded.failed,
            "lastConfigTime": date(if loaded.at > 0 { loaded.at } else { self.started }),
            "corruptionCount": self.engine.counters().blocks_bad.get(),
            // There are no goroutines; Prometheus' clients expect the fields.
            "goroutineCount": 0, "GOMAXPROCS": super::QUERIES_MAX, "GOMEMLIMIT": 0, "GOGC": "", "GODEBUG": "",
            "storageRetention": format!("{days}d"),
        }))
    }

    pub(super) fn flags(&self) -> Response {
        let flags: serde_json::Map<String, Value> =
            self.flags.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        success(&Value::Object(flags))
    }

    pub(super) async fn cardinality(&self, request: Request) -> Response {
        let form = Form::of(request).await;
        self.answer(form, |engine, form| {
            let most = form.limit("limit")?.unwrap_or(ENTRIES).min(ENTRIES_MAX);
            let (levels, found) = (engine.levels(), engine.cardinality(most));
            let (oldest, newest) = engine.memory_span().unwrap_or((i64::MAX, i64::MIN));
            let list = |list: &[(String, u64)]| -> Vec<Value> {
                list.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
            };
            let data = json!({
                "headStats": {
                    "numSeries": levels.series, "numLabelPairs": levels.label_pairs, "chunkCount": levels.blocks,
                    "minTime": oldest, "maxTime": newest,
                },
                "seriesCountByMetricName": list(&found.by_name),
                "labelValueCountByLabelName": list(&found.values),
                "memoryInBytesByLabelName": list(&found.bytes),
                "seriesCountByLabelValuePair": list(&found.by_pair),
            });
            Ok(data.to_string().into_bytes().into())
        })
        .await
    }
}
