//! `POST /sign-out`.

use vakt_wire::http::{Request, Response};

use crate::account::csrf;
use crate::app::{App, Caller, add_cookie};
use crate::error::PageError;
use crate::form::Form;
use crate::page::redirect;
use crate::{audit, cookie};

/// Ends the session.
///
/// # Errors
/// [`PageError::FormRefused`] when the form is not ours.
pub async fn send(app: &App, caller: &Caller, request: Request) -> Result<Response, PageError> {
    let fetch_site = request.header("sec-fetch-site").map(str::to_owned);
    let form = Form::body(request).await.map_err(|_| PageError::FormTooLarge)?;
    if !csrf::accepts(Some(&caller.token), form.get("form_token"), fetch_site.as_deref()) {
        return Err(PageError::FormRefused);
    }
    let user = caller.session.as_ref().map_or("", |session| &session.user);
    app.sessions.close(&caller.token).await;
    audit::decided("sign-out", user, caller.address, true, "");
    let mut response = redirect("/sign-in");
    add_cookie(&mut response, &cookie::set(cookie::SESSION, "", 0));
    Ok(response)
}
