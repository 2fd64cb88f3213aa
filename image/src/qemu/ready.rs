//! Ready is when the pages answer: a TLS connection whose certificate is the one that the console
//! named, and a 200 on /health.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use vakt_ctl::https::{Answer, get, post, request};

/// Between two tries.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// Waits until /health answers 200 with the certificate of this fingerprint.
///
/// # Errors
/// When it does not within `within`, with the last failure; at once when another certificate answers.
pub fn wait(address: SocketAddr, fingerprint: &str, within: Duration) -> anyhow::Result<()> {
    let until = Instant::now() + within;
    loop {
        let last = match get(address, "/health", "") {
            Ok(answer) if answer.fingerprint != fingerprint => {
                anyhow::bail!("the certificate is {}, the console said {fingerprint}", answer.fingerprint)
            }
            Ok(answer) if answer.status == 200 => return Ok(()),
            Ok(answer) => format!("status {}", answer.status),
            Err(error) => format!("{error:#}"),
        };
        anyhow::ensure!(
            Instant::now() < until,
            "https://{address}/health did not answer in {within:?}: {last}"
        );
        std::thread::sleep(TRY_EVERY);
    }
}
