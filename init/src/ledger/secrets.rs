//! Secrets (SSH private keys, tokens and passwords for places elsewhere) stay in init: a document that leaves it says `(kept)` in their place, and one that
//! comes back with that word keeps the key that is there.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// Stands for a secret, both ways.
const KEPT: &str = "\"(kept)\"";

/// The values that are secret: a table, or an array of tables with names, and its keys.
const SECRETS: [(&str, &[&str]); 2] =
    [("ssh", &["read_key", "repair_key"]), ("forward", &["bearer", "password"])];

/// A secret's place in the document: the table, the name of its element, the key.
type Id = (&'static str, String, &'static str);

/// The document without its secrets. One that cannot be parsed has nothing that may be shown.
pub fn hide(text: &str) -> String {
    let mut shown = text.to_owned();
    for (_, span) in found(text) {
        shown.replace_range(span, KEPT);
    }
    shown
}

/// The document with the secrets of `present` where it says `(kept)`.
pub fn restore(text: &str, present: &str) -> String {
    let mut whole = text.to_owned();
    let known = found(present);
    for (id, place) in found(text) {
        // Without a secret to keep the word itself is refused as a bad key, or sent as a wrong password.
        if let Some((_, secret)) =
            known.iter().find(|(known, _)| *known == id && whole[place.clone()] == *KEPT)
        {
            whole.replace_range(place, &present[secret.clone()]);
        }
    }
    whole
}

/// All secrets, the last first, so that replacing one leaves the places of the others true.
fn found(text: &str) -> Vec<(Id, Range<usize>)> {
    let Ok(document) = DeTable::parse(text) else { return Vec::new() };
    let mut all = Vec::new();
    for (part, keys) in SECRETS {
        let tables: Vec<&DeTable<'_>> = match document.get_ref().get(part).map(|value| value.get_ref()) {
            Some(DeValue::Table(table)) => vec![table],
            Some(DeValue::Array(array)) => array.iter().filter_map(|one| one.get_ref().as_table()).collect(),
            _ => Vec::new(),
        };
        for table in tables {
            let name = table.get("name").and_then(|name| name.get_ref().as_str()).unwrap_or_default();
            let of_key = |key: &&'static str| Some(((part, name.to_owned(), *key), table.get(*key)?.span()));
            all.extend(keys.iter().filter_map(of_key));
        }
    }
    all.sort_by_key(|(_, span)| std::cmp::Reverse(span.start));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str =
        "version = 1 # ours\n[ssh]\nread_key = \"\"\"-----BEGIN r\n\"\"\"\nrepair_key = \"-----BEGIN w\"\n";

    #[test]
    fn keys_are_hidden_and_come_back_and_the_rest_is_untouched() {
        let shown = hide(WHOLE);
        assert_eq!(shown, "version = 1 # ours\n[ssh]\nread_key = \"(kept)\"\nrepair_key = \"(kept)\"\n");
        assert_eq!(restore(&shown, WHOLE), WHOLE);
    }

    #[test]
    fn a_new_key_replaces_the_old_one_and_a_kept_one_that_never_was_stays_a_word() {
        let new = "version = 1\n[ssh]\nread_key = \"-----BEGIN n\"\n";
        assert_eq!(restore(new, WHOLE), new);
        let kept = "version = 1\nssh = { read_key = \"(kept)\" }\n";
        assert_eq!(restore(kept, "version = 1\n"), kept);
        assert!(restore(kept, WHOLE).contains("BEGIN r"));
    }

    #[test]
    fn the_secrets_of_places_go_by_their_names() {
        let forward =
            |name: &str, bearer: &str| format!("[[forward]]\nname = \"{name}\"\nbearer = \"{bearer}\"\n");
        let present = format!("version = 1\n{}{}", forward("a", "one"), forward("b", "two"));
        let shown = hide(&present);
        assert!(!shown.contains("one") && !shown.contains("two"), "{shown}");
        assert_eq!(restore(&shown, &present), present);
        let turned = format!("version = 1\n{}{}", forward("b", "(kept)"), forward("c", "(kept)"));
        let expected = format!("version = 1\n{}{}", forward("b", "two"), forward("c", "(kept)"));
        assert_eq!(restore(&turned, &present), expected);
    }
}
