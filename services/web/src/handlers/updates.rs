//! `/updates`: what runs, what could run, and the way from one to the other.

use std::io;

use askama::Template;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use vakt_wire::http::{Body, CallError, Request, Response, stream};

use crate::account::csrf;
use crate::app::{App, Caller};
use crate::backend::slots::{Rollback, Slot, Slots};
use crate::backend::update::{Last, State};
use crate::backend::{Panel, unavailable};
use crate::chart::Unit;
use crate::error::PageError;
use crate::form::Form;
use crate::page::{Shell, html, redirect};
use crate::{audit, clock, multipart};

/// While something is under way the page loads itself again after so many seconds.
const REFRESH_S: HeaderValue = HeaderValue::from_static("2");

/// Chunks of an upload between the browser and update: no more than a piece lies here.
const CHUNKS_MAX: usize = 4;

/// Bytes of an upload: the largest slot, twice.
pub const UPLOAD_BYTES_MAX: u64 = 256 << 20;

/// One slot in one line.
struct SlotLine {
    name: String,
    version: String,
    said: String,
    class: &'static str,
}

struct LastView {
    version: String,
    source: String,
    outcome: &'static str,
    class: &'static str,
    time: String,
    reason: Option<String>,
    progress: String,
    percent: u64,
}

struct UpdateView {
    busy: bool,
    phase: &'static str,
    repository: Option<String>,
    has_slot: bool,
    available: String,
    can_install: bool,
    checked: String,
    check_refused: Option<String>,
    last: Option<LastView>,
}

#[derive(Template)]
#[template(path = "pages/updates.html")]
struct UpdatesPage {
    shell: Shell,
    running: Panel<String>,
    slots: Vec<SlotLine>,
    rollback: Option<String>,
    update: Panel<UpdateView>,
}

/// The page.
///
/// # Errors
/// [`PageError::Internal`].
pub async fn show(app: &App, caller: &Caller) -> Result<Response, PageError> {
    let (machine, slots, state) =
        tokio::join!(app.backends.init.machine(), app.backends.init.slots(), app.backends.update.state());
    // An init without slots, in a container, has nothing to tell of them.
    let slots = slots.unwrap_or_default();
    let busy = state.as_ref().is_ok_and(|state| !state.phase.is_empty() && state.phase != "idle");
    let page = UpdatesPage {
        shell: app.shell(caller, "Updates", "updates"),
        running: machine
            .map(|machine| match machine.slot.as_str() {
                "" => format!("Vakt {}", machine.version),
                slot => format!("Vakt {} in slot {slot}", machine.version),
            })
            .map_err(|error| unavailable("init", &error)),
        rollback: slots.last_rollback.as_ref().map(rollback),
        slots: slot_lines(&slots),
        update: state.map(|state| view(&state)).map_err(|error| unavailable("update", &error)),
    };
    let mut response = html(StatusCode::OK, &page)?;
    if busy {
        response.headers_mut().insert(HeaderName::from_static("refresh"), REFRESH_S);
    }
    Ok(response)
}

/// `POST /updates/check` and `POST /updates/install`.
///
/// # Errors
/// [`PageError::FormRefused`], [`PageError::FormTooLarge`].
pub async fn send(
    app: &App,
    caller: &Caller,
    request: Request,
    install: bool,
) -> Result<Response, PageError> {
    let fetch_site = request.header("sec-fetch-site").map(str::to_owned);
    let form = Form::body(request).await.map_err(|_| PageError::FormTooLarge)?;
    if !csrf::accepts(Some(&caller.token), form.get("form_token"), fetch_site.as_deref()) {
        return Err(PageError::FormRefused);
    }
    let update = &app.backends.update;
    let begun = if install { update.install().await } else { update.check().await };
    if install {
        told(caller, "update-install", &begun);
    }
    // What came of it, also that it was not begun, the page itself says.
    Ok(redirect("/updates"))
}

/// `POST /updates/archive`: a form with a file.
///
/// # Errors
/// [`PageError::FormRefused`], [`PageError::FormTooLarge`].
pub async fn upload(app: &App, caller: &Caller, request: Request) -> Result<Response, PageError> {
    let fetch_site = request.header("sec-fetch-site").map(str::to_owned);
    let content_type = request.head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = content_type.and_then(multipart::boundary).ok_or(PageError::FormRefused)?.to_owned();
    let mut body = request.body;
    let mut begun = Vec::new();
    let head = loop {
        if let Some(head) = multipart::head(&begun, &boundary).map_err(|_| PageError::FormRefused)? {
            break head;
        }
        let frame = body.frame().await.ok_or(PageError::FormRefused)?.map_err(|_| PageError::FormRefused)?;
        begun.extend_from_slice(&frame.into_data().unwrap_or_default());
    };
    if !csrf::accepts(Some(&caller.token), &head.token, fetch_site.as_deref()) {
        return Err(PageError::FormRefused);
    }
    let archive = pump(Bytes::from(begun).slice(head.file_at..), body);
    let ended = app.backends.update.upload(archive).await;
    told(caller, "update-upload", &ended);
    Ok(redirect("/updates"))
}

fn told(caller: &Caller, event: &'static str, outcome: &Result<(), CallError>) {
    let user = caller.session.as_ref().map_or("", |session| &session.user);
    let reason = if outcome.is_ok() { "" } else { "update did not take it" };
    audit::decided(event, user, caller.address, outcome.is_ok(), reason);
}

/// `first` and what follows it, on to whoever reads.
fn pump(first: Bytes, mut body: hyper::body::Incoming) -> Body {
    let (sender, onward) = stream(CHUNKS_MAX);
    tokio::spawn(async move {
        let mut sent = first.len() as u64;
        let mut next = Some(Ok(first));
        while let Some(chunk) = next {
            let chunk =
                if sent > UPLOAD_BYTES_MAX { Err(io::Error::other("upload too large")) } else { chunk };
            let ends = chunk.is_err();
            if sender.send(chunk).await.is_err() || ends {
                // update has said what it had to say.
                return;
            }
            next = match body.frame().await {
                None => None,
                Some(Err(error)) => Some(Err(io::Error::other(error))),
                Some(Ok(frame)) => Some(Ok(frame.into_data().unwrap_or_default())),
            };
            sent += next.as_ref().and_then(|next| next.as_ref().ok()).map_or(0, |chunk| chunk.len() as u64);
        }
    });
    onward
}

fn view(state: &State) -> UpdateView {
    let phase = match state.phase.as_str() {
        "checking" => "The signatures are being checked",
        "comparing" => "What the slot holds already is being compared",
        "writing" => "The update is being written",
        "reading-back" => "What was written is being read back",
        "staging" => "The slot is being put on the boot menu",
        _ => "",
    };
    let available = state.available.as_ref();
    UpdateView {
        busy: !phase.is_empty(),
        phase,
        repository: state.repository.clone(),
        has_slot: state.slot_bytes.is_some(),
        available: available.map_or_else(String::new, |found| {
            let newer = match found.newer {
                Some(true) => "newer than what runs",
                Some(false) => "not newer than what runs",
                None => "compared with nothing yet",
            };
            format!("{}, {}, {newer}", found.version, Unit::Bytes.show(found.bytes))
        }),
        can_install: available.is_some_and(|found| found.newer != Some(false)),
        checked: state
            .checked
            .as_ref()
            .map_or_else(String::new, |checked| clock::date_time(checked.at_ms / 1000)),
        check_refused: state.checked.as_ref().and_then(|c| c.refused.as_ref()).map(|r| r.reason.clone()),
        last: state.last.as_ref().map(last_view),
    }
}

fn last_view(last: &Last) -> LastView {
    let (outcome, class) = match last.outcome.as_str() {
        "running" => ("under way", "idle"),
        "staged" => ("staged for the next boot", "ok"),
        "booted" => ("runs now", "ok"),
        "refused" => ("refused", "bad"),
        "interrupted" => {
            ("interrupted; from the repository it goes on by itself, an upload has to be made again", "warn")
        }
        _ => ("unknown", "idle"),
    };
    let progress = &last.progress;
    let (show, there) = (|bytes| Unit::Bytes.show(bytes), progress.bytes_kept + progress.bytes_written);
    // Writing and reading back count as halves of the way.
    let share = (there + progress.bytes_verified) / (2.0 * progress.bytes_total.max(1.0));
    LastView {
        version: last.version.clone().unwrap_or_else(|| "not known yet".into()),
        source: if last.source == "archive" { "an uploaded archive".into() } else { "the repository".into() },
        outcome,
        class,
        time: clock::date_time(last.at_ms / 1000),
        reason: last.refused.as_ref().map(|refused| refused.reason.clone()),
        progress: format!(
            "{} of {} written, {} were there already, {} read back",
            show(progress.bytes_written),
            show(progress.bytes_total),
            show(progress.bytes_kept),
            show(progress.bytes_verified)
        ),
        percent: (share.clamp(0.0, 1.0) * 100.0) as u64,
    }
}

fn slot_lines(slots: &Slots) -> Vec<SlotLine> {
    let line = |slot: &Slot| {
        let (said, class) = match slot.state.as_str() {
            "blessed" => ("proven".to_owned(), "ok"),
            "trying" => {
                (slot.tries_left.map_or("on trial".into(), |n| format!("on trial, {n} tries left")), "warn")
            }
            "bad" => ("failed".to_owned(), "bad"),
            "empty" => ("empty".to_owned(), "idle"),
            other => (other.to_owned(), "idle"),
        };
        let version = slot.version.clone().unwrap_or_else(|| "nothing".into());
        SlotLine { name: slot.slot.clone(), version, said, class }
    };
    slots.slots.iter().map(line).collect()
}

fn rollback(rollback: &Rollback) -> String {
    format!("slot {}, version {}: {} ({})", rollback.slot, rollback.version, rollback.reason, rollback.when())
}
