//! Where downloads are kept between builds.

use std::path::PathBuf;

/// `$VAKT_CACHE`, or `/var/cache/vakt` for root, or `~/.cache/vakt`.
pub fn directory() -> PathBuf {
    if let Some(path) = std::env::var_os("VAKT_CACHE") {
        return path.into();
    }
    if rustix::process::geteuid().is_root() {
        return "/var/cache/vakt".into();
    }
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    home.join(".cache/vakt")
}
