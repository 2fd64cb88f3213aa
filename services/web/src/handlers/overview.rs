//! `/`: is all well, and if not, where to look.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use hyper::StatusCode;
use vakt_wire::http::{CallError, Response};

use crate::app::{App, Caller};
use crate::backend::collector::Source;
use crate::backend::init::{Machine, Reset, Service};
use crate::backend::store::Series;
use crate::backend::{Panel, unavailable};
use crate::chart::{Unit, spark};
use crate::clock;
use crate::error::PageError;
use crate::form::encode;
use crate::handlers::machine::told;
use crate::handlers::problems::{self, Known, Problem};
use crate::handlers::repairs::{RepairLine, line};
use crate::handlers::welcome;
use crate::page::{Shell, html};

/// Repairs on this page; the rest is on theirs.
const REPAIRS_MAX: usize = 6;
/// Hosts on this page.
const HOSTS_MAX: usize = 200;
/// The small chart of a host's CPU: an hour, a point a minute.
const SPARK_S: (i64, i64) = (3600, 60);

/// A share of something, such as a disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Share {
    /// Of what.
    pub name: String,
    /// 0 to 100; NaN when unknown.
    pub percent: f64,
    /// For people.
    pub text: String,
}

impl Share {
    fn of(name: &str, used: f64, total: f64) -> Share {
        let percent = if total > 0.0 { (used / total * 100.0).clamp(0.0, 100.0) } else { f64::NAN };
        Share { name: name.to_owned(), percent, text: Unit::Percent.show(percent) }
    }

    /// Width of the bar, 0 to 100.
    pub fn width(&self) -> u32 {
        if self.percent.is_finite() { self.percent.round() as u32 } else { 0 }
    }

    /// Class of the bar's colour.
    pub fn class(&self) -> &'static str {
        match self.percent {
            p if p >= 95.0 => "bad",
            p if p >= 85.0 => "warn",
            _ => "ok",
        }
    }
}

/// A host, as its card shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostCard {
    /// The `instance` label.
    pub name: String,
    /// Its page.
    pub link: String,
    /// Is it this box?
    pub is_box: bool,
    /// It is in the config, and nothing was heard of it for five minutes.
    pub is_silent: bool,
    /// Share of all CPUs that is busy.
    pub cpu: Share,
    /// The last hour of it.
    pub cpu_spark: String,
    /// Memory that is in use.
    pub memory: Share,
    /// The fullest file system.
    pub disk: Share,
    /// Load of one minute.
    pub load: String,
    /// How long it is up.
    pub uptime: String,
}

#[derive(Template)]
#[template(path = "pages/overview.html")]
struct OverviewPage {
    shell: Shell,
    problems: Vec<Problem>,
    hosts: Panel<Vec<HostCard>>,
    /// The engine elsewhere that the numbers are from; empty for the box' own store.
    numbers_from: String,
    services: Panel<Vec<ServiceLine>>,
    machine: Panel<Machine>,
    repairs: Panel<Vec<RepairLine>>,
    sources: Panel<Sources>,
    reset: String,
    is_fresh: bool,
}

/// A reset is told here for a day; after that it is on the page Box.
const RESET_TOLD_S: i64 = 86_400;

/// The collector's sources in short: how many answer, and which do not.
struct Sources {
    all: usize,
    good: usize,
    silent: Vec<Source>,
}

/// A service, as its line shows it.
struct ServiceLine {
    service: Service,
    class: &'static str,
    since: String,
    memory: String,
    state: String,
}

/// The page.
///
/// # Errors
/// [`PageError::Internal`].
pub async fn show(app: &App, caller: &Caller) -> Result<Response, PageError> {
    let behind = &app.backends;
    let (services, machine, repairs, peers, policies, sources, hosts) = tokio::join!(
        behind.init.services(),
        behind.init.machine(),
        behind.repair.repairs(REPAIRS_MAX),
        behind.repair.peers(),
        behind.repair.policies(),
        behind.collector.sources(),
        hosts(app),
    );
    let away = |service: &'static str| move |error: CallError| unavailable(service, &error);
    let (services, machine) = (services.map_err(away("init")), machine.map_err(away("init")));
    let (peers, policies) = (peers.map_err(away("repair")), policies.map_err(away("repair")));
    let hosts = hosts.map_err(|error| behind.store.unavailable(&error));
    let sources = sources.map_err(away("collector"));
    let problems = problems::find(&Known {
        services: &services,
        machine: &machine,
        hosts: &hosts,
        peers: &peers,
        policies: &policies,
        sources: &sources,
    });
    let now_ms = clock::now_s() * 1000;
    let reset = machine.as_ref().ok().and_then(|machine| machine.last_reset.as_ref());
    let is_fresh = |reset: &&Reset| reset.done_s.is_some_and(|at_s| clock::now_s() - at_s < RESET_TOLD_S);
    let page = OverviewPage {
        shell: app.shell(caller, "Overview", "overview"),
        problems,
        is_fresh: welcome::is_open(app).await,
        reset: reset.filter(is_fresh).map(|reset| told(reset, clock::now_s())).unwrap_or_default(),
        hosts,
        numbers_from: app.numbers_from.clone(),
        services: services.map(|services| services.into_iter().map(service_line).collect()),
        machine,
        sources: sources.map(in_short),
        repairs: repairs
            .map(|repairs| repairs.iter().map(|repair| line(repair, now_ms)).collect())
            .map_err(away("repair")),
    };
    html(StatusCode::OK, &page)
}

fn in_short(sources: Vec<Source>) -> Sources {
    let all = sources.len();
    let silent: Vec<Source> = sources.into_iter().filter(|source| source.error.is_some()).collect();
    Sources { all, good: all - silent.len(), silent }
}

fn service_line(service: Service) -> ServiceLine {
    let class = match service.state.as_str() {
        "ready" => "ok",
        "starting" | "waiting" | "stopping" => "idle",
        _ => "bad",
    };
    let memory = service.memory_bytes.map(|bytes| Unit::Bytes.show(bytes)).unwrap_or_default();
    let state = service.state_bytes.zip(service.state_bytes_max);
    let state = state
        .map(|(bytes, most)| format!("{} of {}", Unit::Bytes.show(bytes), Unit::Bytes.show(most)))
        .unwrap_or_default();
    ServiceLine { class, since: clock::span(service.seconds), memory, state, service }
}

/// One card for each peer of the config and each instance with metrics.
async fn hosts(app: &App) -> Result<Vec<HostCard>, CallError> {
    let (store, now_s) = (&app.backends.store, clock::now_s());
    let cpu = "sum by (instance, mode) (rate(node_cpu_seconds_total[2m]))";
    let (cpu, total, available, load, size, free, boot) = tokio::join!(
        store.query_range(cpu, now_s - SPARK_S.0, now_s, SPARK_S.1),
        store.query("node_memory_MemTotal_bytes"),
        store.query("node_memory_MemAvailable_bytes"),
        store.query("node_load1"),
        store.query("node_filesystem_size_bytes"),
        store.query("node_filesystem_avail_bytes"),
        store.query("node_boot_time_seconds"),
    );
    let found = Found {
        cpu: cpu?,
        total: total?,
        available: available?,
        load: load?,
        size: size?,
        free: free?,
        boot: boot?,
    };
    Ok(cards(&app.peers, &app.box_name, &found, now_s))
}

/// What the store knows about all hosts.
#[derive(Debug, Default)]
struct Found {
    cpu: Vec<Series>,
    total: Vec<Series>,
    available: Vec<Series>,
    load: Vec<Series>,
    size: Vec<Series>,
    free: Vec<Series>,
    boot: Vec<Series>,
}

fn value(all: &[Series], instance: &str) -> Option<f64> {
    all.iter().find(|series| series.label("instance") == instance).and_then(Series::last)
}

/// The cards, the box itself first, then by name. Pure.
fn cards(peers: &[String], box_name: &str, found: &Found, now_s: i64) -> Vec<HostCard> {
    let heard = found.load.iter().chain(&found.total).map(|series| series.label("instance"));
    let names: BTreeSet<&str> =
        heard.filter(|name| !name.is_empty()).chain(peers.iter().map(String::as_str)).collect();
    let busy = busy_percent(&found.cpu);
    let mut cards: Vec<HostCard> = names
        .into_iter()
        .take(HOSTS_MAX)
        .map(|name| card(name, box_name, found, busy.get(name).map_or(&[], Vec::as_slice), now_s))
        .collect();
    cards.sort_by_key(|card| !card.is_box);
    cards
}

fn card(name: &str, box_name: &str, found: &Found, busy: &[f64], now_s: i64) -> HostCard {
    let total = value(&found.total, name);
    let used = total.zip(value(&found.available, name)).map(|(total, available)| total - available);
    let load = value(&found.load, name);
    let uptime_s = value(&found.boot, name).map(|boot_s| now_s - boot_s as i64);
    let cpu = busy.last().copied().unwrap_or(f64::NAN);
    HostCard {
        name: name.to_owned(),
        link: format!("/host/{}", encode(name)),
        is_box: name == box_name,
        is_silent: load.is_none() && total.is_none(),
        cpu: Share::of("CPU", cpu, 100.0),
        cpu_spark: spark(busy, 100.0),
        memory: Share::of("memory", used.unwrap_or(f64::NAN), total.unwrap_or(f64::NAN)),
        disk: fullest(&found.size, &found.free, name),
        load: load.map_or("–".into(), |load| Unit::Number.show(load)),
        uptime: uptime_s.map_or("–".into(), clock::span),
    }
}

/// The file system with the least share free.
fn fullest(size: &[Series], free: &[Series], instance: &str) -> Share {
    let of_host = |series: &&Series| series.label("instance") == instance;
    let share = |series: &Series| {
        let mount = series.label("mountpoint");
        let free = free.iter().filter(of_host).find(|other| other.label("mountpoint") == mount)?.last()?;
        let size = series.last().filter(|size| *size > 0.0)?;
        Some(Share::of(mount, size - free, size))
    };
    let shares = size.iter().filter(of_host).filter_map(share);
    let fullest = shares.max_by(|a, b| a.percent.total_cmp(&b.percent));
    fullest.unwrap_or_else(|| Share::of("disk", f64::NAN, f64::NAN))
}

/// Busy share of all CPUs by instance, oldest first, from seconds by mode.
fn busy_percent(cpu: &[Series]) -> BTreeMap<&str, Vec<f64>> {
    let mut by_time: BTreeMap<&str, BTreeMap<i64, (f64, f64)>> = BTreeMap::new();
    for series in cpu {
        let idle = series.label("mode") == "idle";
        let times = by_time.entry(series.label("instance")).or_default();
        for (at, value) in series.points.iter().filter(|(_, value)| value.is_finite()) {
            let (all, idle_s) = times.entry(at.round() as i64).or_default();
            *all += value;
            *idle_s += if idle { *value } else { 0.0 };
        }
    }
    let percent = |(all, idle): (f64, f64)| if all > 0.0 { (all - idle) / all * 100.0 } else { f64::NAN };
    by_time.into_iter().map(|(name, times)| (name, times.into_values().map(percent).collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(labels: &[(&str, &str)], points: &[(f64, f64)]) -> Series {
        let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Series { labels, points: points.to_vec() }
    }

    #[test]
    fn a_host_has_its_figures_and_a_silent_peer_is_known() {
        let of = |extra: &[(&str, &str)], points: &[(f64, f64)]| {
            series(&[&[("instance", "vakt")], extra].concat(), points)
        };
        let found = Found {
            cpu: vec![
                of(&[("mode", "idle")], &[(0.0, 1.5), (60.0, 1.0)]),
                of(&[("mode", "user")], &[(0.0, 0.5), (60.0, 1.0)]),
            ],
            total: vec![of(&[], &[(60.0, 1000.0)])],
            available: vec![of(&[], &[(60.0, 250.0)])],
            load: vec![of(&[], &[(60.0, 0.5)])],
            size: vec![
                of(&[("mountpoint", "/")], &[(60.0, 100.0)]),
                of(&[("mountpoint", "/state")], &[(60.0, 100.0)]),
            ],
            free: vec![
                of(&[("mountpoint", "/")], &[(60.0, 50.0)]),
                of(&[("mountpoint", "/state")], &[(60.0, 4.0)]),
            ],
            boot: vec![of(&[], &[(60.0, 0.0)])],
        };
        let cards = cards(&["db1".to_owned()], "vakt", &found, 7200);
        assert_eq!(
            cards.iter().map(|c| (c.name.as_str(), c.is_box, c.is_silent)).collect::<Vec<_>>(),
            [("vakt", true, false), ("db1", false, true)]
        );
        let card = &cards[0];
        assert_eq!((card.cpu.text.as_str(), card.memory.text.as_str()), ("50 %", "75 %"));
        assert_eq!((card.disk.name.as_str(), card.disk.class(), card.disk.width()), ("/state", "bad", 96));
        assert_eq!((card.load.as_str(), card.uptime.as_str()), ("0.5", "2 h"));
        assert!(card.cpu_spark.contains("M0 26L160 18"), "{}", card.cpu_spark);
        assert_eq!((cards[1].cpu.text.as_str(), cards[1].disk.width()), ("–", 0));
    }
}
