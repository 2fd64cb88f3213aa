//! Whether a link takes router advertisements: a kernel setting that only init writes, as the network service asks.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// IPv6's settings, a directory for each link.
const IPV6: &str = "/proc/sys/net/ipv6/conf";

/// Longest name of a link (IFNAMSIZ less its zero byte).
const NAME_BYTES_MAX: usize = 15;

/// Directories of all links, which are nobody's to ask for.
const NOT_LINKS: [&str; 4] = ["all", "default", ".", ".."];

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisements {
    link: String,
    on: bool,
}

impl Advertisements {
    /// Reads `on eth0` or `off eth0`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Advertisements> {
        let (wish, link) = text.split_once(' ')?;
        let is_name = !link.is_empty()
            && link.len() <= NAME_BYTES_MAX
            && !NOT_LINKS.contains(&link)
            && link.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        let on = match wish {
            "on" => true,
            "off" => false,
            _ => return None,
        };
        is_name.then(|| Advertisements { link: link.into(), on })
    }

    fn file(&self) -> PathBuf {
        Path::new(IPV6).join(&self.link).join("accept_ra")
    }

    /// Sets it.
    ///
    /// # Errors
    /// When the kernel refuses, or the link is gone.
    pub fn carry_out(&self) -> anyhow::Result<()> {
        let path = self.file();
        let opened = File::options().write(true).open(&path);
        let written = opened.and_then(|mut file| file.write_all(if self.on { b"1" } else { b"0" }));
        written.with_context(|| format!("cannot set {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_link_is_named_and_no_other_file() {
        let read = Advertisements::parse("off eth0.7").unwrap();
        assert_eq!(read.file(), Path::new("/proc/sys/net/ipv6/conf/eth0.7/accept_ra"));
        assert!(!read.on && Advertisements::parse("on bond0").unwrap().on);
        let refused = ["eth0", "on ", "maybe eth0", "on all", "on default", "on ..", "on ../../x", "on a b"];
        for text in refused.into_iter().chain(["on sixteen-letters!", "on \u{e9}th"]) {
            assert_eq!(Advertisements::parse(text), None, "{text:?}");
        }
    }
}
