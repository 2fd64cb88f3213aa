//! Secure Boot's arguments, of the commands that make an image.

use std::path::PathBuf;

use vakt_image::secure_boot::{SecureBoot, Signer};

/// With what the boot loader and the UKI are signed.
#[derive(Debug, clap::Args)]
pub struct Signing {
    /// Sign for Secure Boot with this private key (PEM).
    #[arg(long, requires = "secure_boot_cert", value_name = "KEY")]
    secure_boot_key: Option<PathBuf>,
    /// The key's certificate (PEM).
    #[arg(long, requires = "secure_boot_key", value_name = "CERT")]
    secure_boot_cert: Option<PathBuf>,
    /// Put the keys of this directory (`vakt-image keys --secure-boot`) onto the image; a firmware in setup mode takes
    /// them at the first boot. It then starts nothing else, so mind cards whose own firmware is signed by others.
    #[arg(long, requires = "secure_boot_key", value_name = "DIR")]
    secure_boot_enrol: Option<PathBuf>,
}

impl Signing {
    /// What to sign with; `None` when it was not asked for.
    pub fn secure_boot(self) -> Option<SecureBoot> {
        let signer = Signer { key: self.secure_boot_key?, certificate: self.secure_boot_cert? };
        Some(SecureBoot { signer, enrol: self.secure_boot_enrol })
    }
}
