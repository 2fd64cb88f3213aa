//! Reads the directories of `--textfile`. A file is read again when its time or size is another one.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::node::textfile::{TextFile, TextFiles};

/// Bytes of one file at most; a larger one is an error.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Files of all directories at most, in the order of their paths; more are an error.
const FILES_MAX: usize = 256;

/// What tells whether a file was written anew: inode, size, seconds and nanoseconds of its last change.
type Stamp = (u64, u64, i64, i64);

/// The directories, and what was read of them last.
#[derive(Debug, Default)]
pub struct Directories {
    paths: Vec<PathBuf>,
    stamps: Vec<(String, Stamp)>,
}

impl Directories {
    /// These directories.
    pub fn new(paths: Vec<PathBuf>) -> Directories {
        Directories { paths, stamps: Vec::new() }
    }

    /// What is in them; `None` when that is what it was before.
    pub fn read(&mut self, before: Option<&TextFiles>) -> Option<TextFiles> {
        let (found, has_failed) = self.list();
        let is_same = before.is_some_and(|before| before.has_failed == has_failed) && found == self.stamps;
        if is_same {
            return None;
        }
        let of = |(path, stamp): &(String, Stamp)| TextFile {
            path: path.clone(),
            modified: stamp.2 as f64,
            text: content(Path::new(path)),
        };
        let files = found.iter().map(of).collect();
        self.stamps = found;
        Some(TextFiles { files, has_failed })
    }

    /// Files by path, and whether something could not be listed.
    fn list(&self) -> (Vec<(String, Stamp)>, bool) {
        let (mut found, mut has_failed) = (Vec::new(), false);
        for directory in &self.paths {
            let Ok(entries) = fs::read_dir(directory) else {
                has_failed = true;
                continue;
            };
            for entry in entries.flatten() {
                let Some(path) =
                    entry.path().to_str().filter(|path| path.ends_with(".prom")).map(str::to_owned)
                else {
                    continue;
                };
                // One that went meanwhile is not there.
                let Ok(about) = fs::metadata(&path) else { continue };
                found.push((path, (about.ino(), about.size(), about.mtime(), about.mtime_nsec())));
            }
        }
        found.sort();
        has_failed |= found.len() > FILES_MAX;
        found.truncate(FILES_MAX);
        (found, has_failed)
    }
}

fn content(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 > FILE_BYTES_MAX => Err(format!("is larger than {FILE_BYTES_MAX} bytes")),
        Ok(_) => Ok(text),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_that_name_are_read_and_only_when_they_changed() {
        let room = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(room.path().join(name), text).unwrap();
        write("b.prom", "b 1\n");
        write("a.prom", "a 1\n");
        write("c.txt", "c 1\n");
        let mut directories = Directories::new(vec![room.path().into()]);
        let first = directories.read(None).unwrap();
        let texts =
            |read: &TextFiles| read.files.iter().map(|file| file.text.clone().unwrap()).collect::<Vec<_>>();
        assert_eq!((texts(&first), first.has_failed), (vec!["a 1\n".into(), "b 1\n".into()], false));
        assert_eq!(directories.read(Some(&first)), None);
        write("a.prom", "a 10\n");
        let second = directories.read(Some(&first)).unwrap();
        assert_eq!(texts(&second), ["a 10\n", "b 1\n"]);
        fs::remove_dir_all(room.path()).unwrap();
        let gone = directories.read(Some(&second)).unwrap();
        assert!(gone.files.is_empty() && gone.has_failed);
    }
}
