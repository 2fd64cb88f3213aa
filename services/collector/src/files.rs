//! Reads what the sources ask for out of /proc, /sys and a few other places, with few system calls.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::inputs::{Files, Inputs, LINK};
use crate::node::filesystem::MOUNTS;

/// Bytes of one file at most; what is longer is cut. /proc/net/udp of 20,000 sockets fits.
const FILE_BYTES_MAX: usize = 4 << 20;

/// Files that one pattern gives at most: 22 of each of some 180 interfaces.
const MATCHES_MAX: usize = 4096;

/// A file of /sys is one page at most, and is read in one call (Documentation/filesystems/sysfs.rst).
const PAGE_BYTES: usize = 4096;

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
}

/// A file that a pattern gave.
#[derive(Debug)]
struct Wanted {
    /// Its name among the inputs.
    key: String,
    /// Where to open it.
    place: PathBuf,
    kind: Kind,
    /// Kept open from round to round: opening costs more than reading.
    open: Option<File>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One page at most, as those of /sys.
    Page,
    Long,
    /// Its content is where it leads.
    Link,
}

/// Files that are kept open at most; the manifest lets the service have 1,024 descriptors, for peers and targets too.
const OPEN_MAX: usize = 400;

/// Patterns are filled in anew in one round of this many: a disk or an interface that is new is seen a minute later at
/// 5 s. One that went is seen at once.
const FILL_EVERY: u32 = 12;

/// A pattern's identity: folder and names.
type PatternId = (&'static str, &'static [&'static str]);

/// Reads files, and remembers which there are.
#[derive(Debug, Default)]
pub struct Reader {
    filled: Vec<(PatternId, Vec<Wanted>)>,
    open: usize,
    round: u32,
    /// What files are read into.
    buffer: Vec<u8>,
}

impl Reader {
    /// Begins a round.
    pub fn begin(&mut self) {
        if self.round.is_multiple_of(FILL_EVERY) {
            self.filled.clear();
            self.open = 0;
        }
        self.round += 1;
    }

    /// Reads the files that are there and were not read before in this round. One that is not is missing from the
    /// inputs, and the source that needs it says so.
    pub fn read(&mut self, places: &Places, files: &Files, inputs: &mut Inputs) {
        let id: PatternId = (files.folder, files.names);
        let at = match self.filled.iter().position(|(known, _)| *known == id) {
            Some(at) => at,
            None => {
                self.filled.push((id, places.wanted(files)));
                self.filled.len() - 1
            }
        };
        for wanted in &mut self.filled[at].1 {
            if inputs.files.contains_key(&wanted.key) {
                continue;
            }
            if let Some(text) = wanted.read(self.open < OPEN_MAX, &mut self.buffer) {
                self.open += usize::from(wanted.open.is_some());
                inputs.files.insert(wanted.key.clone(), text);
            }
        }
        // What is not there is not asked for again until patterns are filled in anew.
        self.filled[at].1.retain(|wanted| inputs.files.contains_key(&wanted.key));
    }
}

impl Wanted {
    fn read(&mut self, keep: bool, buffer: &mut Vec<u8>) -> Option<String> {
        if self.kind == Kind::Link {
            return std::fs::canonicalize(&self.place)
                .ok()
                .map(|target| target.to_string_lossy().into_owned());
        }
        let page = self.kind == Kind::Page;
        if let Some(file) = &self.open {
            // A thing that was taken out answers ENODEV.
            return whole(file, page, buffer);
        }
        let file = File::open(&self.place).ok()?;
        let text = whole(&file, page, buffer)?;
        self.open = keep.then_some(file);
        Some(text)
    }
}

impl Places {
    /// The files of a pattern; those without a star are not looked for: reading will tell.
    fn wanted(&self, files: &Files) -> Vec<Wanted> {
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
                for component in name.trim_end_matches(LINK).split('/') {
                    found = self.step(&found, component);
                }
                all.extend(found.into_iter().map(|path| self.one(path, name.ends_with(LINK))));
            }
        }
        all
    }

    fn one(&self, path: String, is_link: bool) -> Wanted {
        let (key, mut place) = (path.strip_prefix("/proc/").unwrap_or(&path), self.place(&path));
        // PID 1's view is the machine's; in a sandbox it may be closed, and then the own one is there.
        if key.starts_with("net/") {
            let first = self.proc.join("1").join(key);
            place = if File::open(&first).is_ok() { first } else { place };
        } else if key == MOUNTS && File::open(&place).is_err() {
            place = self.proc.join("self/mountinfo");
        }
        let kind = match is_link {
            true => Kind::Link,
            false if path.starts_with("/sys/") => Kind::Page,
            false => Kind::Long,
        };
        let key = if is_link { format!("{key}{LINK}") } else { key.to_owned() };
        Wanted { key, place, kind, open: None }
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
    whole(&File::open(path).ok()?, false, buffer)
}

/// What a file holds, from its start. `page` is true for files that one read gives whole.
fn whole(file: &File, page: bool, buffer: &mut Vec<u8>) -> Option<String> {
    let (mut length, step) = (0, if page { PAGE_BYTES } else { 8 * PAGE_BYTES });
    loop {
        buffer.resize(buffer.len().max(length + step), 0);
        let count = file.read_at(&mut buffer[length..], length as u64).ok()?;
        length += count;
        if count == 0 || (page && count < PAGE_BYTES) || length > FILE_BYTES_MAX {
            return Some(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let places = Places { proc: place("proc"), sys: place("sys"), root: room.path().into() };
        let (mut inputs, mut reader) = (Inputs::default(), Reader::default());
        reader.begin();
        let interfaces = Files { folder: "/sys/class/net/e*", names: &["mtu", "queues/rx-*/x", "speed"] };
        let link = Files { folder: "/sys/class/net", names: &["alias@"] };
        let all = [interfaces, link, crate::inputs::proc(&["stat", "none"])];
        for files in all {
            reader.read(&places, &files, &mut inputs);
        }
        let names: Vec<_> = inputs.files.keys().map(String::as_str).collect();
        let expected =
            ["/sys/class/net/alias@", "/sys/class/net/eth0/mtu", "/sys/class/net/eth0/queues/rx-0/x", "stat"];
        assert_eq!(names, expected);
        assert!(inputs.files["/sys/class/net/alias@"].ends_with("/sys/class/net/eth0"));
        assert_eq!(inputs.files["stat"].len(), 100_000);
        assert_eq!(inputs.devices("/sys/class/net/", "e")[0].number("mtu"), Some(1500.0));
        // The next round reads from the start what is kept open.
        write("sys/class/net/eth0/mtu", "9000\n");
        inputs = Inputs::default();
        reader.begin();
        reader.read(&places, &all[0], &mut inputs);
        assert_eq!(inputs.devices("/sys/class/net/", "e")[0].number("mtu"), Some(9000.0));
        // One that is new is seen when the patterns are filled in anew.
        write("sys/class/net/eth1/mtu", "1\n");
        for _ in 2..=FILL_EVERY {
            inputs = Inputs::default();
            reader.begin();
            reader.read(&places, &all[0], &mut inputs);
        }
        assert_eq!(inputs.devices("/sys/class/net/", "e").len(), 2);
    }
}
