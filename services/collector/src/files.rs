//! Reads what the sources ask for out of /proc, /sys and a few other places, with few system calls.

use std::fs::File;
use std::io::Read;
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

impl Places {
    /// Reads the files that are there and were not read before. One that is not is missing from the inputs, and the
    /// source that needs it says so.
    pub fn read(&self, files: &Files, inputs: &mut Inputs, buffer: &mut Vec<u8>) {
        if files.folder == "/proc" && files.names.iter().all(|name| !name.contains('*')) {
            for name in files.names {
                if !inputs.files.contains_key(*name)
                    && let Some(text) = self.proc_file(name, buffer)
                {
                    inputs.files.insert((*name).to_owned(), text);
                }
            }
            return;
        }
        // Where version 1 of cgroups is, its hierarchies lie at the top, with thousands of files that are not asked for.
        let is_mixed = files.folder.starts_with(GROUPS_TOP) && !self.place(GROUPS_MARK).exists();
        if is_mixed {
            return;
        }
        let mut folders = vec![String::new()];
        for component in files.folder.split('/').skip(1) {
            folders = self.step(&folders, component);
        }
        for folder in folders {
            for name in files.names {
                let mut found = vec![folder.clone()];
                for component in name.trim_end_matches(LINK).split('/') {
                    found = self.step(&found, component);
                }
                for path in found {
                    self.take(path, name.ends_with(LINK), inputs, buffer);
                }
            }
        }
    }

    fn take(&self, path: String, link: bool, inputs: &mut Inputs, buffer: &mut Vec<u8>) {
        let place = self.place(&path);
        let key = path.strip_prefix("/proc/").unwrap_or(&path);
        if link {
            if let Ok(target) = std::fs::canonicalize(&place) {
                inputs.files.insert(format!("{key}{LINK}"), target.to_string_lossy().into_owned());
            }
        } else if !inputs.files.contains_key(key)
            && let Some(text) = content(&place, path.starts_with("/sys/"), buffer)
        {
            inputs.files.insert(key.to_owned(), text);
        }
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

    /// PID 1's view is the machine's; in a sandbox it may be closed, and then the own one is there.
    fn proc_file(&self, name: &str, buffer: &mut Vec<u8>) -> Option<String> {
        if name == MOUNTS {
            return content(&self.proc.join(MOUNTS), false, buffer)
                .or_else(|| content(&self.proc.join("self/mountinfo"), false, buffer));
        }
        if name.starts_with("net/") {
            return content(&self.proc.join("1").join(name), false, buffer)
                .or_else(|| content(&self.proc.join(name), false, buffer));
        }
        content(&self.proc.join(name), false, buffer)
    }
}

/// A file's content. `page` is true for files that one read gives whole.
pub fn content(path: &Path, page: bool, buffer: &mut Vec<u8>) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let (mut length, step) = (0, if page { PAGE_BYTES } else { 8 * PAGE_BYTES });
    loop {
        buffer.resize(buffer.len().max(length + step), 0);
        let count = file.read(&mut buffer[length..]).ok()?;
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
        let (mut inputs, mut buffer) = (Inputs::default(), Vec::new());
        let interfaces = Files { folder: "/sys/class/net/e*", names: &["mtu", "queues/rx-*/x", "speed"] };
        let link = Files { folder: "/sys/class/net", names: &["alias@"] };
        for files in [interfaces, link, crate::inputs::proc(&["stat", "none"])] {
            places.read(&files, &mut inputs, &mut buffer);
        }
        let names: Vec<_> = inputs.files.keys().map(String::as_str).collect();
        let expected =
            ["/sys/class/net/alias@", "/sys/class/net/eth0/mtu", "/sys/class/net/eth0/queues/rx-0/x", "stat"];
        assert_eq!(names, expected);
        assert!(inputs.files["/sys/class/net/alias@"].ends_with("/sys/class/net/eth0"));
        assert_eq!(inputs.files["stat"].len(), 100_000);
        assert_eq!(inputs.devices("/sys/class/net/", "e")[0].number("mtu"), Some(1500.0));
    }
}
