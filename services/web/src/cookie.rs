//! Cookies: of the session, and of a visit before it.
//!
//! `__Host-` makes browsers refuse them without Secure, with a Domain, or for another path; HttpOnly
//! keeps them from scripts, SameSite=Strict from other sites' links and forms.

use vakt_wire::http::Request;

/// The session's cookie.
pub const SESSION: &str = "__Host-vakt";
/// The cookie of a visitor who has not signed in; the form token belongs to it.
pub const VISIT: &str = "__Host-vakt-visit";
/// Seconds that a visitor may look at the sign-in form before it is too old.
pub const VISIT_S_MAX: i64 = 4 * 3600;

/// The value of a cookie, or `None`.
pub fn get<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let header = request.header("cookie")?;
    find(header, name)
}

fn find<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(known, _)| *known == name).map(|(_, value)| value).next()
}

/// A `Set-Cookie` for `max_age_s` seconds; 0 removes the cookie. Values are hex.
pub fn set(name: &str, value: &str, max_age_s: i64) -> String {
    format!("{name}={value}; Path=/; Max-Age={max_age_s}; Secure; HttpOnly; SameSite=Strict")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let header = "a=1; __Host-vakt-visit=v; __Host-vakt=s";
        assert_eq!(find(header, SESSION), Some("s"));
        assert_eq!(find(header, VISIT), Some("v"));
        assert_eq!(find(header, "b"), None);
        assert!(set(SESSION, "x", 5).ends_with("Path=/; Max-Age=5; Secure; HttpOnly; SameSite=Strict"));
    }
}
