//! From the services' output to the log service: RFC 5424 datagrams, as any syslog sender makes them.

use std::collections::VecDeque;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Lines kept while the log service is away or slow. Past that the oldest goes, and is counted.
const PENDING_MAX: usize = 1024;

/// Facility daemon (3), severity informational (6): the lines carry their own level.
const PRIORITY: u32 = 3 * 8 + 6;

/// The sender.
#[derive(Debug)]
pub struct Forward {
    socket: Option<UnixDatagram>,
    to: PathBuf,
    pending: VecDeque<Vec<u8>>,
    shed: u64,
}

impl Forward {
    /// Sends to the datagram socket at `to`, whenever it exists.
    pub fn new(to: PathBuf) -> Forward {
        let socket = UnixDatagram::unbound().ok().filter(|socket| socket.set_nonblocking(true).is_ok());
        Forward { socket, to, pending: VecDeque::new(), shed: 0 }
    }

    /// Takes a line of `service` and sends what it can.
    pub fn line(&mut self, hostname: &str, service: &str, pid: i32, line: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = rfc3339(now.as_secs(), now.subsec_micros());
        let message = format!("<{PRIORITY}>1 {time} {hostname} vakt-{service} {pid} - - {line}");
        if self.pending.len() == PENDING_MAX {
            self.pending.pop_front();
            self.shed += 1;
        }
        self.pending.push_back(message.into_bytes());
        self.flush();
    }

    /// Sends what is pending until the receiver's queue is full.
    pub fn flush(&mut self) {
        let Some(socket) = &self.socket else { return };
        while let Some(message) = self.pending.front() {
            // Any failure means "later": no receiver yet, or its queue is full.
            if socket.send_to(message, &self.to).is_err() {
                return;
            }
            self.pending.pop_front();
        }
    }

    /// Whether something waits to be sent.
    pub fn is_behind(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Lines lost because the log service was away too long.
    pub fn shed(&self) -> u64 {
        self.shed
    }
}

/// UTC time of seconds since the epoch (days to a date by Howard Hinnant's civil_from_days).
fn rfc3339(seconds: u64, micros: u32) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_part = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_part + 2) / 5 + 1;
    let month = if month_part < 10 { month_part + 3 } else { month_part - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        assert_eq!(rfc3339(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(951_782_400, 1), "2000-02-29T00:00:00.000001Z");
        assert_eq!(rfc3339(1_795_338_671, 250_000), "2026-11-22T09:11:11.250000Z");
    }

    #[test]
    fn lines_wait_for_the_log_service_and_the_oldest_are_shed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("syslog.sock");
        let mut forward = Forward::new(path.clone());
        for index in 0..PENDING_MAX + 5 {
            forward.line("vakt", "store", 1, &format!("line {index}"));
        }
        assert_eq!((forward.shed(), forward.is_behind()), (5, true));
        let receiver = UnixDatagram::bind(&path).unwrap();
        let mut buffer = [0; 200];
        for index in 5..PENDING_MAX + 5 {
            forward.flush();
            let length = receiver.recv(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            assert!(
                text.starts_with("<30>1 2") && text.ends_with(&format!("vakt-store 1 - - line {index}")),
                "{text}"
            );
        }
        assert!(!forward.is_behind());
    }
}
