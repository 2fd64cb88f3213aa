//! Scrape targets: endpoints that speak Prometheus' format, out of `[[scrape_job]]` and the peer list.
//!
//! Each target is a task of its own, so that a slow one delays no other. What it gives goes into the outbox as it is,
//! with `up` and the `scrape_*` series beside it, and markers where something is no longer there.

mod client;
mod relabel;
mod report;
pub mod text;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vakt_wire::config::{MachineConfig, Peer, Scheme, ScrapeJob};

use crate::board::Board;
use crate::local::now;
use crate::outbox::Outbox;
use client::{Client, Place};
use relabel::{Labels, apply, steps};
use report::{Memory, Round, Rules};

/// Targets of all jobs at most. Further ones are not scraped, which the board says.
const TARGETS_MAX: usize = 1000;

/// One target that is scraped.
struct Target {
    place: Place,
    labels: Labels,
    client: Client,
    rules: Arc<Rules>,
    every: Duration,
    outbox: Arc<Outbox>,
    board: Arc<Board>,
}

/// Starts a task for each target of the config. A job that cannot be used is noted and the others go on. Returns how
/// many are scraped.
pub fn start(
    config: &MachineConfig,
    board: &Arc<Board>,
    outbox: &Arc<Outbox>,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> usize {
    let mut count = 0;
    for job in &config.scrape_jobs {
        let name = format!("scrape/{}", job.job_name);
        match prepared(job, &config.peers) {
            Ok((client, rules, targets)) => {
                let rules = Arc::new(rules);
                for (place, labels) in targets {
                    if count == TARGETS_MAX {
                        let reason =
                            format!("there are more than {TARGETS_MAX} targets; the rest is not scraped");
                        board.note(&name, now(), 0.0, Some(reason));
                        break;
                    }
                    count += 1;
                    let (client, rules) = (client.clone(), rules.clone());
                    let (outbox, board) = (outbox.clone(), board.clone());
                    let every = job.scrape_interval.duration();
                    tasks.spawn(
                        Target { place, labels, client, rules, every, outbox, board }.run(stop.clone()),
                    );
                }
            }
            Err(reason) => {
                tracing::error!(job = %job.job_name, reason, "job is not scraped");
                board.note(&name, now(), 0.0, Some(reason));
            }
        }
    }
    count
}

type Prepared = (Client, Rules, Vec<(Place, Labels)>);

fn prepared(job: &ScrapeJob, peers: &[Peer]) -> Result<Prepared, String> {
    let relabel = steps(&job.relabel_configs).map_err(|error| format!("relabel_configs: {error}"))?;
    let metric =
        steps(&job.metric_relabel_configs).map_err(|error| format!("metric_relabel_configs: {error}"))?;
    let rules = Rules {
        honor_labels: job.honor_labels,
        honor_timestamps: job.honor_timestamps,
        steps: metric,
        samples_max: job.sample_limit as usize,
        labels_max: job.label_limit as usize,
        name_bytes_max: job.label_name_length_limit as usize,
        value_bytes_max: job.label_value_length_limit as usize,
    };
    let targets = discovered(job, peers)
        .into_iter()
        .filter_map(|mut labels| apply(&relabel, &mut labels).then(|| settled(labels)).flatten());
    Ok((Client::new(job)?, rules, targets.collect()))
}

/// Labels of every target before relabelling, as Prometheus' service discovery has them.
fn discovered(job: &ScrapeJob, peers: &[Peer]) -> Vec<Labels> {
    let scheme = if job.scheme == Scheme::Https { "https" } else { "http" };
    let labels = |address: String, peer: Option<&str>| {
        let mut labels: Labels = job.labels.clone();
        let seconds = |seconds: Duration| format!("{}s", seconds.as_secs());
        for (name, value) in [
            ("__address__", address),
            ("__scheme__", scheme.into()),
            ("__metrics_path__", job.metrics_path.clone()),
            ("__scrape_interval__", seconds(job.scrape_interval.duration())),
            ("__scrape_timeout__", seconds(job.scrape_timeout.duration())),
            ("job", job.job_name.to_string()),
        ] {
            labels.insert(name.into(), value);
        }
        if let Some(peer) = peer {
            labels.insert("__meta_vakt_peer".into(), peer.into());
            labels.entry("peer".into()).or_insert_with(|| peer.into());
        }
        labels
    };
    let mut found: Vec<Labels> = job.targets.iter().map(|target| labels(target.to_string(), None)).collect();
    if let Some(port) = job.peers_port {
        for peer in peers {
            let host = peer.address.as_str().rsplit_once(':').map_or("", |(host, _)| host);
            found.push(labels(format!("{host}:{port}"), Some(peer.name.as_str())));
        }
    }
    found
}

/// Where to scrape, and the labels that stay: those that begin with `__` go, and `instance` is the address unless it
/// was set. `None` when relabelling took the address away.
fn settled(mut labels: Labels) -> Option<(Place, Labels)> {
    let address = labels.get("__address__")?.clone();
    let https = labels.get("__scheme__").is_some_and(|scheme| scheme == "https");
    let path = labels.get("__metrics_path__").cloned().unwrap_or_else(|| "/metrics".into());
    labels.entry("instance".into()).or_insert_with(|| address.clone());
    labels.retain(|name, value| !name.starts_with("__") && !value.is_empty());
    Some((Place { address, path, https }, labels))
}

impl Target {
    /// Scrapes until `stop` fires.
    async fn run(self, stop: CancellationToken) {
        let mut memory = Memory::default();
        // Targets that start together do not stay in step; where in the interval is the address' own.
        let share = f64::from(u16::from_be_bytes([md5::compute(&self.place.address).0[0], 0])) / 65536.0;
        let mut ticks = interval_at((Instant::now() + self.every.mul_f64(share)).into(), self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.once(&mut memory) => {}
            }
        }
    }

    async fn once(&self, memory: &mut Memory) {
        let (begun, time) = (Instant::now(), now());
        let round = match self.client.get(&self.place).await {
            Ok((body, format)) => self.taken(&body, format),
            Err(error) => Err(error),
        };
        let seconds = begun.elapsed().as_secs_f64();
        let found = round.as_ref().map_err(String::as_str);
        let series = memory.series(found, &self.labels, seconds, (time * 1000.0) as i64);
        self.outbox.put_series(&series, &self.place.address);
        let label = |name: &str| self.labels.get(name).cloned().unwrap_or_default();
        let name = format!("scrape/{}/{}", label("job"), label("instance"));
        self.board.note(&name, time, seconds, round.err());
    }

    fn taken(&self, body: &str, format: text::Format) -> Result<Round, String> {
        let samples = text::samples(body, format).map_err(|error| error.to_string())?;
        Round::take(&samples, &self.labels, &self.rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_discovered_from_the_peer_list_and_relabelled() {
        let text = "version = 1\n[[peer]]\nname = \"db1\"\naddress = \"192.0.2.7:22\"\nhost_key = \"ssh-ed25519 AAAA\"\n\
            [[peer]]\nname = \"six\"\naddress = \"[2001:db8::7]:22\"\nhost_key = \"ssh-ed25519 AAAA\"\n\
            [[scrape_job]]\njob_name = \"node\"\npeers_port = 9100\ntargets = [\"192.0.2.9:1\", \"192.0.2.9:2\"]\n\
            relabel_configs = [\n{ source_labels = [\"__address__\"], regex = \".*:2\", action = \"drop\" },\n\
            { source_labels = [\"__meta_vakt_peer\"], regex = \"db1\", target_label = \"__metrics_path__\", replacement = \"/x\" },\n\
            { source_labels = [\"__meta_vakt_peer\"], regex = \"(.+)\", target_label = \"instance\" } ]\n";
        let config = vakt_wire::config::parse(text).unwrap();
        let (_, _, targets) = prepared(&config.scrape_jobs[0], &config.peers).unwrap();
        let said: Vec<String> = targets
            .iter()
            .map(|(place, labels)| format!("{}{} {labels:?}", place.address, place.path))
            .collect();
        assert_eq!(
            said,
            [
                r#"192.0.2.9:1/metrics {"instance": "192.0.2.9:1", "job": "node"}"#,
                r#"192.0.2.7:9100/x {"instance": "db1", "job": "node", "peer": "db1"}"#,
                r#"[2001:db8::7]:9100/metrics {"instance": "six", "job": "node", "peer": "six"}"#,
            ]
        );
    }
}
