//! `/box`: what this box is, its clock, where its samples go, its backup, and the two resets.

use askama::Template;
use hyper::StatusCode;
use vakt_wire::http::{Request, Response};

use crate::account::csrf;
use crate::app::{App, Caller};
use crate::backend::init::{Machine, Reset};
use crate::backend::{Panel, unavailable};
use crate::error::PageError;
use crate::form::Form;
use crate::handlers::outside::{self, ClockPanel, ForwardLine};
use crate::page::{Shell, html};
use crate::{audit, clock};

#[derive(Template)]
#[template(path = "pages/box.html")]
struct BoxPage {
    shell: Shell,
    machine: Panel<Machine>,
    clock: Panel<ClockPanel>,
    forwards: Panel<Vec<ForwardLine>>,
    fingerprint: String,
    last_reset: String,
    problem: String,
}

#[derive(Template)]
#[template(path = "pages/goes_down.html")]
struct GoesDownPage {
    shell: Shell,
    everything: bool,
}

/// The page.
///
/// # Errors
/// [`PageError::Internal`].
pub async fn show(app: &App, caller: &Caller) -> Result<Response, PageError> {
    page(app, caller, StatusCode::OK, String::new()).await
}

pub(super) async fn page(
    app: &App,
    caller: &Caller,
    status: StatusCode,
    problem: String,
) -> Result<Response, PageError> {
    let behind = &app.backends;
    let (machine, standing, forwards) =
        tokio::join!(behind.init.machine(), behind.time.standing(), behind.egress.forwards());
    let machine = machine.map_err(|error| unavailable("init", &error));
    let forwards = forwards.map_err(|error| unavailable("egress", &error));
    let last = machine.as_ref().ok().and_then(|machine| machine.last_reset.as_ref());
    let page = BoxPage {
        shell: app.shell(caller, "This box", "box"),
        last_reset: last.map(|reset| told(reset, clock::now_s())).unwrap_or_default(),
        fingerprint: app.fingerprint.clone(),
        clock: standing.map(outside::clock).map_err(|error| unavailable("time", &error)),
        forwards: forwards.map(|places| places.into_iter().map(outside::forward).collect()),
        machine,
        problem,
    };
    html(status, &page)
}

/// `POST /box/reset`: `kind`, and the box' name as the person typed it.
///
/// # Errors
/// [`PageError::FormRefused`], [`PageError::FormTooLarge`], [`PageError::Internal`].
pub async fn reset(app: &App, caller: &Caller, request: Request) -> Result<Response, PageError> {
    let fetch_site = request.header("sec-fetch-site").map(str::to_owned);
    let form = Form::body(request).await.map_err(|_| PageError::FormTooLarge)?;
    let user = caller.session.as_ref().map_or("", |session| &session.user);
    if !csrf::accepts(Some(&caller.token), form.get("form_token"), fetch_site.as_deref()) {
        audit::decided("reset", user, caller.address, false, "form token");
        return Err(PageError::FormRefused);
    }
    match app.backends.init.reset(form.get("kind"), user, form.get("name")).await {
        Ok(()) => {
            audit::decided("reset", user, caller.address, true, "");
            let everything = form.get("kind") == "everything";
            let shell = app.shell(caller, "The box restarts", "");
            html(StatusCode::ACCEPTED, &GoesDownPage { shell, everything })
        }
        Err(error) => {
            audit::decided("reset", user, caller.address, false, "init");
            page(app, caller, StatusCode::UNPROCESSABLE_ENTITY, unavailable("init", &error)).await
        }
    }
}

/// A reset in a sentence. Pure.
pub fn told(reset: &Reset, now_s: i64) -> String {
    let what = if reset.kind == "everything" { "Everything was" } else { "The settings were" };
    let when = reset.done_s.map(|at_s| format!("{} ago, ", clock::span(now_s - at_s))).unwrap_or_default();
    format!("{what} reset {when}as {} asked.", reset.by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_told_with_who_asked_and_when() {
        let reset = Reset { kind: "settings".into(), by: "admin".into(), done_s: Some(40) };
        assert_eq!(told(&reset, 100), "The settings were reset 60 s ago, as admin asked.");
        let reset = Reset { kind: "everything".into(), by: "the console".into(), done_s: None };
        assert_eq!(told(&reset, 100), "Everything was reset as the console asked.");
    }
}
