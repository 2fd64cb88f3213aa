//! All the steps, in order.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::layout::{ESP, ROOT_A, STATE};
use super::{disk, erofs, esp, hex, initramfs, modules, state, tree, uki, verity};
use crate::process::step;
use crate::provider::Inputs;

/// zstd's level for the file that is handed out.
const LEVEL: i32 = 19;

/// What every boot has on its command line. A panic restarts the machine after five seconds; kernel
/// messages below "error" stay off the console; both consoles are tried, the serial one last, where
/// /dev/console then leads. Which slot it is is not said: the root hash behind these tells.
const OPTIONS: &str = "panic=5 quiet loglevel=3 console=tty0 console=ttyS0,115200";

/// What was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The raw disk.
    pub disk: PathBuf,
    /// Its description.
    pub manifest: Manifest,
}

/// The description of an image, beside it as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Vakt's version.
    pub version: String,
    /// dm-verity's root hash.
    pub root_hash: String,
    /// Kernel release.
    pub kernel: String,
    /// The kernel command line.
    pub cmdline: String,
    /// Bytes of the root with its hash tree.
    pub root_bytes: u64,
    /// Bytes of the UKI.
    pub uki_bytes: u64,
    /// Bytes of the raw disk.
    pub disk_bytes: u64,
    /// SHA-256 of the raw disk.
    pub disk_sha256: String,
    /// The packages it was made from: name, version, SHA-256.
    pub packages: Vec<String>,
}

/// Builds a disk in `output` from a staged root tree; with `compress` also `.img.zst` for flashing.
///
/// # Errors
/// At the first step that fails.
pub fn assemble(root_tree: &Path, inputs: &Inputs, output: &Path, compress: bool) -> anyhow::Result<Built> {
    fs::create_dir_all(output).with_context(|| format!("cannot make {}", output.display()))?;
    let work = tempfile::tempdir_in(output)?;
    let (os_release, version) = tree::version(root_tree)?;
    let at = |name: &str| work.path().join(name);

    step("root: erofs and hash tree");
    erofs::make(root_tree, &at("root"))?;
    let verity = verity::append(&at("root"))?;

    step("boot: initramfs and UKI");
    let modules = modules::resolve(&inputs.modules)?;
    let initrd = initramfs::make(&root_tree.join("usr/bin/vakt-init"), &modules)?;
    let cmdline = format!("{OPTIONS} vakt.verity={}", verity.option());
    let kernel =
        fs::read(&inputs.kernel).with_context(|| format!("cannot read {}", inputs.kernel.display()))?;
    let stub = fs::read(&inputs.stub).with_context(|| format!("cannot read {}", inputs.stub.display()))?;
    let image = uki::make(
        &stub,
        &[
            (".osrel", os_release.as_bytes()),
            (".uname", inputs.kernel_release.as_bytes()),
            (".cmdline", cmdline.as_bytes()),
            (".initrd", &initrd),
            (".linux", &kernel),
        ],
    )?;
    fs::write(at("uki"), &image)?;
    // Kept for direct-kernel boots, which need no firmware.
    fs::write(output.join("vmlinuz"), &kernel)?;
    fs::write(output.join("initrd"), &initrd)?;
    esp::make(&at("esp"), &inputs.boot_loader, &at("uki"), &esp::first_uki(&version))?;

    step("disk");
    state::make(&at("state"))?;
    let name = format!("vakt-{version}-{}.img", std::env::consts::ARCH);
    let raw = output.join(&name);
    disk::write(&raw, &[(ESP, &at("esp")), (ROOT_A, &at("root")), (STATE, &at("state"))])?;
    let manifest = Manifest {
        version,
        root_hash: verity.root_hash,
        kernel: inputs.kernel_release.clone(),
        cmdline,
        root_bytes: fs::metadata(at("root"))?.len(),
        uki_bytes: image.len() as u64,
        disk_bytes: fs::metadata(&raw)?.len(),
        disk_sha256: hash_and_compress(&raw, compress.then(|| output.join(format!("{name}.zst"))))?,
        packages: inputs.packages.clone(),
    };
    // Kept for updates, which are made of these two.
    let stem = format!("vakt-{}-{}", manifest.version, std::env::consts::ARCH);
    fs::copy(at("root"), output.join(format!("{stem}.root")))?;
    fs::copy(at("uki"), output.join(format!("{stem}.efi")))?;
    fs::write(output.join("manifest.json"), serde_json::to_vec_pretty(&manifest)?)?;
    Ok(Built { disk: raw, manifest })
}

fn hash_and_compress(raw: &Path, compressed: Option<PathBuf>) -> anyhow::Result<String> {
    if compressed.is_some() {
        step("compressing");
    }
    let mut input = File::open(raw)?;
    let bytes = input.metadata()?.len();
    let mut encoder = compressed.map(|path| encoder(&path, bytes)).transpose()?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let length = std::io::Read::read(&mut input, &mut buffer)?;
        if length == 0 {
            break;
        }
        hash.update(&buffer[..length]);
        if let Some(encoder) = &mut encoder {
            encoder.write_all(&buffer[..length])?;
        }
    }
    if let Some(encoder) = encoder {
        encoder.finish()?.sync_all()?;
    }
    Ok(hex(&hash.finalize()))
}

/// The file says how large it is unpacked, so that flashing knows before the first byte whether it fits, and has a
/// checksum.
fn encoder(path: &Path, bytes: u64) -> anyhow::Result<zstd::Encoder<'static, File>> {
    let mut encoder = zstd::Encoder::new(File::create(path)?, LEVEL)?;
    encoder.set_pledged_src_size(Some(bytes))?;
    encoder.include_contentsize(true)?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}
