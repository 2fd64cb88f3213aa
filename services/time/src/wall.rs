//! The clock that this service keeps right: its own process', or init's, which judges what is asked of it.

use std::path::Path;

use hyper::{Method, StatusCode};
use vakt_wire::clock::{self, Timex, Wish};
use vakt_wire::http::{CallError, Client};

use crate::packet::Timestamp;

/// Whose hands are on the clock.
#[derive(Debug)]
pub enum Wall {
    /// This process', with CAP_SYS_TIME.
    Own,
    /// init's, asked over its socket.
    Init(Client),
}

/// Why the clock was not touched.
#[derive(Debug, thiserror::Error)]
pub enum WallError {
    /// It is another's: CAP_SYS_TIME is missing, or init keeps it from this service.
    #[error("the clock is not ours to set")]
    NotOurs,
    /// The kernel refused.
    #[error("{0}")]
    Kernel(std::io::Error),
    /// init does not answer, or has a reason.
    #[error(transparent)]
    Init(CallError),
}

impl Wall {
    /// init's clock, asked at its socket.
    pub fn of_init(socket: &Path) -> Wall {
        Wall::Init(Client::unix(socket))
    }

    /// Has a wish done.
    ///
    /// # Errors
    /// [`WallError`]; the clock is as it was.
    pub async fn ask(&self, wish: Wish) -> Result<(), WallError> {
        match self {
            Wall::Own => {
                wish.judged(unix_s()).map_err(std::io::Error::other).and_then(Wish::fulfil).map_err(|error| {
                    match error.kind() {
                        std::io::ErrorKind::PermissionDenied => WallError::NotOurs,
                        _ => WallError::Kernel(error),
                    }
                })
            }
            Wall::Init(init) => {
                let done: Result<serde::de::IgnoredAny, CallError> =
                    init.send(Method::POST, "/v1/clock", &wish).await;
                match done {
                    Ok(_) => Ok(()),
                    Err(CallError::Refused { status: StatusCode::FORBIDDEN, .. }) => Err(WallError::NotOurs),
                    Err(error) => Err(WallError::Init(error)),
                }
            }
        }
    }

    /// How the kernel steers it; `None` when that is not told.
    pub async fn look(&self) -> Option<Timex> {
        match self {
            Wall::Own => clock::look().ok(),
            Wall::Init(init) => init.get("/v1/clock").await.ok(),
        }
    }
}

/// The wall clock now.
pub fn now() -> Timestamp {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    Timestamp::of_unix(time.tv_sec, time.tv_nsec)
}

/// The wall clock in Unix seconds.
pub fn unix_s() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec
}

/// Milliseconds since the machine started, suspend included.
pub fn boot_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}
