//! A virtual machine as data, and its QEMU command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::accelerator;

/// How the machine starts.
#[derive(Clone, Debug)]
pub enum Boot {
    /// By UEFI firmware from the disk: the way of a real machine.
    Firmware {
        /// The directory with OVMF's files.
        ovmf: PathBuf,
        /// This machine's own variables, made from the template when absent.
        variables: PathBuf,
        /// The firmware that checks signatures once it has keys.
        secure_boot: bool,
    },
    /// Kernel and initramfs handed over by QEMU: quicker.
    Kernel {
        /// The kernel.
        kernel: PathBuf,
        /// The initramfs.
        initrd: PathBuf,
        /// The command line.
        cmdline: String,
    },
}

/// A port of the guest that is reached at a port of 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// UDP instead of TCP.
    pub udp: bool,
    /// On the host.
    pub host: u16,
    /// In the guest.
    pub guest: u16,
}

/// An address that the guest may reach, and where it leads on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// As the guest sees it, in 10.0.2.0/24.
    pub guest: SocketAddr,
    /// On the loopback of this host.
    pub host: SocketAddr,
    /// The `vakt-image` program, which QEMU starts to carry each connection: what it would open by
    /// itself is one connection for the guest's whole life.
    pub carrier: PathBuf,
}

/// A network card on a tap interface of this host, which is there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    /// The interface's name.
    pub interface: String,
    /// The card's hardware address.
    pub mac: String,
    /// Where every frame is recorded, as pcap.
    pub capture: Option<PathBuf>,
}

/// Where QEMU records every write and flush of the disk (its blklogwrites driver).
#[derive(Clone, Debug)]
pub struct WriteLog(pub PathBuf);

/// A credential that the machine is started with, under a name of systemd.system-credentials(7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// By fw_cfg instead of an SMBIOS string.
    pub by_fw_cfg: bool,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// How it starts.
    pub boot: Boot,
    /// Its disk, raw. Written to.
    pub disk: PathBuf,
    /// The log of writes to it.
    pub write_log: Option<WriteLog>,
    /// A disk labelled VAKTCFG.
    pub config_disk: Option<PathBuf>,
    /// MiB of memory.
    pub memory_mib: u32,
    /// Virtual processors.
    pub processors: u32,
    /// Ports forwarded inwards.
    pub forwards: Vec<Forward>,
    /// Addresses reachable outwards.
    pub reaches: Vec<Reach>,
    /// Whether it has a network card with the forwarded ports.
    pub has_network: bool,
    /// Further network cards, `tap0` and so on for [`super::Guest::cable`].
    pub taps: Vec<Tap>,
    /// What its clock says at power-on, as `1970-01-01T00:00:00`; `None` for the host's time.
    pub clock: Option<String>,
    /// A hardware watchdog (i6300esb), which resets the machine.
    pub watchdog: bool,
    /// The machine restarts when it is reset; otherwise a reset is QEMU's end.
    pub restarts: bool,
    /// What its host hands in.
    pub credentials: Vec<Credential>,
}

impl Machine {
    /// A machine of 512 MiB with [`accelerator::processors`], without forwarded ports.
    pub fn new(boot: Boot, disk: &Path) -> Machine {
        Machine {
            boot,
            disk: disk.to_owned(),
            write_log: None,
            config_disk: None,
            memory_mib: 512,
            processors: accelerator::processors(),
            forwards: Vec::new(),
            reaches: Vec::new(),
            has_network: true,
            taps: Vec::new(),
            clock: None,
            watchdog: false,
            restarts: false,
            credentials: Vec::new(),
        }
    }

    /// QEMU's arguments, with its control socket at `qmp` and the serial port on standard output.
    pub fn arguments(&self, qmp: &Path) -> Vec<String> {
        let mut all = accelerator::flags();
        let mut add = |words: &[&str]| all.extend(words.iter().map(|word| (*word).to_owned()));
        add(&["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"]);
        if !self.restarts {
            add(&["-no-reboot"]);
        }
        if self.watchdog {
            add(&["-device", "i6300esb", "-action", "watchdog=reset"]);
        }
        add(&["-m", &self.memory_mib.to_string(), "-smp", &self.processors.to_string()]);
        add(&["-qmp", &format!("unix:{},server=on,wait=off", escaped(qmp))]);
        add(&["-device", "virtio-rng-pci"]);
        match &self.boot {
            Boot::Firmware { ovmf, variables, secure_boot } => {
                let name = if *secure_boot { "OVMF_CODE_4M.secboot.fd" } else { "OVMF_CODE_4M.fd" };
                let code = escaped(&ovmf.join(name));
                if *secure_boot {
                    // Its variables are written from system management mode only (OVMF's README, "SMM support").
                    add(&["-machine", "smm=on", "-global", "ICH9-LPC.disable_s3=1"]);
                    add(&["-global", "driver=cfi.pflash01,property=secure,value=on"]);
                }
                add(&["-drive", &format!("if=pflash,format=raw,unit=0,readonly=on,file={code}")]);
                add(&["-drive", &format!("if=pflash,format=raw,unit=1,file={}", escaped(variables))]);
            }
            Boot::Kernel { kernel, initrd, cmdline } => {
                add(&["-kernel", &kernel.to_string_lossy(), "-initrd", &initrd.to_string_lossy()]);
                add(&["-append", cmdline]);
            }
        }
        add(&["-blockdev", &self.disk_node()]);
        add(&["-device", "virtio-blk-pci,drive=disk,bootindex=1"]);
        if let Some(path) = &self.config_disk {
            let node = format!(
                "driver=raw,node-name=config,read-only=on,file.driver=file,file.filename={}",
                escaped(path)
            );
            add(&["-blockdev", &node, "-device", "virtio-blk-pci,drive=config"]);
        }
        for Credential { name, value, by_fw_cfg } in &self.credentials {
            let value = value.replace(',', ",,");
            if *by_fw_cfg {
                add(&["-fw_cfg", &format!("name=opt/io.systemd.credentials/{name},string={value}")]);
            } else {
                add(&["-smbios", &format!("type=11,value=io.systemd.credential:{name}={value}")]);
            }
        }
        if let Some(clock) = &self.clock {
            add(&["-rtc", &format!("base={clock}")]);
        }
        if self.has_network {
            add(&["-netdev", &self.network(), "-device", "virtio-net-pci,netdev=net"]);
        }
        for (place, tap) in self.taps.iter().enumerate() {
            let netdev = format!("tap,id=tap{place},ifname={},script=no,downscript=no", tap.interface);
            let device = format!("virtio-net-pci,id=card{place},netdev=tap{place},mac={}", tap.mac);
            add(&["-netdev", &netdev, "-device", &device]);
            if let Some(file) = &tap.capture {
                let file = escaped(file);
                add(&["-object", &format!("filter-dump,id=dump{place},netdev=tap{place},file={file}")]);
            }
        }
        all
    }

    fn disk_node(&self) -> String {
        let file = escaped(&self.disk);
        match &self.write_log {
            None => format!("driver=raw,node-name=disk,file.driver=file,file.filename={file}"),
            Some(WriteLog(log)) => format!(
                "driver=blklogwrites,node-name=disk,file.driver=raw,file.file.driver=file,file.file.filename={file},\
                 log.driver=file,log.filename={},log-sector-size=512",
                escaped(log)
            ),
        }
    }

    fn network(&self) -> String {
        let mut text = "user,id=net,restrict=on".to_owned();
        for forward in &self.forwards {
            let kind = if forward.udp { "udp" } else { "tcp" };
            text += &format!(",hostfwd={kind}:127.0.0.1:{}-:{}", forward.host, forward.guest);
        }
        for reach in &self.reaches {
            let carrier = escaped(&reach.carrier);
            text += &format!(",guestfwd=tcp:{}-cmd:{carrier} connect {}", reach.guest, reach.host);
        }
        text
    }
}

/// A comma ends a value in QEMU's option syntax; doubled it stands for itself.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_is_cut_off_but_for_what_is_listed() {
        let kernel = Boot::Kernel { kernel: "k".into(), initrd: "i".into(), cmdline: "c".into() };
        let mut machine = Machine::new(kernel, Path::new("/tmp/a,b"));
        machine.forwards = vec![Forward { udp: false, host: 8443, guest: 443 }];
        machine.reaches = vec![Reach {
            guest: "10.0.2.100:22".parse().unwrap(),
            host: "127.0.0.1:2222".parse().unwrap(),
            carrier: "/bin/vakt-image".into(),
        }];
        let line = machine.arguments(Path::new("/tmp/qmp")).join(" ");
        assert!(line.contains(
            "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:8443-:443,guestfwd=tcp:10.0.2.100:22-cmd:/bin/vakt-image connect 127.0.0.1:2222"
        ));
        assert!(line.contains("file.filename=/tmp/a,,b"));
    }
}
