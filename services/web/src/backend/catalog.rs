//! The store's catalog: JSON documents by table and key.

use std::path::Path;

use hyper::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use vakt_wire::http::{CallError, Client};

use crate::form::encode;

/// A caller of the catalog.
#[derive(Clone, Debug)]
pub struct Catalog(Client);

impl Catalog {
    /// The catalog of the store at `socket`.
    pub fn new(socket: &Path) -> Catalog {
        Catalog(super::client(socket))
    }

    /// A document, or `None` when there is none of that key.
    ///
    /// # Errors
    /// When the store does not answer, or with something else.
    pub async fn get<T: DeserializeOwned>(&self, table: &str, key: &str) -> Result<Option<T>, CallError> {
        match self.0.get(&path(table, key)).await {
            Ok(value) => Ok(Some(value)),
            Err(CallError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts a document in its place.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn put(&self, table: &str, key: &str, value: &impl Serialize) -> Result<(), CallError> {
        let _: serde::de::IgnoredAny = self.0.send(Method::PUT, &path(table, key), value).await?;
        Ok(())
    }

    /// Removes a document; one that is not there is no error.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn delete(&self, table: &str, key: &str) -> Result<(), CallError> {
        match self.0.call(Method::DELETE, &path(table, key), "application/json", "").await {
            Ok(_) | Err(CallError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Is there no document in the table?
    ///
    /// # Errors
    /// When the store does not answer, or with something else.
    pub async fn is_empty(&self, table: &str) -> Result<bool, CallError> {
        #[derive(serde::Deserialize)]
        struct Page {
            items: Vec<serde::de::IgnoredAny>,
        }
        let page: Page = self.0.get(&format!("/catalog/v1/{table}?limit=1")).await?;
        Ok(page.items.is_empty())
    }
}

fn path(table: &str, key: &str) -> String {
    format!("/catalog/v1/{table}/{}", encode(key))
}
