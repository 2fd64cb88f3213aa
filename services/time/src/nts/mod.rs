//! Network Time Security (RFC 8915): keys and cookies by TLS, then packets that nobody else can make.

pub mod key_exchange;
pub mod record;
pub mod seal;

/// What the key exchange gave: to whom packets go, the keys of both directions, and cookies, each good for one
/// packet.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// The NTP server, as host and port.
    pub server: String,
    /// The key of our packets.
    pub to_server: [u8; 32],
    /// The key of the server's.
    pub to_client: [u8; 32],
    /// Cookies that were not used yet.
    pub cookies: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session with {} and {} cookies", self.server, self.cookies.len())
    }
}
