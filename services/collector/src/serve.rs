//! The life of `vakt-collector serve`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vakt_wire::config::{self, MachineConfig};
use vakt_wire::http::{Client, serve_all};
use vakt_wire::life::Life;
use vakt_wire::listen::{Address, Inherited};

use crate::api::{Api, Own};
use crate::board::Board;
use crate::ebpf::Groups;
use crate::encode::{Block, Shown};
use crate::files::Places;
use crate::local::{Local, Told, now, uname};
use crate::node::outcomes;
use crate::outbox::{Outbox, up};
use crate::peers::Watch;
use crate::push::{self, PushTo};
use crate::scrape;
use crate::timekeeper::Timekeeper;

/// The process that watches this machine must answer within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What a process measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scope {
    /// Everything.
    All,
    /// This machine: who may load programs into its kernel needs no network.
    Local,
    /// Peers and scrape targets: who hears strangers needs no right over this machine.
    Remote,
}

/// Measures this machine and the peers, and pushes to the store until SIGTERM.
#[derive(Args)]
pub struct Serve {
    /// The machine config; without it this machine alone is measured.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What is measured: this machine, what is elsewhere, or all.
    #[arg(long, value_enum, default_value = "all")]
    pub watch: Scope,
    /// The socket of the process that watches this machine where this one does not, to show how its sources fare too.
    #[arg(long, value_name = "SOCKET")]
    pub local: Option<PathBuf>,
    /// Where samples go: unix:/path or http://host:port[/path] (remote-write 1.0).
    #[arg(long, default_value = "unix:/run/vakt/store/http.sock", value_name = "PLACE")]
    pub push: PushTo,
    /// Time between two rounds over this machine, 1s to 15s; the config's scrape.interval without it.
    #[arg(long, value_name = "TIME", value_parser = crate::once::seconds)]
    pub interval: Option<Duration>,
    /// An address for health, metrics and sources besides inherited sockets. May be repeated.
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<Address>,
    /// The instance label of this machine; the host's name without it.
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    /// Where procfs is mounted.
    #[arg(long, default_value = "/proc", value_name = "DIR")]
    pub procfs: PathBuf,
    /// Where sysfs is mounted.
    #[arg(long, default_value = "/sys", value_name = "DIR")]
    pub sysfs: PathBuf,
    /// Sources that are left out, such as timex,arp.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub without: Vec<String>,
    /// The time service's socket, which tells of the kernel's clock (timex) where the collector may not ask for it.
    #[arg(long, value_name = "SOCKET")]
    pub timekeeper: Option<PathBuf>,
    /// Put before mount points to find their file systems.
    #[arg(long, default_value = "/", value_name = "DIR")]
    pub rootfs: PathBuf,
    /// A directory whose *.prom files are metrics of others, as node_exporter's --collector.textfile.directory. May be
    /// repeated.
    #[arg(long, value_name = "DIR")]
    pub textfile: Vec<PathBuf>,
}

impl Serve {
    fn places(&self) -> Places {
        let (proc, sys, root) = (self.procfs.clone(), self.sysfs.clone(), self.rootfs.clone());
        Places { proc, sys, root, is_apart: vakt_ebpf::is_apart() }
    }
}

/// Measures, serves, drains.
pub async fn run(args: Serve) -> Result<()> {
    let life = Life::start().context("cannot handle signals")?;
    let config = read_config(&args)?;
    // First of all, while there is one thread: the memory that it takes is then a child's.
    let groups = (args.watch != Scope::Remote).then(|| Groups::attach(config.scrape.ebpf, &args.procfs));
    let listeners = Inherited::take().http("http", &args.listen)?;
    let (board, outbox) = (Arc::new(Board::default()), Arc::new(Outbox::default()));
    let stop = life.stopping();
    let tasks = TaskTracker::new();
    let (mut watched, mut targets) = (0, 0);
    if args.watch != Scope::Local {
        watched = watch_peers(&config, &board, &outbox, &stop, &tasks);
        targets = scrape::start(&config, &board, &outbox, &stop, &tasks);
    }
    let without = crate::once::without(&args.without)?;
    let local = groups.map(|groups| {
        let local = Local::new(args.places(), without, args.textfile.clone())
            .with_timekeeper(args.timekeeper.clone().map(Timekeeper::new));
        (local, groups)
    });
    let instance = args.instance.clone().unwrap_or_else(|| uname().nodename);
    let own = Own { board: board.clone(), outbox: outbox.clone(), watch: args.watch };
    let every = args.interval.unwrap_or(config.scrape.interval.duration());
    tasks.spawn(Round { local, shown: Shown::new(instance), own: own.clone() }.repeat(every, stop.clone()));
    let sender = tokio::spawn(push::run(args.push.clone(), outbox.clone()));
    life.ready(&format!("{watched} peers, {targets} targets, every {every:?}"));
    let api =
        Arc::new(Api { own, local: args.local.map(|socket| Client::unix(socket).within(ANSWER_WITHIN)) });
    tokio::join!(serve_all(listeners, api, stop.clone()), stop.cancelled());
    tasks.close();
    tasks.wait().await;
    // A body that is on its way is lost with its sender, and was not acknowledged: at most one round.
    sender.abort();
    push::flush(args.push, &outbox).await;
    Ok(())
}

fn read_config(args: &Serve) -> Result<MachineConfig> {
    let Some(file) = &args.config else { return Ok(MachineConfig::default()) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    match config::parse(&text) {
        Ok(config) => Ok(config),
        Err(error) => bail!("{}: {error}", file.display()),
    }
}

/// Starts a task for each peer. One that cannot be read from the config is noted and the others go on. Returns how
/// many are watched.
fn watch_peers(
    config: &MachineConfig,
    board: &Arc<Board>,
    outbox: &Arc<Outbox>,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> usize {
    let mut watched = 0;
    for peer in &config.peers {
        let target = match &config.ssh.read_key {
            Some(key) => vakt_peer::Target::read(peer, key).map_err(|error| error.to_string()),
            None => Err("the config has no ssh.read_key".into()),
        };
        match target {
            Ok(target) => {
                let (outbox, board) = (outbox.clone(), board.clone());
                let watch = Watch { target, interval: peer.interval.duration(), outbox, board };
                tasks.spawn(watch.run(stop.clone()));
                watched += 1;
            }
            Err(reason) => {
                tracing::error!(peer = %peer.name, reason, "peer is not watched");
                board.note(&format!("peer/{}", peer.name), now(), 0.0, Some(reason));
            }
        }
    }
    watched
}

/// This machine's rounds, or those of the process alone about itself.
struct Round {
    local: Option<(Local, Groups)>,
    shown: Shown,
    own: Own,
}

impl Round {
    async fn repeat(mut self, every: Duration, stop: CancellationToken) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => self.once().await,
            }
        }
    }

    async fn once(&mut self) {
        let time = now();
        let (board, outbox) = (&self.own.board, &self.own.outbox);
        let Some((local, groups)) = &mut self.local else {
            let own = self.own.families();
            outbox.put(&mut self.shown, &[Block::new(&own)], (time * 1000.0) as i64);
            return;
        };
        let told = local.scrape().await;
        for outcome in told.iter().map(Told::outcome) {
            let error = outcome.fault().map(ToString::to_string);
            board.note(&format!("local/{}", outcome.name), time, outcome.seconds, error);
        }
        let (read, fared) = groups.read();
        for fared in fared {
            board.note(&fared.name, time, fared.seconds, fared.error);
        }
        let (up, about) = (up(true), outcomes(told.iter().map(Told::outcome)));
        let own = self.own.families();
        let mut blocks = vec![Block::new(std::slice::from_ref(&up)), Block::new(&about)];
        blocks.extend([Block::new(&read), Block::new(&own)]);
        blocks.extend(told.iter().map(|told| Block { families: &told.families, changed: told.changed }));
        outbox.put(&mut self.shown, &blocks, (time * 1000.0) as i64);
    }
}
