//! One command on the peer: bounded in time, in output, and in how many run at once.

use std::pin::pin;
use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelWriteHalf, Sig};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::Session;

/// Commands in flight on one connection; further ones wait. OpenSSH's MaxSessions is 10 by default, sshd
/// counts an ended command until it next cleans up (so up to twice this many), and systemd's bridge is one.
pub const EXECS_MAX: usize = 4;

/// Standard error kept of a command; the rest is dropped, since it is only ever shown.
pub const STDERR_BYTES_MAX: usize = 8 << 10;

/// What a command left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit status; `None` when a signal ended it.
    pub status: Option<u32>,
    /// All of standard output.
    pub stdout: Vec<u8>,
    /// The first 8 KiB of standard error, as text.
    pub stderr: String,
}

impl Output {
    /// Whether the command said that all went well.
    pub fn success(&self) -> bool {
        self.status == Some(0)
    }
}

/// Why a command gave no [`Output`].
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The connection is gone.
    #[error("peer {peer}: connection lost during `{command}`: {reason}")]
    Lost {
        /// The peer's name.
        peer: String,
        /// The command, cut to 60 characters.
        command: String,
        /// What the SSH layer said.
        reason: String,
    },
    /// The peer does not run commands for this user.
    #[error("peer {peer}: `{command}` is refused by the peer")]
    Refused {
        /// The peer's name.
        peer: String,
        /// The command, cut to 60 characters.
        command: String,
    },
    /// More standard output than the caller takes.
    #[error("peer {peer}: `{command}` printed more than {bytes_max} bytes")]
    TooLarge {
        /// The peer's name.
        peer: String,
        /// The command, cut to 60 characters.
        command: String,
        /// The bound that was exceeded.
        bytes_max: usize,
    },
    /// No end in time. The command was sent SIGKILL, which OpenSSH passes on from 7.9.
    #[error("peer {peer}: `{command}` did not end within {within:?}")]
    Late {
        /// The peer's name.
        peer: String,
        /// The command, cut to 60 characters.
        command: String,
        /// The deadline that passed.
        within: Duration,
    },
}

impl Session {
    /// Runs `command` in the user's shell on the peer, feeds it `stdin`, and waits for its end.
    /// The status is not judged: see [`Output::success`].
    ///
    /// # Errors
    /// Every kind of [`ExecError`]. Waiting for one of the [`EXECS_MAX`] places counts into `within`.
    pub async fn exec(
        &self,
        command: &str,
        stdin: &[u8],
        bytes_max: usize,
        within: Duration,
    ) -> Result<Output, ExecError> {
        let run = Run { peer: self.target.name(), command, bytes_max };
        timeout(within, run.whole(self, stdin)).await.unwrap_or_else(|_| {
            Err(ExecError::Late { peer: run.peer.into(), command: short(command), within })
        })
    }
}

/// The words for errors, kept in one place.
#[derive(Clone, Copy)]
struct Run<'a> {
    peer: &'a str,
    command: &'a str,
    bytes_max: usize,
}

impl Run<'_> {
    async fn whole(self, session: &Session, stdin: &[u8]) -> Result<Output, ExecError> {
        let _place = session.execs.acquire().await.map_err(|_| self.lost("session is closed"))?;
        let channel = session.handle.channel_open_session().await.map_err(|error| match error {
            russh::Error::ChannelOpenFailure(_) => self.refused(),
            other => self.lost(other),
        })?;
        channel.exec(true, self.command).await.map_err(|error| self.lost(error))?;
        let (mut read, write) = channel.split();
        let end = End(Some(write));
        let output = {
            // Written beside reading: a command that prints before it has read all would block us both.
            let feed = async {
                let Some(write) = &end.0 else { return Ok(()) };
                if !stdin.is_empty() {
                    write.data(stdin).await?;
                }
                write.eof().await
            };
            let (mut collect, mut feed) = (pin!(self.collect(&mut read)), pin!(feed));
            tokio::select! {
                output = &mut collect => output?,
                // A command that ends without reading its input is judged by its status, not by the pipe.
                _ = &mut feed => collect.await?,
            }
        };
        end.quietly().await;
        Ok(output)
    }

    async fn collect(self, read: &mut russh::ChannelReadHalf) -> Result<Output, ExecError> {
        let mut output = Output { status: None, stdout: Vec::new(), stderr: String::new() };
        let mut ended = false;
        while let Some(message) = read.wait().await {
            match message {
                ChannelMsg::Data { data } if output.stdout.len() + data.len() > self.bytes_max => {
                    return Err(self.too_large());
                }
                ChannelMsg::Data { data } => output.stdout.extend_from_slice(&data),
                ChannelMsg::ExtendedData { data, ext: 1 } => keep(&mut output.stderr, &data),
                ChannelMsg::ExitStatus { exit_status } => {
                    output.status = Some(exit_status);
                    ended = true;
                }
                ChannelMsg::ExitSignal { .. } => ended = true,
                ChannelMsg::Failure => return Err(self.refused()),
                _ => {}
            }
        }
        if ended { Ok(output) } else { Err(self.lost("the channel closed without an exit status")) }
    }

    fn lost(self, reason: impl std::fmt::Display) -> ExecError {
        ExecError::Lost { peer: self.peer.into(), command: short(self.command), reason: reason.to_string() }
    }

    fn refused(self) -> ExecError {
        ExecError::Refused { peer: self.peer.into(), command: short(self.command) }
    }

    fn too_large(self) -> ExecError {
        let (command, bytes_max) = (short(self.command), self.bytes_max);
        ExecError::TooLarge { peer: self.peer.into(), command, bytes_max }
    }
}

/// Ends the command when it is dropped early: a caller that went away must leave nothing running.
struct End(Option<ChannelWriteHalf<Msg>>);

impl End {
    /// The command ended by itself; only the channel is closed.
    async fn quietly(mut self) {
        if let Some(write) = self.0.take() {
            // The peer may have gone with the last byte.
            let _ = write.close().await;
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let (Some(write), Ok(runtime)) = (self.0.take(), Handle::try_current()) else { return };
        runtime.spawn(async move {
            // On a lost connection both fail, and sshd ends the command itself.
            let _ = write.signal(Sig::KILL).await;
            let _ = write.close().await;
        });
    }
}

fn keep(text: &mut String, data: &[u8]) {
    let room = STDERR_BYTES_MAX.saturating_sub(text.len());
    text.push_str(&String::from_utf8_lossy(&data[..data.len().min(room)]));
}

fn short(command: &str) -> String {
    let mut text: String = command.chars().take(60).collect();
    if text.len() < command.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_error_is_kept_up_to_its_bound() {
        let mut text = String::new();
        for _ in 0..10 {
            keep(&mut text, &[b'x'; 1000]);
        }
        assert_eq!(text.len(), STDERR_BYTES_MAX);
    }

    #[test]
    fn long_commands_are_cut_in_errors() {
        assert_eq!(short("id -u"), "id -u");
        assert_eq!(short(&"ä".repeat(61)).chars().count(), 61);
    }
}
