//! The base tree: Debian 12 with systemd, D-Bus, sshd and polkit, built once and kept.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Raise it when what `build` does changes: another name means another tree.
const TREE_NAME: &str = "systemd-peer-bookworm-1";

/// libpam-systemd brings the logind that polkitd depends on.
const PACKAGES: &str = "systemd-sysv,dbus,libpam-systemd,openssh-server,polkitd,sudo";

/// The example units: one that may be repaired, and one that may not.
const UNITS: [&str; 2] = ["demo", "other"];

/// The tree's directory; builds it (250 MB, a minute or two) when it is not there yet. Several tests may
/// ask at once: one builds, the others wait.
pub fn ready() -> Result<PathBuf> {
    let cache = PathBuf::from(std::env::var_os("VAKT_CACHE").unwrap_or_else(|| "/var/cache/vakt".into()));
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let tree = cache.join(TREE_NAME);
    if tree.exists() {
        return Ok(tree);
    }
    let lock_path = cache.join(format!("{TREE_NAME}.lock"));
    let lock = File::create(&lock_path).with_context(|| format!("cannot open {}", lock_path.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", lock_path.display()))?;
    if !tree.exists() {
        eprintln!("systemd peer: building {} with debootstrap, once", tree.display());
        let unfinished = cache.join(format!("{TREE_NAME}.new"));
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).context("cannot remove an unfinished tree")?;
        }
        build(&unfinished)?;
        fs::rename(&unfinished, &tree).context("cannot move the tree into place")?;
    }
    Ok(tree)
}

fn build(tree: &Path) -> Result<()> {
    let mirror = std::env::var("VAKT_DEBIAN_MIRROR").unwrap_or("http://deb.debian.org/debian".into());
    let include = format!("--include={PACKAGES}");
    let made = Command::new("debootstrap")
        .args(["--variant=minbase", &include, "bookworm"])
        .arg(tree)
        .arg(&mirror)
        .output()
        .context("cannot run debootstrap (apt-get install debootstrap)")?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stdout);
        let tail: Vec<_> = said.lines().rev().take(10).collect();
        bail!("debootstrap from {mirror} failed: {}", tail.into_iter().rev().collect::<Vec<_>>().join("; "));
    }
    // Each peer gets keys of its own, and its sshd is started when they are there.
    for entry in fs::read_dir(tree.join("etc/ssh"))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ssh_host_")) {
            fs::remove_file(path)?;
        }
    }
    let disabled = Command::new("chroot").arg(tree).args(["systemctl", "disable", "ssh.service"]).output()?;
    ensure!(disabled.status.success(), "cannot disable ssh.service in {}", tree.display());
    // Work of a machine's life that no test waits for, and that would only make the peer busy.
    for name in ["apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"] {
        let link = tree.join("etc/systemd/system").join(name);
        if !link.exists() {
            std::os::unix::fs::symlink("/dev/null", link)?;
        }
    }
    for unit in UNITS {
        fs::write(tree.join(format!("etc/systemd/system/{unit}.service")), unit_file(unit))?;
        let wanted = tree.join(format!("etc/systemd/system/multi-user.target.wants/{unit}.service"));
        std::os::unix::fs::symlink(format!("/etc/systemd/system/{unit}.service"), wanted)?;
    }
    fs::write(tree.join("etc/hostname"), "peer\n")?;
    Ok(())
}

/// A service that runs for ever, and that cannot start while /run/<unit>.broken exists.
fn unit_file(unit: &str) -> String {
    format!(
        "[Unit]\nDescription=A service to be watched ({unit})\nStartLimitIntervalSec=0\n\n[Service]\n\
         ExecStartPre=/usr/bin/test ! -e /run/{unit}.broken\n\
         ExecStart=/bin/sleep infinity\n\n[Install]\nWantedBy=multi-user.target\n"
    )
}
