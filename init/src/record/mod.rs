//! The system calls that services make, written down while they run, from their execve on.
//!
//! An eBPF program at the kernel's entry (`sys_enter`, which a refused call does not reach) notes each pair
//! of cgroup and call in a map. Nothing about the services changes. `vakt-init container --record DIR`
//! writes `DIR/NAME.calls` at its end, sorted, with what was there before: that is how the lists beside the
//! manifests are made (`manifest::calls`).

mod program;

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Context;

use crate::bpf::sys::{self, Kind, MapKind};
use crate::sandbox::names::name_of;

/// Pairs of cgroup and call: every call of every cgroup of a busy builder. What comes past it is not written.
const PAIRS_MAX: u32 = 65_536;

/// Processes that began after the recorder did; the oldest is forgotten.
const PROCESSES_MAX: u32 = 65_536;

/// A recorder at work. Dropping it ends it.
#[derive(Debug)]
pub struct Recorder {
    pairs: OwnedFd,
    _tracepoint: OwnedFd,
}

impl Recorder {
    /// Records from now on, everywhere on this host.
    ///
    /// # Errors
    /// When the kernel takes no such program: CAP_BPF and CAP_PERFMON are needed.
    pub fn start() -> anyhow::Result<Recorder> {
        let refused = "cannot record system calls; the kernel needs CONFIG_BPF_EVENTS, and we CAP_BPF";
        let pairs = sys::map(MapKind::Hash, program::PAIR_BYTES, PAIRS_MAX).context(refused)?;
        let begun = sys::map(MapKind::LruHash, program::PROCESS_BYTES, PROCESSES_MAX).context(refused)?;
        let code = program::write(pairs.as_raw_fd(), begun.as_raw_fd())?;
        let loaded = sys::load(&code, Kind::RawTracepoint).context(refused)?;
        let tracepoint = sys::at_tracepoint(c"sys_enter", loaded.as_fd()).context(refused)?;
        Ok(Recorder { pairs, _tracepoint: tracepoint })
    }

    /// Writes the calls of each cgroup below `services` to `directory`, with what its files hold already.
    ///
    /// # Errors
    /// When a map or a file cannot be read, or not be written.
    pub fn write(&self, services: &Path, directory: &Path) -> anyhow::Result<()> {
        let pairs = self.pairs()?;
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        for entry in fs::read_dir(services).with_context(|| format!("no {}", services.display()))? {
            let (path, metadata) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
            let calls = pairs.iter().filter(|(group, _)| *group == metadata.ino() && metadata.is_dir());
            let mut names: BTreeSet<String> = calls.map(|(_, call)| name_of(*call)).collect();
            if names.is_empty() {
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let file = directory.join(format!("{name}.calls"));
            // The first recording finds no file.
            let before = fs::read_to_string(&file).unwrap_or_default();
            names.extend(before.lines().map(str::to_owned));
            let text: String = names.iter().map(|name| format!("{name}\n")).collect();
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }

    fn pairs(&self) -> anyhow::Result<Vec<(u64, i64)>> {
        let mut pairs: Vec<(u64, i64)> = Vec::new();
        let mut last: Option<[u8; 16]> = None;
        while let Some(key) =
            sys::next_key(self.pairs.as_fd(), last.as_ref()).context("cannot read the record")?
        {
            let (group, call) = key.split_at(8);
            pairs.push((u64::from_ne_bytes(group.try_into()?), i64::from_ne_bytes(call.try_into()?)));
            last = Some(key);
            // A key that goes while the map is walked begins the walk anew; none ever does here.
            anyhow::ensure!(pairs.len() <= PAIRS_MAX as usize, "the record has no end");
        }
        Ok(pairs)
    }
}
