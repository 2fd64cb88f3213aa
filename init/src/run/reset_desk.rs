//! A reset asked for over init's socket, by web alone: `POST /v1/reset` with `{"kind","by","name"}`.

use std::path::Path;

use serde::Deserialize;
use vakt_wire::role::{Role, permits};

use super::ctl::{Answer, Request, refusal};
use crate::reset::{self, Kind, Reset};

/// Characters of who asks that are kept.
const BY_CHARS_MAX: usize = 200;

/// The body. `name` is the box' name as the person typed it: nobody resets another box than they mean.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    kind: Kind,
    by: String,
    name: String,
}

/// Judges the request and writes the wish down below `state`; the machine is to restart then.
///
/// # Errors
/// The refusal to answer with; nothing will be reset.
pub fn take(request: &Request, hostname: &str, state: &Path, at_s: i64) -> Result<Reset, Answer> {
    if !permits(request.uid, Role::Init.uid(), &[Role::Web]) {
        return Err(refusal(403, "only web may ask for a reset"));
    }
    let asked: Asked = serde_json::from_slice(&request.body).map_err(|error| {
        let example = r#"{"kind":"settings","by":"admin","name":"vakt"}"#;
        refusal(400, &format!("the body asks for no reset: {error}; example: {example}"))
    })?;
    if asked.name.trim() != hostname {
        return Err(refusal(422, &format!("the box is called {hostname}; type that name to confirm")));
    }
    let by = asked.by.chars().take(BY_CHARS_MAX).collect();
    let wish = Reset { kind: asked.kind, by, at_s, done_s: None };
    match reset::ask(state, &wish) {
        Ok(()) => Ok(wish),
        Err(error) => Err(refusal(507, &format!("nothing was reset: {error:#}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uid: u32, body: &str, status: u16) {
        let state = tempfile::tempdir().unwrap();
        std::fs::create_dir(state.path().join("init")).unwrap();
        let request = Request { method: "POST".into(), path: "/v1/reset".into(), body: body.into(), uid };
        let taken = take(&request, "guard", state.path(), 7);
        let said = taken.as_ref().map_or_else(|answer| answer.status, |_| 202);
        assert_eq!(said, status, "{body}");
        let written = state.path().join("init/reset.json").exists();
        assert_eq!(written, status == 202, "{body}");
    }

    #[test]
    fn only_web_resets_and_only_the_box_whose_name_was_typed() {
        let (web, log) = (Role::Web.uid(), Role::Log.uid());
        check(web, r#"{"kind":"everything","by":"admin","name":"guard"}"#, 202);
        check(web, r#"{"kind":"settings","by":"admin","name":" guard\n"}"#, 202);
        check(web, r#"{"kind":"settings","by":"admin","name":"other"}"#, 422);
        check(web, r#"{"kind":"all","by":"admin","name":"guard"}"#, 400);
        check(log, r#"{"kind":"settings","by":"admin","name":"guard"}"#, 403);
    }
}
