//! The machine that the collector runs on: reads what the sources ask for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::time::timeout;

use crate::family::Family;
use crate::inputs::{Inputs, Space, Uname, Usage};
use crate::node::filesystem::{MOUNTS, mounts};
use crate::node::{Outcome, Source};

/// All file systems must answer within this; statvfs on a dead NFS server hangs.
const SPACE_WITHIN: Duration = Duration::from_secs(1);

/// Where the machine's files are.
#[derive(Clone, Debug)]
pub struct Local {
    proc: PathBuf,
    root: PathBuf,
    /// A thread is still waiting for a file system; no other is started until it is back.
    stuck: Arc<AtomicBool>,
}

/// What one round over the sources gave.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    /// The metrics, without those about the scrape.
    pub families: Vec<Family>,
    /// How each source fared, in their order.
    pub outcomes: Vec<Outcome>,
}

impl Local {
    /// `proc` is where procfs is mounted; `root` is put before every mount point to find its file system, as
    /// node_exporter's `--path.rootfs`.
    pub fn new(proc: &Path, root: &Path) -> Local {
        Local { proc: proc.to_owned(), root: root.to_owned(), stuck: Arc::default() }
    }

    /// Reads and parses the sources one after the other.
    pub async fn scrape(&self, sources: &[Source]) -> Scrape {
        let (mut inputs, mut scrape) = (Inputs::default(), Scrape::default());
        for source in sources {
            let begun = Instant::now();
            for path in source.files {
                self.read(path, &mut inputs);
            }
            match source.name {
                "filesystem" => inputs.spaces = self.spaces(&inputs).await,
                "uname" => inputs.uname = Some(uname()),
                "time" => inputs.now = Some(now()),
                _ => {}
            }
            let error = match (source.parse)(&inputs) {
                Ok(families) => {
                    scrape.families.extend(families);
                    None
                }
                Err(error) => Some(error),
            };
            let seconds = begun.elapsed().as_secs_f64();
            scrape.outcomes.push(Outcome { name: source.name, seconds, error });
        }
        scrape
    }

    /// Reads a file unless it was read already; one that cannot be read is missing from the inputs, and the
    /// source that needs it says so.
    fn read(&self, path: &str, inputs: &mut Inputs) {
        if inputs.files.contains_key(path) {
            return;
        }
        // PID 1's view is the machine's; in a sandbox it may be closed, and then the own one is there.
        let places: &[&str] = match path {
            MOUNTS => &[MOUNTS, "self/mountinfo"],
            "net/dev" => &["1/net/dev", "net/dev"],
            "net/sockstat" => &["1/net/sockstat", "net/sockstat"],
            _ => &[path],
        };
        let text = places.iter().find_map(|place| std::fs::read_to_string(self.proc.join(place)).ok());
        if let Some(text) = text {
            inputs.files.insert(path.to_owned(), text);
        }
    }

    async fn spaces(&self, inputs: &Inputs) -> Vec<Space> {
        let Ok(mounts) = mounts(inputs) else { return Vec::new() };
        let points: Vec<String> =
            mounts.iter().map(|mount| mount.mount_point.to_string_lossy().into_owned()).collect();
        let unanswered = |reason: &str| {
            let space = |point: &String| Space { mount_point: point.clone(), usage: Err(reason.into()) };
            points.iter().map(space).collect()
        };
        if self.stuck.swap(true, Ordering::Relaxed) {
            return unanswered("mountpoint timeout");
        }
        let (stuck, root, asked) = (self.stuck.clone(), self.root.clone(), points.clone());
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

fn space(root: &Path, mount_point: String) -> Space {
    let path = root.join(mount_point.trim_start_matches('/'));
    let usage = rustix::fs::statvfs(&path).map_err(|error| error.to_string()).map(|found| {
        let block = found.f_frsize as f64;
        Usage {
            size: found.f_blocks as f64 * block,
            free: found.f_bfree as f64 * block,
            available: found.f_bavail as f64 * block,
            files: found.f_files as f64,
            files_free: found.f_ffree as f64,
        }
    });
    Space { mount_point, usage }
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
