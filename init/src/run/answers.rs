//! What init answers on its socket, and what follows from it.

use std::path::Path;

use vakt_wire::role::{Role, permits};

use super::ctl::{Answer, Request, refusal};
use super::machine::{Machine, STATE, goal_name};
use super::{config_desk, reset_desk, status};
use crate::slots::ends;
use crate::stage2::ENDS;
use crate::supervisor::{Event, Goal};
use crate::sys;

/// What a caller who asked for something else is told.
const KNOWN: &str = "init knows /v1/services, /v1/machine, /v1/boots, /v1/clock, /v1/config, /v1/slots, /v1/reset, /v1/backup, \
     /v1/restore and /v1/power";

impl Machine {
    /// Answers who has asked, and does what was asked for.
    pub(super) fn answer(&mut self) {
        // The connections are taken out so that answering may read everything else.
        let now = sys::now_ms();
        let mut wish = None;
        let mut effects = Vec::new();
        let (setting, slots, clock) = (&mut self.setting, &mut self.slots, &mut self.clock);
        let (supervisor, services, forward) = (&self.supervisor, &self.services, &self.forward);
        let handed = self.ctl.turn(now, |request| match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/v1/services") => {
                let quotas = setting.quotas.as_ref();
                json(&status::services(now, supervisor, services, &setting.cgroups, quotas))
            }
            ("GET", "/v1/machine") => {
                setting.status.lines_shed = forward.shed();
                setting.status.slot_why = slots.why();
                setting.status.last_rollback = slots.last_rollback().cloned();
                json(&setting.status)
            }
            ("POST", "/v1/power") => match power_wish(&request) {
                Ok(goal) => {
                    wish = Some((goal, format!("web asks to {}", goal_name(goal))));
                    Answer { status: 202, body: "{}".into() }
                }
                Err(answer) => answer,
            },
            ("GET" | "POST", path) if path.starts_with("/v1/config") => {
                let (answer, effect) = config_desk::answer(&mut setting.desk, &request, now, sys::unix_s());
                effects.extend(effect);
                answer
            }
            ("POST", "/v1/reset") => {
                let name = setting.desk.config().hostname.to_string();
                match reset_desk::take(&request, &name, Path::new(STATE), sys::unix_s()) {
                    Ok(taken) => {
                        wish =
                            Some((Goal::Reboot, format!("{} asks to reset {}", taken.by, taken.kind.name())));
                        Answer { status: 202, body: "{}".into() }
                    }
                    Err(answer) => answer,
                }
            }
            ("GET" | "POST", "/v1/clock") => {
                clock.answer(&request, setting.clock.is_some(), now, sys::unix_s())
            }
            ("GET", "/v1/slots") => slots.answer(),
            ("GET", "/v1/boots") if !permits(request.uid, Role::Init.uid(), &[Role::Web]) => {
                refusal(403, "only web may see what the kernel said")
            }
            ("GET", "/v1/boots") => json(&ends::load(Path::new(ENDS))),
            ("POST", "/v1/slots/clear" | "/v1/slots/stage") if !is_update(&request) => {
                refusal(403, "only update may change the slots")
            }
            ("POST", "/v1/slots/clear") => slots.clear(),
            ("POST", "/v1/slots/stage") => slots.stage(&request.body),
            _ => refusal(404, KNOWN),
        });
        handed.into_iter().for_each(|one| self.backups.take(one));
        for effect in effects {
            self.config_changed(&effect);
        }
        if let Some((goal, line)) = wish {
            self.say(&line);
            self.event(&Event::Stop(goal));
        }
    }
}

fn is_update(request: &Request) -> bool {
    permits(request.uid, Role::Init.uid(), &[Role::Update])
}

/// A value as the body of an answer.
pub(super) fn json(value: &impl serde::Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(body) => Answer { status: 200, body },
        Err(error) => refusal(400, &format!("cannot encode the answer: {error}")),
    }
}

fn power_wish(request: &Request) -> Result<Goal, Answer> {
    if !permits(request.uid, Role::Init.uid(), &[Role::Web]) {
        return Err(refusal(403, "only web may switch the machine off"));
    }
    let action = serde_json::from_slice::<serde_json::Value>(&request.body)
        .ok()
        .and_then(|body| body.get("action").and_then(|action| action.as_str().map(str::to_owned)));
    match action.as_deref() {
        Some("poweroff") => Ok(Goal::PowerOff),
        Some("reboot") => Ok(Goal::Reboot),
        _ => Err(refusal(400, "action must be \"poweroff\" or \"reboot\"; example: {\"action\":\"reboot\"}")),
    }
}
