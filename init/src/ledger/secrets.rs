//! Secrets (private keys, and what signs in to servers elsewhere) stay in init: a document that leaves it says
//! `(kept)` in their place, and one that comes back with that word keeps the secret that is there.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// Stands for a secret, both ways.
const KEPT: &str = "\"(kept)\"";

/// The values that are secret: a table or an array of tables, the key that tells its elements apart, and the keys that lead
/// to each secret in one.
const SECRETS: [(&str, &str, &[&[&str]]); 5] = [
    ("ssh", "", &[&["read_key"], &["repair_key"]]),
    ("tls", "", &[&["key"]]),
    ("forward", "name", &[&["bearer"], &["password"]]),
    ("read_from", "", &[&["bearer"], &["password"]]),
    ("scrape_job", "job_name", &[&["bearer_token"], &["basic_auth", "password"], &["tls_config", "key"]]),
];

/// What tells a secret from others: the table, the name of its element, the keys.
type Id = (&'static str, String, &'static [&'static str]);

/// The document without its secrets. One that cannot be parsed has nothing that may be shown.
pub fn hide(text: &str) -> String {
    let mut shown = text.to_owned();
    for (_, place) in secrets(text) {
        shown.replace_range(place, KEPT);
    }
    shown
}

/// The document with the secrets of `present` where it says `(kept)`.
pub fn restore(text: &str, present: &str) -> String {
    let mut whole = text.to_owned();
    let known = secrets(present);
    for (id, place) in secrets(text).into_iter().filter(|(_, place)| &text[place.clone()] == KEPT) {
        // Without a secret to keep the word itself is refused as a bad key, or sent as a wrong password.
        if let Some((_, secret)) = known.iter().find(|(known, _)| *known == id) {
            whole.replace_range(place, &present[secret.clone()]);
        }
    }
    whole
}

/// All secrets and where they stand, the last first, so that replacing one leaves the places of the others true.
fn secrets(text: &str) -> Vec<(Id, Range<usize>)> {
    let Ok(document) = DeTable::parse(text) else { return Vec::new() };
    let mut all = Vec::new();
    for (part, name_key, paths) in SECRETS {
        let tables: Vec<&DeTable<'_>> = match document.get_ref().get(part).map(|value| value.get_ref()) {
            Some(DeValue::Table(table)) => vec![table],
            Some(DeValue::Array(array)) => array.iter().filter_map(|one| one.get_ref().as_table()).collect(),
            _ => Vec::new(),
        };
        for table in tables {
            let name = table.get(name_key).and_then(|name| name.get_ref().as_str()).unwrap_or_default();
            for path in paths {
                all.extend(place(table, path).map(|place| ((part, name.to_owned(), *path), place)));
            }
        }
    }
    all.sort_by_key(|(_, place)| std::cmp::Reverse(place.start));
    all
}

/// Where the value stands that `path` leads to.
fn place(table: &DeTable<'_>, path: &[&str]) -> Option<Range<usize>> {
    let (last, tables) = path.split_last()?;
    let inner = tables.iter().try_fold(table, |table, key| table.get(*key)?.get_ref().as_table())?;
    Some(inner.get(*last)?.span())
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
        let own = "version = 2\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n";
        let hidden = "version = 2\n[tls]\ncertificate = \"c\"\nkey = \"(kept)\"\n";
        assert_eq!((hide(own).as_str(), restore(hidden, own).as_str()), (hidden, own));
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

    #[test]
    fn what_reading_elsewhere_signs_in_with_is_hidden_and_comes_back() {
        let whole = "version = 1\n[read_from]\nurl = \"http://a/x\"\npassword = \"one\"\nbearer = \"two\"\n";
        let shown = hide(whole);
        assert!(!shown.contains("one") && !shown.contains("two"), "{shown}");
        assert_eq!(restore(&shown, whole), whole);
    }

    #[test]
    fn what_a_job_signs_in_with_is_hidden_and_comes_back_to_the_job_of_that_name() {
        let job = |name: &str, secret: &str| {
            format!(
                "[[scrape_job]]\njob_name = \"{name}\"\nbearer_token = {secret}\nbasic_auth = {{ username = \"u\", password = {secret} }}\n\
                 [scrape_job.tls_config]\nkey = {secret}\n"
            )
        };
        let whole = ["version = 1\n".into(), job("a", "\"one\""), job("b", "\"two\"")].concat();
        let shown = hide(&whole);
        assert!(
            !shown.contains("one") && !shown.contains("two") && shown.matches("(kept)").count() == 6,
            "{shown}"
        );
        assert_eq!(restore(&shown, &whole), whole);
        let turned = ["version = 1\n".into(), job("b", KEPT), job("new", KEPT)].concat();
        let back = restore(&turned, &whole);
        assert_eq!((back.matches("two").count(), back.matches("(kept)").count()), (3, 3), "{back}");
    }
}
