//! All the steps, in order.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::layout::{ESP, ROOT_A, STATE};
use super::{disk, erofs, esp, hex, initramfs, modules, state, tree, uki, verity};
use crate::arch::Arch;
use crate::process::step;
use crate::provider::Inputs;
use crate::secure_boot::{SecureBoot, enrolment};

/// zstd's level for the file that is handed out.
const LEVEL: i32 = 19;

/// What every boot has on its command line. A panic restarts the machine after five seconds; kernel
/// messages below "error" stay off the console; no bond that nobody asked for; both consoles are tried, the serial one
/// last, where /dev/console then leads; a partition table whose first copy is torn is read from its second (`gpt`). Which
/// slot it is is not said: the root hash behind these tells.
const OPTIONS: &str = "panic=5 gpt quiet loglevel=3 bonding.max_bonds=0 console=tty0 console=";

/// Where the bill of materials lies in an image.
pub const BILL: &str = "usr/share/vakt/sbom.cdx.json";

/// What may differ between two images of the same root.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Also write `.img.zst` for flashing.
    pub compress: bool,
    /// Sign what the firmware starts.
    pub secure_boot: Option<SecureBoot>,
}

/// The name of an image's files, without their endings.
pub fn stem(version: &str) -> String {
    format!("vakt-{version}-{}", Arch::HERE.name())
}

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

/// Builds a disk in `output` from a staged root tree.
///
/// # Errors
/// At the first step that fails.
pub fn assemble(
    root_tree: &Path,
    inputs: &Inputs,
    output: &Path,
    options: &Options,
) -> anyhow::Result<Built> {
    fs::create_dir_all(output).with_context(|| format!("cannot make {}", output.display()))?;
    let work = tempfile::tempdir_in(output)?;
    let (os_release, version) = tree::version(root_tree)?;
    let at = |name: &str| work.path().join(name);

    step("root: erofs and hash tree");
    erofs::make(root_tree, &at("root"))?;
    let verity = verity::append(&at("root"))?;

    step("boot: initramfs and UKI");
    let cmdline = format!("{OPTIONS}{} vakt.verity={}", Arch::HERE.serial(), verity.option());
    fs::write(at("uki"), boot_image(root_tree, inputs, output, &os_release, &cmdline)?)?;
    let mut loader = inputs.boot_loader.clone();
    let mut keys = Vec::new();
    if let Some(secure_boot) = &options.secure_boot {
        step("boot: signatures");
        secure_boot.signer.sign(&at("uki"), &at("uki"))?;
        secure_boot.signer.sign(&loader, &at("loader"))?;
        loader = at("loader");
        keys = secure_boot.enrol.as_deref().map(enrolment).transpose()?.unwrap_or_default();
    }
    let loader = fs::read(&loader).with_context(|| format!("cannot read {}", loader.display()))?;
    let uki = fs::read(at("uki"))?;
    let uki_bytes = uki.len() as u64;
    esp::make(&at("esp"), &esp::Contents { loader, uki, uki_name: esp::first_uki(&version), keys })?;

    step("disk");
    state::make(&at("state"))?;
    let stem = stem(&version);
    let ending = |ending: &str| output.join(format!("{stem}.{ending}"));
    let raw = ending("img");
    disk::write(&raw, &[(ESP, &at("esp")), (ROOT_A, &at("root")), (STATE, &at("state"))])?;
    let manifest = Manifest {
        version,
        root_hash: verity.root_hash,
        kernel: inputs.kernel_release.clone(),
        cmdline,
        root_bytes: fs::metadata(at("root"))?.len(),
        uki_bytes,
        disk_bytes: fs::metadata(&raw)?.len(),
        disk_sha256: hash_and_compress(&raw, options.compress.then(|| ending("img.zst")))?,
        packages: inputs.packages.clone(),
    };
    // Kept for updates, which are made of these.
    fs::copy(at("root"), ending("root"))?;
    fs::copy(at("uki"), ending("efi"))?;
    if root_tree.join(BILL).exists() {
        fs::copy(root_tree.join(BILL), ending("sbom.json"))?;
    }
    fs::write(output.join("manifest.json"), serde_json::to_vec_pretty(&manifest)?)?;
    Ok(Built { disk: raw, manifest })
}

/// The UKI. Its kernel and initramfs are also kept in `output`, for direct-kernel boots, which need no firmware.
fn boot_image(
    root_tree: &Path,
    inputs: &Inputs,
    output: &Path,
    os_release: &str,
    cmdline: &str,
) -> anyhow::Result<Vec<u8>> {
    let modules = modules::resolve(&inputs.modules)?;
    let initrd = initramfs::make(&root_tree.join("usr/bin/vakt-init"), &modules)?;
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let (kernel, stub) = (read(&inputs.kernel)?, read(&inputs.stub)?);
    fs::write(output.join("vmlinuz"), &kernel)?;
    fs::write(output.join("initrd"), &initrd)?;
    uki::make(
        &stub,
        &[
            (".osrel", os_release.as_bytes()),
            (".uname", inputs.kernel_release.as_bytes()),
            (".cmdline", cmdline.as_bytes()),
            (".initrd", &initrd),
            (".linux", &kernel),
        ],
    )
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
