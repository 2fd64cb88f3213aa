//! The same programs and inputs give the same image, byte for byte.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use vakt_image::build::{Manifest, Options, assemble, stage};
use vakt_image::provider::{self, Kernel};
use vakt_image::sbom;
use vakt_qemu_tests::container::workspace;
use vakt_qemu_tests::harness;
use vakt_qemu_tests::programs;

fn main() -> ExitCode {
    harness::run(None, &[("two_builds_from_the_same_inputs_are_the_same_bytes", twice)])
}

fn twice() -> Result<()> {
    let trust = tempfile::tempdir()?;
    let root = trust.path().join("root.json");
    // Any file will do: what is compared is what becomes of it.
    std::fs::write(&root, "{}")?;
    let (first, second) = (build(&root)?, build(&root)?);
    ensure!(first.root_hash == second.root_hash, "root hashes {} and {}", first.root_hash, second.root_hash);
    ensure!(first == second, "the disks differ:\n{first:#?}\n{second:#?}");
    Ok(())
}

/// Stages and assembles in a directory of its own, at a time of its own.
fn build(trust: &Path) -> Result<Manifest> {
    let directory = tempfile::tempdir()?;
    let tree = directory.path().join("tree");
    stage(&workspace(), &programs::directory()?, trust, &tree)?;
    let inputs = provider::inputs(Kernel::Stock)?;
    sbom::stage(&sbom::make(&workspace(), vakt_image::VERSION, &inputs.packages)?, &tree)?;
    Ok(assemble(&tree, &inputs, &directory.path().join("out"), &Options::default())?.manifest)
}
