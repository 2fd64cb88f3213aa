//! `vakt-setup --for TASK`: installs what a task needs, before anything larger is built.

use std::process::ExitCode;

use vakt_setup::{Need, prepare};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let need = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--for", task] => task.parse::<Need>(),
        _ => Err(format!("usage: vakt-setup --for {}", Need::NAMES)),
    };
    let done = need.map_err(anyhow::Error::msg).and_then(prepare);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vakt-setup: {error:#}");
            ExitCode::FAILURE
        }
    }
}
