//! What a scrape of one machine starts from: file contents and a few answers of the system, whether they were read
//! here or came over SSH. Everything after this is pure.

use crate::node::filesystem::Mount;
use crate::node::textfile::TextFiles;
use crate::texts::Texts;

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
    /// It was made read-only after an error, which the mount table may tell a minute later.
    pub is_read_only: bool,
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
    /// Contents of files.
    pub files: Texts,
    /// The mounts that count, where the table was read before; else it is read by who needs it.
    pub mounts: Option<Vec<Mount>>,
    /// What the file systems of these say.
    pub spaces: Vec<Space>,
    /// The kernel.
    pub uname: Option<Uname>,
    /// Seconds since the epoch on that machine.
    pub now: Option<f64>,
    /// The time zone there: seconds east of Greenwich, and its short name.
    pub zone: Option<(i64, String)>,
    /// The kernel's clock discipline.
    pub clock: Option<Clock>,
    /// What the time service says of it instead, as text 0.0.4: in a room nobody may ask the kernel.
    pub clock_text: Option<String>,
    /// Metrics that others wrote into files.
    pub text_files: Option<TextFiles>,
    /// systemd's units, one a line: name, load state, active state, sub-state, as `systemctl list-units` prints them.
    pub units: Option<String>,
}

/// What adjtimex(2) tells, in the kernel's own units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Whether the clock counts as synchronised (the call's own answer was not TIME_ERROR).
    pub synchronised: bool,
    /// The fields of `struct timex`: offset, freq, maxerror, esterror, status, constant, tick, ppsfreq, jitter, shift,
    /// stabil, jitcnt, calcnt, errcnt, stbcnt, tai.
    pub fields: [i64; 16],
}

/// Ends the name of a file that is a link: its content is then the place where it leads.
pub const LINK: char = '@';

/// Ends the name of a file that never changes while the thing is there that it is of, as the kernel's documents say or its
/// source; or whose change may be seen a minute late. It is read when the patterns are filled in anew.
pub const STEADY: char = '=';

/// Files that a source reads: `names` below every folder that `folder` matches, where a component that ends in `*`
/// stands for all that begin so. Names below /proc are kept without it.
#[derive(Clone, Copy, Debug)]
pub struct Files {
    /// An absolute folder such as `/proc` or `/sys/class/net/*`.
    pub folder: &'static str,
    /// Names below it, which may have a `*` at the end of a component.
    pub names: &'static [&'static str],
}

/// Files below /proc.
pub const fn proc(names: &'static [&'static str]) -> Files {
    Files { folder: "/proc", names }
}

/// The files of one thing in /sys, such as a disk.
#[derive(Clone, Debug)]
pub struct Device<'a> {
    /// Its folder's name.
    pub name: &'a str,
    files: Vec<(&'a str, &'a str)>,
}

impl<'a> Device<'a> {
    /// A file's content without the white space around it.
    pub fn text(&self, file: &str) -> Option<&'a str> {
        self.files.iter().find(|(name, _)| *name == file).map(|(_, text)| text.trim())
    }

    /// A file's number, decimal or hexadecimal with `0x`.
    pub fn number(&self, file: &str) -> Option<f64> {
        self.text(file).and_then(integer)
    }

    /// Its files in the order of their names.
    pub fn files(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files.iter().map(|(name, text)| (*name, text.trim()))
    }

    /// The things in a folder of this one, such as the ports of an adapter.
    pub fn folder(&self, name: &str) -> Vec<Device<'a>> {
        let below = |path: &'a str| path.strip_prefix(name)?.strip_prefix('/');
        grouped(self.files.iter().filter_map(|(path, text)| Some((below(path)?, *text))))
    }

    /// The things in a folder of this one whose names begin with `prefix`.
    pub fn parts(&self, prefix: &str) -> Vec<Device<'a>> {
        grouped(self.files.iter().filter(|(name, _)| name.starts_with(prefix)).copied())
    }
}

/// A whole number as the kernel writes it: decimal, or hexadecimal with `0x`.
pub fn integer(text: &str) -> Option<f64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(|value| value as f64),
        None => text
            .parse::<i64>()
            .map(|value| value as f64)
            .or_else(|_| text.parse::<u64>().map(|v| v as f64))
            .ok(),
    }
}

/// Paths of `name/file`, sorted, as one device for each name.
fn grouped<'a>(paths: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Device<'a>> {
    let mut devices: Vec<Device<'a>> = Vec::new();
    for (path, text) in paths {
        let Some((name, file)) = path.split_once('/') else { continue };
        match devices.last_mut() {
            Some(device) if device.name == name => device.files.push((file, text)),
            _ => devices.push(Device { name, files: vec![(file, text)] }),
        }
    }
    devices
}

/// Why a source gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// A file is not there or may not be read.
    #[error("{}: {reason}", full(path))]
    Missing {
        /// The file, below /proc.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A file is not as expected.
    #[error("{}: {reason}", full(path))]
    Content {
        /// The file, below /proc.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something other than a file.
    #[error("{0}")]
    Other(String),
    /// This machine does not have what the source measures, which is no fault.
    #[error("{0} is not on this machine")]
    Absent(&'static str),
}

fn full(path: &str) -> String {
    if path.starts_with('/') { path.into() } else { format!("/proc/{path}") }
}

impl Inputs {
    /// A file's content.
    ///
    /// # Errors
    /// [`SourceError::Missing`] when it was not read.
    pub fn file(&self, path: &str) -> Result<&str, SourceError> {
        self.files
            .get(path)
            .ok_or_else(|| SourceError::Missing { path: path.into(), reason: "not there".into() })
    }

    /// The single number that a file holds.
    ///
    /// # Errors
    /// [`SourceError`] when it was not read or holds something else.
    pub fn number(&self, path: &str) -> Result<f64, SourceError> {
        let text = self.file(path)?.trim();
        integer(text).ok_or_else(|| content(path, format_args!("{text:?} is no number")))
    }

    /// The things in `folder` (which ends in `/`) whose names begin with `prefix`, in the order of their names.
    pub fn devices<'a>(&'a self, folder: &'a str, prefix: &str) -> Vec<Device<'a>> {
        grouped(self.files.below(folder).filter(|(rest, _)| rest.starts_with(prefix)))
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
