//! The peer's system bus, through the SSH connection.
//!
//! First by `direct-streamlocal@openssh.com` to the bus socket itself; where sshd refuses that, by
//! `systemd-stdio-bridge` as a command. The bus checks the uid that sshd connects with, so the
//! EXTERNAL handshake names the *remote* uid, learned once by `id -u`.

use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use russh::ChannelMsg;
use russh::client::Msg;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use zbus::connection::socket::{self, Split};
use zbus::connection::{AuthMechanism, Builder};
use zbus::export::async_trait::async_trait;

use crate::Session;
use crate::systemd::BusError;

/// Where every distribution has its system bus.
const BUS_SOCKET: &str = "/run/dbus/system_bus_socket";

/// systemd's own bridge, for an sshd without stream-local forwarding.
const BRIDGE: &str = "systemd-stdio-bridge";

/// Opening the bus, `id -u` and handshake included, takes at most this long.
pub(crate) const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// A method call without an answer for this long has failed. polkit may take a while on a machine
/// that is short of memory.
pub(crate) const CALL_WITHIN: Duration = Duration::from_secs(15);

impl Session {
    /// The numeric uid of our user on the peer; asked for once a session.
    pub(crate) async fn remote_uid(&self) -> Result<u32, BusError> {
        let ask = || async {
            let output = self.exec("id -u", b"", 64, OPEN_WITHIN).await?;
            let text = String::from_utf8_lossy(&output.stdout);
            text.trim().parse().map_err(|_| self.bus_closed(format!("`id -u` printed {text:?}")))
        };
        self.uid.get_or_try_init(ask).await.copied()
    }

    /// A fresh connection to the peer's system bus.
    pub(crate) async fn bus(&self) -> Result<zbus::Connection, BusError> {
        let opened = async {
            let uid = self.remote_uid().await?;
            let channel = match self.handle.channel_open_direct_streamlocal(BUS_SOCKET).await {
                Ok(channel) => channel,
                Err(russh::Error::ChannelOpenFailure(reason)) => {
                    tracing::info!(
                        peer = self.target.name(),
                        ?reason,
                        "no stream-local forwarding; using {BRIDGE}"
                    );
                    self.bridge().await?
                }
                Err(error) => return Err(self.bus_closed(error.to_string())),
            };
            Builder::socket(ChannelSocket(channel.into_stream()))
                .auth_mechanism(AuthMechanism::External)
                .user_id(uid)
                .method_timeout(CALL_WITHIN)
                .build()
                .await
                .map_err(|error| self.bus_closed(error.to_string()))
        };
        timeout(OPEN_WITHIN, opened)
            .await
            .unwrap_or_else(|_| Err(self.bus_closed(format!("no bus within {OPEN_WITHIN:?}"))))
    }

    async fn bridge(&self) -> Result<russh::Channel<Msg>, BusError> {
        let lost = |error: russh::Error| self.bus_closed(error.to_string());
        let mut channel = self.handle.channel_open_session().await.map_err(lost)?;
        channel.exec(true, BRIDGE).await.map_err(lost)?;
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => return Ok(channel),
                Some(ChannelMsg::WindowAdjusted { .. }) => {}
                other => return Err(self.bus_closed(format!("{BRIDGE} did not start: {other:?}"))),
            }
        }
    }

    pub(crate) fn bus_closed(&self, reason: String) -> BusError {
        BusError::Closed { peer: self.target.name().into(), reason }
    }
}

type Stream = russh::ChannelStream<Msg>;

/// An SSH channel as a socket for zbus. It carries bytes, never descriptors.
struct ChannelSocket(Stream);

struct Reader(tokio::io::ReadHalf<Stream>);

struct Writer(tokio::io::WriteHalf<Stream>);

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SSH channel, reading")
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SSH channel, writing")
    }
}

impl socket::Socket for ChannelSocket {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        let (read, write) = tokio::io::split(self.0);
        Split::new(Reader(read), Writer(write))
    }
}

#[async_trait]
impl socket::ReadHalf for Reader {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        Ok((self.0.read(buffer).await?, Vec::new()))
    }
}

#[async_trait]
impl socket::WriteHalf for Writer {
    async fn sendmsg(&mut self, buffer: &[u8], _fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.0.write(buffer).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.0.flush().await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}
