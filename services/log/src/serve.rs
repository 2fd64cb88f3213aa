//! The service put together: directory, threads, sockets, and the order in which they end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, UdpSocket, UnixDatagram};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vakt_wire::http;
use vakt_wire::life::Life;
use vakt_wire::listen::{Address, Inherited};

use crate::append::Segment;
use crate::flush::Retention;
use crate::http::Service;
use crate::intake::{Batch, Intake, Parser};
use crate::query::{self, Arguments};
use crate::receive;
use crate::recover::recover;
use crate::ring::Ring;
use crate::shelf::{Sealed, Shelf};
use crate::stages::{self, Flusher, SEALED_MAX, Writer};
use crate::time;

/// Bytes that the kernel may hold for the UDP socket; it grants at most net.core.rmem_max.
const UDP_BUFFER_BYTES: usize = 4 << 20;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory.
    pub data: PathBuf,
    /// Where HTTP is served, besides inherited sockets called `http`.
    pub listen: Vec<Address>,
    /// Where syslog streams are taken, besides `syslog-tcp`.
    pub syslog_tcp: Vec<SocketAddr>,
    /// Where syslog datagrams are taken, besides `syslog-udp`.
    pub syslog_udp: Vec<SocketAddr>,
    /// Where local syslog datagrams are taken, besides `syslog-unix`.
    pub syslog_unix: Vec<PathBuf>,
    /// The kernel's log, when it is to be read.
    pub kmsg: Option<PathBuf>,
    /// What is kept.
    pub retention: Retention,
}

/// The threads behind the receivers.
struct Stages {
    intake: Arc<Intake>,
    write_ring: Arc<Ring<Batch>>,
    stopping: Arc<AtomicBool>,
    parser: JoinHandle<()>,
    writer: JoinHandle<Result<()>>,
    flusher: JoinHandle<()>,
}

/// Serves until SIGTERM or SIGINT, then drains and returns.
///
/// # Errors
/// When the data directory or a socket cannot be had, or the disk fails a sync.
pub async fn serve(options: Options) -> Result<()> {
    let life = Life::start().context("cannot install signal handlers")?;
    let mut inherited = Inherited::take();
    let intake = Arc::new(Intake::default());
    let recovered =
        recover(&options.data, intake.metrics.clone()).context("cannot use the data directory")?;
    let _lock = recovered.lock;
    let shelf = recovered.shelf;
    let failed = CancellationToken::new();
    let stages = start_stages(&options, &intake, &shelf, recovered.next_segment, failed.clone())?;

    let stop = life.stopping();
    let receivers = TaskTracker::new();
    let sources = receive_all(&options, &mut inherited, &intake, &shelf, &receivers, &stop)?;
    let listeners = inherited.http("http", &options.listen)?;
    let service = Arc::new(Service::new(intake.clone(), stages.write_ring.clone(), shelf.clone()));
    let sizes = shelf.sizes();
    tracing::info!(data = %options.data.display(), blocks = sizes.blocks, sources, "serving");
    life.ready(&format!("{sources} sources, {} blocks", sizes.blocks));

    let serving = http::serve_all(listeners, service, stop.clone());
    let until_stop = async {
        serving.await;
        stop.cancelled().await;
    };
    tokio::select! {
        () = until_stop => {}
        () = failed.cancelled() => {
            // Nobody makes room any more: who waits for it must be told, or would not end.
            stop.cancel();
            stages.intake.close();
        }
    }
    receivers.close();
    receivers.wait().await;
    stages.intake.close();
    tokio::task::spawn_blocking(move || stages.join()).await?
}

fn start_stages(
    options: &Options,
    intake: &Arc<Intake>,
    shelf: &Arc<Shelf>,
    next_segment: u64,
    failed: CancellationToken,
) -> Result<Stages> {
    let append_dir = options.data.join("append");
    let segment = Segment::create(&append_dir, next_segment).context("cannot begin the append log")?;
    let write_ring = Arc::new(Ring::<Batch>::default());
    let (disk_full, stopping) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let (to_flusher, sealed) = std::sync::mpsc::sync_channel::<Sealed>(SEALED_MAX);
    let flusher = Flusher {
        shelf: shelf.clone(),
        append_dir: append_dir.clone(),
        retention: options.retention,
        disk_full: disk_full.clone(),
        stopping: stopping.clone(),
    };
    let writer = Writer::new(shelf.clone(), intake.clone(), append_dir, to_flusher, disk_full, segment);
    let parser = Parser { machine: receive::machine(), retention_ns: options.retention.age_ns };
    let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
    let (from, to) = (intake.clone(), write_ring.clone());
    let parser = named("parse").spawn(move || stages::parse(&from, &parser, &to))?;
    let ring = write_ring.clone();
    let writer = named("write").spawn(move || writer.run(&ring).inspect_err(|_| failed.cancel()))?;
    let flusher = named("flush").spawn(move || flusher.run(&sealed))?;
    Ok(Stages { intake: intake.clone(), write_ring, stopping, parser, writer, flusher })
}

impl Stages {
    /// Waits for the threads, in the order in which they end.
    fn join(self) -> Result<()> {
        self.stopping.store(true, Ordering::Release);
        let gone = |_| anyhow::anyhow!("a thread panicked");
        let written = if self.writer.is_finished() {
            // It failed: the parser may be waiting for room that nobody makes any more.
            self.write_ring.close();
            self.writer.join().map_err(gone)?
        } else {
            self.parser.join().map_err(gone)?;
            self.writer.join().map_err(gone)?
        };
        if written.is_ok() {
            self.flusher.join().map_err(gone)?;
        }
        tracing::info!(rows = self.intake.metrics.rows_appended.get(), "drained");
        written
    }
}

/// Starts every receiver and returns how many there are.
fn receive_all(
    options: &Options,
    inherited: &mut Inherited,
    intake: &Arc<Intake>,
    shelf: &Arc<Shelf>,
    receivers: &TaskTracker,
    stop: &CancellationToken,
) -> Result<usize> {
    let mut sources = 0;
    for socket in udp_sockets(options, inherited)? {
        receivers.spawn(receive::udp(socket, intake.clone(), stop.clone()));
        sources += 1;
    }
    for listener in tcp_listeners(options, inherited)? {
        receivers.spawn(receive::tcp(listener, intake.clone(), stop.clone()));
        sources += 1;
    }
    for socket in unix_sockets(options, inherited)? {
        receivers.spawn(receive::unix(socket, intake.clone(), stop.clone()));
        sources += 1;
    }
    if let Some(path) = options.kmsg.clone() {
        let last_seen = last_kernel_record(shelf);
        let (intake, stop) = (intake.clone(), stop.clone());
        receivers.spawn(async move {
            if let Err(error) = receive::kernel(&path, last_seen, intake, stop).await {
                tracing::error!(path = %path.display(), %error, "the kernel's log is not read any more");
            }
        });
        sources += 1;
    }
    Ok(sources)
}

fn udp_sockets(options: &Options, inherited: &mut Inherited) -> Result<Vec<UdpSocket>> {
    let mut sockets: Vec<std::net::UdpSocket> =
        inherited.named("syslog-udp").into_iter().map(Into::into).collect();
    for address in &options.syslog_udp {
        let socket = std::net::UdpSocket::bind(address)
            .with_context(|| format!("cannot receive syslog on udp {address}"))?;
        sockets.push(socket);
    }
    let each = |socket: std::net::UdpSocket| {
        socket.set_nonblocking(true)?;
        // The kernel grants what it allows; a smaller buffer only sheds sooner.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, UDP_BUFFER_BYTES);
        tracing::info!(address = %socket.local_addr()?, "receiving syslog by udp");
        Ok(UdpSocket::from_std(socket)?)
    };
    sockets.into_iter().map(each).collect()
}

fn tcp_listeners(options: &Options, inherited: &mut Inherited) -> Result<Vec<TcpListener>> {
    let mut listeners: Vec<std::net::TcpListener> =
        inherited.named("syslog-tcp").into_iter().map(Into::into).collect();
    for address in &options.syslog_tcp {
        let listener = std::net::TcpListener::bind(address)
            .with_context(|| format!("cannot receive syslog on tcp {address}"))?;
        listeners.push(listener);
    }
    let each = |listener: std::net::TcpListener| {
        listener.set_nonblocking(true)?;
        tracing::info!(address = %listener.local_addr()?, "receiving syslog by tcp");
        Ok(TcpListener::from_std(listener)?)
    };
    listeners.into_iter().map(each).collect()
}

fn unix_sockets(options: &Options, inherited: &mut Inherited) -> Result<Vec<UnixDatagram>> {
    let mut sockets: Vec<std::os::unix::net::UnixDatagram> =
        inherited.named("syslog-unix").into_iter().map(Into::into).collect();
    for path in &options.syslog_unix {
        // A socket file of an earlier run is in the way of bind(2); nothing else is removed.
        use std::os::unix::fs::FileTypeExt;
        if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
            std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        let socket = std::os::unix::net::UnixDatagram::bind(path)
            .with_context(|| format!("cannot receive syslog on {}", path.display()))?;
        sockets.push(socket);
    }
    let each = |socket: std::os::unix::net::UnixDatagram| {
        socket.set_nonblocking(true)?;
        Ok(UnixDatagram::from_std(socket)?)
    };
    sockets.into_iter().map(each).collect()
}

/// The newest kernel record of this boot that is on the shelf: reading goes on behind it.
fn last_kernel_record(shelf: &Shelf) -> Option<u64> {
    let machine = receive::machine();
    if machine.boot_id.is_empty() {
        // Without it the numbers of another boot could be taken for this one's: rather twice than never.
        return None;
    }
    let query = format!("format:=kmsg boot_id:=\"{}\" | fields kmsg.seq | limit 100", machine.boot_id);
    let arguments = Arguments::new([("query".to_owned(), query)]);
    let answer = query::query(shelf, &arguments, time::now()).ok()?;
    answer.values("kmsg.seq").filter_map(|number| number.parse().ok()).max()
}
