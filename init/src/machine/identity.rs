//! What makes this box itself: machine id, the key that signs evidence, the SSH keys.
//!
//! Made at first boot under /state/init, each file mode 0600, written whole and synced.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use ed25519_dalek::SigningKey;

/// An OpenSSH private key with the line for `authorized_keys` beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshKeyPair {
    /// The private key's file text.
    pub private: String,
    /// `ssh-ed25519 AAAA… comment`.
    pub public: String,
}

/// Reads the file, or makes it from `fresh` when it is absent.
///
/// # Errors
/// When it can be neither read nor written.
pub fn keep(path: &Path, fresh: impl FnOnce() -> anyhow::Result<Vec<u8>>) -> anyhow::Result<Vec<u8>> {
    match fs::read(path) {
        Ok(bytes) if !bytes.is_empty() => Ok(bytes),
        Ok(_) => make(path, fresh()?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(path, fresh()?),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn make(path: &Path, bytes: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    write_whole(path, &bytes)?;
    Ok(bytes)
}

/// Replaces a file by rename, synced with its directory, mode 0600.
///
/// # Errors
/// When any step fails; the old file is whole then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let next = path.with_extension("next");
    let write = || -> std::io::Result<()> {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&next, path)?;
        fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// `N` random bytes from the kernel.
///
/// # Errors
/// As getrandom(2).
pub fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    let read = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    anyhow::ensure!(read == N, "the kernel gave {read} random bytes instead of {N}");
    Ok(bytes)
}

/// A fresh machine id as machine-id(5) has it: 32 hex digits and a line end.
///
/// # Errors
/// As [`random`].
pub fn machine_id() -> anyhow::Result<Vec<u8>> {
    let mut id = random::<16>()?;
    // A version 4 UUID, as systemd makes them.
    id[6] = id[6] & 0x0F | 0x40;
    id[8] = id[8] & 0x3F | 0x80;
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{hex}\n").into_bytes())
}

/// A fresh ed25519 key in OpenSSH's format (openssh-portable PROTOCOL.key), without a passphrase.
///
/// # Errors
/// As [`random`].
pub fn ssh_key(comment: &str) -> anyhow::Result<SshKeyPair> {
    let check = random::<4>()?;
    Ok(encode_ssh_key(&SigningKey::from_bytes(&random::<32>()?), check, comment))
}

fn encode_ssh_key(key: &SigningKey, check: [u8; 4], comment: &str) -> SshKeyPair {
    let public = key.verifying_key().to_bytes();
    let mut public_blob = Vec::new();
    string(&mut public_blob, b"ssh-ed25519");
    string(&mut public_blob, &public);

    let mut secret = [check, check].concat();
    secret.extend_from_slice(&public_blob);
    string(&mut secret, &key.to_keypair_bytes());
    string(&mut secret, comment.as_bytes());
    for pad in 1..=(8 - secret.len() % 8) % 8 {
        secret.push(pad as u8);
    }

    let mut file = b"openssh-key-v1\0".to_vec();
    string(&mut file, b"none");
    string(&mut file, b"none");
    string(&mut file, b"");
    file.extend_from_slice(&1u32.to_be_bytes());
    string(&mut file, &public_blob);
    string(&mut file, &secret);

    let body = vakt_wire::base64::encode(&file);
    let lines: Vec<&str> = (0..body.len()).step_by(70).map(|at| &body[at..body.len().min(at + 70)]).collect();
    SshKeyPair {
        private: format!(
            "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n",
            lines.join("\n")
        ),
        public: format!("ssh-ed25519 {} {comment}", vakt_wire::base64::encode(&public_blob)),
    }
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ssh_key_is_laid_out_as_openssh_reads_it() {
        let pair = encode_ssh_key(&SigningKey::from_bytes(&[7; 32]), [1, 2, 3, 4], "vakt");
        assert!(pair.public.starts_with("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"));
        assert!(pair.private.lines().all(|line| line.len() <= 70));
        assert!(pair.private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA"));
    }

    #[test]
    fn what_was_made_once_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("id");
        let first = keep(&path, machine_id).unwrap();
        assert_eq!(keep(&path, machine_id).unwrap(), first);
        assert_eq!(first.len(), 33);
    }
}
