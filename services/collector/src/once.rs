//! `vakt-collector once`: the zero-agent probe. Measures, prints OpenMetrics, and is gone.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::ebpf::Groups;
use crate::exposition::openmetrics;
use crate::files::Places;
use crate::local::{Local, Told};
use crate::node::{SOURCES, Source, outcomes};

/// Prints this machine's metrics once, as OpenMetrics.
#[derive(Args)]
pub struct Once {
    /// Only these sources, such as cpu,meminfo. Default: all.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub families: Vec<String>,
    /// Attach the eBPF programs, measure for this long (1s to 1h), and print what they saw as well.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub ebpf: Option<Duration>,
    /// Where procfs is mounted.
    #[arg(long, default_value = "/proc", value_name = "DIR")]
    pub procfs: PathBuf,
    /// Where sysfs is mounted.
    #[arg(long, default_value = "/sys", value_name = "DIR")]
    pub sysfs: PathBuf,
    /// Put before mount points to find their file systems.
    #[arg(long, default_value = "/", value_name = "DIR")]
    pub rootfs: PathBuf,
    /// A directory whose *.prom files are metrics of others, as node_exporter's --collector.textfile.directory. May be
    /// repeated.
    #[arg(long, value_name = "DIR")]
    pub textfile: Vec<PathBuf>,
}

impl Once {
    fn places(&self) -> Places {
        let (proc, sys, root) = (self.procfs.clone(), self.sysfs.clone(), self.rootfs.clone());
        Places { proc, sys, root, is_apart: vakt_ebpf::is_apart() }
    }
}

/// A time such as `5s`, `5` or `2m`: 1 second to 1 hour.
///
/// # Errors
/// A text with an example.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .filter(|seconds| (1..=3600).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| format!("{text:?} is no time from 1s to 1h; example: 5s"))
}

/// Measures and prints. A source that fails shows as `node_scrape_collector_success 0` and on standard error.
///
/// # Errors
/// For a source that there is not, and when standard output is closed.
pub async fn run(args: Once) -> Result<()> {
    let sources = chosen(&args.families)?;
    let mut families = Vec::new();
    if let Some(time) = args.ebpf {
        let mut groups = Groups::attach(true, &args.procfs);
        if groups.any() {
            tokio::time::sleep(time).await;
        }
        let (read, fared) = groups.read();
        families.extend(read);
        for (name, error) in fared.into_iter().filter_map(|fared| Some((fared.name, fared.error?))) {
            eprintln!("{name}: {error}");
        }
    }
    let mut local = Local::new(args.places(), sources, args.textfile.clone());
    let told = local.scrape().await;
    let about = outcomes(told.iter().map(Told::outcome));
    for outcome in told.iter().map(Told::outcome) {
        if let Some(error) = outcome.fault() {
            eprintln!("{}: {error}", outcome.name);
        }
    }
    let all = families.iter().chain(told.iter().flat_map(|told| &told.families)).chain(&about);
    std::io::stdout().write_all(openmetrics(all).as_bytes())?;
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<Source>> {
    known(names)?;
    let is_chosen = |source: &Source| names.is_empty() || names.iter().any(|name| name == source.name);
    Ok(SOURCES.into_iter().filter(is_chosen).collect())
}

/// All sources but these.
pub fn without(names: &[String]) -> Result<Vec<Source>> {
    known(names)?;
    Ok(SOURCES.into_iter().filter(|source| !names.iter().any(|name| name == source.name)).collect())
}

fn known(names: &[String]) -> Result<()> {
    if let Some(stranger) = names.iter().find(|name| !SOURCES.iter().any(|source| source.name == **name)) {
        let known: Vec<_> = SOURCES.iter().map(|source| source.name).collect();
        bail!("there is no source {stranger:?}; there are {}", known.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(seconds("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(seconds("15"), Ok(Duration::from_secs(15)));
        assert_eq!(seconds("2m"), Ok(Duration::from_secs(120)));
        for text in ["0", "", "x", "-1s", "61m", "99999999999999999999m"] {
            assert!(seconds(text).unwrap_err().contains("example: 5s"), "{text}");
        }
    }
}
