//! A person with a browser, without JavaScript: pages, forms, cookies, over TLS.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use vakt_image::qemu::ready::{self, Answer};

/// A visitor of a box' pages.
#[derive(Debug)]
pub struct Visitor {
    address: SocketAddr,
    cookies: Vec<(String, String)>,
    page: String,
}

impl Visitor {
    /// Nobody yet.
    pub fn new(address: SocketAddr) -> Visitor {
        Visitor { address, cookies: Vec::new(), page: String::new() }
    }

    /// The page that was loaded last.
    pub fn page(&self) -> &str {
        &self.page
    }

    /// Loads a page, following the ways that it leads on.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn open(&mut self, path: &str) -> Result<Answer> {
        let answer = ready::get(self.address, path, &self.headers())?;
        self.take(answer)
    }

    /// Sends the form of the page that was loaded last (its token is known from there).
    ///
    /// # Errors
    /// When the page has no form, or there is no answer.
    pub fn send(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Answer> {
        let token = self.token()?;
        let all = [("form_token", token.as_str())].into_iter().chain(fields.iter().copied());
        let body: Vec<String> = all.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let headers = format!("{}Content-Type: application/x-www-form-urlencoded\r\n", self.headers());
        let answer = ready::post(self.address, path, &headers, body.join("&").as_bytes())?;
        self.take(answer)
    }

    /// Sends a file with the form of the page that was loaded last.
    ///
    /// # Errors
    /// As [`Visitor::send`].
    pub fn upload(&mut self, path: &str, fields: &[(&str, &str)], file: &[u8]) -> Result<Answer> {
        let token = self.token()?;
        let mut body = Vec::new();
        for (name, value) in [("form_token", token.as_str())].into_iter().chain(fields.iter().copied()) {
            body.extend(
                format!("--vaktB\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                    .into_bytes(),
            );
        }
        body.extend(b"--vaktB\r\nContent-Disposition: form-data; name=\"archive\"; filename=\"b\"\r\nContent-Type: application/octet-stream\r\n\r\n");
        body.extend(file);
        body.extend(b"\r\n--vaktB--\r\n");
        let headers = format!("{}Content-Type: multipart/form-data; boundary=vaktB\r\n", self.headers());
        let answer = ready::post(self.address, path, &headers, &body)?;
        self.take(answer)
    }

    fn token(&self) -> Result<String> {
        let (_, rest) =
            self.page.split_once("name=\"form_token\" value=\"").context("the page has no form")?;
        Ok(rest.split('"').next().unwrap_or_default().to_owned())
    }

    fn headers(&self) -> String {
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { String::new() } else { format!("Cookie: {}\r\n", pairs.join("; ")) }
    }

    fn take(&mut self, answer: Answer) -> Result<Answer> {
        for (name, value) in &answer.headers {
            if !name.eq_ignore_ascii_case("set-cookie") {
                continue;
            }
            let pair = value.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').context("a cookie without a value")?;
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        if let Some(next) = answer.header("location").map(str::to_owned) {
            return self.open(&next);
        }
        self.page = answer.text();
        Ok(answer)
    }

    /// The same, for an answer that must be of this status.
    ///
    /// # Errors
    /// When it is not, with what the page said.
    pub fn expect(&self, answer: &Answer, status: u16) -> Result<()> {
        ensure!(answer.status == status, "{} instead of {status}:\n{}", answer.status, self.page);
        Ok(())
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
