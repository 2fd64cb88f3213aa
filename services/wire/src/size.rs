//! How much of a disk something may take, as an operator writes it.

use std::io;
use std::path::Path;
use std::str::FromStr;

/// Units and their bytes: as Prometheus' retention by size has them (powers of 2), and their exact names.
const UNITS: [(&str, u64); 10] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1 << 10),
    ("MB", 1 << 20),
    ("GB", 1 << 30),
    ("TB", 1 << 40),
    ("B", 1),
    ("", 1),
];

/// An amount, or a part of the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Bytes.
    Bytes(u64),
    /// Of the file system, or of the project quota that the directory has (the kernel says so).
    Percent(u8),
}

impl Size {
    /// The bytes that this is for `directory`.
    ///
    /// # Errors
    /// When its file system cannot be asked.
    pub fn bytes(self, directory: &Path) -> io::Result<u64> {
        match self {
            Size::Bytes(bytes) => Ok(bytes),
            Size::Percent(part) => {
                let all = rustix::fs::statvfs(directory)?;
                Ok(all.f_blocks * all.f_frsize / 100 * u64::from(part))
            }
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let wrong = || format!("{text:?} is no size; examples: 20GB, 512MiB, 80%");
        if let Some(part) = text.strip_suffix('%') {
            let part = part.parse().ok().filter(|part| (1..=100).contains(part));
            return part.map(Size::Percent).ok_or_else(wrong);
        }
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = UNITS.iter().find(|(name, _)| *name == &text[digits.len()..]).ok_or_else(wrong)?.1;
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        number.checked_mul(unit).filter(|bytes| *bytes > 0).map(Size::Bytes).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let check = |text: &str, expected: Option<Size>| assert_eq!(text.parse().ok(), expected, "{text}");
        check("80%", Some(Size::Percent(80)));
        check("20GB", Some(Size::Bytes(20 << 30)));
        check("512MiB", Some(Size::Bytes(512 << 20)));
        check("1000", Some(Size::Bytes(1000)));
        check("7B", Some(Size::Bytes(7)));
        for wrong in ["", "0", "0%", "101%", "-1", "1.5GB", "GB", "1 GB", "99999999999TB", "1XB"] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_part_is_of_the_file_system_that_the_directory_is_on() {
        let directory = tempfile::tempdir().unwrap();
        let all = Size::Percent(100).bytes(directory.path()).unwrap();
        let half = Size::Percent(50).bytes(directory.path()).unwrap();
        assert!(all > 0 && half.abs_diff(all / 2) < 100);
        assert!(Size::Percent(1).bytes(Path::new("/nowhere")).is_err());
    }
}
