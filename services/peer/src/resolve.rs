//! `host:port` to addresses.

use std::io;
use std::net::SocketAddr;

/// The addresses of `text`, in the order to try them.
///
/// # Errors
/// When the name is unknown; the text names it.
pub async fn resolve(text: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = text.parse() {
        return Ok(vec![address]);
    }
    Ok(tokio::net::lookup_host(text).await?.collect())
}
