//! Engines elsewhere: `[[forward]]`, which get every sample as well, and `[read_from]`, which the pages read.

use serde::{Deserialize, Serialize};

use crate::base64;

use super::value::{Authorities, Credential, Name, QueryUrl, Tenant, UserName, WriteUrl};

/// One place that every sample is sent to by remote-write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// Its name here, unique; its place in the queue goes by it.
    pub name: Name,
    /// Where remote-write 1.0 is taken, such as `https://mimir.example.org/api/v1/push`.
    pub url: WriteUrl,
    /// Sent as `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<Credential>,
    /// Sent with `password` as basic authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// The user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Credential>,
    /// Sent as `X-Scope-OrgID`, which Mimir and Cortex ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// Certificates that the server may be known by, in PEM; the public ones when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<Authorities>,
}

/// The engine that the pages read metrics from, in the place of the box' own store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadFrom {
    /// Below it the engine has Prometheus' query API: `/api/v1/query` and others.
    pub url: QueryUrl,
    /// Sent as `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer: Option<Credential>,
    /// Sent with `password` as basic authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// The user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Credential>,
    /// Sent as `X-Scope-OrgID`, which Mimir and Cortex ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// Certificates that the server may be known by, in PEM; the public ones when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<Authorities>,
}

impl Forward {
    /// What `Authorization` says, or `None` when nothing is to be said.
    pub fn authorization(&self) -> Option<String> {
        authorization(self.bearer.as_ref(), self.user.as_ref(), self.password.as_ref())
    }
}

impl ReadFrom {
    /// As [`Forward::authorization`].
    pub fn authorization(&self) -> Option<String> {
        authorization(self.bearer.as_ref(), self.user.as_ref(), self.password.as_ref())
    }

    /// Where it is, and nothing that is secret.
    pub fn shown(&self) -> ReadFrom {
        ReadFrom {
            url: self.url.clone(),
            bearer: None,
            user: None,
            password: None,
            tenant: None,
            authorities: None,
        }
    }
}

fn authorization(
    bearer: Option<&Credential>,
    user: Option<&UserName>,
    password: Option<&Credential>,
) -> Option<String> {
    if let Some(bearer) = bearer {
        return Some(format!("Bearer {}", bearer.as_str()));
    }
    let pair = format!("{}:{}", user?.as_str(), password?.as_str());
    Some(format!("Basic {}", base64::encode(pair.as_bytes())))
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    #[test]
    fn a_bearer_goes_before_a_password_and_neither_is_none() {
        let said = |more: &str| {
            let text =
                format!("version = 1\n[[forward]]\nname = \"a\"\nurl = \"https://a.example.org/w\"\n{more}");
            parse(&text).unwrap().forwards[0].authorization()
        };
        let user = "user = \"Aladdin\"\npassword = \"open sesame\"\n";
        assert_eq!(said(""), None);
        // RFC 7617, 2.
        assert_eq!(said(user).unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(said(&format!("bearer = \"t\"\n{user}")).unwrap(), "Bearer t");
    }

    #[test]
    fn the_engine_that_pages_read_signs_in_the_same_way() {
        let read_from = |more: &str| {
            let text =
                format!("version = 1\n[read_from]\nurl = \"https://a.example.org/prometheus\"\n{more}");
            parse(&text).map(|config| config.read_from.unwrap())
        };
        let whole = read_from("user = \"Aladdin\"\npassword = \"open sesame\"\ntenant = \"t\"\n").unwrap();
        assert_eq!(whole.authorization().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(whole.shown().authorization(), None);
        let said = read_from("user = \"a\"\n").unwrap_err().to_string();
        assert!(said.contains("user and password go together"), "{said}");
    }

    #[test]
    fn a_wrong_secret_is_not_repeated_in_the_error() {
        let text =
            "version = 1\n[[forward]]\nname = \"a\"\nurl = \"http://a/w\"\nbearer = \"line\\nbreak\"\n";
        let said = parse(text).unwrap_err().to_string();
        assert!(said.contains("forward[0].bearer") && !said.contains("break"), "{said}");
    }
}
