//! log: LogsQL queries.

use std::collections::BTreeMap;

use serde::Deserialize;
use vakt_wire::http::{CallError, Client};

use crate::form::encode;

/// A caller of the log service.
#[derive(Clone, Debug)]
pub struct Log(pub(super) Client);

/// One row: field names and values.
pub type Row = BTreeMap<String, String>;

/// Counts by time of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Hits {
    /// What makes the group.
    pub fields: BTreeMap<String, String>,
    /// First times of the buckets, RFC 3339.
    pub timestamps: Vec<String>,
    /// Rows in each.
    pub values: Vec<u64>,
}

#[derive(Deserialize)]
struct HitsAnswer {
    hits: Vec<Hits>,
}

impl Log {
    /// Rows that match, newest first. `start` and `end` are times as LogsQL reads them.
    ///
    /// # Errors
    /// When the log service does not answer or refuses the query.
    pub async fn query(
        &self,
        query: &str,
        start: &str,
        end: &str,
        limit: usize,
    ) -> Result<Vec<Row>, CallError> {
        let path = format!(
            "/select/logsql/query?query={}&start={}&end={}&limit={limit}",
            encode(query),
            encode(start),
            encode(end)
        );
        let bytes = self.0.call(hyper::Method::GET, &path, "application/json", "").await?;
        let text = String::from_utf8_lossy(&bytes);
        // A line that is no object of texts is not one of ours; the others are shown.
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// How many rows match in each step, by level.
    ///
    /// # Errors
    /// As [`Log::query`].
    pub async fn hits(
        &self,
        query: &str,
        start: &str,
        end: &str,
        step_s: i64,
    ) -> Result<Vec<Hits>, CallError> {
        let path = format!(
            "/select/logsql/hits?query={}&start={}&end={}&step={step_s}s&field=level",
            encode(query),
            encode(start),
            encode(end)
        );
        let answer: HitsAnswer = self.0.get(&path).await?;
        Ok(answer.hits)
    }
}
