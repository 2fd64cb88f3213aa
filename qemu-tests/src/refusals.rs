//! System calls that a service wanted to make and was refused, as the box' own log tells them.

use anyhow::{Result, ensure};

/// What finds them in the log.
pub const QUERY: &str = "/select/logsql/query?query=%22seccomp%20refused%22&limit=1000";

/// Fails when there are any among the lines that answer [`QUERY`].
///
/// # Errors
/// With the lines.
pub fn none(lines: &str) -> Result<()> {
    // Programs that other tests bring into rooms of this host have their own names.
    let own = |line: &&str| !line.contains("\"thread\":\"program\"");
    let refused: Vec<&str> =
        lines.lines().filter(|line| line.contains("seccomp refused")).filter(own).collect();
    ensure!(
        refused.is_empty(),
        "a service was refused a call; when it is right, add its name to SERVICE.calls beside its manifest (and to BASE \
         in init/src/sandbox/calls.rs when it is new to all):\n{}",
        refused.join("\n")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_a_service_is_told_and_one_of_a_foreign_program_is_not() {
        let line = |thread: &str| format!("{{\"_msg\":\"seccomp refused mount\",\"thread\":\"{thread}\"}}\n");
        assert!(none(&line("program")).is_ok() && none("").is_ok());
        assert!(none(&line("vakt-time")).unwrap_err().to_string().contains("refused mount"));
    }
}
