//! Syslog by datagram: UDP (RFC 5426) and unix sockets. One datagram is one message.

use std::sync::Arc;

use tokio::net::{UdpSocket, UnixDatagram};
use tokio_util::sync::CancellationToken;

use crate::intake::{Input, Intake, Raw};
use crate::syslog::MESSAGE_BYTES_MAX;
use crate::time;

/// Datagrams taken from a socket in one go, before others get their turn.
const BURST_MAX: usize = 256;

/// Receives on a UDP socket until `stop`.
pub async fn udp(socket: UdpSocket, intake: Arc<Intake>, stop: CancellationToken) {
    let mut buffer = vec![0; MESSAGE_BYTES_MAX + 1];
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            ready = socket.readable() => if let Err(error) = ready {
                tracing::error!(%error, "syslog UDP socket failed");
                return;
            },
        }
        let received_ns = time::now();
        for _ in 0..BURST_MAX {
            // Errors here are "no more datagrams", or an ICMP answer to something never sent.
            let Ok((length, from)) = socket.try_recv_from(&mut buffer) else { break };
            intake.metrics.received_udp.add(1);
            take(&intake, &buffer[..length], received_ns, Input::Udp(from.ip().to_canonical()));
        }
        tokio::task::yield_now().await;
    }
}

/// Receives on a unix datagram socket until `stop`. A sender on it waits when the intake is full: the
/// kernel's queue for the socket is the place where its messages stand.
pub async fn unix(socket: UnixDatagram, intake: Arc<Intake>, stop: CancellationToken) {
    let mut buffer = vec![0; MESSAGE_BYTES_MAX + 1];
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => return,
            received = socket.recv(&mut buffer) => received,
        };
        let length = match received {
            Ok(length) => length,
            Err(error) => {
                tracing::error!(%error, "syslog unix socket failed");
                return;
            }
        };
        intake.metrics.received_unix.add(1);
        let bytes = cut(&intake, &buffer[..length]);
        intake.deliver(Raw::Syslog { bytes, received_ns: time::now(), input: Input::Unix }).await;
    }
}

fn take(intake: &Intake, datagram: &[u8], received_ns: i64, input: Input) {
    let bytes = cut(intake, datagram);
    intake.offer(Raw::Syslog { bytes, received_ns, input });
}

/// The buffer is one byte longer than a message may be: a datagram that fills it was cut.
fn cut(intake: &Intake, datagram: &[u8]) -> Vec<u8> {
    if datagram.len() > MESSAGE_BYTES_MAX {
        intake.metrics.truncated.add(1);
    }
    datagram[..datagram.len().min(MESSAGE_BYTES_MAX)].to_vec()
}
