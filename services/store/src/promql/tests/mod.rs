//! Scripts in the language of Prometheus' own PromQL tests: our own under `testdata/promql`, always, and those of a
//! directory that `VAKT_PROMQL_TESTS` names.

mod limits;
mod memory;
mod nhcb;
mod run;
mod script;
mod sequence;

use std::path::{Path, PathBuf};

/// Scripts that a directory may have.
const SCRIPTS_MAX: usize = 200;

fn scripts(directory: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut all: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "test"));
    all.sort();
    assert!(all.len() <= SCRIPTS_MAX, "{} has more than {SCRIPTS_MAX} scripts", directory.display());
    all
}

/// Runs every script and shows a line for each; gives what failed.
fn run_all(directory: &Path) -> Vec<String> {
    let mut failures = Vec::new();
    for path in scripts(directory) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let outcome = run::script(&text);
        println!(
            "{name}: {} of {} evaluations",
            outcome.evaluations - outcome.failures.len(),
            outcome.evaluations
        );
        failures.extend(outcome.failures.into_iter().map(|failure| format!("{name}: {failure}")));
    }
    failures
}

fn check(directory: &Path) {
    let failures = run_all(directory);
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn our_own_scripts_give_what_they_say() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/promql");
    assert!(!scripts(&directory).is_empty());
    check(&directory);
}

#[test]
fn scripts_of_prometheus_give_what_they_say() {
    match std::env::var_os("VAKT_PROMQL_TESTS") {
        Some(directory) => check(Path::new(&directory)),
        None => println!("skipped: VAKT_PROMQL_TESTS is not set"),
    }
}

#[test]
fn a_script_that_is_wrong_fails() {
    let failures = |text: &str| run::script(text).failures.len();
    let load = "load 1m\n  a 1 2 3\n\n";
    assert_eq!(failures(&format!("{load}eval instant at 1m a\n  a 2\n")), 0);
    assert_eq!(failures(&format!("{load}eval instant at 1m a\n  a 3\n")), 1);
    assert_eq!(failures(&format!("{load}eval instant at 1m a\n  b 2\n")), 1);
    assert_eq!(failures(&format!("{load}eval instant at 1m a\n")), 1);
    assert_eq!(failures(&format!("{load}eval instant at 1m a\n  expect fail\n")), 1);
    assert_eq!(failures(&format!("{load}eval instant at 1m a\n  expect warn\n  a 2\n")), 1);
    assert_eq!(failures(&format!("{load}eval instant at 1m nonsense(a)\n  a 2\n")), 1);
    assert_eq!(failures(&format!("{load}eval range from 0 to 2m step 1m a\n  a 1 2 4\n")), 1);
    assert_eq!(failures(&format!("{load}eval range from 0 to 2m step 1m a\n  a 1 2\n")), 1);
    assert_eq!(failures("eval instant at 1m 1 + 1\n  3\n"), 1);
}
