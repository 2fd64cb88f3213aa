//! Updates as an operator makes and brings them: another version of today's programs, signed, in an archive.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use vakt_image::build::{Built, Options, assemble, stage};
use vakt_image::bundle::{Signing, Update, Validity, block_on, keys, publish, write_archive};
use vakt_image::provider::{self, Kernel};
use vakt_image::sbom;

use crate::container::workspace;
use crate::guest::Appliance;
use crate::programs;

/// How long the archives of a test are good: it ends today.
const VALIDITY: Validity = Validity { targets_days: 30, online_days: 30 };

/// Builds `version` of today's programs in `output`, with a root tree that `change` worked on.
///
/// # Errors
/// When a step of the image builder fails.
pub fn build(version: &str, output: &Path, change: impl FnOnce(&Path) -> Result<()>) -> Result<Built> {
    let work = tempfile::tempdir()?;
    let tree = work.path().join("tree");
    stage(&workspace(), &programs::directory()?, &keys::trusted_root(None, &workspace())?, &tree)?;
    let os_release = tree.join("usr/lib/os-release");
    let text = std::fs::read_to_string(&os_release)?;
    std::fs::write(&os_release, text.replace(vakt_image::VERSION, version))?;
    change(&tree)?;
    let inputs = provider::inputs(Kernel::Stock)?;
    sbom::stage(&sbom::make(&workspace(), version, &inputs.packages)?, &tree)?;
    let built = assemble(&tree, &inputs, output, &Options::default())?;
    ensure!(built.manifest.version == version, "the image says {}", built.manifest.version);
    Ok(built)
}

/// A signed archive of the image that [`build`] left in `image`, out of the repository below `directory`,
/// which grows with it.
///
/// # Errors
/// When it cannot be signed or written.
pub fn archive(image: &Path, version: &str, signing: &Signing, directory: &Path) -> Result<PathBuf> {
    let update = Update::of_image(image)?;
    let work = tempfile::tempdir_in(directory)?;
    let files = update.write(work.path())?;
    let repository = directory.join("repository");
    block_on(publish(&repository, &files, signing, VALIDITY))?;
    let archive = directory.join(format!("{version}.tar"));
    write_archive(&repository, &files, &archive)?;
    Ok(archive)
}

/// The keys that images of this workspace trust.
///
/// # Errors
/// When they can be neither found nor made.
pub fn ours() -> Result<Signing> {
    Ok(Signing::with(&block_on(keys::development(&workspace()))?))
}

/// Uploads an archive with vaktctl; returns what it said.
///
/// # Errors
/// When the box refuses it, with the box' story.
pub fn upload(appliance: &Appliance, token: &Path, archive: &Path) -> Result<String> {
    let words = ["update", "upload", &archive.to_string_lossy()];
    let ran = programs::vaktctl(appliance.https, &appliance.fingerprint, token, &words)?;
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{said}\n{}", appliance.story());
    Ok(said)
}
