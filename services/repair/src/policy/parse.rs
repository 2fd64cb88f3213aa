//! YAML to [`Policy`], with refusals that a person can act on.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_saphyr::{Location, Spanned};
use vakt_peer::systemd::{UnitName, Verb};
use vakt_wire::config::Name;

use super::{Action, Guards, Peers, Policy, Right, Span, Verify, Wrong};

/// Largest document that is read.
pub const YAML_BYTES_MAX: usize = 64 << 10;

/// Machines that one policy may name.
const PEERS_MAX: usize = 1_000;

/// Why a policy was refused, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Line, from 1; 0 when it is about the whole document.
    pub line: u64,
    /// Column, from 1; 0 when it is about the whole document.
    pub column: u64,
    /// What is wrong, and an example of what would be right.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.reason)
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    fn at(place: Location, reason: String) -> Refusal {
        Refusal { line: place.line(), column: place.column(), reason }
    }
}

/// Parses and checks one policy document.
///
/// # Errors
/// [`Refusal`] for the first thing that is wrong: YAML syntax, an unknown or repeated key, a value out
/// of its range, another version, or parts that contradict each other.
pub fn parse(text: &str) -> Result<Policy, Refusal> {
    if text.len() > YAML_BYTES_MAX {
        let reason = format!("the document has {} bytes; at most {YAML_BYTES_MAX} are read", text.len());
        return Err(Refusal { line: 0, column: 0, reason });
    }
    let VersionOnly { version } = serde_saphyr::from_str(text).map_err(refused)?;
    if version.value != 1 {
        let reason =
            format!("this build reads version 1, the document says {}; example: version: 1", version.value);
        return Err(Refusal::at(version.referenced, reason));
    }
    serde_saphyr::from_str::<Document>(text).map_err(refused)?.check()
}

/// The parser's words without its drawing of the place, which [`Refusal`] carries as numbers.
fn refused(error: serde_saphyr::Error) -> Refusal {
    let (line, column) = error.location().map_or((0, 0), |place| (place.line(), place.column()));
    let said = error.without_snippet().to_string();
    let said = said.lines().next().unwrap_or("not a policy");
    let place = format!(" at line {line}, column {column}");
    let said = said.strip_suffix(&place).unwrap_or(said);
    let said = said.strip_suffix(", set DuplicateKeyPolicy in Options if acceptable").unwrap_or(said);
    let reason = match said.contains("example") {
        true => said.to_owned(),
        false => format!("{said}; example: {}", example(said)),
    };
    Refusal { line, column, reason }
}

/// A good line for what the parser complained about; a whole policy when it is about anything else.
fn example(said: &str) -> &'static str {
    let known = [
        ("missing field `version`", "version: 1"),
        ("missing field `name`", "name: restart-demo"),
        ("missing field `match`", "match: {unit: demo.service, peers: all}"),
        ("missing field `unit`", "unit: demo.service"),
        ("missing field `peers`", "peers: [db1], or peers: all"),
        ("a list of names", "peers: [db1], or peers: all"),
        ("missing field `action`", "action: {verb: restart}"),
        ("missing field `verb`", "verb: restart"),
        ("missing field `verify`", "verify: {active_for: 10s}"),
    ];
    known.iter().find(|(words, _)| said.contains(words)).map_or(EXAMPLE, |found| found.1)
}

/// The smallest policy, on one line.
const EXAMPLE: &str = "{version: 1, name: restart-demo, match: {unit: demo.service, peers: all}, \
                       action: {verb: restart}, verify: {active_for: 10s}}";

/// Read first: a document from another time must not fail on whatever key is new in it.
#[derive(Deserialize)]
struct VersionOnly {
    version: Spanned<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "version")]
    _version: u32,
    name: Name,
    r#match: Match,
    #[serde(default)]
    guards: GuardsText,
    action: ActionText,
    verify: Spanned<VerifyText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Match {
    unit: UnitName,
    peers: Spanned<PeersText>,
    #[serde(default)]
    state: WrongText,
    #[serde(default = "nothing")]
    r#for: Span,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a list of names, such as [db1], or all")]
enum PeersText {
    Word(String),
    Names(Vec<Name>),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum WrongText {
    #[default]
    Failed,
    Inactive,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct GuardsText {
    max_per_hour: Option<Spanned<u32>>,
    cooldown: Option<Spanned<Span>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionText {
    verb: Verb,
    timeout: Option<Spanned<Span>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifyText {
    active_for: Option<Spanned<Span>>,
    inactive_for: Option<Spanned<Span>>,
}

fn nothing() -> Span {
    Span::seconds(0)
}

impl Document {
    fn check(self) -> Result<Policy, Refusal> {
        let (least, most) = (Span::seconds(1), Span::seconds(600));
        let timeout = within(self.action.timeout, Span::seconds(60), least, most)?;
        let cooldown = within(self.guards.cooldown, Span::seconds(60), least, Span::seconds(24 * 3600))?;
        let max_per_hour = match self.guards.max_per_hour {
            None => 3,
            Some(number) if (1..=60).contains(&number.value) => number.value,
            Some(number) => {
                let reason = format!("{} is not from 1 to 60; example: max_per_hour: 3", number.value);
                return Err(Refusal::at(number.referenced, reason));
            }
        };
        Ok(Policy {
            name: self.name,
            unit: self.r#match.unit,
            peers: peers(self.r#match.peers)?,
            state: match self.r#match.state {
                WrongText::Failed => Wrong::Failed,
                WrongText::Inactive => Wrong::Inactive,
            },
            wrong_for: self.r#match.r#for,
            guards: Guards { max_per_hour, cooldown },
            action: Action { verb: self.action.verb, timeout },
            verify: verify(self.action.verb, self.verify, least, most)?,
        })
    }
}

fn within(asked: Option<Spanned<Span>>, default: Span, least: Span, most: Span) -> Result<Span, Refusal> {
    match asked {
        None => Ok(default),
        Some(span) if (least..=most).contains(&span.value) => Ok(span.value),
        Some(span) => {
            let reason = format!("{} is not from {least} to {most}; example: {default}", span.value);
            Err(Refusal::at(span.referenced, reason))
        }
    }
}

fn peers(text: Spanned<PeersText>) -> Result<Peers, Refusal> {
    let refuse = |reason| Err(Refusal::at(text.referenced, reason));
    match text.value {
        PeersText::Word(word) if word == "all" => Ok(Peers::All),
        PeersText::Word(word) => {
            refuse(format!("{word:?} is no list; examples: peers: all, or peers: [db1, db2]"))
        }
        PeersText::Names(names) if names.is_empty() => {
            refuse("no peer is named; example: peers: [db1]".into())
        }
        PeersText::Names(names) if names.len() > PEERS_MAX => {
            refuse(format!("{} peers are named, at most {PEERS_MAX}; for every one: peers: all", names.len()))
        }
        PeersText::Names(names) => Ok(Peers::Only(names.into_iter().collect::<BTreeSet<_>>())),
    }
}

/// The one key that fits the verb must be there, and no other.
fn verify(verb: Verb, text: Spanned<VerifyText>, least: Span, most: Span) -> Result<Verify, Refusal> {
    let state = Right::after(verb);
    let ((wanted, given), (_, other)) = match state {
        Right::Active => (("active_for", text.value.active_for), ("", text.value.inactive_for)),
        Right::Inactive => (("inactive_for", text.value.inactive_for), ("", text.value.active_for)),
    };
    if let Some(other) = other {
        let reason =
            format!("after {verb} the unit is to be {wanted}; example: {wanted}: 10s", wanted = wanted);
        return Err(Refusal::at(other.referenced, reason));
    }
    if given.is_none() {
        let reason = format!("{wanted} is missing; example: verify: {{{wanted}: 10s}}");
        return Err(Refusal::at(text.referenced, reason));
    }
    Ok(Verify { state, held_for: within(given, Span::seconds(10), least, most)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
version: 1
name: restart-demo
match:
  unit: demo.service
  peers: [db1]
  state: failed
  for: 0s
guards:
  max_per_hour: 3
  cooldown: 10s
action:
  verb: restart
  timeout: 30s
verify:
  active_for: 10s
";

    /// Replaces a line of the good policy and checks what is said.
    fn check(line: &str, with: &str, expected: &str) {
        let text = GOOD.replace(line, with);
        assert_ne!(text, GOOD, "{line:?} is not in the policy");
        let said = parse(&text).map_or_else(|refusal| refusal.to_string(), |_| "ok".into());
        assert!(said.contains(expected), "{with:?}: said {said:?}, expected {expected:?}");
    }

    #[test]
    fn the_example_policy_is_taken() {
        let policy = parse(GOOD).unwrap();
        assert_eq!(policy.unit.as_str(), "demo.service");
        assert_eq!((policy.guards.max_per_hour, policy.guards.cooldown), (3, Span::seconds(10)));
        assert_eq!(policy.verify, Verify { state: Right::Active, held_for: Span::seconds(10) });
        assert!(policy.peers.include("db1") && !policy.peers.include("db2"));
    }

    #[test]
    fn what_may_be_left_out_has_a_default() {
        let text = "version: 1\nname: a\nmatch: {unit: a.service, peers: all}\naction: {verb: stop}\n\
                    verify: {inactive_for: 1s}\n";
        let policy = parse(text).unwrap();
        assert_eq!((policy.state, policy.wrong_for), (Wrong::Failed, Span::seconds(0)));
        assert_eq!((policy.guards.max_per_hour, policy.action.timeout), (3, Span::seconds(60)));
        assert!(policy.peers.include("anything"));
    }

    #[test]
    fn a_refusal_names_the_place_the_reason_and_an_example() {
        check("version: 1", "version: 2", "1:10: this build reads version 1");
        check("version: 1\n", "", "example: version: 1");
        check("name: restart-demo", "name: a b", "2:7: \"a b\" is not a name");
        check("unit: demo.service", "unit: demo", "4:9: \"demo\" is no unit name; example: demo.service");
        check("  unit: demo.service\n", "", "example: unit: demo.service");
        check("peers: [db1]", "peers: db1", "5:10: \"db1\" is no list");
        check("peers: [db1]", "peers: []", "5:10: no peer is named");
        check("state: failed", "state: broken", "6:10: ");
        check("for: 0s", "for: 10", "7:8: \"10\" is no duration");
        check("for: 0s", "fro: 0s", "7:3: ");
        check("max_per_hour: 3", "max_per_hour: 0", "9:17: 0 is not from 1 to 60");
        check("max_per_hour: 3", "max_per_hour: many", "9:17: ");
        check("cooldown: 10s", "cooldown: 0s", "10:13: 0s is not from 1s to 24h");
        check("verb: restart", "verb: disable", "12:9: ");
        check("timeout: 30s", "timeout: 11m", "13:12: 11m is not from 1s to 10m");
        check("active_for: 10s", "inactive_for: 10s", "15:17: after restart the unit is to be active_for");
        check("  active_for: 10s", "  {}", "15:3: active_for is missing");
        check("action:\n", "action:\n  verb: start\n", "13:3: ");
        check(
            "verb: restart",
            "verb: restart\n  verb: stop",
            "13:3: duplicate mapping key: verb; example: {version",
        );
        check("version: 1\n", "version: 3\nnew_key: 1\n", "1:10: this build reads version 1");
        assert!(parse(EXAMPLE).is_ok());
    }

    #[test]
    fn no_text_makes_it_panic_and_none_is_half_taken() {
        for cut in 0..GOOD.len() {
            if let Ok(policy) = parse(&GOOD[..cut]) {
                assert_eq!(policy.verify.state, Right::Active, "cut at {cut}");
            }
        }
        assert!(parse(&"a".repeat(YAML_BYTES_MAX + 1)).unwrap_err().reason.contains("at most"));
        assert!(parse("").is_err());
        assert!(parse("&a [*a, *a]").is_err());
    }
}
