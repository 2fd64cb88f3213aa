//! What the page Box shows of the world outside: the clock and its servers, and where samples are sent.

use crate::backend::egress::Forward;
use crate::backend::time::{Server, Standing};
use crate::chart::Unit;

/// The clock, as its panel shows it.
#[derive(Debug, Default, PartialEq)]
pub struct ClockPanel {
    /// In a sentence.
    pub told: String,
    /// `ok` or `warn`.
    pub class: &'static str,
    /// When servers agreed last.
    pub last_sync: String,
    /// Each server.
    pub servers: Vec<ServerLine>,
}

/// A server, as its row shows it.
#[derive(Debug, Default, PartialEq)]
pub struct ServerLine {
    /// As it was named.
    pub host: String,
    /// Who named it, and whether it is authenticated.
    pub from: String,
    /// What it says of our clock, or why it says nothing.
    pub told: String,
    /// Whether it is believed.
    pub state: &'static str,
}

/// A place, as its row shows it.
#[derive(Debug, Default, PartialEq)]
pub struct ForwardLine {
    /// As the config calls it.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Samples that it has taken.
    pub sent: String,
    /// Samples that wait.
    pub pending: String,
    /// Samples that are gone, when any are.
    pub gone: String,
    /// `ok`, or why it takes none at present.
    pub state: String,
    /// `ok` or `bad`.
    pub class: &'static str,
}

/// The clock's panel. Pure.
pub fn clock(standing: Standing) -> ClockPanel {
    let verb = if standing.clock == "steered" { "Steered" } else { "Observed only" };
    let told = match (&standing.source, standing.offset_s) {
        (Some(source), Some(offset)) if standing.synchronised => {
            let error =
                standing.error_s.map(|s| format!(", give or take {}", milliseconds(s))).unwrap_or_default();
            format!("{verb}: {} off {source}{error}.", milliseconds(offset))
        }
        _ => {
            let reason = standing.reason.as_deref().unwrap_or("no server has answered yet");
            format!("Not synchronised: {reason}.")
        }
    };
    ClockPanel {
        told,
        class: if standing.synchronised { "ok" } else { "warn" },
        last_sync: standing.last_sync.unwrap_or_default(),
        servers: standing.servers.into_iter().map(server).collect(),
    }
}

fn server(server: Server) -> ServerLine {
    let state = match (&server.error, server.believed) {
        (Some(_), _) => "silent",
        (None, true) => "believed",
        (None, false) => "not believed",
    };
    let told = match (server.error, server.offset_s) {
        (Some(error), _) => error,
        (None, None) => "not asked yet".into(),
        (None, Some(offset)) => {
            let stratum = server.stratum.map(|n| format!(", stratum {n}")).unwrap_or_default();
            let delay = server.delay_s.map(|s| format!(", {} away", milliseconds(s))).unwrap_or_default();
            format!("{}{delay}{stratum}", milliseconds(offset))
        }
    };
    let by = if server.from == "dhcp" { "DHCP" } else { "the config" };
    let from = format!("{by}{}", if server.nts { ", NTS" } else { "" });
    ServerLine { host: server.host, from, told, state }
}

fn milliseconds(seconds: f64) -> String {
    format!("{:+.1} ms", seconds * 1000.0)
}

/// A place's row. Pure.
pub fn forward(place: Forward) -> ForwardLine {
    let count = |samples: f64| Unit::Number.show(samples);
    let gone = place.lost_samples + place.refused_samples;
    ForwardLine {
        name: place.name,
        url: place.url,
        sent: count(place.sent_samples),
        pending: count(place.pending_samples),
        gone: if gone > 0.0 { count(gone) } else { String::new() },
        class: if place.error.is_some() { "bad" } else { "ok" },
        state: place.error.unwrap_or_else(|| "ok".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_told_in_a_sentence_and_so_is_why_it_is_not_right() {
        let right = Standing {
            synchronised: true,
            clock: "steered".into(),
            offset_s: Some(-0.0012),
            error_s: Some(0.004),
            source: Some("ntp1".into()),
            ..Standing::default()
        };
        assert_eq!(clock(right).told, "Steered: -1.2 ms off ntp1, give or take +4.0 ms.");
        let wrong = clock(Standing { reason: Some("no server is named".into()), ..Standing::default() });
        assert_eq!((wrong.told.as_str(), wrong.class), ("Not synchronised: no server is named.", "warn"));
    }

    #[test]
    fn a_server_says_what_it_is_believed_for() {
        let asked = Server { host: "a".into(), from: "dhcp".into(), nts: true, ..Server::default() };
        let line = |server: Server| {
            let line = super::server(server);
            (line.from, line.told, line.state)
        };
        let text = |a: &str, b: &str, c| (a.to_owned(), b.to_owned(), c);
        assert_eq!(line(asked.clone()), text("DHCP, NTS", "not asked yet", "not believed"));
        let good = Server {
            believed: true,
            offset_s: Some(0.5),
            delay_s: Some(0.02),
            stratum: Some(2),
            nts: false,
            from: "config".into(),
            ..asked.clone()
        };
        assert_eq!(line(good), text("the config", "+500.0 ms, +20.0 ms away, stratum 2", "believed"));
        let silent = Server { error: Some("no answer".into()), ..asked };
        assert_eq!(line(silent), text("DHCP, NTS", "no answer", "silent"));
    }

    #[test]
    fn a_place_says_what_waits_and_what_is_gone() {
        let line = forward(Forward { name: "c".into(), sent_samples: 1200.0, ..Forward::default() });
        assert_eq!((line.state.as_str(), line.class, line.gone.as_str()), ("ok", "ok", ""));
        let away = Forward { error: Some("refused".into()), lost_samples: 3.0, ..Forward::default() };
        assert_eq!((forward(away.clone()).class, forward(away).gone.as_str()), ("bad", "3"));
    }
}
