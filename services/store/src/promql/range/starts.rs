//! What the time at which a counter began tells of resets (OpenTelemetry's start times).

/// Whether a counter began anew between two samples, by their times and the starts of their counters (0: unknown).
pub(super) fn is_reset(before_start: i64, before: i64, start: i64, time: i64) -> bool {
    if start == 0 || start >= time || start < before {
        // Unknown, impossible or the same run.
        return false;
    }
    if start > before {
        return true;
    }
    // It starts at the sample before: a delta, unless that sample's own start is unknown or impossible.
    before_start < before && before_start != 0
}

/// Whether a counter's run reaches back into a run that is another one.
pub(super) fn overlaps(before_start: i64, before: i64, start: i64) -> bool {
    start != 0 && start < before && start != before_start
}

/// The words of such an overlap.
pub(super) fn overlap_text(name: &str) -> String {
    let text = "sample has start time that overlaps with previous sample timestamp";
    if name.is_empty() { text.to_owned() } else { format!("{text} for metric {name:?}") }
}
