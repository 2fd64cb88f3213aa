//! From the image to a disk: flashing, the other forms, the bill of materials, the kernel's configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vakt_image::build::{PROGRAMS, qcow2};
use vakt_image::kernel::fragments::lost;
use vakt_image::process::{is_there, run};
use vakt_image::provider::{self, Lock};
use vakt_image::sbom;
use vakt_qemu_tests::container::{self, Container, config, workspace};
use vakt_qemu_tests::harness;
use vakt_qemu_tests::programs;

/// Bytes of the made-up image: several of the writer's blocks, and not a whole number of them.
const IMAGE_BYTES: usize = (13 << 20) + 512;

/// Bytes of the disk that it is written to.
const DISK_BYTES: u64 = 32 << 20;

fn main() -> ExitCode {
    harness::run_all(&[
        (no_loop(), &[("a_disk_in_use_is_refused_and_an_idle_one_gets_the_image", flashes)]),
        (no_program("qemu-img"), &[("qcow2_holds_what_raw_holds", converts)]),
        (None, &[("the_bill_names_what_the_locks_name_in_cyclonedx", bill)]),
        (container::missing(), &[("the_bill_is_served_to_who_may_read_it", served)]),
        (None, &[("buildroot_builds_and_looks_at_every_program", listed)]),
        (no_kernel(), &[("every_line_of_the_fragments_is_in_the_kernel", survives)]),
    ])
}

fn no_program(name: &str) -> Option<String> {
    (!is_there(name)).then(|| format!("no {name}"))
}

fn no_loop() -> Option<String> {
    let file = tempfile::NamedTempFile::new().ok()?;
    file.as_file().set_len(1 << 20).ok()?;
    Loop::over(file.path()).err().map(|error| format!("no loop devices: {error:#}"))
}

fn no_kernel() -> Option<String> {
    match provider::recipe() {
        Ok(recipe) if recipe.built().is_some() => None,
        Ok(_) => Some("none was built here; vakt-image build --kernel source builds it".into()),
        Err(error) => Some(format!("{error:#}")),
    }
}

/// A file as a block device.
struct Loop(PathBuf);

impl Loop {
    fn over(file: &Path) -> Result<Loop> {
        let output = run(Command::new("losetup").args(["--find", "--show"]).arg(file))?;
        Ok(Loop(String::from_utf8(output.stdout)?.trim().into()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = run(Command::new("losetup").arg("--detach").arg(&self.0));
    }
}

/// A mounted file system.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg(&self.0));
    }
}

/// The three places that list the programs list the same ones.
fn listed() -> Result<()> {
    let overlay = workspace().join("buildroot-overlay");
    let makefile = fs::read_to_string(overlay.join("package/vakt/vakt.mk"))?;
    let (_, list) = makefile.split_once("VAKT_PROGRAMS = ").context("vakt.mk has no list")?;
    let list = list.split("\n\n").next().unwrap_or_default().replace('\\', "");
    ensure!(list.split_whitespace().eq(PROGRAMS), "package/vakt/vakt.mk: {list}");
    let script = fs::read_to_string(overlay.join("board/vakt/post-build.sh"))?;
    let list = script.split_once("for program in ").and_then(|(_, rest)| rest.split_once(';'));
    let list = list.context("post-build.sh has no list")?.0;
    ensure!(
        list.split_whitespace().map(|name| format!("vakt-{name}")).eq(PROGRAMS),
        "board/vakt/post-build.sh: {list}"
    );
    Ok(())
}

fn flash(device: &Path, image: &Path, more: &[&str]) -> Result<Output> {
    let mut command = Command::new(programs::path("vakt-image")?);
    Ok(command.arg("flash").arg(device).arg("--image").arg(image).arg("--yes").args(more).output()?)
}

fn refused(output: &Output, why: &str) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && said.contains(why), "{}: {said}", output.status);
    Ok(())
}

fn flashes() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    let contents: Vec<u8> =
        (0..IMAGE_BYTES as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(at("raw"), &contents)?;
    let mut packed = zstd::Encoder::new(File::create(at("packed"))?, 1)?;
    packed.set_pledged_src_size(Some(IMAGE_BYTES as u64))?;
    packed.include_contentsize(true)?;
    packed.write_all(&contents)?;
    packed.finish()?;
    File::create(at("disk"))?.set_len(DISK_BYTES)?;
    let device = Loop::over(&at("disk"))?;

    refused(&flash(&device.0, &at("raw"), &[])?, "is not removable")?;
    run(Command::new("mkfs.ext4").arg("-q").arg(&device.0))?;
    fs::create_dir(at("mount"))?;
    run(Command::new("mount").arg(&device.0).arg(at("mount")))?;
    let mounted = Mounted(at("mount"));
    refused(&flash(&device.0, &at("raw"), &["--force-not-removable"])?, "is in use")?;
    drop(mounted);
    ensure!(fs::read(at("disk"))?[1024 + 56..1024 + 58] == [0x53, 0xEF], "a refused disk was written to");

    for image in ["raw", "packed"] {
        run(Command::new("dd")
            .args(["if=/dev/zero", "bs=1M", "count=32"])
            .arg(format!("of={}", device.0.display())))?;
        let output = flash(&device.0, &at(image), &["--force-not-removable"])?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let hash = run(Command::new("sha256sum").arg(at("raw")))?.stdout;
        let hash = String::from_utf8(hash)?.split(' ').next().unwrap_or_default().to_owned();
        ensure!(output.status.success() && said.contains(&hash), "{image}: {said}{:?}", output.stderr);
        ensure!(fs::read(at("disk"))?.starts_with(&contents), "{image}: the disk has other bytes");
    }
    File::options().write(true).open(at("packed"))?.set_len(IMAGE_BYTES as u64 / 2)?;
    refused(&flash(&device.0, &at("packed"), &["--force-not-removable"])?, "cannot be read to its end")?;
    drop(device);
    File::options().write(true).open(at("disk"))?.set_len(1 << 20)?;
    let small = Loop::over(&at("disk"))?;
    refused(&flash(&small.0, &at("raw"), &["--force-not-removable"])?, "the image needs")
}

fn converts() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let raw = directory.path().join("disk.img");
    let file = File::create(&raw)?;
    file.set_len(DISK_BYTES)?;
    std::os::unix::fs::FileExt::write_all_at(&file, &[7; 4096], 5 << 20)?;
    let made = qcow2(&raw)?;
    ensure!(fs::read(&made)?.starts_with(b"QFI\xfb"), "{} is no qcow2", made.display());
    run(Command::new("qemu-img").args(["compare", "-f", "raw", "-F", "qcow2"]).arg(&raw).arg(&made))?;
    Ok(())
}

/// The bill as an image gets it, and the lines of the packages that it was made with.
fn made() -> Result<(Value, Vec<String>)> {
    let lock = Lock::read()?;
    let line = |purpose: &str| -> Result<String> {
        let locked = lock.of(purpose)?;
        Ok(format!("{} {} {}", locked.name, locked.version, locked.sha256))
    };
    let packages = vec![line("kernel")?, line("boot")?];
    let first = sbom::make(&workspace(), vakt_image::VERSION, &packages)?;
    ensure!(first == sbom::make(&workspace(), vakt_image::VERSION, &packages)?, "two bills differ");
    Ok((serde_json::from_slice(&first)?, packages))
}

fn bill() -> Result<()> {
    let (bill, packages) = made()?;
    // CycloneDX 1.6's required fields, and the values that it allows.
    ensure!(
        bill["bomFormat"] == "CycloneDX" && bill["specVersion"] == "1.6" && bill["version"] == 1,
        "{bill:#}"
    );
    let components = bill["components"].as_array().context("no components")?;
    let mut references = BTreeSet::new();
    for one in components {
        let known = matches!(one["type"].as_str(), Some("application" | "library"));
        let reference = one["bom-ref"].as_str().unwrap_or_default();
        ensure!(known && one["name"].is_string() && references.insert(reference), "{one:#}");
        for hash in one["hashes"].as_array().into_iter().flatten() {
            let digits = hash["content"].as_str().unwrap_or_default();
            let is_hash = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            ensure!(hash["alg"] == "SHA-256" && is_hash, "{one:#}");
        }
    }
    let by_purl = |kind: &str| {
        let kind = format!("pkg:{kind}/");
        components.iter().filter(move |one| one["purl"].as_str().is_some_and(|purl| purl.starts_with(&kind)))
    };
    let lock: toml::Table = toml::from_str(&fs::read_to_string(workspace().join("Cargo.lock"))?)?;
    let locked: BTreeMap<(&str, &str), &str> = lock["package"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| {
            Some(((one["name"].as_str()?, one["version"].as_str()?), one.get("checksum")?.as_str()?))
        })
        .collect();
    let mut crates = 0;
    for one in by_purl("cargo") {
        let key = (one["name"].as_str().unwrap_or_default(), one["version"].as_str().unwrap_or_default());
        let checksum = locked.get(&key).with_context(|| format!("{key:?} is not in Cargo.lock"))?;
        ensure!(one["hashes"][0]["content"] == **checksum, "{key:?} has another checksum");
        crates += 1;
    }
    ensure!(crates > 100 && crates < locked.len(), "{crates} crates of {}", locked.len());
    let debian: Vec<String> = by_purl("deb")
        .map(|one| {
            format!("{} {} {}", text(&one["name"]), text(&one["version"]), text(&one["hashes"][0]["content"]))
        })
        .collect();
    ensure!(debian == packages, "{debian:?}");
    let ours: Vec<String> =
        components.iter().filter(|one| one["type"] == "application").map(|one| text(&one["name"])).collect();
    ensure!(ours == PROGRAMS, "{ours:?}");
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn served() -> Result<()> {
    let container = Container::start(&config(""))?;
    let answer = container.get("/api/vakt/v1/sbom")?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    let expected = sbom::make(&workspace(), vakt_image::VERSION, &[])?;
    ensure!(answer.body == expected, "another bill is served:\n{}", answer.text());
    let stranger = vakt_image::qemu::ready::get(container.https, "/api/vakt/v1/sbom", "")?;
    ensure!(stranger.status == 401, "a stranger gets {}", stranger.status);
    Ok(())
}

fn survives() -> Result<()> {
    let recipe = provider::recipe()?;
    let kernel = recipe.built().context("the kernel is gone")?;
    let lost = lost(&recipe.fragments, &fs::read_to_string(kernel.config())?);
    ensure!(lost.is_empty(), "{}", lost.join("\n"));
    Ok(())
}
