//! Tries a way out of a service's room, in the room of a service that runs.

use anyhow::{Result, bail};

use crate::container::Container;
use crate::programs;

/// Whether `attempt` with `argument` (see `vakt-escape`) is possible in the room of `service`.
///
/// # Errors
/// When the probe does not say.
pub fn is_possible(container: &Container, service: &str, attempt: &str, argument: &str) -> Result<bool> {
    let output = container.exec(service, &programs::path("vakt-escape")?, &[attempt, argument])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.code() {
        Some(0) if said.starts_with("refused:") => Ok(false),
        Some(10) if said.starts_with("possible:") => Ok(true),
        code => bail!(
            "{service} {attempt} {argument}: the probe ended with {code:?}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}
