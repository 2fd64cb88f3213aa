//! TCP connections counted twice: by the programs and in /proc/net/tcp. The difference says whether the programs see
//! everything.

use std::path::Path;

use vakt_ebpf::{Attached, Unavailable, is_apart};

use crate::files::content;

/// Times that both are read again when connections came or went in between; then the last pair is taken.
const TRIES_MAX: u32 = 4;

/// What is read of /proc/net/tcp at once: some 1,700 sockets.
const TABLE_BYTES: usize = 256 << 10;

/// `01` in the state column of /proc/net/tcp (include/net/tcp_states.h).
const ESTABLISHED: &str = "01";

/// What was open before the programs were attached.
pub struct Sockets {
    before: Option<f64>,
}

/// Connections that are established in our network namespace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check {
    /// As the programs count: those that were there before, and what opened, less what closed.
    pub by_programs: f64,
    /// As /proc/net/tcp and tcp6 list them.
    pub in_proc: f64,
}

impl Sockets {
    /// Notes what is open now.
    pub fn begin(tcp: Option<&Attached>, proc: &Path) -> Sockets {
        let before = tcp.and_then(|group| both(group, proc).ok().flatten());
        Sockets { before: before.map(|(since, in_proc)| in_proc - since) }
    }

    /// Both counts now; `None` where /proc/net/tcp cannot be read.
    ///
    /// # Errors
    /// When the programs' counters cannot be read.
    pub fn check(&self, tcp: &Attached, proc: &Path) -> Result<Option<Check>, Unavailable> {
        let Some(before) = self.before else { return Ok(None) };
        let found = both(tcp, proc)?;
        Ok(found.map(|(since, in_proc)| Check { by_programs: before + since, in_proc }))
    }
}

/// Opened less closed by the programs, and established in /proc, at one moment if there is one.
fn both(tcp: &Attached, proc: &Path) -> Result<Option<(f64, f64)>, Unavailable> {
    let mut last = None;
    for _ in 0..TRIES_MAX {
        let first = tcp.tcp()?;
        let Some(in_proc) = listed(proc) else { return Ok(None) };
        let second = tcp.tcp()?;
        last = Some((second.opened_here as f64 - second.closed_here as f64, in_proc));
        if (first.opened_here, first.closed_here) == (second.opened_here, second.closed_here) {
            break;
        }
    }
    Ok(last)
}

fn listed(proc: &Path) -> Option<f64> {
    // Process 1 is in the machine's network, also where we are in none.
    let net = proc.join(if is_apart() { "1/net" } else { "net" });
    // In few large pieces: the kernel goes through its whole table from the start for each.
    let mut buffer = vec![0; TABLE_BYTES];
    let four = content(&net.join("tcp"), &mut buffer)?;
    // A kernel without IPv6 has no such file.
    let six = content(&net.join("tcp6"), &mut buffer).unwrap_or_default();
    Some(established(&four) + established(&six))
}

fn established(text: &str) -> f64 {
    text.lines().skip(1).filter(|line| line.split_whitespace().nth(3) == Some(ESTABLISHED)).count() as f64
}

#[cfg(test)]
mod tests {
    use super::established;

    #[test]
    fn listeners_and_ends_of_connections_are_not_established() {
        let text = "  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 0\n   \
                    1: 0100007F:1F90 0100007F:A0B0 01 0\n   2: 0100007F:1F90 0100007F:A0B1 06 0\n";
        assert_eq!(established(text), 1.0);
        assert_eq!(established(""), 0.0);
    }
}
