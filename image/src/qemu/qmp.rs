//! QEMU's control socket: one JSON command at a time.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

/// An answer takes milliseconds; a QEMU that is stuck is killed instead.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Sends one command; `arguments` is a JSON object, or null for none.
///
/// # Errors
/// When QEMU is gone, or answers with an error.
pub fn command(socket: &Path, name: &str, arguments: &Value) -> anyhow::Result<()> {
    let stream =
        UnixStream::connect(socket).with_context(|| format!("cannot reach QEMU at {}", socket.display()))?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    // Greeting first, then capabilities, then the command; events may come in between.
    reader.read_line(&mut line)?;
    for (name, arguments) in [("qmp_capabilities", &Value::Null), (name, arguments)] {
        let mut command = json!({ "execute": name });
        if !arguments.is_null() {
            command["arguments"] = arguments.clone();
        }
        writeln!(&stream, "{command}")?;
        loop {
            line.clear();
            anyhow::ensure!(reader.read_line(&mut line)? > 0, "QEMU closed its control socket");
            anyhow::ensure!(!line.starts_with("{\"error\""), "QEMU refused {name}: {}", line.trim());
            if line.starts_with("{\"return\"") {
                break;
            }
        }
    }
    Ok(())
}
