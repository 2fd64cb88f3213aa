//! SSH private keys and what scrape jobs sign in with stay in init: a document that leaves it says `(kept)` in their place, and one that
//! comes back with that word keeps the key that is there.

use std::ops::Range;

use toml::de::DeTable;

/// Stands for a secret, both ways.
const KEPT: &str = "\"(kept)\"";

/// The values that are secret in a table of their own, as table and key.
const SECRETS: [(&str, &str); 2] = [("ssh", "read_key"), ("ssh", "repair_key")];

/// The values that are secret in each `[[scrape_job]]`, as the keys that lead there.
const JOB_SECRETS: [&[&str]; 3] = [&["bearer_token"], &["basic_auth", "password"], &["tls_config", "key"]];

/// A secret: what tells it from others, and where it stands.
type Place = (String, Range<usize>);

/// The document without its secrets. One that cannot be parsed has nothing that may be shown.
pub fn hide(text: &str) -> String {
    replaced(text, places(text).into_iter().map(|(_, span)| (span, KEPT)))
}

/// The document with the secrets of `present` where it says `(kept)`.
pub fn restore(text: &str, present: &str) -> String {
    let known = places(present);
    let kept = places(text).into_iter().filter(|(_, span)| &text[span.clone()] == KEPT);
    // Without a secret to keep the word itself is refused as a bad key.
    let found = kept.filter_map(|(name, span)| {
        let (_, secret) = known.iter().find(|(other, _)| *other == name)?;
        Some((span, &present[secret.clone()]))
    });
    replaced(text, found)
}

/// The text with other words at some places; from the end, so that the earlier places stay true.
fn replaced<'a>(text: &str, words: impl Iterator<Item = (Range<usize>, &'a str)>) -> String {
    let mut words: Vec<_> = words.collect();
    words.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut out = text.to_owned();
    for (span, word) in words {
        out.replace_range(span, word);
    }
    out
}

/// Every secret of a document. A job's are told apart by its name.
fn places(text: &str) -> Vec<Place> {
    let Ok(document) = DeTable::parse(text) else { return Vec::new() };
    let document = document.get_ref();
    let one = |(name, key): (&str, &str)| {
        let table = document.get(name)?.get_ref().as_table()?;
        Some((format!("{name} {key}"), table.get(key)?.span()))
    };
    let mut found: Vec<Place> = SECRETS.into_iter().filter_map(one).collect();
    let jobs = document.get("scrape_job").and_then(|jobs| jobs.get_ref().as_array());
    for job in jobs.into_iter().flatten().filter_map(|job| job.get_ref().as_table()) {
        let name = job.get("job_name").and_then(|name| name.get_ref().as_str()).unwrap_or_default();
        for keys in JOB_SECRETS {
            let (last, tables) = keys.split_last().unwrap_or((&"", &[]));
            let inner = tables.iter().try_fold(job, |table, key| table.get(*key)?.get_ref().as_table());
            if let Some(value) = inner.and_then(|table| table.get(*last)) {
                found.push((format!("scrape_job {name} {}", keys.join(".")), value.span()));
            }
        }
    }
    found
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

    #[test]
    fn a_new_key_replaces_the_old_one_and_a_kept_one_that_never_was_stays_a_word() {
        let new = "version = 1\n[ssh]\nread_key = \"-----BEGIN n\"\n";
        assert_eq!(restore(new, WHOLE), new);
        let kept = "version = 1\nssh = { read_key = \"(kept)\" }\n";
        assert_eq!(restore(kept, "version = 1\n"), kept);
        assert!(restore(kept, WHOLE).contains("BEGIN r"));
    }
}
