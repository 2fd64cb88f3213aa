//! What samples take at rest, losslessly: those of a real host, and the public series of `VAKT_DATA`.
//!
//! A node_exporter of this host is scraped ten times a second for two minutes; its scrapes are sent as those of twenty
//! hosts, 15 s apart. The public series (five minutes apart) are sent with 20 copies. All are two months old. Both stores get the same bodies, settle, and end by
//! SIGTERM; then the files that hold samples and what finds them are counted, by their lengths.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use vakt_image::setup::peers;
use vakt_wire::remote_write::{TimeSeries, encode};

use super::Row;
use super::bodies::STEP_MS;
use super::connection::Connection;
use super::load::{insist, number};
use super::process::Server;
use super::stores::{Kind, Program, WINDOW, newest_ms};
use crate::container::free_port;

/// Scrapes of the real host, and how far apart they are taken.
const SCRAPES: usize = 1200;
const SCRAPE_EVERY: Duration = Duration::from_millis(100);

/// Hosts that its scrapes are sent as.
const HOSTS: usize = 20;

/// Copies of each public series, so that what a store has besides samples does not decide.
const COPIES: usize = 20;

/// Milliseconds between two samples of a public series.
const PUBLIC_STEP_MS: i64 = 300_000;

/// All samples are so old, in milliseconds, that the months they lie in are over, as nearly all samples of a store are.
const AGE_MS: i64 = 62 * 86_400_000;

/// How long nothing is written before what is at rest is counted.
const QUIET: Duration = Duration::from_secs(75);

/// Samples of one body.
const BODY_SAMPLES: usize = 5_000;

/// Takes the measure.
///
/// # Errors
/// When a store cannot be started or loses something.
pub fn measure() -> Result<Vec<Row>> {
    let programs: Vec<Program> =
        [Kind::Vakt, Kind::VictoriaMetrics].into_iter().filter_map(|kind| Program::find(kind).ok()).collect();
    if programs.first().is_none_or(|first| first.kind != Kind::Vakt) {
        return Ok(vec![Row::skipped("rest", "vakt-store is not built beside vakt-bench")]);
    }
    let mut rows = Vec::new();
    match real_host() {
        Ok(series) => rows.push(compare("bytes a sample, a real host", &programs, &series, HOSTS)?),
        Err(error) => rows.push(Row::skipped("bytes a sample, a real host", &format!("{error:#}"))),
    }
    let what = "bytes a sample, public cloud series";
    match std::env::var_os("VAKT_DATA") {
        None => rows.push(Row::skipped(what, "no data: VAKT_DATA names no directory")),
        Some(data) => match public(&Path::new(&data).join("series")) {
            Ok(series) => rows.push(compare(what, &programs, &series, COPIES)?),
            Err(error) => rows.push(Row::skipped(what, &format!("{error:#}"))),
        },
    }
    Ok(rows)
}

fn compare(what: &str, programs: &[Program], series: &[TimeSeries], copies: usize) -> Result<Row> {
    let bytes = programs.iter().map(|program| {
        let one = at_rest(program, series, copies).with_context(|| program.name.clone());
        one.inspect(|bytes| eprintln!("  {what}: {} {bytes:.3}", program.name))
    });
    let bytes = bytes.collect::<Result<Vec<f64>>>()?;
    Ok(match programs.get(1) {
        Some(peer) => Row::beside(what, &peer.name, bytes[0], bytes[1], ""),
        None => Row::alone(what, bytes[0], ""),
    })
}

fn at_rest(program: &Program, series: &[TimeSeries], copies: usize) -> Result<f64> {
    let room = tempfile::Builder::new().prefix("vakt-bench").tempdir()?;
    let running = program.start(room.path(), &["--window", WINDOW])?;
    let mut connection = running.connect()?;
    let (longest, mut sent) = (series.iter().map(|one| one.samples.len()).max().unwrap_or(0), 0);
    // Scrape by scrape, as samples come.
    for at in 0..longest {
        for copy in 0..copies {
            let with = |one: &TimeSeries| {
                let mut labels = one.labels.clone();
                labels.push(("copy".into(), copy.to_string()));
                Some(TimeSeries { labels, samples: vec![*one.samples.get(at)?] })
            };
            let all: Vec<TimeSeries> = series.iter().filter_map(with).collect();
            for part in all.chunks(BODY_SAMPLES) {
                insist(&mut connection, &encode(part)?)?;
                sent += part.len();
            }
        }
    }
    // Vakt's store makes one block of a month that is over, when nothing was written for a minute.
    std::thread::sleep(QUIET);
    running.server.settle()?;
    // Merging may take longer than a store keeps a connection that is silent.
    let mut connection = running.connect()?;
    let newest = series.iter().flat_map(|one| &one.samples).map(|sample| sample.1).max().unwrap_or(0);
    let query = format!("sum(count_over_time({{copy=\"{}\"}}[20d]))", copies - 1);
    let found = number(&mut connection, &query, newest + 1000)?;
    ensure!(found == (sent / copies) as f64, "{found} samples of a copy are found of {}", sent / copies);
    running.server.stop()?;
    Ok(program.bytes_at_rest(room.path())? as f64 / sent as f64)
}

/// The series of a node_exporter on this host, as if it had been scraped every 15 s.
fn real_host() -> Result<Vec<TimeSeries>> {
    let package = "prometheus-node-exporter";
    let peer = peers::peer(peers::SID, package, package)?;
    let (address, room) = (free_port()?, tempfile::tempdir()?);
    let mut command = Command::new(&peer.program);
    command.arg(format!("--web.listen-address={address}"));
    let server = Server::start(&mut command, address, &room.path().join("log"))?;
    let mut connection = Connection::open(address)?;
    let first_ms = newest_ms()? - AGE_MS - SCRAPES as i64 * STEP_MS;
    let mut all: Vec<TimeSeries> = Vec::new();
    let mut places = std::collections::HashMap::new();
    let started = Instant::now();
    for scrape in 0..SCRAPES {
        let (status, body) = connection.get("/metrics")?;
        ensure!(status == 200, "node_exporter answers {status}");
        for line in String::from_utf8_lossy(&body).lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let place = *places.entry(name.to_owned()).or_insert(all.len());
            if place == all.len() {
                all.push(TimeSeries { labels: labels(name), samples: Vec::new() });
            }
            all[place].samples.push((value.parse()?, first_ms + scrape as i64 * STEP_MS));
        }
        let next = started + SCRAPE_EVERY * (scrape as u32 + 1);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    drop(server);
    Ok(all)
}

/// Labels of a line such as `name{a="b",c="d"}`; node_exporter's values have no escapes that matter here.
fn labels(text: &str) -> Vec<(String, String)> {
    let (name, rest) = text.split_once('{').unwrap_or((text, ""));
    let mut labels = vec![("__name__".to_owned(), name.to_owned())];
    for pair in rest.trim_end_matches('}').split("\",").filter(|pair| !pair.is_empty()) {
        if let Some((name, value)) = pair.split_once("=\"") {
            labels.push((name.to_owned(), value.trim_end_matches('"').to_owned()));
        }
    }
    labels
}

/// The series of the CSV files below a directory, the last sample of each two months ago.
fn public(directory: &Path) -> Result<Vec<TimeSeries>> {
    let mut files = Vec::new();
    for folder in fs::read_dir(directory).with_context(|| format!("no data: {}", directory.display()))? {
        let folder = folder?.path();
        if folder.is_dir() {
            files.extend(fs::read_dir(folder)?.flatten().map(|entry| entry.path()));
        }
    }
    files.sort();
    let newest = newest_ms()? - AGE_MS;
    let one = |file: &Path| -> Result<TimeSeries> {
        let text = fs::read_to_string(file)?;
        let values = text.lines().skip(1).map(|line| line.rsplit_once(',').map_or("", |(_, value)| value));
        let values: Vec<f64> =
            values.map(str::parse).collect::<Result<_, _>>().with_context(|| file.display().to_string())?;
        let first = newest - (values.len() as i64 - 1) * PUBLIC_STEP_MS;
        let times = (0..).map(|n| first + n * PUBLIC_STEP_MS);
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let labels = vec![("__name__".into(), "cloud".into()), ("series".into(), name)];
        Ok(TimeSeries { labels, samples: values.into_iter().zip(times).collect() })
    };
    files
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "csv"))
        .map(|file| one(file))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_an_exporter_is_taken_apart() {
        let pairs = |text| labels(text).into_iter().map(|(a, b)| format!("{a}={b}")).collect::<Vec<_>>();
        assert_eq!(pairs("up"), ["__name__=up"]);
        assert_eq!(pairs("a{b=\"c,d\",e=\"/f g\"}"), ["__name__=a", "b=c,d", "e=/f g"]);
    }
}
