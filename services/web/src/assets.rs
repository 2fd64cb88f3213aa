//! The files that pages refer to. Their names hold their hash, so browsers may keep them for ever.

use std::sync::LazyLock;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use vakt_wire::http::{Response, full};

use crate::error::PageError;
use crate::random::sha256_hex;

const STYLE: &str = include_str!("../assets/style.css");
const MARK: &str = include_str!("../assets/mark.svg");

static STYLE_PATH: LazyLock<String> =
    LazyLock::new(|| format!("/static/style-{}.css", &sha256_hex(&[STYLE.as_bytes()])[..12]));

/// Where the stylesheet is.
pub fn style_path() -> &'static str {
    &STYLE_PATH
}

/// The asset at `path`.
///
/// # Errors
/// [`PageError::NotFound`].
pub fn serve(path: &str) -> Result<Response, PageError> {
    let (body, kind, keep) = match path {
        path if path == style_path() => {
            (STYLE, "text/css; charset=utf-8", "public, max-age=31536000, immutable")
        }
        "/static/mark.svg" | "/favicon.ico" => (MARK, "image/svg+xml", "public, max-age=86400"),
        _ => return Err(PageError::NotFound),
    };
    let mut response = Response::new(full(body));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(keep));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stylesheet_is_kept_and_refers_to_nothing_outside() {
        let response = serve(style_path()).unwrap();
        assert!(response.headers()[CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        assert!(!STYLE.contains("http") && !STYLE.contains("@import") && !STYLE.contains("url("));
        assert_eq!(serve("/static/style-0.css").unwrap_err(), PageError::NotFound);
    }
}
