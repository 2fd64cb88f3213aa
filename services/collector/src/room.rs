//! For tests: unpacks testdata/sys.txt.

use std::path::Path;

/// The file's lines as files and links below `room`.
pub fn unpack(room: &Path) {
    for line in include_str!("../testdata/sys.txt").lines().filter(|line| !line.starts_with('#')) {
        let (path, content) = line.split_once(" = ").unwrap_or((line, ""));
        if let Some((path, target)) = line.split_once(" -> ") {
            let path = room.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(target, path).unwrap();
            continue;
        }
        let path = room.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content.replace("\\n", "\n").replace("\\t", "\t")).unwrap();
    }
}
