//! Updates out of images: manifest, signed repository, archive.
//!
//! What is made here is what `vakt-update` takes; the manifest's type is that service's own.

mod archive;
pub mod keys;
mod pieces;
mod repository;

use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use vakt_update::manifest::{Manifest, name};
use vakt_update::version::Version;

use crate::arch::Arch;
use crate::build;

pub use archive::write as write_archive;
pub use repository::{Signing, Validity, publish};

/// Runs what `tough` does to its end. Not to be called by what runs in such a runtime itself.
///
/// # Errors
/// As `work`, or when there is no runtime.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// What an update is made of.
#[derive(Clone, Debug)]
pub struct Update {
    /// Its version.
    pub version: Version,
    /// The machine that it is for, as `vakt-x86_64`.
    pub machine: String,
    /// When it was made; a box whose clock is before this refuses it.
    pub made: Timestamp,
    /// dm-verity's root hash, in hex.
    pub root_hash: String,
    /// The root with its hash tree.
    pub root: PathBuf,
    /// The UKI.
    pub uki: PathBuf,
    /// The bill of materials, which is in the root too.
    pub sbom: Vec<u8>,
}

impl Update {
    /// The update that leads to the image in `directory`, which `vakt-image build` made.
    ///
    /// # Errors
    /// When a part of the image is missing or its version cannot be one of an update.
    pub fn of_image(directory: &Path) -> anyhow::Result<Update> {
        let path = directory.join("manifest.json");
        let text = std::fs::read(&path).with_context(|| {
            format!("cannot read {}; make the image with: vakt-image build", path.display())
        })?;
        let image: build::Manifest =
            serde_json::from_slice(&text).with_context(|| format!("{} is no image's", path.display()))?;
        let stem = build::stem(&image.version);
        let bill = directory.join(format!("{stem}.sbom.json"));
        let bill = std::fs::read(&bill).with_context(|| format!("cannot read {}", bill.display()))?;
        // To the second: what is written is what is read back.
        let made = Timestamp::from_second(Timestamp::now().as_second())?;
        Ok(Update {
            version: image.version.parse()?,
            machine: format!("vakt-{}", Arch::HERE.name()),
            made,
            root_hash: image.root_hash.clone(),
            root: directory.join(format!("{stem}.root")),
            uki: directory.join(format!("{stem}.efi")),
            sbom: bill,
        })
    }

    /// Writes the update's files to `directory`, under the names of their targets; returns them in the order of
    /// an archive.
    ///
    /// # Errors
    /// When a part cannot be read or a file written.
    pub fn write(&self, directory: &Path) -> anyhow::Result<[PathBuf; 4]> {
        let target = |ending: &str| name(self.version, &self.machine, ending);
        let manifest = Manifest {
            format: 1,
            version: self.version,
            machine: self.machine.clone(),
            made: self.made,
            verity_root_hash: self.root_hash.clone().try_into().map_err(anyhow::Error::msg)?,
            root: pieces::part(&self.root, target("root"))?,
            uki: pieces::part(&self.uki, target("efi"))?,
        };
        let paths = ["json", "root", "efi", "sbom.json"].map(|ending| directory.join(target(ending)));
        let [manifest_path, root, uki, sbom] = &paths;
        let writing = |path: &Path| format!("cannot write {}", path.display());
        std::fs::write(manifest_path, serde_json::to_vec(&manifest)?)
            .with_context(|| writing(manifest_path))?;
        std::fs::copy(&self.root, root).with_context(|| writing(root))?;
        std::fs::copy(&self.uki, uki).with_context(|| writing(uki))?;
        std::fs::write(sbom, &self.sbom).with_context(|| writing(sbom))?;
        Ok(paths)
    }
}
