//! The token that every form carries: who cannot read our pages cannot send our forms.
//!
//! It is a hash of the caller's cookie (of the session, or of the visit before signing in), so there is
//! nothing to keep. The cookies are `SameSite=Strict` and `__Host-`, and a browser's `Sec-Fetch-Site`
//! is looked at as well: three independent refusals.

use crate::random::{same, sha256_hex};

/// The form token that belongs to a cookie's value.
pub fn token(cookie: &str) -> String {
    sha256_hex(&[b"vakt form token 1\0", cookie.as_bytes()])
}

/// Was this form made by a page that was given to the owner of `cookie`? `fetch_site` is the header
/// `Sec-Fetch-Site`, which only browsers send.
pub fn accepts(cookie: Option<&str>, sent: &str, fetch_site: Option<&str>) -> bool {
    let own = matches!(fetch_site, None | Some("same-origin" | "none"));
    own && cookie.is_some_and(|cookie| same(&token(cookie), sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_of_the_own_page_is_taken() {
        let sent = token("cookie");
        assert!(accepts(Some("cookie"), &sent, None));
        assert!(accepts(Some("cookie"), &sent, Some("same-origin")));
        assert!(!accepts(Some("cookie"), &sent, Some("cross-site")));
        assert!(!accepts(Some("cookie"), &sent, Some("same-site")));
        assert!(!accepts(Some("other"), &sent, None));
        assert!(!accepts(Some("cookie"), "", None));
        assert!(!accepts(None, &token(""), None));
    }
}
