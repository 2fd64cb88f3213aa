//! Reads what the sources ask for out of /proc, /sys and a few other places, with few system calls.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::inputs::{Files, LINK, STEADY};
use crate::node::filesystem::MOUNTS;
use crate::texts::Texts;

/// Bytes of one file at most; what is longer is cut. /proc/net/udp of 20,000 sockets fits.
const FILE_BYTES_MAX: usize = 4 << 20;

/// Files that one pattern gives at most: 22 of each of some 180 interfaces.
const MATCHES_MAX: usize = 4096;

/// A file of /sys is one page at most, and is read in one call (Documentation/filesystems/sysfs.rst).
const PAGE_BYTES: usize = 4096;

/// A line of a file of /proc/net: those of tcp6 and udp6, the longest, have 170 bytes. Files that are one record whatever
/// their size (netstat, snmp) are given whole. The kernel goes through its tables of sockets anew for each read, even for
/// the one that gives nothing more.
const LINE_BYTES_MAX: usize = 512;

/// Folders of cgroups where version 2 is alone, and the file that says that it is.
const GROUPS_TOP: &str = "/sys/fs/cgroup/*";
const GROUPS_MARK: &str = "/sys/fs/cgroup/cgroup.controllers";

/// Where the three trees are.
#[derive(Clone, Debug)]
pub struct Places {
    /// procfs.
    pub proc: PathBuf,
    /// sysfs.
    pub sys: PathBuf,
    /// Put before every other path.
    pub root: PathBuf,
    /// The machine's network is not that we are in: settings that tell of our own are passed over.
    pub is_apart: bool,
}

/// Files that tell of the network that the reader is in, whatever /proc they are in.
const OWN_NETWORKS: [&str; 1] = ["sys/net/netfilter/nf_conntrack_count"];

/// A file that a pattern gave.
#[derive(Debug)]
struct Wanted {
    /// Where to open it.
    place: PathBuf,
    kind: Kind,
    /// Kept open from round to round: opening costs more than reading.
    open: Option<File>,
    /// It is not read before the patterns are filled in anew: it could not be, or is of those that never change.
    is_done: bool,
    /// It was read since the patterns were filled in.
    is_read: bool,
    /// The round in which it was read last.
    read_in: u32,
    /// The round in which it was read to hold something else than before.
    changed_in: u32,
    /// The filling that named it last.
    filling: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Never changes while the thing that it is of is there.
    Steady,
    /// One page at most, given whole by one read, as the files of /sys and of /proc/sys.
    Page,
    /// Lines of less than [`LINE_BYTES_MAX`], as those of /proc/net.
    Lines,
    Long,
    /// The mount table, which tells by poll(2) when it changed.
    Mounts,
    /// Its content is where it leads.
    Link,
}

/// Files that are kept open at most; the manifest lets the service have 1,024 descriptors, for peers and targets too.
const OPEN_MAX: usize = 400;

/// Patterns are filled in anew when this has passed: a disk or an interface that is new is seen a minute later.
const FILL_EVERY: Duration = Duration::from_secs(60);

/// When a file is no longer there they are filled in sooner, for what else is gone with it; not more often than this, since
/// on some machines things come and go all the time.
const FILL_SOONEST: Duration = Duration::from_secs(10);

/// A pattern and the slots of the files that it gives.
#[derive(Debug)]
struct Pattern {
    folder: &'static str,
    names: &'static [&'static str],
    slots: Vec<usize>,
    filling: u32,
}

/// Reads files, and remembers which there are.
#[derive(Debug, Default)]
pub struct Reader {
    patterns: Vec<Pattern>,
    /// By the slot among the inputs.
    wanted: Vec<Option<Wanted>>,
    open: usize,
    round: u32,
    filling: u32,
    filled: Option<Instant>,
    /// A file that was open is no longer there.
    has_lost: bool,
    /// What files are read into.
    buffer: Vec<u8>,
}

impl Reader {
    /// Begins a round at `now`. What no pattern gave in the last filling is forgotten.
    pub fn begin(&mut self, now: Instant, texts: &mut Texts) {
        self.round += 1;
        let every = if self.has_lost { FILL_SOONEST } else { FILL_EVERY };
        if self.filled.is_none_or(|filled| now.duration_since(filled) >= every) {
            let filling = self.filling;
            self.wanted.iter_mut().for_each(|place| {
                let old = place.take_if(|wanted| wanted.filling != filling);
                self.open -= usize::from(old.is_some_and(|wanted| wanted.open.is_some()));
            });
            texts.retain(|slot| self.wanted.get(slot).is_some_and(Option::is_some));
            self.filling += 1;
            (self.filled, self.has_lost) = (Some(now), false);
        }
    }

    /// Reads the files that are there, each once a round. One that is not is missing from the inputs, and the source that
    /// needs it says so. Returns whether something is different from the round before.
    pub fn read(&mut self, places: &Places, files: &Files, texts: &mut Texts) -> bool {
        let is_known = |known: &Pattern| known.folder == files.folder && known.names == files.names;
        let at = self.patterns.iter().position(is_known).unwrap_or_else(|| {
            let (folder, names) = (files.folder, files.names);
            self.patterns.push(Pattern { folder, names, slots: Vec::new(), filling: 0 });
            self.patterns.len() - 1
        });
        let mut changed = false;
        if self.patterns[at].filling != self.filling {
            changed |= self.fill(at, places, files, texts);
        }
        for slot in &self.patterns[at].slots {
            let Some(wanted) = &mut self.wanted[*slot] else { continue };
            if wanted.read_in != self.round {
                wanted.read_in = self.round;
                let was_open = wanted.open.is_some();
                if wanted.read(was_open || self.open < OPEN_MAX, *slot, &mut self.buffer, texts) {
                    wanted.changed_in = self.round;
                }
                self.open = self.open + usize::from(wanted.open.is_some()) - usize::from(was_open);
                self.has_lost |= was_open && wanted.open.is_none();
            }
            changed |= wanted.changed_in == self.round;
        }
        changed
    }

    /// Looks which files a pattern gives now. Returns whether they are others than before.
    fn fill(&mut self, at: usize, places: &Places, files: &Files, texts: &mut Texts) -> bool {
        let mut slots = Vec::new();
        for (key, place, kind) in places.wanted(files) {
            let slot = texts.slot(&key);
            if self.wanted.len() <= slot {
                self.wanted.resize_with(slot + 1, || None);
            }
            let filling = self.filling;
            match &mut self.wanted[slot] {
                Some(wanted) => {
                    // Files that are there stay open over fillings.
                    (wanted.filling, wanted.is_done, wanted.is_read) = (filling, false, false);
                }
                none => *none = Some(Wanted { filling, ..Wanted::new(place, kind) }),
            }
            slots.push(slot);
        }
        let pattern = &mut self.patterns[at];
        pattern.filling = self.filling;
        if pattern.slots == slots {
            return false;
        }
        for slot in std::mem::replace(&mut pattern.slots, slots) {
            // Another pattern may still give it.
            if self.wanted[slot].as_ref().is_some_and(|wanted| wanted.filling != self.filling) {
                texts.clear(slot);
            }
        }
        true
    }
}

impl Wanted {
    fn new(place: PathBuf, kind: Kind) -> Wanted {
        Wanted {
            place,
            kind,
            open: None,
            is_done: false,
            is_read: false,
            read_in: 0,
            changed_in: 0,
            filling: 0,
        }
    }

    /// Reads it into its slot. Returns whether it holds something else than before.
    fn read(&mut self, keep: bool, slot: usize, buffer: &mut Vec<u8>, texts: &mut Texts) -> bool {
        if self.is_done {
            return false;
        }
        if self.kind == Kind::Mounts
            && self.is_read
            && self.open.as_ref().is_some_and(|file| !has_changed(file))
        {
            return false;
        }
        self.is_done = matches!(self.kind, Kind::Steady | Kind::Link);
        self.is_read = true;
        match self.bytes(keep, buffer) {
            Some(length) => texts.set(slot, &buffer[..length]),
            None => texts.clear(slot),
        }
    }

    fn bytes(&mut self, keep: bool, buffer: &mut Vec<u8>) -> Option<usize> {
        if self.kind == Kind::Link {
            let target = std::fs::canonicalize(&self.place).ok()?;
            buffer.clear();
            buffer.extend_from_slice(target.to_string_lossy().as_bytes());
            return Some(buffer.len());
        }
        if let Some(file) = &self.open {
            match whole(file, self.kind, buffer) {
                Ok(length) => return Some(length),
                // It was taken out; another may have come in its place.
                Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => {}
                // It is there and cannot be read now, as the speed of a link that is down.
                Err(_) => return None,
            }
        }
        let Ok(file) = File::open(&self.place) else {
            (self.is_done, self.open) = (true, None);
            return None;
        };
        let length = whole(&file, self.kind, buffer).ok();
        self.open = (keep && self.kind != Kind::Steady).then_some(file);
        length
    }
}

impl Places {
    /// The files of a pattern with their names among the inputs; those without a star are not looked for: reading will
    /// tell.
    fn wanted(&self, files: &Files) -> Vec<(String, PathBuf, Kind)> {
        // Where version 1 of cgroups is, its hierarchies lie at the top, with thousands of files that are not asked for.
        let is_mixed = files.folder.starts_with(GROUPS_TOP) && !self.place(GROUPS_MARK).exists();
        if is_mixed {
            return Vec::new();
        }
        let mut folders = vec![String::new()];
        for component in files.folder.split('/').skip(1) {
            folders = self.step(&folders, component);
        }
        let mut all = Vec::new();
        for folder in folders {
            for name in files.names {
                let mut found = vec![folder.clone()];
                for component in name.trim_end_matches([LINK, STEADY]).split('/') {
                    found = self.step(&found, component);
                }
                all.extend(found.into_iter().map(|path| self.one(path, name)));
            }
        }
        if self.is_apart {
            all.retain(|(key, ..)| !OWN_NETWORKS.contains(&key.as_str()));
        }
        all
    }

    fn one(&self, path: String, name: &str) -> (String, PathBuf, Kind) {
        let (key, mut place) = (path.strip_prefix("/proc/").unwrap_or(&path), self.place(&path));
        // PID 1's view is the machine's; in a sandbox it may be closed, and then the own one is there.
        if key.starts_with("net/") {
            let first = self.proc.join("1").join(key);
            place = if File::open(&first).is_ok() { first } else { place };
        } else if key == MOUNTS && File::open(&place).is_err() {
            place = self.proc.join("self/mountinfo");
        }
        let kind = match name.chars().next_back() {
            Some(LINK) => return (format!("{key}{LINK}"), place, Kind::Link),
            Some(STEADY) => Kind::Steady,
            _ if path.starts_with("/sys/") || path.starts_with("/proc/sys/") => Kind::Page,
            _ if path.starts_with("/proc/net/") => Kind::Lines,
            _ if key == MOUNTS => Kind::Mounts,
            _ => Kind::Long,
        };
        let key = key.to_owned();
        (key, place, kind)
    }

    /// The paths one component further. A plain name is not looked for: reading it will tell.
    fn step(&self, folders: &[String], component: &str) -> Vec<String> {
        let Some(prefix) = component.strip_suffix('*') else {
            return folders.iter().map(|folder| format!("{folder}/{component}")).collect();
        };
        let mut found = Vec::new();
        for folder in folders {
            let Ok(entries) = std::fs::read_dir(self.place(folder)) else { continue };
            let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
            let names = names.filter(|name| name.starts_with(prefix));
            found.extend(names.take(MATCHES_MAX - found.len()).map(|name| format!("{folder}/{name}")));
        }
        found
    }

    fn place(&self, path: &str) -> PathBuf {
        let below = |base: &Path, rest: &str| base.join(rest.trim_start_matches('/'));
        match path.strip_prefix("/proc") {
            Some(rest) => below(&self.proc, rest),
            None => match path.strip_prefix("/sys") {
                Some(rest) => below(&self.sys, rest),
                None => below(&self.root, path),
            },
        }
    }
}

/// A file's content; `None` when it cannot be read.
pub fn content(path: &Path, buffer: &mut Vec<u8>) -> Option<String> {
    let length = whole(&File::open(path).ok()?, Kind::Lines, buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Reads what a file holds from its start, and returns how many bytes it is.
fn whole(file: &File, kind: Kind, buffer: &mut Vec<u8>) -> std::io::Result<usize> {
    // The kernel makes room of its own for as much as is asked for of a file of /proc/sys.
    let (mut length, step) = (0, if kind == Kind::Page { PAGE_BYTES } else { 8 * PAGE_BYTES });
    loop {
        if buffer.len() < length + step {
            buffer.resize(length + step, 0);
        }
        let count = file.read_at(&mut buffer[length..length + step], length as u64)?;
        length += count;
        // The kernel fills a page with whole lines: when there was room for one more, it was the last.
        let is_last = match kind {
            Kind::Page => count < PAGE_BYTES,
            Kind::Lines => count < PAGE_BYTES - LINE_BYTES_MAX,
            Kind::Long | Kind::Mounts | Kind::Steady | Kind::Link => count == 0,
        };
        if is_last || length > FILE_BYTES_MAX {
            return Ok(length);
        }
    }
}

/// Whether the mount table is another one than when it was read, or its file cannot tell (proc_pid_mountinfo(5)).
fn has_changed(file: &File) -> bool {
    let mut asked = [PollFd::new(file, PollFlags::PRI)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    !matches!(poll(&mut asked, Some(&now)), Ok(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::Inputs;

    #[test]
    fn stars_are_filled_in_links_are_followed_and_what_is_missing_is_left_out() {
        let room = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = room.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("sys/class/net/eth0/mtu", "1500\n");
        write("sys/class/net/eth0/queues/rx-0/x", "1\n");
        write("sys/class/net/bond0/mtu", "9000\n");
        write("sys/class/net/bonding_masters", "bond0\n");
        write("proc/stat", &"x".repeat(100_000));
        std::os::unix::fs::symlink("eth0", room.path().join("sys/class/net/alias")).unwrap();
        let place = |name: &str| room.path().join(name);
        let places =
            Places { proc: place("proc"), sys: place("sys"), root: room.path().into(), is_apart: false };
        let (mut inputs, mut reader, begun) = (Inputs::default(), Reader::default(), Instant::now());
        let interfaces = Files { folder: "/sys/class/net/e*", names: &["mtu", "queues/rx-*/x", "speed"] };
        let link = Files { folder: "/sys/class/net", names: &["alias@"] };
        let all = [interfaces, link, crate::inputs::proc(&["stat", "none"])];
        let mut read = |inputs: &mut Inputs, after: Duration| {
            reader.begin(begun + after, &mut inputs.files);
            all.map(|files| reader.read(&places, &files, &mut inputs.files))
        };
        assert_eq!(read(&mut inputs, Duration::ZERO), [true; 3]);
        let names: Vec<_> = inputs.files.paths().collect();
        let expected =
            ["/sys/class/net/alias@", "/sys/class/net/eth0/mtu", "/sys/class/net/eth0/queues/rx-0/x", "stat"];
        assert_eq!(names, expected);
        assert!(inputs.files["/sys/class/net/alias@"].ends_with("/sys/class/net/eth0"));
        assert_eq!(inputs.files["stat"].len(), 100_000);
        let mtu = |inputs: &Inputs| inputs.devices("/sys/class/net/", "e")[0].number("mtu");
        assert_eq!(mtu(&inputs), Some(1500.0));
        // The next round reads from the start what is kept open, and tells what changed.
        assert_eq!(read(&mut inputs, Duration::ZERO), [false; 3]);
        write("sys/class/net/eth0/mtu", "9000\n");
        assert_eq!(read(&mut inputs, Duration::ZERO), [true, false, false]);
        assert_eq!(mtu(&inputs), Some(9000.0));
        // One that is new is seen when the patterns are filled in anew, one that went is gone then.
        write("sys/class/net/eth1/mtu", "1\n");
        std::fs::remove_dir_all(place("sys/class/net/eth0/queues")).unwrap();
        assert_eq!(read(&mut inputs, FILL_EVERY - Duration::from_secs(1)), [false; 3]);
        assert_eq!(read(&mut inputs, FILL_EVERY), [true, false, false]);
        assert_eq!(read(&mut inputs, FILL_EVERY), [false; 3]);
        assert_eq!(inputs.devices("/sys/class/net/", "e").len(), 2);
        assert_eq!(inputs.files.get("/sys/class/net/eth0/queues/rx-0/x"), None);
    }
}
