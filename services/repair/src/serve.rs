//! The life of the service: read the config, serve the pages, find the evidence, watch, stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Map;
use tokio_util::task::TaskTracker;
use vakt_peer::Target;
use vakt_wire::config::{self, MachineConfig};
use vakt_wire::http::{Client, serve_all};
use vakt_wire::life::Life;
use vakt_wire::listen::{Address, Inherited};

use crate::api::Api;
use crate::board::{Board, Link};
use crate::clock::Clock;
use crate::engine::Engine;
use crate::evidence::{Draft, Journal, REPAIRS_MAX, Step, load_or_make};
use crate::policy::{Policy, PolicySet};
use crate::watch::{Shared, Watcher};

/// Evidence that waits is tried again this often.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The machine config, or repair's slice of it.
    pub config: PathBuf,
    /// Addresses to serve the API on, beside the sockets that were handed over.
    pub listen: Vec<Address>,
    /// The store's socket.
    pub store: PathBuf,
    /// The signing key's file.
    pub key: PathBuf,
}

/// Runs until SIGTERM, then drains.
///
/// # Errors
/// When the config, the key or a listening address cannot be used. Policies that are wrong, machines that
/// cannot be reached and a store that is away are no errors here: they are shown, and tried again.
pub async fn serve(options: Options) -> Result<()> {
    let life = Life::start().context("cannot handle signals")?;
    let text = std::fs::read_to_string(&options.config)
        .with_context(|| format!("cannot read {}", options.config.display()))?;
    let config = config::parse(&text).with_context(|| format!("config {}", options.config.display()))?;
    let policies = PolicySet::of(&config);
    for refused in &policies.refused {
        let (policy, line, column, reason) = (&refused.name, refused.line, refused.column, &refused.reason);
        tracing::error!(policy, line, column, reason, "policy refused; the others stay in force");
    }
    let listeners = Inherited::take().http("http", &options.listen)?;
    anyhow::ensure!(!listeners.is_empty(), "nowhere to listen; example: --listen unix:/run/vakt-repair.sock");

    let clock = Clock::start();
    let journal = Arc::new(Journal::new(Client::unix(&options.store), load_or_make(&options.key)?));
    let board = Arc::new(Board::new(clock));
    let shared = Shared { clock, journal, board, stop: life.stopping() };
    let api =
        Api { policies: policies.clone(), board: shared.board.clone(), journal: shared.journal.clone() };
    let tasks = TaskTracker::new();
    tasks.spawn(serve_all(listeners, Arc::new(api), life.stopping()));
    tasks.spawn(work(config, policies.valid, shared.clone(), life.clone()));
    life.ready("waiting for the store");
    tasks.close();
    tasks.wait().await;
    shared.journal.flush().await;
    Ok(())
}

/// Finds the evidence, then watches every machine until the service stops.
async fn work(config: MachineConfig, policies: Vec<Policy>, shared: Shared, life: Life) {
    let targets = targets(&config, &policies, &shared.board);
    if !find_evidence(&shared).await {
        return;
    }
    close_interrupted(&shared).await;
    let watchers = TaskTracker::new();
    let count = targets.len();
    for target in targets {
        let engines = engines(&target, &policies, &shared).await;
        watchers.spawn(Watcher::new(target, engines, shared.clone()).run());
    }
    life.status(&format!("{} policies on {count} machines", policies.len()));
    watchers.close();
    // Beside the watchers, which wait for nothing that is not recorded yet.
    let flush = async {
        loop {
            tokio::time::sleep(FLUSH_EVERY).await;
            shared.journal.flush().await;
        }
    };
    let all_ended = async {
        shared.stop.cancelled().await;
        watchers.wait().await;
    };
    tokio::select! { () = flush => {}, () = all_ended => {} }
}

/// The machines that a policy is about, as far as they can be connected to; all go up on the board.
fn targets(config: &MachineConfig, policies: &[Policy], board: &Board) -> Vec<Target> {
    let mut targets = Vec::new();
    for peer in &config.peers {
        let name = peer.name.as_str();
        board.add(name, peer.address.as_str(), Link::WaitingForEvidence);
        if !policies.iter().any(|policy| policy.peers.include(name)) {
            board.link(name, Link::Idle, None, None);
            continue;
        }
        let Some(key) = &config.ssh.repair_key else {
            let why = "there is no [ssh] repair_key in the config".to_owned();
            board.link(name, Link::NoKey, Some(why), None);
            continue;
        };
        match Target::repair(peer, key) {
            Ok(target) => targets.push(target),
            Err(error) => {
                tracing::error!(peer = name, %error, "cannot watch a machine");
                board.link(name, Link::Disconnected, Some(error.to_string()), None);
            }
        }
    }
    targets
}

/// Waits until the chain was read from the store. False when the service is to stop before.
async fn find_evidence(shared: &Shared) -> bool {
    loop {
        shared.journal.flush().await;
        if shared.journal.standing().await.head.is_some() {
            return true;
        }
        tokio::select! {
            () = shared.stop.cancelled() => return false,
            () = tokio::time::sleep(FLUSH_EVERY) => {}
        }
    }
}

/// Repairs that the last run of this service left in the middle.
async fn close_interrupted(shared: &Shared) {
    for repair in shared.journal.repairs(REPAIRS_MAX).await.into_iter().rev() {
        if repair.is_over() {
            continue;
        }
        let reason = "found unfinished at the start of the service";
        let draft = Draft {
            at_ms: shared.clock.wall_ms(),
            repair: Some(repair.id),
            policy: repair.policy,
            peer: repair.peer,
            unit: repair.unit,
            step: Step::Interrupted,
            detail: Map::from_iter([("reason".to_owned(), reason.into())]),
        };
        shared.journal.record_later(draft).await;
    }
}

/// The engines of one machine, which remember the calls that evidence tells of.
async fn engines(target: &Target, policies: &[Policy], shared: &Shared) -> Vec<Engine> {
    let mut repairs = shared.journal.repairs(REPAIRS_MAX).await;
    repairs.reverse();
    let mine = policies.iter().filter(|policy| policy.peers.include(target.name()));
    let engine = |policy: &Policy| {
        let same = |peer: &str, name: &str| peer == target.name() && name == policy.name.as_str();
        let calls = repairs.iter().filter(|repair| same(&repair.peer, &repair.policy));
        let called = calls.filter_map(|repair| Some(shared.clock.moment_of(repair.called_ms()?)));
        Engine::new(policy.clone(), called)
    };
    mine.map(engine).collect()
}
