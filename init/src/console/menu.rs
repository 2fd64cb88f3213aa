//! The menu as a pure state machine: a key and the facts in, an action out.

use super::keys::Key;
use super::screen::{self, Facts};
use crate::reset::Kind;
use crate::supervisor::Goal;

/// Characters of a typed line; the longest is an address with its prefix, or a name.
const TYPED_CHARS_MAX: usize = 64;

/// A static address, as it was typed; the config's own rules judge it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Static {
    /// Such as `eth0`.
    pub interface: String,
    /// With its prefix length.
    pub address: String,
    /// Empty for none.
    pub gateway: String,
    /// A name server; empty for none.
    pub dns: String,
}

/// What somebody at the box asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Switch off or restart.
    Power(Goal),
    /// Reset, and restart.
    Reset(Kind),
    /// Forget who may sign in, so that a new set-up code is shown.
    ResetAdmin,
    /// DHCP on every interface, on trial.
    Dhcp,
    /// A static address, on trial.
    Static(Static),
    /// Keep the change that is on trial.
    Keep,
    /// Undo it.
    Undo,
}

/// What is asked for before a static address is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Interface,
    Address,
    Gateway,
    Dns,
}

/// Where the menu is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// The list of what can be done.
    List,
    /// Which network.
    Network,
    /// A static address is being typed.
    Static(Static, Field),
    /// A word must be typed before this is done.
    Confirm(Action),
}

/// The menu of one terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Menu {
    state: State,
    typed: String,
    /// What came of the last action.
    said: String,
}

impl Default for Menu {
    fn default() -> Menu {
        Menu { state: State::List, typed: String::new(), said: String::new() }
    }
}

/// What a key leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing but another screen.
    Stay,
    /// The menu is closed.
    Close,
    /// Something is to be done.
    Do(Action),
}

impl Menu {
    /// Takes a key.
    pub fn key(&mut self, key: Key, facts: &Facts) -> Outcome {
        self.said.clear();
        if key == Key::Escape {
            self.go(State::List);
            return Outcome::Stay;
        }
        match self.state.clone() {
            State::List => self.choose(key, facts),
            State::Network => {
                match key {
                    Key::Char('d') => return self.done(Action::Dhcp),
                    Key::Char('s') => self.go(State::Static(Static::default(), Field::Interface)),
                    Key::Enter | Key::Char('q') => self.go(State::List),
                    _ => {}
                }
                Outcome::Stay
            }
            State::Static(wanted, field) => self.typed_field(key, wanted, field),
            State::Confirm(action) => {
                let Some(line) = self.type_key(key) else { return Outcome::Stay };
                if line == word(&action, facts) {
                    return self.done(action);
                }
                self.go(State::List);
                self.said = "that was another word; nothing was done".into();
                Outcome::Stay
            }
        }
    }

    /// Shows what came of an action.
    pub fn say(&mut self, said: &str) {
        self.said = said.to_owned();
    }

    /// Nobody has typed for a while: back to the list, and what was typed is forgotten.
    pub fn rest(&mut self) {
        *self = Menu::default();
    }

    /// The screen's lines.
    pub fn lines(&self, facts: &Facts) -> Vec<String> {
        let mut lines = screen::status(facts);
        // The menu stays on the screen, however much there is above it.
        lines.truncate(super::ROWS - 4);
        lines.push(String::new());
        let said = match (&self.said, facts.trial) {
            (said, None) => said.clone(),
            (said, Some(number)) if said.is_empty() => {
                format!("config revision {number} is on trial: k keeps it, u undoes it")
            }
            (said, Some(_)) => format!("{said} (k keeps it, u undoes it)"),
        };
        lines.push(said);
        match &self.state {
            State::List => {
                lines
                    .push("n network   a reset administrator   s reset settings   e reset everything".into());
                lines.push("p power off   r restart   q close   > ".into());
            }
            State::Network => {
                lines.push(format!("network: {}", facts.network));
                lines.push("d DHCP on every interface   s static address   q back   > ".into());
            }
            State::Static(_, field) => {
                let (question, hint) = match field {
                    Field::Interface => ("interface", "such as eth0; Esc goes back"),
                    Field::Address => ("address with prefix", "such as 192.0.2.10/24"),
                    Field::Gateway => ("gateway", "empty for none"),
                    Field::Dns => ("name server", "empty for none"),
                };
                lines.push(format!("static address: {hint}"));
                lines.push(format!("{question}: {}", self.typed));
            }
            State::Confirm(action) => {
                lines.push(warning(action).into());
                lines.push(format!(
                    "type {} and Enter to do it, Esc to go back: {}",
                    word(action, facts),
                    self.typed
                ));
            }
        }
        lines
    }

    fn choose(&mut self, key: Key, facts: &Facts) -> Outcome {
        let Key::Char(letter) = key else { return Outcome::Stay };
        let asked = match letter {
            'n' => {
                self.go(State::Network);
                return Outcome::Stay;
            }
            'q' => return Outcome::Close,
            'k' if facts.trial.is_some() => return self.done(Action::Keep),
            'u' if facts.trial.is_some() => return self.done(Action::Undo),
            'a' => Action::ResetAdmin,
            's' => Action::Reset(Kind::Settings),
            'e' => Action::Reset(Kind::Everything),
            'p' => Action::Power(Goal::PowerOff),
            'r' => Action::Power(Goal::Reboot),
            _ => return Outcome::Stay,
        };
        self.go(State::Confirm(asked));
        Outcome::Stay
    }

    fn typed_field(&mut self, key: Key, mut wanted: Static, field: Field) -> Outcome {
        let Some(line) = self.type_key(key) else { return Outcome::Stay };
        let next = match field {
            Field::Interface => {
                wanted.interface = line;
                Some(Field::Address)
            }
            Field::Address => {
                wanted.address = line;
                Some(Field::Gateway)
            }
            Field::Gateway => {
                wanted.gateway = line;
                Some(Field::Dns)
            }
            Field::Dns => {
                wanted.dns = line;
                None
            }
        };
        match next {
            Some(field) => {
                self.go(State::Static(wanted, field));
                Outcome::Stay
            }
            None => self.done(Action::Static(wanted)),
        }
    }

    /// The typed line once it is complete.
    fn type_key(&mut self, key: Key) -> Option<String> {
        match key {
            Key::Enter => return Some(std::mem::take(&mut self.typed).trim().to_owned()),
            Key::Back => {
                self.typed.pop();
            }
            Key::Char(c) if self.typed.len() < TYPED_CHARS_MAX => self.typed.push(c),
            Key::Char(_) | Key::Escape => {}
        }
        None
    }

    fn go(&mut self, state: State) {
        self.state = state;
        self.typed.clear();
    }

    fn done(&mut self, action: Action) -> Outcome {
        self.go(State::List);
        Outcome::Do(action)
    }
}

/// What must be typed before an action: the box' name where something is lost by it.
fn word(action: &Action, facts: &Facts) -> String {
    match action {
        Action::Power(Goal::PowerOff) => "off".into(),
        Action::Power(_) => "restart".into(),
        _ => facts.name.clone(),
    }
}

fn warning(action: &Action) -> &'static str {
    match action {
        Action::Power(Goal::PowerOff) => "The box is switched off.",
        Action::Power(_) => "The box restarts.",
        Action::Reset(Kind::Settings) => "Config, users and tokens are removed; metrics, logs and keys stay.",
        Action::Reset(Kind::Everything) => {
            "EVERYTHING is removed: metrics, logs, evidence, keys. No way back."
        }
        Action::ResetAdmin => "Nobody can sign in then; a new set-up code is shown here.",
        Action::Dhcp | Action::Static(_) | Action::Keep | Action::Undo => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::keys;
    use super::*;

    fn facts() -> Facts {
        Facts { name: "guard".into(), trial: Some(4), ..Facts::default() }
    }

    /// What typing this on a fresh menu asks for, in order.
    fn typed(text: &str) -> Vec<Action> {
        let mut menu = Menu::default();
        let outcomes = keys(text.as_bytes()).into_iter().map(|key| menu.key(key, &facts()));
        outcomes
            .filter_map(|outcome| if let Outcome::Do(action) = outcome { Some(action) } else { None })
            .collect()
    }

    #[test]
    fn every_action_needs_its_keys_and_what_loses_something_its_word() {
        let fixed = Static {
            interface: "eth0".into(),
            address: "192.0.2.10/24".into(),
            gateway: "192.0.2.1".into(),
            dns: String::new(),
        };
        for (text, expected) in [
            ("poff\r", vec![Action::Power(Goal::PowerOff)]),
            ("rrestart\r", vec![Action::Power(Goal::Reboot)]),
            ("eguard\r", vec![Action::Reset(Kind::Everything)]),
            ("sguard\r", vec![Action::Reset(Kind::Settings)]),
            ("aguard\r", vec![Action::ResetAdmin]),
            ("nd", vec![Action::Dhcp]),
            ("nseth0\r192.0.2.10/24\r192.0.2.1\r\r", vec![Action::Static(fixed)]),
            ("ku", vec![Action::Keep, Action::Undo]),
            ("egaurd\x7F\x7F\x7F\x7Fuard\r", vec![Action::Reset(Kind::Everything)]),
            // Enter alone, another name, a word of another action, and what was broken off.
            ("e\r", vec![]),
            ("eother\r", vec![]),
            ("eoff\r", vec![]),
            ("eguard\x1B\r", vec![]),
            ("e\x1Bpoff\r", vec![Action::Power(Goal::PowerOff)]),
            ("xyz\r\r\r", vec![]),
        ] {
            assert_eq!(typed(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_wrong_word_is_told_and_asks_again_from_the_list() {
        let mut menu = Menu::default();
        keys(b"enot it\r").into_iter().for_each(|key| assert_eq!(menu.key(key, &facts()), Outcome::Stay));
        let shown = menu.lines(&Facts { trial: None, ..facts() }).join("\n");
        assert!(shown.contains("nothing was done") && shown.contains("n network"), "{shown}");
        assert_eq!(menu.key(Key::Char('q'), &facts()), Outcome::Close);
    }

    #[test]
    fn the_screen_says_what_to_type_and_shows_what_was() {
        let mut menu = Menu::default();
        keys(b"egua").into_iter().for_each(|key| assert_eq!(menu.key(key, &facts()), Outcome::Stay));
        let lines = menu.lines(&facts());
        assert!(lines.last().unwrap().ends_with("type guard and Enter to do it, Esc to go back: gua"));
        menu.rest();
        assert_eq!(menu, Menu::default());
        let endless = "x".repeat(1000);
        keys(format!("e{endless}").as_bytes()).into_iter().for_each(|key| {
            menu.key(key, &facts());
        });
        assert!(menu.typed.len() <= TYPED_CHARS_MAX);
    }

    #[test]
    fn without_a_trial_there_is_nothing_to_keep() {
        let mut menu = Menu::default();
        let settled = Facts { trial: None, ..facts() };
        assert_eq!(menu.key(Key::Char('k'), &settled), Outcome::Stay);
        assert!(!menu.lines(&settled).join("\n").contains("on trial"));
        assert!(menu.lines(&facts()).join("\n").contains("revision 4 is on trial"));
    }
}
