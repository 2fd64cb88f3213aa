//! The time service, which may look at the kernel's clock where the collector may not: the call that reads it can also set it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use vakt_wire::http::Client;

/// What it says is asked for once in this time: the kernel's numbers change with each exchange with a server, a minute apart.
const ASK_EVERY: Duration = Duration::from_secs(15);

/// It must answer within this; a round waits for it.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The way to it.
#[derive(Debug)]
pub struct Timekeeper {
    client: Client,
    asked: Option<Instant>,
}

impl Timekeeper {
    /// The service behind a unix socket.
    pub fn new(socket: PathBuf) -> Timekeeper {
        Timekeeper { client: Client::unix(socket).within(ANSWER_WITHIN), asked: None }
    }

    /// Its metrics, or nothing when it is not yet time to ask again. `Some(None)` when it did not answer.
    pub async fn told(&mut self, now: Instant) -> Option<Option<String>> {
        if self.asked.is_some_and(|asked| now.duration_since(asked) < ASK_EVERY) {
            return None;
        }
        self.asked = Some(now);
        let answer = self.client.call(hyper::Method::GET, "/metrics", "text/plain", Vec::new()).await;
        match answer {
            Ok(body) => Some(Some(String::from_utf8_lossy(&body).into_owned())),
            Err(error) => {
                tracing::warn!(%error, "the time service does not tell of the clock");
                Some(None)
            }
        }
    }
}
