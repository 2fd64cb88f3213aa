//! What goes wrong with a page, and what the person in front of it reads: never internal text.

use askama::Template;
use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use vakt_wire::http::Response;

use crate::page::{Shell, html};

/// Why there is an error page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageError {
    /// No such page.
    NotFound,
    /// No such host.
    HostNotFound(String),
    /// The page is there, but not for this method.
    WrongMethod,
    /// The form did not come from our page, or the page was too old.
    FormRefused,
    /// The form is larger than any of ours.
    FormTooLarge,
    /// Too many failed attempts from here.
    Wait {
        /// Seconds until the next one may be made.
        seconds: i64,
    },
    /// Too many sign-ins at a time.
    Busy,
    /// Something that should not happen; the log says what.
    Internal,
}

/// What an error page says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Of the answer.
    pub status: StatusCode,
    /// The heading.
    pub title: &'static str,
    /// What happened, and what to do.
    pub message: String,
    /// Ways on: address and text.
    pub links: Vec<(&'static str, &'static str)>,
}

impl PageError {
    /// What its page says.
    pub fn said(&self) -> Said {
        let (overview, sign_in) = (("/", "Overview"), ("/sign-in", "Sign in"));
        let (status, title, message, links) = match self {
            PageError::NotFound => {
                let message = "There is no page at this address.".to_owned();
                (StatusCode::NOT_FOUND, "Not found", message, vec![overview])
            }
            PageError::HostNotFound(name) => {
                let message = format!(
                    "No host called “{name}” is in the config, and no metrics of it are in the store."
                );
                (StatusCode::NOT_FOUND, "No such host", message, vec![overview])
            }
            PageError::WrongMethod => {
                let message = "This address is not used that way.".to_owned();
                (StatusCode::METHOD_NOT_ALLOWED, "Not possible", message, vec![overview])
            }
            PageError::FormRefused => {
                let message = "The form was too old or did not come from this page, so nothing was done. \
                               Open the page again and send it once more."
                    .to_owned();
                (StatusCode::FORBIDDEN, "Form not accepted", message, vec![overview, sign_in])
            }
            PageError::FormTooLarge => {
                let message = "The form holds more than it can.".to_owned();
                (StatusCode::PAYLOAD_TOO_LARGE, "Too large", message, vec![overview])
            }
            PageError::Wait { seconds } => {
                let message = format!("Too many attempts failed. The next one is taken in {seconds} s.");
                (StatusCode::TOO_MANY_REQUESTS, "Please wait", message, vec![sign_in])
            }
            PageError::Busy => {
                let message = "Several people sign in at this moment. Try again in a few seconds.".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, "One moment", message, vec![sign_in])
            }
            PageError::Internal => {
                let message = "This page could not be made. The log of the web service says why.".to_owned();
                (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong", message, vec![overview])
            }
        };
        Said { status, title, message, links }
    }
}

#[derive(Template)]
#[template(path = "pages/error.html")]
struct ErrorPage {
    shell: Shell,
    said: Said,
}

/// The answer with the error's page. `shell` is that of who asks.
pub fn respond(error: &PageError, mut shell: Shell) -> Response {
    let said = error.said();
    shell.title = said.title.to_owned();
    shell.active = "";
    let status = said.status;
    let page = ErrorPage { shell, said };
    let mut response = html(status, &page).unwrap_or_else(|_| {
        vakt_wire::http::text(StatusCode::INTERNAL_SERVER_ERROR, "this page could not be made")
    });
    let retry = match error {
        PageError::Wait { seconds } => Some(*seconds),
        PageError::Busy => Some(5),
        _ => None,
    };
    if let Some(seconds) = retry {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_status_a_title_and_a_way_on() {
        for error in [
            PageError::NotFound,
            PageError::HostNotFound("<b>".into()),
            PageError::WrongMethod,
            PageError::FormRefused,
            PageError::FormTooLarge,
            PageError::Wait { seconds: 7 },
            PageError::Busy,
            PageError::Internal,
        ] {
            let said = error.said();
            assert!(said.status.is_client_error() || said.status.is_server_error());
            assert!(!said.title.is_empty() && !said.message.is_empty() && !said.links.is_empty());
            assert_eq!(respond(&error, Shell::default()).status(), said.status);
        }
    }

    #[test]
    fn who_must_wait_is_told_how_long() {
        let response = respond(&PageError::Wait { seconds: 7 }, Shell::default());
        assert_eq!(response.headers()[RETRY_AFTER], "7");
    }
}
