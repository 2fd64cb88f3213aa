//! sd_notify(3), the receiving half: one socket a service, so the sender is known by the socket.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use anyhow::Context;

use vakt_wire::config::Hostname;

use super::advertisements::Advertisements;
use crate::sandbox::RUN;

/// Longest datagram that is read; systemd's own bound is larger, our services' lines are short.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Datagrams taken from one service before the others are looked at again.
const BURST_MAX: usize = 16;

/// What a service said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// READY=1.
    Ready,
    /// STATUS=…
    Status(String),
    /// X_VAKT_CONSOLE=…: a line for the person at the machine.
    Console(String),
    /// X_VAKT_NOTE=…: what is not as it should be, for `/v1/machine`.
    Note(String),
    /// X_VAKT_HOSTNAME=…: the name that DHCP gives.
    Hostname(Hostname),
    /// X_VAKT_ADVERTISEMENTS=on|off LINK: whether a link is to take router advertisements.
    Advertisements(Advertisements),
}

/// The receiving socket of one service.
#[derive(Debug)]
pub struct NotifySocket(UnixDatagram);

impl NotifySocket {
    /// Makes `/run/vakt/notify/<service>/socket`, which the room shows as `/run/vakt/notify/socket`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(service: &str, uid: u32) -> anyhow::Result<NotifySocket> {
        let directory = Path::new(RUN).join("notify").join(service);
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let path = directory.join("socket");
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).with_context(|| format!("cannot bind {}", path.display()))?;
        socket.set_nonblocking(true)?;
        chown(&path, Some(uid), Some(uid))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(NotifySocket(socket))
    }

    /// Reads what has arrived, at most 16 datagrams.
    pub fn read(&self) -> Vec<Notice> {
        let mut notices = Vec::new();
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        for _ in 0..BURST_MAX {
            let Ok(length) = self.0.recv(&mut buffer) else { break };
            notices.extend(parse(&String::from_utf8_lossy(&buffer[..length])));
        }
        notices
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn parse(message: &str) -> Vec<Notice> {
    let notice = |line: &str| {
        let (key, value) = line.split_once('=')?;
        match key {
            "READY" if value == "1" => Some(Notice::Ready),
            "STATUS" => Some(Notice::Status(value.chars().take(200).collect())),
            "X_VAKT_NOTE" => Some(Notice::Note(value.chars().take(200).collect())),
            "X_VAKT_HOSTNAME" => Hostname::try_from(value.to_owned()).ok().map(Notice::Hostname),
            "X_VAKT_ADVERTISEMENTS" => Advertisements::parse(value).map(Notice::Advertisements),
            "X_VAKT_CONSOLE" => Some(Notice::Console(value.chars().take(200).collect())),
            _ => None,
        }
    };
    message.lines().filter_map(notice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_keys_are_taken_and_others_passed_over() {
        let said = parse(
            "READY=1\nSTATUS=listening\nFDSTORE=1\nREADY=0\nnonsense\nX_VAKT_CONSOLE=code\nX_VAKT_HOSTNAME=a b",
        );
        assert_eq!(said, [Notice::Ready, Notice::Status("listening".into()), Notice::Console("code".into())]);
    }
}
