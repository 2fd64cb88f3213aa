//! The signing key: 32 raw bytes in a file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or made.
    #[error("evidence key {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not 32 bytes.
    #[error("evidence key {path}: has {found} bytes, not 32; example: head -c 32 /dev/urandom > {path}")]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: usize,
    },
}

/// Reads the key at `path`. When there is no such file, makes one that only its owner can read; on the box
/// init has made it and it is mounted read-only.
///
/// # Errors
/// [`KeyError`], which names the file.
pub fn load_or_make(path: &Path) -> Result<SigningKey, KeyError> {
    let file = |source| KeyError::File { path: path.to_owned(), source };
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path).map_err(file)?.to_vec(),
        read => read.map_err(file)?,
    };
    let found = bytes.len();
    let seed = <[u8; 32]>::try_from(bytes).map_err(|_| KeyError::Length { path: path.to_owned(), found })?;
    Ok(SigningKey::from_bytes(&seed))
}

fn make(path: &Path) -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    let filled = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())?;
    if filled != seed.len() {
        return Err(io::Error::other(format!("the kernel gave {filled} random bytes of 32")));
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&seed)?;
    file.sync_all()?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_read_ever_after() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let made = load_or_make(&path).unwrap();
        assert_eq!(load_or_make(&path).unwrap().to_bytes(), made.to_bytes());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, b"short").unwrap();
        assert!(load_or_make(&path).unwrap_err().to_string().contains("has 5 bytes, not 32"));
    }
}
