//! The life of `vakt-store serve`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use vakt_wire::http::serve_all;
use vakt_wire::life::Life;
use vakt_wire::listen::{Address, Inherited};
use vakt_wire::size::Size;

use vakt_store::api::Api;
use vakt_store::catalog::{Catalog, forget};
use vakt_store::disk::RealDisk;
use vakt_store::engine::{Engine, KeepRule, Maintenance, RULES_MAX, Settings, SourceLimits};
use vakt_store::forward::{Forwarder, Own};
use vakt_store::promql::syntax::{self, duration_ms};
use vakt_store::rules::{Place, Rules, Schedule};

/// Serves metrics and the catalog until SIGTERM.
#[derive(Args)]
pub struct Serve {
    /// Where everything is kept; one process at a time.
    #[arg(long, default_value = "/state/store", value_name = "DIR")]
    pub data: PathBuf,
    /// An address to serve on besides inherited sockets: 127.0.0.1:8428, :8428 or unix:/path. May be repeated.
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<Address>,
    /// How long samples are kept, such as 30d, 1y or 100y.
    #[arg(long, default_value = "1y", value_name = "TIME", value_parser = retention)]
    pub retention: Duration,
    /// How long series that match a selector are kept, such as '{job="debug"}=7d'. May be repeated; the first that matches holds.
    #[arg(long, value_name = "SELECTOR=TIME", value_parser = keep_rule)]
    pub retention_of: Vec<KeepRule>,
    /// How long the buckets of a minute are kept; as long as the samples themselves when it is not given.
    #[arg(long, value_name = "TIME", value_parser = retention)]
    pub retention_minutes: Option<Duration>,
    /// How long the buckets of an hour are kept, likewise.
    #[arg(long, value_name = "TIME", value_parser = retention)]
    pub retention_hours: Option<Duration>,
    /// How much disk the blocks may take, such as 20GB, 512MiB or 80% of the file system (or of the quota, where
    /// the directory has one); past it the oldest go. The log, the catalog and merges need the rest.
    #[arg(long, default_value = "80%", value_name = "SIZE")]
    pub retention_size: Size,
    /// How long samples stay in memory before they become a block.
    #[arg(long, default_value = "30m", value_name = "TIME", value_parser = duration)]
    pub window: Duration,
    /// Memory for these samples, in MiB; a block is written early when it is full.
    #[arg(long, default_value_t = 24, value_name = "MIB", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub window_mib: u16,
    /// Where everything that is stored goes as well: vakt-egress at unix:/run/vakt/egress/http.sock.
    #[arg(long, value_name = "ADDR")]
    pub forward: Option<Address>,
    /// Series that are taken.
    #[arg(long, default_value_t = Settings::default().series_max, value_name = "N")]
    pub series_max: usize,
    /// Series that one source may add; what it sends of further ones is dropped, counted and named.
    #[arg(long, default_value_t = Settings::default().source.series_max, value_name = "N")]
    pub source_series_max: u64,
    /// Samples a second that one source may send, over a minute; more are dropped, counted and named.
    #[arg(long, default_value_t = Settings::default().source.rate_max, value_name = "N")]
    pub source_rate_max: u64,
    /// Let who reaches a TCP address delete series and take snapshots (/api/v1/admin/tsdb/…), as Prometheus' flag does.
    #[arg(long = "web.enable-admin-api")]
    pub enable_admin_api: bool,
    /// Let who reaches a TCP address have the rule files read anew (POST /-/reload), as Prometheus' flag does. SIGHUP does it too.
    #[arg(long = "web.enable-lifecycle")]
    pub enable_lifecycle: bool,
    /// A file of recording and alerting rules in Prometheus' format; its last part may have * and ?. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub rules: Vec<String>,
}

/// How long the end waits for egress to take what rules recorded last.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(2);

fn duration(text: &str) -> Result<Duration, String> {
    duration_ms(text).map(|ms| Duration::from_millis(ms.unsigned_abs()))
}

fn retention(text: &str) -> Result<Duration, String> {
    let hour = Duration::from_secs(3600);
    match duration(text) {
        Ok(duration) if duration >= hour => Ok(duration),
        Ok(_) => Err("less than an hour; example: 100y".into()),
        Err(error) => Err(format!("{error}; example: 100y")),
    }
}

fn keep_rule(text: &str) -> Result<KeepRule, String> {
    let (selector, time) = text.rsplit_once('=').ok_or("no time; example: '{job=\"debug\"}=7d'")?;
    let keep_ms = i64::try_from(retention(time)?.as_millis()).unwrap_or(i64::MAX / 4);
    let selected = syntax::selector(selector).map_err(|error| error.to_string())?;
    Ok(KeepRule { matchers: selected.matchers, keep_ms })
}

/// Opens, serves, drains, closes.
pub async fn run(args: Serve) -> Result<()> {
    let life = Life::start().context("cannot handle signals")?;
    let listeners = Inherited::take().http("http", &args.listen)?;
    if listeners.is_empty() {
        bail!("nothing to listen on: give --listen 127.0.0.1:8428 or start with a socket called http");
    }
    let forwarder = args.forward.as_ref().map(forwarder).transpose()?.map(Arc::new);
    anyhow::ensure!(
        args.retention_of.len() <= RULES_MAX,
        "--retention-of is given {} times; at most {RULES_MAX} rules are taken",
        args.retention_of.len()
    );
    let rules = Arc::new(Rules::load(&args.rules)?);
    std::fs::create_dir_all(&args.data).with_context(|| format!("cannot make {}", args.data.display()))?;
    let settings = settings(&args)?;
    let disk = Arc::new(RealDisk::open(&args.data)?);
    let (engine, opened) = Engine::open(disk, settings, Box::new(now))
        .with_context(|| format!("cannot open {}", args.data.display()))?;
    let catalog = open_catalog(&args.data).map_err(|error| format!("{error:#}"));
    if let Err(error) = &catalog {
        tracing::error!(%error, "catalog is not served; metrics are");
    }
    let maintenance = Maintenance::start(engine.clone()).context("cannot start the maintenance thread")?;
    let levels = engine.levels();
    tracing::info!(
        blocks = opened.blocks,
        blocks_bad = opened.bad.len(),
        log_samples = opened.log.samples,
        log_torn_bytes = opened.log.torn_bytes,
        series = levels.series,
        "store is open"
    );
    let status =
        format!("{} series, {} blocks, {} set aside", levels.series, levels.blocks, opened.bad.len());
    let (onward, passing_on) = forwarder.clone().map(Own::new).unzip();
    let passing_on = passing_on.map(tokio::spawn);
    let place = Place { engine: engine.clone(), onward };
    let schedule = Schedule::start(place, rules.clone()).context("cannot start the rules' thread")?;
    reload_on_hangup(&rules, &engine)?;
    life.ready(&status);
    let api =
        Api::new(engine.clone(), catalog).forwarding(forwarder).with_rules(rules).with_flags(flags(&args));
    let api = api.over_tcp(args.enable_admin_api, args.enable_lifecycle);
    serve_all(listeners, Arc::new(api), life.stopping()).await;
    schedule.stop();
    maintenance.stop();
    engine.close();
    if let Some(passing_on) = passing_on {
        // Egress that is away then misses what it did not take; nothing waits longer for it.
        let _ = tokio::time::timeout(LAST_WORDS_WITHIN, passing_on).await;
    }
    tracing::info!("store is closed");
    Ok(())
}

/// Reads the rule files anew at each SIGHUP.
fn reload_on_hangup(rules: &Arc<Rules>, engine: &Arc<Engine>) -> Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot handle SIGHUP")?;
    let (rules, engine) = (rules.clone(), engine.clone());
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match rules.reload(engine.now()) {
                Ok(()) => tracing::info!("rule files were read anew"),
                Err(error) => tracing::error!(%error, "the rules of before stay in force"),
            }
        }
    });
    Ok(())
}

/// Of the disk the log leaves this part free for writing memory to blocks; blocks leave four times as much ...
const RESERVE_PART: u64 = 32;

/// ... but no more than this, more than a window's block.
const RESERVE_BYTES_MAX: u64 = 32 << 20;

/// The engine's settings as the flags have them.
fn settings(args: &Serve) -> Result<Settings> {
    let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4);
    let disk_bytes = |size: Size| {
        size.bytes(&args.data)
            .with_context(|| format!("cannot tell how large the disk of {} is", args.data.display()))
    };
    Ok(Settings {
        retention_ms: millis(args.retention),
        keep_rules: args.retention_of.clone(),
        tier_retention_ms: [args.retention_minutes, args.retention_hours].map(|time| time.map_or(0, millis)),
        bytes_max: disk_bytes(args.retention_size)?,
        reserve_bytes: (disk_bytes(Size::Percent(100))? / RESERVE_PART).min(RESERVE_BYTES_MAX),
        series_max: args.series_max,
        source: SourceLimits { series_max: args.source_series_max, rate_max: args.source_rate_max },
        window: args.window,
        window_bytes_max: usize::from(args.window_mib) << 20,
        ..Settings::default()
    })
}

/// The way to egress, which is a unix socket.
fn forwarder(address: &Address) -> Result<Forwarder> {
    match address {
        Address::Unix(socket) => Ok(Forwarder::new(socket)),
        other => {
            bail!("--forward {other} is no unix socket; example: --forward unix:/run/vakt/egress/http.sock")
        }
    }
}

/// The flags as `/api/v1/status/flags` tells them; what Prometheus has too is named as there.
fn flags(args: &Serve) -> Vec<(String, String)> {
    let milliseconds = args.retention.as_millis();
    [
        ("storage.tsdb.path", args.data.display().to_string()),
        ("storage.tsdb.retention.time", format!("{milliseconds}ms")),
        ("web.enable-admin-api", args.enable_admin_api.to_string()),
        ("web.enable-lifecycle", args.enable_lifecycle.to_string()),
        ("window", format!("{}ms", args.window.as_millis())),
        ("window-mib", args.window_mib.to_string()),
        ("series-max", args.series_max.to_string()),
        ("rules", args.rules.join(",")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// Opens the catalog, and forgets what a reset of the box asks for before anybody is served.
fn open_catalog(data: &Path) -> Result<Catalog> {
    let catalog = Catalog::open(&data.join("catalog.redb"))?;
    let forgotten = forget::obey(&catalog, data)?;
    if !forgotten.is_empty() {
        tracing::info!(tables = forgotten.join(", "), "the catalog has forgotten what a reset asked for");
    }
    Ok(catalog)
}

/// Milliseconds since the epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
