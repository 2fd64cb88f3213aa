//! The kernel's log, from /dev/kmsg.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;

use crate::intake::{Intake, Raw};
use crate::kmsg::Machine;
use crate::time;

/// Longest record that the kernel hands out (PRINTK_MESSAGE_MAX is 2 KiB, escapes make it longer).
const RECORD_BYTES_MAX: usize = 8 << 10;

/// This machine, as its kernel's records need it.
pub fn machine() -> Machine {
    let monotonic = clock_gettime(ClockId::Monotonic);
    let since_boot_ns = monotonic.tv_sec.saturating_mul(time::SECOND).saturating_add(monotonic.tv_nsec);
    let uname = rustix::system::uname();
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Machine {
        hostname: uname.nodename().to_string_lossy().into_owned(),
        boot_id: boot_id.trim().to_owned(),
        booted_ns: time::now().saturating_sub(since_boot_ns),
    }
}

/// Reads records after `last_seen` (a sequence number of this boot) until `stop`, then what comes.
///
/// # Errors
/// When the device cannot be opened (no CAP_SYSLOG) or read.
pub async fn kernel(
    path: &Path,
    last_seen: Option<u64>,
    intake: Arc<Intake>,
    stop: CancellationToken,
) -> io::Result<()> {
    // O_NONBLOCK, so that the reactor can wait for the next record.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    // A character device that can be polled is read like a pipe: a record a read(2).
    let device = pipe::Receiver::from_file_unchecked(file)?;
    let mut buffer = vec![0; RECORD_BYTES_MAX];
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            ready = device.readable() => ready?,
        }
        match device.try_read(&mut buffer) {
            Ok(length) => {
                let record = &buffer[..length];
                if last_seen.is_some_and(|last| sequence(record).is_some_and(|number| number <= last)) {
                    continue;
                }
                intake.metrics.received_kmsg.add(1);
                intake.deliver(Raw::Kernel { bytes: record.to_vec() }).await;
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {}
                // The ring was overwritten before it was read; the next read goes on with its oldest record.
                io::ErrorKind::BrokenPipe => intake.metrics.kmsg_overrun.add(1),
                _ => return Err(error),
            },
        }
    }
}

/// The number between the first and the second comma.
fn sequence(record: &[u8]) -> Option<u64> {
    std::str::from_utf8(record).ok()?.split(',').nth(1)?.parse().ok()
}
