//! The real binary over TLS on loopback, alone: certificate, console lines, health, drain.
#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped here fails the test")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;

#[tokio::test]
async fn the_console_shows_the_fingerprint_that_tls_presents_and_term_drains() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    std::fs::write(&config, "version = 1\nhostname = \"guard\"\n").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_vakt-web"))
        .args(["serve", "--listen", "127.0.0.1:0", "--store", "/nonexistent", "--config"])
        .arg(&config)
        .arg("--data")
        .arg(dir.path())
        .env_remove("NOTIFY_SOCKET")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let fingerprint =
        lines.find_map(|l| l.strip_prefix("vakt: fingerprint SHA256:").map(str::to_owned)).unwrap();
    let serving = lines.find(|line| line.contains("serving https")).unwrap();
    let serving: serde_json::Value = serde_json::from_str(&serving).unwrap();
    let address = serving["address"].as_str().unwrap().to_owned();

    let pem = std::fs::read(dir.path().join("tls.pem")).unwrap();
    let certificate = CertificateDer::from_pem_slice(&pem).unwrap();
    let hash: Vec<_> = Sha256::digest(&certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(hash.join(":"), fingerprint);
    // The certificate is its own root; its names are checked as any other's.
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
    for name in ["guard", "localhost", "127.0.0.1"] {
        let stream = TcpStream::connect(&address).await.unwrap();
        let stream = connector.connect(ServerName::try_from(name).unwrap(), stream).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request =
            hyper::Request::get("/health").header("host", name).body(Empty::<bytes::Bytes>::new()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_password_is_hashed_for_the_config() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vakt-web"))
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"correct horse battery\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let hash = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    let config = format!("version = 1\n[admin]\nuser = \"a\"\npassword_hash = \"{}\"\n", hash.trim());
    assert!(vakt_wire::config::parse(&config).is_ok());
}
