//! systemd's units and their states, with node_exporter's names.

use crate::family::{Families, Family, label};
use crate::inputs::{Files, Inputs, SourceError};

/// systemd reads no files: the list comes over D-Bus, or from `systemctl` on a peer.
pub const UNITS: &[Files] = &[];

/// Kinds of units that are not shown, as in node_exporter's default.
const KINDS_LEFT_OUT: [&str; 6] = ["automount", "device", "mount", "scope", "slice", "target"];

/// A unit's states (org.freedesktop.systemd1, ActiveState).
const STATES: [&str; 5] = ["activating", "active", "deactivating", "failed", "inactive"];

/// Units that are shown at most; a machine has some 150.
const UNITS_MAX: usize = 1000;

/// `node_systemd_unit_state` for every unit that is loaded, `node_systemd_units` for how many are in each state.
///
/// # Errors
/// Absent where systemd does not run.
pub fn systemd(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let text = inputs.units.as_deref().ok_or(SourceError::Absent("systemd"))?;
    let mut families = Families::default();
    let mut counts = STATES.map(|state| (state, 0.0));
    for line in text.lines().take(UNITS_MAX) {
        let mut words = line.split_whitespace();
        let (Some(name), Some(load), Some(active)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if let Some((_, count)) = counts.iter_mut().find(|(state, _)| *state == active) {
            *count += 1.0;
        }
        let kind = name.rsplit_once('.').map_or("", |(_, kind)| kind);
        if load != "loaded" || KINDS_LEFT_OUT.contains(&kind) {
            continue;
        }
        for state in STATES {
            let labels = vec![label("name", name), label("state", state)];
            let help = "Systemd unit";
            families.gauge("node_systemd_unit_state", help, labels, f64::from(u8::from(state == active)));
        }
    }
    for (state, count) in counts {
        families.gauge(
            "node_systemd_units",
            "Summary of systemd unit states",
            vec![label("state", state)],
            count,
        );
    }
    Ok(families.done())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_in_one_state_and_kinds_without_a_process_are_only_counted() {
        let text = "ssh.service loaded active running\nx.service loaded failed failed\ny.service not-found inactive dead\n\
                    -.mount loaded active mounted\nnoise\n";
        let inputs = Inputs { units: Some(text.into()), ..Inputs::default() };
        let families = systemd(&inputs).unwrap();
        let value = |family: usize, labels: &[&str]| {
            let matches = |row: &&crate::family::Row| row.labels.iter().zip(labels).all(|((_, v), l)| v == l);
            families[family].rows.iter().find(matches).unwrap().value
        };
        assert_eq!((value(0, &["ssh.service", "active"]), value(0, &["ssh.service", "failed"])), (1.0, 0.0));
        assert_eq!((value(0, &["x.service", "failed"]), families[0].rows.len()), (1.0, 10));
        assert_eq!((value(1, &["active"]), value(1, &["inactive"]), value(1, &["failed"])), (2.0, 1.0, 1.0));
        assert!(systemd(&Inputs::default()).is_err());
    }
}
