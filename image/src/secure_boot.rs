//! UEFI Secure Boot: keys of one's own, signatures of what the firmware starts, and enrolment.
//!
//! The firmware starts only what is signed by a key in its `db`. We sign systemd-boot and the UKI, by sbsigntool; the
//! UKI holds kernel, initramfs and the command line with the root hash, so the signature covers everything that
//! verity then checks. Keys come into the firmware by its own menu, or by systemd-boot while the firmware is in setup
//! mode, from `loader/keys/auto` on the ESP (systemd-boot(7)).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::process::run;

/// Who owns the keys' entries in the firmware's lists: any GUID does, it only has to be the same one.
const OWNER: &str = "76616b74-0000-4000-8000-00000000005b";

/// The keys, by the firmware's names, each with the one that signs its entry (UEFI 2.10, 32.3): PK signs itself and KEK, KEK
/// signs db, db signs programs.
const KEYS: [(&str, &str); 3] = [("PK", "PK"), ("KEK", "PK"), ("db", "KEK")];

/// With which systemd-boot sets the variables; they are a part of what is signed.
const ATTRIBUTES: &str =
    "NON_VOLATILE,BOOTSERVICE_ACCESS,RUNTIME_ACCESS,TIME_BASED_AUTHENTICATED_WRITE_ACCESS";

/// Days that a certificate says it is good for. Firmware does not look at its clock for this.
const DAYS: &str = "7300";

/// What signs.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The private key, PEM.
    pub key: PathBuf,
    /// Its certificate, PEM.
    pub certificate: PathBuf,
}

/// What a signed image gets.
#[derive(Clone, Debug)]
pub struct SecureBoot {
    /// Signs boot loader and UKI.
    pub signer: Signer,
    /// The directory of [`generate`], whose three .auth files systemd-boot enrols by itself in setup mode.
    pub enrol: Option<PathBuf>,
}

impl Signer {
    /// Signs a PE file; the signature has a time stamp, so that two are never the same.
    ///
    /// # Errors
    /// When the key or the certificate cannot be used, or sbsign fails.
    pub fn sign(&self, from: &Path, to: &Path) -> anyhow::Result<()> {
        let mut command = Command::new("sbsign");
        command.arg("--key").arg(&self.key).arg("--cert").arg(&self.certificate);
        run(command.arg("--output").arg(to).arg(from))
            .with_context(|| format!("cannot sign with {}", self.key.display()))?;
        Ok(())
    }
}

/// The files that systemd-boot enrols, by name, from a directory of [`generate`].
///
/// # Errors
/// When one cannot be read.
pub fn enrolment(directory: &Path) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let read = |(name, _): &(&str, &str)| {
        let file = format!("{name}.auth");
        let path = directory.join(&file);
        let bytes = fs::read(&path).with_context(|| {
            format!("cannot read {}; make keys with: vakt-image keys --secure-boot DIR", path.display())
        })?;
        Ok((file, bytes))
    };
    KEYS.iter().map(read).collect()
}

/// Makes PK, KEK and db in `directory`: a key, a certificate and a signed variable each.
///
/// # Errors
/// When there are keys already, or openssl or sbsigntool fails.
pub fn generate(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for (name, _) in KEYS {
        let key = directory.join(format!("{name}.key"));
        anyhow::ensure!(!key.exists(), "{} is there already; keys are never replaced", key.display());
    }
    KEYS.iter().try_for_each(|(name, _)| certificate(directory, name))?;
    KEYS.iter().try_for_each(|(name, by)| variable(directory, name, by))
}

/// RSA of 2048 bits with SHA-256: what every firmware takes (UEFI 2.10, 32.4.1).
fn certificate(directory: &Path, name: &str) -> anyhow::Result<()> {
    let at = |ending: &str| directory.join(format!("{name}.{ending}"));
    let mut request = Command::new("openssl");
    request.args(["req", "-new", "-x509", "-newkey", "rsa:2048", "-sha256", "-nodes", "-days", DAYS]);
    request.args(["-subj", &format!("/CN=Vakt {name}/")]);
    run(request.arg("-keyout").arg(at("key")).arg("-out").arg(at("crt")))?;
    fs::set_permissions(at("key"), std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(())
}

/// The variable's new value, signed by the key `by`, as SetVariable takes it.
fn variable(directory: &Path, name: &str, by: &str) -> anyhow::Result<()> {
    let work = tempfile::tempdir()?;
    let (der, list) = (work.path().join("der"), work.path().join("list"));
    let at = |name: &str, ending: &str| directory.join(format!("{name}.{ending}"));
    let mut convert = Command::new("openssl");
    run(convert.args(["x509", "-outform", "DER", "-in"]).arg(at(name, "crt")).arg("-out").arg(&der))?;
    let mut make_list = Command::new("sbsiglist");
    run(make_list.args(["--owner", OWNER, "--type", "x509", "--output"]).arg(&list).arg(&der))?;
    let mut sign = Command::new("sbvarsign");
    sign.args(["--attr", ATTRIBUTES]).arg("--key").arg(at(by, "key")).arg("--cert").arg(at(by, "crt"));
    run(sign.arg("--output").arg(at(name, "auth")).arg(name).arg(&list))?;
    Ok(())
}
