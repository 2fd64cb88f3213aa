//! Who may sign in, and who is signed in.
//!
//! Decisions about time (expiry, back-off) are pure functions of `now`. Secrets are kept as hashes
//! only: passwords as argon2id, session tokens as SHA-256.

pub mod attempts;
pub mod csrf;
pub mod password;
pub mod session;
pub mod setup_code;
pub mod users;
