//! Sessions: who is signed in, on which cookie.
//!
//! The cookie is 32 random bytes; only their SHA-256 is kept, in memory and in the store's catalog, so
//! that a restart signs nobody out. Without the store, sessions live in memory alone. Whether one is
//! still good is a pure function of the time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::backend::catalog::Catalog;
use crate::random;

/// A session that was not used for this long has ended: a working day.
pub const IDLE_S_MAX: i64 = 8 * 3600;
/// A session ends this long after its sign-in, however much it is used.
pub const ABSOLUTE_S_MAX: i64 = 3 * 86_400;
/// Sessions held in memory; then the one that was used longest ago must be read from the store again.
pub const SESSIONS_MAX: usize = 256;
/// How stale the store's `seen_s` may be: a write a request would be a sync a request.
const SEEN_STALE_S: i64 = 300;

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Who signed in.
    pub user: String,
    /// When, seconds since the epoch.
    pub created_s: i64,
    /// When it was used last.
    pub seen_s: i64,
}

impl Session {
    /// Is it still good? A clock that jumped back ends it too.
    pub fn is_alive(&self, now_s: i64) -> bool {
        let fits = |since_s: i64, max_s: i64| (0..max_s).contains(&(now_s - since_s));
        fits(self.seen_s, IDLE_S_MAX) && fits(self.created_s, ABSOLUTE_S_MAX)
    }
}

#[derive(Debug, Default)]
struct Memory {
    known: HashMap<String, Session>,
    /// Signed out while the store was away: its copies are not believed any more.
    closed: VecDeque<String>,
}

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    memory: Mutex<Memory>,
    catalog: Catalog,
}

/// What the catalog calls a session: the hash of its cookie.
fn key(token: &str) -> String {
    random::sha256_hex(&[b"vakt session 1\0", token.as_bytes()])
}

impl Sessions {
    /// Over this catalog.
    pub fn new(catalog: Catalog) -> Sessions {
        Sessions { memory: Mutex::default(), catalog }
    }

    /// The catalog that they are kept in.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        // Nothing panics while holding the lock.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, key: &str, session: Session) {
        let mut memory = self.lock();
        memory.known.retain(|_, known| known.is_alive(session.seen_s));
        if memory.known.len() >= SESSIONS_MAX
            && let Some(stale) = memory.known.iter().min_by_key(|(_, s)| s.seen_s).map(|(key, _)| key.clone())
        {
            memory.known.remove(&stale);
        }
        memory.known.insert(key.to_owned(), session);
    }

    async fn keep(&self, key: &str, session: &Session) {
        if let Err(error) = self.catalog.put("sessions", key, session).await {
            tracing::warn!(%error, "a session is kept in memory alone");
        }
    }

    /// Begins a session and returns the value of its cookie.
    ///
    /// # Errors
    /// When the kernel gives no random bytes.
    pub async fn open(&self, user: &str, now_s: i64) -> std::io::Result<String> {
        let token = random::hex(&random::bytes::<32>()?);
        let session = Session { user: user.to_owned(), created_s: now_s, seen_s: now_s };
        let key = key(&token);
        self.remember(&key, session.clone());
        self.keep(&key, &session).await;
        Ok(token)
    }

    /// The session of a cookie, if it is good; marks it as used.
    pub async fn find(&self, token: &str, now_s: i64) -> Option<Session> {
        if token.len() != 64 {
            return None;
        }
        let key = key(token);
        let known = {
            let memory = self.lock();
            if memory.closed.contains(&key) {
                return None;
            }
            memory.known.get(&key).cloned()
        };
        let mut session = match known {
            Some(session) => session,
            // An error says that the store is away: nobody is signed in by a guess.
            None => self.catalog.get::<Session>("sessions", &key).await.ok().flatten()?,
        };
        if !session.is_alive(now_s) {
            self.forget(&key).await;
            return None;
        }
        let stale = now_s - session.seen_s >= SEEN_STALE_S;
        session.seen_s = now_s;
        self.remember(&key, session.clone());
        if stale {
            self.keep(&key, &session).await;
        }
        Some(session)
    }

    /// Ends the session of a cookie.
    pub async fn close(&self, token: &str) {
        self.forget(&key(token)).await;
    }

    async fn forget(&self, key: &str) {
        {
            let mut memory = self.lock();
            memory.known.remove(key);
            memory.closed.push_back(key.to_owned());
            if memory.closed.len() > SESSIONS_MAX {
                memory.closed.pop_front();
            }
        }
        if let Err(error) = self.catalog.delete("sessions", key).await {
            tracing::warn!(%error, "a session that ended could not be removed from the store");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_by_idleness_or_age() {
        let session = |created_s, seen_s| Session { user: "a".into(), created_s, seen_s };
        assert!(session(0, 0).is_alive(IDLE_S_MAX - 1));
        assert!(!session(0, 0).is_alive(IDLE_S_MAX));
        assert!(session(0, ABSOLUTE_S_MAX - 10).is_alive(ABSOLUTE_S_MAX - 1));
        assert!(!session(0, ABSOLUTE_S_MAX - 10).is_alive(ABSOLUTE_S_MAX));
        assert!(!session(100, 100).is_alive(99));
    }

    #[tokio::test]
    async fn without_a_store_sessions_live_in_memory_and_end_when_told() {
        let sessions = Sessions::new(Catalog::new("/nonexistent/http.sock".as_ref()));
        let token = sessions.open("admin", 1000).await.unwrap();
        assert_eq!(sessions.find(&token, 1001).await.unwrap().user, "admin");
        assert_eq!(sessions.find(&random::hex(&[7; 32]), 1001).await, None);
        assert_eq!(sessions.find("short", 1001).await, None);
        sessions.close(&token).await;
        assert_eq!(sessions.find(&token, 1002).await, None);
    }

    #[tokio::test]
    async fn memory_holds_a_bounded_number_of_sessions() {
        let sessions = Sessions::new(Catalog::new("/nonexistent/http.sock".as_ref()));
        let first = sessions.open("admin", 1000).await.unwrap();
        for n in 0..SESSIONS_MAX as i64 {
            sessions.open("admin", 1001 + n).await.unwrap();
        }
        assert_eq!(sessions.lock().known.len(), SESSIONS_MAX);
        assert_eq!(sessions.find(&first, 1500).await, None);
    }
}
