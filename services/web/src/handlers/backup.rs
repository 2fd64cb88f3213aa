//! The backup's two forms on the page Box. init's child encrypts and decrypts: nothing of it is in clear here.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use vakt_wire::http::{Request, Response, full, read};

use crate::account::csrf;
use crate::app::{App, Caller};
use crate::backend::unavailable;
use crate::error::PageError;
use crate::form::Form;
use crate::handlers::machine;
use crate::page::html;
use crate::{audit, clock, multipart};

/// Bytes of an upload by form, which is held here; `vaktctl restore` takes what is larger.
const UPLOAD_BYTES_MAX: usize = 16 << 20;

#[derive(askama::Template)]
#[template(path = "pages/restored.html")]
struct RestoredPage {
    shell: crate::page::Shell,
    lines: Vec<String>,
    trial: bool,
}

/// `POST /box/backup`: the file, as it is made.
///
/// # Errors
/// [`PageError::FormRefused`], [`PageError::FormTooLarge`], [`PageError::Internal`].
pub async fn take(app: &App, caller: &Caller, request: Request) -> Result<Response, PageError> {
    let fetch_site = request.header("sec-fetch-site").map(str::to_owned);
    let form = Form::body(request).await.map_err(|_| PageError::FormTooLarge)?;
    let user = caller.session.as_ref().map_or("", |session| &session.user);
    if !csrf::accepts(Some(&caller.token), form.get("form_token"), fetch_site.as_deref()) {
        audit::decided("backup", user, caller.address, false, "form token");
        return Err(PageError::FormRefused);
    }
    if form.get("passphrase") != form.get("again") {
        let problem = "The two passphrases differ.".to_owned();
        return machine::page(app, caller, StatusCode::UNPROCESSABLE_ENTITY, problem).await;
    }
    match app.backends.init.backup(form.get("passphrase"), user).await {
        Ok(mut response) => {
            audit::decided("backup", user, caller.address, true, "");
            name_file(&mut response, &app.box_name);
            Ok(response)
        }
        Err(error) => {
            audit::decided("backup", user, caller.address, false, "init");
            let problem = unavailable("init", &error);
            machine::page(app, caller, StatusCode::UNPROCESSABLE_ENTITY, problem).await
        }
    }
}

/// The file's name for a browser. A host name has no sign that would need an escape.
pub fn name_file(response: &mut Response, box_name: &str) {
    let date = clock::date_time(clock::now_s()).split(' ').next().unwrap_or_default().to_owned();
    let name = format!("attachment; filename=\"{box_name}-{date}.vakt-backup.age\"");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(CONTENT_DISPOSITION, name);
    }
}

/// `POST /box/restore`: an upload with the passphrase.
///
/// # Errors
/// [`PageError::FormRefused`], [`PageError::FormTooLarge`], [`PageError::Internal`].
pub async fn restore(app: &App, caller: &Caller, request: Request) -> Result<Response, PageError> {
    let fetch_site = request.header("sec-fetch-site").map(str::to_owned);
    let content_type = request.head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = content_type.and_then(multipart::boundary).ok_or(PageError::FormRefused)?.to_owned();
    let body = read(request.body, UPLOAD_BYTES_MAX).await.map_err(|_| PageError::FormTooLarge)?;
    let part = |name: &str| multipart::part(&body, &boundary, name);
    let text = |name: &str| String::from_utf8_lossy(part(name).unwrap_or_default()).into_owned();
    let user = caller.session.as_ref().map_or("", |session| &session.user);
    if !csrf::accepts(Some(&caller.token), &text("form_token"), fetch_site.as_deref()) {
        audit::decided("restore", user, caller.address, false, "form token");
        return Err(PageError::FormRefused);
    }
    let file = body.slice_ref(part("archive").unwrap_or_default());
    let length = file.len() as u64;
    let restored = app.backends.init.restore(&text("passphrase"), user, full(file), length).await;
    audit::decided("restore", user, caller.address, restored.is_ok(), "");
    match restored {
        Ok(said) => {
            let trial = !said["config"]["confirm_within_s"].is_null();
            let shell = app.shell(caller, "Restored", "box");
            html(StatusCode::OK, &RestoredPage { shell, lines: told(&said), trial })
        }
        Err(error) => {
            let problem = unavailable("init", &error);
            machine::page(app, caller, StatusCode::UNPROCESSABLE_ENTITY, problem).await
        }
    }
}

/// What a restore has done, in sentences. Pure.
fn told(said: &serde_json::Value) -> Vec<String> {
    let count = |key: &str| said[key].as_u64().unwrap_or(0);
    let at_s = said["at_s"].as_i64().unwrap_or(0);
    let of = said["of"].as_str().unwrap_or_default();
    let mut lines = vec![format!("The backup of {of} of {} is restored.", clock::date_time(at_s))];
    lines.push(match said["config"]["number"].as_u64() {
        _ if said["config"]["unchanged"] == true => "Its config is the one in force.".into(),
        Some(number) => format!("Its config is revision {number}."),
        None => "Its config is in force.".into(),
    });
    lines.push(format!(
        "{} users were added; {} were here already and stay as they are.",
        count("users_added"),
        count("users_kept")
    ));
    lines.push(match said["evidence_kept"] == true {
        false if count("evidence") == 0 => "There was no evidence in it.".into(),
        true => "This box has evidence of its own, which it keeps; that of the backup was not taken.".into(),
        false => format!(
            "{} records of evidence came back, with the key that goes on signing them.",
            count("evidence")
        ),
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_is_told_in_sentences() {
        let said = serde_json::json!({ "of": "guard", "at_s": 0, "users_added": 1, "users_kept": 2, "evidence": 3,
            "evidence_kept": false, "config": { "number": 7, "confirm_within_s": 300 } });
        let lines = told(&said).join(" ");
        for part in ["guard of 1970-01-01", "revision 7", "1 users were added; 2", "3 records"] {
            assert!(lines.contains(part), "{part} is not in {lines}");
        }
    }
}
