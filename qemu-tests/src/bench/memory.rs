//! Memory of the whole box while it watches one machine: the container bed, with a real systemd peer.
//!
//! The sum is of init's and all its descendants' PSS on this host, so a page that two of them share counts
//! once. Kernel memory and page cache are not in it; on the appliance they are in the machine's 256 MiB.

use std::time::Duration;

use anyhow::Result;
use sha2::{Digest, Sha256};

use super::Row;
use super::process::{family, pss_mib};
use crate::container::{self, Container, TOKEN};
use crate::programs;
use crate::systemd_peer::{self, SystemdPeer};

/// Minutes that it runs before it is looked at; `VAKT_BENCH_MINUTES` says another number.
const MINUTES: u64 = 5;

/// Longest that it may be asked to run: a day.
const MINUTES_MAX: u64 = 24 * 60;

/// Takes the measure.
///
/// # Errors
/// When the appliance or the peer does not start, or the peer is not seen.
pub fn measure() -> Result<Vec<Row>> {
    let what = "PSS of all processes";
    if let Some(reason) = container::missing().or_else(systemd_peer::missing) {
        return Ok(vec![Row::skipped(what, &reason)]);
    }
    if let Err(error) = programs::path("vakt-init") {
        return Ok(vec![Row::skipped(what, &format!("{error:#}"))]);
    }
    let asked = std::env::var("VAKT_BENCH_MINUTES").ok().and_then(|text| text.parse().ok());
    let minutes = asked.unwrap_or(MINUTES).min(MINUTES_MAX);
    let peer = SystemdPeer::start()?;
    let mut container = Container::start(&config(&peer))?;
    container.eventually("/api/v1/query?query=up%7Binstance%3D%22db1%22%7D", |text| {
        text.contains(",\"1\"]").then_some(())
    })?;
    std::thread::sleep(Duration::from_secs(minutes * 60));
    let pid = u32::try_from(container.pid)?;
    let mut shares = Vec::new();
    for (pid, name) in family(pid)? {
        shares.push((name, pss_mib(pid)?));
    }
    container.stop()?;
    let sum: f64 = shares.iter().map(|(_, mib)| mib).sum();
    let mut rows = vec![
        Row::alone("processes running", shares.len() as f64, ""),
        Row::alone(&format!("{what} after {minutes} min, 1 peer at 15 s"), sum, "MiB"),
    ];
    rows.extend(shares.iter().map(|(name, mib)| Row::alone(&format!("of it {name}"), *mib, "MiB")));
    Ok(rows)
}

fn config(peer: &SystemdPeer) -> String {
    let hash: String = Sha256::digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "version = 2\nhostname = \"guard\"\n[scrape]\ninterval = \"15s\"\n[[token]]\nname = \"bench\"\n\
         sha256 = \"{hash}\"\nscopes = [\"metrics:read\"]\n[ssh]\nread_key = \"\"\"\n{}\"\"\"\n\
         repair_key = \"\"\"\n{}\"\"\"\n[[peer]]\nname = \"db1\"\naddress = \"{}\"\nhost_key = \"{}\"\n\
         interval = \"15s\"\n",
        peer.read_key(),
        peer.repair_key(),
        peer.address(),
        peer.host_key().trim(),
    )
}
