//! The thread that appends and syncs.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};

use super::record::{SEGMENT_HEADER_BYTES, segment_header};
use super::{FOLDER, exemplars, segment_name};
use crate::counters::Counters;
use crate::disk::{Append, Disk, Room};

/// Bytes that may wait for the disk. Past it writers are told to come back later; with requests of at
/// most 32 MiB unpacked it bounds the queue's memory to this and one record.
pub const QUEUE_BYTES_MAX: usize = 32 << 20;

/// Bytes that one sync covers at most, so that a flood cannot delay the first writer for ever.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// Why a record was not made durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WalError {
    /// [`QUEUE_BYTES_MAX`] is waiting.
    #[error("write-ahead log is behind: {waiting} bytes wait for the disk")]
    Behind {
        /// Bytes in the queue.
        waiting: usize,
    },
    /// The disk refused.
    #[error("write-ahead log {segment}: {reason}")]
    Disk {
        /// The segment's file.
        segment: String,
        /// What the system said.
        reason: String,
    },
    /// There is room for blocks alone, by which there will be more.
    #[error("the disk is full; room is being made")]
    NoRoom,
    /// The store is stopping.
    #[error("write-ahead log is closed")]
    Closed,
}

/// Called once with the outcome, on the log's thread; it must not block.
pub type Done = Box<dyn FnOnce(Result<(), WalError>) + Send>;

enum Message {
    Record {
        segment: u64,
        bytes: Vec<u8>,
        /// A record of exemplars, or nothing.
        exemplars: Vec<u8>,
        done: Done,
    },
    /// Everything up to this segment is in blocks.
    Remove { up_to: u64 },
    /// Somebody waits until all of the above is done.
    Settle(SyncSender<()>),
}

/// The handle on the thread. Dropping it writes what is queued and ends the thread.
pub struct Wal {
    queue: Mutex<Option<Sender<Message>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
    room: Arc<Room>,
}

#[derive(Default)]
struct Shared {
    waiting: AtomicUsize,
    /// Segments up to this number are not to be written to any more.
    broken: AtomicU64,
}

impl Wal {
    /// Starts the thread. Segments must have numbers above those on disk.
    ///
    /// # Errors
    /// When the system gives no thread, or the segments on disk cannot be listed.
    pub fn start(disk: Arc<dyn Disk>, counters: Arc<Counters>, room: Arc<Room>) -> io::Result<Wal> {
        let (queue, messages) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let sizes = sizes(&*disk)?;
        let writer = Writer {
            disk,
            counters,
            shared: shared.clone(),
            room: room.clone(),
            sizes,
            current: None,
            beside: Beside::default(),
        };
        let thread = Builder::new().name("wal".into()).spawn(move || writer.run(&messages))?;
        Ok(Wal { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)), shared, room })
    }

    /// Whether the queue and the disk have room; ask before a record is made, because a record that was made
    /// must be queued.
    ///
    /// # Errors
    /// [`WalError::Behind`] and [`WalError::NoRoom`].
    pub fn room(&self) -> Result<(), WalError> {
        if self.room.is_short() {
            return Err(WalError::NoRoom);
        }
        let waiting = self.shared.waiting.load(Ordering::Relaxed);
        if waiting > QUEUE_BYTES_MAX { Err(WalError::Behind { waiting }) } else { Ok(()) }
    }

    /// The lowest segment number that may be written to: after an error the ones before are given up.
    pub fn usable_from(&self) -> u64 {
        self.shared.broken.load(Ordering::Acquire) + 1
    }

    /// Queues a record for `segment`, which must not be lower than that of the record before, and one of exemplars
    /// (or nothing) for the file beside it. `done` is called when it is durable or has failed.
    pub fn append(&self, segment: u64, bytes: Vec<u8>, exemplars: Vec<u8>, done: Done) {
        self.shared.waiting.fetch_add(bytes.len() + exemplars.len(), Ordering::Relaxed);
        self.send(Message::Record { segment, bytes, exemplars, done });
    }

    /// Removes the segments up to a number, after what is queued for them.
    pub fn remove(&self, up_to: u64) {
        self.send(Message::Remove { up_to });
    }

    /// Waits until what was queued before is done, so that the disk's room is what it seems.
    pub fn settle(&self) {
        let (done, settled) = mpsc::sync_channel(1);
        self.send(Message::Settle(done));
        // An error says that the thread has ended: nothing is queued then.
        let _ = settled.recv();
    }

    /// Bytes that wait for the disk.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    fn send(&self, message: Message) {
        let queue = self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let unsent = match queue.as_ref() {
            Some(queue) => queue.send(message).err().map(|error| error.0),
            None => Some(message),
        };
        if let Some(Message::Record { done, .. }) = unsent {
            done(Err(WalError::Closed));
        }
    }

    /// Writes and syncs what is queued, then ends the thread. Later records fail with
    /// [`WalError::Closed`].
    pub fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the write-ahead log's thread had panicked");
        }
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.close();
    }
}

/// The segments on disk and their bytes.
fn sizes(disk: &dyn Disk) -> io::Result<BTreeMap<u64, u64>> {
    let mut sizes = BTreeMap::new();
    for name in disk.list(FOLDER)? {
        let number = super::segment_number(&name).or_else(|| exemplars::file_number(&name));
        if let Some(number) = number {
            *sizes.entry(number).or_default() += disk.open(&format!("{FOLDER}/{name}"))?.bytes()?;
        }
    }
    Ok(sizes)
}

struct Writer {
    disk: Arc<dyn Disk>,
    counters: Arc<Counters>,
    shared: Arc<Shared>,
    room: Arc<Room>,
    /// Bytes of each segment on disk.
    sizes: BTreeMap<u64, u64>,
    current: Option<(u64, Box<dyn Append>)>,
    /// The file of exemplars beside the current segment.
    beside: Beside,
}

/// The exemplars of one segment.
#[derive(Default)]
struct Beside {
    segment: u64,
    /// `None` before the first of them, and when the file was given up.
    file: Option<Box<dyn Append>>,
    bytes: u64,
    unsynced: bool,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(first) = messages.recv() {
            let (mut group, mut bytes) = (vec![first], 0);
            while bytes < GROUP_BYTES_MAX
                && let Ok(next) = messages.try_recv()
            {
                if let Message::Record { bytes: record, exemplars, .. } = &next {
                    bytes += record.len() + exemplars.len();
                }
                group.push(next);
            }
            self.commit(group);
        }
    }

    /// Writes the group's records, one sync for each segment among them (nearly always one).
    fn commit(&mut self, group: Vec<Message>) {
        let mut waiting: Vec<Done> = Vec::new();
        for message in group {
            match message {
                Message::Remove { up_to } => {
                    self.sync(std::mem::take(&mut waiting));
                    self.remove(up_to);
                }
                Message::Settle(done) => {
                    self.sync(std::mem::take(&mut waiting));
                    // Who waited may have given up.
                    let _ = done.send(());
                }
                Message::Record { segment, bytes, exemplars, done } => {
                    if self.current.as_ref().is_some_and(|(number, _)| *number < segment) {
                        self.sync(std::mem::take(&mut waiting));
                    }
                    self.shared.waiting.fetch_sub(bytes.len() + exemplars.len(), Ordering::Relaxed);
                    match self.write(segment, &bytes) {
                        Ok(()) => {
                            self.write_beside(segment, &exemplars);
                            waiting.push(done);
                        }
                        Err(error @ WalError::NoRoom) => {
                            // What the segment has is good. This record may have named series in it, so that
                            // later ones must go to another.
                            self.sync(std::mem::take(&mut waiting));
                            self.shared.broken.fetch_max(segment, Ordering::AcqRel);
                            self.current = None;
                            self.counters.put_off.add(1);
                            done(Err(error));
                        }
                        Err(error) => {
                            // What was written before in this segment may still be synced or not;
                            // nobody may be told that it is safe.
                            self.give_up(segment, std::mem::take(&mut waiting), &error);
                            done(Err(error));
                        }
                    }
                }
            }
        }
        self.sync(waiting);
    }

    fn write(&mut self, segment: u64, bytes: &[u8]) -> Result<(), WalError> {
        let failed = |what: &str, error: io::Error| WalError::Disk {
            segment: segment_name(segment),
            reason: format!("{what}: {error}"),
        };
        let log_bytes = self.sizes.values().sum();
        if !self.room.admits(log_bytes, (bytes.len() + SEGMENT_HEADER_BYTES) as u64) {
            return Err(WalError::NoRoom);
        }
        if segment <= self.shared.broken.load(Ordering::Acquire) {
            return Err(failed("given up", io::Error::other("an earlier write to it failed")));
        }
        if self.current.as_ref().is_none_or(|(number, _)| *number != segment) {
            let mut file = self.disk.create(&segment_name(segment)).map_err(|e| failed("create", e))?;
            file.append(&segment_header(segment)).map_err(|e| failed("write", e))?;
            file.sync().map_err(|e| failed("sync", e))?;
            self.disk.sync_folder(FOLDER).map_err(|e| failed("sync folder", e))?;
            self.current = Some((segment, file));
            *self.sizes.entry(segment).or_default() += SEGMENT_HEADER_BYTES as u64;
        }
        let Some((_, file)) = &mut self.current else { return Err(WalError::Closed) };
        file.append(bytes).map_err(|e| failed("write", e))?;
        *self.sizes.entry(segment).or_default() += bytes.len() as u64;
        self.counters.wal_bytes.add(bytes.len() as u64);
        Ok(())
    }

    /// Writes a record of exemplars beside a segment. What fails is told and counted, and holds no sample back.
    fn write_beside(&mut self, segment: u64, record: &[u8]) {
        if record.is_empty() {
            return;
        }
        if self.beside.segment != segment {
            let file = self.begin_beside(segment);
            if let Err(error) = &file {
                tracing::warn!(%error, segment, "exemplars are kept in memory alone until the next flush");
            }
            let bytes = exemplars::HEADER_BYTES as u64;
            self.beside = Beside { segment, file: file.ok(), bytes, unsynced: false };
        }
        let fits = self.beside.bytes + record.len() as u64 <= exemplars::SEGMENT_BYTES_MAX;
        let written = self.beside.file.as_mut().filter(|_| fits).map(|file| file.append(record));
        match written {
            Some(Ok(())) => {
                self.beside.bytes += record.len() as u64;
                self.beside.unsynced = true;
                *self.sizes.entry(segment).or_default() += record.len() as u64;
            }
            Some(Err(error)) => {
                // What follows a torn record would not be read.
                tracing::warn!(%error, segment, "exemplars are kept in memory alone until the next flush");
                self.beside.file = None;
                self.counters.exemplars_unlogged.add(1);
            }
            None => self.counters.exemplars_unlogged.add(1),
        }
    }

    fn begin_beside(&mut self, segment: u64) -> io::Result<Box<dyn Append>> {
        let mut file = self.disk.create(&exemplars::file_name(segment))?;
        file.append(&exemplars::header())?;
        file.sync()?;
        self.disk.sync_folder(FOLDER)?;
        Ok(file)
    }

    fn sync_beside(&mut self) {
        if !std::mem::take(&mut self.beside.unsynced) {
            return;
        }
        if let Some(Err(error)) = self.beside.file.as_mut().map(|file| file.sync()) {
            tracing::warn!(%error, "exemplars are kept in memory alone until the next flush");
            self.beside.file = None;
            self.counters.exemplars_unlogged.add(1);
        }
    }

    fn sync(&mut self, waiting: Vec<Done>) {
        if waiting.is_empty() {
            return;
        }
        self.sync_beside();
        let Some((segment, file)) = &mut self.current else { return };
        let segment = *segment;
        match file.sync() {
            Ok(()) => {
                self.counters.wal_syncs.add(1);
                waiting.into_iter().for_each(|done| done(Ok(())));
            }
            Err(error) => {
                let error =
                    WalError::Disk { segment: segment_name(segment), reason: format!("sync: {error}") };
                self.give_up(segment, waiting, &error);
            }
        }
    }

    fn give_up(&mut self, segment: u64, waiting: Vec<Done>, error: &WalError) {
        tracing::error!(%error, "log segment is given up; the next write starts a new one");
        self.counters.wal_errors.add(1);
        self.shared.broken.fetch_max(segment, Ordering::AcqRel);
        self.current = None;
        waiting.into_iter().for_each(|done| done(Err(error.clone())));
    }

    fn remove(&mut self, up_to: u64) {
        if self.current.as_ref().is_some_and(|(number, _)| *number <= up_to) {
            self.current = None;
        }
        if self.beside.segment <= up_to {
            self.beside = Beside::default();
        }
        let removed = self.disk.list(FOLDER).and_then(|names| {
            for name in names {
                let number = super::segment_number(&name).or_else(|| exemplars::file_number(&name));
                if let Some(number) = number.filter(|number| *number <= up_to) {
                    self.disk.remove(&format!("{FOLDER}/{name}"))?;
                    self.sizes.remove(&number);
                }
            }
            self.disk.sync_folder(FOLDER)
        });
        if let Err(error) = removed {
            // They are read again at the next start and say nothing new; the next flush tries again.
            tracing::warn!(%error, up_to, "cannot remove log segments that are in blocks");
        }
    }
}
