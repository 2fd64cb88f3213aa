//! The life of a service: ready, stopping, drained.
//!
//! Readiness goes to the supervisor as sd_notify(3) datagrams (`NOTIFY_SOCKET`), so the same binary
//! runs under vakt-init and under systemd. SIGTERM and SIGINT cancel one token; a service stops
//! taking work when it fires, finishes what it accepted within [`DRAIN_MAX`], and exits 0.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long a service may take from SIGTERM to its exit. vakt-init waits this long plus two seconds
/// before it kills, and the systemd units say the same in `TimeoutStopSec=`.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Where vakt-init listens for notifications, seen from every room; it has a console to show lines on.
const NOTIFY_OF_VAKT: &str = "/run/vakt/notify/socket";

/// Handle on the supervisor and on the wish to stop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Life {
    stop: CancellationToken,
}

impl Life {
    /// Installs the handlers for SIGTERM and SIGINT. Call once, inside the runtime, before anything
    /// that can be asked to stop.
    ///
    /// # Errors
    /// When the kernel refuses a signal handler.
    pub fn start() -> io::Result<Life> {
        let stop = CancellationToken::new();
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let fired = stop.clone();
        tokio::spawn(async move {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            notify("STOPPING=1\nSTATUS=draining");
            fired.cancel();
        });
        Ok(Life { stop })
    }

    /// Fires once when the service was asked to stop.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Tells the supervisor that the service does its work from now on.
    pub fn ready(&self, status: &str) {
        notify(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// Tells the supervisor one line about the state of the service; it is shown on the pages.
    pub fn status(&self, status: &str) {
        notify(&format!("STATUS={}", one_line(status)));
    }

    /// Feeds the supervisor's watchdog for this service.
    pub fn alive(&self) {
        notify("WATCHDOG=1");
    }

    /// Puts one line on the machine's console (at most 200 bytes); under another supervisor it goes
    /// to standard error. For what a person at the machine must see: fingerprint, set-up code.
    pub fn console(&self, line: &str) {
        let line = one_line(line);
        // Another supervisor takes the datagram as well, and forgets what it does not know.
        let of_vakt = std::env::var_os("NOTIFY_SOCKET").is_some_and(|path| path == NOTIFY_OF_VAKT);
        if !of_vakt || !notify(&format!("X_VAKT_CONSOLE={line}")) {
            eprintln!("{line}");
        }
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

/// Sends one sd_notify datagram. Returns whether somebody was there to take it: without
/// `NOTIFY_SOCKET` (run by hand) there is nobody, which is not an error.
fn notify(message: &str) -> bool {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return false };
    // A leading '@' is an abstract name, which only systemd hands out.
    let sent = UnixDatagram::unbound().and_then(|socket| {
        let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
        if let Some(name) = bytes.strip_prefix(b"@") {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            socket.send_to_addr(message.as_bytes(), &address)
        } else {
            socket.send_to(message.as_bytes(), &path)
        }
    });
    match sent {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(%error, socket = %path.to_string_lossy(), "cannot notify the supervisor");
            false
        }
    }
}
