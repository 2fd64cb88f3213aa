//! A server that keeps init's side of the contract: it tells what runs, and copies the UKI out of the slot.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use vakt_update::digest::Sha256;
use vakt_update::init::Stage;
use vakt_wire::http::{Handler, Request, Response, error, json as answer, read, serve};
use vakt_wire::listen::Address;

/// What init knows and was told.
#[derive(Debug, Default)]
struct Told {
    running: String,
    cleared: u32,
    /// What clears at the next turn of the loop, as init's children do it beside its answers.
    clearing: bool,
    /// Why it refuses to clear.
    refuses: Option<String>,
    occupied: bool,
    staging: Option<Value>,
    staged: Option<Stage>,
    copied: Option<Sha256>,
}

#[derive(Debug)]
pub struct FakeInit {
    slot: PathBuf,
    told: Mutex<Told>,
}

impl FakeInit {
    pub fn start(socket: &Path, slot: &Path) -> Arc<FakeInit> {
        let told = Told { running: "0.1.0".into(), occupied: true, ..Told::default() };
        let init = Arc::new(FakeInit { slot: slot.to_owned(), told: Mutex::new(told) });
        let listener = Address::Unix(socket.to_owned()).bind().unwrap();
        tokio::spawn(serve(listener, init.clone(), CancellationToken::new()));
        init
    }

    /// After a reboot another version runs.
    pub fn boot(&self, version: &str) {
        self.told.lock().unwrap().running = version.to_owned();
    }

    /// As while the running slot is on trial: the other one is the only way back.
    pub fn refuse(&self, reason: &str) {
        self.told.lock().unwrap().refuses = Some(reason.to_owned());
    }

    /// How often the slot was taken off the boot menu.
    pub fn cleared(&self) -> u32 {
        self.told.lock().unwrap().cleared
    }

    pub fn is_staged(&self) -> bool {
        self.told.lock().unwrap().staged.is_some()
    }

    pub fn staged(&self) -> Stage {
        self.told.lock().unwrap().staged.clone().expect("nothing was staged")
    }

    /// The hash of what was copied to the ESP.
    pub fn copied(&self) -> Sha256 {
        self.told.lock().unwrap().copied.expect("nothing was copied")
    }

    fn stage(&self, stage: Stage) {
        let mut uki = vec![0; stage.uki_length as usize];
        std::fs::File::open(&self.slot).unwrap().read_exact_at(&mut uki, stage.uki_offset).unwrap();
        let copied = Sha256::of(&uki);
        let error = (copied != stage.uki_sha256).then_some("the UKI in the slot has another hash");
        let mut told = self.told.lock().unwrap();
        told.staging =
            Some(json!({ "slot": "b", "version": stage.version, "done": error.is_none(), "error": error }));
        told.copied = Some(copied);
        told.staged = Some(stage);
    }
}

impl Handler for FakeInit {
    async fn handle(self: Arc<Self>, request: Request) -> Response {
        match (request.method().as_str(), request.path()) {
            ("GET", "/v1/slots") => {
                let mut told = self.told.lock().unwrap();
                let other = if told.occupied { "blessed" } else { "empty" };
                let slots = json!({
                    "running": { "slot": "a", "version": told.running },
                    "slots": [
                        { "slot": "a", "version": told.running, "state": "blessed", "tries_left": null, "bytes": 1 },
                        { "slot": "b", "version": null, "state": other, "tries_left": null, "bytes": 0 },
                    ],
                    "staging": told.staging,
                    "last_rollback": null,
                    "busy": told.clearing,
                    "error": null,
                });
                if std::mem::take(&mut told.clearing) {
                    (told.cleared, told.occupied) = (told.cleared + 1, false);
                }
                answer(StatusCode::OK, &slots)
            }
            ("POST", "/v1/slots/clear") => {
                let mut told = self.told.lock().unwrap();
                if let Some(reason) = &told.refuses {
                    return error(StatusCode::CONFLICT, reason);
                }
                (told.clearing, told.staging, told.staged) = (true, None, None);
                answer(StatusCode::ACCEPTED, &json!({}))
            }
            ("POST", "/v1/slots/stage") => {
                let body = read(request.body, 1 << 16).await.unwrap();
                self.stage(serde_json::from_slice(&body).unwrap());
                answer(StatusCode::ACCEPTED, &json!({ "staging": true }))
            }
            (method, path) => error(StatusCode::NOT_FOUND, format!("{method} {path}")),
        }
    }
}
