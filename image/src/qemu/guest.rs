//! A running guest. Dropping it kills QEMU and removes what belongs to the run alone.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use crate::arch::Arch;

use super::machine::{Boot, Machine};
use super::qmp;
use super::serial::Serial;

/// How often the end of QEMU is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The guest.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    /// Its serial console.
    pub serial: Serial,
    keyboard: File,
    started: Instant,
    qmp: PathBuf,
    _directory: tempfile::TempDir,
}

impl Guest {
    /// Starts the machine; with `show` its console also goes to standard output.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub fn start(machine: &Machine, show: bool) -> anyhow::Result<Guest> {
        let directory = tempfile::Builder::new().prefix("vakt-guest").tempdir()?;
        if let Boot::Firmware { ovmf, variables, .. } = &machine.boot
            && !variables.exists()
        {
            let template = ovmf.join("OVMF_VARS_4M.fd");
            fs::copy(&template, variables).with_context(|| format!("cannot copy {}", template.display()))?;
        }
        let qmp = directory.path().join("qmp");
        let mut child = Command::new(Arch::HERE.qemu())
            .args(machine.arguments(&qmp))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Its own process group: Ctrl-C is for us, who power the guest off.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}; `vakt-image setup` installs it", Arch::HERE.qemu()))?;
        let output = child.stdout.take().context("QEMU has no standard output")?;
        let keyboard = child.stdin.take().context("QEMU has no standard input")?;
        let serial = Serial::follow(output, show);
        let keyboard = File::from(OwnedFd::from(keyboard));
        Ok(Guest { child, serial, keyboard, started: Instant::now(), qmp, _directory: directory })
    }

    /// Time since power-on.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// QEMU's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What types on the serial console.
    ///
    /// # Errors
    /// When it cannot be duplicated.
    pub fn keyboard(&self) -> anyhow::Result<File> {
        Ok(self.keyboard.try_clone()?)
    }

    /// Types on the serial console; `\r` is Enter.
    ///
    /// # Errors
    /// When QEMU has ended.
    pub fn type_serial(&self, text: &str) -> anyhow::Result<()> {
        let mut keyboard = &self.keyboard;
        keyboard.write_all(text.as_bytes()).context("QEMU takes no input any more")
    }

    /// Presses the power button.
    ///
    /// # Errors
    /// When QEMU does not take the command.
    pub fn press_power(&self) -> anyhow::Result<()> {
        qmp::command(&self.qmp, "system_powerdown", &Value::Null)
    }

    /// Presses keys together on the guest's keyboard; QEMU's names (`ctrl`, `alt`, `delete`).
    ///
    /// # Errors
    /// When QEMU does not know a key.
    pub fn press_keys(&self, keys: &[&str]) -> anyhow::Result<()> {
        let keys: Vec<Value> = keys.iter().map(|key| json!({ "type": "qcode", "data": key })).collect();
        qmp::command(&self.qmp, "send-key", &json!({ "keys": keys }))
    }

    /// Pulls the cable of the network card of `taps[place]`, or puts it in.
    ///
    /// # Errors
    /// When QEMU does not take the command.
    pub fn cable(&self, place: usize, is_in: bool) -> anyhow::Result<()> {
        qmp::command(&self.qmp, "set_link", &json!({ "name": format!("card{place}"), "up": is_in }))
    }

    /// Whether QEMU has ended, and how.
    ///
    /// # Errors
    /// As waitpid(2).
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for QEMU to end by itself.
    ///
    /// # Errors
    /// When it has not within `within`; with the console's last lines.
    pub fn wait(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let until = Instant::now() + within;
        while Instant::now() < until {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let text = self.serial.text();
        let from = text.char_indices().rev().nth(2000).map_or(0, |(at, _)| at);
        anyhow::bail!("the guest still runs after {within:?}; last lines:\n{}", &text[from..])
    }

    /// Presses the power button and waits for the end.
    ///
    /// # Errors
    /// When the guest does not switch itself off within `within`.
    pub fn power_off(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        self.press_power()?;
        self.wait(within)
    }

    /// Cuts the power: QEMU is killed at once.
    pub fn cut(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.cut();
    }
}
