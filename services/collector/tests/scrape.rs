//! `vakt-collector serve` scrapes real endpoints and pushes to a sink that reads remote-write.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

mod sink;

use sink::{Arrived, exchange, sink};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Everything is there within this: rounds are a second apart.
const WITHIN: Duration = Duration::from_secs(30);

/// Prometheus' marker (model/value/value.go).
const STALE: u64 = 0x7ff0_0000_0000_0002;

fn ok(kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// `vakt-collector serve`, ended with the test.
struct Collector(Child);

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(room: &Path, config: &str, sink: &str) -> Collector {
    let file = room.join("config.toml");
    std::fs::write(&file, format!("version = 2\n[scrape]\nebpf = false\n{config}")).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_vakt-collector"))
        .args(["serve", "--config"])
        .arg(&file)
        .args(["--push", &format!("http://{sink}"), "--interval", "15s", "--listen"])
        .arg(format!("unix:{}", room.join("http.sock").display()))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Collector(child)
}

/// Waits for a body in which `wanted` finds what it looks for.
fn wait<T>(
    arrivals: &Receiver<Vec<Arrived>>,
    what: &str,
    mut wanted: impl FnMut(&[Arrived]) -> Option<T>,
) -> T {
    let until = Instant::now() + WITHIN;
    let mut last = Vec::new();
    while let Ok(series) = arrivals.recv_timeout(until.saturating_duration_since(Instant::now())) {
        if let Some(found) = wanted(&series) {
            return found;
        }
        if series.iter().any(|(name, _)| name.contains("job=t")) {
            last = series;
        }
    }
    panic!("{what} did not come within {WITHIN:?}; last: {last:?}")
}

fn value(series: &[Arrived], name: &str) -> Option<f64> {
    series.iter().find(|(found, _)| found == name).map(|(_, value)| *value)
}

#[test]
fn a_target_is_scraped_relabelled_and_marked_when_it_goes() {
    let room = tempfile::tempdir().unwrap();
    let (sink, arrivals) = sink();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let body = Arc::new(Mutex::new(Some(
        "# TYPE a counter\na_total{job=\"own\"} 3 # {id=\"1\"} 1\nb{secret=\"x\"} 2\ngo_x 1\n# EOF\n",
    )));
    let shown = body.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            exchange(stream, |head| {
                // "u:p"
                assert!(
                    head.contains("authorization: basic dtpw") && head.starts_with("get /m?x=1 "),
                    "{head}"
                );
                match *shown.lock().unwrap() {
                    Some(text) => ok("application/openmetrics-text; version=1.0.0; charset=utf-8", text),
                    None => "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".into(),
                }
            });
        }
    });
    let config = format!(
        "[[scrape_job]]\njob_name = \"t\"\ntargets = [\"{address}\"]\nscrape_interval = \"1s\"\nscrape_timeout = \"1s\"\nmetrics_path = \"/m?x=1\"\n\
         basic_auth = {{ username = \"u\", password = \"p\" }}\nlabels = {{ env = \"test\" }}\n\
         metric_relabel_configs = [\n{{ source_labels = [\"__name__\"], regex = \"go_.*\", action = \"drop\" }},\n\
         {{ regex = \"secret\", action = \"labeldrop\" }} ]\n"
    );
    let _collector = serve(room.path(), &config, &sink);
    let own = format!("env=test,instance={address},job=t");
    let (a, b) =
        (format!("a_total{{env=test,exported_job=own,instance={address},job=t}}"), format!("b{{{own}}}"));
    let of = |name: &str| format!("{name}{{{own}}}");
    let first = wait(&arrivals, "a scrape", |series| value(series, &of("up")).map(|_| series.to_vec()));
    assert_eq!(
        (value(&first, &a), value(&first, &b), value(&first, &of("up"))),
        (Some(3.0), Some(2.0), Some(1.0)),
        "{first:?}"
    );
    for (name, expected) in [
        ("scrape_samples_scraped", 3.0),
        ("scrape_samples_post_metric_relabeling", 2.0),
        ("scrape_series_added", 2.0),
    ] {
        assert_eq!(value(&first, &of(name)), Some(expected), "{name}");
    }
    assert!(value(&first, &of("scrape_duration_seconds")).is_some_and(|seconds| seconds > 0.0));
    *body.lock().unwrap() = Some("a_total{job=\"own\"} 4\n# EOF\n");
    let second = wait(&arrivals, "the second state", |series| {
        (value(series, &a) == Some(4.0)).then(|| series.to_vec())
    });
    if let Some(marker) = value(&second, &b) {
        assert_eq!(marker.to_bits(), STALE);
    }
    *body.lock().unwrap() = None;
    let third = wait(&arrivals, "a failure", |series| {
        (value(series, &of("up")) == Some(0.0)).then(|| series.to_vec())
    });
    assert_eq!(value(&third, &a).map(f64::to_bits), Some(STALE), "{third:?}");
    assert_eq!(value(&third, &of("scrape_samples_scraped")), Some(0.0));
}

#[test]
fn a_target_that_wants_a_certificate_is_given_one_and_one_of_another_authority_is_not_believed() {
    let room = tempfile::tempdir().unwrap();
    let (sink, arrivals) = sink();
    let authority = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), certificate.der().clone(), rcgen::Issuer::new(params, key))
    };
    let (ca, ca_der, issuer) = authority("ours");
    let (strange, ..) = authority("another");
    let leaf = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        (certificate, key)
    };
    let (server, server_key) = leaf("target.test");
    let (client, client_key) = leaf("collector.test");
    let address = tls_target(&ca_der, server.der().clone(), server_key.serialize_der());
    let job = |name: &str, ca: &str, more: &str| {
        format!(
            "[[scrape_job]]\njob_name = \"{name}\"\nscheme = \"https\"\ntargets = [\"{address}\"]\nscrape_interval = \"1s\"\nscrape_timeout = \"1s\"\n\
             bearer_token = \"abc\"\n[scrape_job.tls_config]\nca = '''\n{ca}'''\nserver_name = \"target.test\"\n{more}\n"
        )
    };
    let pair = format!("cert = '''\n{}'''\nkey = '''\n{}'''", client.pem(), client_key.serialize_pem());
    let config = [job("tgood", &ca, &pair), job("tnone", &ca, ""), job("tstrange", &strange, &pair)].concat();
    let _collector = serve(room.path(), &config, &sink);
    let up = |job: &str| format!("up{{instance={address},job={job}}}");
    let mut seen = BTreeMap::new();
    wait(&arrivals, "all three", |series| {
        for job in ["tgood", "tnone", "tstrange"] {
            if let Some(up) = value(series, &up(job)) {
                seen.insert(job, up);
            }
        }
        (seen.len() == 3).then_some(())
    });
    assert_eq!(seen, BTreeMap::from([("tgood", 1.0), ("tnone", 0.0), ("tstrange", 0.0)]));
}

/// An HTTPS server that wants a certificate of `authority` and the bearer token.
fn tls_target(authority: &CertificateDer, certificate: CertificateDer<'static>, key: Vec<u8>) -> String {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.clone()).unwrap();
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![certificate], PrivateKeyDer::try_from(key).unwrap())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            answer_tls(&config, stream);
        }
    });
    address
}

fn answer_tls(config: &Arc<rustls::ServerConfig>, stream: TcpStream) {
    let session = rustls::ServerConnection::new(config.clone()).unwrap();
    let mut stream = rustls::StreamOwned::new(session, stream);
    exchange(&mut stream, |head| {
        if head.contains("authorization: bearer abc") {
            ok("text/plain; version=0.0.4", "x 1\n")
        } else {
            "HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n".into()
        }
    });
    stream.conn.send_close_notify();
    let _ = stream.flush();
}
