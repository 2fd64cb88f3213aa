//! What the pages are served with: the config's certificate, or the box' own, made at first start and kept in one file.
//!
//! A certificate of the config that cannot be used gives way to the box' own, for pages that nobody reaches can repair
//! nothing.
//!
//! Key and certificate lie in `tls.pem` (mode 0600), written whole under another name, synced and
//! renamed, so that there is never one without the other. A file that cannot be read is replaced, and
//! the console shows the new fingerprint. ECDSA P-256, since every client knows it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use vakt_wire::config::Tls;
use vakt_wire::time::civil_from_days;

use crate::clock;
use crate::tls::acceptor;

/// Years that a certificate is valid from its making: nobody is there to renew it.
const VALID_YEARS: i32 = 10;
/// Its first valid year: a box without a clock battery may believe it is 2024 when it makes one.
const FIRST_YEAR: i32 = 2024;
/// No certificate is made for a year before this one, whatever the clock says.
const BUILD_YEAR: i32 = 2026;
/// Name of the file in the data directory.
const FILE: &str = "tls.pem";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// It could not be kept.
    #[error("{path}: {source}")]
    Keep {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Identity {
    /// The certificate, and those between it and its authority behind it. Never empty.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// `SHA256:AA:BB:…`, as browsers show it.
    pub fn fingerprint(&self) -> String {
        let hash = self.chain.first().map(Sha256::digest).unwrap_or_default();
        let pairs: Vec<_> = hash.iter().map(|byte| format!("{byte:02X}")).collect();
        format!("SHA256:{}", pairs.join(":"))
    }
}

/// The certificate in `dir`, or a new one for `hostname`, kept there.
///
/// # Errors
/// [`CertificateError`] when a new one is needed and cannot be made or kept.
pub fn load_or_make(dir: &Path, hostname: &str) -> Result<Identity, CertificateError> {
    let path = dir.join(FILE);
    match load(&path) {
        Ok(identity) => return Ok(identity),
        Err(reason) if path.exists() => {
            tracing::error!(file = %path.display(), reason, "certificate is unreadable; a new one is made");
        }
        Err(_) => {}
    }
    let (identity, pem) = make(hostname)?;
    replace(dir, FILE, pem.as_bytes()).map_err(|source| CertificateError::Keep { path, source })?;
    Ok(identity)
}

fn load(path: &Path) -> Result<Identity, String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    let certificate =
        CertificateDer::from_pem_slice(&pem).map_err(|error| format!("certificate: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| format!("key: {error}"))?;
    Ok(Identity { chain: vec![certificate], key })
}

/// The certificate of the config, when it names one.
///
/// # Errors
/// When certificate or key cannot be read, or do not belong together.
pub fn of_config(tls: &Tls) -> Option<Result<Identity, String>> {
    let (certificate, key) = (tls.certificate.as_ref()?, tls.key.as_ref()?);
    Some(read(certificate.as_str(), key.as_str()))
}

fn read(certificate: &str, key: &str) -> Result<Identity, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let chain = chain.map_err(|error| format!("tls.certificate: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| format!("tls.key: {error}"))?;
    let identity = Identity { chain, key };
    acceptor(&identity).map_err(|error| format!("tls: {error}"))?;
    Ok(identity)
}

fn make(hostname: &str) -> Result<(Identity, String), CertificateError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let names = [hostname, "localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut parameters = CertificateParams::new(names)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, hostname);
    subject.push(DnType::OrganizationName, "Vakt");
    parameters.distinguished_name = subject;
    let (year, _, _) = civil_from_days(clock::now_s().div_euclid(86_400));
    let from = i32::try_from(year).unwrap_or(BUILD_YEAR).max(BUILD_YEAR);
    parameters.not_before = rcgen::date_time_ymd(FIRST_YEAR, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(from + VALID_YEARS, 1, 1);
    let certificate = parameters.self_signed(&key)?;
    let pem = format!("{}{}", key.serialize_pem(), certificate.pem());
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    Ok((Identity { chain: vec![certificate.der().clone()], key }, pem))
}

/// Puts a file in the place of another, durably, readable by its owner alone.
///
/// # Errors
/// As the operating system says; the old file is whole then.
pub fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.tmp"));
    let mut options = File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, dir.join(name))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_certificate_is_made_once_and_kept_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_make(dir.path(), "guard").unwrap();
        let second = load_or_make(dir.path(), "other").unwrap();
        assert_eq!(first.fingerprint(), second.fingerprint());
        assert_eq!(first.fingerprint().len(), "SHA256:".len() + 32 * 3 - 1);
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_configs_certificate_is_taken_with_its_own_key_alone() {
        let (one, other) = (make("one").unwrap().1, make("other").unwrap().1);
        let pem = |text: &str, label: &str| {
            let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----")).unwrap();
            let (body, _) = rest.split_once(&format!("-----END {label}-----")).unwrap();
            format!("-----BEGIN {label}-----{body}-----END {label}-----\n")
        };
        let tls = |certificate: &str, key: &str| Tls {
            certificate: Some(pem(certificate, "CERTIFICATE").try_into().unwrap()),
            key: Some(pem(key, "PRIVATE KEY").try_into().unwrap()),
        };
        assert!(of_config(&Tls::default()).is_none());
        let used = of_config(&tls(&one, &one)).unwrap().unwrap();
        assert_eq!(used.fingerprint(), load_pem(&one).fingerprint());
        let reason = of_config(&tls(&one, &other)).unwrap().unwrap_err();
        assert!(reason.starts_with("tls: "), "{reason}");
    }

    fn load_pem(pem: &str) -> Identity {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), pem).unwrap();
        load(&dir.path().join(FILE)).unwrap()
    }

    #[test]
    fn an_unreadable_certificate_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_make(dir.path(), "guard").unwrap();
        std::fs::write(dir.path().join(FILE), "torn").unwrap();
        assert_ne!(load_or_make(dir.path(), "guard").unwrap().fingerprint(), first.fingerprint());
    }
}
