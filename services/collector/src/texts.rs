//! Contents of files by path, in slots that stay: a machine is read every few seconds and has the same few hundred files
//! each time, so that only what changed is written.

use std::collections::BTreeMap;

/// Contents by path: below /proc as `net/dev`, elsewhere in full as `/sys/class/net/eth0/mtu`. A link whose name was asked
/// for with [`crate::inputs::LINK`] holds where it leads.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    slots: BTreeMap<String, usize>,
    texts: Vec<Option<String>>,
    free: Vec<usize>,
}

impl Texts {
    /// What a file holds; `None` when it was not read.
    pub fn get(&self, path: &str) -> Option<&str> {
        self.slots.get(path).and_then(|slot| self.at(*slot))
    }

    /// What a file holds, or nothing.
    pub fn get_or_empty(&self, path: &str) -> &str {
        self.get(path).unwrap_or_default()
    }

    /// The files below a folder whose path ends in `/`, without it, in the order of their names.
    pub fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let from = (std::ops::Bound::Included(folder), std::ops::Bound::Unbounded);
        self.slots
            .range::<str, _>(from)
            .map_while(move |(path, slot)| Some((path.strip_prefix(folder)?, *slot)))
            .filter_map(|(rest, slot)| Some((rest, self.at(slot)?)))
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.texts.iter().all(Option::is_none)
    }

    /// The slot of a path, which is made when it is new.
    pub fn slot(&mut self, path: &str) -> usize {
        if let Some(slot) = self.slots.get(path) {
            return *slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.texts.push(None);
            self.texts.len() - 1
        });
        self.slots.insert(path.to_owned(), slot);
        slot
    }

    /// What the file in a slot holds.
    pub fn at(&self, slot: usize) -> Option<&str> {
        self.texts[slot].as_deref()
    }

    /// Puts what was read of a file into its slot; broken UTF-8 is replaced. Returns whether that is something else than
    /// before.
    pub fn set(&mut self, slot: usize, bytes: &[u8]) -> bool {
        let text = match &mut self.texts[slot] {
            Some(text) if text.as_bytes() == bytes => return false,
            Some(text) => text,
            none => none.insert(String::new()),
        };
        let mut kept = std::mem::take(text).into_bytes();
        kept.clear();
        kept.extend_from_slice(bytes);
        *text =
            String::from_utf8(kept).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into());
        true
    }

    /// Adds a line to what the file in a slot holds.
    pub fn add_line(&mut self, slot: usize, line: &str) {
        let text = self.texts[slot].get_or_insert_default();
        text.push_str(line);
        text.push('\n');
    }

    /// The file in a slot is not there (any more). Returns whether it was.
    pub fn clear(&mut self, slot: usize) -> bool {
        self.texts[slot].take().is_some()
    }

    /// Gives up the slots that `is_wanted` does not name.
    pub fn retain(&mut self, is_wanted: impl Fn(usize) -> bool) {
        let (texts, free) = (&mut self.texts, &mut self.free);
        self.slots.retain(|_, slot| {
            let keep = is_wanted(*slot);
            if !keep {
                texts[*slot] = None;
                free.push(*slot);
            }
            keep
        });
    }

    /// Sets a file's content by its path.
    #[cfg(test)]
    pub fn insert(&mut self, path: impl AsRef<str>, text: impl AsRef<str>) {
        let slot = self.slot(path.as_ref());
        self.texts[slot] = Some(text.as_ref().to_owned());
    }

    /// The paths of the files that were read.
    #[cfg(test)]
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.below("").map(|(path, _)| path)
    }
}

#[cfg(test)]
impl std::ops::Index<&str> for Texts {
    type Output = str;

    fn index(&self, path: &str) -> &str {
        self.get(path).unwrap_or_else(|| panic!("{path} was not read"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_says_whether_it_changed_and_a_slot_that_is_given_up_is_used_again() {
        let mut texts = Texts::default();
        let (a, b) = (texts.slot("a/x"), texts.slot("a/y"));
        assert!(texts.set(a, b"1") && !texts.set(a, b"1") && texts.set(a, b"\xff"));
        assert_eq!((texts.get("a/x"), texts.get("a/y"), texts.get("a")), (Some("\u{fffd}"), None, None));
        assert!(texts.set(b, b"") && !texts.set(b, b"") && texts.get("a/y") == Some(""));
        texts.insert("b/z", "3");
        assert_eq!(texts.below("a/").collect::<Vec<_>>(), [("x", "\u{fffd}"), ("y", "")]);
        assert!(texts.clear(b) && !texts.clear(b));
        assert_eq!(texts.paths().collect::<Vec<_>>(), ["a/x", "b/z"]);
        texts.retain(|slot| slot != a);
        assert_eq!((texts.slot("c"), texts.get("c")), (a, None));
        assert_eq!(texts.paths().collect::<Vec<_>>(), ["b/z"]);
    }
}
