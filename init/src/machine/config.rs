//! What each service gets of the machine config that is in force.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use vakt_wire::config::{Hostname, MachineConfig, SshKey};
use vakt_wire::role::Role;

use super::identity;

/// Where configs come from and go to.
#[derive(Clone, Debug)]
pub struct Places {
    /// init's own directory in state.
    pub state: PathBuf,
    /// Where the services' slices are written.
    pub slices: PathBuf,
}

/// Fills in the SSH keys that the config leaves to the box, made once and kept.
///
/// Returns the public keys for `authorized_keys`, by purpose (only of keys that the box made).
///
/// # Errors
/// When a key can be neither read nor made.
pub fn complete_keys(
    places: &Places,
    config: &mut MachineConfig,
) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut public = Vec::new();
    for (purpose, slot) in [("read", &mut config.ssh.read_key), ("repair", &mut config.ssh.repair_key)] {
        if slot.is_some() {
            continue;
        }
        let path = places.state.join(format!("ssh_{purpose}_ed25519"));
        let beside = path.with_extension("pub");
        let text = identity::keep(&path, || {
            let pair = identity::ssh_key(&format!("vakt-{purpose}"))?;
            identity::write_whole(&beside, pair.public.as_bytes())?;
            Ok(pair.private.into_bytes())
        })?;
        let text = String::from_utf8(text).with_context(|| format!("{} is no text", path.display()))?;
        let key = SshKey::try_from(text).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        *slot = Some(key);
        public.push((purpose, fs::read_to_string(&beside).unwrap_or_default()));
    }
    Ok(public)
}

/// Writes every service's slice, readable by that service alone, and returns whose has changed.
///
/// # Errors
/// When a slice cannot be written.
pub fn write_slices(places: &Places, config: &MachineConfig) -> anyhow::Result<Vec<Role>> {
    let mut changed = Vec::new();
    fs::create_dir_all(&places.slices).with_context(|| format!("cannot make {}", places.slices.display()))?;
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Init) {
        let path = places.slices.join(format!("{role}.toml"));
        let text = toml::to_string(&config.slice_for(role)).context("cannot write a config slice as TOML")?;
        if fs::read_to_string(&path).is_ok_and(|present| present == text) {
            continue;
        }
        write_owned(&path, text.as_bytes(), role.uid())?;
        changed.push(role);
    }
    Ok(changed)
}

/// Makes the directory that rooms see as /etc: hosts with our own name, and empty lists of name servers
/// and time servers that the network service fills.
///
/// # Errors
/// When it cannot be written or given away.
pub fn write_etc(directory: &Path, config: &MachineConfig) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    write_hosts(directory, &config.hostname)?;
    for learned in ["resolv.conf", "ntp-servers"] {
        write_readable(&directory.join(learned), "")?;
    }
    let uid = Role::Network.uid();
    chown(directory, Some(uid), Some(uid))
        .with_context(|| format!("cannot give {} away", directory.display()))
}

/// Writes hosts(5) with our own name.
///
/// # Errors
/// When it cannot be written or given away.
pub fn write_hosts(directory: &Path, name: &Hostname) -> anyhow::Result<()> {
    let hosts = format!("127.0.0.1 localhost {name}\n::1 localhost {name}\n");
    write_readable(&directory.join("hosts"), &hosts)
}

/// A file of the network service that everybody may read.
fn write_readable(path: &Path, text: &str) -> anyhow::Result<()> {
    let uid = Role::Network.uid();
    identity::write_whole(path, text.as_bytes())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    Ok(chown(path, Some(uid), Some(uid))?)
}

/// Writes a file that only `uid` may read.
///
/// # Errors
/// When it cannot be written or given away.
pub fn write_owned(path: &Path, bytes: &[u8], uid: u32) -> anyhow::Result<()> {
    identity::write_whole(path, bytes)?;
    chown(path, Some(uid), Some(uid))
        .with_context(|| format!("cannot give {} to uid {uid}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o400))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_only_where_the_config_has_none() {
        let directory = tempfile::tempdir().unwrap();
        let places = Places { state: directory.path().into(), slices: directory.path().join("slices") };
        let mut first = MachineConfig::default();
        let public = complete_keys(&places, &mut first).unwrap();
        assert_eq!(public.len(), 2);
        let mut second = MachineConfig::default();
        assert_eq!(complete_keys(&places, &mut second).unwrap(), public);
        assert_eq!(first, second);
        assert_eq!(complete_keys(&places, &mut second).unwrap(), []);
    }
}
