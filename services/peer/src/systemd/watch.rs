//! Being told when units change.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_core::Stream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use zbus::{MatchRule, MessageStream, message};

use super::{BusError, SERVICE, Systemd, UnitName};

/// Units that one connection watches: one match rule each, of the 512 that the system bus grants
/// (max_match_rules_per_connection).
pub const WATCHED_UNITS_MAX: usize = 256;

/// Signals of one unit that may wait to be taken; they only set a flag, so a burst costs nothing.
const SIGNALS_QUEUED: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not 0");

/// Says which units changed. Changes of one unit that nobody asked about yet are told once, so
/// nothing grows and nothing is lost. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    changed: Arc<Changed>,
    _listeners: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Changed {
    units: Mutex<BTreeSet<UnitName>>,
    lost: Mutex<bool>,
    told: Notify,
}

impl Systemd {
    /// Watches `units` by their PropertiesChanged signals.
    ///
    /// # Errors
    /// [`BusError::TooMany`] beyond [`WATCHED_UNITS_MAX`]; [`BusError::Closed`] and
    /// [`BusError::Answer`] when the bus does not take the rules.
    pub async fn watch(&self, units: &[UnitName]) -> Result<Watch, BusError> {
        if units.len() > WATCHED_UNITS_MAX {
            return Err(BusError::TooMany { peer: self.peer.to_string(), asked: units.len() });
        }
        let changed = Arc::new(Changed::default());
        let mut listeners = JoinSet::new();
        for unit in units {
            let stream = self.signals_of(unit).await?;
            listeners.spawn(listen(stream, unit.clone(), changed.clone()));
        }
        Ok(Watch { changed, _listeners: listeners })
    }

    async fn signals_of(&self, unit: &UnitName) -> Result<MessageStream, BusError> {
        let failed = |error| self.failed(unit, error);
        let path = self.manager.load_unit(unit.as_str()).await.map_err(failed)?;
        let rule = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .sender(SERVICE)
            .interface("org.freedesktop.DBus.Properties")
            .member("PropertiesChanged")
            .path(path)
            .build()
            .map_err(failed)?;
        MessageStream::for_match_rule(rule, &self.bus, Some(SIGNALS_QUEUED)).await.map_err(failed)
    }
}

async fn listen(mut stream: MessageStream, unit: UnitName, changed: Arc<Changed>) {
    while let Some(Ok(_)) = std::future::poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await {
        locked(&changed.units).insert(unit.clone());
        changed.told.notify_one();
    }
    *locked(&changed.lost) = true;
    changed.told.notify_one();
}

impl Watch {
    /// Waits until a unit changed, and returns every unit that did since the last call; `None` once
    /// the bus is gone.
    pub async fn changed(&mut self) -> Option<BTreeSet<UnitName>> {
        loop {
            let units = std::mem::take(&mut *locked(&self.changed.units));
            if !units.is_empty() {
                return Some(units);
            }
            if *locked(&self.changed.lost) {
                return None;
            }
            self.changed.told.notified().await;
        }
    }
}

/// What a panicking holder left is still a set of names.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
