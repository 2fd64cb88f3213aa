//! The life of the service: open the queue, write to every place, make room.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio_util::task::TaskTracker;
use vakt_wire::config;
use vakt_wire::http::serve_all;
use vakt_wire::life::Life;
use vakt_wire::listen::{Address, Inherited};
use vakt_wire::size::Size;

use crate::api::Api;
use crate::queue::{Cursor, Queue, start};
use crate::read::Reader;
use crate::send::Place;

/// How often room is made and the status line renewed. What is appended meanwhile is the queue's overshoot.
const TRIM_EVERY: Duration = Duration::from_secs(5);

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The machine config, or egress' slice of it.
    pub config: PathBuf,
    /// Where the queue is kept.
    pub data: PathBuf,
    /// How much the queue may take.
    pub queue_size: Size,
    /// Addresses to serve the API on, beside the sockets that were handed over.
    pub listen: Vec<Address>,
}

/// Runs until SIGTERM, then drains. What waits to be sent stays on the disk.
///
/// # Errors
/// When config, directory or a listening address cannot be used. A place that does not answer is none here.
pub async fn serve(options: Options) -> Result<()> {
    let life = Life::start().context("cannot handle signals")?;
    let text = std::fs::read_to_string(&options.config)
        .with_context(|| format!("cannot read {}", options.config.display()))?;
    let config = config::parse(&text).with_context(|| format!("config {}", options.config.display()))?;
    let listeners = Inherited::take().http("http", &options.listen)?;
    anyhow::ensure!(!listeners.is_empty(), "nowhere to listen; example: --listen unix:/run/vakt-egress.sock");
    let cursors = options.data.join("cursors");
    std::fs::create_dir_all(&cursors).with_context(|| format!("cannot make {}", cursors.display()))?;
    let bytes_max = options
        .queue_size
        .bytes(&options.data)
        .with_context(|| format!("cannot tell how large the disk of {} is", options.data.display()))?;
    let queue = Arc::new(Queue::open(&options.data, bytes_max)?);
    let places: Vec<Arc<Place>> = config
        .forwards
        .iter()
        .map(|forward| Place::new(forward, cursors.join(forward.name.as_str()), &queue).map(Arc::new))
        .collect::<Result<_, _>>()?;
    let names: BTreeSet<&str> = config.forwards.iter().map(|forward| forward.name.as_str()).collect();
    forget_others(&cursors, &names);
    for place in &places {
        // A new place begins here, also after a power cut a moment from now.
        let cursor = *place.cursor();
        place.moved(&cursor, 0);
    }
    let appender = start(queue.clone()).context("cannot start the queue's thread")?;
    let (tasks, stop) = (TaskTracker::new(), life.stopping());
    for place in &places {
        let run = place.clone().run(queue.clone(), appender.synced());
        let stop = stop.clone();
        tasks.spawn(async move { stop.run_until_cancelled(run).await });
    }
    let reader = config.read_from.as_ref().map(Reader::new).transpose()?;
    let api = Arc::new(Api { queue: queue.clone(), appender, places: places.clone(), reader });
    tasks.spawn(serve_all(listeners, api, life.stopping()));
    life.ready(&line(&places, &queue));
    let told = life.clone();
    tasks.spawn(async move { stop.run_until_cancelled(keep(places, queue, told)).await });
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// Makes room, and says how it stands.
async fn keep(places: Vec<Arc<Place>>, queue: Arc<Queue>, life: Life) {
    let mut said = String::new();
    loop {
        tokio::time::sleep(TRIM_EVERY).await;
        trim(&places, &queue);
        let now = line(&places, &queue);
        if now != said {
            life.status(&now);
            said = now;
        }
    }
}

fn trim(places: &[Arc<Place>], queue: &Queue) {
    let mut held: Vec<_> = places.iter().map(|place| place.cursor()).collect();
    let before: Vec<Cursor> = held.iter().map(|cursor| **cursor).collect();
    let mut cursors: Vec<&mut Cursor> = held.iter_mut().map(|cursor| &mut **cursor).collect();
    match queue.trim(&mut cursors) {
        Ok(lost) => {
            for ((place, lost), (cursor, before)) in places.iter().zip(lost).zip(held.iter().zip(before)) {
                if **cursor != before {
                    place.moved(cursor, lost);
                }
            }
        }
        Err(error) => tracing::error!(%error, "no room is made in the queue"),
    }
}

/// Removes the cursors of places that the config has no more; one that comes back begins anew.
fn forget_others(directory: &Path, names: &BTreeSet<&str>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_none_or(|name| !names.contains(name)) {
            // One that stays is found again at the next start.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn line(places: &[Arc<Place>], queue: &Queue) -> String {
    if places.is_empty() {
        return "nothing is sent anywhere".into();
    }
    let standings: Vec<_> = places.iter().map(|place| place.standing(queue)).collect();
    let waiting: u64 = standings.iter().map(|standing| standing.pending_samples).max().unwrap_or(0);
    match standings.iter().find_map(|standing| Some((&standing.name, standing.error.as_ref()?))) {
        Some((name, error)) => format!("{waiting} samples wait; {name}: {error}"),
        None => format!("{} places, {waiting} samples wait", places.len()),
    }
}
