//! What the screen shows, as lines.

use super::{COLUMNS, ROWS};

/// Services in one line of the screen.
const SERVICES_IN_LINE: usize = 3;

/// Events that are shown.
pub const EVENTS_MAX: usize = 7;

/// How a service is, in a word and a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It works.
    Good,
    /// It is on its way up or down.
    Coming,
    /// It failed.
    Bad,
}

/// What is known of the box.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// Vakt's version.
    pub version: String,
    /// The slot and why it runs; empty in a container.
    pub slot: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// The certificate's fingerprint, once web has said it.
    pub fingerprint: String,
    /// The set-up code, while there is one.
    pub setup_code: Option<String>,
    /// The services by name, with their state.
    pub services: Vec<(String, String, Health)>,
    /// The last lines of the console, oldest first.
    pub events: Vec<String>,
    /// The number of a config change that waits for somebody to keep it.
    pub trial: Option<u64>,
    /// The network as the config has it, in a line.
    pub network: String,
}

/// The lines of the screen above the menu's own.
pub fn status(facts: &Facts) -> Vec<String> {
    let mut lines = vec![format!("Vakt {}   {}", facts.version, facts.name)];
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            lines.push(format!("{name:<12} {value}"));
        }
    };
    add("slot", &facts.slot);
    let pages: Vec<String> = facts.addresses.iter().map(|address| page(address)).collect();
    add("pages", if pages.is_empty() { "no address yet" } else { "" });
    pages.iter().take(3).for_each(|page| add("pages", page));
    // 107 characters: two lines.
    let (first, second): (Vec<_>, Vec<_>) =
        facts.fingerprint.chars().enumerate().partition(|(at, _)| *at < 55);
    add("certificate", &first.into_iter().map(|(_, c)| c).collect::<String>());
    add("", &second.into_iter().map(|(_, c)| c).collect::<String>());
    add("setup code", facts.setup_code.as_deref().unwrap_or_default());
    lines.push(String::new());
    for some in facts.services.chunks(SERVICES_IN_LINE) {
        let each = some.iter().map(|(name, state, health)| {
            let mark = match health {
                Health::Good => " ",
                Health::Coming => "~",
                Health::Bad => "!",
            };
            format!("{:<25}", format!("{mark} {name}: {state}"))
        });
        lines.push(each.collect());
    }
    lines.push(String::new());
    lines.extend(facts.events.iter().rev().take(EVENTS_MAX).rev().map(|event| format!("  {event}")));
    lines
}

fn page(address: &str) -> String {
    if address.contains(':') { format!("https://[{address}]/") } else { format!("https://{address}/") }
}

/// A whole screen for a terminal: each line in its place, the rest of it and of the screen cleared. The cursor stays
/// behind the last character.
pub fn draw(lines: &[String], clear_first: bool) -> String {
    let mut text = String::from(if clear_first { "\x1B[2J\x1B[H" } else { "\x1B[H" });
    let shown: Vec<&String> = lines.iter().take(ROWS).collect();
    for (index, line) in shown.iter().enumerate() {
        text.extend(line.chars().filter(|c| !c.is_control()).take(COLUMNS));
        text += "\x1B[K";
        if index + 1 < shown.len() {
            text += "\r\n";
        }
    }
    text + "\x1B[J"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A box with everything to show.
    pub fn full() -> Facts {
        let service = |name: &str, state: &str, health| (name.to_owned(), state.to_owned(), health);
        Facts {
            name: "guard".into(),
            version: "0.1.0".into(),
            slot: "a, blessed".into(),
            addresses: vec!["192.0.2.9".into(), "2001:db8::9".into()],
            fingerprint: format!("SHA256:{}", ["AB"; 32].join(":")),
            setup_code: Some("ABCD-EFGH".into()),
            services: vec![
                service("store", "ready", Health::Good),
                service("web", "backoff", Health::Bad),
                service("log", "starting", Health::Coming),
                service("update", "ready", Health::Good),
            ],
            events: (0..20).map(|n| format!("event {n}")).collect(),
            trial: None,
            network: "DHCP".into(),
        }
    }

    #[test]
    fn the_screen_tells_who_the_box_is_how_it_is_and_what_happened_last() {
        let text = status(&full()).join("\n");
        for part in [
            "Vakt 0.1.0   guard",
            "a, blessed",
            "https://192.0.2.9/",
            "https://[2001:db8::9]/",
            "setup code   ABCD-EFGH",
            "! web: backoff",
            "~ log: starting",
            "  store: ready",
            "event 19",
        ] {
            assert!(text.contains(part), "{part:?} is not on\n{text}");
        }
        let pairs: String =
            text.lines().filter(|line| line.contains("AB:AB")).flat_map(str::split_whitespace).collect();
        assert_eq!(pairs.matches("AB").count(), 32, "{pairs}");
        assert!(!text.contains("event 12\n"), "only the last ones");
    }

    #[test]
    fn a_screen_fits_every_terminal_and_no_text_of_others_moves_its_cursor() {
        let mut facts = full();
        facts.events = vec![format!("\x1B[2J{}", "x".repeat(500)); 50];
        let drawn = draw(&status(&facts), true);
        let body = drawn.replace("\x1B[2J\x1B[H", "").replace("\x1B[K", "").replace("\x1B[J", "");
        assert!(!body.contains('\x1B'), "{body:?}");
        assert!(body.split("\r\n").count() <= ROWS && body.split("\r\n").all(|line| line.len() <= COLUMNS));
    }
}
