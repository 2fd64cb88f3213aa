//! The console's menus in the loop: what they show, and what is done when somebody at the box asks for it.

use std::path::Path;

use rustix::event::{PollFd, PollFlags};
use vakt_wire::config::Network;
use vakt_wire::config::edit::{self, EditError, StaticAddress};
use vakt_wire::role::Role;

use super::machine::{Machine, STATE, goal_name};
use super::status::state_name;
use crate::console::screen::{Facts, Health};
use crate::console::terminal::Terminal;
use crate::console::{self, menu::Action};
use crate::ledger::Wish;
use crate::ledger::desk::Problem;
use crate::reset::{self, Reset};
use crate::supervisor::{Event, State};
use crate::sys;

/// Who asked, in the config's history and in the log.
const BY: &str = "the console";

/// The facts are looked at anew this often: a screen that changes more often is not read.
const LOOK_EVERY_MS: u64 = 500;

/// Only emergencies of the kernel go to the console: its other lines would run over the screen, and are in the log. A
/// panic raises the level by itself.
const KERNEL_LEVEL: &str = "1 4 1 7";

/// The terminals with their menus.
#[derive(Debug, Default)]
pub struct Terminals {
    all: Vec<Terminal>,
    facts: Facts,
    look_ms: u64,
}

impl Terminals {
    /// All that the machine has.
    pub fn open() -> Terminals {
        let all = Terminal::open_all();
        if !all.is_empty() {
            // Without it kernel lines run over the screen; nothing else is lost.
            let _ = std::fs::write("/proc/sys/kernel/printk", KERNEL_LEVEL);
        }
        Terminals { all, ..Terminals::default() }
    }

    /// The descriptors to wait for, and for what.
    pub fn polled(&self) -> impl Iterator<Item = PollFd<'_>> {
        let flags =
            |one: &Terminal| if one.is_behind() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        self.all.iter().map(move |one| PollFd::new(one, flags(one)))
    }
}

impl Machine {
    /// Reads what was typed, does what was asked for, draws what has changed.
    pub(super) fn turn_terminals(&mut self) {
        self.setting.console.flush();
        let mut terminals = std::mem::take(&mut self.terminals);
        if terminals.all.is_empty() {
            return;
        }
        let now = sys::now_ms();
        let mut has_acted = false;
        for terminal in &mut terminals.all {
            for action in terminal.read(now, &terminals.facts) {
                has_acted = true;
                match self.act(&action, now) {
                    Ok(said) => terminal.say(said),
                    Err(reason) => terminal.say(&reason),
                }
                if matches!(action, Action::Power(_) | Action::Reset(_)) {
                    terminal.close();
                }
            }
        }
        terminals.all.retain(|terminal| !terminal.is_gone());
        if has_acted || now >= terminals.look_ms {
            terminals.facts = self.facts();
            terminals.look_ms = now + LOOK_EVERY_MS;
        }
        let covers = |terminal: &Terminal| terminal.port.is_console && terminal.is_open();
        self.setting.console.hold(terminals.all.iter().any(covers));
        terminals.all.iter_mut().for_each(|terminal| terminal.show(&terminals.facts));
        self.terminals = terminals;
    }

    fn facts(&self) -> Facts {
        let status = &self.setting.status;
        let heard = self.setting.console.heard();
        let service = |(name, service): (&String, &crate::supervisor::Service)| {
            let health = match service.state {
                State::Ready { .. } => Health::Good,
                State::Backoff { .. } | State::Killing => Health::Bad,
                _ => Health::Coming,
            };
            (name.clone(), state_name(service.state).to_owned(), health)
        };
        let why = self.slots.why();
        Facts {
            name: status.hostname.clone(),
            version: status.version.clone(),
            slot: if why.is_empty() { status.slot.clone() } else { format!("{}, {why}", status.slot) },
            addresses: console::sys::addresses().iter().map(ToString::to_string).collect(),
            fingerprint: heard.fingerprint.clone(),
            setup_code: heard.setup_code.clone(),
            services: self.supervisor.services().iter().map(service).collect(),
            events: heard.events.iter().cloned().collect(),
            trial: self.setting.desk.ledger().pending().filter(|p| p.on_trial).map(|p| p.revision.number),
            network: in_words(&self.setting.desk.config().network),
        }
    }

    /// Does what was asked for at the box; says what came of it.
    fn act(&mut self, action: &Action, now_ms: u64) -> Result<&'static str, String> {
        match action {
            Action::Power(goal) => {
                self.say(&format!("{BY} asks to {}", goal_name(*goal)));
                self.event(&Event::Stop(*goal));
                Ok("the box stops")
            }
            Action::Reset(kind) => {
                let wish = Reset { kind: *kind, by: BY.into(), at_s: sys::unix_s(), done_s: None };
                reset::ask(Path::new(STATE), &wish)
                    .map_err(|error| format!("nothing was reset: {error:#}"))?;
                self.say(&format!("{BY} asks to reset {}", kind.name()));
                self.event(&Event::Stop(crate::supervisor::Goal::Reboot));
                Ok("the box restarts")
            }
            Action::ResetAdmin => self.reset_admin(now_ms),
            Action::Dhcp => self.change(now_ms, "DHCP", edit::set_dhcp).map(|_| "it is tried"),
            Action::Static(wanted) => {
                let wanted = StaticAddress {
                    interface: &wanted.interface,
                    address: &wanted.address,
                    gateway: &wanted.gateway,
                    dns: &wanted.dns,
                };
                self.change(now_ms, "a static address", |text| edit::set_static(text, &wanted))
                    .map(|_| "it is tried")
            }
            Action::Keep | Action::Undo => {
                let desk = &mut self.setting.desk;
                let number = desk.ledger().pending().map_or(0, |pending| pending.revision.number);
                let done = match action {
                    Action::Keep => desk.confirm(number, BY, now_ms),
                    _ => desk.take_back(BY, now_ms),
                };
                self.config_changed(&done.map_err(|problem| problem.to_string())?);
                Ok("done")
            }
        }
    }

    /// Forgets who may sign in: the config's administrator and the catalog's users with their sessions. web and store
    /// begin anew, and web shows a set-up code.
    fn reset_admin(&mut self, now_ms: u64) -> Result<&'static str, String> {
        let changed = self.change(now_ms, "nobody could sign in", edit::remove_admin)?;
        if let Some(number) = changed {
            // Somebody stands at the box: nobody can be locked out by this.
            let done =
                self.setting.desk.confirm(number, BY, now_ms).map_err(|problem| problem.to_string())?;
            self.config_changed(&done);
        }
        reset::forget(Path::new(STATE), reset::USER_TABLES).map_err(|error| format!("{error:#}"))?;
        self.say(&format!("{BY} has reset the administrator"));
        for role in [Role::Store, Role::Web] {
            self.event(&Event::Restart(role.name().to_owned()));
        }
        Ok("the set-up code is shown soon")
    }

    /// Applies a change of the document that was confirmed last, on trial where the ledger has it so. Returns the number
    /// of a trial.
    fn change(
        &mut self,
        now_ms: u64,
        why: &str,
        change: impl FnOnce(&str) -> Result<String, EditError>,
    ) -> Result<Option<u64>, String> {
        let desk = &mut self.setting.desk;
        let text = change(&desk.ledger().settled().text).map_err(|error| error.to_string())?;
        let wish = Wish { text, by: BY.into(), why: why.into(), at_s: sys::unix_s(), ..Wish::default() };
        match desk.apply(wish, now_ms).map_err(|problem: Problem| problem.to_string())? {
            None => Ok(None),
            Some((number, effect)) => {
                self.config_changed(&effect);
                Ok(self.setting.desk.ledger().pending().map(|_| number))
            }
        }
    }
}

/// The network as the config has it, in a line.
fn in_words(network: &Network) -> String {
    let each = network.interfaces.iter().map(|interface| {
        let addresses: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
        let how = if interface.dhcp { "DHCP".to_owned() } else { addresses.join(" ") };
        let name = interface.name.as_ref().map_or("any".to_owned(), ToString::to_string);
        format!("{name} {how}")
    });
    let all: Vec<String> = each.collect();
    if all.is_empty() { "DHCP on every interface".into() } else { all.join(", ") }
}
