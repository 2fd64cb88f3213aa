//! What every test of the machine begins with: its tests as a table, and a reason where
//! this machine cannot run them.

use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};

/// Set by `make test-long`: the tests that repeat themselves do so a thousand times instead of fifty.
const LONG: &str = "VAKT_TEST_LONG";

/// A test: a sentence, and what shows that it is true.
pub type Test = (&'static str, fn() -> Result<()>);

/// Tests with the same needs. Where there is a reason why this host cannot run them, they are listed as
/// skipped, never as passed.
pub type Group = (Option<String>, &'static [Test]);

/// Runs `tests` one at a time: each has the host to itself. `missing` is the reason of their [`Group`].
pub fn run(missing: Option<String>, tests: &'static [Test]) -> ExitCode {
    run_all(&[(missing, tests)])
}

/// [`run_all`] for tests that mostly wait, as many at a time as there are processors.
pub fn run_together(groups: &[Group]) -> ExitCode {
    begin(&Arguments::from_args(), groups)
}

/// [`run`] for tests with different needs.
pub fn run_all(groups: &[Group]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    begin(&arguments, groups)
}

fn begin(arguments: &Arguments, groups: &[Group]) -> ExitCode {
    let trials = groups
        .iter()
        .flat_map(|(missing, tests)| tests.iter().map(move |test| trial(missing.as_deref(), *test)));
    libtest_mimic::run(arguments, trials.collect()).exit_code()
}

/// Whether a test may take hours.
pub fn is_long() -> bool {
    std::env::var_os(LONG).is_some()
}

fn trial(missing: Option<&str>, (name, test): Test) -> Trial {
    match missing {
        Some(reason) => Trial::test(format!("skipped: {name}: {reason}"), || Ok(())).with_ignored_flag(true),
        None => Trial::test(name, move || test().map_err(|error| Failed::from(format!("{error:#}")))),
    }
}
