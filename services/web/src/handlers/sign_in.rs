//! `/sign-in`.

use askama::Template;
use hyper::StatusCode;
use vakt_wire::http::{Request, Response};

use crate::account::csrf;
use crate::account::password::PasswordError;
use crate::account::session::ABSOLUTE_S_MAX;
use crate::app::{App, Caller, add_cookie};
use crate::error::PageError;
use crate::form::Form;
use crate::page::{Shell, html, redirect};
use crate::{audit, clock, cookie};

#[derive(Template)]
#[template(path = "account/sign_in.html")]
struct SignInPage {
    shell: Shell,
    next: String,
    user: String,
    problem: &'static str,
}

/// The form; the set-up form instead when nobody could sign in.
///
/// # Errors
/// [`PageError::Internal`].
pub async fn show(app: &App, caller: &Caller, request: &Request) -> Result<Response, PageError> {
    if let Ok(false) = app.users.any().await {
        return Ok(redirect("/set-up"));
    }
    let next = safe_next(Form::query(request).get("next"));
    page(app, caller, StatusCode::OK, next, String::new(), "")
}

fn page(
    app: &App,
    caller: &Caller,
    status: StatusCode,
    next: String,
    user: String,
    problem: &'static str,
) -> Result<Response, PageError> {
    html(status, &SignInPage { shell: app.shell(caller, "Sign in", ""), next, user, problem })
}

/// Takes the form.
///
/// # Errors
/// Every kind that its page can end in.
pub async fn send(app: &App, caller: &Caller, request: Request) -> Result<Response, PageError> {
    let fetch_site = request.header("sec-fetch-site").map(str::to_owned);
    let form = Form::body(request).await.map_err(|_| PageError::FormTooLarge)?;
    if !csrf::accepts(Some(&caller.token), form.get("form_token"), fetch_site.as_deref()) {
        audit::decided("sign-in", "", caller.address, false, "form token");
        return Err(PageError::FormRefused);
    }
    let (user, now_s) = (form.get("user").to_owned(), clock::now_s());
    let wait_s = app.attempts().wait_s(caller.address, now_s);
    if wait_s > 0 {
        audit::decided("sign-in", &user, caller.address, false, "too many attempts");
        return Err(PageError::Wait { seconds: wait_s });
    }
    let (known, store_answers) = match app.users.hash_of(&user).await {
        Ok(known) => (known, true),
        Err(error) => {
            tracing::warn!(%error, "cannot look a user up");
            (None, false)
        }
    };
    let good = app.passwords.check(form.get("password").to_owned(), known).await.map_err(busy)?;
    let next = safe_next(form.get("next"));
    if !good {
        app.attempts().failed(caller.address, now_s);
        audit::decided("sign-in", &user, caller.address, false, "name or password");
        let problem = match store_answers {
            true => "That name and password do not belong together.",
            false => {
                "The store does not answer, so only the administrator of the machine config can sign in now."
            }
        };
        return page(app, caller, StatusCode::FORBIDDEN, next, user, problem);
    }
    app.attempts().succeeded(caller.address);
    audit::decided("sign-in", &user, caller.address, true, "");
    begin_session(app, &user, &next).await
}

pub(super) fn busy(error: PasswordError) -> PageError {
    match error {
        PasswordError::Busy => PageError::Busy,
        PasswordError::Hash(reason) => {
            tracing::error!(reason, "cannot hash a password");
            PageError::Internal
        }
    }
}

/// Opens a session, sets its cookie and leads on.
pub(super) async fn begin_session(app: &App, user: &str, next: &str) -> Result<Response, PageError> {
    let token = app.sessions.open(user, clock::now_s()).await.map_err(|error| {
        tracing::error!(%error, "no random bytes for a session");
        PageError::Internal
    })?;
    let mut response = redirect(if next.is_empty() { "/" } else { next });
    add_cookie(&mut response, &cookie::set(cookie::SESSION, &token, ABSOLUTE_S_MAX));
    add_cookie(&mut response, &cookie::set(cookie::VISIT, "", 0));
    Ok(response)
}

/// A way on that leads nowhere but to a page of ours; empty for anything else.
pub fn safe_next(next: &str) -> String {
    let ours = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains(|c: char| c == '\\' || c.is_control() || !c.is_ascii())
        && next.len() <= 2048
        && !next.starts_with("/sign-");
    if ours { next.to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_on_stays_on_this_box() {
        for good in ["/", "/logs?q=a%20b", "/host/x"] {
            assert_eq!(safe_next(good), good);
        }
        for bad in ["", "//evil", "https://evil", "/\\evil", "/a\r\nSet-Cookie: x", "/sign-in?next=/", "/ü"]
        {
            assert_eq!(safe_next(bad), "", "{bad}");
        }
    }
}
