//! Bearer tokens: which one was shown, and may it do this? Pure.

use vakt_wire::config::{Scope, Token};

use crate::random::{same, sha256_hex};

/// Why a token was not enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// None was shown.
    Missing,
    /// The header is not `Bearer TOKEN`.
    NotBearer,
    /// Nobody knows it.
    Unknown,
    /// It may do other things.
    Scope {
        /// Its name.
        token: String,
    },
}

impl Refusal {
    /// For the caller and the audit.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::Missing => "no bearer token; send Authorization: Bearer TOKEN",
            Refusal::NotBearer => "authorization is not Bearer TOKEN",
            Refusal::Unknown => "unknown token",
            Refusal::Scope { .. } => "the token's scopes do not cover this",
        }
    }

    /// The name of the token, when it is known.
    pub fn token(&self) -> &str {
        match self {
            Refusal::Scope { token } => token,
            _ => "",
        }
    }

    /// The `WWW-Authenticate` header (RFC 6750 section 3).
    pub fn challenge(&self, scope: Scope) -> String {
        let scope = scope_name(scope);
        match self {
            Refusal::Missing => "Bearer realm=\"vakt\"".into(),
            Refusal::NotBearer => "Bearer realm=\"vakt\", error=\"invalid_request\"".into(),
            Refusal::Unknown => "Bearer realm=\"vakt\", error=\"invalid_token\"".into(),
            Refusal::Scope { .. } => {
                format!("Bearer realm=\"vakt\", error=\"insufficient_scope\", scope=\"{scope}\"")
            }
        }
    }
}

/// A scope as the config spells it.
pub fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::MetricsRead => "metrics:read",
        Scope::MetricsWrite => "metrics:write",
        Scope::MetricsAdmin => "metrics:admin",
        Scope::LogsRead => "logs:read",
        Scope::LogsWrite => "logs:write",
        Scope::UpdateRead => "update:read",
        Scope::UpdateWrite => "update:write",
        Scope::Reset => "reset",
        Scope::BackupRead => "backup:read",
        Scope::BackupWrite => "backup:write",
        Scope::ConfigRead => "config:read",
        Scope::ConfigWrite => "config:write",
    }
}

/// The name of the token in an `Authorization` header, if it is known and has `scope`. Every token is
/// compared, and each comparison takes the same time.
///
/// # Errors
/// [`Refusal`].
pub fn check<'a>(tokens: &'a [Token], header: Option<&str>, scope: Scope) -> Result<&'a str, Refusal> {
    let (scheme, shown) = header.ok_or(Refusal::Missing)?.split_once(' ').ok_or(Refusal::NotBearer)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::NotBearer);
    }
    let hash = sha256_hex(&[shown.trim().as_bytes()]);
    let known = tokens
        .iter()
        .fold(None, |known, token| if same(token.sha256.as_str(), &hash) { Some(token) } else { known });
    let token = known.ok_or(Refusal::Unknown)?;
    if token.scopes.contains(&scope) {
        Ok(token.name.as_str())
    } else {
        Err(Refusal::Scope { token: token.name.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Vec<Token> {
        let token = |name: &str, secret: &str, scopes: &[Scope]| Token {
            name: name.to_owned().try_into().unwrap(),
            sha256: sha256_hex(&[secret.as_bytes()]).try_into().unwrap(),
            scopes: scopes.to_vec(),
        };
        vec![
            token("grafana", "reader", &[Scope::MetricsRead, Scope::LogsRead]),
            token("agent", "writer", &[Scope::MetricsWrite, Scope::LogsWrite]),
        ]
    }

    #[test]
    fn a_token_opens_what_its_scopes_say_and_nothing_else() {
        use Scope::*;
        let scope = |token: &str| Err(Refusal::Scope { token: token.to_owned() });
        for (header, wanted, expected) in [
            (Some("Bearer reader"), MetricsRead, Ok("grafana")),
            (Some("bearer reader"), LogsRead, Ok("grafana")),
            (Some("Bearer reader"), MetricsWrite, scope("grafana")),
            (Some("Bearer reader"), LogsWrite, scope("grafana")),
            (Some("Bearer writer"), MetricsWrite, Ok("agent")),
            (Some("Bearer writer"), LogsWrite, Ok("agent")),
            (Some("Bearer writer"), MetricsRead, scope("agent")),
            (Some("Bearer reader"), MetricsAdmin, scope("grafana")),
            (Some("Bearer writer"), MetricsAdmin, scope("agent")),
            (Some("Bearer writer"), LogsRead, scope("agent")),
            (Some("Bearer other"), MetricsRead, Err(Refusal::Unknown)),
            (Some("Bearer "), MetricsRead, Err(Refusal::Unknown)),
            (Some("Basic reader"), MetricsRead, Err(Refusal::NotBearer)),
            (Some("reader"), MetricsRead, Err(Refusal::NotBearer)),
            (None, MetricsRead, Err(Refusal::Missing)),
        ] {
            assert_eq!(check(&tokens(), header, wanted), expected, "{header:?} {wanted:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_missing_scope() {
        let refusal = Refusal::Scope { token: "agent".into() };
        assert!(refusal.challenge(Scope::LogsRead).contains("insufficient_scope\", scope=\"logs:read\""));
    }
}
