//! `/boots`: how the last boots ended, and what the kernel and the services said before.

use askama::Template;
use hyper::StatusCode;
use vakt_wire::http::Response;

use crate::app::{App, Caller};
use crate::backend::boots::Boot;
use crate::backend::{Panel, unavailable};
use crate::clock;
use crate::error::PageError;
use crate::page::{Shell, html};

/// The link to the log shows this much before the end was found: a boot, and the last minutes of the one before.
const BEFORE_S: i64 = 15 * 60;

struct BootLine {
    time: String,
    what: String,
    end: &'static str,
    class: &'static str,
    reason: String,
    kernel_log: String,
    logs: String,
}

#[derive(Template)]
#[template(path = "pages/boots.html")]
struct BootsPage {
    shell: Shell,
    boots: Panel<Vec<BootLine>>,
}

/// The page.
///
/// # Errors
/// [`PageError::Internal`].
pub async fn show(app: &App, caller: &Caller) -> Result<Response, PageError> {
    let boots = app.backends.init.boots().await;
    let page = BootsPage {
        shell: app.shell(caller, "Boots", "box"),
        boots: boots
            .map(|boots| boots.into_iter().map(line).collect())
            .map_err(|error| unavailable("init", &error)),
    };
    html(StatusCode::OK, &page)
}

fn line(boot: Boot) -> BootLine {
    let (end, class) = match boot.end.as_str() {
        "orderly" => ("in order", "ok"),
        "cut" => ("the power was cut, as far as anybody can tell", "idle"),
        "unhealthy" => ("it was found unhealthy", "bad"),
        "panic" => ("the kernel panicked", "bad"),
        "watchdog" => ("the hardware watchdog ended it", "bad"),
        _ => ("in a way that this page does not know", "idle"),
    };
    let what = match (&boot.version, &boot.slot) {
        (Some(version), Some(slot)) => format!("{version} in slot {slot}"),
        (Some(version), None) => version.clone(),
        _ => "a boot that did not get as far as its services".into(),
    };
    BootLine {
        time: clock::date_time(boot.at),
        what,
        end,
        class,
        reason: boot.reason.unwrap_or_default(),
        kernel_log: boot.kernel_log.unwrap_or_default(),
        // _time:[from, to], as the log's query language has it.
        logs: format!(
            "/logs?range=30d&q=_time%3A%5B{}%2C%20{}%5D",
            clock::rfc3339(boot.at - BEFORE_S),
            clock::rfc3339(boot.at)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_end_is_told_in_words() {
        for end in ["orderly", "cut", "unhealthy", "panic", "watchdog"] {
            let told = line(Boot { end: end.into(), ..Boot::default() });
            assert!(!told.end.contains("does not know"), "{end}");
        }
        let told = line(Boot { version: Some("0.1.0".into()), slot: Some("a".into()), ..Boot::default() });
        assert_eq!(told.what, "0.1.0 in slot a");
    }
}
