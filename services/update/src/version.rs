//! Versions of Vakt: three numbers, compared as numbers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Largest number in a version: nine digits, so that names stay short and nothing overflows.
const NUMBER_MAX: u32 = 999_999_999;

/// `major.minor.patch`. Nothing more: `+` and `-` mean something in the names of systemd-boot's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version([u32; 3]);

/// A text that is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version such as \"0.2.0\"")]
pub struct NotAVersion(String);

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Version, NotAVersion> {
        let refused = || NotAVersion(text.chars().take(40).collect());
        let mut numbers = [0; 3];
        let mut parts = text.split('.');
        for number in &mut numbers {
            let part = parts.next().ok_or_else(refused)?;
            let plain = part.bytes().all(|b| b.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
            *number = part.parse().ok().filter(|n| plain && *n <= NUMBER_MAX).ok_or_else(refused)?;
        }
        if parts.next().is_some() { Err(refused()) } else { Ok(Version(numbers)) }
    }
}

impl TryFrom<String> for Version {
    type Error = NotAVersion;

    fn try_from(text: String) -> Result<Version, NotAVersion> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version([major, minor, patch]) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("0.10.0") > version("0.9.9"));
        assert!(version("1.0.0") > version("0.999999999.0"));
        assert_eq!(version("0.2.0").to_string(), "0.2.0");
    }

    #[test]
    fn what_a_boot_entry_cannot_carry_is_no_version() {
        for text in
            ["", "1", "1.2", "1.2.3.4", "1.2.3+3", "1.2.3-rc1", "01.2.3", "1.2.x", "1..3", "1.2.1000000000"]
        {
            assert!(text.parse::<Version>().is_err(), "{text:?}");
        }
    }
}
