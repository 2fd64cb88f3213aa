//! A box: where it is, which certificate it has, and the token that opens it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use crate::https;

/// The port of the pages.
const PORT: u16 = 443;

/// How to reach a box.
#[derive(Clone, Debug, clap::Args)]
pub struct Reach {
    /// The box: a name or an address, with a port when it is not 443
    #[arg(long = "box", env = "VAKT_BOX", global = true)]
    name: Option<String>,
    /// The certificate's fingerprint as the box' console says it (SHA256:AA:BB:…)
    #[arg(long, env = "VAKT_FINGERPRINT", global = true)]
    fingerprint: Option<String>,
    /// A file that holds a token of the box' config
    #[arg(long, env = "VAKT_TOKEN_FILE", global = true)]
    token_file: Option<PathBuf>,
}

/// A box that can be asked.
#[derive(Clone, Debug)]
pub struct BoxApi {
    address: SocketAddr,
    fingerprint: String,
    token: String,
}

impl Reach {
    /// Resolves the name and reads the token.
    ///
    /// # Errors
    /// With what is missing and how to give it.
    pub fn open(&self) -> anyhow::Result<BoxApi> {
        let name = self.name.as_deref().context("which box? give --box NAME or set VAKT_BOX")?;
        let with_port = if has_port(name) { name.to_owned() } else { format!("{name}:{PORT}") };
        let address = with_port
            .to_socket_addrs()
            .with_context(|| format!("cannot resolve {name}"))?
            .next()
            .with_context(|| format!("{name} has no address"))?;
        let fingerprint = self.fingerprint.clone().context(
            "which certificate? give --fingerprint SHA256:… as the box' console shows it, or set VAKT_FINGERPRINT",
        )?;
        let file = self
            .token_file
            .as_deref()
            .context("which token? give --token-file FILE or set VAKT_TOKEN_FILE")?;
        let token =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(BoxApi { address, fingerprint, token: token.trim().to_owned() })
    }
}

/// `host:port` or `[v6]:port`, and not a bare IPv6 address.
fn has_port(name: &str) -> bool {
    match name.rsplit_once(':') {
        Some((host, port)) => port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')),
        None => false,
    }
}

impl BoxApi {
    /// GET, and the JSON of the answer.
    ///
    /// # Errors
    /// When the box does not answer, is another one, or refuses; with its reason.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask("GET", path, b"", https::TRY_WITHIN)
    }

    /// POST of JSON, and the JSON of the answer.
    ///
    /// # Errors
    /// As [`BoxApi::get`].
    pub fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask("POST", path, body.to_string().as_bytes(), https::TRY_WITHIN)
    }

    /// POST of a file, whose answer may take `within`.
    ///
    /// # Errors
    /// As [`BoxApi::get`].
    pub fn upload(&self, path: &str, bytes: &[u8], within: Duration) -> anyhow::Result<Value> {
        self.ask("POST", path, bytes, within)
    }

    fn ask(&self, method: &str, path: &str, body: &[u8], within: Duration) -> anyhow::Result<Value> {
        let said = self.raw(method, path, "Content-Type: application/json\r\n", body, within)?;
        Ok(serde_json::from_slice(&said).unwrap_or(Value::Null))
    }

    /// A request with further header lines (each ending in `\r\n`), and the bytes of the answer.
    ///
    /// # Errors
    /// As [`BoxApi::get`].
    pub fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
        within: Duration,
    ) -> anyhow::Result<Vec<u8>> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
             {headers}Content-Length: {}\r\n\r\n",
            self.address,
            self.token,
            body.len()
        );
        let answer = https::request_pinned(self.address, &self.fingerprint, &head, body, within)?;
        if (200..300).contains(&answer.status) {
            return Ok(answer.body);
        }
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        let reason = said["error"].as_str().map_or_else(|| answer.text(), str::to_owned);
        anyhow::bail!("the box refused ({}): {}", answer.status, reason.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_told_from_an_ipv6_address() {
        for (name, expected) in [
            ("guard", false),
            ("guard:8443", true),
            ("::1", false),
            ("[::1]:8443", true),
            ("192.0.2.1:1", true),
        ] {
            assert_eq!(has_port(name), expected, "{name}");
        }
    }
}
