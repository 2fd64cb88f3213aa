//! What a machine must be told before Vakt may look at it and repair it: a shell script to read and
//! run there once, as root. Nothing is installed; two users, one sshd snippet, one polkit rule.
//!
//! `vakt-read` may sign in and read what anybody may read. `vakt-repair` may in addition do the named
//! verbs to the named units, and polkit answers NO to everything else it asks.

use std::collections::BTreeSet;

use vakt_peer::systemd::{UnitName, Verb};

/// Where the rule goes; polkit 0.106 and newer read `rules.d` (Debian 12, Fedora, Arch).
pub const POLKIT_RULE_PATH: &str = "/etc/polkit-1/rules.d/60-vakt.rules";

const SCRIPT: &str = include_str!("peer.sh");
const SSHD: &str = include_str!("sshd.conf");

/// What is granted to whom.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// Public key of the reading user, OpenSSH form.
    pub read_key: PublicLine,
    /// Public key of the repairing user, OpenSSH form.
    pub repair_key: PublicLine,
    /// The units that may be touched.
    pub units: BTreeSet<UnitName>,
    /// What may be done to each of them.
    pub verbs: BTreeSet<Verb>,
}

/// An `ssh-ed25519 AAAA… comment` line, checked to hold nothing that a shell or sshd could misread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicLine(String);

impl std::str::FromStr for PublicLine {
    type Err = String;

    fn from_str(text: &str) -> Result<PublicLine, String> {
        let mut words = text.split_whitespace();
        let base64 = |word: &str| word.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
        match (words.next(), words.next()) {
            (Some("ssh-ed25519"), Some(key)) if key.starts_with("AAAA") && base64(key) => {
                Ok(PublicLine(format!("ssh-ed25519 {key}")))
            }
            _ => Err(format!("{text:?} is no ed25519 public key; example: ssh-ed25519 AAAA…")),
        }
    }
}

impl Enrolment {
    /// The script for the peer's root shell. Running it again changes nothing.
    pub fn script(&self) -> String {
        SCRIPT
            .replace("@READ_KEY@", &self.read_key.0)
            .replace("@REPAIR_KEY@", &self.repair_key.0)
            .replace("@SSHD@", SSHD.trim_end())
            .replace("@POLKIT_PATH@", POLKIT_RULE_PATH)
            .replace("@POLKIT@", polkit_rule(&self.units, &self.verbs).trim_end())
    }
}

/// The polkit rule that lets `vakt-repair` do `verbs` to `units`, and nothing else.
pub fn polkit_rule(units: &BTreeSet<UnitName>, verbs: &BTreeSet<Verb>) -> String {
    // Unit names hold no quote; a backslash (escaped names) is doubled for JavaScript.
    let units: Vec<_> = units.iter().map(|u| format!("\"{}\"", u.as_str().replace('\\', "\\\\"))).collect();
    let verbs: Vec<_> = verbs.iter().map(|verb| format!("\"{verb}\"")).collect();
    include_str!("polkit.rules").replace("@UNITS@", &units.join(", ")).replace("@VERBS@", &verbs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enrolment() -> Enrolment {
        Enrolment {
            read_key: "ssh-ed25519 AAAAread vakt@box".parse().unwrap(),
            repair_key: "ssh-ed25519 AAAArepair".parse().unwrap(),
            units: [r"a\x2db.service", "demo.service"].map(|u| u.parse().unwrap()).into(),
            verbs: [Verb::Restart, Verb::ResetFailed].into(),
        }
    }

    #[test]
    fn the_script_is_complete_and_grants_what_was_asked() {
        let script = enrolment().script();
        assert!(!script.contains('@'), "a placeholder is left:\n{script}");
        assert!(script.contains(r#"var units = ["a\\x2db.service", "demo.service"];"#), "{script}");
        assert!(script.contains(r#"var verbs = ["restart", "reset-failed"];"#), "{script}");
        assert!(script.contains("ssh-ed25519 AAAArepair\n"), "{script}");
    }

    #[test]
    fn public_keys_with_options_or_shell_words_are_refused() {
        for bad in
            ["", "ssh-rsa AAAA", "command=\"x\" ssh-ed25519 AAAA", "ssh-ed25519 AAAA$(id)", "ssh-ed25519"]
        {
            assert!(bad.parse::<PublicLine>().is_err(), "{bad:?}");
        }
    }
}
