//! The built image in QEMU: which one, and starting it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vakt_image::arch::Arch;
use vakt_image::build::{Manifest, config_disk, stem};
use vakt_image::process::{is_there, run};
use vakt_image::provider;
use vakt_image::qemu::{Boot, Forward, Guest, Machine, ready};

use crate::container::{TOKEN, free_port, workspace};
use crate::refusals;

/// From power-on to the pages. Quiet times are 10 to 20 s under emulation; builders are not quiet.
pub const READY_WITHIN: Duration = Duration::from_secs(240);

/// From the power button to the end of QEMU.
pub const POWER_OFF_WITHIN: Duration = Duration::from_secs(60);

/// The disk that a guest boots from is this large; the image's state grows into it.
pub const DISK_BYTES: u64 = 1 << 30;

/// The image under test, built by the Makefile.
#[derive(Debug)]
pub struct Image {
    directory: PathBuf,
    /// Its description.
    pub manifest: Manifest,
}

/// Why no guest can run here, or `None` when one can.
pub fn missing() -> Option<String> {
    (!is_there(Arch::HERE.qemu())).then(|| "no QEMU (vakt-image setup installs it)".into())
}

impl Image {
    /// Finds `target/test-image`.
    ///
    /// # Errors
    /// When it was not built.
    pub fn find() -> Result<Image> {
        let directory = workspace().join("target/test-image");
        let text = fs::read(directory.join("manifest.json"))
            .with_context(|| format!("no image in {}; `make test` builds it first", directory.display()))?;
        Ok(Image { manifest: serde_json::from_slice(&text)?, directory })
    }

    /// A copy of its disk, grown to [`DISK_BYTES`].
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn copy(&self, to: &Path) -> Result<()> {
        let name = format!("{}.img", stem(&self.manifest.version));
        run(Command::new("cp").arg("--sparse=always").arg(self.directory.join(name)).arg(to))?;
        let file = fs::File::options().write(true).open(to)?;
        file.set_len(DISK_BYTES.max(file.metadata()?.len()))?;
        Ok(())
    }

    /// A machine that boots `disk` by firmware, as a real one does.
    ///
    /// # Errors
    /// When the firmware is not there.
    pub fn by_firmware(&self, disk: &Path) -> Result<Machine> {
        let variables = disk.with_extension("efivars");
        Ok(Machine::new(Boot::Firmware { ovmf: provider::firmware()?, variables, secure_boot: false }, disk))
    }

    /// A machine that boots `disk` with the image's kernel and initramfs handed over.
    pub fn by_kernel(&self, disk: &Path) -> Machine {
        let boot = Boot::Kernel {
            kernel: self.directory.join("vmlinuz"),
            initrd: self.directory.join("initrd"),
            cmdline: self.manifest.cmdline.clone(),
        };
        Machine::new(boot, disk)
    }
}

/// A booted appliance.
#[derive(Debug)]
pub struct Appliance {
    /// QEMU.
    pub guest: Guest,
    /// Its pages.
    pub https: SocketAddr,
    /// Its certificate's fingerprint, as the console shows it.
    pub fingerprint: String,
    /// Its syslog port.
    pub syslog: SocketAddr,
    /// Seconds from power-on to the pages.
    pub ready_after: Duration,
}

impl Appliance {
    /// Starts `machine` with its ports forwarded and a config disk, and waits for the pages.
    ///
    /// # Errors
    /// When they do not answer in time, with the console.
    pub fn start(mut machine: Machine, config: Option<&str>, directory: &Path) -> Result<Appliance> {
        let (https, syslog) = (free_port()?, free_port()?);
        for (host, guest) in [(https, 443), (syslog, 514)] {
            machine.forwards.push(Forward { udp: false, host: host.port(), guest });
        }
        if let Some(config) = config {
            let path = directory.join("config.disk");
            config_disk::make(&path, config.as_bytes())?;
            machine.config_disk = Some(path);
        }
        let guest = Guest::start(&machine, false)?;
        let fingerprint = guest.serial.wait_for("vakt: fingerprint ", READY_WITHIN)?;
        ready::wait(https, &fingerprint, READY_WITHIN)
            .with_context(|| format!("console:\n{}", guest.serial.text()))?;
        let ready_after = guest.age();
        Ok(Appliance { guest, https, fingerprint, syslog, ready_after })
    }

    /// GET with the test token.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get(&self, path: &str) -> Result<ready::Answer> {
        ready::get(self.https, path, &format!("Authorization: Bearer {TOKEN}\r\n"))
    }

    /// POST with the test token.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn post(&self, path: &str, headers: &str, body: &[u8]) -> Result<ready::Answer> {
        ready::post(self.https, path, &format!("Authorization: Bearer {TOKEN}\r\n{headers}"), body)
    }

    /// Asks GET `path` until `found` takes the answer's text, for at most 120 s.
    ///
    /// # Errors
    /// When it never does; with the last answer.
    pub fn eventually<T>(&self, path: &str, mut found: impl FnMut(&str) -> Option<T>) -> Result<T> {
        let until = std::time::Instant::now() + Duration::from_secs(120);
        loop {
            let answer = self.get(path)?;
            if let Some(value) = found(&answer.text()) {
                return Ok(value);
            }
            ensure!(
                std::time::Instant::now() < until,
                "{path} never said it; last: {} {}",
                answer.status,
                answer.text()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// What a failure is told with: the console, and the last lines that the services logged.
    pub fn story(&self) -> String {
        let logged = self.get("/select/logsql/query?query=%2A&limit=60").map(|answer| answer.text());
        let logged = logged.unwrap_or_else(|error| format!("{error:#}"));
        format!("console:\n{}\nlogs:\n{logged}", self.guest.serial.text())
    }

    /// Presses the power button and waits for a clean end. A box that lets itself be asked tells first that none of its
    /// services was refused a call.
    ///
    /// # Errors
    /// When the guest does not switch itself off, or a call was refused.
    pub fn power_off(&mut self) -> Result<()> {
        // Without our token in its config, or with damaged state, it does not answer that.
        if let Ok(answer) = self.get(refusals::QUERY)
            && answer.status == 200
        {
            refusals::none(&answer.text())?;
        }
        let status = self.guest.power_off(POWER_OFF_WITHIN)?;
        ensure!(status.success(), "QEMU ended with {status}");
        Ok(())
    }
}

/// An address on the loopback.
pub fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
