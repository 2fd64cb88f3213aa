//! Slots, and the UKIs on the ESP that boot them: what the files' names say.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::version;

/// Tries that a new slot gets.
pub const TRIES: u32 = 3;

/// Largest counter that is believed: no slot was ever tried that often.
const COUNT_MAX: u32 = 999;

/// One of the two places for a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// `vakt-root-a`.
    A,
    /// `vakt-root-b`.
    B,
}

impl Slot {
    /// Both.
    pub const ALL: [Slot; 2] = [Slot::A, Slot::B];

    /// The other one.
    pub fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }

    /// `a` or `b`.
    pub fn letter(self) -> &'static str {
        match self {
            Slot::A => "a",
            Slot::B => "b",
        }
    }

    /// The GPT label of its partition.
    pub fn label(self) -> String {
        format!("vakt-root-{self}")
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.letter())
    }
}

impl FromStr for Slot {
    type Err = String;

    fn from_str(text: &str) -> Result<Slot, String> {
        Slot::ALL
            .into_iter()
            .find(|slot| slot.letter() == text)
            .ok_or_else(|| format!("slot {text:?} is not a or b"))
    }
}

/// A boot counter: systemd's Automatic Boot Assessment, `+<left>-<done>` in the file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tries {
    /// Boots that the loader will still give it.
    pub left: u32,
    /// Boots that it has had.
    pub done: u32,
}

/// A UKI on the ESP: `vakt-<slot>_<version>.efi` when it is blessed,
/// `vakt-<slot>_<version>+<left>-<done>.efi` while it is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entry {
    /// The slot that it boots.
    pub slot: Slot,
    /// Its version.
    pub version: String,
    /// Its counter; `None` when it is blessed.
    pub tries: Option<Tries>,
}

impl Entry {
    /// Reads a file's name. `None` for a file that is not ours.
    pub fn parse(name: &str) -> Option<Entry> {
        let stem = name.strip_prefix("vakt-")?.strip_suffix(".efi")?;
        let (slot, rest) = stem.split_once('_')?;
        let (version, tries) = match rest.rsplit_once('+') {
            None => (rest, None),
            Some((version, counter)) => {
                let (left, done) = counter.split_once('-').unwrap_or((counter, "0"));
                (version, Some(Tries { left: count(left)?, done: count(done)? }))
            }
        };
        let slot = slot.parse().ok()?;
        version::is_valid(version).then(|| Entry { slot, version: version.to_owned(), tries })
    }

    /// The same UKI under another counter.
    pub fn with(&self, tries: Option<Tries>) -> Entry {
        Entry { tries, ..self.clone() }
    }
}

fn count(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok().filter(|number| *number <= COUNT_MAX)?;
    // "+3" and "03" are no counters that the loader or we write.
    (text == number.to_string()).then_some(number)
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vakt-{}_{}", self.slot, self.version)?;
        if let Some(tries) = self.tries {
            write!(f, "+{}-{}", tries.left, tries.done)?;
        }
        f.write_str(".efi")
    }
}

/// The entries that are of no use: of each slot one is kept. A boot that is cut while an entry gets its
/// new name leaves two of the same version; the blessed one of them stands, or else the one that was
/// tried more often, for it is the newer.
///
/// Of several versions the running one is kept in the running slot, and else the newest.
pub fn surplus(entries: &[Entry], running: Option<(Slot, &str)>) -> Vec<Entry> {
    let mut drop = Vec::new();
    for slot in Slot::ALL {
        let mut of_slot: Vec<&Entry> = entries.iter().filter(|entry| entry.slot == slot).collect();
        let runs = |entry: &Entry| running == Some((slot, entry.version.as_str()));
        of_slot.sort_by(|a, b| {
            let (tries_a, tries_b) = (a.tries.unwrap_or_default(), b.tries.unwrap_or_default());
            runs(a)
                .cmp(&runs(b))
                .then_with(|| version::compare(&a.version, &b.version))
                .then_with(|| a.tries.is_none().cmp(&b.tries.is_none()))
                .then_with(|| (tries_a.done, tries_a.left).cmp(&(tries_b.done, tries_b.left)))
        });
        of_slot.pop();
        drop.extend(of_slot.into_iter().cloned());
    }
    drop
}

impl Default for Tries {
    fn default() -> Tries {
        Tries { left: TRIES, done: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_slot_version_and_tries_and_come_back_the_same() {
        for name in ["vakt-a_0.1.0.efi", "vakt-b_0.2.0+3-0.efi", "vakt-b_1.0~rc1-2+0-12.efi"] {
            assert_eq!(Entry::parse(name).unwrap().to_string(), name);
        }
        let tries = |left, done| Some(Tries { left, done });
        assert_eq!(Entry::parse("vakt-b_0.2.0+2-1.efi").unwrap().tries, tries(2, 1));
        assert_eq!(Entry::parse("vakt-b_0.2.0+2.efi").unwrap().tries, tries(2, 0), "done may be left out");
        for other in [
            "vakt_0.1.0.efi",
            "vakt-c_1.efi",
            "vakt-a_1.efi.tmp",
            "vakt-a_.efi",
            "vakt-a_1+x-0.efi",
            "vakt-a_1+03-0.efi",
            "linux.efi",
            "vakt-a_1+1-0+2-0.efi",
        ] {
            assert_eq!(Entry::parse(other), None, "{other}");
        }
    }

    fn check(names: &[&str], running: Option<(Slot, &str)>, dropped: &[&str]) {
        let entries: Vec<Entry> = names.iter().map(|name| Entry::parse(name).unwrap()).collect();
        let names: Vec<String> = surplus(&entries, running).iter().map(Entry::to_string).collect();
        assert_eq!(names, dropped);
    }

    #[test]
    fn of_each_slot_one_entry_is_kept() {
        let a = Some((Slot::A, "1"));
        check(&["vakt-a_1.efi", "vakt-b_2+3-0.efi"], a, &[]);
        check(&["vakt-b_2.efi", "vakt-b_2+2-1.efi"], a, &["vakt-b_2+2-1.efi"]);
        check(&["vakt-b_2+2-2.efi", "vakt-b_2+1-2.efi"], a, &["vakt-b_2+1-2.efi"]);
        check(&["vakt-b_2+2-1.efi", "vakt-b_2+1-2.efi"], a, &["vakt-b_2+2-1.efi"]);
        check(&["vakt-b_2+2-1.efi", "vakt-b_2+0-1.efi"], a, &["vakt-b_2+0-1.efi"]);
        check(&["vakt-b_2.efi", "vakt-b_3+3-0.efi"], a, &["vakt-b_2.efi"]);
        check(&["vakt-a_1.efi", "vakt-a_2.efi"], a, &["vakt-a_2.efi"]);
        check(&["vakt-a_1.efi", "vakt-a_2.efi"], None, &["vakt-a_1.efi"]);
    }
}
