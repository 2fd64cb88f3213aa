//! Versions: which texts are ones, and which of two is newer.
//!
//! The order is the boot loader's (`strverscmp_improved` of systemd 252, which is the UAPI group's
//! Version Format Specification), because it decides which slot the loader prefers.

use std::cmp::Ordering;

/// Longest version. The UKI's name then fits three FAT directory entries with its counters.
pub const VERSION_CHARS_MAX: usize = 32;

/// Whether `text` is a version: ASCII letters, digits and `. ~ ^ -`, at least one and at most 32. `+`
/// would read as a boot counter, `_` as the end of the slot's name.
pub fn is_valid(text: &str) -> bool {
    (1..=VERSION_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_version_byte)
}

fn is_version_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'~' | b'^' | b'-')
}

/// Which of two versions (or loader ids) is newer; a byte that no version has is skipped.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        a = skip_foreign(a);
        b = skip_foreign(b);
        // `~` sorts before everything, even before the end.
        if let Some(order) = marker(&mut a, &mut b, b'~') {
            return order;
        }
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        // Then `-`, `^` and `.`, in this order, each before what is none of them.
        for mark in [b'-', b'^', b'.'] {
            if let Some(order) = marker(&mut a, &mut b, mark) {
                return order;
            }
        }
        let starts_with_digit = |text: &[u8]| text.first().is_some_and(u8::is_ascii_digit);
        let digits = starts_with_digit(a) || starts_with_digit(b);
        let order = compare_runs(take_run(&mut a, digits), take_run(&mut b, digits), digits);
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn skip_foreign(text: &[u8]) -> &[u8] {
    let from = text.iter().position(|byte| is_version_byte(*byte)).unwrap_or(text.len());
    &text[from..]
}

/// The order if only one of the two begins with `mark`; both step over it if both do.
fn marker(a: &mut &[u8], b: &mut &[u8], mark: u8) -> Option<Ordering> {
    match (a.first() == Some(&mark), b.first() == Some(&mark)) {
        (true, true) => {
            (*a, *b) = (&a[1..], &b[1..]);
            None
        }
        (true, false) => Some(Ordering::Less),
        (false, true) => Some(Ordering::Greater),
        (false, false) => None,
    }
}

/// Takes the run of digits, or of letters, off the front.
fn take_run<'a>(text: &mut &'a [u8], digits: bool) -> &'a [u8] {
    let belongs = |byte: &u8| if digits { byte.is_ascii_digit() } else { byte.is_ascii_alphabetic() };
    let length = text.iter().position(|byte| !belongs(byte)).unwrap_or(text.len());
    let (run, rest) = text.split_at(length);
    *text = rest;
    run
}

/// Letters by the alphabet, digits as numbers; no digits at all are older than any.
fn compare_runs(a: &[u8], b: &[u8], digits: bool) -> Ordering {
    if !digits {
        return a.cmp(b);
    }
    let value = |run: &[u8]| run[run.iter().take_while(|byte| **byte == b'0').count()..].to_vec();
    let (value_a, value_b) = (value(a), value(b));
    let by_value = || value_a.len().cmp(&value_b.len()).then_with(|| value_a.cmp(&value_b));
    (!a.is_empty()).cmp(&!b.is_empty()).then_with(by_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_the_boot_loader_does() {
        // From the Version Format Specification's examples, oldest first.
        let lists: [&[&str]; 5] = [
            &[
                "122.1",
                "123~rc1-1",
                "123",
                "123-a",
                "123-a.1",
                "123-1",
                "123-1.1",
                "123^post1",
                "123.a-1",
                "123.1-1",
                "123a-1",
                "124-1",
            ],
            &["0.1.0", "0.1.1", "0.2.0~rc1", "0.2.0", "0.2.1", "0.10.0", "1.0.0"],
            &["1.0", "1.0.0"],
            &["a", "b", "ba"],
            &["9", "10", "010a"],
        ];
        for list in lists {
            for (i, older) in list.iter().enumerate() {
                assert_eq!(compare(older, older), Ordering::Equal);
                for newer in &list[i + 1..] {
                    assert_eq!(compare(older, newer), Ordering::Less, "{older} {newer}");
                    assert_eq!(compare(newer, older), Ordering::Greater, "{newer} {older}");
                }
            }
        }
        assert_eq!(compare("0.01", "0.1"), Ordering::Equal);
    }

    #[test]
    fn only_what_fits_a_file_name_is_a_version() {
        for good in ["0.1.0", "1", "2.0.0~rc1-3^a"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "1+1", "1_0", "../x", "1 0", "ü", &"1".repeat(33)] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
