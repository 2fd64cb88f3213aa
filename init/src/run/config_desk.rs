//! The machine config over init's socket: read, check, apply, confirm, undo. For web alone.

use std::borrow::Cow;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};
use vakt_wire::config::{self, Hostname};
use vakt_wire::role::{Role, permits};

use super::answers::json;
use super::ctl::{Answer, Request, refusal};
use super::status::MachineStatus;
use crate::child;
use crate::ledger::desk::{Desk, Effect, Problem};
use crate::ledger::{Effective, Refusal, Revision, Wish, secrets};
use crate::machine::config::write_hosts;
use crate::sandbox::{ETC, RUN};

/// Characters of a name or a reason that are kept.
const WORDS_CHARS_MAX: usize = 200;

/// The body of every POST here; each path reads what it needs.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    text: Option<String>,
    by: String,
    why: String,
    base: Option<u64>,
    number: Option<u64>,
    confirm_within_s: Option<u32>,
    effective: Effective,
}

/// Answers a request below `/v1/config`, with what is to be done then.
pub fn answer(desk: &mut Desk, request: &Request, now_ms: u64, at_s: i64) -> (Answer, Option<Effect>) {
    if !permits(request.uid, Role::Init.uid(), &[Role::Web]) {
        return (refusal(403, "only web may see and change the config"), None);
    }
    let rest = request.path.strip_prefix("/v1/config").unwrap_or_default();
    if request.method == "GET" {
        return (read(desk, rest, now_ms), None);
    }
    let asked = match serde_json::from_slice::<Asked>(&request.body) {
        Ok(asked) => asked,
        Err(error) => return (refusal(400, &format!("the request is no such JSON: {error}")), None),
    };
    match change(desk, rest, asked, now_ms, at_s) {
        Ok((answer, effect)) => (answer, effect),
        Err(problem) => (refused(&problem), None),
    }
}

/// Brings the machine itself to the config: its name, and what the pages show of it.
///
/// # Errors
/// When the kernel does not take the name, or hosts(5) cannot be written.
pub fn adopt(desk: &Desk, status: &mut MachineStatus) -> anyhow::Result<()> {
    let config = desk.config();
    status.config_refused = desk.refused().map(str::to_owned);
    status.ssh_public_keys =
        desk.public_keys().iter().map(|(purpose, key)| ((*purpose).to_owned(), key.clone())).collect();
    take_name(&config.hostname, status)
}

/// Gives the machine another name until the config is adopted again.
///
/// # Errors
/// When the kernel does not take it, or hosts(5) cannot be written.
pub fn take_name(name: &Hostname, status: &mut MachineStatus) -> anyhow::Result<()> {
    rustix::system::sethostname(name.as_str().as_bytes()).context("cannot set the host name")?;
    status.hostname = name.to_string();
    write_hosts(Path::new(ETC), name)
}

/// Copies the ledger to the catalog, by a child that PID 1 reaps without waiting for it.
///
/// # Errors
/// When the child cannot be started.
pub fn mirror(desk: &Desk) -> anyhow::Result<()> {
    let store = format!("{RUN}/store/http.sock");
    let words = vec!["vakt-init".into(), "mirror".into(), desk.file().display().to_string(), store];
    child::start(child::OURSELVES, words, None).context("cannot copy the config to the catalog")?;
    Ok(())
}

fn read(desk: &Desk, rest: &str, now_ms: u64) -> Answer {
    let ledger = desk.ledger();
    let revision = |revision: &Revision| {
        json!({
            "number": revision.number, "at_s": revision.at_s, "by": revision.by, "why": revision.why,
            "undone": revision.undone, "in_force": revision.number == ledger.in_force().number,
        })
    };
    let with_text = |found: &Revision| {
        let mut value = revision(found);
        // As today's version has it, so that what is read can be changed and applied; what cannot be read, as it is.
        let now = config::current(&found.text).unwrap_or(Cow::Borrowed(&found.text));
        value["text"] = Value::from(secrets::hide(&now));
        value["version"] = json!(config::version(&found.text).ok());
        value
    };
    match rest {
        "" => {
            let mut value = with_text(ledger.in_force());
            value["refused"] = json!(desk.refused());
            value["settled"] = json!(ledger.settled().number);
            value["pending"] = ledger.pending().map_or(Value::Null, |pending| {
                let mut value = with_text(&pending.revision);
                value["on_trial"] = json!(pending.on_trial);
                value["confirm_within_s"] = json!(pending.confirm_within_s);
                value["seconds_left"] = json!(desk.trial_left_s(now_ms));
                value
            });
            json(&value)
        }
        "/history" => {
            json(&json!({ "revisions": ledger.revisions().iter().map(revision).collect::<Vec<_>>() }))
        }
        other => {
            let number = other.strip_prefix("/history/").and_then(|number| number.parse::<u64>().ok());
            match ledger.revisions().iter().find(|revision| Some(revision.number) == number) {
                Some(found) => json(&with_text(found)),
                None => refusal(404, "no such revision is kept; GET /v1/config/history lists them"),
            }
        }
    }
}

fn change(
    desk: &mut Desk,
    rest: &str,
    asked: Asked,
    now_ms: u64,
    at_s: i64,
) -> Result<(Answer, Option<Effect>), Problem> {
    let by: String = asked.by.chars().take(WORDS_CHARS_MAX).collect();
    let needs = |what: &str| Ok((refusal(400, &format!("{what} is missing")), None));
    let done = |effect: Effect| (accepted(&json!({ "restarts": names(&effect) })), Some(effect));
    let wish = |text: String| Wish {
        text,
        by: by.clone(),
        why: asked.why.chars().take(WORDS_CHARS_MAX).collect(),
        at_s,
        base: asked.base,
        confirm_within_s: asked.confirm_within_s,
        effective: asked.effective,
    };
    match (rest, asked.text, asked.number) {
        ("/validate" | "/apply", None, _) => needs("text"),
        ("/confirm" | "/rollback", _, None) => needs("number"),
        ("/validate", Some(text), _) => {
            let text = secrets::restore(&text, &desk.ledger().in_force().text);
            Ok((json(&desk.forecast(&text)?), None))
        }
        ("/apply", Some(text), _) => {
            let text = secrets::restore(&text, &desk.ledger().in_force().text);
            apply(desk, wish(text), now_ms)
        }
        ("/rollback", _, Some(number)) => {
            let found = desk.ledger().revisions().iter().find(|revision| revision.number == number);
            match found.map(|revision| revision.text.clone()) {
                Some(text) => apply(desk, wish(text), now_ms),
                None => Ok((refusal(404, &format!("revision {number} is not kept any more")), None)),
            }
        }
        ("/confirm", _, Some(number)) => Ok(done(desk.confirm(number, &by, now_ms)?)),
        ("/take-back", ..) => Ok(done(desk.take_back(&by, now_ms)?)),
        _ => Ok((
            refusal(404, "init knows validate, apply, confirm, rollback and take-back below /v1/config"),
            None,
        )),
    }
}

fn apply(desk: &mut Desk, wish: Wish, now_ms: u64) -> Result<(Answer, Option<Effect>), Problem> {
    let Some((number, effect)) = desk.apply(wish, now_ms)? else {
        return Ok((json(&json!({ "number": desk.ledger().settled().number, "unchanged": true })), None));
    };
    let confirm_within_s = desk.ledger().pending().map(|pending| pending.confirm_within_s);
    let answer =
        json!({ "number": number, "confirm_within_s": confirm_within_s, "restarts": names(&effect) });
    Ok((accepted(&answer), Some(effect)))
}

fn names(effect: &Effect) -> Vec<&'static str> {
    effect.restart.iter().map(|role| role.name()).collect()
}

fn accepted(value: &Value) -> Answer {
    Answer { status: 202, body: value.to_string() }
}

fn refused(problem: &Problem) -> Answer {
    let status = match problem {
        Problem::Config(_) | Problem::Refused(Refusal::Trial(_) | Refusal::BootUnconfirmed) => 422,
        Problem::Refused(_) => 409,
        Problem::Disk(_) => 507,
    };
    refusal(status, &problem.to_string())
}
