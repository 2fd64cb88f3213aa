//! Which entry the boot loader takes: systemd-boot 252's order, for those names that we give.
//!
//! Its source (`src/boot/efi/boot.c`, `config_entry_compare` and `config_entry_bump_counters`) sorts: no
//! tries left goes last; then by sort key and machine id, which are the same for all of ours; then the
//! newer version; then the greater id (the file's name); then more tries left; then fewer tries done. It
//! takes the first, and before it starts a counted one it renames `+L-D` to `+(L-1)-(D+1)`.

use std::cmp::Ordering;

use super::entry::Entry;
#[cfg(test)]
use super::entry::Tries;
use super::version;

/// The entry that boots, if there is any.
pub fn choice(entries: &[Entry]) -> Option<&Entry> {
    entries.iter().min_by(|a, b| order(a, b))
}

/// An entry after the loader has taken it.
#[cfg(test)]
pub fn taken(entry: &Entry) -> Entry {
    let counted = |tries: Tries| Tries { left: tries.left.saturating_sub(1), done: tries.done + 1 };
    entry.with(entry.tries.map(counted))
}

fn order(a: &Entry, b: &Entry) -> Ordering {
    let used_up = |entry: &Entry| entry.tries.is_some_and(|tries| tries.left == 0);
    used_up(a)
        .cmp(&used_up(b))
        .then_with(|| version::compare(&b.version, &a.version))
        .then_with(|| version::compare(&b.to_string(), &a.to_string()))
        .then_with(|| match (a.tries, b.tries) {
            (Some(a), Some(b)) => b.left.cmp(&a.left).then(a.done.cmp(&b.done)),
            _ => Ordering::Equal,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str], chosen: &str) {
        let entries: Vec<Entry> = names.iter().map(|name| Entry::parse(name).unwrap()).collect();
        assert_eq!(choice(&entries).unwrap().to_string(), chosen);
        let backwards: Vec<Entry> = entries.into_iter().rev().collect();
        assert_eq!(choice(&backwards).unwrap().to_string(), chosen, "the order on disk decides");
    }

    #[test]
    fn a_newer_entry_is_preferred_while_it_has_tries_and_never_without() {
        check(&["vakt-a_0.1.0.efi", "vakt-b_0.2.0+3-0.efi"], "vakt-b_0.2.0+3-0.efi");
        check(&["vakt-a_0.1.0.efi", "vakt-b_0.2.0+1-2.efi"], "vakt-b_0.2.0+1-2.efi");
        check(&["vakt-a_0.1.0.efi", "vakt-b_0.2.0+0-3.efi"], "vakt-a_0.1.0.efi");
        check(&["vakt-a_0.9.0.efi", "vakt-b_0.10.0.efi"], "vakt-b_0.10.0.efi");
    }

    #[test]
    fn an_entry_that_is_taken_counts_and_no_two_of_the_names_that_we_give_collide() {
        let entry = |name: &str| Entry::parse(name).unwrap();
        assert_eq!(taken(&entry("vakt-b_2+3-0.efi")).to_string(), "vakt-b_2+2-1.efi");
        assert_eq!(taken(&entry("vakt-b_2.efi")).to_string(), "vakt-b_2.efi");
        // While a try is given back, both names are there for a moment. What the loader makes of the one
        // that it takes must not be the other's name: it boots on without counting then.
        for (old, new) in [("+1-2", "+2-2"), ("+0-3", "+1-3"), ("+2-1", "+0-1"), ("+2-1", "")] {
            let both = [entry(&format!("vakt-b_2{old}.efi")), entry(&format!("vakt-b_2{new}.efi"))];
            let after = taken(choice(&both).unwrap());
            assert!(after.tries.is_none() || !both.contains(&after), "{old} {new}: {after}");
        }
    }
}
