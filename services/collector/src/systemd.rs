//! Asks this machine's systemd for its units, over its own D-Bus.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;
use zbus::OwnedObjectPath;
use zbus::connection::Builder;

/// There while systemd is PID 1 (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// Every distribution's system bus.
const BUS: &str = "unix:path=/run/dbus/system_bus_socket";

/// Connecting and listing take at most this long.
const LIST_WITHIN: Duration = Duration::from_secs(2);

/// One entry of ListUnits (org.freedesktop.systemd1.Manager): name, description, load, active and sub-state, followed
/// unit, path, job.
type Unit = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// The units, one a line: name, load state, active state, sub-state. `None` where systemd does not run or does not
/// answer in time.
pub async fn listed() -> Option<String> {
    if !Path::new(BOOTED).exists() {
        return None;
    }
    let asked = async {
        let bus = Builder::address(BUS).build().await?;
        let answer = bus
            .call_method(
                Some("org.freedesktop.systemd1"),
                "/org/freedesktop/systemd1",
                Some("org.freedesktop.systemd1.Manager"),
                "ListUnits",
                &(),
            )
            .await?;
        answer.body().deserialize::<Vec<Unit>>()
    };
    match timeout(LIST_WITHIN, asked).await {
        Ok(Ok(units)) => Some(
            units.into_iter().map(|unit| format!("{} {} {} {}\n", unit.0, unit.2, unit.3, unit.4)).collect(),
        ),
        Ok(Err(error)) => {
            tracing::warn!(%error, "systemd does not list its units");
            None
        }
        Err(_) => {
            tracing::warn!("systemd did not list its units within {LIST_WITHIN:?}");
            None
        }
    }
}
