//! `/set-up`: the first visitor with the code from the console becomes the administrator.

use askama::Template;
use hyper::StatusCode;
use vakt_wire::config::UserName;
use vakt_wire::http::{Request, Response};

use crate::account::csrf;
use crate::account::password::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN};
use crate::account::users::User;
use crate::app::{App, Caller};
use crate::error::PageError;
use crate::form::Form;
use crate::handlers::sign_in::{begin_session, busy};
use crate::handlers::welcome;
use crate::page::{Shell, html, redirect};
use crate::{audit, clock};

/// How long the store may take to know whether there is an administrator is the page's own limit; what
/// it says then.
const STORE_AWAY: &str = "The store does not answer yet. Wait a moment and load this page again.";

#[derive(Template)]
#[template(path = "account/set_up.html")]
struct SetUpPage {
    shell: Shell,
    user: String,
    problem: String,
    password_chars_min: usize,
}

/// The form; the sign-in form instead when there is an administrator.
///
/// # Errors
/// [`PageError::Internal`].
pub async fn show(app: &App, caller: &Caller) -> Result<Response, PageError> {
    match app.users.any().await {
        Ok(true) => Ok(redirect("/sign-in")),
        Ok(false) => page(app, caller, StatusCode::OK, "admin".into(), String::new()),
        Err(_) => page(app, caller, StatusCode::SERVICE_UNAVAILABLE, "admin".into(), STORE_AWAY.into()),
    }
}

fn page(
    app: &App,
    caller: &Caller,
    status: StatusCode,
    user: String,
    problem: String,
) -> Result<Response, PageError> {
    let shell = app.shell(caller, "Set up this box", "");
    html(status, &SetUpPage { shell, user, problem, password_chars_min: PASSWORD_CHARS_MIN })
}

/// What is wrong with a name and a password, or `None`. Pure.
fn problem(user: &str, password: &str, again: &str) -> Option<String> {
    if let Err(reason) = UserName::try_from(user.to_owned()) {
        return Some(format!("The name {reason}."));
    }
    if password.chars().count() < PASSWORD_CHARS_MIN {
        return Some(format!("The password needs at least {PASSWORD_CHARS_MIN} characters."));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Some(format!("The password has more than {PASSWORD_BYTES_MAX} bytes."));
    }
    (password != again).then(|| "The two passwords differ.".to_owned())
}

/// Takes the form.
///
/// # Errors
/// Every kind that its page can end in.
pub async fn send(app: &App, caller: &Caller, request: Request) -> Result<Response, PageError> {
    let fetch_site = request.header("sec-fetch-site").map(str::to_owned);
    let form = Form::body(request).await.map_err(|_| PageError::FormTooLarge)?;
    if !csrf::accepts(Some(&caller.token), form.get("form_token"), fetch_site.as_deref()) {
        audit::decided("set-up", "", caller.address, false, "form token");
        return Err(PageError::FormRefused);
    }
    let (user, now_s) = (form.get("user").to_owned(), clock::now_s());
    let wait_s = app.attempts().wait_s(caller.address, now_s);
    if wait_s > 0 {
        audit::decided("set-up", &user, caller.address, false, "too many attempts");
        return Err(PageError::Wait { seconds: wait_s });
    }
    let again = |status, problem: String| page(app, caller, status, user.clone(), problem);
    // Held to the end: of two who come with the code at once, one is first.
    let mut setup = app.setup.lock().await;
    match app.users.any().await {
        Ok(false) => {}
        Ok(true) => return Ok(redirect("/sign-in")),
        Err(_) => return again(StatusCode::SERVICE_UNAVAILABLE, STORE_AWAY.into()),
    }
    if !setup.accepts(form.get("code")) {
        app.attempts().failed(caller.address, now_s);
        audit::decided("set-up", &user, caller.address, false, "set-up code");
        return again(StatusCode::FORBIDDEN, "That is not the code on the box' console.".into());
    }
    if let Some(problem) = problem(&user, form.get("password"), form.get("password_again")) {
        return again(StatusCode::UNPROCESSABLE_ENTITY, problem);
    }
    let password_hash = app.passwords.hash(form.get("password").to_owned()).await.map_err(busy)?;
    if let Err(error) = app.users.add(&user, &User { password_hash, created_s: now_s }).await {
        tracing::error!(%error, "cannot add the administrator");
        return again(StatusCode::SERVICE_UNAVAILABLE, STORE_AWAY.into());
    }
    if let Err(error) = setup.used() {
        tracing::error!(%error, "cannot remove the used set-up code");
    }
    app.attempts().succeeded(caller.address);
    audit::decided("set-up", &user, caller.address, true, "");
    if let Some(life) = &app.life {
        life.console(&format!("vakt: set up by {user}"));
    }
    welcome::begin(app).await;
    begin_session(app, &user, "/welcome").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_are_checked() {
        let good = "twelve chars!";
        assert_eq!(problem("admin", good, good), None);
        assert!(problem("", good, good).unwrap().contains("is not a login name"));
        assert!(problem("a/b", good, good).is_some());
        assert!(problem("admin", "short", "short").unwrap().contains("at least 12"));
        assert!(problem("admin", good, "other").unwrap().contains("differ"));
        let long = "x".repeat(PASSWORD_BYTES_MAX + 1);
        assert!(problem("admin", &long, &long).is_some());
    }
}
