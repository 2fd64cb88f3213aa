//! `/api/v1/admin/tsdb/…` and `/-/reload` for who is signed in; a program's token is looked at before.
//!
//! Whoever is signed in administers the box: there is no second kind of user. The request must be a form of ours, with its
//! token ([`csrf`]), as for every other change; the token ends here.

use hyper::StatusCode;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use vakt_wire::form::pairs;
use vakt_wire::http::{Request, Response, full, read};

use super::{QUERY_BYTES_MAX, problem, send_on};
use crate::account::csrf;
use crate::app::{App, Caller};
use crate::routes::Route;
use crate::{audit, form};

/// What the audit calls it.
pub const EVENT: &str = "store admin";

/// The field that every form of ours has.
const FORM_TOKEN: &str = "form_token";

/// Passes a form of who is signed in on to the store, without its token.
pub async fn by_form(app: &App, route: &Route, caller: &Caller, request: Request) -> Response {
    let user = caller.session.as_ref().map_or("", |session| &session.user);
    let fetch_site = request.header("sec-fetch-site").map(str::to_owned);
    let mut head = request.head;
    let sent = match read(request.body, QUERY_BYTES_MAX).await {
        Ok(sent) => pairs(&String::from_utf8_lossy(&sent)),
        Err(error) => return problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &error.to_string()),
    };
    let token = sent.iter().find(|(name, _)| name == FORM_TOKEN).map_or("", |(_, token)| token);
    if !csrf::accepts(Some(&caller.token), token, fetch_site.as_deref()) {
        audit::decided(EVENT, user, caller.address, false, "form token");
        let said = "the form has no form_token of a page of this session; programs send a bearer token";
        return problem(StatusCode::FORBIDDEN, "forbidden", said);
    }
    audit::decided(EVENT, user, caller.address, true, "");
    let fields = sent.iter().filter(|(name, _)| name != FORM_TOKEN);
    let fields: Vec<_> =
        fields.map(|(name, value)| format!("{}={}", form::encode(name), form::encode(value))).collect();
    // The body is another one now.
    head.headers.remove(CONTENT_LENGTH);
    head.headers.remove(CONTENT_ENCODING);
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    head.headers.insert(CONTENT_TYPE, kind);
    send_on(app, route, &head, full(fields.join("&"))).await
}
