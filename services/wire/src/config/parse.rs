//! Text to [`MachineConfig`], with errors that a person can act on.

use std::borrow::Cow;
use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::migrate::{self, VERSION};
use super::network_check::contradiction;
use super::scrape_job;
use super::types::{MachineConfig, Peer};

/// Largest document that is read: thousands of peers, and no room for an accident.
pub const BYTES_MAX: usize = 1 << 20;

/// Places that samples are sent to.
pub const FORWARDS_MAX: usize = 8;

/// Parses and checks a machine config.
///
/// # Errors
/// [`ConfigError`] for the first thing that is wrong: TOML syntax, an unknown key, a value out of
/// its range, a version from the future, or parts that contradict each other.
pub fn parse(text: &str) -> Result<MachineConfig, ConfigError> {
    if text.len() > BYTES_MAX {
        return Err(plain(format!("the document has {} bytes; at most {BYTES_MAX} are read", text.len())));
    }
    let current = migrate::current(text)?;
    parse_current(&current).map_err(|error| match &current {
        Cow::Borrowed(_) => error,
        Cow::Owned(_) => {
            let version = migrate::version(text).unwrap_or_default();
            let reason = format!(
                "{}; the document is of version {version} and was read as version {VERSION}",
                error.reason
            );
            ConfigError { reason, ..error }
        }
    })
}

fn parse_current(text: &str) -> Result<MachineConfig, ConfigError> {
    let deserializer = toml::Deserializer::parse(text).map_err(|error| at(text, String::new(), error))?;
    let config: MachineConfig = serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let key = match error.path().to_string() {
            path if path == "." => String::new(),
            path => path,
        };
        at(text, key, error.into_inner())
    })?;
    contradictions(text, &config)?;
    Ok(config)
}

fn plain(reason: String) -> ConfigError {
    ConfigError { key: String::new(), line: 0, column: 0, reason }
}

/// An error of the TOML reader with its place.
pub(super) fn at(text: &str, key: String, error: toml::de::Error) -> ConfigError {
    let (line, column) = error.span().map_or((0, 0), |span| line_column(text, span.start));
    let mut reason = error.message().replace('\n', "; ");
    if let Some(example) = example(&key) {
        reason = format!("{reason}; example: {example}");
    }
    ConfigError { key, line, column, reason }
}

/// A good line for the part of the document that `key` lies in.
fn example(key: &str) -> Option<&'static str> {
    let part = key.split(['.', '[']).next().unwrap_or_default();
    Some(match part {
        "hostname" => "hostname = \"vakt\"",
        "network" => "[[network.interface]] name = \"eth0\", dhcp = true",
        "time" => "[[time.server]] host = \"ntp.example.org\", nts = true",
        "admin" => "[admin] user = \"admin\", password_hash = \"$argon2id$…\"",
        "tls" => {
            "[tls] certificate = \"\"\"-----BEGIN CERTIFICATE-----…\"\"\", key = \"\"\"-----BEGIN PRIVATE KEY-----…\"\"\""
        }
        "token" => "[[token]] name = \"grafana\", sha256 = \"<64 hex digits>\", scopes = [\"metrics:read\"]",
        "ssh" => "[ssh] read_key = \"\"\"-----BEGIN OPENSSH PRIVATE KEY-----…\"\"\"",
        "peer" => "[[peer]] name = \"db1\", address = \"192.0.2.7:22\", host_key = \"ssh-ed25519 AAAA…\"",
        "scrape" => "[scrape] interval = \"5s\"",
        "scrape_job" => "[[scrape_job]] job_name = \"node\", targets = [\"192.0.2.7:9100\"]",
        "update" => "[update] repository = \"https://updates.example.org/vakt\", check = \"6h\"",
        "forward" => {
            "[[forward]] name = \"central\", url = \"https://mimir.example.org/api/v1/push\", bearer = \"…\""
        }
        "read_from" => "[read_from] url = \"https://mimir.example.org/prometheus\", bearer = \"…\"",
        "policy" => "[[policy]] name = \"web\", yaml = \"\"\"…\"\"\"",
        _ => return None,
    })
}

fn contradictions(text: &str, config: &MachineConfig) -> Result<(), ConfigError> {
    unique(text, "peer", config.peers.iter().map(|peer: &Peer| peer.name.as_str()))?;
    unique(text, "token", config.tokens.iter().map(|token| token.name.as_str()))?;
    unique(text, "policy", config.policies.iter().map(|policy| policy.name.as_str()))?;
    unique(text, "forward", config.forwards.iter().map(|forward| forward.name.as_str()))?;
    if config.forwards.len() > FORWARDS_MAX {
        let reason = format!("samples are sent to {FORWARDS_MAX} places at most");
        return Err(locate(text, "forward", reason));
    }
    if let Some(at) = config.forwards.iter().position(|one| one.user.is_some() != one.password.is_some()) {
        let reason = "user and password go together; example: user = \"vakt\", password = \"…\"".into();
        return Err(locate(text, &format!("forward[{at}]"), reason));
    }
    if config.read_from.as_ref().is_some_and(|one| one.user.is_some() != one.password.is_some()) {
        let reason = "user and password go together; example: user = \"vakt\", password = \"…\"".into();
        return Err(locate(text, "read_from", reason));
    }
    unique(text, "scrape_job", config.scrape_jobs.iter().map(|job| job.job_name.as_str()))?;
    if config.tls.certificate.is_some() != config.tls.key.is_some() {
        let reason = "certificate and key go together; without both the box makes its own".into();
        return Err(locate(text, "tls", reason));
    }
    if let Some((key, reason)) = scrape_job::contradiction(config) {
        return Err(locate(text, &key, reason));
    }
    if let Some((key, reason)) = contradiction(&config.network, &config.time) {
        return Err(locate(text, &key, reason));
    }
    if config.scrape.interval.get() > 15 {
        let reason = format!("{} is longer than 15s; example: interval = \"5s\"", config.scrape.interval);
        return Err(locate(text, "scrape.interval", reason));
    }
    Ok(())
}

fn unique<'a>(text: &str, part: &str, names: impl Iterator<Item = &'a str>) -> Result<(), ConfigError> {
    let mut seen = BTreeSet::new();
    for (index, name) in names.enumerate() {
        if !seen.insert(name) {
            let key = format!("{part}[{index}].name");
            return Err(locate(text, &key, format!("{name:?} is used twice; names tell things apart")));
        }
    }
    Ok(())
}

/// An error for `key` (`a.b[2].c`) with the place of that key's value in `text`.
pub(super) fn locate(text: &str, key: &str, reason: String) -> ConfigError {
    let start = DeTable::parse(text).ok().and_then(|table| {
        let mut steps = key.split(['.', '[']).map(|step| step.trim_end_matches(']'));
        let first = table.get_ref().get(steps.next()?)?;
        let found = steps.try_fold(first, |value, step| match value.get_ref() {
            DeValue::Table(table) => table.get(step),
            DeValue::Array(array) => array.get(step.parse::<usize>().ok()?),
            _ => None,
        });
        found.map(|value| value.span().start)
    });
    let (line, column) = start.map_or((0, 0), |start| line_column(text, start));
    ConfigError { key: key.into(), line, column, reason }
}

fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
    let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
    (line, String::from_utf8_lossy(&before[line_start..]).chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let said = match parse(text) {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(said.contains(expected), "{text:?} gave {said:?}, expected {expected:?}");
    }

    #[test]
    fn the_smallest_config_is_one_line() {
        assert_eq!(parse("version = 2").unwrap(), MachineConfig::default());
    }

    #[test]
    fn a_refusal_names_key_place_and_example() {
        check("", "line 1, column 1: version: missing; example: version = 2");
        check("version = 3\nnew = 1", "line 1, column 11: version: this build reads versions 1 to 2");
        check("version = 2\nhostnam = \"x\"", "line 2, column 1: hostnam: unknown field");
        check(
            "version = 2\nhostname = \"a b\"",
            "line 2, column 12: hostname: \"a b\" is not a host name such as",
        );
        check(
            "version = 2\n[scrape]\ninterval = \"0s\"",
            "line 3, column 12: scrape.interval: \"0s\" is not",
        );
        check(
            "version = 2\n[scrape]\ninterval = \"1m\"",
            "line 3, column 12: scrape.interval: 60s is longer",
        );
        check("version = 2\n[[network.interface]]\nname = \"e\"", "network.interface[0]: has neither");
        check("version = 2\n[[policy]]\nname=\"a\"\nyaml=\"\"\n[[policy]]\nname=\"a\"\nyaml=\"\"", "line 6");
        check("version = 2\n[[peer]]\nname = \"a\"", "peer[0]");
        check(
            "version = 2\n[tls]\nkey = \"-----BEGIN PRIVATE KEY-----\"",
            "tls: certificate and key go together",
        );
        check("version = 2\n[tls]\nkey = \"-----BEGIN ENCRYPTED PRIVATE KEY-----\"", "without a passphrase");
        check("version = ", "line 1, column");
        check(
            "version = 2\n[update]\nrepository = \"example.org\"",
            "line 3, column 14: update.repository: \"example.org\" is not the URL",
        );
        check("version = 2\n[update]\ncheck = \"6d\"", "is not \"off\" or a time");
        check(
            "version = 2\n[[peer]]\nname=\"a\"\naddress=\"h\"\nhost_key=\"x\"",
            "example: [[peer]] name = \"db1\"",
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = concat!(
            "version = 2\nhostname = \"guard\"\n[network]\ndns = [\"192.0.2.1\"]\n[[network.interface]]\n",
            "name = \"eth0\"\naddress = [\"192.0.2.10/24\", \"2001:db8::1/64\"]\ngateway = \"192.0.2.1\"\n",
            "[[peer]]\nname = \"db1\"\naddress = \"192.0.2.7:22\"\nhost_key = \"ssh-ed25519 AAAAC3\"\n",
            "[[token]]\nname = \"g\"\nsha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\n",
            "scopes = [\"metrics:read\"]\n",
        );
        let config = parse(text).unwrap();
        assert_eq!(parse(&toml::to_string(&config).unwrap()).unwrap(), config);
    }
}
