//! What is said about a config that is refused.

use std::fmt;

/// Why a machine config was refused: the key, the place, the reason with an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key's path, such as `peer[1].address`; empty when the document is no TOML at all.
    pub key: String,
    /// Line, from 1; 0 when unknown.
    pub line: usize,
    /// Column in characters, from 1; 0 when unknown.
    pub column: usize,
    /// What is wrong, and an example of what would be right.
    pub reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ConfigError {}
