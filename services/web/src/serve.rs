//! The service put together: certificate, sockets, the console's lines, the drain.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use vakt_wire::config::{self, MachineConfig};
use vakt_wire::http;
use vakt_wire::life::Life;
use vakt_wire::listen::Inherited;

use crate::app::App;
use crate::backend::Sockets;
use crate::certificate;
use crate::tls::{Tls, acceptor};

/// How often the store is asked whether there is an administrator, until it answers.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The service's slice of the machine config; absent means defaults.
    pub config: PathBuf,
    /// Certificate and set-up code.
    pub data: PathBuf,
    /// Where TLS is served, besides inherited sockets called `https`.
    pub listen: Vec<SocketAddr>,
    /// Where the others listen.
    pub sockets: Sockets,
}

/// Serves until SIGTERM or SIGINT, then drains and returns.
///
/// # Errors
/// When config, certificate or a socket cannot be had.
pub async fn serve(options: Options) -> Result<()> {
    let life = Life::start().context("cannot install signal handlers")?;
    let mut inherited = Inherited::take();
    let config = read_config(&options.config)?;
    std::fs::create_dir_all(&options.data).with_context(|| options.data.display().to_string())?;
    let identity = match certificate::of_config(&config.tls) {
        Some(Ok(identity)) => identity,
        Some(Err(reason)) => {
            life.console(&format!("vakt: {reason}; the box' own certificate serves instead"));
            certificate::load_or_make(&options.data, config.hostname.as_str())?
        }
        None => certificate::load_or_make(&options.data, config.hostname.as_str())?,
    };
    let fingerprint = identity.fingerprint();
    life.console(&format!("vakt: fingerprint {fingerprint}"));
    let acceptor = acceptor(&identity).context("the certificate cannot be used")?;
    let mut transports = Vec::new();
    for listener in listeners(&options, &mut inherited)? {
        tracing::info!(address = %listener.local_addr()?, "serving https");
        transports.push(Tls::new(listener, acceptor.clone()));
    }
    anyhow::ensure!(
        !transports.is_empty(),
        "no socket called https was handed over and no --listen was given"
    );
    let mut app = App::new(config, &options.sockets, options.data.clone());
    app.fingerprint = fingerprint;
    app.life = Some(life.clone());
    let app = Arc::new(app);
    let stop = life.stopping();
    tokio::spawn(announce_setup(app.clone(), life.clone(), stop.clone()));
    life.ready(&format!("{} sockets", transports.len()));
    http::serve_all(transports, app, stop).await;
    tracing::info!("drained");
    Ok(())
}

/// A config that is absent is an empty one: alone on an ordinary host the set-up code does.
fn read_config(path: &std::path::Path) -> Result<MachineConfig> {
    match std::fs::read_to_string(path) {
        Ok(text) => config::parse(&text).with_context(|| path.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(MachineConfig::default()),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

fn listeners(options: &Options, inherited: &mut Inherited) -> Result<Vec<TcpListener>> {
    let mut listeners: Vec<std::net::TcpListener> =
        inherited.named("https").into_iter().map(Into::into).collect();
    for address in &options.listen {
        let listener =
            std::net::TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        listeners.push(listener);
    }
    let each = |listener: std::net::TcpListener| {
        listener.set_nonblocking(true)?;
        Ok(TcpListener::from_std(listener)?)
    };
    listeners.into_iter().map(each).collect()
}

/// Shows the set-up code once it is known that nobody could sign in.
async fn announce_setup(app: Arc<App>, life: Life, stop: CancellationToken) {
    loop {
        match app.users.any().await {
            Ok(true) => return,
            Ok(false) => break,
            Err(error) => tracing::debug!(%error, "cannot tell yet whether there is an administrator"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ASK_AGAIN) => {}
        }
    }
    match app.setup.lock().await.arm(&app.data) {
        Ok(code) => life.console(&format!("vakt: setup code {code}")),
        Err(error) => tracing::error!(%error, "cannot make a set-up code"),
    }
}
