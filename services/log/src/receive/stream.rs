//! Syslog by TCP (RFC 6587), both framings.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::intake::{Input, Intake, Raw};
use crate::syslog::framing::{Found, Framer};
use crate::time;

/// Senders connected at a time; further ones wait in the backlog.
pub const CONNECTIONS_MAX: usize = 256;
/// A sender that says nothing for this long is disconnected; rsyslog and syslog-ng reconnect by themselves.
const IDLE_MAX: Duration = Duration::from_secs(3600);
/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;
/// After `accept` failed (out of descriptors, say), the next try comes this much later.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Accepts and reads senders until `stop`; returns when all of them are handed in.
pub async fn tcp(listener: TcpListener, intake: Arc<Intake>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let senders = TaskTracker::new();
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = places.clone().acquire_owned() => place,
        };
        // The semaphore is never closed.
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let (intake, stop) = (intake.clone(), stop.clone());
                senders.spawn(async move {
                    sender(stream, from.ip().to_canonical(), &intake, &stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a syslog sender");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    senders.close();
    senders.wait().await;
}

async fn sender(mut stream: TcpStream, from: IpAddr, intake: &Intake, stop: &CancellationToken) {
    let mut framer = Framer::default();
    let mut buffer = vec![0; READ_BYTES];
    let mut messages: Vec<Found> = Vec::new();
    loop {
        let read = tokio::select! {
            () = stop.cancelled() => break,
            read = tokio::time::timeout(IDLE_MAX, stream.read(&mut buffer)) => read,
        };
        match read {
            Ok(Ok(length @ 1..)) => framer.feed(&buffer[..length], &mut |found| messages.push(found)),
            Ok(Ok(0)) | Err(_) => break,
            Ok(Err(error)) => {
                tracing::debug!(%from, %error, "syslog sender broke off");
                break;
            }
        }
        hand_in(&mut messages, from, intake).await;
    }
    framer.finish(&mut |found| messages.push(found));
    hand_in(&mut messages, from, intake).await;
}

async fn hand_in(messages: &mut Vec<Found>, from: IpAddr, intake: &Intake) {
    let received_ns = time::now();
    for found in messages.drain(..) {
        intake.metrics.received_tcp.add(1);
        intake.metrics.truncated.add(u64::from(found.truncated));
        intake.deliver(Raw::Syslog { bytes: found.message, received_ns, input: Input::Tcp(from) }).await;
    }
}
