//! How much of the state partition each service may take, as the kernel holds it: one ext4 project a service
//! (quotactl(2), Documentation/filesystems/ext4), so that no service can fill the disk for the others. What no
//! service may take is the reserve: init's own files, and the file system's.
//!
//! Inside its directory a service sees its quota as the size of the disk.

mod sys;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::Context;

/// The state partition's quotas.
#[derive(Debug)]
pub struct Quotas {
    state: File,
    bytes: u64,
}

/// What a service has taken and may take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Taken.
    pub bytes: u64,
    /// May be taken.
    pub bytes_max: u64,
}

impl Quotas {
    /// The quotas of the file system that is mounted on `state`; `None` where the kernel holds none: in a
    /// container, and where state is a tmpfs.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn of(state: &Path) -> anyhow::Result<Option<Quotas>> {
        let all = rustix::fs::statvfs(state).with_context(|| format!("cannot ask {}", state.display()))?;
        let file = File::open(state).with_context(|| format!("cannot open {}", state.display()))?;
        let quotas = Quotas { state: file, bytes: all.f_blocks * all.f_frsize };
        // Nothing is known of project 0, but that the kernel answers.
        Ok(sys::project_quota(quotas.state.as_fd(), 0).is_ok().then_some(quotas))
    }

    /// Bounds what is below `directory`, from now on, to `percent` of the state partition. `project` is the
    /// service's uid.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn bound(&self, directory: &Path, project: u32, percent: u8) -> io::Result<()> {
        sys::set_project(File::open(directory)?.as_fd(), project)?;
        sys::set_project_quota(self.state.as_fd(), project, self.bytes / 100 * u64::from(percent))
    }

    /// What a project has taken.
    pub fn used(&self, project: u32) -> Option<Used> {
        let (bytes, bytes_max) = sys::project_quota(self.state.as_fd(), project).ok()?;
        (bytes_max > 0).then_some(Used { bytes, bytes_max })
    }
}
