//! The connection: dial, check the host key, sign in, and hand out channels.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, Handle};
use russh::keys::{Algorithm, HashAlg, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

use crate::exec::EXECS_MAX;
use crate::target::{Target, fingerprint};
use vakt_reach::resolve::resolve;

/// Each of the steps connect, handshake and sign-in must be over within this time.
pub const STEP_WITHIN: Duration = Duration::from_secs(10);

/// Silence after which the peer is asked whether it is there; after three unanswered questions the
/// connection counts as dead.
pub const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEPALIVES_MAX: usize = 3;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("peer {peer}: cannot resolve {address}: {source}")]
    Resolve {
        /// The peer's name.
        peer: String,
        /// Host and port as configured.
        address: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nobody answers there.
    #[error("peer {peer}: cannot connect to {address}: {source}")]
    Dial {
        /// The peer's name.
        peer: String,
        /// Host and port as configured.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Another machine answers, or the machine was set up anew.
    #[error(
        "peer {peer}: host key mismatch: pinned {pinned}, {address} showed {found}; if the machine was set up anew, put its new key into the config"
    )]
    HostKey {
        /// The peer's name.
        peer: String,
        /// Host and port as configured.
        address: String,
        /// Fingerprint from the config.
        pinned: String,
        /// Fingerprint of the key that was shown.
        found: String,
    },
    /// The SSH handshake failed.
    #[error("peer {peer}: SSH handshake with {address} failed: {reason}")]
    Handshake {
        /// The peer's name.
        peer: String,
        /// Host and port as configured.
        address: String,
        /// What went wrong.
        reason: String,
    },
    /// The peer does not take our key for this user.
    #[error(
        "peer {peer}: {user} is not let in with our key; add its public key to the user's authorized_keys"
    )]
    SignIn {
        /// The peer's name.
        peer: String,
        /// The user that was tried.
        user: String,
    },
    /// A step took longer than [`STEP_WITHIN`].
    #[error("peer {peer}: {step} took longer than {within:?}")]
    Late {
        /// The peer's name.
        peer: String,
        /// `connect`, `handshake` or `sign-in`.
        step: &'static str,
        /// The deadline that passed.
        within: Duration,
    },
}

/// A signed-in connection. Dropping it closes it, with every channel on it.
pub struct Session {
    pub(crate) target: Target,
    pub(crate) handle: Handle<Pinned>,
    pub(crate) execs: Semaphore,
    pub(crate) uid: OnceCell<u32>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({:?}, open: {})", self.target, !self.is_closed())
    }
}

impl Session {
    /// Dials, checks that the peer holds the pinned host key, and signs in.
    ///
    /// # Errors
    /// Every kind of [`ConnectError`]; each names the peer.
    pub async fn connect(target: &Target) -> Result<Session, ConnectError> {
        let stream = dial(target).await?;
        let pinned = Pinned { key: target.host_key().clone() };
        let shaken = client::connect_stream(Arc::new(config(target)), stream, pinned);
        let mut handle = timeout(STEP_WITHIN, shaken)
            .await
            .map_err(|_| late(target, "handshake"))?
            .map_err(|error| handshake_failed(target, error))?;
        let key = PrivateKeyWithHashAlg::new(target.key().clone(), None);
        let signed_in = timeout(STEP_WITHIN, handle.authenticate_publickey(target.user(), key))
            .await
            .map_err(|_| late(target, "sign-in"))?
            .map_err(|error| handshake_failed(target, HandshakeError::Ssh(error)))?;
        if !signed_in.success() {
            return Err(ConnectError::SignIn { peer: target.name().into(), user: target.user().into() });
        }
        Ok(Session { target: target.clone(), handle, execs: Semaphore::new(EXECS_MAX), uid: OnceCell::new() })
    }

    /// Whom this connection goes to.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Whether the connection is gone; it never comes back, a new one must be made.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Says goodbye, so that the peer's log shows an orderly end. Waits for nothing.
    pub async fn close(&self) {
        // The connection may be gone already, which is what was wanted.
        let _ = self.handle.disconnect(russh::Disconnect::ByApplication, "done", "en").await;
    }
}

async fn dial(target: &Target) -> Result<TcpStream, ConnectError> {
    let (peer, address) = (|| target.name().to_owned(), || target.address().to_owned());
    let addresses = timeout(STEP_WITHIN, resolve(target.address()))
        .await
        .map_err(|_| late(target, "connect"))?
        .map_err(|source| ConnectError::Resolve { peer: peer(), address: address(), source })?;
    let stream = timeout(STEP_WITHIN, TcpStream::connect(&*addresses))
        .await
        .map_err(|_| late(target, "connect"))?
        .map_err(|source| ConnectError::Dial { peer: peer(), address: address(), source })?;
    // Calls are small and answered one by one; without Nagle each saves a delayed acknowledgement.
    stream.set_nodelay(true).map_err(|source| ConnectError::Dial {
        peer: peer(),
        address: address(),
        source,
    })?;
    Ok(stream)
}

fn config(target: &Target) -> client::Config {
    // Only the pinned kind of key is asked for, so a peer with several shows the one we know.
    let kinds = match target.host_key().algorithm() {
        Algorithm::Rsa { .. } => vec![
            Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
            Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
        ],
        other => vec![other],
    };
    client::Config {
        client_id: russh::SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-Vakt_", env!("CARGO_PKG_VERSION")))),
        preferred: russh::Preferred { key: Cow::Owned(kinds), ..russh::Preferred::default() },
        keepalive_interval: Some(KEEPALIVE_EVERY),
        keepalive_max: KEEPALIVES_MAX,
        ..client::Config::default()
    }
}

fn late(target: &Target, step: &'static str) -> ConnectError {
    ConnectError::Late { peer: target.name().into(), step, within: STEP_WITHIN }
}

fn handshake_failed(target: &Target, error: HandshakeError) -> ConnectError {
    let (peer, address) = (target.name().to_owned(), target.address().to_owned());
    match error {
        HandshakeError::HostKey { found } => {
            ConnectError::HostKey { peer, address, pinned: target.host_fingerprint(), found }
        }
        HandshakeError::Ssh(error) => ConnectError::Handshake { peer, address, reason: error.to_string() },
    }
}

/// Accepts exactly one host key, and no channel that the peer would open.
pub(crate) struct Pinned {
    key: Arc<PublicKey>,
}

#[derive(Debug)]
pub(crate) enum HandshakeError {
    HostKey { found: String },
    Ssh(russh::Error),
}

impl From<russh::Error> for HandshakeError {
    fn from(error: russh::Error) -> HandshakeError {
        HandshakeError::Ssh(error)
    }
}

impl client::Handler for Pinned {
    type Error = HandshakeError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, HandshakeError> {
        let shown_key = shown.public_key();
        // Certificates are never asked for; one that comes anyway is judged by nothing but its key.
        if shown.certificate().is_none() && shown_key.key_data() == self.key.key_data() {
            return Ok(true);
        }
        Err(HandshakeError::HostKey { found: fingerprint(&shown_key) })
    }
}
