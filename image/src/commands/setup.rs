//! `vakt-image setup`.

use std::process::ExitCode;

use vakt_image::setup::{Need, ensure, peers};

/// Installs what a task needs.
#[derive(Debug, clap::Args)]
pub struct Setup {
    /// `build`, `kernel` (to compile one), `run` or `test`; each holds what `build` does, and `test` what `run` does. For `test` the programs that
    /// it compares with are unpacked below the cache directory.
    #[arg(long = "for", default_value = "run")]
    task: Task,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Task {
    Build,
    Kernel,
    Run,
    Test,
}

impl Setup {
    /// Installs it.
    ///
    /// # Errors
    /// When something is missing and this is not root; the text is the command to run then.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        ensure(match self.task {
            Task::Build => Need::Build,
            Task::Kernel => Need::Kernel,
            Task::Run => Need::Run,
            Task::Test => Need::Test,
        })?;
        if matches!(self.task, Task::Test) {
            peers::of_tests();
        }
        Ok(ExitCode::SUCCESS)
    }
}
