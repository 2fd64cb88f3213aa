//! Fresh ed25519 key pairs in OpenSSH's form.

use anyhow::{Context, Result, ensure};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;

/// A key pair.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// `-----BEGIN OPENSSH PRIVATE KEY-----…`
    pub private: String,
    /// `ssh-ed25519 AAAA…`
    pub public: String,
}

impl KeyPair {
    /// A new random pair.
    pub fn random() -> Result<KeyPair> {
        let mut seed = [0; 32];
        let filled = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())?;
        ensure!(filled == seed.len(), "the kernel gave {filled} random bytes of 32");
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
        Ok(KeyPair {
            private: key.to_openssh(LineEnding::LF).context("cannot write a private key")?.to_string(),
            public: key.public_key().to_openssh().context("cannot write a public key")?.trim().to_owned(),
        })
    }
}
