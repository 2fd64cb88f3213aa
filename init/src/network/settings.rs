//! What the kernel lets be set only by files: whether a link takes router advertisements. This process sees the files;
//! init writes them when it is asked to, so that no kernel setting is open to who parses what strangers send.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use super::report::notify;
use crate::sys;

/// The directory of IPv6's settings, one a link.
const IPV6: &str = "/proc/sys/net/ipv6/conf";

/// Init does it within this; its loop turns at once.
const DONE_WITHIN_MS: u64 = 2_000;

/// Between two looks at whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(5);

fn file(link: &str) -> PathBuf {
    PathBuf::from(format!("{IPV6}/{link}/accept_ra"))
}

/// Whether a link takes router advertisements; `None` without IPv6.
pub fn accepts_advertisements(link: &str) -> Option<bool> {
    let text = fs::read_to_string(file(link)).ok()?;
    Some(text.trim() != "0")
}

/// Has init let a link take router advertisements, or not.
///
/// # Errors
/// When that is not so within two seconds, or the link is gone.
pub fn accept_advertisements(link: &str, on: bool) -> anyhow::Result<()> {
    notify(&format!("X_VAKT_ADVERTISEMENTS={} {link}", if on { "on" } else { "off" }));
    let until_ms = sys::now_ms() + DONE_WITHIN_MS;
    loop {
        match accepts_advertisements(link) {
            None => anyhow::bail!("there is no {}", file(link).display()),
            Some(now) if now == on => return Ok(()),
            Some(_) => {}
        }
        anyhow::ensure!(sys::now_ms() < until_ms, "init did not set {}", file(link).display());
        sleep(LOOK_EVERY);
    }
}
