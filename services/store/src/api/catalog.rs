//! `/catalog/v1/<table>/<key>`: small JSON documents by key.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use vakt_wire::form::decode;
use vakt_wire::http::{Request, Response, error, json as answer, read};

use super::Api;
use super::form::Form;
use crate::catalog::{Catalog, CatalogError, PAGE_ITEMS_MAX, VALUE_BYTES_MAX};

/// Where the catalog's paths begin.
pub const PREFIX: &str = "/catalog/v1/";

/// Items of a page when the caller names no limit.
const PAGE_ITEMS_DEFAULT: usize = 100;

impl Api {
    pub(super) async fn catalog(&self, request: Request) -> Response {
        let catalog = match &self.catalog {
            Ok(catalog) => catalog.clone(),
            Err(reason) => {
                return error(StatusCode::SERVICE_UNAVAILABLE, format_args!("catalog is not open: {reason}"));
            }
        };
        let rest = request.path().strip_prefix(PREFIX).unwrap_or_default();
        let (table, key) = match rest.split_once('/') {
            Some((table, key)) => (table.to_owned(), Some(decode(key, false)).filter(|key| !key.is_empty())),
            None => (rest.to_owned(), None),
        };
        match (request.method().clone(), key) {
            (Method::GET, Some(key)) => {
                self.call(catalog, move |catalog| match catalog.get(&table, &key)? {
                    Some(bytes) => Ok(answer(StatusCode::OK, &document(&bytes))),
                    None => Ok(error(StatusCode::NOT_FOUND, format_args!("{table}/{key}: no such document"))),
                })
                .await
            }
            (Method::GET, None) => self.list(catalog, table, request).await,
            (Method::PUT, Some(key)) => self.put(catalog, table, key, request).await,
            (Method::DELETE, Some(key)) => {
                self.call(catalog, move |catalog| {
                    let status =
                        if catalog.delete(&table, &key)? { StatusCode::OK } else { StatusCode::NOT_FOUND };
                    Ok(answer(status, &json!({})))
                })
                .await
            }
            (method, _) => {
                error(StatusCode::METHOD_NOT_ALLOWED, format_args!("{method} is not for the catalog"))
            }
        }
    }

    async fn list(&self, catalog: Arc<Catalog>, table: String, request: Request) -> Response {
        let form = match Form::of(request).await {
            Ok(form) => form,
            Err(reason) => return error(StatusCode::BAD_REQUEST, reason),
        };
        let limit = match form.limit("limit") {
            Ok(limit) => limit.unwrap_or(PAGE_ITEMS_DEFAULT).min(PAGE_ITEMS_MAX),
            Err(reason) => return error(StatusCode::BAD_REQUEST, reason),
        };
        self.call(catalog, move |catalog| {
            let page = catalog.list(&table, form.get("after"), limit)?;
            let items: Vec<Value> = page
                .items
                .iter()
                .map(|(key, bytes)| json!({ "key": key, "value": document(bytes) }))
                .collect();
            Ok(answer(StatusCode::OK, &json!({ "items": items, "next": page.next })))
        })
        .await
    }

    async fn put(&self, catalog: Arc<Catalog>, table: String, key: String, request: Request) -> Response {
        let body = match read(request.body, VALUE_BYTES_MAX).await {
            Ok(body) => body,
            Err(reason) => return error(StatusCode::PAYLOAD_TOO_LARGE, reason),
        };
        if let Err(reason) = serde_json::from_slice::<serde::de::IgnoredAny>(&body) {
            return error(StatusCode::BAD_REQUEST, format_args!("{table}/{key}: body is no JSON: {reason}"));
        }
        self.call(catalog, move |catalog| {
            let created = catalog.put(&table, &key, &body)?;
            Ok(answer(if created { StatusCode::CREATED } else { StatusCode::OK }, &json!({})))
        })
        .await
    }

    /// Runs `work` on a thread where it may wait for the disk.
    async fn call<F>(&self, catalog: Arc<Catalog>, work: F) -> Response
    where
        F: FnOnce(&Catalog) -> Result<Response, CatalogError> + Send + 'static,
    {
        let turn = self.catalog_calls.clone().acquire_owned().await;
        let worked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&catalog)
        });
        match worked.await {
            Ok(Ok(response)) => response,
            Ok(Err(reason)) => {
                let status = match &reason {
                    CatalogError::Table(_) => StatusCode::NOT_FOUND,
                    CatalogError::Key(_) => StatusCode::BAD_REQUEST,
                    CatalogError::Exists { .. } => StatusCode::CONFLICT,
                    CatalogError::AppendOnly(_) => StatusCode::METHOD_NOT_ALLOWED,
                    CatalogError::Database { .. } => StatusCode::SERVICE_UNAVAILABLE,
                };
                error(status, reason)
            }
            Err(reason) => error(StatusCode::INTERNAL_SERVER_ERROR, format_args!("call broke off: {reason}")),
        }
    }
}

/// A stored document; what was stored was JSON.
fn document(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or(Value::Null)
}
