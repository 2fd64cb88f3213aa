//! `vakt-store`: metrics at rest, PromQL, and the catalog.
//!
//! One thread for HTTP, one for the log, one for blocks, and up to 8 short-lived ones for queries and the catalog.

mod check;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Threads for queries and catalog calls; two of each at a time, the rest is slack.
const BLOCKING_THREADS_MAX: usize = 8;

/// Stack of such a thread: a query nests up to 200 levels. Only what is used takes memory.
const BLOCKING_STACK_BYTES: usize = 8 << 20;

/// Metrics at rest: Prometheus' API over a durable store, and the catalog.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(Box<serve::Serve>),
    Check(check::Check),
}

fn main() -> ExitCode {
    vakt_wire::heap::bound();
    vakt_wire::logging::start("store");
    let outcome = match Arguments::parse().command {
        Command::Serve(args) => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_stack_size(BLOCKING_STACK_BYTES)
            .build()
            .map_err(anyhow::Error::from)
            .and_then(|runtime| runtime.block_on(serve::run(*args))),
        Command::Check(args) => check::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "vakt-store stops");
            ExitCode::FAILURE
        }
    }
}
