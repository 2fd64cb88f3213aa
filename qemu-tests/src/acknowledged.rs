//! Records whose insert was answered with success: a log line and a sample each, by number. They must be there
//! after whatever happens to the box.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use serde_json::Value;
use vakt_wire::remote_write::{TimeSeries, encode};

use crate::guest::Appliance;

/// Numbered records of one test, from a moment on.
#[derive(Clone, Copy, Debug)]
pub struct Records {
    base_ms: i64,
}

impl Records {
    /// Of a test that begins now.
    ///
    /// # Errors
    /// When this host's clock stands before 1970.
    pub fn from_now() -> Result<Records> {
        let base_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
        Ok(Records { base_ms })
    }

    /// Inserts number `number`; it is acknowledged when this returns.
    ///
    /// # Errors
    /// When either half is not taken.
    pub fn insert(&self, appliance: &Appliance, number: u64) -> Result<()> {
        let line = format!("{{\"_msg\":\"insert {number} acknowledged\",\"number\":\"{number}\"}}\n");
        let headers = "Content-Type: application/x-ndjson\r\n";
        let answer = appliance.post("/insert/jsonline", headers, line.as_bytes())?;
        ensure!(answer.status == 200, "log insert {number}: {} {}", answer.status, answer.text());
        let series = TimeSeries {
            labels: vec![("__name__".into(), "acknowledged_inserts".into())],
            samples: vec![(number as f64, self.base_ms + number as i64)],
        };
        let headers = "Content-Encoding: snappy\r\nContent-Type: application/x-protobuf\r\n\
                       X-Prometheus-Remote-Write-Version: 0.1.0\r\n";
        let answer = appliance.post("/api/v1/write", headers, &encode(&[series])?)?;
        let (status, text) = (answer.status, answer.text());
        ensure!(matches!(status, 200 | 204), "metric insert {number}: {status} {text}");
        Ok(())
    }

    /// The path at which a log engine gives the lines.
    pub fn lines_path() -> &'static str {
        "/select/logsql/query?query=acknowledged&limit=10000&start=2020-01-01T00:00:00Z&end=2036-01-01T00:00:00Z"
    }

    /// The path at which a store gives the samples.
    pub fn samples_path(&self, last: u64) -> String {
        let end_s = (self.base_ms + last as i64) as f64 / 1000.0 + 1.0;
        format!("/api/v1/query?query=acknowledged_inserts%5B1h%5D&time={end_s:.3}")
    }

    /// Holds what the engines gave against what was acknowledged: numbers 1 to `last`.
    ///
    /// # Errors
    /// With the first one that is lost.
    pub fn hold(lines: &str, samples: &str, last: u64) -> Result<()> {
        let lines: BTreeSet<u64> = lines
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["number"].as_str()?.parse().ok())
            .collect();
        let answer: Value = serde_json::from_str(samples).unwrap_or_default();
        let samples: BTreeSet<u64> = answer["data"]["result"][0]["values"]
            .as_array()
            .map(|all| all.iter().filter_map(|pair| pair[1].as_str()?.parse().ok()).collect())
            .unwrap_or_default();
        for number in 1..=last {
            ensure!(lines.contains(&number), "log line {number} of {last} is lost");
            ensure!(samples.contains(&number), "sample {number} of {last} is lost");
        }
        Ok(())
    }

    /// [`Records::hold`] for a running box.
    ///
    /// # Errors
    /// With the first one that is lost, or when the box does not answer.
    pub fn hold_on(&self, appliance: &Appliance, last: u64) -> Result<()> {
        let all = |text: &str| (!text.trim().is_empty()).then(|| text.to_owned());
        let lines =
            if last == 0 { String::new() } else { appliance.eventually(Records::lines_path(), all)? };
        let path = self.samples_path(last);
        let samples =
            appliance.eventually(&path, |text| text.contains("\"success\"").then(|| text.to_owned()))?;
        Records::hold(&lines, &samples, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let line = |number: u64| format!("{{\"number\":\"{number}\"}}\n");
        let samples = |numbers: &[u64]| {
            let values: Vec<Value> = numbers.iter().map(|n| serde_json::json!([0, n.to_string()])).collect();
            serde_json::json!({ "data": { "result": [{ "values": values }] } }).to_string()
        };
        assert!(Records::hold("", "", 0).is_ok());
        assert!(Records::hold(&(line(1) + &line(2)), &samples(&[2, 1]), 2).is_ok());
        let lost = Records::hold(&line(1), &samples(&[1, 2]), 2).unwrap_err().to_string();
        assert_eq!(lost, "log line 2 of 2 is lost");
        let lost = Records::hold(&(line(1) + &line(2)), &samples(&[1]), 2).unwrap_err().to_string();
        assert_eq!(lost, "sample 2 of 2 is lost");
    }
}
