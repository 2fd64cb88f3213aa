//! A reset is complete or none, wherever the power goes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::carry::{ask, last, obey, present, take};
use super::*;

/// Everything that a box which has run for a while has in state.
const FILES: [&str; 17] = [
    "init/machine-id",
    "init/evidence.key",
    "init/ledger.json",
    "init/ledger.unusable",
    "init/ssh_read_ed25519",
    "init/ssh_read_ed25519.pub",
    "init/slots.json",
    "init/clock",
    "init/last-reset.json",
    "web/key.der",
    "web/setup-code",
    "store/catalog.redb",
    "store/wal/1.wal",
    "store/blocks/1.blk",
    "log/2026-11-22/1.blk",
    "update/metadata/root.json",
    "something/of/another/version",
];

fn lived_in() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for file in FILES {
        let path = directory.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    directory
}

fn wish(kind: Kind) -> Reset {
    Reset { kind, by: "admin".into(), at_s: 5, done_s: None }
}

/// All files with their contents.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => left.push(entry.path()),
                false => {
                    let path = entry.path().strip_prefix(root).unwrap().to_owned();
                    found.insert(path, fs::read(entry.path()).unwrap());
                }
            }
        }
    }
    found
}

fn names(root: &Path) -> Vec<String> {
    tree(root).keys().map(|path| path.display().to_string()).collect()
}

#[test]
fn everything_leaves_only_what_the_boot_must_know() {
    let state = lived_in();
    ask(state.path(), &wish(Kind::Everything)).unwrap();
    let done = obey(state.path(), 9).unwrap().unwrap();
    assert_eq!((done.kind, done.done_s, last(state.path())), (Kind::Everything, Some(9), Some(done.clone())));
    assert_eq!(names(state.path()), ["init/clock", "init/last-reset.json", "init/slots.json"]);
    assert_eq!(obey(state.path(), 10).unwrap(), None, "it is done once");
}

#[test]
fn settings_leave_data_and_identity() {
    let state = lived_in();
    ask(state.path(), &wish(Kind::Settings)).unwrap();
    obey(state.path(), 9).unwrap().unwrap();
    let gone: Vec<&str> = FILES.into_iter().filter(|file| !state.path().join(file).exists()).collect();
    assert_eq!(gone, ["init/ledger.json", "init/ledger.unusable", "web/setup-code"]);
    assert_eq!(fs::read_to_string(state.path().join(FORGET)).unwrap(), SETTINGS_TABLES);
}

#[test]
fn a_wish_that_cannot_be_read_resets_nothing_and_is_not_asked_again() {
    let state = lived_in();
    let before = tree(state.path());
    fs::write(state.path().join(WISH), "{\"kind\":\"all\"").unwrap();
    assert!(obey(state.path(), 9).unwrap_err().to_string().contains("is no wish for a reset"));
    assert_eq!(tree(state.path()), before);
}

#[test]
fn a_state_that_is_a_link_to_elsewhere_loses_the_link_alone() {
    let (state, elsewhere) = (lived_in(), lived_in());
    std::os::unix::fs::symlink(elsewhere.path(), state.path().join("web/elsewhere")).unwrap();
    ask(state.path(), &wish(Kind::Everything)).unwrap();
    obey(state.path(), 9).unwrap();
    assert_eq!(tree(elsewhere.path()).len(), FILES.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Boots that are cut off after some steps, in the middle of a removal, any number of times; then one that is not.
    #[test]
    fn a_power_cut_at_any_step_ends_in_the_whole_reset(
        everything in any::<bool>(),
        cuts in proptest::collection::vec((0usize..12, any::<prop::sample::Index>()), 0..4),
    ) {
        let kind = if everything { Kind::Everything } else { Kind::Settings };
        let whole = lived_in();
        ask(whole.path(), &wish(kind)).unwrap();
        obey(whole.path(), 9).unwrap();

        let state = lived_in();
        ask(state.path(), &wish(kind)).unwrap();
        for (steps, torn) in cuts {
            if !state.path().join(WISH).exists() {
                break;
            }
            let done = Reset { done_s: Some(9), ..wish(kind) };
            let plan = plan(kind, &present(state.path()).unwrap());
            for step in plan.iter().take(steps) {
                take(state.path(), &done, step).unwrap();
            }
            // The removal that the cut fell into has taken one file of its directory.
            if let Some(Step::Remove(path)) = plan.get(steps) {
                let inside: Vec<PathBuf> =
                    tree(state.path()).into_keys().filter(|file| file.starts_with(path)).collect();
                if !inside.is_empty() {
                    fs::remove_file(state.path().join(torn.get(&inside))).unwrap();
                }
            }
        }
        let again = obey(state.path(), 9).unwrap();
        prop_assert!(again.is_some() || last(state.path()).is_some());
        prop_assert_eq!(tree(state.path()), tree(whole.path()));
    }
}
