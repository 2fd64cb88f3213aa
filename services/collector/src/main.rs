//! `vakt-collector`: metrics in.
//!
//! Measures the machine it runs on by procfs and eBPF, and peers over one SSH connection each with nothing installed
//! there; pushes what it measured to the store by remote-write. It keeps nothing on disk and decides nothing.
//!
//! Limits: one thread for everything, one more while file systems are asked; 4 MiB wait for a store that is away; a
//! round over a peer takes at most 10 s and 2 MiB.

mod api;
mod board;
mod ebpf;
mod encode;
mod exposition;
mod family;
mod files;
mod inputs;
mod local;
mod node;
mod once;
mod outbox;
mod peers;
mod promfiles;
mod push;
mod remote;
#[cfg(test)]
mod room;
mod scrape;
mod serve;
mod sys;
mod systemd;
mod texts;
mod timekeeper;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Threads for calls that may hang: asking file systems, resolving names.
const BLOCKING_THREADS_MAX: usize = 4;

/// Metrics in: this machine by procfs and eBPF, peers over SSH.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Serve),
    Once(once::Once),
}

fn main() -> ExitCode {
    sys::bound_heap();
    vakt_wire::logging::start("collector");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let outcome = runtime.block_on(async {
            match Arguments::parse().command {
                Command::Serve(args) => serve::run(args).await,
                Command::Once(args) => once::run(args).await,
            }
        });
        // A thread that hangs in a dead file system does not keep the process.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "vakt-collector stops");
            ExitCode::FAILURE
        }
    }
}
