//! The set-up code: shown on the console of a box without an administrator, good for making one.
//!
//! It lies in `setup-code` (mode 0600) so that a restart shows the same one, and goes once it was used.
//! 8 of 30 letters are 39 bits; with the back-off of [`super::attempts`] that is far out of reach.

use std::io;
use std::path::{Path, PathBuf};

use crate::certificate::replace;
use crate::random::{self, same};

/// Letters that nobody takes for another: no 0 or O, no 1, I or L, no U.
const LETTERS: &[u8; 30] = b"23456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Name of the file in the data directory.
const FILE: &str = "setup-code";

/// The code of a box, while it has one.
#[derive(Debug)]
pub struct SetupCode {
    path: PathBuf,
    code: Option<String>,
}

/// Upper case, without the dash and spaces that people type or leave out.
fn normal(code: &str) -> String {
    code.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_uppercase()).collect()
}

impl SetupCode {
    /// No code: the box has an administrator, or it is not known yet whether it has.
    pub fn none(dir: &Path) -> SetupCode {
        SetupCode { path: dir.join(FILE), code: None }
    }

    /// Makes the code, or takes up the one of before, and returns it for the console.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn arm(&mut self, dir: &Path) -> io::Result<String> {
        let kept = std::fs::read_to_string(&self.path).ok();
        let code = match kept.filter(|code| normal(code).len() == 8 && code.len() == 9) {
            Some(code) => code,
            None => {
                let code = make()?;
                replace(dir, FILE, code.as_bytes())?;
                code
            }
        };
        self.code = Some(code.clone());
        Ok(code)
    }

    /// Is there a code that could be used?
    pub fn is_armed(&self) -> bool {
        self.code.is_some()
    }

    /// Is this the code?
    pub fn accepts(&self, typed: &str) -> bool {
        self.code.as_ref().is_some_and(|code| same(&normal(code), &normal(typed)))
    }

    /// The code was used: there is none any more, not after a restart either.
    ///
    /// # Errors
    /// When the file cannot be removed; the code is refused all the same while this process lives.
    pub fn used(&mut self) -> io::Result<()> {
        self.code = None;
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// `XXXX-XXXX`.
fn make() -> io::Result<String> {
    let mut code = String::with_capacity(9);
    while code.len() < 9 {
        let [byte] = random::bytes()?;
        // Bytes beyond the last whole round of the letters would favour its first letters.
        let rounds = 256 / LETTERS.len() * LETTERS.len();
        if usize::from(byte) < rounds {
            code.push(char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
        }
        if code.len() == 4 {
            code.push('-');
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_survives_restarts_until_it_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = SetupCode::none(dir.path());
        assert!(!first.is_armed() && !first.accepts(""));
        let code = first.arm(dir.path()).unwrap();
        assert!(code.len() == 9 && code.as_bytes()[4] == b'-', "{code}");
        let mut again = SetupCode::none(dir.path());
        assert_eq!(again.arm(dir.path()).unwrap(), code);
        assert!(again.accepts(&code.to_lowercase().replace('-', " ")));
        assert!(!again.accepts("AAAA-AAAA") && !again.accepts(""));
        again.used().unwrap();
        assert!(!again.accepts(&code));
        assert_ne!(SetupCode::none(dir.path()).arm(dir.path()).unwrap(), code);
    }
}
