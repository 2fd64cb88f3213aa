//! Appends to the chain in the store's catalog.
//!
//! One writer at a time. Two ways in: [`Journal::record`] returns only when the record is durable in the
//! store, and is what comes before an action; [`Journal::record_later`] is for what happened anyway (an
//! answer, a verification): it is queued when the store is away, and nothing else is recorded, hence
//! nothing done, before the queue is empty again.

use std::collections::VecDeque;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use tokio::sync::{Mutex, MutexGuard};
use vakt_wire::http::{CallError, Client};

use super::hex;
use super::memory::{Memory, Repair};
use super::record::{Draft, Head, Record, catalog_key};
use super::verifier::{Broken, Verifier};

/// Records that wait for the store. Only actions under way when the store went away can add to them, some
/// four each; beyond, a record is lost, counted and logged.
pub const PENDING_MAX: usize = 256;

/// Records read at the start: enough to fill the window on the latest repairs.
const LOAD_MAX: u64 = 1_000;

/// Deadline of one call to the store.
const CALL_WITHIN: Duration = Duration::from_secs(3);

/// Why something could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store does not answer, or refuses.
    #[error("evidence cannot be recorded: {0}")]
    Store(#[from] CallError),
    /// What the store holds is not a chain. Nothing is added to it, and nothing repaired, until somebody
    /// has looked.
    #[error("evidence in the store is broken, nothing is repaired until that is cleared up: {0}")]
    Broken(#[from] Broken),
    /// Another record was put in our place in the meantime.
    #[error("evidence record {seq} was written by somebody else")]
    Taken {
        /// The place.
        seq: u64,
    },
    /// A detail that has no canonical form.
    #[error("evidence detail holds a fraction")]
    Fraction,
}

/// The chain's end, and the way to lengthen it.
#[derive(Debug)]
pub struct Journal {
    store: Client,
    key: SigningKey,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// `None` until the store was asked.
    head: Option<Head>,
    pending: VecDeque<Draft>,
    memory: Memory,
    lost: u64,
    error: Option<String>,
}

/// How the journal stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The chain's end; `None` while the store has not been reached.
    pub head: Option<Head>,
    /// Public key of the signer, 64 hex digits.
    pub public_key: String,
    /// Records that wait for the store.
    pub pending: usize,
    /// Records that were lost for want of room.
    pub lost: u64,
    /// The latest failure, until something succeeds.
    pub error: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    value: Record,
}

impl Journal {
    /// A journal in the catalog behind `store`. Asks nothing yet.
    pub fn new(store: Client, key: SigningKey) -> Journal {
        Journal { store: store.within(CALL_WITHIN), key, state: Mutex::default() }
    }

    /// Records `draft`, and everything that waits before it. When this returns `Ok`, the record is durable.
    ///
    /// # Errors
    /// [`JournalError`]: then nothing may be done on the strength of it.
    pub async fn record(&self, draft: Draft) -> Result<Record, JournalError> {
        let mut state = self.state.lock().await;
        let recorded = self.append_all(&mut state, Some(draft)).await;
        state.error = recorded.as_ref().err().map(ToString::to_string);
        recorded?.ok_or(JournalError::Fraction)
    }

    /// Records what happened anyway: at once if the store takes it, else as soon as it does.
    pub async fn record_later(&self, draft: Draft) {
        let mut state = self.state.lock().await;
        if state.pending.len() == PENDING_MAX {
            state.lost += 1;
            tracing::error!(peer = draft.peer, unit = draft.unit, step = ?draft.step, "evidence record lost: queue full");
            return;
        }
        state.pending.push_back(draft);
        self.drain(&mut state).await;
    }

    /// Loads the chain's end if that is still to be done, and writes what waits. Call it now and then.
    pub async fn flush(&self) {
        let mut state = self.state.lock().await;
        self.drain(&mut state).await;
    }

    async fn drain(&self, state: &mut MutexGuard<'_, State>) {
        if state.head.is_some() && state.pending.is_empty() {
            return;
        }
        let before = state.error.take();
        if let Err(error) = self.append_all(state, None).await {
            let said = error.to_string();
            if before.as_ref() != Some(&said) {
                tracing::error!(
                    error = said,
                    waiting = state.pending.len(),
                    "evidence waits; no repair is started"
                );
            }
            state.error = Some(said);
        }
    }

    /// How the journal stands.
    pub async fn standing(&self) -> Standing {
        let state = self.state.lock().await;
        Standing {
            head: state.head.clone(),
            public_key: hex::encode(self.key.verifying_key().as_bytes()),
            pending: state.pending.len(),
            lost: state.lost,
            error: state.error.clone(),
        }
    }

    /// The latest repairs, newest first, at most `limit`.
    pub async fn repairs(&self, limit: usize) -> Vec<Repair> {
        self.state.lock().await.memory.newest().take(limit).cloned().collect()
    }

    /// Everything that waits, then `last`. A failure leaves what is not written in the queue, but for `last`.
    async fn append_all(
        &self,
        state: &mut State,
        last: Option<Draft>,
    ) -> Result<Option<Record>, JournalError> {
        if state.head.is_none() {
            self.load(state).await?;
        }
        while let Some(draft) = state.pending.front().cloned() {
            self.append(state, draft).await?;
            state.pending.pop_front();
        }
        match last {
            Some(draft) => self.append(state, draft).await.map(Some),
            None => Ok(None),
        }
    }

    async fn append(&self, state: &mut State, draft: Draft) -> Result<Record, JournalError> {
        let head = state.head.clone().unwrap_or_else(Head::empty);
        let record = Record::seal(draft, &head, &self.key).ok_or(JournalError::Fraction)?;
        let path = path(record.seq);
        let body = serde_json::to_vec(&record).map_err(|_| JournalError::Fraction)?;
        match self.store.call(Method::PUT, &path, "application/json", body).await {
            Ok(_) => {}
            // A put whose answer got lost was taken all the same: then it is there, word for word.
            Err(CallError::Refused { status: StatusCode::CONFLICT, .. } | CallError::Unreadable { .. }) => {
                if self.store.get::<Record>(&path).await? != record {
                    state.head = None;
                    return Err(JournalError::Taken { seq: record.seq });
                }
            }
            Err(error) => return Err(error.into()),
        }
        state.head = Some(record.head());
        state.memory.take(&record);
        Ok(record)
    }

    /// Finds the chain's end by its dense keys, reads its last records and checks them.
    async fn load(&self, state: &mut State) -> Result<(), JournalError> {
        let last = self.last_seq().await?;
        let mut memory = Memory::default();
        let first = last.saturating_sub(LOAD_MAX);
        let mut verifier: Option<Verifier> = (first == 0).then(|| Verifier::new(None, None).of_any_key());
        let mut after = first;
        while after < last {
            let page: Page = self.store.get(&listing(after, 100)).await?;
            for Item { value: record } in &page.items {
                let before = || Head { seq: record.seq.saturating_sub(1), hash: record.prev.clone() };
                let start = || Verifier::after(before()).of_any_key();
                verifier.get_or_insert_with(start).take(record)?;
                memory.take(record);
            }
            let reached = verifier.as_ref().map_or(0, |v| v.head().seq);
            if reached <= after {
                return Err(Broken::Gap { expected: after + 1, found: last }.into());
            }
            after = reached;
        }
        let head = verifier.map_or_else(Head::empty, |verifier| verifier.head().clone());
        let ours = hex::encode(self.key.verifying_key().as_bytes());
        let signer = memory.newest().next().and_then(|repair| Some(repair.records.last()?.key.clone()));
        if signer.is_some_and(|key| key != ours) {
            tracing::warn!(ours, "the latest evidence was signed with another key; `verify` will say so");
        }
        tracing::info!(seq = head.seq, "evidence chain found");
        (state.head, state.memory) = (Some(head), memory);
        Ok(())
    }

    async fn last_seq(&self) -> Result<u64, JournalError> {
        // Doubling, then halving: records are never deleted, so the keys are 1 to the last without a gap.
        let (mut there, mut absent) = (0, 1);
        while self.has(absent).await? {
            (there, absent) = (absent, absent * 2);
        }
        while absent - there > 1 {
            let middle = there + (absent - there) / 2;
            if self.has(middle).await? { there = middle } else { absent = middle }
        }
        Ok(there)
    }

    async fn has(&self, seq: u64) -> Result<bool, JournalError> {
        match self.store.call(Method::GET, &path(seq), "application/json", "").await {
            Ok(_) => Ok(true),
            Err(CallError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The catalog's path of a record.
fn path(seq: u64) -> String {
    format!("/catalog/v1/evidence/{}", catalog_key(seq))
}

/// The catalog's listing of the records after `seq`.
pub(crate) fn listing(seq: u64, limit: u64) -> String {
    format!("/catalog/v1/evidence?after={}&limit={limit}", catalog_key(seq))
}
