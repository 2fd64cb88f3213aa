//! The life of an alert: pending, firing, resolved. Pure: times and results in, states out.

use crate::series::Labels;

/// How long a resolved alert is still shown, in milliseconds (Prometheus' `resolvedRetention`).
const RESOLVED_MS: i64 = 15 * 60_000;

/// Where an alert is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its cause is not there long enough.
    Pending,
    /// It fires.
    Firing,
    /// Its cause is gone.
    Resolved,
}

impl State {
    /// Prometheus' word for it.
    pub fn name(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Firing => "firing",
            State::Resolved => "inactive",
        }
    }
}

/// An alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Its labels, `alertname` among them; they tell it from others.
    pub labels: Labels,
    /// Texts for people.
    pub annotations: Vec<(String, String)>,
    /// The value that its rule gave last.
    pub value: f64,
    /// Where it is in its life.
    pub state: State,
    /// Since when its cause is there, in milliseconds since the epoch.
    pub active_at: i64,
    /// Since when it fires although its cause is gone.
    pub kept_since: Option<i64>,
    /// When it was resolved.
    pub resolved_at: Option<i64>,
}

/// One series that an alerting rule's query gave.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    pub(super) labels: Labels,
    pub(super) annotations: Vec<(String, String)>,
    pub(super) value: f64,
}

/// Brings a rule's alerts to `now` (milliseconds since the epoch).
pub(super) fn advance(alerts: &mut Vec<Alert>, causes: Vec<Cause>, now: i64, for_ms: i64, keep_ms: i64) {
    let mut there: Vec<bool> = vec![false; alerts.len()];
    for cause in causes {
        let Cause { labels, annotations, value } = cause;
        let known = alerts.iter().position(|alert| alert.labels == labels);
        let fresh = Alert {
            labels,
            annotations,
            value,
            state: State::Pending,
            active_at: now,
            kept_since: None,
            resolved_at: None,
        };
        match known {
            Some(at) if alerts[at].state != State::Resolved => {
                let alert = &mut alerts[at];
                (alert.value, alert.annotations, alert.kept_since) = (fresh.value, fresh.annotations, None);
                there[at] = true;
            }
            Some(at) => {
                alerts[at] = fresh;
                there[at] = true;
            }
            None => {
                alerts.push(fresh);
                there.push(true);
            }
        }
    }
    let mut there = there.into_iter();
    alerts.retain_mut(|alert| {
        if there.next().unwrap_or(false) {
            if alert.state == State::Pending && now - alert.active_at >= for_ms {
                alert.state = State::Firing;
            }
            return true;
        }
        gone(alert, now, keep_ms)
    });
}

/// What becomes of an alert without its cause; whether it is still to be known.
fn gone(alert: &mut Alert, now: i64, keep_ms: i64) -> bool {
    match alert.state {
        State::Pending => false,
        State::Firing => {
            if keep_ms > 0 && now - *alert.kept_since.get_or_insert(now) < keep_ms {
                return true;
            }
            (alert.state, alert.resolved_at, alert.kept_since) = (State::Resolved, Some(now), None);
            true
        }
        State::Resolved => alert.resolved_at.is_some_and(|at| now - at <= RESOLVED_MS),
    }
}

/// Since when an alert is active, when it was seen active since `active_at` at `seen_at`, before a restart. One that fired
/// fires on; for one that was pending, the time that nobody looked does not count.
pub(super) fn restored(active_at: i64, seen_at: i64, now: i64, for_ms: i64) -> i64 {
    if seen_at - active_at >= for_ms { active_at } else { active_at + (now - seen_at).max(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn cause(job: &str) -> Cause {
        Cause { labels: [("job", job)].into_iter().collect(), annotations: Vec::new(), value: 1.0 }
    }

    /// Runs an evaluation a minute: for each the jobs that are bad and the states expected after it.
    fn check(for_ms: i64, keep_ms: i64, steps: &[(&[&str], &str)]) {
        let mut alerts = Vec::new();
        for (minute, (jobs, expected)) in steps.iter().enumerate() {
            let causes = jobs.iter().map(|job| cause(job)).collect();
            advance(&mut alerts, causes, minute as i64 * MINUTE, for_ms, keep_ms);
            let states: Vec<_> = alerts
                .iter()
                .map(|alert| format!("{} {}", alert.labels.get("job"), alert.state.name()))
                .collect();
            assert_eq!(states.join(", "), *expected, "minute {minute}");
        }
    }

    #[test]
    fn an_alert_without_for_fires_at_once_and_is_resolved_when_its_cause_is_gone() {
        check(0, 0, &[(&["a"], "a firing"), (&["a"], "a firing"), (&[], "a inactive"), (&["a"], "a firing")]);
    }

    #[test]
    fn an_alert_is_pending_for_its_time_and_forgotten_when_its_cause_goes_before() {
        let (a, b): (&[&str], &[&str]) = (&["a"], &["a", "b"]);
        check(
            2 * MINUTE,
            0,
            &[(a, "a pending"), (b, "a pending, b pending"), (a, "a firing"), (&[], "a inactive")],
        );
        check(
            2 * MINUTE,
            0,
            &[(a, "a pending"), (&[], ""), (a, "a pending"), (a, "a pending"), (a, "a firing")],
        );
    }

    #[test]
    fn a_kept_alert_fires_on_for_its_time() {
        let a: &[&str] = &["a"];
        let keep = 2 * MINUTE;
        check(0, keep, &[(a, "a firing"), (&[], "a firing"), (&[], "a firing"), (&[], "a inactive")]);
        check(
            0,
            keep,
            &[(a, "a firing"), (&[], "a firing"), (a, "a firing"), (&[], "a firing"), (&[], "a firing")],
        );
    }

    #[test]
    fn a_resolved_alert_is_shown_for_a_quarter_of_an_hour() {
        let mut alerts = Vec::new();
        advance(&mut alerts, vec![cause("a")], 0, 0, 0);
        advance(&mut alerts, Vec::new(), MINUTE, 0, 0);
        advance(&mut alerts, Vec::new(), 16 * MINUTE, 0, 0);
        assert_eq!(alerts.len(), 1);
        advance(&mut alerts, Vec::new(), 17 * MINUTE, 0, 0);
        assert_eq!(alerts.len(), 0);
    }

    #[test]
    fn a_restart_neither_ends_nor_hastens_an_alert() {
        let for_ms = 10 * MINUTE;
        // It fired already.
        assert_eq!(restored(0, 12 * MINUTE, 30 * MINUTE, for_ms), 0);
        // Four of ten minutes had passed; they still have.
        assert_eq!(restored(0, 4 * MINUTE, 30 * MINUTE, for_ms), 26 * MINUTE);
        // A clock that went back adds nothing.
        assert_eq!(restored(0, 4 * MINUTE, 3 * MINUTE, for_ms), 0);
    }
}
