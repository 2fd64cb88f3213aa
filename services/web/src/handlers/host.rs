//! `/host/<instance>?range=1h`: one machine, chart by chart.

use std::collections::BTreeMap;

use askama::Template;
use hyper::StatusCode;
use vakt_wire::http::{CallError, Request, Response};

use crate::app::{App, Caller};
use crate::backend::Panel;
use crate::backend::store::{Series, Store};
use crate::chart::{ChartView, Line, LineChart, Unit};
use crate::clock;
use crate::error::PageError;
use crate::form::{Form, encode, url};
use crate::handlers::overview::Share;
use crate::handlers::range::{RANGES, Range};
use crate::page::{Shell, html};

/// Points of a line.
const POINTS: i64 = 120;
/// Least window of a rate: four scrapes of 15 s.
const WINDOW_S_MIN: i64 = 60;
/// File systems in the table.
const FILE_SYSTEMS_MAX: usize = 40;
/// The histogram of the run queue, as the collector names it.
const RUN_QUEUE: &str = "vakt_runqueue_latency_seconds_bucket";

/// A file system in the table.
struct FileSystem {
    mount: String,
    device: String,
    kind: String,
    size: String,
    free: String,
    used: Share,
}

struct Titled {
    title: &'static str,
    chart: Panel<ChartView>,
}

#[derive(Template)]
#[template(path = "pages/host.html")]
struct HostPage {
    shell: Shell,
    name: String,
    /// The engine elsewhere that the numbers are from; empty for the box' own store.
    numbers_from: String,
    facts: Vec<(&'static str, String)>,
    ranges: Vec<(Range, String, bool)>,
    charts: Vec<Titled>,
    /// Why the box itself has no run queue latency; empty when it has, and for peers.
    no_run_queue: String,
    file_systems: Panel<Vec<FileSystem>>,
    logs: String,
}

/// The page.
///
/// # Errors
/// [`PageError::HostNotFound`] when neither config nor store know the host.
pub async fn show(app: &App, caller: &Caller, name: &str, request: &Request) -> Result<Response, PageError> {
    let range = Range::of(Form::query(request).get("range"));
    let asked = Asked::new(&app.backends.store, name, range, clock::now_s());
    let (charts, file_systems, facts, no_run_queue) =
        tokio::join!(asked.charts(), asked.file_systems(), asked.facts(), no_run_queue(app, name));
    let is_empty = |titled: &Titled| titled.chart.as_ref().is_ok_and(|chart| chart.legend.is_empty());
    // A box that is seconds old has nothing to chart yet, and is known all the same.
    let known = name == app.box_name || app.peers.iter().any(|peer| peer == name);
    if charts.iter().all(is_empty) && !known {
        return Err(PageError::HostNotFound(name.chars().take(64).collect()));
    }
    let path = format!("/host/{}", encode(name));
    let page = HostPage {
        shell: app.shell(caller, name, "host"),
        name: name.to_owned(),
        numbers_from: app.numbers_from.clone(),
        facts,
        ranges: RANGES.map(|one| (one, url(&path, &[("range", one.key)]), one == range)).to_vec(),
        charts,
        no_run_queue,
        file_systems,
        logs: url("/logs", &[("q", &format!("hostname:={}", quoted(name))), ("range", range.key)]),
    };
    html(StatusCode::OK, &page)
}

/// The collector's reason, such as a kernel that refuses eBPF. Peers have no eBPF in them at all.
async fn no_run_queue(app: &App, name: &str) -> String {
    if name != app.box_name {
        return String::new();
    }
    let sources = app.backends.collector.sources().await.unwrap_or_default();
    let found = sources.into_iter().find(|source| source.name.starts_with("ebpf/"));
    found.and_then(|source| source.error).unwrap_or_default()
}

/// A text in quotes, for PromQL and LogsQL alike.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// One host and range, with what every query needs.
struct Asked<'a> {
    store: &'a Store,
    host: String,
    range: Range,
    now_s: i64,
    step_s: i64,
    window_s: i64,
}

/// A line's name.
#[derive(Clone, Copy)]
enum Named {
    /// The same for all of its query.
    As(&'static str),
    /// The value of this label.
    By(&'static str),
}

impl<'a> Asked<'a> {
    fn new(store: &'a Store, name: &str, range: Range, now_s: i64) -> Asked<'a> {
        let step_s = range.step_s(POINTS);
        // On the step's grid, so that a page loaded twice shows the same points.
        let now_s = now_s - now_s.rem_euclid(step_s);
        let host = format!("instance={}", quoted(name));
        Asked { store, host, range, now_s, step_s, window_s: WINDOW_S_MIN.max(step_s * 2) }
    }

    fn rate(&self, metric: &str, labels: &str) -> String {
        format!("rate({metric}{{{}{labels}}}[{}s])", self.host, self.window_s)
    }

    async fn fetch(&self, promql: &str) -> Result<Vec<Series>, CallError> {
        self.store.query_range(promql, self.now_s - self.range.seconds, self.now_s, self.step_s).await
    }

    async fn charts(&self) -> Vec<Titled> {
        let host = &self.host;
        let load = |metric: &str| format!("{metric}{{{host}}}");
        let sum = |metric: &str, labels: &str| format!("sum ({})", self.rate(metric, labels));
        let stall = |metric: &str| format!("100 * {}", self.rate(metric, ""));
        let run_queue = |quantile: f64| {
            format!("histogram_quantile({quantile}, sum by (le) ({}))", self.rate(RUN_QUEUE, ""))
        };
        let loads = [("node_load1", "1 min"), ("node_load5", "5 min"), ("node_load15", "15 min")];
        let load = loads.map(|(metric, name)| (load(metric), Named::As(name)));
        let disk = [
            (sum("node_disk_read_bytes_total", ""), Named::As("read")),
            (sum("node_disk_written_bytes_total", ""), Named::As("written")),
        ];
        let busy = format!("100 * sum by (device) ({})", self.rate("node_disk_io_time_seconds_total", ""));
        let busy = [(busy, Named::By("device"))];
        let others = ",device!=\"lo\"";
        let network = [
            (sum("node_network_receive_bytes_total", others), Named::As("received")),
            (sum("node_network_transmit_bytes_total", others), Named::As("sent")),
        ];
        let pressure = [
            (stall("node_pressure_cpu_waiting_seconds_total"), Named::As("CPU")),
            (stall("node_pressure_memory_waiting_seconds_total"), Named::As("memory")),
            (stall("node_pressure_io_waiting_seconds_total"), Named::As("disk")),
        ];
        let latency = [(0.5, "half"), (0.9, "90 %"), (0.99, "99 %")];
        let latency = latency.map(|(quantile, name)| (run_queue(quantile), Named::As(name)));
        let (cpu, memory, load, disk, busy, network, pressure, latency) = tokio::join!(
            self.cpu(),
            self.memory(),
            self.lines("Load", Unit::Number, 1.0, &load),
            self.lines("Disk throughput", Unit::BytesPerSecond, 1024.0, &disk),
            self.lines("Disk busy", Unit::Percent, 100.0, &busy),
            self.lines("Network", Unit::BytesPerSecond, 1024.0, &network),
            self.lines("Pressure (time that work stood still)", Unit::Percent, 1.0, &pressure),
            self.lines("Run queue latency", Unit::Seconds, 0.000_1, &latency),
        );
        vec![
            self.titled("CPU", cpu),
            self.titled("Memory", memory),
            self.titled("Load", load),
            self.titled("Pressure", pressure),
            self.titled("Disk throughput", disk),
            self.titled("Disk busy", busy),
            self.titled("Network", network),
            self.titled("Run queue latency", latency),
        ]
    }

    fn titled(&self, title: &'static str, chart: Result<LineChart, CallError>) -> Titled {
        let chart = chart.map(|chart| chart.view()).map_err(|error| self.store.unavailable(&error));
        Titled { title, chart }
    }

    fn chart(&self, title: &str, unit: Unit, at_least: f64, lines: Vec<Line>) -> LineChart {
        LineChart {
            title: title.to_owned(),
            unit,
            lines,
            from_s: self.now_s - self.range.seconds,
            to_s: self.now_s,
            step_s: self.step_s,
            at_least,
        }
    }

    async fn lines(
        &self,
        title: &str,
        unit: Unit,
        at_least: f64,
        queries: &[(String, Named)],
    ) -> Result<LineChart, CallError> {
        let mut lines = Vec::new();
        for (promql, named) in queries {
            for series in self.fetch(promql).await? {
                let name = match named {
                    Named::As(name) => (*name).to_owned(),
                    Named::By(label) => series.label(label).to_owned(),
                };
                lines.push(Line { name, points: series.points });
            }
        }
        Ok(self.chart(title, unit, at_least, lines))
    }

    async fn cpu(&self) -> Result<LineChart, CallError> {
        let seconds =
            self.fetch(&format!("sum by (mode) ({})", self.rate("node_cpu_seconds_total", ""))).await?;
        Ok(self.chart("CPU", Unit::Percent, 100.0, cpu_shares(&seconds)))
    }

    async fn memory(&self) -> Result<LineChart, CallError> {
        let metric = |name: &str| format!("node_memory_{name}_bytes{{{}}}", self.host);
        let total = self.fetch(&metric("MemTotal")).await?;
        let available = self.fetch(&metric("MemAvailable")).await?;
        let swap_total = self.fetch(&metric("SwapTotal")).await?;
        let swap_free = self.fetch(&metric("SwapFree")).await?;
        let at_least = total.first().and_then(Series::last).unwrap_or(1024.0);
        let mut lines = Vec::new();
        lines.extend(difference("in use", &total, &available));
        let swap = difference("swap in use", &swap_total, &swap_free);
        lines.extend(swap.filter(|line| line.points.iter().any(|(_, value)| *value > 0.0)));
        Ok(self.chart("Memory", Unit::Bytes, at_least, lines))
    }

    async fn file_systems(&self) -> Panel<Vec<FileSystem>> {
        let metric = |name: &str| format!("node_filesystem_{name}_bytes{{{}}}", self.host);
        let (size, free) = (metric("size"), metric("avail"));
        let (size, free) = tokio::join!(self.store.query(&size), self.store.query(&free));
        let away = |error: CallError| self.store.unavailable(&error);
        Ok(file_systems(&size.map_err(away)?, &free.map_err(away)?))
    }

    /// What kind of machine it is; nothing when the store does not say.
    async fn facts(&self) -> Vec<(&'static str, String)> {
        let metric = |name: &str| format!("{name}{{{}}}", self.host);
        let (uname, boot) = (metric("node_uname_info"), metric("node_boot_time_seconds"));
        let (uname, boot) = tokio::join!(self.store.query(&uname), self.store.query(&boot));
        let mut facts = Vec::new();
        if let Some(uname) = uname.ok().and_then(|found| found.into_iter().next()) {
            let names = [("System", "sysname"), ("Kernel", "release"), ("Machine", "machine")];
            facts.extend(names.map(|(name, label)| (name, uname.label(label).to_owned())));
        }
        if let Some(boot_s) = boot.ok().and_then(|found| found.first().and_then(Series::last)) {
            facts.push(("Up for", clock::span(self.now_s - boot_s as i64)));
        }
        facts.retain(|(_, value)| !value.is_empty());
        facts
    }
}

/// Shares of all CPU time by kind of work, from seconds by mode. Pure.
fn cpu_shares(seconds: &[Series]) -> Vec<Line> {
    const KINDS: [(&str, &[&str]); 4] = [
        ("user", &["user", "nice"]),
        ("system", &["system", "irq", "softirq"]),
        ("waiting for disk", &["iowait"]),
        ("stolen", &["steal"]),
    ];
    let mut all: BTreeMap<i64, f64> = BTreeMap::new();
    for (at, value) in seconds.iter().flat_map(|series| &series.points).filter(|(_, value)| value.is_finite())
    {
        *all.entry(at.round() as i64).or_default() += value;
    }
    let line = |(name, modes): (&str, &[&str])| {
        let mut kind: BTreeMap<i64, f64> = BTreeMap::new();
        for series in seconds.iter().filter(|series| modes.contains(&series.label("mode"))) {
            for (at, value) in series.points.iter().filter(|(_, value)| value.is_finite()) {
                *kind.entry(at.round() as i64).or_default() += value;
            }
        }
        let share = |(at, value): (i64, f64)| {
            all.get(&at).filter(|all| **all > 0.0).map(|all| (at as f64, value / all * 100.0))
        };
        Line { name: name.to_owned(), points: kind.into_iter().filter_map(share).collect() }
    };
    // Time that a hypervisor takes is shown only where one does.
    let idle = |line: &Line| line.name == "stolen" && line.points.iter().all(|(_, value)| *value == 0.0);
    KINDS.into_iter().map(line).filter(|line| !line.points.is_empty() && !idle(line)).collect()
}

/// One line of what is in `from` and not in `less`, where both have a point. Pure.
fn difference(name: &str, from: &[Series], less: &[Series]) -> Option<Line> {
    let (from, less) = (from.first()?, less.first()?);
    let point = |(at, value): &(f64, f64)| {
        let other = less.points.iter().find(|(other, _)| other == at)?;
        Some((*at, value - other.1))
    };
    Some(Line { name: name.to_owned(), points: from.points.iter().filter_map(point).collect() })
}

/// The fullest first. Pure.
fn file_systems(size: &[Series], free: &[Series]) -> Vec<FileSystem> {
    let of = |series: &Series| {
        let mount = series.label("mountpoint");
        let free = free.iter().find(|other| other.label("mountpoint") == mount)?.last()?;
        let size = series.last().filter(|size| *size > 0.0)?;
        let percent = ((size - free) / size * 100.0).clamp(0.0, 100.0);
        Some(FileSystem {
            mount: mount.to_owned(),
            device: series.label("device").to_owned(),
            kind: series.label("fstype").to_owned(),
            size: Unit::Bytes.show(size),
            free: Unit::Bytes.show(free),
            used: Share { name: mount.to_owned(), percent, text: Unit::Percent.show(percent) },
        })
    };
    let mut found: Vec<FileSystem> = size.iter().filter_map(of).collect();
    found.sort_by(|a, b| b.used.percent.total_cmp(&a.used.percent));
    found.truncate(FILE_SYSTEMS_MAX);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(label: (&str, &str), points: &[(f64, f64)]) -> Series {
        Series { labels: [(label.0.to_owned(), label.1.to_owned())].into(), points: points.to_vec() }
    }

    #[test]
    fn cpu_seconds_become_shares_of_all_cpus() {
        let of = |mode, value| series(("mode", mode), &[(0.0, value), (30.0, 0.0)]);
        let lines = cpu_shares(&[of("idle", 1.0), of("user", 0.5), of("nice", 0.3), of("irq", 0.2)]);
        let said: Vec<_> = lines.iter().map(|l| format!("{} {:?}", l.name, l.points)).collect();
        assert_eq!(said, ["user [(0.0, 40.0)]", "system [(0.0, 10.0)]"]);
        assert!(cpu_shares(&[]).is_empty());
    }

    #[test]
    fn memory_in_use_is_what_is_not_available() {
        let total = [series(("a", "b"), &[(0.0, 100.0), (30.0, 100.0)])];
        let available = [series(("a", "b"), &[(30.0, 75.0)])];
        assert_eq!(difference("in use", &total, &available).unwrap().points, [(30.0, 25.0)]);
        assert_eq!(difference("in use", &total, &[]), None);
    }

    #[test]
    fn file_systems_are_listed_fullest_first() {
        let of = |mount, value| series(("mountpoint", mount), &[(0.0, value)]);
        let found = file_systems(
            &[of("/", 100.0), of("/state", 100.0), of("/run", 0.0)],
            &[of("/", 60.0), of("/state", 10.0)],
        );
        let said: Vec<_> = found.iter().map(|f| format!("{} {}", f.mount, f.used.text)).collect();
        assert_eq!(said, ["/state 90 %", "/ 40 %"]);
    }

    #[test]
    fn a_name_cannot_leave_its_query() {
        assert_eq!(quoted("a\"} or vector(1) #\\"), r#""a\"} or vector(1) #\\""#);
    }
}
