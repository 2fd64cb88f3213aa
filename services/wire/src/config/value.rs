//! The config's values, each checked once where it is read.
//!
//! Every error text says what was wrong and shows a good one.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A checked text: `$check` is `fn(&str) -> bool`, `$hint` says what it should look like.
macro_rules! text_value {
    ($(#[$doc:meta])* $name:ident, $check:expr, $hint:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<$name, String> {
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok($name(text)) } else { Err(format!("{} is not {}", shown(&text), $hint)) }
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// The text for an error, or its size: what is long or of several lines may be a secret in a wrong place.
fn shown(text: &str) -> String {
    if text.len() <= 64 && !text.contains('\n') {
        format!("{text:?}")
    } else {
        format!("a text of {} bytes", text.len())
    }
}

fn label(text: &str, bytes_max: usize, also: &[u8]) -> bool {
    !text.is_empty()
        && text.len() <= bytes_max
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b))
        && !text.starts_with(['-', '.'])
}

text_value!(
    /// A host name (RFC 1123): letters, digits, `-` and `.`, at most 64 bytes (Linux' bound).
    Hostname, |t| label(t, 64, b"-."), "a host name such as \"vakt\" or \"guard.example.org\""
);
text_value!(
    /// A name for a thing of the config: letters, digits, `-`, `_`, `.`, at most 63 bytes.
    Name, |t| label(t, 63, b"-_."), "a name of letters, digits, '-', '_' and '.', such as \"db1\""
);
text_value!(
    /// A login name, at most 32 bytes (useradd(8)).
    UserName, |t| label(t, 32, b"-_."), "a login name such as \"admin\""
);
text_value!(
    /// An argon2id hash in PHC form.
    PasswordHash, |t| t.starts_with("$argon2id$") && t.len() <= 256,
    "an argon2id hash; make one with: vakt-web hash-password"
);
text_value!(
    /// A SHA-256 in hex.
    Sha256Hex, |t| t.len() == 64 && t.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()),
    "64 lower-case hex digits; make them with: printf %s TOKEN | sha256sum"
);
text_value!(
    /// A public host key: type and base64.
    HostKey, |t| t.starts_with("ssh-ed25519 AAAA") || t.starts_with("ecdsa-sha2-") || t.starts_with("ssh-rsa AAAA"),
    "a host key such as \"ssh-ed25519 AAAA…\"; read it from the peer's /etc/ssh/ssh_host_ed25519_key.pub"
);
text_value!(
    /// An OpenSSH private key without a passphrase.
    SshKey, |t| t.trim_start().starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"),
    "an OpenSSH private key; make one with: ssh-keygen -t ed25519 -N '' -f key"
);
text_value!(
    /// A TLS private key in PEM without a passphrase, at most 16 KiB.
    TlsKey, |t| t.trim_start().starts_with("-----BEGIN ") && t.contains("PRIVATE KEY-----") && !t.contains("ENCRYPTED")
        && t.len() <= 16 << 10,
    "a private key in PEM without a passphrase (-----BEGIN PRIVATE KEY-----…)"
);
text_value!(
    /// A host (name or address, IPv6 in brackets) and a port.
    HostPort, host_port, "a host and port such as \"192.0.2.7:22\" or \"[2001:db8::7]:22\""
);

text_value!(
    /// The URL of an update repository, without user, query or fragment, at most 512 bytes.
    RepositoryUrl, repository_url,
    "the URL of a repository such as \"https://updates.example.org/vakt\""
);
text_value!(
    /// Where remote-write is taken: a URL without user, query or fragment, at most 512 bytes.
    WriteUrl, repository_url,
    "the URL of a remote-write endpoint such as \"https://mimir.example.org/api/v1/push\""
);
text_value!(
    /// Where an engine's query API begins: a URL without user, query or fragment, at most 512 bytes.
    QueryUrl, repository_url,
    "the URL below which an engine has /api/v1/query, such as \"https://mimir.example.org/prometheus\""
);
text_value!(
    /// A tenant's name: letters, digits and `!-_.*'()`, at most 150 bytes (Mimir's bound).
    Tenant, |t| label(t, 150, b"!-_.*'()"), "a tenant's name such as \"team-a\""
);
text_value!(
    /// Certificates in PEM, one after the other, at most 64 KiB.
    Authorities, |t| t.trim_start().starts_with("-----BEGIN CERTIFICATE-----") && t.len() <= 64 << 10,
    "certificates in PEM (-----BEGIN CERTIFICATE-----…)"
);
text_value!(
    /// How often: whole minutes or hours, from `5m` to `720h`, or `off`.
    Rhythm, |t| t == "off" || rhythm_s(t).is_some(),
    "\"off\" or a time from \"5m\" to \"720h\", such as \"6h\""
);

/// A bearer token or a password: visible ASCII and spaces, at most 4 KiB. Never shown in an error or by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Credential(String);

impl Credential {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(..)")
    }
}

impl TryFrom<String> for Credential {
    type Error = String;

    fn try_from(text: String) -> Result<Credential, String> {
        let fits =
            !text.is_empty() && text.len() <= 4096 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        fits.then_some(Credential(text))
            .ok_or_else(|| "it is not one line of 1 to 4,096 visible ASCII signs".into())
    }
}

impl From<Credential> for String {
    fn from(value: Credential) -> String {
        value.0
    }
}

impl Rhythm {
    /// The time between two, or `None` for `off`.
    pub fn every(&self) -> Option<std::time::Duration> {
        rhythm_s(self.as_str()).map(std::time::Duration::from_secs)
    }
}

impl Default for Rhythm {
    fn default() -> Rhythm {
        Rhythm("6h".into())
    }
}

fn rhythm_s(text: &str) -> Option<u64> {
    let (number, unit_s) = match text.split_at_checked(text.len().checked_sub(1)?)? {
        (number, "m") => (number, 60),
        (number, "h") => (number, 3600),
        _ => return None,
    };
    let plain = number.bytes().all(|b| b.is_ascii_digit());
    let seconds = number.parse::<u64>().ok().filter(|_| plain)?.checked_mul(unit_s)?;
    (300..=720 * 3600).contains(&seconds).then_some(seconds)
}

fn repository_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest.filter(|_| text.len() <= 512) else { return false };
    let host = rest.split('/').next().unwrap_or_default();
    let with_port =
        if host.contains(':') && !host.ends_with(']') { host.to_owned() } else { format!("{host}:1") };
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'@' | b'?' | b'#' | b'\\' | b'"' | b'%');
    host_port(&with_port) && rest.bytes().all(plain) && !rest.split('/').any(|part| part == "..")
}

fn host_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_ok = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => label(host, 253, b"-."),
    };
    host_ok && port.parse::<u16>().is_ok_and(|port| port != 0)
}

impl Default for Hostname {
    fn default() -> Hostname {
        Hostname("vakt".into())
    }
}

impl UserName {
    pub(super) fn new(name: &'static str) -> UserName {
        UserName(name.into())
    }
}

/// An address with its prefix length, such as `192.0.2.10/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    /// The address itself, host bits included.
    pub address: IpAddr,
    /// Bits of the network part.
    pub prefix: u8,
}

impl TryFrom<String> for Cidr {
    type Error = String;

    fn try_from(text: String) -> Result<Cidr, String> {
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            let address: IpAddr = address.parse().ok()?;
            let prefix: u8 = prefix.parse().ok()?;
            let bits = if address.is_ipv4() { 32 } else { 128 };
            (prefix <= bits).then_some(Cidr { address, prefix })
        });
        parsed.ok_or_else(|| format!("{text:?} is not an address with a prefix such as \"192.0.2.10/24\""))
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> String {
        cidr.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A time from one second to one hour, written as `5s`, `1m30s` or `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Seconds(u32);

/// An hour: what is looked at more seldom is not watched.
const SECONDS_MAX: u32 = 3600;

impl Seconds {
    /// As a duration.
    pub fn duration(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.0.into())
    }

    /// Seconds.
    pub fn get(self) -> u32 {
        self.0
    }

    pub(super) fn five() -> Seconds {
        Seconds(5)
    }

    pub(super) fn ten() -> Seconds {
        Seconds(10)
    }

    pub(super) fn fifteen() -> Seconds {
        Seconds(15)
    }
}

/// Seconds of hours, minutes and seconds in this order, each once at most; `None` for any other text.
fn seconds_of(text: &str) -> Option<u32> {
    let (mut rest, mut total) = (text, 0u32);
    for (unit, seconds) in [('h', 3600), ('m', 60), ('s', 1)] {
        if let Some((digits, behind)) = rest.split_once(unit) {
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            total = total.checked_add(digits.parse::<u32>().ok()?.checked_mul(seconds)?)?;
            rest = behind;
        }
    }
    rest.is_empty().then_some(total)
}

impl TryFrom<String> for Seconds {
    type Error = String;

    fn try_from(text: String) -> Result<Seconds, String> {
        let number = seconds_of(&text).filter(|seconds| (1..=SECONDS_MAX).contains(seconds));
        number.map(Seconds).ok_or_else(|| format!("{text:?} is not a time from 1s to 1h such as \"15s\""))
    }
}

impl From<Seconds> for String {
    fn from(seconds: Seconds) -> String {
        seconds.to_string()
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_a_plain_http_url() {
        let good = |text: &str| RepositoryUrl::try_from(text.to_owned()).is_ok();
        for text in ["https://u.example.org", "http://192.0.2.7:8000/vakt/", "https://[2001:db8::7]:8443/a"] {
            assert!(good(text), "{text}");
        }
        let bad =
            ["ftp://a/", "https://", "https://a b/", "https://u:p@a/", "https://a/?q", "https://a/../b"];
        for text in bad {
            assert!(!good(text), "{text}");
        }
    }

    #[test]
    fn a_rhythm_is_minutes_or_hours_or_off() {
        let every = |text: &str| Rhythm::try_from(text.to_owned()).map(|r| r.every().map(|d| d.as_secs()));
        assert_eq!(every("6h"), Ok(Some(21_600)));
        assert_eq!(every("5m"), Ok(Some(300)));
        assert_eq!(every("off"), Ok(None));
        for bad in ["", "m", "4m", "6", "6d", "721h", "+9m", "99999999999999999999h"] {
            assert!(every(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_is_hours_minutes_and_seconds_in_this_order() {
        let seconds = |text: &str| Seconds::try_from(text.to_owned()).map(Seconds::get);
        for (text, expected) in
            [("1s", 1), ("15s", 15), ("1m30s", 90), ("60m", 3600), ("1h", 3600), ("0h5s", 5)]
        {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for bad in [
            "",
            "5",
            "s",
            "0s",
            "-5s",
            "+5s",
            "30s1m",
            "1h1s",
            "5 s",
            "1.5s",
            "5ss",
            "99999999999s",
            "2000000h",
        ] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
