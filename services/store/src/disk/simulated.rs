//! A disk in memory for crash tests: it counts syncs, fails from a chosen one on, and on a power cut
//! forgets everything that was not synced, names included.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Append, Disk, ReadAt};

#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: usize,
}

type Shared = Arc<Mutex<Content>>;

#[derive(Default)]
struct State {
    /// What a process sees.
    names: BTreeMap<String, Shared>,
    /// What a power cut leaves of the names.
    durable: BTreeMap<String, Shared>,
    syncs: u64,
    fail_from: Option<u64>,
    room: Option<usize>,
    full: bool,
}

impl State {
    fn free(&self) -> u64 {
        let used: usize = self.names.values().map(|content| content.lock().unwrap().bytes.len()).sum();
        self.room.map_or(u64::MAX, |room| room.saturating_sub(used) as u64)
    }
}

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

impl SimulatedDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Lets every sync from the `nth` on (from 1, counted over the disk's life) and every later write fail.
    pub fn fail_from(&self, nth: u64) {
        self.state().fail_from = Some(nth);
    }

    /// Lets all files together be at most so large.
    pub fn limit(&self, bytes: usize) {
        self.state().room = Some(bytes);
    }

    fn check_room(&self, more: usize) -> io::Result<()> {
        let mut state = self.state();
        if more as u64 > state.free() {
            state.full = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Syncs so far.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// The disk as a power cut leaves it: of each file the synced part and `torn` more bytes of what
    /// was written, of the names those that were synced.
    pub fn after_power_cut(&self, torn: usize) -> SimulatedDisk {
        let state = self.state();
        let kept = |(name, content): (&String, &Shared)| {
            let content = content.lock().unwrap();
            let length = content.bytes.len().min(content.synced + torn);
            let bytes = content.bytes[..length].to_vec();
            (name.clone(), Arc::new(Mutex::new(Content { bytes, synced: length })))
        };
        let names: BTreeMap<_, _> = state.durable.iter().map(kept).collect();
        SimulatedDisk(Arc::new(Mutex::new(State { durable: names.clone(), names, ..State::default() })))
    }

    /// Changes a file's bytes.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let content = self.state().names[name].clone();
        change(&mut content.lock().unwrap().bytes);
    }

    fn count_sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.syncs += 1;
        match state.fail_from {
            Some(nth) if state.syncs >= nth => Err(io::Error::other("simulated: sync failed")),
            _ => Ok(()),
        }
    }

    fn check_alive(&self) -> io::Result<()> {
        let state = self.state();
        match state.fail_from {
            Some(nth) if state.syncs >= nth => Err(io::Error::other("simulated: disk is gone")),
            _ => Ok(()),
        }
    }

    fn find(&self, name: &str) -> io::Result<Shared> {
        self.state().names.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimulatedDisk {
    fn create_folder(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let prefix = format!("{folder}/");
        Ok(self
            .state()
            .names
            .keys()
            .filter_map(|name| Some(name.strip_prefix(&prefix)?.to_owned()))
            .collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Append>> {
        self.check_alive()?;
        let content = Shared::default();
        self.state().names.insert(name.to_owned(), content.clone());
        Ok(Box::new(SimulatedFile { disk: self.clone(), content }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
        Ok(Box::new(SimulatedFile { disk: self.clone(), content: self.find(name)? }))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_alive()?;
        let content = self.find(from)?;
        self.state().names.insert(to.to_owned(), content);
        Ok(())
    }

    fn folders(&self, folder: &str) -> io::Result<Vec<String>> {
        let (prefix, state) = (format!("{folder}/"), self.state());
        let below = state.names.keys().filter_map(|name| name.strip_prefix(&prefix)?.split_once('/'));
        let mut found: Vec<String> = below.map(|(folder, _)| folder.to_owned()).collect();
        found.dedup();
        Ok(found)
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        self.check_alive()?;
        let prefix = format!("{name}/");
        self.state().names.retain(|name, _| !name.starts_with(&prefix));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_alive()?;
        let prefix = format!("{from}/");
        let mut state = self.state();
        let inside: Vec<String> =
            state.names.keys().filter(|name| name.starts_with(&prefix)).cloned().collect();
        for name in &inside {
            if let Some(content) = state.names.remove(name) {
                state.names.insert(name.replacen(from, to, 1), content);
            }
        }
        drop(state);
        if !inside.is_empty() {
            return Ok(());
        }
        let content = self.find(from)?;
        let mut state = self.state();
        state.names.remove(from);
        state.names.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.check_alive()?;
        self.state().names.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.count_sync()?;
        let prefix = format!("{folder}/");
        let mut state = self.state();
        let now: Vec<_> = state.names.iter().map(|(n, c)| (n.clone(), c.clone())).collect();
        state.durable.retain(|name, _| !name.starts_with(&prefix));
        state.durable.extend(now.into_iter().filter(|(name, _)| name.starts_with(&prefix)));
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(self.state().free())
    }

    fn take_full(&self) -> bool {
        std::mem::take(&mut self.state().full)
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    content: Shared,
}

impl Append for SimulatedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.check_alive()?;
        self.disk.check_room(bytes.len())?;
        self.content.lock().unwrap().bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.count_sync()?;
        let mut content = self.content.lock().unwrap();
        content.synced = content.bytes.len();
        Ok(())
    }
}

impl ReadAt for SimulatedFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let content = self.content.lock().unwrap();
        let start = offset as usize;
        let bytes = content.bytes.get(start..start + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(bytes);
        Ok(())
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.content.lock().unwrap().bytes.len() as u64)
    }
}
