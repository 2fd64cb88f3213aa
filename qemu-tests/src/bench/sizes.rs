//! How large the image is, and how many programs are in it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use vakt_image::build::{Manifest, stage};
use vakt_image::bundle::keys::trusted_root;

use super::Row;
use crate::container::workspace;
use crate::programs;

/// Bytes in a MiB.
const MIB: f64 = (1 << 20) as f64;

/// The image that is flashed, as `make image` leaves it.
#[derive(Debug)]
pub struct Release {
    /// The raw disk.
    pub disk: PathBuf,
    /// Its description.
    pub manifest: Manifest,
}

impl Release {
    /// Finds `target/image`, or the directory that `VAKT_BENCH_IMAGE` names (below the workspace when it is
    /// relative); whoever names another one labels the numbers.
    ///
    /// # Errors
    /// When it was not built.
    pub fn find() -> Result<Release> {
        let directory = std::env::var_os("VAKT_BENCH_IMAGE").unwrap_or_else(|| "target/image".into());
        let directory = workspace().join(directory);
        let text = fs::read(directory.join("manifest.json"))
            .with_context(|| format!("no image in {}; `make image` builds it", directory.display()))?;
        let manifest: Manifest = serde_json::from_slice(&text)?;
        let name = format!("vakt-{}-{}.img", manifest.version, std::env::consts::ARCH);
        Ok(Release { disk: directory.join(name), manifest })
    }
}

/// Takes the measure.
///
/// # Errors
/// When the tree of the image cannot be laid out.
pub fn measure() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    match Release::find() {
        Ok(release) => {
            let compressed = release.disk.with_extension("img.zst");
            rows.push(match fs::metadata(&compressed) {
                Ok(meta) => Row::alone("image.img.zst", meta.len() as f64 / MIB, "MiB"),
                Err(error) => Row::skipped("image.img.zst", &format!("{}: {error}", compressed.display())),
            });
            rows.push(Row::alone("root with hash tree", release.manifest.root_bytes as f64 / MIB, "MiB"));
            rows.push(Row::alone("UKI", release.manifest.uki_bytes as f64 / MIB, "MiB"));
        }
        Err(error) => rows.push(Row::skipped("image", &format!("{error:#}"))),
    }
    let room = tempfile::tempdir()?;
    let tree = room.path().join("tree");
    rows.push(
        match stage(&workspace(), &programs::directory()?, &trusted_root(None, &workspace())?, &tree) {
            Ok(()) => {
                Row::alone("programs in the image", fs::read_dir(tree.join("usr/bin"))?.count() as f64, "")
            }
            Err(error) => Row::skipped("programs in the image", &format!("{error:#}")),
        },
    );
    Ok(rows)
}
