//! The audit: every decision about access as one structured line, refusals too. The lines go the way
//! of all lines, to the log service, where `event:*` finds them.

use std::net::IpAddr;

/// Somebody was let in, or not.
pub fn decided(event: &'static str, user: &str, address: IpAddr, allowed: bool, reason: &'static str) {
    // What was typed as a name is cut: it may be a password, and it may be long.
    let user: String = user.chars().take(64).collect();
    let outcome = if allowed { "allowed" } else { "refused" };
    tracing::info!(target: "audit", event, user, %address, outcome, reason, "{event} {outcome}");
}
