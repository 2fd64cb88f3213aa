//! Backup and restore: the machine config with its secrets and the catalog as one encrypted file (FORMAT.md).
//!
//! Both are done by a short-lived child of init (`vakt-init backup`, `vakt-init restore`), to which PID 1 hands the
//! connection of who asked: secrets leave init only encrypted, PID 1 holds none of the bytes, and nothing is waited
//! for. [`make`] streams from the catalog to the caller. [`restore`] keeps the file below state, reads it through once to
//! check all of it, and only then once more to put it in place.

mod age;
mod call;
mod contents;
mod make;
mod restore;

use serde::{Deserialize, Serialize};

pub use make::main as make;
pub use restore::{clean_up, main as restore};

/// Exit code of a restore after which repair must begin anew, for evidence has another key now.
pub const EVIDENCE_CHANGED: i32 = 10;

/// Largest file: a year of evidence of a busy box; it lies in state while it is checked.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// Shortest passphrase: the file may lie anywhere, and guesses cost nothing but time.
pub const PASSPHRASE_CHARS_MIN: usize = 12;

/// The store's socket, init's own, and init's directory in state.
const STORE: &str = "/run/vakt/store/http.sock";
const INIT: &str = "/run/vakt/init/http.sock";
const OWN_STATE: &str = "/state/init";

/// What PID 1 tells the child, as one line of JSON on its standard input; behind it the first bytes of the body follow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Opens the file.
    pub passphrase: String,
    /// Who asks.
    pub by: String,
    /// Bytes of the body; 0 for a backup.
    pub length: u64,
}
