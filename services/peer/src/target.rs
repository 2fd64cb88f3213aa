//! Whom to connect to, as whom, and which host key must answer.

use std::fmt;
use std::sync::Arc;

use russh::keys::ssh_key::HashAlg;
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use vakt_wire::config::{HostKey, Peer, SshKey, UserName};

/// Everything that one connection needs. Cheap to clone. Its `Debug` shows no private key.
#[derive(Clone)]
pub struct Target {
    name: Arc<str>,
    address: Arc<str>,
    user: Arc<str>,
    host_key: Arc<PublicKey>,
    key: Arc<PrivateKey>,
}

/// Why a [`Target`] cannot be made of what the config says.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The pinned host key is no public key.
    #[error("peer {peer}: host_key is not a public key: {reason}; example: ssh-ed25519 AAAA…")]
    HostKey {
        /// The peer's name in the config.
        peer: String,
        /// What the decoder said.
        reason: String,
    },
    /// The private key cannot be read.
    #[error(
        "the SSH key for {user}@{peer} is not an OpenSSH private key: {reason}; make one with: ssh-keygen -t ed25519 -N '' -f key"
    )]
    Key {
        /// The peer's name in the config.
        peer: String,
        /// The user it was meant for.
        user: String,
        /// What the decoder said.
        reason: String,
    },
    /// The private key is of a kind that is not taken.
    #[error("the SSH key for {user}@{peer} is {found}; only ssh-ed25519 without a passphrase is taken")]
    KeyKind {
        /// The peer's name in the config.
        peer: String,
        /// The user it was meant for.
        user: String,
        /// Its kind.
        found: String,
    },
}

impl Target {
    /// The connection that only reads: `peer`'s `read_user`, signed in with `key`.
    ///
    /// # Errors
    /// [`TargetError`] when the pinned host key or `key` cannot be read.
    pub fn read(peer: &Peer, key: &SshKey) -> Result<Target, TargetError> {
        Target::new(peer, &peer.read_user, key)
    }

    /// The connection that may repair: `peer`'s `repair_user`, signed in with `key`.
    ///
    /// # Errors
    /// As [`Target::read`].
    pub fn repair(peer: &Peer, key: &SshKey) -> Result<Target, TargetError> {
        Target::new(peer, &peer.repair_user, key)
    }

    fn new(peer: &Peer, user: &UserName, key: &SshKey) -> Result<Target, TargetError> {
        let host_key = public_key(&peer.host_key)
            .map_err(|reason| TargetError::HostKey { peer: peer.name.to_string(), reason })?;
        Ok(Target {
            name: peer.name.as_str().into(),
            address: peer.address.as_str().into(),
            user: user.as_str().into(),
            host_key: Arc::new(host_key),
            key: Arc::new(private_key(peer, user, key)?),
        })
    }

    /// The peer's name in the config.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Host and port as the config has them.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The user to sign in as.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The pinned key's fingerprint, as `ssh-keygen -l` prints it: `SHA256:…`.
    pub fn host_fingerprint(&self) -> String {
        fingerprint(&self.host_key)
    }

    pub(crate) fn host_key(&self) -> &Arc<PublicKey> {
        &self.host_key
    }

    pub(crate) fn key(&self) -> &Arc<PrivateKey> {
        &self.key
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({} = {}@{}, {})", self.name, self.user, self.address, self.host_fingerprint())
    }
}

/// `SHA256:…` of a public key.
pub(crate) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

fn public_key(text: &HostKey) -> Result<PublicKey, String> {
    PublicKey::from_openssh(text.as_str()).map_err(|error| error.to_string())
}

fn private_key(peer: &Peer, user: &UserName, text: &SshKey) -> Result<PrivateKey, TargetError> {
    let (peer, user) = (peer.name.to_string(), user.to_string());
    let key = match PrivateKey::from_openssh(text.as_str().trim()) {
        Ok(key) => key,
        Err(error) => return Err(TargetError::Key { peer, user, reason: error.to_string() }),
    };
    if key.is_encrypted() {
        return Err(TargetError::KeyKind { peer, user, found: "locked by a passphrase".into() });
    }
    if key.algorithm() != Algorithm::Ed25519 {
        return Err(TargetError::KeyKind { peer, user, found: key.algorithm().to_string() });
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn peer(host_key: &str) -> Peer {
        let text = format!(
            "version = 1\n[[peer]]\nname = \"db1\"\naddress = \"192.0.2.7:22\"\nhost_key = \"{host_key}\"\n"
        );
        vakt_wire::config::parse(&text).unwrap().peers.remove(0)
    }

    fn key(text: &str) -> SshKey {
        SshKey::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn keys_that_cannot_be_used_are_named_with_their_peer() {
        let broken = key("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----");
        let said = Target::read(&peer(HOST_KEY), &broken).unwrap_err().to_string();
        assert!(said.contains("vakt-read@db1") && said.contains("ssh-keygen"), "{said}");
        let said = Target::repair(&peer("ssh-ed25519 AAAAxx"), &broken).unwrap_err().to_string();
        assert!(said.starts_with("peer db1: host_key is not a public key"), "{said}");
    }

    #[test]
    fn a_target_shows_its_fingerprint_and_never_its_key() {
        let pair = russh::keys::ssh_key::private::Ed25519Keypair::from_seed(&[7; 32]);
        let private = PrivateKey::from(pair);
        let text = private.to_openssh(russh::keys::ssh_key::LineEnding::LF).unwrap();
        let target = Target::repair(&peer(HOST_KEY), &key(&text)).unwrap();
        let shown = format!("{target:?}");
        assert!(shown.contains("db1 = vakt-repair@192.0.2.7:22") && shown.contains("SHA256:"), "{shown}");
        assert!(!shown.contains("PRIVATE"));
    }
}
