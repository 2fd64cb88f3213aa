//! The headers that every answer carries, each with its reason.

use hyper::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use vakt_wire::http::Response;

/// The content security policy, directive by directive.
const POLICY: [&str; 6] = [
    // Nothing is loaded unless a line below says so: no script, font, frame, media, worker, connection.
    "default-src 'none'",
    // The one stylesheet, from here; inline styles are refused, so injected markup cannot even dress up.
    "style-src 'self'",
    // The mark in the browser's tab. Charts are inline SVG, which is markup and no image.
    "img-src 'self'",
    // A form that was injected cannot send what is typed into it elsewhere.
    "form-action 'self'",
    // A <base> that was injected cannot turn our links elsewhere.
    "base-uri 'none'",
    // Nobody frames these pages: no click is stolen.
    "frame-ancestors 'none'",
];

/// The other headers.
const FIXED: [(&str, &str); 8] = [
    // Once seen over TLS, never again without (one year). Harmless while the certificate is not trusted.
    ("strict-transport-security", "max-age=31536000"),
    // A log line that looks like a script is still text.
    ("x-content-type-options", "nosniff"),
    // A link that leads away does not tell which page it was on; searches are in our URLs.
    ("referrer-policy", "no-referrer"),
    // Another window cannot hold on to ours.
    ("cross-origin-opener-policy", "same-origin"),
    // Another site cannot embed what we answer.
    ("cross-origin-resource-policy", "same-origin"),
    // We embed nothing that did not agree to it.
    ("cross-origin-embedder-policy", "require-corp"),
    // No page here needs a camera, a place, a payment.
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    // For browsers that do not know frame-ancestors.
    ("x-frame-options", "DENY"),
];

/// Puts the headers on an answer. What says nothing about caching is not to be cached.
pub fn secure(mut response: Response) -> Response {
    let headers = response.headers_mut();
    // Directives are ASCII.
    if let Ok(policy) = HeaderValue::from_str(&POLICY.join("; ")) {
        headers.insert("content-security-policy", policy);
    }
    for (name, value) in FIXED {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use vakt_wire::http::text;

    #[test]
    fn the_policy_begins_with_nothing_and_allows_no_inline_code() {
        let response = secure(text(hyper::StatusCode::OK, "x"));
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'self'"));
        assert!(!policy.contains("unsafe") && !policy.contains("http"));
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    }
}
