//! Passwords: argon2id, one at a time.

use std::sync::Arc;

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

/// Memory of one hash in KiB, passes, lanes: OWASP's first choice for argon2id, 19 MiB on a box that
/// may have 256 MB.
const PARAMETERS: (u32, u32, u32) = (19 * 1024, 2, 1);
/// Shortest password that is set (NIST SP 800-63B: at least 8; an administrator's has 12).
pub const PASSWORD_CHARS_MIN: usize = 12;
/// Longest that is hashed: a hash must not be a way to burn time.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// What a password is compared with when there is no such user, so that it takes as long: the form of
/// a hash, and no password's. Made here and not at start, which under emulation would cost a second.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm9ib2R5$bm9ib2R5bm9ib2R5bm9ib2R5bm9ib2R5bm9ib2R5bm8";
/// Sign-ins that wait for their turn; further ones are told to come back.
const WAITING_MAX: usize = 8;

/// Why a password was not hashed or compared.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many wait.
    #[error("too many sign-ins at a time")]
    Busy,
    /// argon2 failed (no memory).
    #[error("cannot hash a password: {0}")]
    Hash(String),
}

fn argon2() -> Result<Argon2<'static>, PasswordError> {
    let (memory_kib, passes, lanes) = PARAMETERS;
    let parameters = Params::new(memory_kib, passes, lanes, None)
        .map_err(|error| PasswordError::Hash(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters))
}

/// The argon2id hash of a password in PHC form, with a salt of its own.
///
/// # Errors
/// [`PasswordError::Hash`].
pub fn hash(password: &str) -> Result<String, PasswordError> {
    let hash = argon2()?.hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|error| PasswordError::Hash(error.to_string()))
}

/// Is this the password of that hash? A hash that cannot be read matches nothing.
fn verify(password: &str, hash: &str) -> bool {
    password.len() <= PASSWORD_BYTES_MAX
        && PasswordHash::new(hash)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// Hashes one password at a time, off the thread that serves.
#[derive(Clone, Debug)]
pub struct Passwords {
    turn: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Passwords {
        Passwords { turn: Arc::new(Semaphore::new(1)), places: Arc::new(Semaphore::new(1 + WAITING_MAX)) }
    }
}

impl Passwords {
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let Ok(_place) = self.places.try_acquire() else { return Err(PasswordError::Busy) };
        let turn = self.turn.clone().acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        let work = move || {
            let _turn = turn;
            let done = work();
            vakt_wire::heap::trim();
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| PasswordError::Hash(error.to_string()))
    }

    /// Is this the password of that hash? `None` for a user who is not there takes as long and is no.
    ///
    /// # Errors
    /// [`PasswordError::Busy`].
    pub async fn check(&self, password: String, known: Option<String>) -> Result<bool, PasswordError> {
        let exists = known.is_some();
        let hash = known.unwrap_or_else(|| NOBODY.to_owned());
        Ok(self.in_turn(move || verify(&password, &hash)).await? && exists)
    }

    /// The hash of a new password.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        self.in_turn(move || hash(&password)).await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_nobody_costs_what_a_real_one_does() {
        let (nobody, real) = (PasswordHash::new(NOBODY).unwrap(), hash("x").unwrap());
        let real = PasswordHash::new(&real).unwrap();
        assert_eq!((nobody.algorithm, &nobody.params), (real.algorithm, &real.params));
        assert_eq!(nobody.hash.unwrap().len(), real.hash.unwrap().len());
    }

    #[tokio::test]
    async fn a_password_is_known_again_and_nobody_has_none() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.check("correct horse".into(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.check("wrong".into(), Some(hash)).await.unwrap());
        assert!(!passwords.check("x".into(), None).await.unwrap());
        assert!(!passwords.check("x".into(), Some("no hash".into())).await.unwrap());
    }
}
