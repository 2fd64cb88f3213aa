//! What the kernel lets be set only by files: whether a link takes router advertisements.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

/// The directory of IPv6's settings, one a link. CAP_NET_ADMIN opens it to others than root.
const IPV6: &str = "/proc/sys/net/ipv6/conf";

fn file(link: &str) -> PathBuf {
    PathBuf::from(format!("{IPV6}/{link}/accept_ra"))
}

/// Whether a link takes router advertisements; `None` without IPv6.
pub fn accepts_advertisements(link: &str) -> Option<bool> {
    let text = fs::read_to_string(file(link)).ok()?;
    Some(text.trim() != "0")
}

/// Lets a link take router advertisements, or not.
///
/// # Errors
/// When the kernel refuses, or the link is gone.
pub fn accept_advertisements(link: &str, on: bool) -> anyhow::Result<()> {
    let path = file(link);
    let opened = fs::File::options().write(true).open(&path);
    let written = opened.and_then(|mut file| file.write_all(if on { b"1" } else { b"0" }));
    written.with_context(|| format!("cannot set {}", path.display()))
}
