//! The life of the service: read the config, take the slot, serve, look at the repository now and then, stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;
use vakt_wire::config::{self, MachineConfig, Update};
use vakt_wire::http::serve_all;
use vakt_wire::life::Life;
use vakt_wire::listen::{Address, Inherited};

use crate::api::Api;
use crate::board::Board;
use crate::fetch::Remote;
use crate::init::Init;
use crate::install::Updater;
use crate::slot::Slot;
use crate::trust::Anchor;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The machine config, or update's slice of it; nothing is configured without.
    pub config: Option<PathBuf>,
    /// Addresses to serve the API on, beside the sockets that were handed over.
    pub listen: Vec<Address>,
    /// The service's own directory.
    pub data: PathBuf,
    /// A file in the place of the slot that is handed over.
    pub slot: Option<PathBuf>,
    /// init's socket.
    pub init: Address,
    /// The trusted root.json.
    pub root: PathBuf,
    /// When the repository is looked at first, or an interrupted install goes on; and how far apart tries to go on are.
    pub first_look: Duration,
}

/// Runs until SIGTERM, then drains. An install under way ends with the service, and is continued by the next one.
///
/// # Errors
/// When config, directory, slot or a listening address cannot be used. A repository that cannot be used is no
/// error here: it is shown.
pub async fn serve(options: Options) -> Result<()> {
    let life = Life::start().context("cannot handle signals")?;
    let config = read_config(&options)?.update;
    let mut inherited = Inherited::take();
    let slot = open_slot(&options, &mut inherited)?;
    let listeners = inherited.http("http", &options.listen)?;
    anyhow::ensure!(!listeners.is_empty(), "nowhere to listen; example: --listen unix:/run/vakt-update.sock");
    std::fs::create_dir_all(&options.data)
        .with_context(|| format!("cannot make {}", options.data.display()))?;
    let Address::Unix(init) = &options.init else {
        anyhow::bail!(
            "--init {} is no unix socket; example: --init unix:/run/vakt/init/http.sock",
            options.init
        );
    };

    let repository = config.repository.as_ref().map(ToString::to_string);
    let board = Board::open(&options.data, repository, slot.as_ref().map(Slot::bytes));
    let anchor = Anchor { root: options.root.clone(), data: options.data.clone() };
    let updater = Updater::new(anchor, remote(&config), slot, Init::new(init), Arc::new(board));
    let updater = Arc::new(updater);
    // An init that does not answer yet costs a word on the page, and is asked again at each install.
    if let Ok(running) = updater.init.running().await {
        updater.board.running(running);
    }
    if updater.remote.is_ok() {
        let (first, every) = (options.first_look, config.check.every());
        tokio::spawn(look_now_and_then(updater.clone(), first, every, life.stopping()));
    }
    life.ready(updater.remote.as_ref().map_or("uploads only", |_| "waiting"));
    serve_all(listeners, Arc::new(Api { updater }), life.stopping()).await;
    Ok(())
}

fn read_config(options: &Options) -> Result<MachineConfig> {
    let Some(path) = &options.config else { return Ok(MachineConfig::default()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    config::parse(&text).with_context(|| format!("config {}", path.display()))
}

fn open_slot(options: &Options, inherited: &mut Inherited) -> Result<Option<Slot>> {
    if let Some(path) = &options.slot {
        let slot = Slot::open(path).with_context(|| format!("cannot open the slot {}", path.display()))?;
        return Ok(Some(slot));
    }
    let handed_over = inherited.named("slot").into_iter().next();
    handed_over.map(Slot::from_fd).transpose().context("cannot use the slot that was handed over")
}

fn remote(config: &Update) -> std::result::Result<Remote, String> {
    let Some(url) = &config.repository else {
        return Err("no repository is configured; write [update] repository = \"https://...\"".into());
    };
    Remote::new(url, config.authorities.as_ref()).map_err(|refusal| {
        tracing::error!("{refusal}");
        refusal.to_string()
    })
}

/// Goes on with an install that was interrupted, and then looks at the repository every so often, if that is wished.
async fn look_now_and_then(
    updater: Arc<Updater>,
    first: Duration,
    every: Option<Duration>,
    stop: CancellationToken,
) {
    let mut wait = first;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        match updater.turn() {
            Some(turn) if updater.board.is_to_resume() => updater.resume(turn).await,
            Some(turn) if every.is_some() => updater.check(turn).await,
            _ => {}
        }
        wait = match every {
            _ if updater.board.is_to_resume() => first,
            Some(every) => every,
            None => return,
        };
    }
}
