//! The clock: what time it is, what drives it, and what the kernel's discipline says.

use crate::family::{Families, Family, Kind, label};
use crate::inputs::{Files, Inputs, SourceError};
use crate::scrape::text::{Format, samples};

/// What time reads.
pub const TIME: &[Files] = &[Files {
    folder: "/sys/devices/system/clocksource/clocksource*",
    names: &["available_clocksource=", "current_clocksource"],
}];

/// `node_time_seconds`, the zone and the clock sources.
///
/// # Errors
/// When the clock was not asked.
pub fn time(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    let now = inputs.now.ok_or_else(|| SourceError::Other("the time is not known".into()))?;
    let mut families = Families::default();
    families.gauge("node_time_seconds", "System time in seconds since epoch (1970).", Vec::new(), now);
    if let Some((east, name)) = &inputs.zone {
        let help = "System time zone offset in seconds.";
        families.gauge("node_time_zone_offset_seconds", help, vec![label("time_zone", name)], *east as f64);
    }
    for device in inputs.devices("/sys/devices/system/clocksource/", "clocksource") {
        let number = device.name.trim_start_matches("clocksource");
        let mut add = |name: &'static str, help: &'static str, source: &str| {
            families.gauge(name, help, vec![label("clocksource", source), label("device", number)], 1.0);
        };
        for source in device.text("available_clocksource").unwrap_or_default().split_whitespace() {
            let help = "Available clocksources read from '/sys/devices/system/clocksource'.";
            add("node_time_clocksource_available_info", help, source);
        }
        if let Some(source) = device.text("current_clocksource") {
            let help = "Current clocksource read from '/sys/devices/system/clocksource'.";
            add("node_time_clocksource_current_info", help, source);
        }
    }
    Ok(families.done())
}

/// STA_NANO (include/uapi/linux/timex.h): offset and jitter are in nanoseconds.
const STATUS_NANO: i64 = 0x2000;

/// Frequencies are parts per million with 16 binary places (adjtimex(2), notes).
const PPM_SCALED: f64 = 1e6 * 65536.0;

/// `node_timex_*`.
///
/// # Errors
/// Absent where the kernel was not asked: only the machine itself can be. An error when what the time service says is none
/// of them.
pub fn timex(inputs: &Inputs) -> Result<Vec<Family>, SourceError> {
    if let Some(text) = &inputs.clock_text {
        return told(text);
    }
    let clock = inputs.clock.ok_or(SourceError::Absent("adjtimex from afar"))?;
    let [
        offset,
        freq,
        maxerror,
        esterror,
        status,
        constant,
        tick,
        ppsfreq,
        jitter,
        shift,
        stabil,
        counts @ ..,
    ] = clock.fields.map(|field| field as f64);
    let [jitcnt, calcnt, errcnt, stbcnt, tai] = counts;
    let divisor = if clock.fields[4] & STATUS_NANO == 0 { 1e6 } else { 1e9 };
    let gauge = |name, help, value| Family::gauge(name, help, value);
    let count = |name, help, value| Family::new(name, Kind::Counter, help).with(Vec::new(), value);
    Ok(vec![
        gauge("node_timex_estimated_error_seconds", "Estimated error in seconds.", esterror / 1e6),
        gauge(
            "node_timex_frequency_adjustment_ratio",
            "Local clock frequency adjustment.",
            1.0 + freq / PPM_SCALED,
        ),
        gauge("node_timex_loop_time_constant", "Phase-locked loop time constant.", constant),
        gauge("node_timex_maxerror_seconds", "Maximum error in seconds.", maxerror / 1e6),
        gauge(
            "node_timex_offset_seconds",
            "Time offset in between local system and reference clock.",
            offset / divisor,
        ),
        count("node_timex_pps_calibration_total", "Pulse per second count of calibration intervals.", calcnt),
        count("node_timex_pps_error_total", "Pulse per second count of calibration errors.", errcnt),
        gauge("node_timex_pps_frequency_hertz", "Pulse per second frequency.", ppsfreq / PPM_SCALED),
        gauge("node_timex_pps_jitter_seconds", "Pulse per second jitter.", jitter / divisor),
        count(
            "node_timex_pps_jitter_total",
            "Pulse per second count of jitter limit exceeded events.",
            jitcnt,
        ),
        gauge("node_timex_pps_shift_seconds", "Pulse per second interval duration.", shift),
        count(
            "node_timex_pps_stability_exceeded_total",
            "Pulse per second count of stability limit exceeded events.",
            stbcnt,
        ),
        gauge(
            "node_timex_pps_stability_hertz",
            "Pulse per second stability, average of recent frequency changes.",
            stabil / PPM_SCALED,
        ),
        gauge("node_timex_status", "Value of the status array bits.", status),
        gauge(
            "node_timex_sync_status",
            "Is clock synchronized to a reliable server (1 = yes, 0 = no).",
            f64::from(u8::from(clock.synchronised)),
        ),
        gauge("node_timex_tai_offset_seconds", "International Atomic Time (TAI) offset.", tai),
        gauge("node_timex_tick_seconds", "Seconds between clock ticks.", tick / 1e6),
    ])
}

/// The metrics of this source in what the time service says.
fn told(text: &str) -> Result<Vec<Family>, SourceError> {
    let found =
        samples(text, Format::Plain).map_err(|error| SourceError::Other(format!("time service: {error}")))?;
    let mut families = Families::default();
    for sample in
        found.iter().filter(|sample| sample.name.starts_with("node_timex_") && sample.labels.is_empty())
    {
        let kind = if sample.name.ends_with("_total") { Kind::Counter } else { Kind::Gauge };
        families.add(sample.name.to_string(), kind, "As the time service says.", Vec::new(), sample.value);
    }
    families.or_absent("the clock's discipline, of which the time service says nothing,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_room_the_time_services_numbers_are_taken_and_no_others() {
        let text = "# TYPE node_timex_status gauge\nnode_timex_status 64\nvakt_time_x 1\nnode_timex_pps_error_total 2\n";
        let said = |text: &str| timex(&Inputs { clock_text: Some(text.into()), ..Inputs::default() });
        let families = said(text).unwrap();
        let shown: Vec<_> =
            families.iter().map(|family| (&*family.name, family.kind, family.rows[0].value)).collect();
        assert_eq!(
            shown,
            [("node_timex_status", Kind::Gauge, 64.0), ("node_timex_pps_error_total", Kind::Counter, 2.0)]
        );
        assert!(matches!(said("vakt_time_x 1\n"), Err(SourceError::Absent(_))));
        assert!(matches!(said("x{ 1\n"), Err(SourceError::Other(_))));
    }
}
