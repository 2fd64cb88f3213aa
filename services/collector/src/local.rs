//! The machine that the collector runs on: reads what the sources ask for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::StatVfsMountFlags;
use tokio::time::timeout;

use crate::family::Family;
use crate::files::{Places, Reader};
use crate::inputs::{Inputs, SourceError, Space, Uname, Usage};
use crate::node::filesystem::{Mount, mounts};
use crate::node::{Outcome, Source};
use crate::promfiles::Directories;
use crate::timekeeper::Timekeeper;
use crate::{sys, systemd};

/// All file systems must answer within this; statvfs on a dead NFS server hangs.
const SPACE_WITHIN: Duration = Duration::from_secs(1);

/// Kinds of file systems that keep the numbers of statvfs in memory: they are asked without a thread.
const QUICK: [&str; 8] = ["btrfs", "ext2", "ext3", "ext4", "f2fs", "ramfs", "tmpfs", "xfs"];

/// Where the machine's files are, and what its sources said last.
#[derive(Debug)]
pub struct Local {
    places: Places,
    reader: Reader,
    inputs: Inputs,
    directories: Directories,
    timekeeper: Option<Timekeeper>,
    told: Vec<Told>,
    /// A thread is still waiting for a file system; no other is started until it is back.
    stuck: Arc<AtomicBool>,
}

/// What a source said.
#[derive(Debug)]
pub struct Told {
    source: Source,
    /// Its metrics.
    pub families: Vec<Family>,
    /// Whether they may be others than in the round before.
    pub changed: bool,
    error: Option<SourceError>,
    seconds: f64,
}

impl Told {
    /// How the source fared.
    pub fn outcome(&self) -> Outcome<'_> {
        Outcome { name: self.source.name, seconds: self.seconds, error: self.error.as_ref() }
    }
}

impl Local {
    /// A machine whose files are at `places`; `root` is put before every mount point to find its file system, as
    /// node_exporter's `--path.rootfs`. `text_files` are directories with metrics of others.
    pub fn new(places: Places, sources: Vec<Source>, text_files: Vec<PathBuf>) -> Local {
        let told = |source| Told { source, families: Vec::new(), changed: true, error: None, seconds: 0.0 };
        Local {
            places,
            reader: Reader::default(),
            inputs: Inputs::default(),
            directories: Directories::new(text_files),
            timekeeper: None,
            told: sources.into_iter().map(told).collect(),
            stuck: Arc::default(),
        }
    }

    /// The same, but for the clock's discipline, which a service tells.
    pub fn with_timekeeper(mut self, timekeeper: Option<Timekeeper>) -> Local {
        self.timekeeper = timekeeper;
        self
    }

    /// Reads the sources one after the other, and has those parsed of which something changed. What they say is in their
    /// order.
    pub async fn scrape(&mut self) -> &[Told] {
        self.reader.begin(Instant::now(), &mut self.inputs.files);
        for at in 0..self.told.len() {
            let begun = Instant::now();
            let source = self.told[at].source;
            let mut changed = false;
            for files in source.files {
                changed |= self.reader.read(&self.places, files, &mut self.inputs.files);
            }
            if source.name == "filesystem" && changed {
                self.inputs.mounts = mounts(&self.inputs).ok();
            }
            changed |= self.ask(source.name).await;
            let told = &mut self.told[at];
            told.changed = changed || (told.families.is_empty() && told.error.is_none());
            if told.changed {
                (told.families, told.error) = match (source.parse)(&self.inputs) {
                    Ok(families) => (families, None),
                    Err(error) => (Vec::new(), Some(error)),
                };
            }
            told.seconds = begun.elapsed().as_secs_f64();
        }
        &self.told
    }

    /// Asks the system what is in no file. Returns whether it answers something else than in the round before.
    async fn ask(&mut self, source: &str) -> bool {
        match source {
            "filesystem" => {
                let spaces = self.spaces().await;
                replaced(&mut self.inputs.spaces, spaces)
            }
            "uname" => replaced(&mut self.inputs.uname, Some(uname())),
            "time" => {
                let now = now();
                self.inputs.now = Some(now);
                self.inputs.zone = Some(sys::zone(now as i64));
                true
            }
            "textfile" => match self.directories.read(self.inputs.text_files.as_ref()) {
                Some(found) => replaced(&mut self.inputs.text_files, Some(found)),
                None => false,
            },
            "timex" => match &mut self.timekeeper {
                Some(timekeeper) => match timekeeper.told(Instant::now()).await {
                    Some(text) => replaced(&mut self.inputs.clock_text, text),
                    None => false,
                },
                None => replaced(&mut self.inputs.clock, sys::clock()),
            },
            "systemd" => replaced(&mut self.inputs.units, systemd::listed().await),
            _ => false,
        }
    }

    async fn spaces(&self) -> Vec<Space> {
        let mounts = self.inputs.mounts.as_deref().unwrap_or_default();
        let (quick, slow): (Vec<&Mount>, Vec<&Mount>) =
            mounts.iter().partition(|mount| is_quick(mount, mounts));
        let mut spaces: Vec<Space> =
            quick.into_iter().map(|mount| space(&self.places.root, mount.point.clone())).collect();
        if !slow.is_empty() {
            spaces.extend(self.asked(slow.into_iter().map(|mount| mount.point.clone()).collect()).await);
        }
        spaces
    }

    /// Has a thread ask file systems that may not answer.
    async fn asked(&self, points: Vec<String>) -> Vec<Space> {
        let unanswered = |reason: &str| {
            let space = |point: &String| Space { mount_point: point.clone(), usage: Err(reason.into()) };
            points.iter().map(space).collect()
        };
        if self.stuck.swap(true, Ordering::Relaxed) {
            return unanswered("mountpoint timeout");
        }
        let (stuck, root, asked) = (self.stuck.clone(), self.places.root.clone(), points.clone());
        let asking = tokio::task::spawn_blocking(move || {
            let spaces: Vec<Space> = asked.into_iter().map(|point| space(&root, point)).collect();
            stuck.store(false, Ordering::Relaxed);
            spaces
        });
        match timeout(SPACE_WITHIN, asking).await {
            Ok(Ok(spaces)) => spaces,
            Ok(Err(_)) | Err(_) => unanswered("mountpoint timeout"),
        }
    }
}

/// Whether a file system answers from memory, and no other one must be gone through on the way to it that may not.
fn is_quick(mount: &Mount, all: &[Mount]) -> bool {
    let is_kind = |mount: &Mount| QUICK.contains(&mount.kind.as_str());
    let is_below = |other: &Mount| {
        mount.point.strip_prefix(&other.point).is_some_and(|rest| rest.starts_with('/') || other.point == "/")
    };
    is_kind(mount) && !all.iter().any(|other| !is_kind(other) && is_below(other))
}

/// Puts `new` into `place`. Returns whether it is something else.
fn replaced<T: PartialEq>(place: &mut T, new: T) -> bool {
    let changed = *place != new;
    *place = new;
    changed
}

fn space(root: &Path, mount_point: String) -> Space {
    let path = root.join(mount_point.trim_start_matches('/'));
    let usage = rustix::fs::statvfs(&path).map_err(reason).map(|found| {
        let block = found.f_frsize as f64;
        Usage {
            size: found.f_blocks as f64 * block,
            free: found.f_bfree as f64 * block,
            available: found.f_bavail as f64 * block,
            files: found.f_files as f64,
            files_free: found.f_ffree as f64,
            is_read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
        }
    });
    Space { mount_point, usage }
}

/// The errno's text in lower case, as node_exporter has it.
fn reason(error: rustix::io::Errno) -> String {
    let text = std::io::Error::from(error).to_string().to_lowercase();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// What the running kernel calls itself.
pub fn uname() -> Uname {
    let found = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    Uname {
        sysname: text(found.sysname()),
        release: text(found.release()),
        version: text(found.version()),
        machine: text(found.machine()),
        nodename: text(found.nodename()),
        domainname: text(found.domainname()),
    }
}

/// Seconds since the epoch.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_asked_at_once_unless_the_way_to_it_goes_through_the_network() {
        let mount = |kind: &str, point: &str| Mount {
            device: "d".into(),
            kind: kind.into(),
            point: point.into(),
            numbers: "8:1".into(),
            is_read_only: false,
        };
        let all =
            [mount("ext4", "/"), mount("nfs4", "/far"), mount("ext4", "/far/disk"), mount("xfs", "/farther")];
        let quick: Vec<bool> = all.iter().map(|mount| is_quick(mount, &all)).collect();
        assert_eq!(quick, [true, false, false, true]);
        let all = [mount("nfs4", "/"), mount("tmpfs", "/tmp")];
        assert!(!is_quick(&all[1], &all));
    }
}
