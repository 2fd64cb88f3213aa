//! Words: what a text is made of for search. A word is a run of letters, digits and `_` (Unicode), as
//! in LogsQL.

/// Is `c` part of a word?
pub fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Calls `found` for each word of `text`.
pub fn each_word<'a>(text: &'a str, mut found: impl FnMut(&'a str)) {
    let bytes = text.as_bytes();
    let mut start = None;
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let (inside, step) = if byte.is_ascii() {
            (byte.is_ascii_alphanumeric() || byte == b'_', 1)
        } else {
            // `at` stands at the start of a character: every step is the length of one.
            let c = text[at..].chars().next().unwrap_or(' ');
            (is_word_char(c), c.len_utf8())
        };
        match (inside, start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                found(&text[from..at]);
                start = None;
            }
            _ => {}
        }
        at += step;
    }
    if let Some(from) = start {
        found(&text[from..]);
    }
}

/// Does `text` contain `phrase` with word boundaries where the phrase begins and ends with a word?
/// With `prefix`, the end needs no boundary. An empty phrase is contained in nothing.
pub fn contains(text: &str, finder: &memchr::memmem::Finder<'_>, prefix: bool) -> bool {
    let phrase = finder.needle();
    let Some(first) = first_char(phrase) else { return false };
    let mut from = 0;
    while let Some(found) = finder.find(&text.as_bytes()[from..]) {
        let (start, end) = (from + found, from + found + phrase.len());
        let before = text[..start].chars().next_back();
        let after = text[end..].chars().next();
        let last = text[start..end].chars().next_back();
        let begins = !(is_word_char(first) && before.is_some_and(is_word_char));
        let ends = prefix || !(last.is_some_and(is_word_char) && after.is_some_and(is_word_char));
        if begins && ends {
            return true;
        }
        from = start + first.len_utf8();
    }
    false
}

fn first_char(phrase: &[u8]) -> Option<char> {
    std::str::from_utf8(phrase).ok()?.chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use memchr::memmem::Finder;

    #[test]
    fn words_are_runs_of_letters_digits_and_underscores() {
        let words = |text| {
            let mut out = Vec::new();
            each_word(text, |word| out.push(word));
            out
        };
        assert_eq!(words("GET /api/v1 a_b=c-d"), ["GET", "api", "v1", "a_b", "c", "d"]);
        assert_eq!(words("größe: 5µm…x"), ["größe", "5µm", "x"]);
        assert!(words(" -- ").is_empty());
    }

    #[test]
    fn a_phrase_is_found_between_word_boundaries() {
        let check = |text: &str, phrase: &str, prefix: bool, expected: bool| {
            assert_eq!(contains(text, &Finder::new(phrase), prefix), expected, "{phrase:?} in {text:?}");
        };
        check("connection refused", "refused", false, true);
        check("connections refused", "connection", false, false);
        check("connections refused", "connection", true, true);
        check("reconnect connect", "connect", false, true);
        check("disk sda1: i/o error", "i/o error", false, true);
        check("a-b", "-", false, true);
        check("über alles", "ber", false, false);
        check("x", "", false, false);
    }
}
