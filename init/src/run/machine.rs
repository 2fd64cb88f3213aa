//! The loop itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec};
use vakt_wire::config::Hostname;
use vakt_wire::role::Role;

use super::backup_desk::Backups;
use super::cgroup::Cgroups;
use super::clock_desk::ClockDesk;
use super::config_desk;
use super::ctl::Ctl;
use super::forward::Forward;
use super::life::{Process, Service};
use super::notify::{Notice, NotifySocket};
use super::output::Output;
use super::power_button::PowerButtons;
use super::pressure::MemoryWatch;
use super::refusals::Refusals;
use super::slots::{Found, Slots};
use super::sockets::{PortMap, Sockets};
use super::spawn;
use super::status::MachineStatus;
use super::terminals::Terminals;
use crate::ledger::desk::{Desk, Effect};
use crate::machine::clock;
use crate::machine::console::Console;
use crate::machine::quota::Quotas;
use crate::manifest::Manifest;
use crate::sandbox::{Plan, RUN, addresses};
use crate::slots::health::health;
use crate::supervisor::{Action, Event, Goal, Supervisor};
use crate::sys;

/// The loop turns at least this often, so that lines held back for the log service go on.
const TURN_MS_MAX: u64 = 1000;

/// While lines are held back.
const FLUSH_EVERY_MS: u64 = 50;

/// State, which is reset as a whole.
pub(super) const STATE: &str = "/state";

/// Where this init runs.
#[derive(Debug)]
pub struct Setting {
    /// The console.
    pub console: Console,
    /// The services' cgroups.
    pub cgroups: Cgroups,
    /// Where TCP and UDP ports are mapped to.
    pub ports: PortMap,
    /// The services' shares of state, where the kernel holds them.
    pub quotas: Option<Quotas>,
    /// What the pages show of the machine.
    pub status: MachineStatus,
    /// The machine config.
    pub desk: Desk,
    /// Where the time is kept for the next boot; `None` in a container, whose clock is the host's.
    pub clock: Option<PathBuf>,
    /// A reset that this boot has carried out, in a line.
    pub reset: Option<String>,
    /// Boot time of what `ready_after_s` counts from, on the boot clock.
    pub started_ms: u64,
}

/// All that PID 1 holds.
#[derive(Debug)]
pub struct Machine {
    pub(super) supervisor: Supervisor,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) setting: Setting,
    pub(super) slots: Slots,
    pub(super) terminals: Terminals,
    pub(super) clock: ClockDesk,
    pub(super) backups: Backups,
    signals: OwnedFd,
    pub(super) ctl: Ctl,
    pub(super) forward: Forward,
    buttons: PowerButtons,
    refusals: Refusals,
    memory: MemoryWatch,
    finished: Option<Goal>,
    /// When the time is kept next.
    remember_time_ms: u64,
}

impl Machine {
    /// Prepares the services of `manifests`; none runs yet. `found` is what is known of the slots.
    ///
    /// # Errors
    /// When the signals, the control socket or a notify socket cannot be set up.
    pub fn new(
        manifests: BTreeMap<String, Manifest>,
        setting: Setting,
        found: Found,
    ) -> anyhow::Result<Machine> {
        std::fs::create_dir_all(Path::new(RUN).join("room")).context("cannot make the room's mount point")?;
        let supervisor = Supervisor::new(&manifests);
        let memory = MemoryWatch::arm(setting.cgroups.base());
        let mut services = BTreeMap::new();
        for (name, manifest) in manifests {
            let plan = Plan::new(&name, &manifest)?;
            let notify = NotifySocket::new(&name, plan.uid)?;
            let service = Service {
                manifest,
                plan,
                sockets: Sockets::default(),
                notify,
                process: None,
                output: None,
                status: String::new(),
                ended: None,
                lines: std::collections::VecDeque::new(),
            };
            services.insert(name, service);
        }
        Ok(Machine {
            supervisor,
            services,
            // A container's terminal is its starter's.
            terminals: if setting.clock.is_some() { Terminals::open() } else { Terminals::default() },
            setting,
            slots: Slots::new(found),
            clock: ClockDesk::default(),
            backups: Backups::default(),
            signals: sys::signal_fd(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGPWR])?,
            ctl: Ctl::new(&Path::new(RUN).join("init/http.sock"))?,
            forward: Forward::new(Path::new(RUN).join("log/syslog.sock")),
            buttons: PowerButtons::open(),
            refusals: Refusals::open(),
            memory,
            finished: None,
            remember_time_ms: 0,
        })
    }

    /// Runs until everything has stopped; returns what the machine is to do then.
    ///
    /// # Errors
    /// When poll(2) itself fails for good, which nothing here can mend.
    pub fn run(&mut self) -> anyhow::Result<Goal> {
        if let Some(line) = self.setting.reset.take() {
            self.say(&line);
        }
        self.event(&Event::Tick);
        loop {
            if let Some(goal) = self.finished {
                return Ok(goal);
            }
            if self.wait()? {
                self.relieve();
            }
            self.take_signals();
            self.reap();
            self.read_notices();
            self.read_output();
            for line in self.refusals.read(sys::now_ms()) {
                self.forward.line(&self.setting.status.hostname, "init", 1, &line);
            }
            self.answer();
            if let Some(effect) = self.setting.desk.turn(sys::now_ms()) {
                self.config_changed(&effect);
            }
            self.turn_slots();
            if sys::now_ms() >= self.remember_time_ms {
                self.remember_time();
            }
            if self.buttons.pressed() {
                self.setting.console.line("vakt: power button");
                self.event(&Event::Stop(Goal::PowerOff));
            }
            self.turn_terminals();
            self.forward.flush();
            self.event(&Event::Tick);
        }
    }

    /// The machine goes down: what the next boot must know is written, the watchdog is disarmed.
    pub fn end_in_order(&mut self) {
        self.slots.end_in_order();
        self.remember_time();
        self.setting.console.settle();
    }

    fn remember_time(&mut self) {
        if let Some(path) = &self.setting.clock {
            clock::remember(path, sys::unix_s());
        }
        self.remember_time_ms = sys::now_ms() + clock::REMEMBER_EVERY_MS;
    }

    fn turn_slots(&mut self) {
        let required = |name: &str| self.services.get(name).is_some_and(|service| service.manifest.required);
        let (health, ill) = health(self.supervisor.services(), required);
        if self.supervisor.goal() != Goal::Run {
            // Services that stop are not ill, and nothing is decided any more.
            return self.slots.wait_for_the_end(sys::now_ms());
        }
        if self.slots.turn(sys::now_ms(), health, &ill, &mut self.setting.console) {
            self.event(&Event::Stop(Goal::Reboot));
        }
    }

    /// Waits until there is something to do; returns whether memory is short.
    fn wait(&self) -> anyhow::Result<bool> {
        let now = sys::now_ms();
        let longest = if self.forward.is_behind() { FLUSH_EVERY_MS } else { TURN_MS_MAX };
        let deadlines = [self.supervisor.next_deadline_ms(), self.setting.desk.next_deadline_ms()];
        let until = deadlines.into_iter().flatten().min().unwrap_or(u64::MAX);
        let timeout_ms = until.saturating_sub(now).min(longest);
        let timeout =
            Timespec { tv_sec: (timeout_ms / 1000) as i64, tv_nsec: (timeout_ms % 1000 * 1_000_000) as _ };
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.signals.as_fd()];
        fds.extend(self.services.values().map(|service| service.notify.as_fd()));
        fds.extend(self.services.values().filter_map(|service| service.output.as_ref().map(|o| o.as_fd())));
        fds.extend(self.ctl.fds());
        fds.extend(self.buttons.fds());
        fds.extend(self.refusals.fds());
        let mut polled: Vec<PollFd<'_>> =
            fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        polled.extend(self.terminals.polled());
        polled.extend(self.setting.console.behind().map(|device| PollFd::new(device, PollFlags::OUT)));
        polled.extend(self.memory.fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::PRI)));
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error).context("cannot poll"),
        }
        Ok(polled.last().is_some_and(|last| last.revents().contains(PollFlags::PRI)))
    }

    fn relieve(&mut self) {
        let step = self.memory.step(sys::now_ms(), &self.services, &self.setting.cgroups);
        let Some((line, restart)) = step else { return };
        self.setting.console.line(&line);
        self.forward.line(&self.setting.status.hostname, "init", 1, &line);
        if let Some(name) = restart {
            self.event(&Event::Restart(name));
        }
    }

    pub(super) fn event(&mut self, event: &Event) {
        for action in self.supervisor.step(sys::now_ms(), event) {
            match action {
                Action::Spawn(name) => self.spawn(&name),
                Action::Terminate(name) => self.terminate(&name),
                Action::Kill(name) => self.kill(&name),
                Action::Finish(goal) => self.finished = Some(goal),
            }
        }
    }

    fn spawn(&mut self, name: &str) {
        let Some(service) = self.services.get_mut(name) else { return };
        match start(service, name, &self.setting, self.slots.inactive()) {
            Ok(()) => {}
            Err(error) => {
                let line = format!("vakt-init: {name}: {error:#}");
                service.keep_line(&line);
                self.setting.console.line(&line);
                self.event(&Event::Exited(name.to_owned()));
            }
        }
    }

    fn terminate(&mut self, name: &str) {
        if let Some(process) = self.services.get(name).and_then(|service| service.process.as_ref()) {
            // The process may be dead already; its exit is on its way then.
            let _ = rustix::process::pidfd_send_signal(&process.pidfd, rustix::process::Signal::TERM);
        }
    }

    fn kill(&mut self, name: &str) {
        self.setting.console.line(&format!("vakt: {name} did not get ready or stop in time and is killed"));
        self.setting.cgroups.kill(name);
        if let Some(process) = self.services.get(name).and_then(|service| service.process.as_ref()) {
            let _ = rustix::process::pidfd_send_signal(&process.pidfd, rustix::process::Signal::KILL);
        }
    }

    fn take_signals(&mut self) {
        // struct signalfd_siginfo is 128 bytes; the first four are the signal's number.
        let mut info = [0u8; 128];
        while let Ok(128) = rustix::io::read(&self.signals, &mut info) {
            let goal = match i32::from_ne_bytes([info[0], info[1], info[2], info[3]]) {
                libc::SIGTERM | libc::SIGPWR => Goal::PowerOff,
                libc::SIGINT => Goal::Reboot,
                _ => continue,
            };
            self.setting.console.line(&format!("vakt: asked to {}", goal_name(goal)));
            self.event(&Event::Stop(goal));
        }
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, ended))) = sys::reap(false) {
            let found = self
                .services
                .iter_mut()
                .find(|(_, service)| service.process.as_ref().is_some_and(|process| process.pid == pid));
            // Orphans of a service's own namespace never come here.
            let Some((name, service)) = found else {
                if self.backups.ended(pid, ended) {
                    self.event(&Event::Restart(Role::Repair.name().to_owned()));
                    continue;
                }
                self.slots.ended(sys::now_ms(), pid, ended, &mut self.setting.console);
                continue;
            };
            service.process = None;
            service.ended = Some(ended);
            let name = name.clone();
            if self.supervisor.goal() == Goal::Run || ended != sys::Ended::Code(0) {
                self.setting.console.line(&format!("vakt: {name} {ended}"));
            }
            self.event(&Event::Exited(name));
        }
    }

    fn read_notices(&mut self) {
        let (mut ready, mut named) = (Vec::new(), None);
        for (name, service) in &mut self.services {
            for notice in service.notify.read() {
                match notice {
                    Notice::Ready => ready.push(name.clone()),
                    Notice::Status(status) => service.status = status,
                    Notice::Console(line) => self.setting.console.line(&line),
                    Notice::Note(note) => self.setting.status.note(note),
                    Notice::Hostname(hostname) if name == Role::Network.name() => named = Some(hostname),
                    Notice::Advertisements(wish) if name == Role::Network.name() => {
                        if let Err(error) = wish.carry_out() {
                            self.setting.console.line(&format!("vakt: {error:#}"));
                        }
                    }
                    // Another's word on name and links counts for nothing.
                    Notice::Hostname(_) | Notice::Advertisements(_) => {}
                }
            }
        }
        if let Some(name) = named {
            self.take_name(&name);
        }
        for name in ready {
            if name == Role::Store.name() {
                self.mirror();
            }
            self.event(&Event::Ready(name));
            self.note_readiness();
        }
    }

    /// The name that DHCP gives, when the config wants it.
    fn take_name(&mut self, name: &Hostname) {
        if !self.setting.desk.config().network.hostname_from_dhcp {
            return;
        }
        match config_desk::take_name(name, &mut self.setting.status) {
            Ok(()) => self.setting.console.line(&format!("vakt: host name {name} by DHCP")),
            Err(error) => self.setting.console.line(&format!("vakt: {error:#}")),
        }
    }

    /// Says once that the box is ready: every required service has been.
    fn note_readiness(&mut self) {
        let required =
            |name: &String| self.services.get(name).is_some_and(|service| service.manifest.required);
        let all =
            self.supervisor.services().iter().all(|(name, service)| service.was_ready || !required(name));
        if all && self.setting.status.ready_after_s.is_none() {
            let seconds = (sys::now_ms() - self.setting.started_ms) as f64 / 1000.0;
            self.setting.status.ready_after_s = Some(seconds);
            self.setting.console.line(&format!("vakt: all services ready ({seconds:.1} s)"));
            sys::trim_memory();
        }
    }

    fn read_output(&mut self) {
        for (name, service) in &mut self.services {
            let Some(output) = &mut service.output else { continue };
            let (lines, ended) = output.read();
            let pid = service.process.as_ref().map_or(0, |process| process.pid);
            for line in lines {
                // What is not structured was not meant for the log alone: a panic, or a room that failed.
                if !line.starts_with('{') {
                    self.setting.console.line(&format!("{name}: {line}"));
                }
                service.keep_line(&line);
                self.forward.line(&self.setting.status.hostname, name, pid, &line);
            }
            if ended {
                service.output = None;
            }
        }
    }

    /// A line of init's own for the console and the log.
    pub(super) fn say(&mut self, line: &str) {
        let line = format!("vakt: {line}");
        self.setting.console.line(&line);
        self.forward.line(&self.setting.status.hostname, "init", 1, &line);
    }

    /// The config is another one, and its slices are written: whom it concerns begins anew.
    pub(super) fn config_changed(&mut self, effect: &Effect) {
        self.say(&effect.line);
        if let Err(error) = config_desk::adopt(&self.setting.desk, &mut self.setting.status) {
            self.setting.console.line(&format!("vakt: {error:#}"));
        }
        for role in &effect.restart {
            self.event(&Event::Restart(role.name().to_owned()));
        }
        self.mirror();
    }

    fn mirror(&mut self) {
        if let Err(error) = config_desk::mirror(&self.setting.desk) {
            self.setting.console.line(&format!("vakt: {error:#}"));
        }
    }
}

pub(super) fn goal_name(goal: Goal) -> &'static str {
    match goal {
        Goal::Run => "run",
        Goal::PowerOff => "power off",
        Goal::Reboot => "reboot",
    }
}

fn start(service: &mut Service, name: &str, setting: &Setting, slot: Option<&PathBuf>) -> anyhow::Result<()> {
    service.sockets.open(&service.manifest.listen, &setting.ports)?;
    spawn::prepare_directories(&service.manifest, service.plan.uid)?;
    if let Some(quotas) = &setting.quotas {
        spawn::bound_directories(&service.manifest, service.plan.uid, quotas)?;
    }
    let cgroup = setting.cgroups.open(name, &service.manifest.limits)?;
    if let Some(role) = Role::of_name(name).filter(|_| service.manifest.sandbox.network) {
        addresses::bind(cgroup.as_fd(), &addresses::lists::of(role, setting.desk.config()))?;
    }
    // Opened for each life: a life that was killed must not leave its successor a position or a lock.
    let slot = slot.filter(|_| service.manifest.slot).map(|path| {
        let opened = File::options().read(true).write(true).open(path);
        opened.with_context(|| format!("cannot open the other slot at {}", path.display()))
    });
    let slot = slot.transpose()?;
    let handed: Vec<_> =
        service.sockets.all().chain(slot.as_ref().map(|slot| ("slot", slot.as_fd()))).collect();
    let spawned = spawn::spawn(&service.plan, &service.manifest.exec, &handed, Some(&cgroup))?;
    service.process = Some(Process { pid: spawned.pid, pidfd: spawned.pidfd });
    service.output = Some(Output::new(spawned.output));
    service.status.clear();
    Ok(())
}
