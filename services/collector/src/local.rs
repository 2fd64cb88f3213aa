//! The machine that the collector runs on: reads what the sources ask for.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::time::timeout;

use crate::family::Family;
use crate::files::{Places, Reader};
use crate::inputs::{Inputs, Space, Uname, Usage};
use crate::node::filesystem::mounts;
use crate::node::{Outcome, Source};
use crate::{sys, systemd};

/// All file systems must answer within this; statvfs on a dead NFS server hangs.
const SPACE_WITHIN: Duration = Duration::from_secs(1);

/// Where the machine's files are.
#[derive(Debug)]
pub struct Local {
    places: Places,
    reader: Reader,
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
    /// A machine whose files are at `places`; `root` is put before every mount point to find its file system, as
    /// node_exporter's `--path.rootfs`.
    pub fn new(places: Places) -> Local {
        Local { places, reader: Reader::default(), stuck: Arc::default() }
    }

    /// Reads and parses the sources one after the other.
    pub async fn scrape(&mut self, sources: &[Source]) -> Scrape {
        let (mut inputs, mut scrape) = (Inputs::default(), Scrape::default());
        self.reader.begin();
        for source in sources {
            let begun = Instant::now();
            for files in source.files {
                self.reader.read(&self.places, files, &mut inputs);
            }
            match source.name {
                "filesystem" => inputs.spaces = self.spaces(&inputs).await,
                "uname" => inputs.uname = Some(uname()),
                "time" => {
                    inputs.now = Some(now());
                    inputs.zone = Some(sys::zone(now() as i64));
                }
                "timex" => inputs.clock = sys::clock(),
                "systemd" => inputs.units = systemd::listed().await,
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
