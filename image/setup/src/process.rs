//! Running other programs: quietly, with their output in the error when they fail.

use std::process::{Command, Output, Stdio};

use anyhow::Context;

/// Last bytes of a failed program's output that the error shows.
const SHOWN_BYTES_MAX: usize = 3000;

/// Runs a command to its end and returns its output.
///
/// # Errors
/// When it cannot be started (naming the program) or ends with a code other than 0 (with the end of
/// what it printed).
pub fn run(command: &mut Command) -> anyhow::Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {name}; `vakt-image setup` installs what is needed"))?;
    if output.status.success() {
        return Ok(output);
    }
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    let from = said.len().saturating_sub(SHOWN_BYTES_MAX);
    let shown = said.get(from..).unwrap_or(&said);
    anyhow::bail!("{name} ended with {}:\n{shown}", output.status)
}

/// Whether a program is on the PATH (or in the sbin directories, which a user's PATH may lack).
pub fn is_there(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin"])
        .any(|directory| std::path::Path::new(directory).join(program).exists())
}

/// Says what is being done, on standard error.
pub fn step(text: &str) {
    eprintln!("==> {text}");
}
