//! Which machine config is in force, and what each service gets of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use vakt_wire::config::{self, MachineConfig, SshKey};
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

/// A config in force, and what was wrong with one that is not.
#[derive(Clone, Debug, PartialEq)]
pub struct InForce {
    /// The config.
    pub config: MachineConfig,
    /// Why an offered or stored one was refused, for console and pages.
    pub refused: Option<String>,
}

/// Decides between what is offered (a `VAKTCFG` disk or `--config`) and what is stored: a valid offer
/// wins and is stored, a wrong one is refused and the stored one stays in force. With nothing stored
/// the defaults are.
///
/// # Errors
/// When the state directory cannot be written.
pub fn adopt(places: &Places, offered: Option<(String, String)>) -> anyhow::Result<InForce> {
    let path = places.state.join("config.toml");
    let (stored, mut refused) = match fs::read_to_string(&path) {
        Ok(text) => match config::parse(&text) {
            Ok(config) => (Some((text, config)), None),
            Err(error) => (None, Some(format!("{}: {error}", path.display()))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (None, None),
        Err(error) => (None, Some(format!("{}: {error}", path.display()))),
    };
    if let Some((source, text)) = offered {
        match config::parse(&text) {
            Ok(config) => {
                if stored.as_ref().is_none_or(|(old, _)| *old != text) {
                    identity::write_whole(&path, text.as_bytes())?;
                }
                return Ok(InForce { config, refused: None });
            }
            Err(error) => refused = Some(format!("{source}: {error}; the previous config stays in force")),
        }
    }
    Ok(InForce { config: stored.map(|(_, config)| config).unwrap_or_default(), refused })
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

/// Writes every service's slice, readable by that service alone.
///
/// # Errors
/// When a slice cannot be written.
pub fn write_slices(places: &Places, config: &MachineConfig) -> anyhow::Result<()> {
    fs::create_dir_all(&places.slices).with_context(|| format!("cannot make {}", places.slices.display()))?;
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Init) {
        let path = places.slices.join(format!("{role}.toml"));
        let text = toml::to_string(&config.slice_for(role)).context("cannot write a config slice as TOML")?;
        write_owned(&path, text.as_bytes(), role.uid())?;
    }
    Ok(())
}

/// Makes the directory that rooms see as /etc: hosts with our own name, and an empty resolv.conf that
/// the network service fills.
///
/// # Errors
/// When it cannot be written or given away.
pub fn write_etc(directory: &Path, config: &MachineConfig) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let hosts = format!("127.0.0.1 localhost {name}\n::1 localhost {name}\n", name = config.hostname);
    let uid = Role::Network.uid();
    for (name, text) in [("hosts", hosts.as_str()), ("resolv.conf", "")] {
        let path = directory.join(name);
        identity::write_whole(&path, text.as_bytes())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        chown(&path, Some(uid), Some(uid))?;
    }
    chown(directory, Some(uid), Some(uid))
        .with_context(|| format!("cannot give {} away", directory.display()))
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

    fn offer(text: &str) -> Option<(String, String)> {
        Some(("disk".into(), text.into()))
    }

    #[test]
    fn a_wrong_offer_is_refused_and_the_previous_config_stays_in_force() {
        let directory = tempfile::tempdir().unwrap();
        let places = Places { state: directory.path().into(), slices: directory.path().join("slices") };
        let first = adopt(&places, None).unwrap();
        assert_eq!(first, InForce { config: MachineConfig::default(), refused: None });

        let good = adopt(&places, offer("version = 1\nhostname = \"guard\"")).unwrap();
        assert_eq!((good.config.hostname.as_str(), good.refused), ("guard", None));

        let bad = adopt(&places, offer("version = 1\nhostnam = \"other\"")).unwrap();
        assert_eq!(bad.config.hostname.as_str(), "guard");
        let refused = bad.refused.unwrap();
        assert!(refused.starts_with("disk: line 2, column 1: hostnam: unknown field"), "{refused}");
        assert!(refused.ends_with("the previous config stays in force"));

        assert_eq!(adopt(&places, None).unwrap().config.hostname.as_str(), "guard");
    }

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
