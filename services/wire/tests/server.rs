//! The HTTP server on real sockets: its bounds, its callers' identity, and its end.
#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped here fails the test")]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vakt_wire::http::{Bounds, Handler, Peer, Request, Response, error, serve_within, text};
use vakt_wire::listen::Address;
use vakt_wire::role::{Role, permits};

/// Bounds of time that a test sees the end of.
const SOON: Duration = Duration::from_millis(100);
/// Bounds of time that no test reaches.
const NEVER: Duration = Duration::from_secs(3600);

/// Nothing runs into a bound unless the test lowers it.
const WIDE: Bounds =
    Bounds { connections_max: 100, head_bytes_max: 16 << 10, head_within: NEVER, drain_max: NEVER };

/// Answers at once, except on `/slow`: there a permit of `let_go` is waited for.
struct Works {
    seen: Mutex<Vec<String>>,
    entered: Semaphore,
    let_go: Semaphore,
}

impl Handler for Works {
    async fn handle(self: Arc<Self>, request: Request) -> Response {
        let path = request.path().to_owned();
        self.seen.lock().unwrap().push(path.clone());
        self.entered.add_permits(1);
        if path == "/slow" {
            self.let_go.acquire().await.unwrap().forget();
        }
        if path == "/web-only" {
            let Peer::Unix { uid } = request.peer else { return error(StatusCode::FORBIDDEN, "no uid") };
            // The server's own uid is that of the store, whoever runs the test.
            if !permits(uid, Role::Store.uid(), &[Role::Web]) {
                return error(StatusCode::FORBIDDEN, format!("uid {uid} may not use {path}"));
            }
            return text(StatusCode::OK, format!("uid {uid}"));
        }
        text(StatusCode::OK, format!("done {path}"))
    }
}

struct Server {
    directory: tempfile::TempDir,
    works: Arc<Works>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Server {
    fn start(bounds: Bounds) -> Server {
        let directory = tempfile::tempdir().unwrap();
        // Callers of other uids must be able to reach the socket.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let listener = Address::Unix(directory.path().join("http.sock")).bind().unwrap();
        let (seen, entered, let_go) = (Mutex::default(), Semaphore::new(0), Semaphore::new(0));
        let works = Arc::new(Works { seen, entered, let_go });
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve_within(bounds, listener, works.clone(), stop.clone()));
        Server { directory, works, stop, serving }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("http.sock")
    }

    async fn connect(&self) -> Caller {
        Caller(UnixStream::connect(self.socket()).await.unwrap())
    }

    /// Waits until the handler has begun one more request.
    async fn entered(&self) {
        self.works.entered.acquire().await.unwrap().forget();
    }

    fn seen(&self) -> Vec<String> {
        self.works.seen.lock().unwrap().clone()
    }
}

struct Caller(UnixStream);

impl Caller {
    async fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).await.unwrap();
    }

    async fn get(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: vakt\r\n\r\n")).await;
    }

    /// One answer on a connection that stays open: status line and body.
    async fn answer(&mut self) -> String {
        let mut text = String::new();
        while !text.ends_with("\r\n\r\n") {
            text.push(char::from(self.0.read_u8().await.unwrap()));
        }
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).await.unwrap();
        format!("{}: {}", text.lines().next().unwrap(), String::from_utf8(body).unwrap())
    }

    /// What comes until the server closes the connection.
    async fn rest(mut self) -> String {
        let mut bytes = Vec::new();
        // A reset is an end as well.
        let _ = self.0.read_to_end(&mut bytes).await;
        String::from_utf8(bytes).unwrap()
    }
}

#[tokio::test]
async fn a_connection_is_used_again_and_closed_when_it_is_idle_too_long() {
    let server = Server::start(Bounds { head_within: SOON, ..WIDE });
    let mut caller = server.connect().await;
    for path in ["/one", "/two"] {
        caller.get(path).await;
        assert_eq!(caller.answer().await, format!("HTTP/1.1 200 OK: done {path}"));
    }
    assert_eq!(caller.rest().await, "");
}

#[tokio::test]
async fn a_head_beyond_its_bound_is_refused() {
    let server = Server::start(WIDE);
    let mut caller = server.connect().await;
    caller.send(&format!("GET / HTTP/1.1\r\nhost: vakt\r\nx: {}\r\n\r\n", "y".repeat(17 << 10))).await;
    let said = caller.rest().await;
    assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_client_that_never_ends_its_head_is_closed_and_holds_nobody_up() {
    let server = Server::start(Bounds { head_within: SOON, ..WIDE });
    let mut slow = server.connect().await;
    slow.send("GET /never HTTP/1.1\r\nhost: va").await;
    let mut quick = server.connect().await;
    quick.get("/quick").await;
    assert_eq!(quick.answer().await, "HTTP/1.1 200 OK: done /quick");
    let said = slow.rest().await;
    assert!(!said.contains("200 OK"), "{said}");
    assert_eq!(server.seen(), ["/quick"]);
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let server = Server::start(Bounds { connections_max: 1, ..WIDE });
    let mut first = server.connect().await;
    first.get("/1").await;
    first.answer().await;
    let mut second = server.connect().await;
    second.get("/waits").await;
    // Each of these rounds is a chance to take the second one, if there were a place.
    for path in ["/2", "/3", "/4"] {
        first.get(path).await;
        first.answer().await;
    }
    assert_eq!(server.seen(), ["/1", "/2", "/3", "/4"]);
    drop(first);
    assert_eq!(second.answer().await, "HTTP/1.1 200 OK: done /waits");
}

#[tokio::test]
async fn a_caller_is_known_by_its_uid_and_a_stranger_refused() {
    let server = Server::start(WIDE);
    // Root becomes others; who is not root is a stranger to the store as well.
    let own = rustix::process::geteuid();
    let cases: &[(u32, &str)] = match own.is_root() {
        true => &[(Role::Web.uid(), "200"), (Role::Repair.uid(), "403"), (1000, "403"), (0, "200")],
        false => &[(own.as_raw(), "403")],
    };
    for (uid, status) in cases.iter().copied() {
        let socket = server.socket();
        // Credentials are a thread's own, and this one ends when it has connected.
        let connect = move || {
            let uid = rustix::process::Uid::from_raw(uid);
            if uid != own {
                rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            }
            std::os::unix::net::UnixStream::connect(socket).unwrap()
        };
        let stream = std::thread::spawn(connect).join().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut caller = Caller(UnixStream::from_std(stream).unwrap());
        caller.get("/web-only").await;
        let said = caller.answer().await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "uid {uid}: {said}");
        assert!(said.contains(&format!("uid {uid}")), "{said}");
    }
}

#[tokio::test]
async fn at_the_stop_requests_in_flight_finish_and_idle_connections_are_closed() {
    let server = Server::start(WIDE);
    let (mut busy, mut used) = (server.connect().await, server.connect().await);
    let fresh = server.connect().await;
    used.get("/used").await;
    used.answer().await;
    server.entered().await;
    busy.get("/slow").await;
    server.entered().await;
    server.stop.cancel();
    assert_eq!((used.rest().await, fresh.rest().await), (String::new(), String::new()));
    assert!(!server.serving.is_finished());

    server.works.let_go.add_permits(1);
    assert_eq!(busy.answer().await, "HTTP/1.1 200 OK: done /slow");
    assert_eq!(busy.rest().await, "", "the answer is the last one");
    server.serving.await.unwrap();
    assert!(UnixStream::connect(server.directory.path().join("http.sock")).await.is_err());
}

#[tokio::test]
async fn what_does_not_finish_within_the_drain_is_cut() {
    let server = Server::start(Bounds { drain_max: SOON, ..WIDE });
    let (mut busy, mut half) = (server.connect().await, server.connect().await);
    half.send("GET /half HTTP/1.1\r\n").await;
    busy.get("/slow").await;
    server.entered().await;
    server.stop.cancel();
    server.serving.await.unwrap();
    assert_eq!(Arc::strong_count(&server.works), 1, "no request is worked on any more");
    assert_eq!((busy.rest().await, half.rest().await), (String::new(), String::new()));
}
