//! Metrics: Prometheus' query API, with numbers instead of texts; of the store, or by egress of an engine elsewhere.

use std::collections::BTreeMap;

use serde::Deserialize;
use vakt_wire::http::{CallError, Client};

use crate::form::encode;

/// A caller of who has the metrics.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) service: &'static str,
    pub(super) client: Client,
}

/// One series of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// (seconds since the epoch, value), oldest first; one for an instant query.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// A label, or the empty text.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// The last value.
    pub fn last(&self) -> Option<f64> {
        self.points.last().map(|(_, value)| *value)
    }
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    result: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    value: Option<(f64, String)>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

impl From<Found> for Series {
    fn from(found: Found) -> Series {
        // Prometheus writes numbers as texts: NaN and Inf are no JSON. A value that is none is left out.
        let number = |(at, text): (f64, String)| text.parse().ok().map(|value| (at, value));
        let points = found.value.into_iter().chain(found.values).filter_map(number).collect();
        Series { labels: found.metric, points }
    }
}

impl Store {
    /// Why a panel is empty, for the person who looks at it.
    pub fn unavailable(&self, error: &CallError) -> String {
        super::unavailable(self.service, error)
    }

    /// An instant query, as of now.
    ///
    /// # Errors
    /// When the store does not answer or refuses the query.
    pub async fn query(&self, promql: &str) -> Result<Vec<Series>, CallError> {
        self.fetch(&format!("/api/v1/query?query={}", encode(promql))).await
    }

    /// A range query; times in seconds since the epoch.
    ///
    /// # Errors
    /// When the store does not answer or refuses the query.
    pub async fn query_range(
        &self,
        promql: &str,
        start_s: i64,
        end_s: i64,
        step_s: i64,
    ) -> Result<Vec<Series>, CallError> {
        let query = encode(promql);
        self.fetch(&format!("/api/v1/query_range?query={query}&start={start_s}&end={end_s}&step={step_s}"))
            .await
    }

    async fn fetch(&self, path: &str) -> Result<Vec<Series>, CallError> {
        let answer: Answer = self.client.get(path).await?;
        Ok(answer.data.result.into_iter().map(Series::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_numbers() {
        let text = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"mode":"idle"},"values":[[1,"0.5"],[2.5,"NaN"],[3,"+Inf"],[4,"what"]]}]}}"#;
        let answer: Answer = serde_json::from_str(text).unwrap();
        let series: Vec<Series> = answer.data.result.into_iter().map(Series::from).collect();
        assert_eq!(series[0].label("mode"), "idle");
        assert_eq!(series[0].points.len(), 3);
        assert!(series[0].points[1].1.is_nan() && series[0].points[2].1.is_infinite());
    }
}
