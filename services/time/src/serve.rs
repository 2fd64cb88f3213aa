//! The life of the service: read the config, ask the servers as they are due, judge, steer, tell.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;
use vakt_wire::clock::{STEER_S_MAX, Wish};
use vakt_wire::config::{self, TIME_SERVERS_MAX, TimeHost, TimeServer};
use vakt_wire::http::serve_all;
use vakt_wire::life::Life;
use vakt_wire::listen::{Address, Inherited};

use crate::api::Api;
use crate::board::{Board, Server, Standing};
use crate::discipline::{Action, Discipline};
use crate::select::{Candidate, Chosen, select};
use crate::source::Source;
use crate::wall::{self, Wall, WallError};

/// The list of DHCP's servers is read this often, and a turn lasts no longer.
const TURN_MAX: Duration = Duration::from_secs(2);

/// The loop's time constant: log2 of the seconds between two looks (64), less what the kernel's nanosecond loop has
/// by itself (4).
const CONSTANT: u8 = 2;

/// A larger error than this is not told to the kernel, which would call the clock unsynchronised.
const ERROR_S_MAX: f64 = 16.0;

/// An observed clock that is off by less is right.
const RIGHT_S: f64 = 0.128;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The machine config, or time's slice of it.
    pub config: PathBuf,
    /// Servers that DHCP named.
    pub learned: Option<PathBuf>,
    /// Addresses to serve the API on, beside the sockets that were handed over.
    pub listen: Vec<Address>,
    /// Where init listens, which then touches the clock instead of this process.
    pub init: Option<Address>,
    /// Never touch the clock.
    pub observe: bool,
}

/// Runs until SIGTERM, then drains.
///
/// # Errors
/// When the config or a listening address cannot be used. Servers that do not answer are no errors here.
pub async fn serve(options: Options) -> Result<()> {
    let life = Life::start().context("cannot handle signals")?;
    let text = std::fs::read_to_string(&options.config)
        .with_context(|| format!("cannot read {}", options.config.display()))?;
    let config = config::parse(&text).with_context(|| format!("config {}", options.config.display()))?;
    let listeners = Inherited::take().http("http", &options.listen)?;
    anyhow::ensure!(!listeners.is_empty(), "nowhere to listen; example: --listen unix:/run/vakt-time.sock");
    let wall = Arc::new(match &options.init {
        None => Wall::Own,
        Some(Address::Unix(socket)) => Wall::of_init(socket),
        Some(other) => {
            anyhow::bail!("--init {other} is no unix socket; example: --init unix:/run/vakt/init/http.sock")
        }
    });
    let board = Arc::new(Board::default());
    let tasks = TaskTracker::new();
    tasks.spawn(serve_all(
        listeners,
        Arc::new(Api { board: board.clone(), wall: wall.clone() }),
        life.stopping(),
    ));
    let keeper = Keeper {
        sources: config.time.servers.iter().cloned().map(Source::new).collect(),
        learned: options.learned.filter(|_| config.time.servers.is_empty()),
        discipline: Discipline::default(),
        may_steer: !options.observe,
        steps: 0,
        agreed: None,
        wall,
        board,
    };
    let (stop, told) = (life.stopping(), life.clone());
    tasks.spawn(async move { stop.run_until_cancelled(keeper.run(told)).await });
    life.ready("no server has answered yet");
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// All that keeps the clock.
struct Keeper {
    sources: Vec<Source>,
    /// Where DHCP's servers are listed; `None` when the config names its own.
    learned: Option<PathBuf>,
    discipline: Discipline,
    may_steer: bool,
    steps: u64,
    /// When servers agreed last: on the boot clock and on the wall's.
    agreed: Option<(u64, i64)>,
    wall: Arc<Wall>,
    board: Arc<Board>,
}

impl Keeper {
    async fn run(mut self, life: Life) {
        let mut line = String::new();
        loop {
            self.learn();
            if self.ask().await {
                self.judge().await;
            }
            let now = self.board.get().line();
            if now != line {
                life.status(&now);
                line = now;
            }
            let now_ms = wall::boot_ms();
            let next_ms = self.sources.iter().map(|source| source.due_ms).min().unwrap_or(u64::MAX);
            tokio::time::sleep(Duration::from_millis(next_ms.saturating_sub(now_ms)).min(TURN_MAX)).await;
        }
    }

    /// Takes DHCP's servers as they are now.
    fn learn(&mut self) {
        let Some(path) = &self.learned else { return };
        // Not there yet, or written at this moment: the next turn reads it again.
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let hosts: Vec<TimeHost> = text
            .lines()
            .take(TIME_SERVERS_MAX)
            .filter_map(|line| TimeHost::try_from(line.trim().to_owned()).ok())
            .collect();
        let before = self.sources.len();
        self.sources.retain(|source| hosts.contains(&source.server.host));
        let mut changed = before != self.sources.len();
        for host in hosts {
            if !self.sources.iter().any(|source| source.server.host == host) {
                self.sources.push(Source::new(TimeServer {
                    host,
                    nts: false,
                    port: None,
                    authorities: None,
                }));
                changed = true;
            }
        }
        if changed || self.sources.is_empty() {
            self.show(None, (self.sources.is_empty()).then(|| "no time server is known".to_owned()));
        }
    }

    /// Asks every server that is due, all at once. Returns whether one was.
    async fn ask(&mut self) -> bool {
        let now_ms = wall::boot_ms();
        let (due, waiting): (Vec<Source>, Vec<Source>) =
            std::mem::take(&mut self.sources).into_iter().partition(|source| source.due_ms <= now_ms);
        self.sources = waiting;
        let any = !due.is_empty();
        let clock_is_new = self.agreed.is_none();
        let mut asked = JoinSet::new();
        for mut source in due {
            asked.spawn(async move {
                source.ask(clock_is_new).await;
                source
            });
        }
        while let Some(source) = asked.join_next().await {
            self.sources.extend(source);
        }
        self.sources.sort_by(|one, other| one.server.host.as_str().cmp(other.server.host.as_str()));
        any
    }

    async fn judge(&mut self) {
        let now_ms = wall::boot_ms();
        let heard: Vec<(usize, Candidate)> = self
            .sources
            .iter()
            .enumerate()
            .filter_map(|(place, source)| Some((place, source.candidate(now_ms)?)))
            .collect();
        let candidates: Vec<Candidate> = heard.iter().map(|(_, candidate)| *candidate).collect();
        let Some(chosen) = select(&candidates) else {
            let reason =
                if candidates.is_empty() { "no server answers" } else { "servers contradict each other" };
            return self.show(None, Some(reason.into()));
        };
        // Places among the sources instead of among the candidates.
        let place = |at: usize| heard[at].0;
        let believed = chosen.believed.iter().copied().map(place).collect();
        let chosen = Chosen { best: place(chosen.best), believed, ..chosen };
        let refused = self.act(&chosen).await;
        if refused.is_none() {
            self.agreed = Some((now_ms, wall::unix_s()));
        }
        self.show(Some(&chosen), refused);
    }

    /// Does with the clock what is to be done. Returns why it was not.
    async fn act(&mut self, chosen: &Chosen) -> Option<String> {
        if !self.may_steer {
            return self.observed(chosen);
        }
        let leap = self.sources[chosen.best].last().map_or(0, |sample| sample.leap);
        let steer = |offset_s: f64| Wish::Steer {
            offset_s: offset_s.clamp(-STEER_S_MAX, STEER_S_MAX),
            error_s: chosen.distance_s.min(ERROR_S_MAX),
            constant: CONSTANT,
            leap,
        };
        let done = match self.discipline.decide(wall::unix_s(), chosen.offset_s) {
            Action::Wait => return None,
            Action::Refuse => return Some("servers agree on a time before this release".into()),
            Action::Steer(offset_s) => self.wall.ask(steer(offset_s)).await,
            Action::Step(offset_s) => match self.wall.ask(Wish::Step { offset_s }).await {
                Ok(()) => {
                    tracing::warn!(seconds = offset_s, "the clock was set");
                    self.steps += 1;
                    // What was measured before is of another clock.
                    self.sources.iter_mut().for_each(Source::forget);
                    self.wall.ask(steer(0.0)).await
                }
                Err(error) => Err(error),
            },
        };
        match done {
            Ok(()) => None,
            Err(WallError::NotOurs) => {
                tracing::info!("the clock is not ours to set; it is observed");
                self.may_steer = false;
                self.observed(chosen)
            }
            Err(error) => Some(format!("cannot set the clock: {error}")),
        }
    }

    /// What is wrong with a clock that is another's.
    fn observed(&self, chosen: &Chosen) -> Option<String> {
        (chosen.offset_s.abs() > RIGHT_S)
            .then(|| format!("the clock is off by {:.3} s and is not ours to set", chosen.offset_s))
    }

    fn show(&self, chosen: Option<&Chosen>, reason: Option<String>) {
        let believed = |place: usize| chosen.is_some_and(|chosen| chosen.believed.contains(&place));
        let from = if self.learned.is_some() { "dhcp" } else { "config" };
        let server = |(place, source): (usize, &Source)| Server {
            host: source.server.host.as_str().to_owned(),
            address: source.address,
            nts: source.server.nts,
            from,
            believed: believed(place),
            offset_s: source.last().map(|sample| sample.offset_s),
            delay_s: source.last().map(|sample| sample.delay_s),
            stratum: source.last().map(|sample| sample.stratum),
            error: source.error.clone(),
        };
        let best = chosen.map(|chosen| &self.sources[chosen.best]);
        self.board.put(Standing {
            synchronised: chosen.is_some() && reason.is_none(),
            clock: if self.may_steer { "steered" } else { "observed" },
            offset_s: chosen.map(|chosen| chosen.offset_s),
            error_s: chosen.map(|chosen| chosen.distance_s),
            stratum: best.and_then(Source::last).map(|sample| sample.stratum),
            source: best.map(|source| source.server.host.as_str().to_owned()),
            last_sync: self
                .agreed
                .map(|(_, at_s)| vakt_wire::time::rfc3339(at_s.saturating_mul(1_000_000_000))),
            steps: self.steps,
            reason,
            servers: self.sources.iter().enumerate().map(server).collect(),
            agreed_ms: self.agreed.map(|(at_ms, _)| at_ms),
        });
    }
}
