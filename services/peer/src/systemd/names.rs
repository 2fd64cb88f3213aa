//! Unit names and verbs: checked words, so that nothing else ever reaches the bus.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// systemd's own bound on a unit name (UNIT_NAME_MAX in unit-name.h).
pub const UNIT_NAME_BYTES_MAX: usize = 255;

/// The kinds of units that may be watched and repaired.
const KINDS: [&str; 6] = ["service", "socket", "timer", "mount", "path", "target"];

/// A unit's full name, such as `demo.service` or `getty@tty1.service`.
///
/// Letters, digits and `:-_.\@`, as systemd itself demands (VALID_CHARS_WITH_AT), with a known suffix:
/// safe to print into a polkit rule or a shell word.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(String);

impl UnitName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a `.service`.
    pub fn is_service(&self) -> bool {
        self.0.ends_with(".service")
    }
}

impl TryFrom<String> for UnitName {
    type Error = String;

    fn try_from(text: String) -> Result<UnitName, String> {
        let characters_ok = text.bytes().all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b));
        let (stem, kind) = text.rsplit_once('.').unwrap_or(("", ""));
        // A template itself (`getty@.service`) cannot run.
        let stem_ok = !stem.is_empty() && !stem.starts_with(['@', '-']) && !stem.ends_with('@');
        if text.len() <= UNIT_NAME_BYTES_MAX && characters_ok && stem_ok && KINDS.contains(&kind) {
            return Ok(UnitName(text));
        }
        let kinds = KINDS.join(", .");
        Err(format!("{text:?} is no unit name; example: demo.service (kinds: .{kinds})"))
    }
}

impl FromStr for UnitName {
    type Err = String;

    fn from_str(text: &str) -> Result<UnitName, String> {
        UnitName::try_from(text.to_owned())
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> String {
        name.0
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What may be done to a unit. The names are also what polkit calls the verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Stop it if it runs, then start it.
    Restart,
    /// Start it if it does not run.
    Start,
    /// Stop it if it runs.
    Stop,
    /// Ask it to read its configuration again.
    Reload,
    /// Forget that it failed, and its start rate limit; starts nothing.
    ResetFailed,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Verb; 5] = [Verb::Restart, Verb::Start, Verb::Stop, Verb::Reload, Verb::ResetFailed];

    /// The word, as in policies, evidence and polkit.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Restart => "restart",
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Reload => "reload",
            Verb::ResetFailed => "reset-failed",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Verb {
    type Err = String;

    fn from_str(text: &str) -> Result<Verb, String> {
        Verb::ALL.into_iter().find(|verb| verb.as_str() == text).ok_or_else(|| {
            let all = Verb::ALL.map(Verb::as_str).join(", ");
            format!("{text:?} is no verb; one of: {all}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, good: bool) {
        assert_eq!(text.parse::<UnitName>().is_ok(), good, "{text:?}");
    }

    #[test]
    fn only_whole_unit_names_of_known_kinds_are_taken() {
        for good in ["demo.service", "getty@tty1.service", "dev-sda1.mount", r"a\x2db.service", "x.target"] {
            check(good, true);
        }
        for bad in [
            "",
            "demo",
            ".service",
            "demo.swap",
            "a b.service",
            "getty@.service",
            "a\"b.service",
            "a/b.service",
            "a\n.service",
            "-x.service",
            "@x.service",
            "a*.service",
        ] {
            check(bad, false);
        }
        check(&format!("{}.service", "a".repeat(247)), true);
        check(&format!("{}.service", "a".repeat(248)), false);
    }

    #[test]
    fn verbs_are_written_as_they_are_read() {
        for verb in Verb::ALL {
            assert_eq!(verb.as_str().parse(), Ok(verb));
        }
        assert!("enable".parse::<Verb>().unwrap_err().contains("reset-failed"));
    }
}
