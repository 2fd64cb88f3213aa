//! A web server for a directory, with byte ranges, that counts what it gives and can misbehave.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hyper::StatusCode;
use tokio_util::sync::CancellationToken;
use vakt_wire::http::{Handler, Listener, Request, Response, Transport, error, serve, stream};
use vakt_wire::listen::Address;

/// How the server misbehaves with files whose name ends so.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection stands still after so many bytes, in all.
    Stall(u64),
    /// The connection breaks after so many bytes, each time.
    Break(u64),
    /// Bytes without end.
    Endless,
    /// Ranges are not known here.
    NoRanges,
    /// There is no such file.
    Missing,
    /// It is elsewhere.
    Elsewhere,
}

#[derive(Debug)]
pub struct Server {
    directory: PathBuf,
    address: Mutex<Option<SocketAddr>>,
    faults: Mutex<Vec<(String, Fault)>>,
    /// Bytes of targets that were given out.
    given: Mutex<u64>,
}

/// What is sent at once.
const CHUNK: usize = 64 << 10;

impl Server {
    pub async fn start(directory: &Path) -> Arc<Server> {
        let Listener::Tcp(listener) = "127.0.0.1:0".parse::<Address>().unwrap().bind().unwrap() else {
            panic!("not TCP")
        };
        let server = Server::of(directory);
        *server.address.lock().unwrap() = Some(listener.local_addr().unwrap());
        server.serve(Listener::Tcp(listener));
        server
    }

    pub fn of(directory: &Path) -> Arc<Server> {
        Arc::new(Server {
            directory: directory.to_owned(),
            address: Mutex::default(),
            faults: Mutex::default(),
            given: Mutex::default(),
        })
    }

    pub fn serve(self: &Arc<Server>, transport: impl Transport) {
        tokio::spawn(serve(transport, self.clone(), CancellationToken::new()));
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address.lock().unwrap().unwrap())
    }

    pub fn misbehave(&self, ending: &str, fault: Fault) {
        self.faults.lock().unwrap().push((ending.to_owned(), fault));
    }

    pub fn behave(&self) {
        self.faults.lock().unwrap().clear();
    }

    /// Bytes of targets given since the last call.
    pub fn given(&self) -> u64 {
        std::mem::take(&mut *self.given.lock().unwrap())
    }

    fn fault(&self, path: &str) -> Option<Fault> {
        let faults = self.faults.lock().unwrap();
        faults.iter().find(|(ending, _)| path.ends_with(ending)).map(|(_, fault)| fault.clone())
    }

    /// Sends `range` of `contents`, as far as `fault` lets it.
    fn send(
        self: Arc<Server>,
        contents: Bytes,
        range: Range<usize>,
        fault: Option<Fault>,
        is_target: bool,
    ) -> vakt_wire::http::Body {
        let (sender, body) = stream(1);
        tokio::spawn(async move {
            let mut at = range.start;
            while at < range.end || matches!(fault, Some(Fault::Endless)) {
                let chunk = match fault {
                    Some(Fault::Endless) => Bytes::from(vec![b' '; CHUNK]),
                    _ => contents.slice(at..range.end.min(at + CHUNK)),
                };
                match fault {
                    Some(Fault::Stall(after)) if *self.given.lock().unwrap() >= after => {
                        std::future::pending::<()>().await;
                    }
                    Some(Fault::Break(after)) if (at - range.start) as u64 >= after => {
                        // Whoever hears of it has gone already.
                        let _ = sender.send(Err(std::io::Error::other("cable pulled"))).await;
                        return;
                    }
                    _ => {}
                }
                at += chunk.len();
                if is_target {
                    *self.given.lock().unwrap() += chunk.len() as u64;
                }
                if sender.send(Ok(chunk)).await.is_err() {
                    return;
                }
            }
        });
        body
    }
}

impl Handler for Server {
    async fn handle(self: Arc<Self>, request: Request) -> Response {
        let path = request.path().trim_start_matches('/').to_owned();
        let fault = self.fault(&path);
        let contents = match (&fault, std::fs::read(self.directory.join(&path))) {
            (Some(Fault::Missing), _) | (_, Err(_)) => return error(StatusCode::NOT_FOUND, path),
            (_, Ok(contents)) => Bytes::from(contents),
        };
        if let Some(Fault::Elsewhere) = fault {
            let to = hyper::Response::builder().status(302).header("location", "http://127.0.0.1:1/");
            return to.body(vakt_wire::http::empty()).unwrap();
        }
        let length = contents.len();
        let asked = request.header("range").filter(|_| !matches!(fault, Some(Fault::NoRanges)));
        let range =
            asked.and_then(|text| text.strip_prefix("bytes=")?.split_once('-')).map(|(first, last)| {
                first.parse::<usize>().unwrap()..(last.parse::<usize>().unwrap() + 1).min(length)
            });
        let mut answer = hyper::Response::builder();
        let range = match range {
            Some(range) if range.start >= length => {
                let none = answer.status(416).header("content-range", format!("bytes */{length}"));
                return none.body(vakt_wire::http::empty()).unwrap();
            }
            Some(range) => {
                let said = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                answer = answer.status(206).header("content-range", said);
                range
            }
            None => 0..length,
        };
        if !matches!(fault, Some(Fault::Endless)) {
            answer = answer.header("content-length", range.len());
        }
        let is_target = path.starts_with("targets/");
        answer.body(self.send(contents, range, fault, is_target)).unwrap()
    }
}
