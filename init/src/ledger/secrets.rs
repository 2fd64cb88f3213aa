//! SSH private keys stay in init: a document that leaves it says `(kept)` in their place, and one that
//! comes back with that word keeps the key that is there.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// Stands for a secret, both ways.
const KEPT: &str = "\"(kept)\"";

/// The values that are secret, as table and key.
const SECRETS: [(&str, &str); 2] = [("ssh", "read_key"), ("ssh", "repair_key")];

/// The document without its secrets. One that cannot be parsed has nothing that may be shown.
pub fn hide(text: &str) -> String {
    let mut shown = text.to_owned();
    let mut spans: Vec<Range<usize>> =
        SECRETS.iter().filter_map(|(table, key)| span(text, table, key)).collect();
    // From the end, so that the earlier places stay true.
    spans.sort_by_key(|span| std::cmp::Reverse(span.start));
    for span in spans {
        shown.replace_range(span, KEPT);
    }
    shown
}

/// The document with the secrets of `present` where it says `(kept)`.
pub fn restore(text: &str, present: &str) -> String {
    let mut whole = text.to_owned();
    for (table, key) in SECRETS {
        let Some(place) = span(&whole, table, key).filter(|place| &whole[place.clone()] == KEPT) else {
            continue;
        };
        // Without a secret to keep the word itself is refused as a bad key.
        if let Some(secret) = span(present, table, key) {
            whole.replace_range(place, &present[secret]);
        }
    }
    whole
}

fn span(text: &str, table: &str, key: &str) -> Option<Range<usize>> {
    let document = DeTable::parse(text).ok()?;
    match document.get_ref().get(table)?.get_ref() {
        DeValue::Table(table) => Some(table.get(key)?.span()),
        _ => None,
    }
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
}
