//! Users: the machine config's administrator, and those made on the pages, in the store's catalog.

use serde::{Deserialize, Serialize};
use vakt_wire::config::Admin;
use vakt_wire::http::CallError;

use crate::backend::catalog::Catalog;

/// A user of the catalog; the key is the name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// argon2id in PHC form.
    pub password_hash: String,
    /// When the user was made, seconds since the epoch.
    pub created_s: i64,
}

/// Everybody who may sign in.
#[derive(Debug)]
pub struct Users {
    config: Option<Admin>,
    catalog: Catalog,
}

impl Users {
    /// The config's administrator, if any, and the catalog's users.
    pub fn new(config: Option<Admin>, catalog: Catalog) -> Users {
        Users { config, catalog }
    }

    /// The password hash of `name`; `None` when there is no such user. The config's administrator needs
    /// no store.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn hash_of(&self, name: &str) -> Result<Option<String>, CallError> {
        if let Some(admin) = self.config.as_ref().filter(|admin| admin.user.as_str() == name) {
            return Ok(Some(admin.password_hash.as_str().to_owned()));
        }
        if name.is_empty() {
            return Ok(None);
        }
        Ok(self.catalog.get::<User>("users", name).await?.map(|user| user.password_hash))
    }

    /// Is there anybody who could sign in?
    ///
    /// # Errors
    /// When the store does not answer and the config has no administrator.
    pub async fn any(&self) -> Result<bool, CallError> {
        if self.config.is_some() {
            return Ok(true);
        }
        self.catalog.is_empty("users").await.map(|empty| !empty)
    }

    /// Adds a user.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn add(&self, name: &str, user: &User) -> Result<(), CallError> {
        self.catalog.put("users", name, user).await
    }
}
