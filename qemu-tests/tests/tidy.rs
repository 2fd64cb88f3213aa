//! The house kept tidy: rules about the source that no compiler checks.
#![expect(clippy::unwrap_used, reason = "a test: a file that cannot be read ends it")]

use std::fs;
use std::path::{Path, PathBuf};

use vakt_qemu_tests::container::workspace;

/// Lines of a file without its tests; past this it is split by what it is about.
const LINES_MAX: usize = 500;

/// Lines of a program's entry.
const MAIN_LINES_MAX: usize = 80;

/// Marks of work that was left, put together here so that this file has none.
fn leftovers() -> Vec<String> {
    [
        ("TO", "DO"),
        ("FIX", "ME"),
        ("XX", "X:"),
        ("to", "do!("),
        ("unimpl", "emented!("),
        ("db", "g!("),
        ("#[ign", "ore"),
    ]
    .map(|(a, b)| format!("{a}{b}"))
    .into()
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for room in ["init", "services", "ebpf", "image", "qemu-tests"] {
        walk(&workspace().join(room), &mut found);
    }
    assert!(found.len() > 50, "the walk over the source found {} files", found.len());
    found
}

fn walk(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
}

/// The part before the unit tests.
fn code(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text)
}

fn complain(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_file_is_too_long_to_be_one_room() {
    let wrong: Vec<String> = sources()
        .iter()
        .filter(|(path, _)| !path.to_string_lossy().contains("/tests"))
        .map(|(path, text)| (path, code(text).lines().count()))
        .filter(|(path, lines)| *lines > if path.ends_with("main.rs") { MAIN_LINES_MAX } else { LINES_MAX })
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    complain(&wrong);
}

#[test]
fn every_file_says_what_it_is_for() {
    let wrong: Vec<String> = sources()
        .iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| format!("{}: does not begin with //!", path.display()))
        .collect();
    complain(&wrong);
}

#[test]
fn nothing_is_left_half_done() {
    let marks = leftovers();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(mark.as_str())) {
                wrong.push(format!("{}:{}: {mark}", path.display(), number + 1));
            }
        }
    }
    complain(&wrong);
}

#[test]
fn unsafe_code_lives_only_in_files_named_for_it() {
    let allowed = ["sys.rs", "vakt-escape.rs", "ring.rs"];
    let wrong: Vec<String> = sources()
        .iter()
        .filter(|(path, text)| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            text.contains(concat!("unsafe", " {")) && !allowed.contains(&name.as_str()) && name != "tidy.rs"
        })
        .map(|(path, _)| format!("{}: unsafe code", path.display()))
        .collect();
    complain(&wrong);
}

#[test]
fn every_crate_takes_the_workspace_lints_and_versions() {
    let mut wrong = Vec::new();
    for room in
        ["init", "ebpf", "image", "qemu-tests", "services/wire", "services/peer", "services/collector"]
            .into_iter()
            .chain(["services/log", "services/store", "services/repair", "services/web", "services/update"])
            .chain(["services/time"])
    {
        let text = fs::read_to_string(workspace().join(room).join("Cargo.toml")).unwrap();
        for needed in ["[lints]\nworkspace = true", "version.workspace = true", "license.workspace = true"] {
            if !text.contains(needed) {
                wrong.push(format!("{room}/Cargo.toml: no {needed:?}"));
            }
        }
    }
    complain(&wrong);
}
