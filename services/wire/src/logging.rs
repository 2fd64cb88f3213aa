//! Structured output: one JSON object a line on standard error, or plain text on a terminal.
//!
//! Under vakt-init the lines reach the log service, which indexes their fields (`level`, `target`,
//! `message` and what the event carries).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging for `service`. `VAKT_LOG` holds a filter (`info`, `vakt_store=debug`); the default
/// is `info`. Calling it twice is harmless: the first call stays in force.
pub fn start(service: &'static str) {
    let filter = EnvFilter::try_from_env("VAKT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error means that a subscriber is set already, which is the stated behaviour.
    let _ = if std::io::stderr().is_terminal() {
        builder.try_init().map_err(drop)
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init()
            .map_err(drop)
    };
    tracing::debug!(service, version = env!("CARGO_PKG_VERSION"), "starts");
}
