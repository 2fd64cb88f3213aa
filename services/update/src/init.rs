//! What init does for an update: tell what runs, take the other slot off the boot menu, put it on again.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde::{Deserialize, Serialize};
use vakt_wire::http::Client;

use crate::digest::Sha256;
use crate::refusal::Refusal;
use crate::version::Version;

/// How long init may take to copy a UKI of at most 31 MiB to the ESP.
const STAGE_WITHIN: Duration = Duration::from_secs(120);

/// How long it may take to remove one.
const CLEAR_WITHIN: Duration = Duration::from_secs(60);

/// How often it is asked whether it has.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// A caller of init.
#[derive(Clone, Debug)]
pub struct Init(Client);

/// What init is asked to make bootable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// The version in the slot.
    pub version: Version,
    /// Where its UKI begins in the slot.
    pub uki_offset: u64,
    /// The UKI's size.
    pub uki_length: u64,
    /// The UKI's hash.
    pub uki_sha256: Sha256,
}

/// `GET /v1/slots`, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Slots {
    running: Running,
    slots: Vec<Slot>,
    staging: Option<Staging>,
    /// Whether init still works on the boot partition; it says so where it does that beside its answers.
    #[serde(default)]
    busy: bool,
    /// Why its last work there failed.
    #[serde(default)]
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Running {
    slot: String,
    version: String,
}

#[derive(Debug, Deserialize)]
struct Slot {
    slot: String,
    state: String,
}

#[derive(Debug, Deserialize)]
struct Staging {
    version: String,
    done: bool,
    error: Option<String>,
}

impl Init {
    /// A caller of the init that listens at `socket`.
    pub fn new(socket: &Path) -> Init {
        Init(Client::unix(socket))
    }

    /// The version that runs.
    ///
    /// # Errors
    /// [`Refusal::Init`].
    pub async fn running(&self) -> Result<Version, Refusal> {
        let slots: Slots = self.0.get("/v1/slots").await?;
        slots.running.version.parse().map_err(|error| Refusal::Init(format!("running version: {error}")))
    }

    /// Takes the slot that does not run off the boot menu. Returns when it is off: from here on nothing half
    /// written can be booted.
    ///
    /// # Errors
    /// [`Refusal::Init`], also when it takes longer than a minute.
    pub async fn clear(&self) -> Result<(), Refusal> {
        self.0.call(Method::POST, "/v1/slots/clear", "application/json", Bytes::from_static(b"{}")).await?;
        let cleared = async {
            loop {
                let slots: Slots = self.0.get("/v1/slots").await?;
                let other = slots.slots.iter().find(|slot| slot.slot != slots.running.slot);
                match slots.error {
                    _ if slots.busy => {}
                    Some(error) => return Err(Refusal::Init(error)),
                    None if other.is_some_and(|slot| slot.state == "empty") => return Ok(()),
                    None => {}
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
        };
        let late = || Refusal::Init(format!("the slot was not cleared within {} s", CLEAR_WITHIN.as_secs()));
        tokio::time::timeout(CLEAR_WITHIN, cleared).await.map_err(|_| late())?
    }

    /// Puts the slot on the boot menu, to be tried at the next boot. Returns when that is on the disk.
    ///
    /// # Errors
    /// [`Refusal::Init`], also when it takes longer than two minutes.
    pub async fn stage(&self, stage: &Stage) -> Result<(), Refusal> {
        let _: serde_json::Value = self.0.send(Method::POST, "/v1/slots/stage", stage).await?;
        let staged = async {
            loop {
                let slots: Slots = self.0.get("/v1/slots").await?;
                let ours = slots.staging.filter(|staging| staging.version == stage.version.to_string());
                match ours {
                    Some(Staging { error: Some(error), .. }) => return Err(Refusal::Init(error)),
                    Some(Staging { done: true, .. }) => return Ok(()),
                    _ => tokio::time::sleep(ASK_EVERY).await,
                }
            }
        };
        let late = || Refusal::Init(format!("the slot was not staged within {} s", STAGE_WITHIN.as_secs()));
        tokio::time::timeout(STAGE_WITHIN, staged).await.map_err(|_| late())?
    }
}
