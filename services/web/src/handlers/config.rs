//! `/config`: the machine config, its changes and its history.

use askama::Template;
use hyper::{Method, StatusCode};
use similar::{ChangeTag, TextDiff};
use vakt_wire::http::{CallError, Request, Response, read};

use crate::account::csrf;
use crate::app::{App, Caller};
use crate::backend::config::{Forecast, Revision, State, Wish};
use crate::backend::{Panel, unavailable};
use crate::error::PageError;
use crate::form::Form;
use crate::page::{Shell, html, redirect};
use crate::{audit, clock};

/// A document of the largest size as a form sends it: three bytes for each that is escaped.
const FORM_BYTES_MAX: usize = 3 * vakt_wire::config::BYTES_MAX + (16 << 10);

/// Lines of a difference that are shown; a whole new document has no use for more.
const DIFF_LINES_MAX: usize = 400;

/// Unchanged lines around a change.
const CONTEXT_LINES: usize = 3;

/// Lengths of a trial that the page offers, in seconds.
const TRIALS: [(&str, &str); 4] = [
    ("", "only if it can lock me out (5 minutes)"),
    ("60", "within 1 minute"),
    ("300", "within 5 minutes"),
    ("3600", "within 1 hour"),
];

/// One line of a difference.
struct DiffLine {
    class: &'static str,
    sign: &'static str,
    text: String,
}

/// What "Check" found.
struct Checked {
    forecast: Forecast,
    diff: Vec<DiffLine>,
}

struct RevisionView {
    revision: Revision,
    time: String,
    datetime: String,
}

struct PendingView {
    number: u64,
    by: String,
    on_trial: bool,
    left: String,
    diff: Vec<DiffLine>,
}

#[derive(Template)]
#[template(path = "pages/config.html")]
struct ConfigPage {
    shell: Shell,
    state: Panel<State>,
    since: String,
    pending: Option<PendingView>,
    history: Panel<Vec<RevisionView>>,
    text: String,
    why: String,
    base: u64,
    trials: [(&'static str, &'static str); 4],
    problem: String,
    checked: Option<Checked>,
}

/// What somebody typed, to be shown again.
#[derive(Default)]
struct Typed {
    text: Option<String>,
    why: String,
    base: Option<u64>,
}

/// The page, or what its forms ask for.
///
/// # Errors
/// [`PageError::FormRefused`], [`PageError::FormTooLarge`], [`PageError::Internal`].
pub async fn answer(app: &App, caller: &Caller, request: Request) -> Result<Response, PageError> {
    if request.method() != Method::POST {
        return page(app, caller, StatusCode::OK, Typed::default(), String::new(), None).await;
    }
    let fetch_site = request.header("sec-fetch-site").map(str::to_owned);
    let body = read(request.body, FORM_BYTES_MAX).await.map_err(|_| PageError::FormTooLarge)?;
    let form = Form::parse(&String::from_utf8_lossy(&body));
    let user = caller.session.as_ref().map_or("", |session| &session.user);
    if !csrf::accepts(Some(&caller.token), form.get("form_token"), fetch_site.as_deref()) {
        audit::decided("config", user, caller.address, false, "form token");
        return Err(PageError::FormRefused);
    }
    send(app, caller, user, &form).await
}

async fn send(app: &App, caller: &Caller, user: &str, form: &Form) -> Result<Response, PageError> {
    // Browsers send line ends as CR LF.
    let text = form.get("text").replace("\r\n", "\n");
    let wish = Wish {
        text: Some(text.clone()).filter(|text| !text.is_empty()),
        by: user.to_owned(),
        why: form.get("why").to_owned(),
        base: form.get("base").parse().ok(),
        number: form.get("number").parse().ok(),
        confirm_within_s: form.get("confirm_within_s").parse().ok(),
    };
    let typed = Typed { text: wish.text.clone(), why: wish.why.clone(), base: wish.base };
    let verb = form.get("verb");
    let refused = |error: &CallError| unavailable("init", error);
    if verb == "validate" {
        let present = app.backends.config.state().await;
        return match (app.backends.config.validate(&wish).await, present) {
            (Ok(forecast), Ok(present)) => {
                let checked = Checked { forecast, diff: difference(&present.revision.text, &text) };
                page(app, caller, StatusCode::OK, typed, String::new(), Some(checked)).await
            }
            (Err(error), _) | (_, Err(error)) => {
                page(app, caller, StatusCode::UNPROCESSABLE_ENTITY, typed, refused(&error), None).await
            }
        };
    }
    if !["apply", "confirm", "take-back", "rollback"].contains(&verb) {
        return Err(PageError::FormRefused);
    }
    audit::decided("config", user, caller.address, true, "");
    match app.backends.config.change(verb, &wish).await {
        Ok(_) => Ok(redirect("/config")),
        Err(error) => page(app, caller, StatusCode::UNPROCESSABLE_ENTITY, typed, refused(&error), None).await,
    }
}

async fn page(
    app: &App,
    caller: &Caller,
    status: StatusCode,
    typed: Typed,
    problem: String,
    checked: Option<Checked>,
) -> Result<Response, PageError> {
    let (state, history) = tokio::join!(app.backends.config.state(), app.backends.config.history());
    let state = state.map_err(|error| unavailable("init", &error));
    let history = history
        .map_err(|error| unavailable("init", &error))
        .map(|revisions| revisions.into_iter().rev().map(revision_view).collect());
    let (text, base) = match &state {
        Ok(state) => (state.revision.text.clone(), state.settled),
        Err(_) => (String::new(), 0),
    };
    let view = ConfigPage {
        shell: app.shell(caller, "Machine config", "config"),
        since: state.as_ref().map(|state| clock::date_time(state.revision.at_s)).unwrap_or_default(),
        pending: state.as_ref().ok().and_then(pending_view),
        state,
        history,
        text: typed.text.unwrap_or(text),
        why: typed.why,
        base: typed.base.unwrap_or(base),
        trials: TRIALS,
        problem,
        checked,
    };
    html(status, &view)
}

fn revision_view(revision: Revision) -> RevisionView {
    RevisionView { time: clock::date_time(revision.at_s), datetime: clock::rfc3339(revision.at_s), revision }
}

fn pending_view(state: &State) -> Option<PendingView> {
    let pending = state.pending.as_ref()?;
    Some(PendingView {
        number: pending.revision.number,
        by: pending.revision.by.clone(),
        on_trial: pending.on_trial,
        left: clock::span(pending.seconds_left.unwrap_or(0)),
        // A staged change is compared with what is in force; one on trial is what is in force.
        diff: if pending.on_trial {
            Vec::new()
        } else {
            difference(&state.revision.text, &pending.revision.text)
        },
    })
}

/// The changed lines with a little around them. Pure.
fn difference(old: &str, new: &str) -> Vec<DiffLine> {
    let diff = TextDiff::from_lines(old, new);
    let mut lines = Vec::new();
    for (index, group) in diff.grouped_ops(CONTEXT_LINES).iter().enumerate() {
        if index > 0 {
            lines.push(DiffLine { class: "gap", sign: " ", text: "…".into() });
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let (class, sign) = match change.tag() {
                ChangeTag::Delete => ("gone", "-"),
                ChangeTag::Insert => ("new", "+"),
                ChangeTag::Equal => ("same", " "),
            };
            lines.push(DiffLine { class, sign, text: change.value().trim_end_matches('\n').to_owned() });
        }
    }
    if lines.len() > DIFF_LINES_MAX {
        lines.truncate(DIFF_LINES_MAX);
        lines.push(DiffLine { class: "gap", sign: " ", text: "… and more".into() });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(old: &str, new: &str) -> String {
        difference(old, new).iter().map(|line| format!("{}{}\n", line.sign, line.text)).collect()
    }

    #[test]
    fn a_difference_is_the_changed_lines_with_a_little_around_them() {
        let old = "a\nb\nc\nd\ne\nf\n";
        assert_eq!(shown(old, "a\nb\nc\nd\nX\nf\n"), " b\n c\n d\n-e\n+X\n f\n");
        assert_eq!(shown(old, old), "");
        assert_eq!(shown(old, "a\nb\nc\nd\ne\nf\n\u{1b}[2J\n"), " d\n e\n f\n+\u{1b}[2J\n");
    }

    #[test]
    fn a_difference_is_bounded() {
        let long: String = (0..2000).map(|line| format!("{line}\n")).collect();
        assert_eq!(difference("", &long).len(), DIFF_LINES_MAX + 1);
    }
}
