//! `vakt-image`: sets the host up, builds the image, boots it.

mod commands;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match commands::Command::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("vakt-image: {error:#}");
            ExitCode::FAILURE
        }
    }
}
