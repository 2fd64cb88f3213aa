//! init: the machine config and its history.

use hyper::Method;
use serde::{Deserialize, Serialize};
use vakt_wire::http::{CallError, Client};

/// A caller of init for the config.
#[derive(Clone, Debug)]
pub struct Config(pub(super) Client);

/// A revision, without its text in a list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Revision {
    /// Its number.
    pub number: u64,
    /// When it was applied, in Unix seconds.
    pub at_s: i64,
    /// By whom.
    pub by: String,
    /// Why.
    pub why: String,
    /// Why it was undone.
    pub undone: Option<String>,
    /// Is it what the box runs by?
    pub in_force: bool,
    /// The document, with `(kept)` for its secrets.
    pub text: String,
}

/// A change that waits.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pending {
    /// The change.
    #[serde(flatten)]
    pub revision: Revision,
    /// Is it in force, or does it wait for a boot?
    pub on_trial: bool,
    /// Seconds that its trial has left.
    pub seconds_left: Option<i64>,
}

/// What is in force.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct State {
    /// The revision in force.
    #[serde(flatten)]
    pub revision: Revision,
    /// The number of the one that was confirmed last: what a change is made from.
    pub settled: u64,
    /// What waits.
    pub pending: Option<Pending>,
    /// Why an offered config is not in force.
    pub refused: Option<String>,
}

/// What a change does.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Forecast {
    /// Services that begin anew.
    pub restarts: Vec<String>,
    /// Must it be confirmed?
    pub needs_confirmation: bool,
}

/// A wish; `None` is not sent.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Wish {
    /// The document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
    /// What it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<u64>,
    /// Which revision it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Length of its trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_within_s: Option<u32>,
}

#[derive(Deserialize)]
struct History {
    revisions: Vec<Revision>,
}

impl Config {
    /// What is in force, and what waits.
    ///
    /// # Errors
    /// When init does not answer.
    pub async fn state(&self) -> Result<State, CallError> {
        self.0.get("/v1/config").await
    }

    /// Every revision that is kept, oldest first, without texts.
    ///
    /// # Errors
    /// When init does not answer.
    pub async fn history(&self) -> Result<Vec<Revision>, CallError> {
        Ok(self.0.get::<History>("/v1/config/history").await?.revisions)
    }

    /// What a document would do.
    ///
    /// # Errors
    /// [`CallError::Refused`] with what is wrong with it.
    pub async fn validate(&self, wish: &Wish) -> Result<Forecast, CallError> {
        self.0.send(Method::POST, "/v1/config/validate", wish).await
    }

    /// `apply`, `confirm`, `take-back` or `rollback`.
    ///
    /// # Errors
    /// [`CallError::Refused`] with the reason.
    pub async fn change(&self, verb: &str, wish: &Wish) -> Result<serde_json::Value, CallError> {
        self.0.send(Method::POST, &format!("/v1/config/{verb}"), wish).await
    }

    /// Passes a program's request on as it is and returns init's answer.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn raw(&self, method: Method, path: &str, body: Vec<u8>) -> Result<bytes::Bytes, CallError> {
        self.0.call(method, path, "application/json", body).await
    }
}
