//! `[[scrape_job]]`: endpoints that speak Prometheus' format, with the keys that Prometheus has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::types::MachineConfig;
use super::value::{Authorities, HostPort, Name, Seconds};

/// Jobs of one config at most.
pub const JOBS_MAX: usize = 100;

/// Targets of one job at most.
pub const TARGETS_MAX: usize = 1000;

/// One job: where to scrape, how, and what is made of it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScrapeJob {
    /// Its name, unique; the `job` label.
    pub job_name: Name,
    /// Hosts and ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<HostPort>,
    /// Every peer of this config, at this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers_port: Option<u16>,
    /// `http` or `https`.
    #[serde(default)]
    pub scheme: Scheme,
    /// The path, which may have a query.
    #[serde(default = "metrics")]
    pub metrics_path: String,
    /// Time between two scrapes.
    #[serde(default = "Seconds::fifteen")]
    pub scrape_interval: Seconds,
    /// Time that one may take; no longer than the interval.
    #[serde(default = "ten")]
    pub scrape_timeout: Seconds,
    /// A scraped label goes before the target's of the same name.
    #[serde(default)]
    pub honor_labels: bool,
    /// A scraped time stamp is taken.
    #[serde(default = "yes")]
    pub honor_timestamps: bool,
    /// Labels of every target.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Sent as `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<String>,
    /// Sent as `Authorization: Basic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// For `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<ScrapeTls>,
    /// What is done to a target's labels before it is scraped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relabel_configs: Vec<Relabel>,
    /// What is done to each sample's labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metric_relabel_configs: Vec<Relabel>,
    /// Bytes of one answer.
    #[serde(default = "body_size")]
    pub body_size_limit: u32,
    /// Samples of one scrape after relabelling.
    #[serde(default = "samples")]
    pub sample_limit: u32,
    /// Labels of one sample.
    #[serde(default = "label_count")]
    pub label_limit: u32,
    /// Bytes of a label's name.
    #[serde(default = "label_bytes")]
    pub label_name_length_limit: u32,
    /// Bytes of a label's value.
    #[serde(default = "value_bytes")]
    pub label_value_length_limit: u32,
}

/// How a target is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// In the clear.
    #[default]
    Http,
    /// TLS 1.2 or 1.3.
    Https,
}

/// A name and a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
}

/// Whom a target is known by, and how we are.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScrapeTls {
    /// Certificates in PEM that the target may be known by; the public ones when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<Authorities>,
    /// Our own certificate in PEM, with those between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<String>,
    /// Its key in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The name that the certificate must have, when it is not the target's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// One step of relabelling (Prometheus, configuration, `relabel_config`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relabel {
    /// Labels whose values are put together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_labels: Vec<String>,
    /// What stands between them.
    #[serde(default = "semicolon")]
    pub separator: String,
    /// The label that is written.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target_label: String,
    /// What the values, or for the label actions the names, must match as a whole.
    #[serde(default = "everything")]
    pub regex: String,
    /// For `hashmod`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modulus: Option<u64>,
    /// What is written, with the groups of the expression.
    #[serde(default = "first_group")]
    pub replacement: String,
    /// What is done.
    #[serde(default)]
    pub action: Action,
}

/// What a step of relabelling does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Writes the replacement to the target label where the expression matches.
    #[default]
    Replace,
    /// The values in lower case.
    Lowercase,
    /// The values in upper case.
    Uppercase,
    /// Leaves out what does not match.
    Keep,
    /// Leaves out what matches.
    Drop,
    /// Leaves out what does not equal the target label.
    KeepEqual,
    /// Leaves out what equals the target label.
    DropEqual,
    /// The values' MD5 modulo `modulus`.
    HashMod,
    /// Copies labels whose names match to the replacement.
    LabelMap,
    /// Removes labels whose names match.
    LabelDrop,
    /// Removes labels whose names do not match.
    LabelKeep,
}

/// Shows no secret.
impl std::fmt::Debug for ScrapeJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ScrapeJob({}, {} targets)", self.job_name, self.targets.len())
    }
}

/// The first job that contradicts itself: its key, and why.
pub(super) fn contradiction(config: &MachineConfig) -> Option<(String, String)> {
    if config.scrape_jobs.len() > JOBS_MAX {
        return Some(("scrape_job".into(), format!("there are more than {JOBS_MAX} jobs")));
    }
    let wrong = |(index, job): (usize, &ScrapeJob)| {
        let key = |name: &str| format!("scrape_job[{index}].{name}");
        let names = |text: &String| {
            let mut bytes = text.bytes();
            bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
                && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        if job.targets.len() > TARGETS_MAX {
            return Some((key("targets"), format!("a job has at most {TARGETS_MAX} targets")));
        }
        if job.targets.is_empty() && job.peers_port.is_none() {
            return Some((key("job_name"), "has no targets; example: targets = [\"192.0.2.7:9100\"]".into()));
        }
        if job.scrape_timeout.get() > job.scrape_interval.get() {
            return Some((key("scrape_timeout"), "is longer than scrape_interval".into()));
        }
        if !job.metrics_path.starts_with('/') || job.metrics_path.bytes().any(|b| !b.is_ascii_graphic()) {
            return Some((key("metrics_path"), "is no path; example: metrics_path = \"/metrics\"".into()));
        }
        if job.bearer_token.is_some() && job.basic_auth.is_some() {
            return Some((key("bearer_token"), "stands beside basic_auth; only one can be sent".into()));
        }
        if let Some(name) = job.labels.keys().find(|name| !names(name)) {
            return Some((key("labels"), format!("{name:?} is no label name; example: env")));
        }
        let tls = job.tls_config.as_ref();
        if tls.is_some_and(|tls| tls.cert.is_some() != tls.key.is_some()) {
            return Some((key("tls_config"), "has only one of cert and key".into()));
        }
        None
    };
    config.scrape_jobs.iter().enumerate().find_map(wrong)
}

fn metrics() -> String {
    "/metrics".into()
}

fn ten() -> Seconds {
    Seconds::ten()
}

fn yes() -> bool {
    true
}

/// Some 100 times what node_exporter gives.
fn body_size() -> u32 {
    10 << 20
}

fn samples() -> u32 {
    50_000
}

fn label_count() -> u32 {
    64
}

fn label_bytes() -> u32 {
    256
}

fn value_bytes() -> u32 {
    4096
}

fn semicolon() -> String {
    ";".into()
}

fn everything() -> String {
    "(.*)".into()
}

fn first_group() -> String {
    "$1".into()
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    #[test]
    fn a_job_is_read_with_prometheus_keys_and_one_that_contradicts_itself_is_named() {
        let job = |more: &str| parse(&format!("version = 2\n[[scrape_job]]\njob_name = \"node\"\n{more}"));
        let good = job(
            "targets = [\"192.0.2.7:9100\"]\nrelabel_configs = [{ action = \"labeldrop\", regex = \"x\" }]\n",
        )
        .unwrap();
        assert_eq!(
            (good.scrape_jobs[0].metrics_path.as_str(), good.scrape_jobs[0].scrape_timeout.get()),
            ("/metrics", 10)
        );
        assert_eq!(good.scrape_jobs[0].relabel_configs[0].replacement, "$1");
        assert_eq!(parse(&toml::to_string(&good).unwrap()).unwrap(), good);
        for (more, expected) in [
            ("", "scrape_job[0].job_name: has no targets"),
            ("peers_port = 9100\nscrape_interval = \"5s\"", "scrape_job[0].scrape_timeout: is longer"),
            ("peers_port = 9100\nmetrics_path = \"x\"", "is no path"),
            ("peers_port = 9100\n[scrape_job.labels]\n\"a-b\" = \"1\"", "\"a-b\" is no label name"),
            ("peers_port = 9100\nrelabel_configs = [{ action = \"no\" }]", "unknown variant"),
        ] {
            let said = job(more).unwrap_err().to_string();
            assert!(said.contains(expected), "{more:?} gave {said}");
        }
    }
}
