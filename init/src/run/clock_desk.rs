//! The clock, for the time service: `GET /v1/clock` tells how it is steered, `POST /v1/clock` with a
//! [`Wish`] has it set or steered. What a service that reads strangers' packets may do to the clock is bounded here.

use vakt_wire::clock::{self, STEP_EVERY_MIN, Wish};
use vakt_wire::role::{Role, permits};

use super::answers::json;
use super::ctl::{Answer, Request, refusal};

/// When the clock was last set at once, on the boot clock.
#[derive(Debug, Default)]
pub struct ClockDesk {
    stepped_ms: Option<u64>,
}

impl ClockDesk {
    /// Answers a request below `/v1/clock`. `ours` is false in a container, whose clock is the host's.
    pub fn answer(&mut self, request: &Request, ours: bool, now_ms: u64, now_s: i64) -> Answer {
        let wish = match self.wished(request, ours, now_ms, now_s) {
            Ok(Some(wish)) => wish,
            Ok(None) => {
                return clock::look().map_or_else(
                    |error| refusal(500, &format!("the clock cannot be read: {error}")),
                    |timex| json(&timex),
                );
            }
            Err(answer) => return answer,
        };
        match wish.fulfil() {
            Ok(()) => {
                if matches!(wish, Wish::Step { .. }) {
                    self.stepped_ms = Some(now_ms);
                }
                Answer { status: 200, body: "{}".into() }
            }
            Err(error) => refusal(500, &format!("the clock cannot be set: {error}")),
        }
    }

    /// What is to be done, `None` for a look.
    fn wished(&self, request: &Request, ours: bool, now_ms: u64, now_s: i64) -> Result<Option<Wish>, Answer> {
        if !permits(request.uid, Role::Init.uid(), &[Role::Time]) {
            return Err(refusal(403, "only time may see and set the clock"));
        }
        if request.method == "GET" {
            return Ok(None);
        }
        if !ours {
            return Err(refusal(403, "the clock is the host's"));
        }
        let wish: Wish = serde_json::from_slice(&request.body).map_err(|error| {
            refusal(
                400,
                &format!("no wish for the clock: {error}; example: {{\"step\":{{\"offset_s\":1.5}}}}"),
            )
        })?;
        let soon = |at_ms: u64| now_ms.saturating_sub(at_ms) < STEP_EVERY_MIN.as_millis() as u64;
        if matches!(wish, Wish::Step { .. }) && self.stepped_ms.is_some_and(soon) {
            return Err(refusal(429, "the clock was set a moment ago; it is set once in 10 s"));
        }
        wish.judged(now_s).map(Some).map_err(|reason| refusal(422, &reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vakt_wire::clock::EARLIEST_S;

    const STEP: &str = r#"{"step":{"offset_s":3.5}}"#;

    fn asked(role: Role, method: &str, body: &str) -> Request {
        Request { method: method.into(), path: "/v1/clock".into(), body: body.into(), uid: role.uid() }
    }

    #[test]
    fn only_time_has_the_clock_set_and_only_where_it_is_the_machines() {
        let check = |request: Request, ours: bool, expected: Result<bool, u16>| {
            let said = ClockDesk::default().wished(&request, ours, 0, EARLIEST_S + 9);
            let said = said.map(|wish| wish.is_some()).map_err(|answer| answer.status);
            assert_eq!(said, expected, "{request:?} {ours}");
        };
        check(asked(Role::Time, "POST", STEP), true, Ok(true));
        check(asked(Role::Time, "GET", ""), false, Ok(false));
        check(asked(Role::Time, "POST", STEP), false, Err(403));
        check(asked(Role::Web, "POST", STEP), true, Err(403));
        check(asked(Role::Network, "GET", ""), true, Err(403));
        check(asked(Role::Time, "POST", "{}"), true, Err(400));
        check(asked(Role::Time, "POST", r#"{"step":{"offset_s":-10}}"#), true, Err(422));
        check(
            asked(Role::Time, "POST", r#"{"steer":{"offset_s":9,"error_s":1,"constant":2,"leap":0}}"#),
            true,
            Err(422),
        );
    }

    #[test]
    fn the_clock_is_set_once_in_ten_seconds_and_steered_at_any_time() {
        let desk = ClockDesk { stepped_ms: Some(5_000) };
        let said = |body: &str, now_ms: u64| {
            desk.wished(&asked(Role::Time, "POST", body), true, now_ms, EARLIEST_S + 9)
                .map(|_| ())
                .map_err(|answer| answer.status)
        };
        assert_eq!(said(STEP, 14_999), Err(429));
        assert_eq!(said(STEP, 15_000), Ok(()));
        assert_eq!(said(r#"{"steer":{"offset_s":0.1,"error_s":1,"constant":2,"leap":0}}"#, 5_001), Ok(()));
    }
}
