//! TLS on a listening TCP socket, as a transport for the shared HTTP server.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use vakt_wire::http::{Peer, Transport};

use crate::certificate::Identity;

/// Accepts TCP and makes it TLS (1.2 and 1.3, HTTP/1.1 only).
pub struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

/// The TLS side of the box' identity, for any number of listeners.
///
/// # Errors
/// When key and certificate do not belong together.
pub fn acceptor(identity: &Identity) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl Tls {
    /// TLS on `listener`.
    pub fn new(listener: TcpListener, acceptor: TlsAcceptor) -> Tls {
        Tls { listener, acceptor }
    }
}

impl Transport for Tls {
    type Raw = TcpStream;
    type Io = TlsStream<TcpStream>;

    async fn accept(&self) -> io::Result<(TcpStream, Peer)> {
        let (stream, address) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, Peer::Tcp(address)))
    }

    async fn establish(&self, raw: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(raw).await
    }
}
