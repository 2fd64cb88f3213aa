//! `/welcome`: after the administrator was made, the rest of a first set-up: the box' name, its network, the first peer.
//!
//! Where it stands is a document of the catalog (`settings/welcome`), so that it goes on after a restart, on another
//! browser, or never. Each step is an ordinary change of the machine config; what can lock out is on trial.

use askama::Template;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use vakt_wire::config::edit::{self, NewPeer, StaticAddress};
use vakt_wire::http::{Request, Response};

use crate::account::csrf;
use crate::app::{App, Caller};
use crate::audit;
use crate::backend::config::{State, Wish};
use crate::backend::{Panel, unavailable};
use crate::error::PageError;
use crate::form::Form;
use crate::page::{Shell, html, redirect};

/// Where the catalog holds it.
const TABLE: &str = "settings";
const KEY: &str = "welcome";

/// A step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// What the box is called.
    #[default]
    Name,
    /// How it is reached.
    Network,
    /// What it watches first.
    Peer,
}

impl Step {
    fn next(self) -> Option<Step> {
        match self {
            Step::Name => Some(Step::Network),
            Step::Network => Some(Step::Peer),
            Step::Peer => None,
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Place {
    step: Step,
}

#[derive(Template)]
#[template(path = "pages/welcome.html")]
struct WelcomePage {
    shell: Shell,
    step: Step,
    state: Panel<State>,
    keys: Vec<(String, String)>,
    typed: Form,
    problem: String,
    /// Where the box answers if the change on trial works.
    elsewhere: String,
}

/// Begins it, for a box that was just set up.
pub async fn begin(app: &App) {
    // Without it the box works all the same; the pages Config and Box do what this one does.
    if let Err(error) = app.sessions.catalog().put(TABLE, KEY, &Place::default()).await {
        tracing::warn!(%error, "the rest of the set-up is not offered");
    }
}

/// Whether there is something left of it.
pub async fn is_open(app: &App) -> bool {
    matches!(app.sessions.catalog().get::<Place>(TABLE, KEY).await, Ok(Some(_)))
}

/// The page, or what its forms ask for.
///
/// # Errors
/// [`PageError::FormRefused`], [`PageError::FormTooLarge`], [`PageError::Internal`].
pub async fn answer(app: &App, caller: &Caller, request: Request) -> Result<Response, PageError> {
    let place = app.sessions.catalog().get::<Place>(TABLE, KEY).await;
    let Ok(Some(Place { step })) = place else { return Ok(redirect("/")) };
    if request.method() != Method::POST {
        return page(app, caller, step, Form::default(), String::new(), String::new()).await;
    }
    let fetch_site = request.header("sec-fetch-site").map(str::to_owned);
    let form = Form::body(request).await.map_err(|_| PageError::FormTooLarge)?;
    if !csrf::accepts(Some(&caller.token), form.get("form_token"), fetch_site.as_deref()) {
        return Err(PageError::FormRefused);
    }
    match form.get("verb") {
        "end" => go(app, None).await,
        "skip" => go(app, step.next()).await,
        "keep" | "undo" => settle(app, caller, step, &form).await,
        _ => apply(app, caller, step, form).await,
    }
}

/// On to a step, or to the end.
async fn go(app: &App, next: Option<Step>) -> Result<Response, PageError> {
    note(app, next).await;
    Ok(redirect(if next.is_some() { "/welcome" } else { "/" }))
}

/// Writes down where it stands.
async fn note(app: &App, next: Option<Step>) {
    let catalog = app.sessions.catalog();
    let done = match next {
        Some(step) => catalog.put(TABLE, KEY, &Place { step }).await,
        None => catalog.delete(TABLE, KEY).await,
    };
    if let Err(error) = done {
        tracing::warn!(%error, "cannot write down where the set-up stands");
    }
}

/// A change on trial is kept or undone.
async fn settle(app: &App, caller: &Caller, step: Step, form: &Form) -> Result<Response, PageError> {
    let keep = form.get("verb") == "keep";
    let wish = Wish { by: user(caller), number: form.get("number").parse().ok(), ..Wish::default() };
    audit::decided("config", &wish.by, caller.address, true, "");
    match app.backends.config.change(if keep { "confirm" } else { "take-back" }, &wish).await {
        Ok(_) => go(app, if keep { step.next() } else { Some(step) }).await,
        Err(error) => {
            page(app, caller, step, Form::default(), unavailable("init", &error), String::new()).await
        }
    }
}

async fn apply(app: &App, caller: &Caller, step: Step, form: Form) -> Result<Response, PageError> {
    let state = match app.backends.config.state().await {
        Ok(state) => state,
        Err(error) => return page(app, caller, step, form, unavailable("init", &error), String::new()).await,
    };
    let text = match changed(step, &state.revision.text, &form) {
        Ok(text) => text,
        Err(problem) => return page(app, caller, step, form, problem, String::new()).await,
    };
    let why = "the first set-up".to_owned();
    let wish = Wish { text: Some(text), by: user(caller), why, base: Some(state.settled), ..Wish::default() };
    audit::decided("config", &wish.by, caller.address, true, "");
    if step == Step::Name {
        // Before the change: a new name restarts the store too, which could not take it then.
        note(app, step.next()).await;
    }
    match app.backends.config.change("apply", &wish).await {
        Ok(_) if step == Step::Name => Ok(redirect("/welcome")),
        // The page says it, for at its present address the box may not answer a moment later.
        Ok(said) if !said["confirm_within_s"].is_null() => {
            let host = form.get("address").split('/').next().unwrap_or_default();
            let elsewhere = match form.get("how") {
                "static" if host.contains(':') => format!("https://[{host}]/welcome"),
                "static" => format!("https://{host}/welcome"),
                _ => String::new(),
            };
            page(app, caller, step, form, String::new(), elsewhere).await
        }
        Ok(_) if step == Step::Peer => go(app, Some(Step::Peer)).await,
        Ok(_) => go(app, step.next()).await,
        Err(error) => {
            note(app, Some(step)).await;
            page(app, caller, step, form, unavailable("init", &error), String::new()).await
        }
    }
}

/// The document as a step's form changes it. Pure; init judges it.
fn changed(step: Step, text: &str, form: &Form) -> Result<String, String> {
    let field = |name: &str| form.get(name).trim();
    let changed = match (step, form.get("how")) {
        (Step::Name, _) => edit::set_hostname(text, field("hostname")),
        (Step::Network, "static") => edit::set_static(
            text,
            &StaticAddress {
                interface: field("interface"),
                address: field("address"),
                gateway: field("gateway"),
                dns: field("dns"),
            },
        ),
        (Step::Network, _) => edit::set_dhcp(text),
        (Step::Peer, _) => edit::add_peer(
            text,
            &NewPeer { name: field("name"), address: field("address"), host_key: field("host_key") },
        ),
    };
    changed.map_err(|error| error.to_string())
}

async fn page(
    app: &App,
    caller: &Caller,
    step: Step,
    typed: Form,
    problem: String,
    elsewhere: String,
) -> Result<Response, PageError> {
    let (state, machine) = tokio::join!(app.backends.config.state(), app.backends.init.machine());
    let status = if problem.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let page = WelcomePage {
        shell: app.shell(caller, "Set up this box", "overview"),
        step,
        state: state.map_err(|error| unavailable("init", &error)),
        keys: machine.map(|machine| machine.ssh_public_keys.into_iter().collect()).unwrap_or_default(),
        typed,
        problem,
        elsewhere,
    };
    html(status, &page)
}

fn user(caller: &Caller) -> String {
    caller.session.as_ref().map(|session| session.user.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use vakt_wire::config::parse;

    use super::*;

    #[test]
    fn each_step_changes_what_it_is_about() {
        let text = "version = 1\n";
        let named = changed(Step::Name, text, &Form::parse("hostname=+guard+")).unwrap();
        assert_eq!(parse(&named).unwrap().hostname.as_str(), "guard");
        let fixed = "how=static&interface=eth0&address=192.0.2.9%2F24&gateway=192.0.2.1&dns=";
        let fixed = changed(Step::Network, text, &Form::parse(fixed)).unwrap();
        assert_eq!(parse(&fixed).unwrap().network.interfaces.len(), 1);
        assert_eq!(changed(Step::Network, text, &Form::parse("how=dhcp")).unwrap(), text);
        let peer = "name=db1&address=192.0.2.7%3A22&host_key=ssh-ed25519+AAAAC3";
        assert_eq!(parse(&changed(Step::Peer, text, &Form::parse(peer)).unwrap()).unwrap().peers.len(), 1);
        assert!(changed(Step::Name, "version = ", &Form::default()).is_err());
    }

    #[test]
    fn the_steps_come_to_an_end() {
        let mut step = Some(Step::default());
        let mut count = 0;
        while let Some(here) = step {
            (step, count) = (here.next(), count + 1);
        }
        assert_eq!(count, 3);
    }
}
