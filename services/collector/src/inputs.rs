//! What a scrape of one machine starts from: file contents and a few answers of the system, whether they were read
//! here or came over SSH. Everything after this is pure.

use std::collections::BTreeMap;

/// One mounted file system and what statvfs(3) said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Space {
    /// Where it is mounted.
    pub mount_point: String,
    /// The numbers, or why there are none.
    pub usage: Result<Usage, String>,
}

/// Sizes in bytes and counts of inodes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// All bytes.
    pub size: f64,
    /// Free bytes, those for root included.
    pub free: f64,
    /// Free bytes for ordinary users.
    pub available: f64,
    /// All inodes.
    pub files: f64,
    /// Free inodes.
    pub files_free: f64,
}

/// What uname(2) says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uname {
    /// `Linux`.
    pub sysname: String,
    /// The kernel's release.
    pub release: String,
    /// Its build.
    pub version: String,
    /// The architecture.
    pub machine: String,
    /// The host's name.
    pub nodename: String,
    /// The NIS domain, mostly `(none)`.
    pub domainname: String,
}

/// Everything that the parsers may ask for.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Contents by path below /proc, such as `net/dev`.
    pub files: BTreeMap<String, String>,
    /// The file systems that are not filtered out.
    pub spaces: Vec<Space>,
    /// The kernel.
    pub uname: Option<Uname>,
    /// Seconds since the epoch on that machine.
    pub now: Option<f64>,
}

/// Why a source gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// A file is not there or may not be read.
    #[error("/proc/{path}: {reason}")]
    Missing {
        /// The file, below /proc.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A file is not as expected.
    #[error("/proc/{path}: {reason}")]
    Content {
        /// The file, below /proc.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something other than a file.
    #[error("{0}")]
    Other(String),
}

impl Inputs {
    /// A file's content.
    ///
    /// # Errors
    /// [`SourceError::Missing`] when it was not read.
    pub fn file(&self, path: &str) -> Result<&str, SourceError> {
        self.files
            .get(path)
            .map(String::as_str)
            .ok_or_else(|| SourceError::Missing { path: path.into(), reason: "not there".into() })
    }

    /// A file's content as the procfs crate reads it.
    ///
    /// # Errors
    /// [`SourceError`] when it was not read or cannot be parsed.
    pub fn parsed<T: procfs::FromBufRead>(&self, path: &str) -> Result<T, SourceError> {
        T::from_buf_read(self.file(path)?.as_bytes()).map_err(|error| content(path, error))
    }
}

/// A [`SourceError::Content`].
pub fn content(path: &str, reason: impl std::fmt::Display) -> SourceError {
    SourceError::Content { path: path.into(), reason: reason.to_string() }
}
