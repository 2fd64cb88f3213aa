//! What is installed: from a repository by URL, from an archive, after a power cut; in how much memory.
#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped here fails the test")]

mod bed;

use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use vakt_image::bundle::write_archive;
use vakt_update::manifest::PIECE_BYTES;
use vakt_wire::http::{CallError, Peer, Transport};

use bed::repository::{Fault, Server};
use bed::{Bed, noise};

#[tokio::test]
async fn an_update_comes_from_a_repository_by_url() {
    let mut bed = Bed::new("0.2.0").await;
    bed.start().await;
    let state = bed.check().await;
    assert_eq!(
        (&state["available"]["version"], &state["available"]["newer"]),
        (&json!("0.2.0"), &json!(true))
    );
    assert_eq!(state["slot_bytes"], bed::SLOT_BYTES);
    assert_eq!(bed.init.cleared(), 0, "a look changes nothing");
    let last = bed.install().await;
    assert_eq!((&last["outcome"], &last["version"]), (&json!("staged"), &json!("0.2.0")), "{last:#}");
    let total = last["progress"]["bytes_total"].as_u64().unwrap();
    let progress =
        ["bytes_written", "bytes_verified", "bytes_kept"].map(|key| last["progress"][key].as_u64());
    assert_eq!(progress, [Some(total), Some(total), Some(0)]);
    assert_eq!(bed.init.cleared(), 1);
    bed.assert_staged(&bed.update("0.2.0"));

    let last = bed.install().await;
    assert_eq!(last["progress"]["bytes_kept"], total, "the second time nothing is fetched: {last:#}");
    assert_eq!(last["progress"]["bytes_written"], 0);

    bed.kill();
    bed.init.boot("0.2.0");
    bed.start().await;
    assert_eq!(bed.state().await["last"]["outcome"], "booted");
    assert_eq!(bed.install().await["refused"]["kind"], "same-version");
}

#[tokio::test]
async fn the_newest_of_several_versions_is_taken() {
    let mut bed = Bed::new("0.10.0").await;
    bed.publish(&bed.update("0.9.0")).await;
    bed.start().await;
    assert_eq!(bed.install().await["version"], "0.10.0");
    bed.assert_staged(&bed.update("0.10.0"));
}

/// Killed in the middle of writing; the next install fetches what is missing and nothing else.
#[tokio::test]
async fn an_install_that_was_cut_off_goes_on_where_it_was() {
    let mut bed = Bed::new("0.2.0").await;
    bed.start().await;
    let stall_after = 3 * PIECE_BYTES + PIECE_BYTES / 2;
    bed.server.misbehave(".root", Fault::Stall(stall_after));
    let _: Value = bed.client().send(Method::POST, "/v1/update/install", &json!({})).await.unwrap();
    let written = |state: &Value| state["last"]["progress"]["bytes_written"].as_u64().unwrap();
    let state = bed.until(|state| written(state) == 3 * PIECE_BYTES).await;
    assert_eq!(state["phase"], "writing");
    bed.kill();
    assert!(!bed.init.is_staged());
    assert_eq!(bed.init.cleared(), 1, "the slot left the boot menu before the first byte was written");

    bed.server.behave();
    bed.server.given();
    bed.start().await;
    assert_eq!(bed.state().await["last"]["outcome"], "interrupted");
    let last = bed.install().await;
    assert_eq!(last["outcome"], "staged", "{last:#}");
    let total = last["progress"]["bytes_total"].as_u64().unwrap();
    assert_eq!(last["progress"]["bytes_kept"], 3 * PIECE_BYTES);
    assert_eq!(last["progress"]["bytes_written"], total - 3 * PIECE_BYTES);
    let manifest = std::fs::metadata(bed.target("x86_64.json")).unwrap().len();
    // The probe of each file's size is a byte.
    assert_eq!(bed.server.given(), total - 3 * PIECE_BYTES + manifest + 2, "bytes that came over the line");
    bed.assert_staged(&bed.update("0.2.0"));
}

/// Killed in the middle of writing: the next one goes on by itself.
#[tokio::test]
async fn an_install_that_was_cut_off_goes_on_by_itself() {
    let mut bed = Bed::new("0.2.0").await;
    bed.start().await;
    bed.server.misbehave(".root", Fault::Stall(3 * PIECE_BYTES + PIECE_BYTES / 2));
    let _: Value = bed.client().send(Method::POST, "/v1/update/install", &json!({})).await.unwrap();
    bed.until(|state| state["last"]["progress"]["bytes_written"] == 3 * PIECE_BYTES).await;
    bed.kill();

    bed.server.behave();
    bed.flags = vec!["--first-look".into(), "1s".into()];
    bed.start().await;
    let state = bed.until(|state| state["last"]["outcome"] == "staged").await;
    assert_eq!(state["last"]["progress"]["bytes_kept"], 3 * PIECE_BYTES);
    assert_eq!(state["last"]["resumed"], 1);
    bed.assert_staged(&bed.update("0.2.0"));
}

/// Every connection breaks after a piece and a half: each brings at least one piece on.
#[tokio::test]
async fn a_line_that_breaks_again_and_again_gets_there() {
    let mut bed = Bed::new("0.2.0").await;
    bed.start().await;
    bed.server.misbehave(".root", Fault::Break(PIECE_BYTES * 3 / 2));
    let last = bed.install().await;
    assert_eq!(last["outcome"], "staged", "{last:#}");
    bed.assert_staged(&bed.update("0.2.0"));
}

#[tokio::test]
async fn a_server_without_ranges_will_do() {
    let mut bed = Bed::new("0.2.0").await;
    bed.server.misbehave(".root", Fault::NoRanges);
    bed.server.misbehave(".efi", Fault::NoRanges);
    bed.start().await;
    assert_eq!(bed.install().await["outcome"], "staged");
    bed.assert_staged(&bed.update("0.2.0"));
}

#[tokio::test]
async fn an_update_comes_as_an_archive() {
    let mut bed = Bed::new("0.1.5").await;
    let update = bed.update("0.2.0");
    let files = bed.publish(&update).await;
    write_archive(&bed.at("repository"), &files, &bed.at("update.tar")).unwrap();
    let archive = std::fs::read(bed.at("update.tar")).unwrap();
    // No repository is configured, or needed.
    bed.config = "version = 1\n".into();
    bed.start().await;
    // A part of it first: what that brought is kept.
    let (status, _) = bed.upload(archive[..archive.len() / 2].to_vec()).await;
    assert_eq!(status, 422);
    let (status, answer) = bed.upload(archive).await;
    assert_eq!((status, &answer["staged"]), (200, &json!("0.2.0")), "{answer}");
    bed.assert_staged(&update);
    let last = bed.state().await["last"].clone();
    assert_eq!((&last["source"], &last["outcome"]), (&json!("archive"), &json!("staged")));
    assert!(last["progress"]["bytes_kept"].as_u64().unwrap() >= 2 * PIECE_BYTES, "{last:#}");
}

#[tokio::test]
async fn one_install_runs_at_a_time() {
    let mut bed = Bed::new("0.2.0").await;
    bed.start().await;
    bed.server.misbehave(".root", Fault::Stall(PIECE_BYTES));
    let _: Value = bed.client().send(Method::POST, "/v1/update/install", &json!({})).await.unwrap();
    bed.until(|state| state["phase"] == "writing").await;
    for (method, path) in [
        (Method::POST, "/v1/update/install"),
        (Method::POST, "/v1/update/check"),
        (Method::PUT, "/v1/update/archive"),
    ] {
        let refused = bed.client().send::<Value>(method, path, &json!({})).await;
        let busy =
            matches!(&refused, Err(CallError::Refused { status, .. }) if *status == StatusCode::CONFLICT);
        assert!(busy, "{path}: {refused:?}");
    }
}

/// 100 MiB from URL and archive, each: the peak is of the whole process, from its start.
#[tokio::test]
async fn memory_does_not_grow_with_the_update() {
    let mut bed = Bed::with_slot(128 << 20).await;
    let update = bed.sized("0.2.0", noise(5, 100 << 20), noise(6, 20 << 20));
    let files = bed.publish(&update).await;
    bed.start().await;
    let at_start = bed.peak_memory();
    assert_eq!(bed.install().await["outcome"], "staged");
    let by_url = bed.peak_memory();
    bed.kill();

    write_archive(&bed.at("repository"), &files, &bed.at("update.tar")).unwrap();
    std::fs::write(bed.at("slot-b"), vec![0; 128 << 20]).unwrap();
    bed.start().await;
    let (status, answer) = bed.upload(std::fs::read(bed.at("update.tar")).unwrap()).await;
    assert_eq!(status, 200, "{answer}");
    let by_archive = bed.peak_memory();
    let mib = |bytes: u64| bytes >> 20;
    eprintln!("peak MiB: {} at start, {} by URL, {} by archive", mib(at_start), mib(by_url), mib(by_archive));
    // memory_max_mib of the service's manifest, less a quarter.
    assert!(by_url.max(by_archive) < 36 << 20, "{by_url} and {by_archive} bytes");
}

/// TLS in front of the repository, with a certificate that only the config knows.
struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Transport for Tls {
    type Raw = tokio::net::TcpStream;
    type Io = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;

    async fn accept(&self) -> std::io::Result<(Self::Raw, Peer)> {
        let (stream, address) = self.listener.accept().await?;
        Ok((stream, Peer::Tcp(address)))
    }

    async fn establish(&self, raw: Self::Raw) -> std::io::Result<Self::Io> {
        self.acceptor.accept(raw).await
    }
}

#[tokio::test]
async fn a_server_with_tls_is_known_by_the_config_s_authorities() {
    let mut bed = Bed::new("0.2.0").await;
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Server::of(&bed.at("repository"));
    server.serve(Tls { listener, acceptor: TlsAcceptor::from(Arc::new(config)) });

    let section =
        format!("version = 1\n[update]\ncheck = \"off\"\nrepository = \"https://localhost:{port}\"\n");
    bed.config = section.clone();
    bed.start().await;
    let last = bed.install().await;
    assert_eq!(last["refused"]["kind"], "transfer", "{last:#}");
    assert!(last["refused"]["reason"].as_str().unwrap().contains("TLS"), "{last:#}");
    bed.kill();

    bed.config = format!("{section}authorities = \"\"\"\n{}\"\"\"\n", made.cert.pem());
    bed.start().await;
    assert_eq!(bed.install().await["outcome"], "staged");
    bed.assert_staged(&bed.update("0.2.0"));
}

#[tokio::test]
async fn the_service_stops_when_asked_and_tells_what_it_left() {
    let mut bed = Bed::new("0.2.0").await;
    bed.start().await;
    bed.server.misbehave(".root", Fault::Stall(PIECE_BYTES));
    let _: Value = bed.client().send(Method::POST, "/v1/update/install", &json!({})).await.unwrap();
    bed.until(|state| state["phase"] == "writing").await;
    let stopped = tokio::time::timeout(Duration::from_secs(11), bed.stop()).await.unwrap();
    assert!(stopped.success(), "{stopped}");
    bed.start().await;
    assert_eq!(bed.state().await["last"]["outcome"], "interrupted");
}
