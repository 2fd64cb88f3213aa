//! `vakt-repair`: repairs what broke on the machines it watches, by policy, and keeps evidence of it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use vakt_repair::commands::{self, Enrol, Verify};
use vakt_repair::serve::{Options, serve};
use vakt_wire::listen::Address;

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Watch the config's machines and repair by its policies.
    Serve {
        /// The machine config (TOML).
        #[arg(long)]
        config: PathBuf,
        /// Address for the API, beside inherited sockets: 127.0.0.1:PORT or unix:PATH.
        #[arg(long)]
        listen: Vec<Address>,
        /// The store's socket.
        #[arg(long, default_value = "/run/vakt/store/http.sock")]
        store: PathBuf,
        /// The signing key of the evidence: 32 raw bytes, made when absent.
        #[arg(long, default_value = "/run/vakt/evidence.key")]
        key: PathBuf,
    },
    /// Check policy files; prints FILE:LINE:COLUMN: REASON for each that is wrong, and exits 1.
    Check {
        /// YAML files, one policy each.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Check a chain of evidence, from the first record to the last.
    Verify(Verify),
    /// Print the chain of evidence, one record a line.
    Export {
        /// The store's socket.
        #[arg(long, default_value = "/run/vakt/store/http.sock")]
        store: PathBuf,
    },
    /// Print the script that prepares a machine: users, sshd, polkit rule.
    Enrol(Enrol),
}

fn main() -> ExitCode {
    vakt_wire::logging::start("repair");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            match Arguments::parse().command {
                Command::Serve { config, listen, store, key } => {
                    serve(Options { config, listen, store, key }).await.map(|()| true)
                }
                Command::Check { files } => commands::check(&files),
                Command::Verify(asked) => commands::verify(asked).await,
                Command::Export { store } => commands::export(&store).await,
                Command::Enrol(asked) => commands::enrol(asked),
            }
        })
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("vakt-repair: {error:#}");
            ExitCode::FAILURE
        }
    }
}
