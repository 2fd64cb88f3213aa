//! What all pages have in common: their shell, and the way from a template to an answer.

use askama::Template;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use vakt_wire::http::{Response, full};

use crate::assets;
use crate::error::PageError;

/// The frame around a page.
#[derive(Clone, Debug, Default)]
pub struct Shell {
    /// The page's heading, in the title bar too.
    pub title: String,
    /// The entry of the navigation that is marked.
    pub active: &'static str,
    /// Who is signed in; empty for a visitor, who sees no navigation.
    pub user: String,
    /// The token that the page's forms carry.
    pub form_token: String,
    /// The box' name.
    pub box_name: String,
}

impl Shell {
    /// The stylesheet's address, its hash in the name.
    pub fn style(&self) -> &'static str {
        assets::style_path()
    }

    /// Vakt's version.
    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}

/// A page as an answer.
///
/// # Errors
/// [`PageError::Internal`] when the template fails, which is logged.
pub fn html(status: StatusCode, page: &impl Template) -> Result<Response, PageError> {
    let text = page.render().map_err(|error| {
        tracing::error!(%error, "a template failed");
        PageError::Internal
    })?;
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    Ok(response)
}

/// "See there", after a form or for who must sign in first. An address that is no header value leads
/// to the overview.
pub fn redirect(to: &str) -> Response {
    let mut response = Response::new(vakt_wire::http::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, to);
    response
}
