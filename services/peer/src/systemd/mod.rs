//! systemd on the peer: read a unit's state, watch units, and five verbs.
//!
//! Nothing here retries: whether a call is made again is the decision of who called.

mod apply;
mod names;
mod proxy;
mod state;
mod watch;

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};
use zbus::fdo::PropertiesProxy;
use zbus::names::InterfaceName;
use zbus::proxy::CacheProperties;
use zbus::{DBusError, OwnedObjectPath};

pub use apply::{Applied, VerbError};
pub use names::{UNIT_NAME_BYTES_MAX, UnitName, Verb};
pub use state::{ActiveState, UnitState};
pub use watch::{WATCHED_UNITS_MAX, Watch};

use crate::{ExecError, Session};

/// D-Bus calls in flight on one connection; further ones wait. The system bus allows 128 pending
/// replies a connection (max_replies_per_connection in system.conf), and drops who goes beyond.
pub const CALLS_MAX: usize = 64;

const SERVICE: &str = "org.freedesktop.systemd1";
const UNIT_INTERFACE: InterfaceName<'static> =
    InterfaceName::from_static_str_unchecked("org.freedesktop.systemd1.Unit");
const SERVICE_INTERFACE: InterfaceName<'static> =
    InterfaceName::from_static_str_unchecked("org.freedesktop.systemd1.Service");

/// Why the bus did not answer a question.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The bus, or the SSH connection below it, is gone or was never there.
    #[error("peer {peer}: no system bus: {reason}")]
    Closed {
        /// The peer's name.
        peer: String,
        /// What went wrong.
        reason: String,
    },
    /// The uid could not be learned.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// systemd answered with an error.
    #[error("peer {peer}: {unit}: {reason}")]
    Answer {
        /// The peer's name.
        peer: String,
        /// The unit that was asked about.
        unit: String,
        /// systemd's words.
        reason: String,
    },
    /// More units than one connection may watch.
    #[error("peer {peer}: {asked} units to watch; at most {WATCHED_UNITS_MAX}")]
    TooMany {
        /// The peer's name.
        peer: String,
        /// How many were asked for.
        asked: usize,
    },
}

/// systemd on one peer. Cheap to clone. It works as long as its [`Session`] is open.
#[derive(Clone)]
pub struct Systemd {
    peer: Arc<str>,
    bus: zbus::Connection,
    manager: proxy::ManagerProxy<'static>,
    calls: Arc<Semaphore>,
}

impl std::fmt::Debug for Systemd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Systemd({}, {} calls in flight)", self.peer, CALLS_MAX - self.calls.available_permits())
    }
}

impl Session {
    /// Opens the peer's system bus and greets systemd. One bus connection a call: keep the result.
    ///
    /// # Errors
    /// [`BusError::Closed`] and [`BusError::Exec`].
    pub async fn systemd(&self) -> Result<Systemd, BusError> {
        let bus = self.bus().await?;
        let closed = |error: zbus::Error| self.bus_closed(error.to_string());
        let manager = proxy::ManagerProxy::builder(&bus)
            .cache_properties(CacheProperties::No)
            .build()
            .await
            .map_err(closed)?;
        manager.subscribe().await.map_err(closed)?;
        Ok(Systemd {
            peer: self.target().name().into(),
            bus,
            manager,
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
        })
    }
}

impl Systemd {
    /// The unit's state as systemd has it now. A unit that does not exist is no error: its `load` is
    /// `not-found`.
    ///
    /// # Errors
    /// [`BusError::Closed`] and [`BusError::Answer`].
    pub async fn state(&self, unit: &UnitName) -> Result<UnitState, BusError> {
        let _place = self.place().await?;
        let failed = |error| self.failed(unit, error);
        let path = self.manager.load_unit(unit.as_str()).await.map_err(failed)?;
        let properties = self.properties(path).await.map_err(failed)?;
        let failed = |error: zbus::fdo::Error| self.failed(unit, error.into());
        let of_unit = properties.get_all(UNIT_INTERFACE).await.map_err(failed)?;
        let of_service = match unit.is_service() {
            true => Some(properties.get_all(SERVICE_INTERFACE).await.map_err(failed)?),
            false => None,
        };
        Ok(UnitState::of(&of_unit, of_service.as_ref()))
    }

    async fn properties(&self, path: OwnedObjectPath) -> zbus::Result<PropertiesProxy<'static>> {
        PropertiesProxy::builder(&self.bus).destination(SERVICE).path(path).build().await
    }

    async fn place(&self) -> Result<SemaphorePermit<'_>, BusError> {
        self.calls.acquire().await.map_err(|_| self.closed("the connection is closed"))
    }

    fn closed(&self, reason: impl std::fmt::Display) -> BusError {
        BusError::Closed { peer: self.peer.to_string(), reason: reason.to_string() }
    }

    /// An error answer is about the unit; everything else means that the bus is gone.
    fn failed(&self, unit: &UnitName, error: zbus::Error) -> BusError {
        match answered(error) {
            Ok(answer) => {
                BusError::Answer { peer: self.peer.to_string(), unit: unit.to_string(), reason: answer.text }
            }
            Err(lost) => self.closed(lost),
        }
    }
}

/// An error that the other side sent.
struct Answer {
    /// Its D-Bus name.
    name: String,
    /// Its words, or its name when it had none.
    text: String,
}

/// The other side's answer, or the error back when there was none: then nobody knows what happened.
fn answered(error: zbus::Error) -> Result<Answer, zbus::Error> {
    let (name, text) = match &error {
        zbus::Error::MethodError(name, text, _) => (name.to_string(), text.clone()),
        zbus::Error::FDO(inner) => match &**inner {
            // The bus itself says these when systemd died or is too slow.
            zbus::fdo::Error::ZBus(_)
            | zbus::fdo::Error::NoReply(_)
            | zbus::fdo::Error::Disconnected(_)
            | zbus::fdo::Error::Timeout(_)
            | zbus::fdo::Error::TimedOut(_) => return Err(error),
            inner => (inner.name().to_string(), inner.description().map(str::to_owned)),
        },
        _ => return Err(error),
    };
    let text = text.filter(|text| !text.is_empty()).unwrap_or_else(|| name.clone());
    Ok(Answer { name, text })
}
