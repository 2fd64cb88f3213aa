//! `vakt-image run`: boots an image and says when its pages answer.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use vakt_image::build::{self, config_disk};
use vakt_image::provider;
use vakt_image::qemu::{Boot, Credential, Forward, Guest, Machine, ready};

use super::default_output;

/// From the power button to the end of QEMU: the services' drain bound, and a slow emulated machine.
const POWER_OFF_WITHIN: Duration = Duration::from_secs(60);

/// How often an interrupt is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Boots an image.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// Do not show the console.
    #[arg(long)]
    headless: bool,
    /// Return as soon as the pages answer; the guest is powered off unless --keep.
    #[arg(long)]
    until_ready: bool,
    /// Seconds until the pages must answer.
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// A machine config, given on a disk labelled VAKTCFG.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A credential, handed over as an SMBIOS string; may be repeated. @FILE as the value reads it from FILE.
    #[arg(long = "credential", value_name = "NAME=VALUE")]
    credentials: Vec<String>,
    /// The disk to boot; default: a copy of the built image, thrown away afterwards.
    #[arg(long)]
    disk: Option<PathBuf>,
    /// With --until-ready: leave the guest running and print QEMU's pid. Otherwise: keep the copy.
    #[arg(long)]
    keep: bool,
    /// MiB of memory.
    #[arg(long, default_value_t = 512)]
    memory: u32,
    /// The port of 127.0.0.1 that leads to the pages.
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// The port of 127.0.0.1 that leads to syslog over TCP and UDP.
    #[arg(long, default_value_t = 5514)]
    syslog_port: u16,
}

impl Run {
    /// Boots it.
    ///
    /// # Errors
    /// When it does not get ready in time, or not be powered off.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, interrupted.clone())?;
        }
        let directory = default_output().join("run");
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let disk = self.disk(&directory)?;
        let machine = self.machine(&disk, &directory)?;
        let mut guest = Guest::start(&machine, !self.headless)?;
        if !self.headless {
            type_along(guest.keyboard()?);
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        self.wait_until_ready(&mut guest, address, &interrupted)?;
        println!("vakt: ready https://{address} ({:.1} s)", guest.age().as_secs_f64());
        if self.until_ready && self.keep {
            println!("vakt: qemu pid {}", guest.pid());
            // Its destructor would end the guest.
            std::mem::forget(guest);
            return Ok(ExitCode::SUCCESS);
        }
        while !self.until_ready && !interrupted.load(Ordering::Relaxed) && guest.ended()?.is_none() {
            std::thread::sleep(LOOK_EVERY);
        }
        if guest.ended()?.is_none() {
            println!("vakt: powering off");
            guest.power_off(POWER_OFF_WITHIN)?;
        }
        if self.disk.is_none() && !self.keep {
            let _ = fs::remove_file(&disk);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn disk(&self, directory: &Path) -> anyhow::Result<PathBuf> {
        if let Some(disk) = &self.disk {
            anyhow::ensure!(disk.exists(), "no disk at {}", disk.display());
            return Ok(disk.clone());
        }
        let name = format!("{}.img", build::stem(vakt_image::VERSION));
        let image = default_output().join(&name);
        anyhow::ensure!(image.exists(), "no image at {}; build it with: make image", image.display());
        let copy = directory.join(&name);
        vakt_image::process::run(Command::new("cp").arg("--sparse=always").arg(&image).arg(&copy))?;
        // A disk is larger than the image: the state partition grows into the rest.
        File::grow(&copy, 2 << 30)?;
        Ok(copy)
    }

    fn machine(&self, disk: &Path, directory: &Path) -> anyhow::Result<Machine> {
        let variables = disk.with_extension("efivars");
        let mut machine =
            Machine::new(Boot::Firmware { ovmf: provider::firmware()?, variables, secure_boot: false }, disk);
        machine.memory_mib = self.memory;
        machine.forwards = vec![
            Forward { udp: false, host: self.port, guest: 443 },
            Forward { udp: false, host: self.syslog_port, guest: 514 },
            Forward { udp: true, host: self.syslog_port, guest: 514 },
        ];
        machine.credentials =
            self.credentials.iter().map(|text| credential(text)).collect::<Result<_, _>>()?;
        if let Some(config) = &self.config {
            let text = fs::read(config).with_context(|| format!("cannot read {}", config.display()))?;
            let path = directory.join("config.disk");
            config_disk::make(&path, &text)?;
            machine.config_disk = Some(path);
        }
        Ok(machine)
    }

    fn wait_until_ready(
        &self,
        guest: &mut Guest,
        address: SocketAddr,
        stop: &AtomicBool,
    ) -> anyhow::Result<()> {
        let within = Duration::from_secs(self.timeout);
        let slice = Duration::from_secs(1);
        loop {
            if let Ok(fingerprint) = guest.serial.wait_for("vakt: fingerprint ", slice) {
                return ready::wait(address, &fingerprint, within.saturating_sub(guest.age()));
            }
            anyhow::ensure!(!stop.load(Ordering::Relaxed), "interrupted");
            anyhow::ensure!(guest.ended()?.is_none(), "QEMU ended before the guest was ready");
            anyhow::ensure!(guest.age() < within, "not ready within {within:?}:\n{}", guest.serial.text());
        }
    }
}

/// What is typed here goes to the guest's serial console, line by line; Ctrl-C stays here. The thread ends with
/// the input, or with us.
fn type_along(mut keyboard: fs::File) {
    std::thread::spawn(move || std::io::copy(&mut std::io::stdin(), &mut keyboard));
}

/// `NAME=VALUE`, or `NAME=@FILE`.
fn credential(text: &str) -> anyhow::Result<Credential> {
    let (name, value) = text
        .split_once('=')
        .with_context(|| format!("{text:?} is no credential; example: system.hostname=guard"))?;
    let value = match value.strip_prefix('@') {
        Some(file) => fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?,
        None => value.to_owned(),
    };
    Ok(Credential { name: name.to_owned(), value, by_fw_cfg: false })
}

/// Growing a file that is a disk.
struct File;

impl File {
    fn grow(path: &Path, bytes: u64) -> anyhow::Result<()> {
        let file = fs::File::options().write(true).open(path)?;
        if file.metadata()?.len() < bytes {
            file.set_len(bytes)?;
        }
        Ok(())
    }
}
