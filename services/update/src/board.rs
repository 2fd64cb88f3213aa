//! What is going on, for the pages; and how the last install ended, kept across restarts.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;
use crate::trust::replace;
use crate::version::Version;

/// How often an install goes on by itself; then somebody has to say so: one that ends the service each time would never end.
const RESUMES_MAX: u32 = 5;

/// Kinds of [`Refusal`] that pass by themselves soon after a start: the network is not there yet, or the clock is not right yet.
const PASSES: [&str; 2] = ["transfer", "clock"];

/// What the service does at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing.
    #[default]
    Idle,
    /// Metadata and manifest are fetched and verified.
    Checking,
    /// What the slot holds already is looked for.
    Comparing,
    /// Pieces are fetched and written.
    Writing,
    /// Everything is read back from the disk and verified.
    ReadingBack,
    /// init puts the slot on the boot menu.
    Staging,
}

/// Where an update comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The repository of the config.
    Repository,
    /// An upload.
    Archive,
}

/// Bytes of an install.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Root and UKI together.
    pub bytes_total: u64,
    /// Found in the slot already.
    pub bytes_kept: u64,
    /// Written.
    pub bytes_written: u64,
    /// Read back and found good.
    pub bytes_verified: u64,
}

/// A version of the repository that was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Available {
    /// The version.
    pub version: Version,
    /// Whether it is newer than what runs; absent when init did not say what runs.
    pub newer: Option<bool>,
    /// Root and UKI together.
    pub bytes: u64,
    /// When it was made.
    pub made: Timestamp,
}

/// Why something did not happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// One stable word; see [`Refusal::kind`].
    pub kind: String,
    /// The whole reason.
    pub reason: String,
}

/// A look at the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// Why it failed, if it did.
    pub refused: Option<Reason>,
}

/// How an install ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is under way.
    Running,
    /// The new version is tried at the next boot.
    Staged,
    /// The new version runs.
    Booted,
    /// It was refused, or failed.
    Refused,
    /// The service ended in the middle of it.
    Interrupted,
}

/// The last install.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// When it began or ended, in milliseconds since the epoch.
    pub at_ms: i64,
    /// Where it came from.
    pub source: Source,
    /// What was to be installed, as soon as that was known.
    pub version: Option<Version>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was refused.
    pub refused: Option<Reason>,
    /// Its bytes.
    pub progress: Progress,
    /// How often the service went on with it by itself.
    #[serde(default)]
    pub resumed: u32,
}

/// Everything, as `GET /v1/update` shows it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct State {
    /// What is done at the moment.
    pub phase: Phase,
    /// The configured repository.
    pub repository: Option<String>,
    /// The slot's size, when one was handed over.
    pub slot_bytes: Option<u64>,
    /// The newest version of the repository.
    pub available: Option<Available>,
    /// The last look at it.
    pub checked: Option<Checked>,
    /// The last install, or the one under way.
    pub last: Option<Last>,
}

/// The state, shared.
#[derive(Debug)]
pub struct Board {
    state: Mutex<State>,
    file: PathBuf,
}

/// Now, in milliseconds since the epoch.
fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

impl From<&Refusal> for Reason {
    fn from(refusal: &Refusal) -> Reason {
        Reason { kind: refusal.kind().to_owned(), reason: refusal.to_string() }
    }
}

impl Board {
    /// A board that remembers the last install in `data`.
    pub fn open(data: &Path, repository: Option<String>, slot_bytes: Option<u64>) -> Board {
        let file = data.join("last.json");
        // A file that is gone or torn says nothing about an install, and nothing hangs on it.
        let last = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let last = last.map(|last: Last| match last.outcome {
            Outcome::Running => Last { outcome: Outcome::Interrupted, ..last },
            _ => last,
        });
        let state = State { repository, slot_bytes, last, ..State::default() };
        Board { state: Mutex::new(state), file }
    }

    /// A copy of everything.
    pub fn state(&self) -> State {
        self.locked().clone()
    }

    /// Says what is done now.
    pub fn phase(&self, phase: Phase) {
        self.locked().phase = phase;
    }

    /// Says how a look at the repository ended.
    pub fn checked(&self, outcome: Result<Available, &Refusal>) {
        let mut state = self.locked();
        state.phase = Phase::Idle;
        let refused = outcome.as_ref().err().map(|refusal| Reason::from(*refusal));
        state.checked = Some(Checked { at_ms: now_ms(), refused });
        // What was found before stays shown: it was verified then.
        state.available = outcome.ok().or(state.available.take());
    }

    /// Says that an install begins.
    pub fn begin(&self, source: Source) {
        self.begin_as(source, 0);
    }

    /// Says that the last install goes on.
    pub fn resume(&self) {
        let resumed = self.locked().last.as_ref().map_or(0, |last| last.resumed);
        self.begin_as(Source::Repository, resumed.saturating_add(1));
    }

    /// Whether the last install is to go on by itself: it came from the repository, and was interrupted, or was refused for what
    /// [`PASSES`] when it went on.
    pub fn is_to_resume(&self) -> bool {
        self.locked().last.as_ref().is_some_and(|last| {
            let passes = last.refused.as_ref().is_some_and(|reason| PASSES.contains(&reason.kind.as_str()));
            last.source == Source::Repository
                && last.resumed < RESUMES_MAX
                && (last.outcome == Outcome::Interrupted || last.resumed > 0 && passes)
        })
    }

    fn begin_as(&self, source: Source, resumed: u32) {
        let progress = Progress::default();
        let (version, outcome, refused) = (None, Outcome::Running, None);
        let last = Last { at_ms: now_ms(), source, version, outcome, refused, progress, resumed };
        self.locked().last = Some(last);
        self.keep();
    }

    /// Says which version it is, and how large.
    pub fn target(&self, version: Version, bytes_total: u64) {
        if let Some(last) = &mut self.locked().last {
            last.version = Some(version);
            last.progress.bytes_total = bytes_total;
        }
        self.keep();
    }

    /// Counts bytes.
    pub fn count(&self, add: impl FnOnce(&mut Progress)) {
        if let Some(last) = &mut self.locked().last {
            add(&mut last.progress);
        }
    }

    /// Says how the install ended.
    pub fn end(&self, outcome: Result<(), &Refusal>) {
        let mut state = self.locked();
        state.phase = Phase::Idle;
        if let Some(last) = &mut state.last {
            last.at_ms = now_ms();
            last.outcome = if outcome.is_ok() { Outcome::Staged } else { Outcome::Refused };
            last.refused = outcome.err().map(Reason::from);
        }
        drop(state);
        self.keep();
    }

    /// Says what runs: an install that was staged and runs now is over.
    pub fn running(&self, version: Version) {
        if let Some(last) = &mut self.locked().last
            && last.outcome == Outcome::Staged
            && last.version == Some(version)
        {
            last.outcome = Outcome::Booted;
        } else {
            return;
        }
        self.keep();
    }

    fn keep(&self) {
        let last = self.locked().last.clone();
        let written = serde_json::to_vec(&last).map_err(std::io::Error::other);
        if let Err(error) = written.and_then(|bytes| replace(&self.file, &bytes)) {
            // The install does not hang on its record.
            tracing::warn!(%error, file = %self.file.display(), "cannot keep how the install went");
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_install_that_was_cut_off_is_called_so_after_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let open = || Board::open(data.path(), None, None);
        let board = open();
        board.begin(Source::Archive);
        board.target("0.2.0".parse().unwrap(), 7);
        let last = open().state().last.unwrap();
        assert_eq!((last.outcome, last.version), (Outcome::Interrupted, Some("0.2.0".parse().unwrap())));
        assert!(!open().is_to_resume(), "an upload is not there any more");
        board.end(Err(&Refusal::Empty));
        let last = open().state().last.unwrap();
        assert_eq!((last.outcome, last.refused.unwrap().kind.as_str()), (Outcome::Refused, "empty"));
    }

    #[test]
    fn an_install_from_the_repository_goes_on_by_itself_a_few_times() {
        let data = tempfile::tempdir().unwrap();
        let open = || Board::open(data.path(), None, None);
        let out_of_reach = || Refusal::Transfer { name: "root.json".into(), reason: "no route".into() };
        let board = open();
        board.begin(Source::Repository);
        assert!(!board.is_to_resume(), "it is under way");
        board.end(Err(&out_of_reach()));
        assert!(!board.is_to_resume(), "whoever began it was told");
        board.begin(Source::Repository);
        for _ in 0..RESUMES_MAX {
            let board = open();
            assert!(board.is_to_resume());
            board.resume();
        }
        assert!(!open().is_to_resume());
        let board = open();
        board.begin(Source::Repository);
        board.resume();
        board.end(Err(&out_of_reach()));
        assert!(board.is_to_resume());
        board.resume();
        board.end(Err(&Refusal::Empty));
        assert!(!board.is_to_resume());
    }
}
